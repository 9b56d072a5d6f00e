//! How far the copies of a phase had come at a crash, judged by their whole content.
//!
//! A copy's destination is where the uninterrupted run leaves the partition. Its chunks are hashed once for the
//! phase's start and once for its baseline; a sample takes the hashes of a fingerprint, or reads the destination.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use fault_backend::content_id::CHUNK_BYTES;
use reports::event::CopyState;
use scenarios::model::Phase;

use crate::fingerprint::Fingerprint;
use crate::gpt::Gpt;
use crate::image;

/// The destinations of a phase's copies.
#[derive(Debug)]
pub struct Copies {
    file: PathBuf,
    destinations: Vec<Destination>,
}

#[derive(Debug)]
struct Destination {
    label: String,
    extent: Range<u64>,
    before: Vec<u128>,
    done: Vec<u128>,
}

/// Why copies can't be sampled.
#[derive(Debug, thiserror::Error)]
pub enum CopiesError {
    /// Reading failed.
    #[error("cannot read `{path}`")]
    Io {
        /// File.
        path: PathBuf,
        /// Why.
        source: io::Error,
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
    /// Hashes the destinations in the volumes at the phase's start and after its uninterrupted run.
    pub fn new(phase: &Phase, file: &str, start: &Path, baseline: &Path) -> Result<Self, CopiesError> {
        let open = |path: PathBuf| match File::open(&path) {
            Ok(file) => Ok((file, path)),
            Err(source) => Err(CopiesError::Io { path, source }),
        };
        if phase.copies.is_empty() {
            return Ok(Self { file: file.into(), destinations: Vec::new() });
        }
        let (start, start_path) = open(start.join(file))?;
        let (baseline, baseline_path) = open(baseline.join(file))?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CopiesError::Io { path, source }
        };
        let gpt = Gpt::read(&baseline).map_err(failed(&baseline_path))?;
        let partitions = gpt.best().map_or(&[][..], |copy| &copy.partitions);
        let mut destinations = Vec::new();
        for label in &phase.copies {
            let place = partitions.iter().find(|p| p.label == *label && p.extent.end <= gpt.len_bytes);
            let Some(partition) = place else {
                return Err(CopiesError::NoPartition { phase: phase.name.clone(), label: label.clone() });
            };
            let extent = partition.extent.clone();
            destinations.push(Destination {
                label: label.clone(),
                before: hashes(&start, &extent).map_err(failed(&start_path))?,
                done: hashes(&baseline, &extent).map_err(failed(&baseline_path))?,
                extent,
            });
        }
        Ok(Self { file: file.into(), destinations })
    }

    /// The state of each copy in a volume, of which `known` may hold the chunk hashes.
    pub fn sample(
        &self,
        volume: &Path,
        known: Option<&Fingerprint>,
    ) -> io::Result<BTreeMap<String, CopyState>> {
        let mut states = BTreeMap::new();
        for destination in &self.destinations {
            let state = match known.and_then(|known| known.chunks(&destination.extent)) {
                Some(now) => destination.state(now),
                None => {
                    let file = File::open(volume.join(&self.file))?;
                    destination.state(&hashes(&file, &destination.extent)?)
                }
            };
            states.insert(destination.label.clone(), state);
        }
        Ok(states)
    }
}

impl Destination {
    /// Complete where all is as in the baseline; empty where no chunk that the copy changes to something other
    /// than zeros has its final content.
    fn state(&self, now: &[u128]) -> CopyState {
        if now == self.done {
            return CopyState::Complete;
        }
        let telling = self
            .before
            .iter()
            .zip(&self.done)
            .zip(now)
            .filter(|((before, done), _)| **done != 0 && before != done);
        if telling.clone().any(|((_, done), now)| done == now) {
            CopyState::Partial
        } else {
            CopyState::Empty
        }
    }
}

/// Chunk hashes of an extent; what lies beyond a file's end counts as zeros. The chunks of an extent that begins with
/// one are numbered from the file's start, as a fingerprint does it.
fn hashes(file: &File, extent: &Range<u64>) -> io::Result<Vec<u128>> {
    let end = extent.end.min(image::len_bytes(file)?).max(extent.start);
    let first = match extent.start % CHUNK_BYTES as u64 {
        0 => extent.start / CHUNK_BYTES as u64,
        _ => 0,
    };
    let mut parts = image::chunk_parts_from(file, extent.start..end, first)?;
    parts.resize(image::chunk_count(extent.end - extent.start), 0);
    Ok(parts)
}
