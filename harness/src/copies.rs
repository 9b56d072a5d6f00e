//! How far the copies of a phase had come at a crash, judged by their whole content.
//!
//! A copy's destination is where the uninterrupted run leaves the partition. On the host its chunks are hashed once for
//! the phase's start and once for its baseline; a sample takes the hashes of a fingerprint, or reads the destination. In
//! memory it is a question of which chunks differ from the baseline's.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use fault_backend::Image;
use fault_backend::content_id::{CHUNK_BYTES, is_zero};
use reports::event::CopyState;
use scenarios::model::Phase;

use crate::fingerprint::Fingerprint;
use crate::gpt::Gpt;
use crate::image::{self, Bytes, ReadAt, View};

/// The destinations of a phase's copies.
#[derive(Debug)]
pub struct Copies {
    file: PathBuf,
    /// The disk after the uninterrupted run, where it is in memory.
    done: Option<Image>,
    destinations: Vec<Destination>,
}

#[derive(Debug)]
struct Destination {
    label: String,
    extent: Range<u64>,
    known: Known,
}

/// What is known of a destination beforehand. Chunks are counted from its start.
#[derive(Debug)]
enum Known {
    /// Hashes of its chunks at the phase's start and in the baseline.
    Hashes { before: Vec<u128>, done: Vec<u128> },
    /// The chunks that tell of the copy: those that it changes to something other than zeros.
    InMemory { telling: BTreeSet<u64> },
}

/// Why copies can't be sampled.
#[derive(Debug, thiserror::Error)]
pub enum CopiesError {
    /// Reading failed.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// File.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A phase copies partitions of a volume that has no one disk.
    #[error("phase `{phase}` copies partitions, but its volume is not one disk with a GPT")]
    NoDisk {
        /// Phase.
        phase: String,
    },
    /// The uninterrupted run leaves no partition of that label.
    #[error("phase `{phase}` copies `{label}`, but its uninterrupted run leaves no such partition")]
    NoPartition {
        /// Phase.
        phase: String,
        /// Label.
        label: String,
    },
}

impl Copies {
    /// Takes in the destinations, in the disk `file`, of the volumes at the phase's start and after its uninterrupted
    /// run.
    pub fn new<'a>(
        phase: &Phase,
        file: Option<&Path>,
        start: impl Into<View<'a>>,
        baseline: impl Into<View<'a>>,
    ) -> Result<Self, CopiesError> {
        if phase.copies.is_empty() {
            return Ok(Self { file: PathBuf::new(), done: None, destinations: Vec::new() });
        }
        let file = file.ok_or_else(|| CopiesError::NoDisk { phase: phase.name.clone() })?;
        let failed = |source| CopiesError::Io { path: file.to_owned(), source };
        let (start, baseline) =
            (start.into().open(file).map_err(failed)?, baseline.into().open(file).map_err(failed)?);
        let gpt = Gpt::read(&baseline).map_err(failed)?;
        let partitions = gpt.best().map_or(&[][..], |copy| &copy.partitions);
        let changed = match (&start, &baseline) {
            (Bytes::Image(before), Bytes::Image(done)) => Some(before.diff(done).map_err(failed)?),
            _ => None,
        };
        let mut destinations = Vec::new();
        for label in &phase.copies {
            let place = partitions.iter().find(|p| p.label == *label && p.extent.end <= gpt.len_bytes);
            let Some(partition) = place else {
                return Err(CopiesError::NoPartition { phase: phase.name.clone(), label: label.clone() });
            };
            let extent = partition.extent.clone();
            let known = Known::of(&start, &baseline, changed.as_deref(), &extent).map_err(failed)?;
            destinations.push(Destination { label: label.clone(), extent, known });
        }
        let done = match baseline {
            Bytes::Image(done) => Some(done),
            Bytes::File(_) => None,
        };
        Ok(Self { file: file.into(), done, destinations })
    }

    /// The state of each copy in a volume, of which `known` may hold the chunk hashes.
    pub fn sample<'a>(
        &self,
        volume: impl Into<View<'a>>,
        known: Option<&Fingerprint>,
    ) -> io::Result<BTreeMap<String, CopyState>> {
        let mut states = BTreeMap::new();
        if self.destinations.is_empty() {
            return Ok(states);
        }
        let volume = volume.into();
        let mut disk = None;
        let mut differing = None;
        for destination in &self.destinations {
            let hashed = known.and_then(|known| known.chunks(&destination.extent));
            let state = match (&destination.known, hashed) {
                (Known::Hashes { before, done }, Some(now)) => by_hashes(before, done, now),
                (known, _) => {
                    let disk = match &mut disk {
                        Some(disk) => disk,
                        empty => empty.insert(volume.open(&self.file)?),
                    };
                    match known {
                        Known::Hashes { before, done } => {
                            by_hashes(before, done, &hashes(disk, &destination.extent)?)
                        }
                        Known::InMemory { telling } => {
                            // One comparison serves all destinations.
                            let ranges = match &mut differing {
                                Some(ranges) => ranges,
                                empty => empty.insert(self.differing(disk)?),
                            };
                            by_differences(telling, &chunks_within(ranges, &destination.extent))
                        }
                    }
                }
            };
            states.insert(destination.label.clone(), state);
        }
        Ok(states)
    }
}

impl Copies {
    /// Where a disk in memory differs from the baseline's.
    fn differing(&self, disk: &Bytes) -> io::Result<Vec<Range<u64>>> {
        match (&self.done, disk) {
            (Some(done), Bytes::Image(now)) => done.diff(now),
            // A set was made for states in memory.
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Known {
    /// `changed` says where the run changes a disk in memory.
    fn of(
        start: &Bytes,
        baseline: &Bytes,
        changed: Option<&[Range<u64>]>,
        extent: &Range<u64>,
    ) -> io::Result<Self> {
        let (Some(changed), Bytes::Image(done)) = (changed, baseline) else {
            return Ok(Self::Hashes { before: hashes(start, extent)?, done: hashes(baseline, extent)? });
        };
        let mut telling = chunks_within(changed, extent);
        let mut chunk = [0; CHUNK_BYTES];
        let mut zeros = Vec::new();
        for index in &telling {
            let at = extent.start + index * CHUNK_BYTES as u64;
            let chunk = &mut chunk[..(extent.end - at).min(CHUNK_BYTES as u64) as usize];
            done.fill(at, chunk)?;
            if is_zero(chunk) {
                zeros.push(*index);
            }
        }
        zeros.iter().for_each(|index| {
            telling.remove(index);
        });
        Ok(Self::InMemory { telling })
    }
}

/// What the chunks say in which a destination differs from its baseline.
fn by_differences(telling: &BTreeSet<u64>, differing: &BTreeSet<u64>) -> CopyState {
    if differing.is_empty() {
        CopyState::Complete
    } else if telling.is_subset(differing) {
        CopyState::Empty
    } else {
        CopyState::Partial
    }
}

/// The chunks of an extent that ranges lie in, in order; they are counted from its start.
fn chunks_within(ranges: &[Range<u64>], extent: &Range<u64>) -> BTreeSet<u64> {
    let chunk = |at: u64| (at - extent.start) / CHUNK_BYTES as u64;
    let first = ranges.partition_point(|range| range.end <= extent.start);
    let inside = ranges[first..].iter().take_while(|range| range.start < extent.end);
    inside
        .flat_map(|range| chunk(range.start.max(extent.start))..=chunk(range.end.min(extent.end) - 1))
        .collect()
}

/// Complete where all is as in the baseline; empty where no chunk that the copy changes to something other than zeros
/// has its final content.
fn by_hashes(before: &[u128], done: &[u128], now: &[u128]) -> CopyState {
    if now == done {
        return CopyState::Complete;
    }
    let mut telling =
        before.iter().zip(done).zip(now).filter(|((before, done), _)| **done != 0 && before != done);
    if telling.any(|((_, done), now)| done == now) { CopyState::Partial } else { CopyState::Empty }
}

/// Chunk hashes of an extent; what lies beyond a file's end counts as zeros. The chunks of an extent that begins with
/// one are numbered from the file's start, as a fingerprint does it.
fn hashes(disk: &Bytes, extent: &Range<u64>) -> io::Result<Vec<u128>> {
    let end = extent.end.min(disk.len_bytes()?).max(extent.start);
    let first = match extent.start % CHUNK_BYTES as u64 {
        0 => extent.start / CHUNK_BYTES as u64,
        _ => 0,
    };
    let mut parts = image::chunk_parts_from(disk, extent.start..end, first)?;
    parts.resize(image::chunk_count(extent.end - extent.start), 0);
    Ok(parts)
}
