//! Explains a finding: what differs between the state that failed and what was wanted, in the terms of partition tables,
//! file systems and image formats, which op wrote it last, and which op was cut.
//!
//! It is asked for findings only. Differences are found chunk by chunk, so the cost follows what differs; reading a file
//! system's block map is bounded, and so is what is listed. Nothing here judges: an explanation changes no verdict.

mod compare;
mod difference;
mod evidence;
mod ext4;
mod fat;
mod fields;
mod file_system;
mod files;
mod gpt;
mod ops;
mod piece;
mod place;
mod qcow2;
mod sectors;
#[cfg(test)]
mod tests;
mod text;

use std::io;
use std::ops::Range;
use std::path::Path;

use fault_backend::oplog::OpLog;
use fault_backend::volume::Ino;

use crate::image::{Difference as VolumeDifference, ReadAt, VOLUME, View, What, differences_of_volumes};
use crate::mask::{self, Mask};

pub use difference::{Cut, Difference, Explanation, Found, HexRow, OpName, Wanted};
pub use evidence::{Directory, Evidence, MAX_EXPLAINED, Reach, Run, States};
pub use fields::FieldChange;
pub use files::Files;
pub use ops::Leg;
pub use place::{Content, InodeName, PartitionName, Place, Structure, TableCopy};

use compare::{Charts, Groups};
use sectors::Sectors;

/// Version of [`Explanation`] as data.
pub const SCHEMA: u32 = 1;
/// Differences that are listed one by one.
pub const MAX_DIFFERENCES: usize = 20;
/// Sectors whose bytes are kept.
pub const MAX_SECTORS: usize = 4;
/// Ops that a power cut lost and that are named.
pub const MAX_LOST: usize = 6;

/// What a finding is explained from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The state that an oracle objects to, and what it is.
    pub found: (Found, View<'a>),
    /// What it is compared with, and what that is.
    pub wanted: (Wanted, View<'a>),
    /// Bytes that may differ.
    pub mask: Option<&'a Mask>,
    /// The runs that were cut, one after the other, on a seam that records.
    pub cut: &'a [Leg<'a>],
    /// The run that went to the end, where the state is what it left.
    pub resume: Option<&'a OpLog>,
    /// The state that it began with.
    pub resumed_from: Option<View<'a>>,
    /// An uninterrupted run.
    pub uninterrupted: Option<&'a OpLog>,
    /// The oracle that decided the verdict: what it guards is told first.
    pub oracle: &'a str,
}

/// Explains a finding.
///
/// # Errors
/// Only those of reading the states. A structure that is damaged is told as far as it could be read.
pub fn finding(inputs: &Inputs<'_>) -> io::Result<Explanation> {
    let (found, wanted) = (inputs.found.1, inputs.wanted.1);
    let mut charts = Charts::new(wanted, found);
    let mut groups = Groups::default();
    let mut differing = Sectors::default();
    for VolumeDifference { path, what } in differences_of_volumes(wanted, found)? {
        match what {
            What::Data(ranges) => {
                let ranges = unexcused(&ranges, &path, inputs.mask);
                groups.add(&path, &ranges, &mut charts);
                differing.add(&path, ranges);
            }
            what => {
                let ranges = sectors::of_one_side((wanted, found), &path, &what);
                differing.add(&path, unexcused(&ranges, &path, inputs.mask));
                groups.add_file(&path, what.to_string());
            }
        }
    }
    let (differing_bytes, unplaced_bytes) = (groups.bytes, groups.unplaced_bytes);
    let (mut differences, more) = groups.finish((wanted, found), inputs.oracle, MAX_DIFFERENCES);
    let mut legs = inputs.cut.to_vec();
    legs.extend(inputs.resume.map(Leg::whole));
    for difference in differences.iter_mut().filter(|difference| difference.note.is_none()) {
        let file = Path::new(&difference.file);
        // What an unrecorded resume wrote has no op, but it shows.
        difference.by_unrecorded_resume = match inputs.resumed_from.filter(|_| inputs.resume.is_none()) {
            Some(before) => byte(before, file, difference.offset)? != byte(found, file, difference.offset)?,
            None => false,
        };
        if let Some(ino) = inode(found, file).filter(|_| !difference.by_unrecorded_resume) {
            difference.last_writer = ops::last_writer(&legs, ino, difference.offset, &mut charts);
        }
        if let (Some(log), Some(ino)) = (inputs.uninterrupted, inode(wanted, file)) {
            difference.wanted_writer = ops::wanted_writer(log, ino, difference.offset, &mut charts);
        }
    }
    let cuts = ops::cuts(inputs.cut, &mut charts);
    let files = files::of(wanted, found, &differences);
    let sectors = differing.of((wanted, found), &differences, inputs.mask);
    Ok(Explanation {
        schema: SCHEMA,
        found: inputs.found.0,
        wanted: inputs.wanted.0,
        files,
        differences,
        more,
        differing_bytes,
        unplaced_bytes,
        cuts,
        sectors,
        differing_sectors: differing.count(),
    })
}

/// The parts of a file's ranges that no mask excuses.
fn unexcused(ranges: &[Range<u64>], file: &Path, mask: Option<&Mask>) -> Vec<Range<u64>> {
    match mask.map(|mask| mask.ranges(file)) {
        None | Some([]) => ranges.to_vec(),
        Some(excused) => ranges.iter().flat_map(|range| mask::outside(range.clone(), excused)).collect(),
    }
}

/// A byte of a file; none where it is not there.
fn byte(view: View<'_>, file: &Path, offset: u64) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let read = view.open(file).and_then(|bytes| bytes.fill(offset, &mut byte));
    match read {
        Ok(()) => Ok(Some(byte[0])),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The inode of a file of a state in memory: the one that the ops on it name.
fn inode(view: View<'_>, file: &Path) -> Option<Ino> {
    match view {
        View::Memory(state) => state.resolve(&Path::new(VOLUME).join(file)),
        View::Dir(_) => None,
    }
}
