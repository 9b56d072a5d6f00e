//! From ranges of bytes that differ to differences in terms of structures. What is looked at is bounded: pieces that are
//! told apart, differences that are listed; the rest is counted.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::difference::{Difference, HexRow};
use super::fields::changes;
use super::file_system::FileChart;
use super::piece::Piece;
use super::place::{PartitionName, Place, Structure};
use crate::image::{Bytes, ReadAt, View};

/// Pieces of all files together that are told apart.
const MAX_PIECES: usize = 4096;
/// Rows of bytes that a difference shows.
const HEX_ROWS: usize = 4;
const HEX_BYTES: u64 = 16;
/// Longest structure whose fields are looked at.
const MAX_FIELD_BYTES: u64 = 1 << 16;

/// The charts of both states' files, each made when it is first asked for.
#[derive(Debug)]
pub struct Charts<'a> {
    wanted: View<'a>,
    found: View<'a>,
    files: HashMap<PathBuf, [Chart; 2]>,
}

#[derive(Debug)]
enum Chart {
    Unread(Option<Bytes>),
    Read(Box<FileChart>),
}

impl Chart {
    fn at(&mut self, offset: u64) -> Option<Piece> {
        if let Self::Unread(bytes) = self {
            *self = Self::Read(Box::new(FileChart::of(bytes.take()?)));
        }
        match self {
            Self::Read(chart) => Some(chart.at(offset).from(offset)),
            Self::Unread(_) => None,
        }
    }
}

impl<'a> Charts<'a> {
    /// For the files of two states.
    pub fn new(wanted: View<'a>, found: View<'a>) -> Self {
        Self { wanted, found, files: HashMap::new() }
    }

    /// The piece with an offset of a file: by the wanted state, or by the found one where the wanted leaves it free.
    pub fn piece(&mut self, file: &Path, offset: u64) -> Piece {
        let (wanted, found) = (self.wanted, self.found);
        let open = |view: View<'_>| Chart::Unread(view.open(file).ok());
        let [wanted, found] =
            self.files.entry(file.to_owned()).or_insert_with(|| [open(wanted), open(found)]);
        let (first, second) = match wanted.at(offset) {
            // An entry that only the other state uses has its name there.
            Some(mut piece) if matches!(piece.structure, Structure::GptEntry { label: None, .. }) => {
                if let Some(Piece { structure: Structure::GptEntry { label: Some(label), .. }, .. }) =
                    found.at(offset)
                    && let Structure::GptEntry { label: unnamed, .. } = &mut piece.structure
                {
                    *unnamed = Some(label);
                }
                return piece;
            }
            Some(piece) if piece.is_telling() => return piece,
            Some(piece) => (Some(piece), found.at(offset)),
            None => (None, found.at(offset)),
        };
        match (first, second) {
            (Some(free), Some(mut piece)) if piece.is_telling() => {
                if piece.fields.is_empty() {
                    piece.range.end = piece.range.end.min(free.range.end);
                }
                piece
            }
            (Some(mut free), Some(other)) => {
                free.range.end = free.range.end.min(other.range.end).max(offset + 1);
                free
            }
            (Some(piece), None) | (None, Some(piece)) => piece,
            (None, None) => Piece::new(offset..u64::MAX, Structure::Bytes { offset }),
        }
    }
}

/// Differences in the making: what lies in one place is one of them.
#[derive(Debug, Default)]
pub struct Groups {
    list: Vec<Group>,
    known: HashMap<(PathBuf, Option<PartitionName>, Structure), usize>,
    pieces: usize,
    /// Bytes that differ.
    pub bytes: u64,
    /// Of these, bytes beyond the limit of pieces.
    pub unplaced_bytes: u64,
}

/// One of them.
#[derive(Debug)]
pub struct Group {
    /// File of the volume.
    pub file: PathBuf,
    /// The first piece.
    pub piece: Piece,
    /// From the first byte that differs to behind the last one.
    pub span: Range<u64>,
    /// Of a file as a whole: what is wrong with it.
    pub note: Option<String>,
    bytes: u64,
    ranges: u64,
}

impl Groups {
    /// Adds a file that is another one as a whole.
    pub fn add_file(&mut self, file: &Path, note: String) {
        let piece = Piece::new(0..0, Structure::WholeFile);
        let note = Some(note);
        self.list.push(Group { file: file.to_owned(), piece, span: 0..0, note, bytes: 0, ranges: 0 });
    }

    /// Adds the ranges in which a file differs: sorted, disjoint.
    pub fn add(&mut self, file: &Path, ranges: &[Range<u64>], charts: &mut Charts<'_>) {
        let mut current: Option<(Piece, usize)> = None;
        for range in ranges {
            self.bytes += range.end - range.start;
            let mut at = range.start;
            while at < range.end {
                let (piece, index) = match current.take().filter(|(piece, _)| piece.range.contains(&at)) {
                    Some(current) => current,
                    None if self.pieces >= MAX_PIECES => {
                        self.unplaced_bytes += range.end - at;
                        break;
                    }
                    None => {
                        self.pieces += 1;
                        let piece = charts.piece(file, at);
                        let index = self.group(file, &piece, at);
                        (piece, index)
                    }
                };
                let end = range.end.min(piece.range.end).max(at + 1);
                let group = &mut self.list[index];
                if group.span.end != at || group.bytes == 0 {
                    group.ranges += 1;
                }
                group.bytes += end - at;
                group.span.end = end;
                at = end;
                current = Some((piece, index));
            }
        }
    }

    fn group(&mut self, file: &Path, piece: &Piece, at: u64) -> usize {
        let key = (file.to_owned(), piece.partition.clone(), piece.structure.whole());
        *self.known.entry(key).or_insert_with(|| {
            let (file, piece) = (file.to_owned(), piece.clone());
            self.list.push(Group { file, piece, span: at..at, note: None, bytes: 0, ranges: 0 });
            self.list.len() - 1
        })
    }

    /// The differences, those first that tell most about what an oracle guards: at most `limit`, and the kinds of the
    /// others.
    pub fn finish(
        self,
        (wanted, found): (View<'_>, View<'_>),
        oracle: &str,
        limit: usize,
    ) -> (Vec<Difference>, BTreeMap<String, u64>) {
        let mut files = Files { wanted, found, open: HashMap::new() };
        let mut all: Vec<Difference> = self.list.into_iter().map(|group| files.difference(group)).collect();
        all.sort_by_key(|difference| rank(difference, oracle));
        let mut more = BTreeMap::new();
        for difference in all.drain(limit.min(all.len())..) {
            *more.entry(difference.place.structure.kind().to_owned()).or_insert(0) += 1;
        }
        for difference in &mut all {
            difference.hex = files.hex(difference);
        }
        (all, more)
    }
}

/// The lower, the more it tells: free space and lone checksums last; what the oracle is about first.
fn rank(difference: &Difference, oracle: &str) -> (u8, u8) {
    let structure = &difference.place.structure;
    let worth = match structure {
        free if free.is_free() => 2,
        _ if difference.is_checksum_only() => 1,
        _ => 0,
    };
    let [table, metadata, data] = match oracle {
        "content" | "untouched" => [2, 1, 0],
        "fsck" => [2, 0, 1],
        _ => [0, 1, 2],
    };
    let class = match structure {
        Structure::WholeFile => 0,
        Structure::ProtectiveMbr | Structure::GptHeader { .. } | Structure::GptEntry { .. } => table,
        Structure::Ext4Data { .. }
        | Structure::Ext4Directory { .. }
        | Structure::FatData { .. }
        | Structure::FatDirectory { .. }
        | Structure::Qcow2Data { .. }
        | Structure::Payload { .. }
        | Structure::Bytes { .. } => data,
        // It is a means to an end, and most of it is old.
        Structure::Ext4Journal { .. } => 3,
        _ => metadata,
    };
    (worth, class)
}

/// The files of both states, opened once.
struct Files<'a> {
    wanted: View<'a>,
    found: View<'a>,
    open: HashMap<PathBuf, [Option<Bytes>; 2]>,
}

impl Files<'_> {
    fn read(&mut self, file: &Path, range: &Range<u64>) -> [Vec<u8>; 2] {
        let (wanted, found) = (self.wanted, self.found);
        let open = self
            .open
            .entry(file.to_owned())
            .or_insert_with(|| [wanted.open(file).ok(), found.open(file).ok()]);
        [0, 1].map(|side| open[side].as_ref().map_or_else(Vec::new, |bytes| read(bytes, range)))
    }

    fn difference(&mut self, group: Group) -> Difference {
        let Group { file, piece, span, note, bytes, ranges } = group;
        let whole = piece.range.start..piece.range.end.min(piece.range.start + MAX_FIELD_BYTES);
        let fields = if piece.fields.is_empty() {
            Vec::new()
        } else {
            let [wanted, found] = self.read(&file, &whole);
            changes(piece.fields, &wanted, &found)
        };
        Difference {
            file: file.to_string_lossy().into_owned(),
            offset: span.start,
            len: span.end - span.start,
            bytes,
            ranges,
            place: Place { partition: piece.partition, structure: piece.structure },
            note,
            fields,
            last_writer: None,
            by_unrecorded_resume: false,
            wanted_writer: None,
            hex: Vec::new(),
        }
    }

    /// The first rows that differ.
    fn hex(&mut self, difference: &Difference) -> Vec<HexRow> {
        let start = difference.offset - difference.offset % HEX_BYTES;
        // Rows in which nothing differs are passed over within a sector's reach.
        let end = (difference.offset + difference.len).min(start + 512);
        let [wanted, found] =
            self.read(Path::new(&difference.file), &(start..end.next_multiple_of(HEX_BYTES)));
        let text =
            |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        let row = |bytes: &[u8], at: usize| {
            bytes.get(at..).map_or(Vec::new(), |rest| rest[..rest.len().min(HEX_BYTES as usize)].to_vec())
        };
        let starts = (start..end).step_by(HEX_BYTES as usize);
        let rows = starts.map(|offset| {
            let at = (offset - start) as usize;
            (offset, row(&wanted, at), row(&found, at))
        });
        rows.filter(|(_, wanted, found)| wanted != found)
            .take(HEX_ROWS)
            .map(|(offset, wanted, found)| HexRow { offset, wanted: text(&wanted), found: text(&found) })
            .collect()
    }
}

/// The bytes of a range, as far as the file goes.
pub(super) fn read(bytes: &Bytes, range: &Range<u64>) -> Vec<u8> {
    let end = bytes.len_bytes().unwrap_or(0).min(range.end);
    let mut buffer = vec![0; usize::try_from(end.saturating_sub(range.start)).unwrap_or(0)];
    match bytes.fill(range.start, &mut buffer) {
        Ok(()) => buffer,
        Err(_) => Vec::new(),
    }
}
