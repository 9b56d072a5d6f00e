//! What two good results need not have in common: bytes that differ between uninterrupted runs (volatile), and
//! what a scenario excuses by name. Tables are never excused as a whole, and too much volatility is an error, so
//! that a mask can't quietly grow until nothing is compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use crate::gpt::{Gpt, Layout};
use crate::image;

/// Unit to which volatile bytes outside of GPT fields are widened: whole UUIDs, checksums and time stamps.
const UNIT_BYTES: u64 = 16;

/// Ranges that are left out of a comparison, by file of the volume.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    files: BTreeMap<PathBuf, Vec<Range<u64>>>,
    volatile_bytes: u64,
}

/// Why there is no mask.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    /// Reading failed.
    #[error("cannot compare the baseline runs at `{path}`")]
    Io {
        /// File or volume.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too few runs to tell.
    #[error("{0} baseline runs cannot show what is volatile: at least 2 are needed")]
    TooFewRuns(usize),
    /// The runs leave other files or lengths.
    #[error("uninterrupted runs leave different files: `{path}` differs in presence or length")]
    Shape {
        /// File that one has and another lacks, or that has another length.
        path: PathBuf,
    },
    /// More differs than can be excused.
    #[error(
        "uninterrupted runs differ in more than {limit_bytes} bytes of `{path}`, first in {first}: the tool is not \
         deterministic enough to be compared"
    )]
    TooVolatile {
        /// File.
        path: PathBuf,
        /// The most that is accepted.
        limit_bytes: u64,
        /// Place of the first difference.
        first: String,
    },
    /// A mask of the scenario that is no mask.
    #[error("`{0}` is no mask: `unallocated` or `OFFSET+LENGTH` is expected")]
    Spec(String),
    /// `unallocated` where no table says what is allocated.
    #[error("mask `unallocated`: `{path}` has no valid GPT copy after an uninterrupted run")]
    NoTable {
        /// File.
        path: PathBuf,
    },
}

impl Mask {
    /// What the given uninterrupted runs (volumes; the first is the baseline) and the scenario excuse. Volatile
    /// bytes count where the scenario's masks don't cover them, and may be at most `max_share` of a file.
    pub fn measure(runs: &[&Path], specs: &[String], max_share: f64) -> Result<Self, MaskError> {
        let [baseline, others @ ..] = runs else { return Err(MaskError::TooFewRuns(0)) };
        if others.is_empty() {
            return Err(MaskError::TooFewRuns(1));
        }
        let listing = |volume: &Path| image::files(volume).map_err(at(volume));
        let names = listing(baseline)?;
        for other in others {
            let theirs = listing(other)?;
            let odd =
                names.iter().find(|n| !theirs.contains(n)).or(theirs.iter().find(|n| !names.contains(n)));
            if let Some(path) = odd {
                return Err(MaskError::Shape { path: path.clone() });
            }
        }
        let mut mask = Self::default();
        for name in names {
            let FileMask { excused, volatile } = measure_file(baseline, others, &name, specs, max_share)?;
            mask.volatile_bytes += volatile.iter().map(|range| range.end - range.start).sum::<u64>();
            mask.files.insert(name, merged(excused.into_iter().chain(volatile)));
        }
        Ok(mask)
    }

    /// Bytes in which uninterrupted runs differ, widened to whole fields.
    pub fn volatile_bytes(&self) -> u64 {
        self.volatile_bytes
    }

    /// Excused ranges of a file: sorted, disjoint.
    pub fn ranges(&self, file: &Path) -> &[Range<u64>] {
        self.files.get(file).map_or(&[], Vec::as_slice)
    }
}

/// The parts of a range that a sorted, disjoint mask does not cover.
pub fn outside(range: Range<u64>, mask: &[Range<u64>]) -> Vec<Range<u64>> {
    let first = mask.partition_point(|m| m.end <= range.start);
    let mut parts = Vec::new();
    let mut next = range.start;
    for masked in mask[first..].iter().take_while(|m| m.start < range.end) {
        if masked.start > next {
            parts.push(next..masked.start);
        }
        next = next.max(masked.end);
    }
    if next < range.end {
        parts.push(next..range.end);
    }
    parts
}

/// What is left out of one file's comparison, by reason; both sorted and disjoint.
struct FileMask {
    excused: Vec<Range<u64>>,
    volatile: Vec<Range<u64>>,
}

fn measure_file(
    baseline: &Path,
    others: &[&Path],
    name: &Path,
    specs: &[String],
    max_share: f64,
) -> Result<FileMask, MaskError> {
    let path = baseline.join(name);
    let file = File::open(&path).map_err(at(&path))?;
    let len = image::len_bytes(&file).map_err(at(&path))?;
    let layout = Gpt::read(&file).map_err(at(&path)).map(|gpt| Layout::of(&gpt))?;
    let mut excused = Vec::new();
    for spec in specs {
        match (spec.as_str(), &layout) {
            ("unallocated", Some(layout)) => excused.extend(layout.unallocated()),
            ("unallocated", None) => return Err(MaskError::NoTable { path: name.to_owned() }),
            (text, _) => excused.push(byte_range(text).ok_or_else(|| MaskError::Spec(spec.clone()))?),
        }
    }
    let excused = merged(excused);
    let limit_bytes = (len as f64 * max_share) as u64;
    let too_volatile = |first: u64| MaskError::TooVolatile {
        path: name.to_owned(),
        limit_bytes,
        first: layout
            .as_ref()
            .map_or_else(|| format!("{first:#x}"), |layout| layout.place(first).to_string()),
    };
    let mut volatile = Vec::new();
    for other in others {
        let path = other.join(name);
        let other = File::open(&path).map_err(at(&path))?;
        if image::len_bytes(&other).map_err(at(&path))? != len {
            return Err(MaskError::Shape { path: name.to_owned() });
        }
        let mut first = None;
        let mut bytes = 0;
        let flow = image::differences(&file, &other, |range| {
            for part in outside(range, &excused) {
                first.get_or_insert(part.start);
                bytes += part.end - part.start;
                volatile.push(widened(part, layout.as_ref()));
            }
            if bytes > limit_bytes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if flow.map_err(at(&path))?.is_break() {
            return Err(too_volatile(first.unwrap_or(0)));
        }
    }
    let volatile: Vec<_> = merged(volatile).into_iter().flat_map(|range| outside(range, &excused)).collect();
    match volatile.first() {
        Some(first) if volatile.iter().map(|r| r.end - r.start).sum::<u64>() > limit_bytes => {
            Err(too_volatile(first.start))
        }
        _ => Ok(FileMask { excused, volatile }),
    }
}

/// A volatile range widened to the GPT fields that it touches, and to whole units elsewhere.
fn widened(range: Range<u64>, layout: Option<&Layout>) -> Range<u64> {
    let unit = |offset: u64| {
        layout.and_then(|layout| layout.field(offset)).unwrap_or_else(|| {
            let start = offset - offset % UNIT_BYTES;
            start..start + UNIT_BYTES
        })
    };
    unit(range.start).start..unit(range.end - 1).end
}

/// Sorted, with overlapping and adjacent ranges joined.
fn merged(ranges: impl IntoIterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
    sorted.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match joined.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// `OFFSET+LENGTH`, each decimal or 0x-hexadecimal.
fn byte_range(text: &str) -> Option<Range<u64>> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    let (start, len) = text.split_once('+')?;
    let start = number(start)?;
    Some(start..start.checked_add(number(len)?)?)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> MaskError {
    let path = path.to_owned();
    move |source| MaskError::Io { path, source }
}

#[cfg(test)]
mod tests;
