//! What is kept of a failed chain until somebody asks why: its states and recordings, which cost nothing to keep for a
//! while. Whoever tells of findings explains the first of them, in the order in which they are told.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use fault_backend::oplog::OpLog;
use fault_backend::power::PowerState;
use fault_backend::replay::Point;
use fault_backend::volume::Volume;
use fault_backend::{Action, Fault};
use reports::Compared;
use scenarios::model::Phase;

use super::difference::{Explanation, Found, Wanted};
use super::ops::Leg;
use super::{Inputs, finding};
use crate::image::{View, What, differences_of_volumes};
use crate::judge::Asked;
use crate::mask::Mask;
use crate::stage::Saved;

/// Findings of a campaign that are explained; beyond them most are the same once more, so that only the first of a kind is.
pub const MAX_EXPLAINED: u64 = 50;

/// The oracle about what a power cut leaves of a run that said that it was done.
const DURABLE: &str = "durable";

/// How far a recorded run went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Ops that were done.
    pub after: u64,
    /// An op of which only a part of the payload arrived, and how many bytes of it.
    pub torn: Option<(u64, u64)>,
    /// Ops up to `after` that did not survive a power cut: sorted.
    pub lost: Vec<u64>,
    /// The op that was disturbed, where the run was not cut but went on.
    pub disturbed: Option<u64>,
}

impl From<Point> for Reach {
    fn from(point: Point) -> Self {
        match point {
            Point::After(after) => Self { after, ..Self::default() },
            Point::Torn { op, bytes } => {
                Self { after: op.saturating_sub(1), torn: Some((op, bytes)), ..Self::default() }
            }
        }
    }
}

impl From<&PowerState> for Reach {
    /// Of a torn write it counts as not there: which parts of it are is the state's own affair.
    fn from(state: &PowerState) -> Self {
        let mut lost = state.dropped.clone();
        lost.extend(state.torn.map(|torn| torn.op));
        lost.sort_unstable();
        Self { after: state.cut, lost, ..Self::default() }
    }
}

impl Reach {
    /// Of a run that a fault cut or disturbed at an op.
    pub fn of_fault(fault: &Fault, log: &OpLog) -> Option<Self> {
        Some(match fault {
            Fault::AtOp(number, Action::KillBefore) => Point::After(number.saturating_sub(1)).into(),
            Fault::AtOp(number, Action::KillAfter) => Point::After(*number).into(),
            Fault::AtOp(number, Action::KillTorn(sectors)) => {
                let bytes = log.op(*number)?.torn_sector_bytes(u64::from(*sectors));
                Point::Torn { op: *number, bytes }.into()
            }
            Fault::AtOp(number, _) | Fault::FromOp(number, _) => {
                Self { after: log.len(), disturbed: Some(*number), ..Self::default() }
            }
            _ => return None,
        })
    }
}

/// A recorded run and how far it went.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its ops.
    pub log: Arc<OpLog>,
    /// What of them is there.
    pub reach: Reach,
}

/// What an explanation is made from.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// States in memory.
    States(Box<States>),
    /// A directory, with what was left there until the next run.
    Directory(Box<Directory>),
    /// It was explained by an earlier try of the campaign; the bytes that were told then.
    Told(Box<Compared>),
}

/// What a result in a directory is compared with.
#[derive(Clone, Debug)]
pub struct Directory {
    /// What an uninterrupted run leaves.
    pub baseline: Saved,
    /// Bytes that may differ.
    pub mask: Mask,
    /// The oracle that decided the verdict.
    pub oracle: String,
}

/// The states of a failed chain.
#[derive(Clone, Debug)]
pub struct States {
    /// The phase.
    pub phase: Phase,
    /// What the phase started with.
    pub start: Volume,
    /// What an uninterrupted run leaves.
    pub baseline: Volume,
    /// The last crash state; none where the run came to its end by itself.
    pub crash: Option<Volume>,
    /// What the run that went to the end left.
    pub result: Volume,
    /// What a further run left, where there was one.
    pub further: Option<Volume>,
    /// Bytes that may differ.
    pub mask: Mask,
    /// Runs that do the same ops write other payloads, such as the time.
    pub payload_varies: bool,
    /// The runs that were cut, one after the other.
    pub runs: Vec<Run>,
    /// The run that went to the end, where it was recorded.
    pub resume: Option<Arc<OpLog>>,
    /// An uninterrupted run.
    pub uninterrupted: Option<Arc<OpLog>>,
    /// The oracle that decided the verdict.
    pub oracle: String,
    /// What it was asked about.
    pub asked: Asked,
}

impl Directory {
    /// The explanation of what is there. No seam without states in memory numbers its ops.
    pub fn explain(&self, result: View<'_>) -> io::Result<Explanation> {
        finding(&Inputs {
            found: (Found::Result, result),
            wanted: (Wanted::Baseline, View::from(&self.baseline)),
            mask: Some(&self.mask),
            cut: &[],
            resume: None,
            resumed_from: None,
            uninterrupted: None,
            oracle: &self.oracle,
        })
    }
}

impl States {
    /// The explanation.
    pub fn explain(&self) -> io::Result<Explanation> {
        let baseline = (Wanted::Baseline, View::Memory(&self.baseline));
        let result = (Found::Result, View::Memory(&self.result));
        let (found, wanted) = match (&self.crash, &self.further) {
            // The tool had said that it was done, so that nothing else than its result is good.
            (Some(crash), _) if self.oracle == DURABLE => ((Found::Crash, View::Memory(crash)), baseline),
            (Some(left), _) if self.asked == Asked::AtExit => {
                ((Found::Disturbed, View::Memory(left)), baseline)
            }
            (Some(crash), _) if self.asked == Asked::AtCrash => {
                ((Found::Crash, View::Memory(crash)), self.nearer(View::Memory(crash))?)
            }
            (_, Some(further)) if self.oracle == "idempotent" => {
                ((Found::FurtherRun, View::Memory(further)), (Wanted::Result, View::Memory(&self.result)))
            }
            _ => (result, baseline),
        };
        let legs: Vec<Leg<'_>> = self.runs.iter().map(Run::leg).collect();
        finding(&Inputs {
            found,
            wanted,
            mask: Some(&self.mask),
            cut: &legs,
            resume: self.resume.as_deref().filter(|_| found.0 == Found::Result),
            resumed_from: self.crash.as_ref().filter(|_| found.0 == Found::Result).map(View::Memory),
            uninterrupted: self.uninterrupted.as_deref(),
            oracle: &self.oracle,
        })
    }

    /// Whether a resume that was run once more did the same: it leaves the same volume, but for bytes that may differ.
    pub fn is_result(&self, volume: &Volume) -> io::Result<bool> {
        let differences = differences_of_volumes(View::Memory(&self.result), View::Memory(volume))?;
        let excused = |file: &Path, ranges: &[Range<u64>]| {
            self.payload_varies || super::unexcused(ranges, file, Some(&self.mask)).is_empty()
        };
        Ok(differences.into_iter().all(|difference| match difference.what {
            What::Data(ranges) => excused(&difference.path, &ranges),
            _ => false,
        }))
    }

    /// Of a crash state, most tells what it has otherwise than the good state that it is nearer to; what must not change
    /// is compared with what it was.
    fn nearer(&self, crash: View<'_>) -> io::Result<(Wanted, View<'_>)> {
        let start = (Wanted::Start, View::Memory(&self.start));
        if matches!(self.oracle.as_str(), "untouched" | "content" | "isolation") {
            return Ok(start);
        }
        let baseline = (Wanted::Baseline, View::Memory(&self.baseline));
        let (from_start, from_baseline) = (distance(start.1, crash)?, distance(baseline.1, crash)?);
        Ok(if from_start < from_baseline { start } else { baseline })
    }
}

impl Run {
    fn leg(&self) -> Leg<'_> {
        let Reach { after, torn, lost, disturbed } = &self.reach;
        Leg { log: &self.log, after: *after, torn: *torn, lost, disturbed: *disturbed }
    }
}

/// Files that are others as wholes, then bytes that differ.
fn distance(a: View<'_>, b: View<'_>) -> io::Result<(usize, u64)> {
    let mut distance = (0, 0);
    for difference in differences_of_volumes(a, b)? {
        match difference.what {
            What::Data(ranges) => {
                distance.1 += ranges.iter().map(|range| range.end - range.start).sum::<u64>()
            }
            _ => distance.0 += 1,
        }
    }
    Ok(distance)
}
