//! What two good results need not have in common: bytes that differ between uninterrupted runs (volatile), and
//! what a scenario excuses by name. Tables are never excused as a whole, and too much volatility is an error, so
//! that a mask can't quietly grow until nothing is compared.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use scenarios::model;

use crate::gpt::{Gpt, Layout};
use crate::image::{Difference, ReadAt, View, What, differences_of_volumes};
use crate::ranges::merged;
use crate::stage::Saved;

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
    #[error("cannot compare the baseline runs at `{}`", path.display())]
    Io {
        /// File or volume.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too few runs to tell.
    #[error("{0} baseline runs cannot show what is volatile: at least 2 are needed")]
    TooFewRuns(usize),
    /// The runs leave other files, lengths or attributes.
    #[error("uninterrupted runs leave different volumes: `{}` {what}", path.display())]
    Shape {
        /// What one has otherwise than another.
        path: PathBuf,
        /// How it differs.
        what: String,
    },
    /// More differs than can be excused.
    #[error(
        "uninterrupted runs differ in more than {limit_bytes} bytes of `{}`, first in {first}: the tool is not \
         deterministic enough to be compared", path.display()
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
    /// A mask for a file that an uninterrupted run does not leave.
    #[error("mask `{spec}`: an uninterrupted run leaves no file `{file}`")]
    NoFile {
        /// As written.
        spec: String,
        /// File.
        file: String,
    },
    /// `unallocated` where no table says what is allocated.
    #[error("mask `unallocated`: no file has a valid GPT copy after an uninterrupted run")]
    NoTable,
}

impl Mask {
    /// What the given uninterrupted runs (the first is the baseline) and the scenario excuse. Volatile bytes count
    /// where the scenario's masks don't cover them, and may be at most `max_share` of a file. What of the runs is in
    /// memory is compared there, at the cost of what differs.
    pub fn measure(runs: &[Saved], specs: &[String], max_share: f64) -> Result<Self, MaskError> {
        let [baseline, others @ ..] = runs else { return Err(MaskError::TooFewRuns(0)) };
        if others.is_empty() {
            return Err(MaskError::TooFewRuns(1));
        }
        let mut excused = excused(baseline, specs)?;
        let mut differing: BTreeMap<PathBuf, Vec<Range<u64>>> = BTreeMap::new();
        for other in others {
            for Difference { path, what } in
                differences_of_volumes(baseline, other).map_err(at(&other.path))?
            {
                match what {
                    What::Data(ranges) => differing.entry(path).or_default().extend(ranges),
                    what => return Err(MaskError::Shape { path, what: what.to_string() }),
                }
            }
        }
        let mut mask = Self::default();
        for (path, ranges) in differing {
            let excused = excused.entry(path.clone()).or_default();
            let volatile = volatile(baseline, &path, &merged(ranges), excused, max_share)?;
            mask.volatile_bytes += sum(&volatile);
            excused.extend(volatile);
        }
        mask.files = excused.into_iter().map(|(path, ranges)| (path, merged(ranges))).collect();
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

/// What the scenario excuses, by file; each list is sorted and disjoint.
fn excused(baseline: &Saved, specs: &[String]) -> Result<BTreeMap<PathBuf, Vec<Range<u64>>>, MaskError> {
    let mut excused: BTreeMap<PathBuf, Vec<Range<u64>>> = BTreeMap::new();
    if specs.is_empty() {
        return Ok(excused);
    }
    let files = View::from(baseline).files().map_err(at(&baseline.path))?;
    for spec in specs {
        match model::Mask::parse(spec).ok_or_else(|| MaskError::Spec(spec.clone()))? {
            model::Mask::Unallocated => {
                let mut tables = 0;
                for file in &files {
                    if let Some(layout) = layout(baseline, file)? {
                        tables += 1;
                        excused.entry(file.clone()).or_default().extend(layout.unallocated());
                    }
                }
                if tables == 0 {
                    return Err(MaskError::NoTable);
                }
            }
            model::Mask::Everything => {
                for file in &files {
                    excused.entry(file.clone()).or_default().push(0..u64::MAX);
                }
            }
            model::Mask::Range { file: Some(file), bytes } => {
                if !files.iter().any(|known| known.as_os_str() == file.as_str()) {
                    return Err(MaskError::NoFile { spec: spec.clone(), file });
                }
                excused.entry(file.into()).or_default().push(bytes);
            }
            model::Mask::Range { file: None, bytes } => {
                for file in &files {
                    excused.entry(file.clone()).or_default().push(bytes.clone());
                }
            }
        }
    }
    Ok(excused.into_iter().map(|(file, ranges)| (file, merged(ranges))).collect())
}

/// The structures of a file that holds a GPT.
fn layout(baseline: &Saved, file: &Path) -> Result<Option<Layout>, MaskError> {
    match View::from(baseline).open(file).and_then(|disk| Gpt::read(&disk)) {
        Ok(gpt) => Ok(Layout::of(&gpt)),
        // A link that leads nowhere, or another thing without bytes.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(&baseline.path.join(file))(error)),
    }
}

/// The differing ranges of a file, widened, less what is excused anyway.
fn volatile(
    baseline: &Saved,
    file: &Path,
    differing: &[Range<u64>],
    excused: &[Range<u64>],
    max_share: f64,
) -> Result<Vec<Range<u64>>, MaskError> {
    let path = baseline.path.join(file);
    let len = View::from(baseline).open(file).and_then(|bytes| bytes.len_bytes()).map_err(at(&path))?;
    let layout = layout(baseline, file)?;
    let unexcused: Vec<_> = differing.iter().flat_map(|range| outside(range.clone(), excused)).collect();
    let limit_bytes = (len as f64 * max_share) as u64;
    let widened = merged(unexcused.iter().map(|range| widened(range.clone(), layout.as_ref())));
    let volatile: Vec<_> = widened.into_iter().flat_map(|range| outside(range, excused)).collect();
    match unexcused.first() {
        Some(first) if sum(&volatile) > limit_bytes => Err(MaskError::TooVolatile {
            path: file.to_owned(),
            limit_bytes,
            first: layout.as_ref().map_or_else(
                || format!("{:#x}", first.start),
                |layout| layout.place(first.start).to_string(),
            ),
        }),
        _ => Ok(volatile),
    }
}

fn sum(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
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

fn at(path: &Path) -> impl FnOnce(io::Error) -> MaskError {
    let path = path.to_owned();
    move |source| MaskError::Io { path, source }
}

#[cfg(test)]
mod tests;
