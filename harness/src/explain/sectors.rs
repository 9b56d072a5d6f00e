//! The sectors in which two states differ: how many there are, and the bytes of the first of them, for whoever wants to see
//! them. Those of the most telling differences come first; what is kept is bounded, whatever differs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use reports::{SECTOR_BYTES, Sector};

use super::MAX_SECTORS;
use super::compare::read;
use super::difference::Difference;
use crate::image::{ReadAt, View, What};
use crate::mask::Mask;

/// The ranges that differ, by file: sorted, disjoint, without what is excused.
#[derive(Debug, Default)]
pub struct Sectors {
    files: BTreeMap<PathBuf, Vec<Range<u64>>>,
}

impl Sectors {
    /// Adds ranges in which a file differs, beside those that it has.
    pub fn add(&mut self, file: &Path, ranges: Vec<Range<u64>>) {
        let all = self.files.entry(file.to_owned()).or_default();
        all.extend(ranges);
        all.sort_by_key(|range| range.start);
    }

    /// Sectors that differ, of all files.
    pub fn count(&self) -> u64 {
        let of_file = |ranges: &Vec<Range<u64>>| {
            let (mut count, mut counted_to) = (0, 0);
            for range in ranges.iter().filter(|range| !range.is_empty()) {
                let first = (range.start / SECTOR_BYTES).max(counted_to);
                let end = range.end.div_ceil(SECTOR_BYTES);
                count += end.saturating_sub(first);
                counted_to = counted_to.max(end);
            }
            count
        };
        self.files.values().map(of_file).sum()
    }

    /// The bytes of the first sectors of these differences, on both sides; last of files that differ as wholes.
    pub fn of(
        &self,
        views: (View<'_>, View<'_>),
        differences: &[Difference],
        mask: Option<&Mask>,
    ) -> Vec<Sector> {
        let mut kept: Vec<Sector> = Vec::new();
        let (parts, wholes): (Vec<_>, Vec<_>) = differences.iter().partition(|one| one.note.is_none());
        for difference in parts.into_iter().chain(wholes) {
            let file = Path::new(&difference.file);
            let ranges = self.files.get(file).map_or(&[][..], Vec::as_slice);
            let span = match difference.note {
                None => difference.offset..difference.offset + difference.len,
                Some(_) => 0..u64::MAX,
            };
            for offset in within(ranges, span) {
                if kept.len() == MAX_SECTORS {
                    return kept;
                }
                let is_there = |sector: &Sector| sector.file == difference.file && sector.offset == offset;
                if !kept.iter().any(is_there) {
                    kept.push(sector(views, difference, offset, mask));
                }
            }
        }
        kept
    }
}

/// The bytes of a file that only one of the states has.
pub fn of_one_side((wanted, found): (View<'_>, View<'_>), file: &Path, what: &What) -> Vec<Range<u64>> {
    let whole = |view: View<'_>| view.open(file).and_then(|bytes| bytes.len_bytes()).map(|len| 0..len);
    match what {
        What::Length { wanted, found } => std::iter::once(*wanted.min(found)..*wanted.max(found)).collect(),
        // What is no file has no bytes.
        What::Missing => whole(wanted).into_iter().collect(),
        What::LeftOver => whole(found).into_iter().collect(),
        What::Data(_) | What::Attribute(_) => Vec::new(),
    }
}

/// Where the sectors begin that ranges touch within a span, as many as can be wanted.
fn within(ranges: &[Range<u64>], span: Range<u64>) -> Vec<u64> {
    let mut starts: Vec<u64> = Vec::new();
    let first = ranges.partition_point(|range| range.end <= span.start);
    for range in ranges[first..].iter().take_while(|range| range.start < span.end) {
        let (start, end) = (range.start.max(span.start), range.end.min(span.end));
        let sectors = (start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)).map(|sector| sector * SECTOR_BYTES);
        // Sectors of one that is kept already may be passed over, so that more are wanted than are kept.
        starts.extend(sectors.take(2 * MAX_SECTORS));
        starts.dedup();
        if starts.len() >= 2 * MAX_SECTORS {
            break;
        }
    }
    starts
}

fn sector(
    (wanted, found): (View<'_>, View<'_>),
    difference: &Difference,
    offset: u64,
    mask: Option<&Mask>,
) -> Sector {
    let file = Path::new(&difference.file);
    let range = offset..offset + SECTOR_BYTES;
    let side = |view: View<'_>| view.open(file).map_or_else(|_| Vec::new(), |bytes| read(&bytes, &range));
    let excused = mask.map_or(&[][..], |mask| mask.ranges(file)).iter().filter_map(|excused| {
        let (start, end) = (excused.start.max(range.start), excused.end.min(range.end));
        (start < end).then(|| ((start - offset) as u16, (end - start) as u16))
    });
    Sector {
        file: difference.file.clone(),
        offset,
        place: difference.note.clone().unwrap_or_else(|| difference.place.to_string()),
        wanted: hexadecimal(&side(wanted)),
        found: hexadecimal(&side(found)),
        excused: excused.collect(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
