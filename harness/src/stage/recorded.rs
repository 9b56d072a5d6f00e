//! What a recorded run becomes: its ops as both seams know them, and the point at which it was cut.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fault_backend::fuse::Recorded;
use fault_backend::oplog::{Op, OpLog, Outcome};
use fault_backend::replay::Point;
use fault_backend::volume::{Ino, Node, Volume};
use fault_backend::{Action, ContentId, Fault};

use super::{Attempt, OpTrace};
use crate::error::Error;
use crate::image::{SCRATCH, VOLUME};
use crate::judge::Failure;
use crate::process::{self, End, Mark};

/// The runs of some commands, and their recording as one. That of a run that was not cut goes to `log`.
pub(super) fn attempt(
    mut runs: Vec<process::Run>,
    failure: Option<Failure>,
    recorded: Recorded,
    disk: Option<&Path>,
    log: &mut Option<Arc<OpLog>>,
) -> Result<Attempt, Error> {
    let marks: Vec<Mark> = runs.iter().flat_map(|run| run.marks.iter().cloned()).collect();
    let acks = runs.iter().flat_map(|run| run.acks.iter().cloned()).collect();
    let wall = runs.iter().map(|run| run.wall).sum();
    let Some(last) = runs.pop() else { return Err(Error::NotRecorded) };
    let run = process::Run { marks, acks, wall, ..last };
    let ops = traces(&recorded.log, &run.marks, disk);
    let recording = Arc::new(recorded.log);
    let (mut cut, mut past) = (None, None);
    if run.end == End::Killed {
        let (fault, point) = where_cut(&recording);
        (cut, past) = (Some(fault), Some((recording, point)));
    } else {
        *log = Some(recording);
    }
    let (mapped, glances, footprint) = (recorded.mapped, Some(recorded.glances), recorded.footprint);
    Ok(Attempt { run, failure, ops, cut, past, mapped, glances, footprint })
}

/// The ops as both seams know them, with the bytes of the disk that they change. Their clock is the
/// volume's, so each is placed behind the mark of its step.
fn traces(log: &OpLog, marks: &[Mark], disk: Option<&Path>) -> Vec<OpTrace> {
    let trace = |op: &Op| {
        let marked = marks.iter().find(|mark| mark.name == *op.step);
        OpTrace {
            range: op.range().filter(|_| op.path.as_deref() == disk).unwrap_or(0..0),
            flush: op.is_flush(),
            at: marked.map_or(Duration::ZERO, |mark| mark.at) + Duration::from_nanos(op.number),
            complete: !matches!(op.outcome, Outcome::Torn { .. } | Outcome::Skipped),
        }
    };
    log.ops.iter().map(trace).collect()
}

/// The fault that brings a cut back, and its point in the recording.
fn where_cut(log: &OpLog) -> (Fault, Point) {
    let after = |number| (Fault::AtOp(number, Action::KillAfter), Point::After(number));
    match log.ops.last() {
        None => after(0),
        Some(op) => match op.outcome {
            Outcome::Skipped => after(op.number - 1),
            Outcome::Torn { bytes } => {
                let sectors = (1..=op.sectors()).find(|k| op.torn_sector_bytes(*k) >= bytes).unwrap_or(0);
                let sectors = u32::try_from(sectors).unwrap_or(u32::MAX);
                let fault = Fault::AtOp(op.number, Action::KillTorn(sectors));
                (fault, Point::Torn { op: op.number, bytes })
            }
            Outcome::Completed | Outcome::Failed(_) | Outcome::Dropped => after(op.number),
        },
    }
}

/// Whether an op is about the volume and not about the scratch directory.
pub fn is_in_volume(op: &Op) -> bool {
    op.path.as_ref().is_none_or(|path| path.starts_with(VOLUME))
}

/// What lies in the scratch directory of a state, by name, and whether it is a folder.
pub fn scratch_names(state: &Volume) -> BTreeMap<OsString, bool> {
    let entries = state.resolve(Path::new(SCRATCH)).and_then(|ino| state.entries(ino));
    let is_dir = |ino: &Ino| state.node(*ino).is_some_and(Node::is_dir);
    entries.into_iter().flatten().map(|(name, ino)| (name.clone(), is_dir(ino))).collect()
}

/// Content id of a state without its scratch directory.
pub fn volume_id(state: &Volume) -> Option<ContentId> {
    state.content_id_at(Path::new(VOLUME))
}
