//! The volume that is being judged: its files, opened and their tables read once, and what the comparison with the
//! baseline has already found about it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use fault_backend::ContentId;

use crate::gpt::{Gpt, Partition};
use crate::image;

use super::{OracleError, Outcome, World, at, table_of};

/// Differences nearer to each other than this are noted as one.
const COARSE_BYTES: u64 = 64 << 10;

/// A disk image, open.
#[derive(Debug)]
pub(super) struct Disk {
    pub path: PathBuf,
    pub file: File,
    pub gpt: Gpt,
}

impl Disk {
    pub fn open(path: &Path) -> Result<Self, OracleError> {
        let file = File::open(path).map_err(at(path))?;
        let gpt = table_of(&file, path)?;
        Ok(Self { path: path.to_owned(), file, gpt })
    }

    /// The one partition of that label by the best copy of the table; else the failure that its lack is.
    pub fn partition(&self, label: &str) -> Result<&Partition, Outcome> {
        let Some(copy) = self.gpt.best() else {
            return Err(Outcome::failed(format!("`{label}` cannot be found: no GPT copy is valid")));
        };
        let mut named = copy.partitions.iter().filter(|p| p.label == label);
        match (named.next(), named.next()) {
            (Some(partition), None) if partition.extent.end <= self.gpt.len_bytes => Ok(partition),
            (Some(partition), None) => {
                Err(Outcome::failed(format!("`{label}` ends at LBA {}, beyond the disk", partition.last_lba)))
            }
            (None, _) => Err(Outcome::failed(format!("no partition is named `{label}`"))),
            (Some(_), Some(_)) => Err(Outcome::failed(format!("several partitions are named `{label}`"))),
        }
    }
}

/// A volume under judgement.
pub(super) struct Subject<'a> {
    pub volume: &'a Path,
    disks: RefCell<HashMap<PathBuf, Rc<Disk>>>,
    differing: RefCell<HashMap<PathBuf, Vec<Range<u64>>>>,
}

impl<'a> Subject<'a> {
    pub fn new(volume: &'a Path) -> Self {
        Self { volume, disks: RefCell::default(), differing: RefCell::default() }
    }

    /// A file of the volume.
    pub fn disk(&self, file: &Path) -> Result<Rc<Disk>, OracleError> {
        if let Some(disk) = self.disks.borrow().get(file) {
            return Ok(Rc::clone(disk));
        }
        let disk = Rc::new(Disk::open(&self.volume.join(file))?);
        self.disks.borrow_mut().insert(file.to_owned(), Rc::clone(&disk));
        Ok(disk)
    }

    /// Notes where a file differs from the baseline's, masked or not.
    pub fn note(&self, file: &Path, differing: Coarse) {
        self.differing.borrow_mut().insert(file.to_owned(), differing.ranges);
    }

    /// Content id of an extent of a file; without reading where it is known to equal the baseline's.
    pub fn content_id(
        &self,
        file: &Path,
        disk: &Disk,
        extent: &Range<u64>,
        world: &mut World,
    ) -> Result<ContentId, OracleError> {
        let like_baseline = self
            .differing
            .borrow()
            .get(file)
            .is_some_and(|found| !found.iter().any(|d| d.start < extent.end && extent.start < d.end));
        let known = (file.to_owned(), extent.clone());
        if like_baseline && let Some(id) = world.memory.baseline_ids.get(&known) {
            return Ok(*id);
        }
        let id = image::content_of(&disk.file, extent.clone()).map_err(at(&disk.path))?;
        if like_baseline {
            world.memory.baseline_ids.insert(known, id);
        }
        Ok(id)
    }
}

/// Differing ranges of a file, near ones joined, in order.
#[derive(Debug, Default)]
pub(super) struct Coarse {
    ranges: Vec<Range<u64>>,
}

impl Coarse {
    pub fn add(&mut self, range: &Range<u64>) {
        match self.ranges.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(COARSE_BYTES) => last.end = range.end,
            _ => self.ranges.push(range.clone()),
        }
    }
}

/// The first of many differing ranges, and how much there is in all.
#[derive(Debug, Default)]
pub(super) struct Extract {
    first: Vec<Range<u64>>,
    ranges: u64,
    bytes: u64,
}

impl Extract {
    const SHOWN: usize = 5;

    pub fn add(&mut self, range: Range<u64>) {
        self.ranges += 1;
        self.bytes += range.end - range.start;
        if self.first.len() < Self::SHOWN {
            self.first.push(range);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.ranges == 0
    }

    /// `512 bytes differ in 3 ranges: PLACE (12 bytes), …`.
    pub fn text(&self, place: impl Fn(u64) -> String) -> String {
        let mut shown: Vec<String> =
            self.first.iter().map(|r| format!("{} ({})", place(r.start), bytes(r.end - r.start))).collect();
        if self.ranges > shown.len() as u64 {
            shown.push("…".to_owned());
        }
        let (differ, ranges) = (if self.bytes == 1 { "differs" } else { "differ" }, self.ranges);
        let ranges = if ranges == 1 { "1 range".to_owned() } else { format!("{ranges} ranges") };
        format!("{} {differ} in {ranges}: {}", bytes(self.bytes), shown.join(", "))
    }
}

fn bytes(count: u64) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}
