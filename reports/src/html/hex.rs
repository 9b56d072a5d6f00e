//! The bytes of a finding as tables: the rows of a sector that differ, wanted beside found, in hexadecimal and as text. What
//! differs is marked by more than a colour, and said in words for whoever hears the page.

use std::ops::Range;

use maud::{Markup, html};

use crate::status::many;
use crate::{Compared, SECTOR_BYTES, Sector};

/// Sectors that a finding shows.
const MAX_SECTORS: usize = 4;
/// Bytes of a row.
const ROW: usize = 16;

/// One row of both sides; bytes are missing behind the end of a file.
struct Row<'a> {
    offset: u64,
    wanted: &'a [u8],
    found: &'a [u8],
    /// Stretches that differ and should not, within the row.
    differs: Vec<Range<usize>>,
    /// Stretches that differ and may.
    excused: Vec<Range<usize>>,
}

/// A part of a table.
enum Part<'a> {
    Row(Row<'a>),
    /// So many rows in which nothing differs.
    Alike(usize),
}

/// The tables, folded away.
pub(super) fn section(compared: &Compared) -> Markup {
    let Compared { found, wanted, sectors, more, .. } = compared;
    let shown = sectors.len().min(MAX_SECTORS);
    let rest = more + (sectors.len() - shown) as u64;
    let all = shown as u64 + rest;
    html! {
        details.bytes {
            summary {
                "Bytes: " @if rest > 0 { (shown) " of " }
                (many(all, "sector")) " that " @if all == 1 { "differs" } @else { "differ" }
            }
            p.quiet {
                "Wanted is " (wanted) ", found is " (found) ". Bytes that differ are " mark { "marked" }
                @if sectors.iter().take(shown).any(|sector| !sector.excused.is_empty()) {
                    ", those that may differ are " span.may { "dotted" }
                }
                "."
            }
            @for sector in &sectors[..shown] { (table(sector)) }
            @if rest > 0 { p.quiet { "and " (many(rest, "sector")) " more" } }
        }
    }
}

fn table(sector: &Sector) -> Markup {
    let (wanted, found) = (bytes(&sector.wanted), bytes(&sector.found));
    let about = format!("`{}` at {:#x}: {}", sector.file, sector.offset, sector.place);
    html! {
        div.scroll role="region" tabindex="0" aria-label=(about) { table.hex {
            caption { (about) }
            thead { tr {
                th scope="col" { "offset" }
                th scope="col" colspan="2" { "wanted" }
                th scope="col" colspan="2" { "found" }
            } }
            tbody { @for part in parts(sector, &wanted, &found) { @match part {
                Part::Row(row) => (row.markup()),
                Part::Alike(n) => tr { td.quiet colspan="5" { (many(n as u64, "row")) " alike" } },
            } } }
        } }
    }
}

/// The rows that differ and those around them; the others are counted.
fn parts<'a>(sector: &Sector, wanted: &'a [u8], found: &'a [u8]) -> Vec<Part<'a>> {
    let len = wanted.len().max(found.len());
    let rows: Vec<Row<'a>> = (0..len.div_ceil(ROW)).map(|row| Row::of(sector, row, wanted, found)).collect();
    let differs: Vec<bool> = rows.iter().map(|row| !row.differs.is_empty()).collect();
    let mut parts = Vec::new();
    for (place, row) in rows.into_iter().enumerate() {
        let around = place.saturating_sub(1)..(place + 2).min(differs.len());
        if differs[around].contains(&true) {
            parts.push(Part::Row(row));
        } else if let Some(Part::Alike(n)) = parts.last_mut() {
            *n += 1;
        } else {
            parts.push(Part::Alike(1));
        }
    }
    parts
}

impl<'a> Row<'a> {
    fn of(sector: &Sector, row: usize, wanted: &'a [u8], found: &'a [u8]) -> Self {
        let start = row * ROW;
        let of = |bytes: &'a [u8]| bytes.get(start..bytes.len().min(start + ROW)).unwrap_or_default();
        let (of_wanted, of_found) = (of(wanted), of(found));
        let may = |at: usize| {
            let within = |(first, len): &(u16, u16)| {
                (usize::from(*first)..usize::from(*first) + usize::from(*len)).contains(&(start + at))
            };
            sector.excused.iter().any(within)
        };
        let differs = |at: &usize| of_wanted.get(*at) != of_found.get(*at);
        let (excused, differs): (Vec<usize>, Vec<usize>) = (0..ROW).filter(differs).partition(|at| may(*at));
        Self {
            offset: sector.offset + start as u64,
            wanted: of_wanted,
            found: of_found,
            differs: stretches(&differs),
            excused: stretches(&excused),
        }
    }

    fn markup(&self) -> Markup {
        let ends = |range: &Range<usize>| match range.len() {
            1 => format!("{}", range.start),
            _ => format!("{} to {}", range.start, range.end - 1),
        };
        let heard: Vec<String> = self.differs.iter().map(ends).collect();
        html! {
            tr {
                th scope="row" {
                    (format!("{:#x}", self.offset))
                    @if !heard.is_empty() { span.heard { ", bytes that differ: " (heard.join(", ")) } }
                }
                (self.cells(self.wanted))
                (self.cells(self.found))
            }
        }
    }

    /// One side in hexadecimal and as text.
    fn cells(&self, side: &[u8]) -> Markup {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        let text = |bytes: &[u8]| bytes.iter().copied().map(printable).collect::<String>();
        html! {
            td { @if side.is_empty() { span.quiet { "behind the file's end" } } @else { (self.marked(side, hex, " ")) } }
            td { (self.marked(side, text, "")) }
        }
    }

    /// The bytes of one side, those that differ marked.
    fn marked(&self, side: &[u8], told: impl Fn(&[u8]) -> String, between: &str) -> Markup {
        let mut ranges: Vec<(&Range<usize>, bool)> = self.differs.iter().map(|range| (range, true)).collect();
        ranges.extend(self.excused.iter().map(|range| (range, false)));
        ranges.sort_by_key(|(range, _)| range.start);
        let cut = |range: Range<usize>| {
            side.get(range.start.min(side.len())..range.end.min(side.len())).unwrap_or_default()
        };
        let mut pieces = Vec::new();
        let mut at = 0;
        for (range, is_wrong) in ranges {
            pieces.push((told(cut(at..range.start)), None));
            pieces.push((told(cut(range.clone())), Some(is_wrong)));
            at = range.end;
        }
        pieces.push((told(cut(at..ROW)), None));
        pieces.retain(|(text, _)| !text.is_empty());
        html! {
            @for (place, (text, kind)) in pieces.iter().enumerate() {
                @if place > 0 { (between) }
                @match kind {
                    Some(true) => mark { (text) },
                    Some(false) => span.may { (text) },
                    None => (text),
                }
            }
        }
    }
}

/// Places in order as ranges of neighbours.
fn stretches(places: &[usize]) -> Vec<Range<usize>> {
    let neighbours = places.chunk_by(|a, b| a + 1 == *b);
    neighbours.filter_map(|run| Some(*run.first()?..run.last()? + 1)).collect()
}

fn printable(byte: u8) -> char {
    if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '.' }
}

/// The bytes of a sector's text, as far as it is hexadecimal.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().map_while(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).take(SECTOR_BYTES as usize).map(|pair| pair[0] << 4 | pair[1]).collect()
}
