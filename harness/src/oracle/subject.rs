//! The volume that is being judged: its files, opened and their tables read once, and what the comparison with the
//! baseline has already found about it.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::io;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use fault_backend::content_id::{CHUNK_BYTES, is_zero};
use fault_backend::{ContentId, Image, Volume};
use scenarios::model::PartitionRef;
use xxhash_rust::xxh3::Xxh3;

use crate::gpt::{Gpt, Partition};
use crate::image::{self, Bytes, Difference, ReadAt, View, What};
use crate::stage::{Look, Saved};

use super::{Halt, OracleError, Outcome, Told, World, at};

/// A state that oracles look at.
#[derive(Clone, Debug)]
pub(super) struct Side {
    /// The volume, as a directory.
    pub path: PathBuf,
    /// The state in memory, where it is there; its scratch directory is empty.
    pub memory: Option<Volume>,
}

impl Side {
    pub fn of_saved(state: &Saved) -> Result<Self, OracleError> {
        Self::new(&state.path, state.memory.as_ref())
    }

    pub fn of_look(look: &Look<'_>) -> Result<Self, OracleError> {
        Self::new(look.path, look.memory)
    }

    pub fn new(path: &Path, memory: Option<&Volume>) -> Result<Self, OracleError> {
        let memory = memory.map(image::without_scratch).transpose().map_err(at(path))?;
        Ok(Self { path: path.to_owned(), memory })
    }

    pub fn view(&self) -> View<'_> {
        self.memory.as_ref().map_or(View::Dir(&self.path), View::Memory)
    }

    /// A file of the volume.
    pub fn disk(&self, file: &Path) -> Result<Disk, OracleError> {
        let path = self.path.join(file);
        let bytes = self.view().open(file).map_err(at(&path))?;
        Ok(Disk { path, bytes, gpt: OnceCell::new() })
    }
}

/// A file of a volume, open.
#[derive(Debug)]
pub(super) struct Disk {
    /// Where external programs find it.
    pub path: PathBuf,
    pub bytes: Bytes,
    gpt: OnceCell<Gpt>,
}

impl Disk {
    /// Its partition table, which may be none.
    pub fn gpt(&self) -> Result<&Gpt, OracleError> {
        if let Some(gpt) = self.gpt.get() {
            return Ok(gpt);
        }
        let gpt = Gpt::read(&self.bytes).map_err(at(&self.path))?;
        Ok(self.gpt.get_or_init(|| gpt))
    }

    pub fn len_bytes(&self) -> Result<u64, OracleError> {
        self.bytes.len_bytes().map_err(at(&self.path))
    }

    /// The one partition that is meant, by the best copy of the table; else the failure that its lack is.
    pub fn partition(&self, wanted: &PartitionRef) -> Result<&Partition, Halt> {
        let gpt = self.gpt()?;
        let name = name_of(wanted);
        let halt = |text: String| Halt::Says(Outcome::failed(text));
        let Some(copy) = gpt.best() else {
            return Err(halt(format!("{name} cannot be found: no GPT copy is valid")));
        };
        let mut meant = copy.partitions.iter().filter(|partition| is_meant(partition, wanted));
        match (meant.next(), meant.next(), wanted) {
            (Some(partition), None, _) if partition.extent.end <= gpt.len_bytes => Ok(partition),
            (Some(partition), None, _) => {
                Err(halt(format!("{name} ends at LBA {}, beyond the disk", partition.last_lba)))
            }
            (None, _, PartitionRef::Label(_)) => Err(halt(format!("no partition is named {name}"))),
            (None, _, PartitionRef::Index(_)) => Err(halt(format!("there is no {name}"))),
            (Some(_), Some(_), _) => Err(halt(format!("several partitions are named {name}"))),
        }
    }
}

/// Whether a partition is the one that a scenario names.
pub(super) fn is_meant(partition: &Partition, wanted: &PartitionRef) -> bool {
    match wanted {
        PartitionRef::Label(label) => partition.label == *label,
        PartitionRef::Index(index) => partition.index == *index,
    }
}

/// A partition as explanations name it.
pub(super) fn name_of(wanted: &PartitionRef) -> String {
    match wanted {
        PartitionRef::Label(label) => format!("`{label}`"),
        PartitionRef::Index(index) => format!("partition {index}"),
    }
}

/// A name for the bytes of one extent of one file: of two states' ids for the same extent, equal ones mean equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ExtentId {
    /// Of all bytes.
    Whole(ContentId),
    /// Of what differs from the baseline.
    Delta(u128),
}

/// Sorted, disjoint ranges of bytes.
type Ranges = Rc<[Range<u64>]>;

/// A volume under judgement.
pub(super) struct Subject<'a> {
    pub side: Side,
    /// Content id of the whole state and of its volume alone, where they are known.
    pub ids: Option<(ContentId, ContentId)>,
    pub told: Told<'a>,
    /// A check may have written to its directory.
    written: Cell<bool>,
    disks: RefCell<HashMap<PathBuf, Rc<Disk>>>,
    /// Where each file differs from the baseline's; `None` where that was not found out.
    differing: RefCell<HashMap<PathBuf, Option<Ranges>>>,
    /// All files were compared: those that are not listed are the baseline's.
    compared: Cell<bool>,
}

impl<'a> Subject<'a> {
    pub fn new(side: Side, ids: Option<(ContentId, ContentId)>, told: Told<'a>) -> Self {
        Self {
            side,
            ids,
            told,
            written: Cell::new(false),
            disks: RefCell::default(),
            differing: RefCell::default(),
            compared: Cell::new(false),
        }
    }

    /// A file of the volume; its lack is a failure.
    pub fn disk(&self, file: &Path) -> Result<Rc<Disk>, Halt> {
        if let Some(disk) = self.disks.borrow().get(file) {
            return Ok(Rc::clone(disk));
        }
        let disk = match self.side.disk(file) {
            Err(OracleError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(Halt::Says(Outcome::failed(format!("`{}` is missing", file.display()))));
            }
            disk => Rc::new(disk?),
        };
        self.disks.borrow_mut().insert(file.to_owned(), Rc::clone(&disk));
        Ok(disk)
    }

    /// The volume's directory with what is being judged in it. On the FUSE seam a check may have written there.
    pub fn path(&self, world: &World) -> &Path {
        if self.written.replace(false)
            && let Some(state) = &self.side.memory
        {
            world.show_again(state);
        }
        &self.side.path
    }

    /// Notes that a check may have changed the directory.
    pub fn set_written(&self) {
        self.written.set(true);
    }

    /// Notes how all files differ from the baseline's, masked or not.
    pub fn note(&self, differences: &[Difference]) {
        let mut known = self.differing.borrow_mut();
        for Difference { path, what } in differences {
            let ranges = known.entry(path.clone()).or_insert_with(|| Some(Rc::from([])));
            match what {
                What::Data(data) if ranges.is_some() => *ranges = Some(Rc::from(data.as_slice())),
                What::Attribute(_) => {}
                // Of a file of another length the differences behind the shorter one's end are not listed.
                _ => *ranges = None,
            }
        }
        self.compared.set(true);
    }

    fn known_differences(&self, file: &Path) -> Option<Ranges> {
        match self.differing.borrow().get(file) {
            Some(known) => known.clone(),
            None => self.compared.get().then(|| Rc::from([])),
        }
    }

    /// Id of an extent of a file. In memory it costs what differs from the baseline; of a file, what is known to equal
    /// the baseline is not read.
    pub fn extent_id(
        &self,
        file: &Path,
        disk: &Disk,
        extent: &Range<u64>,
        world: &mut World,
    ) -> Result<ExtentId, OracleError> {
        let known = self.known_differences(file);
        let image = match &disk.bytes {
            Bytes::Image(image) => image,
            Bytes::File(_) => return whole_id(file, disk, extent, known.as_deref(), world),
        };
        let differing = match known {
            Some(known) => known,
            None => {
                let found: Ranges = world.baseline.differences(file, image).map_err(at(&disk.path))?.into();
                self.differing.borrow_mut().insert(file.to_owned(), Some(Rc::clone(&found)));
                found
            }
        };
        delta_id(image, &differing, extent).map(ExtentId::Delta).map_err(at(&disk.path))
    }
}

impl Side {
    /// Where an image differs from the file in memory; a file that is not there is an empty one.
    fn differences(&self, file: &Path, image: &Image) -> io::Result<Vec<Range<u64>>> {
        match self.view().open(file) {
            Ok(Bytes::Image(mine)) => mine.diff(image),
            Ok(Bytes::File(mine)) => Bytes::File(mine).differences(&Bytes::Image(image.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Image::new(0).diff(image),
            Err(error) => Err(error),
        }
    }
}

fn whole_id(
    file: &Path,
    disk: &Disk,
    extent: &Range<u64>,
    differing: Option<&[Range<u64>]>,
    world: &mut World,
) -> Result<ExtentId, OracleError> {
    let like_baseline = differing.is_some_and(|found| within(found, extent).next().is_none());
    let place = (file.to_owned(), extent.clone());
    if like_baseline && let Some(id) = world.memory.baseline_ids.get(&place) {
        return Ok(ExtentId::Whole(*id));
    }
    let id = image::content_of(&disk.bytes, extent.clone()).map_err(at(&disk.path))?;
    if like_baseline {
        world.memory.baseline_ids.insert(place, id);
    }
    Ok(ExtentId::Whole(id))
}

/// Hash of the bytes of an extent that lie in these ranges. Zeros are left out block by block, counted from the
/// extent's start, so that it depends on nothing outside and a hole costs nothing.
fn delta_id(image: &Image, differing: &[Range<u64>], extent: &Range<u64>) -> io::Result<u128> {
    let mut hasher = Xxh3::new();
    let mut block = [0; CHUNK_BYTES];
    for range in within(differing, extent) {
        hasher.update(&range.start.to_le_bytes());
        hasher.update(&range.end.to_le_bytes());
        let mut next = range.start;
        while let Some(data) = Image::next_data(image, next).filter(|data| *data < range.end) {
            let start = (data - (data - extent.start) % CHUNK_BYTES as u64).max(range.start);
            let end =
                (start - (start - extent.start) % CHUNK_BYTES as u64 + CHUNK_BYTES as u64).min(range.end);
            let piece = &mut block[..(end - start) as usize];
            image.fill(start, piece)?;
            if !is_zero(piece) {
                hasher.update(&start.to_le_bytes());
                hasher.update(piece);
            }
            next = end;
        }
    }
    Ok(hasher.digest128())
}

/// The parts of sorted, disjoint ranges that lie in an extent.
fn within<'a>(ranges: &'a [Range<u64>], extent: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<'a> {
    let (start, end) = (extent.start, extent.end);
    let first = ranges.partition_point(|range| range.end <= start);
    let inside = ranges[first..].iter().take_while(move |range| range.start < end);
    inside.map(move |range| range.start.max(start)..range.end.min(end)).filter(|range| !range.is_empty())
}

/// Where `len` bytes of two files differ, from an offset in each, relative to those.
pub(super) fn compare(
    (a, a_start): (&Bytes, u64),
    (b, b_start): (&Bytes, u64),
    len: u64,
) -> io::Result<Extract> {
    let mut extract = Extract::default();
    if let (Bytes::Image(a), Bytes::Image(b), true) = (a, b, a_start == b_start) {
        let ranges = a.diff(b)?;
        within(&ranges, &(a_start..a_start + len))
            .for_each(|range| extract.add(range.start - a_start..range.end - a_start));
        return Ok(extract);
    }
    let _ = image::compare_parts((a, a_start), (b, b_start), len, |range| {
        extract.add(range);
        ControlFlow::Continue(())
    })?;
    Ok(extract)
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

    /// Holds where nothing differs; else fails, with the places named.
    pub fn outcome(&self, place: impl Fn(u64) -> String) -> Outcome {
        if self.is_empty() { Outcome::Held } else { Outcome::failed(self.text(place)) }
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

#[cfg(test)]
mod tests;
