//! What a failed chain leaves for its explanation: states, recordings, and where each run was cut.

use std::sync::Arc;

use fault_backend::oplog::OpLog;
use fault_backend::volume::Volume;

use super::CrashState;
use crate::error::Error;
use crate::explain::{self, Evidence, Found, Inputs, Reach, Run, States, Wanted};
use crate::ground::Ground;
use crate::image::View;
use crate::judge::{Asked, Sum};
use crate::prepare::{Known, PreparedPhase};
use crate::stage::recorded::volume_id;
use crate::stage::{Job, Which};

/// Resumes of a phase that each worker runs once more for their recording: more than are explained in all, since some
/// of its findings may be told late.
const MAX_RECORDED_AGAIN: u64 = 4 * explain::MAX_EXPLAINED;

/// The states around the run that went to the end.
pub(super) struct Around {
    /// The last crash state, where it was resumed from and is in memory.
    pub crash: Option<Volume>,
    /// What the run left, in memory.
    pub result: Option<Volume>,
    /// A further run was made, and what it left is in memory.
    pub further: Option<Option<Volume>>,
}

/// The runs that lead to a crash state, as far as they were recorded: those before it, and its own.
pub(super) fn runs(crash: &CrashState, known: &Known) -> Vec<Run> {
    if !crash.runs.is_empty() {
        return crash.runs.clone();
    }
    let own = match &crash.past {
        Some(past) => Some(Run { log: Arc::clone(&past.log), reach: past.point.into() }),
        // A point of the recorded run.
        None => known.log.as_ref().and_then(|log| {
            let reach = Reach::of_fault(&crash.kill.fault, log)?;
            Some(Run { log: Arc::clone(log), reach })
        }),
    };
    own.into_iter().collect()
}

/// Gathers what a failure is explained from. A resume whose ops were not recorded is run once more for them.
pub(super) fn gather(
    ground: &mut Ground,
    phase: &mut PreparedPhase,
    crashes: &[CrashState],
    around: Around,
    mut resume: Option<Arc<OpLog>>,
    sum: &Sum,
) -> Result<Option<Evidence>, Error> {
    let Around { crash, result, further } = around;
    let (Some(start), Some(baseline), Some(result)) =
        (&phase.known.start.memory, &phase.known.baseline.memory, result)
    else {
        return if further.is_none() { told(ground, phase, sum) } else { Ok(None) };
    };
    let (start, baseline) = (start.clone(), baseline.clone());
    if resume.as_ref().is_none_or(|log| log.is_empty())
        && let Some(crash) = &crash
        && sum.asked == Asked::AtEnd
    {
        resume = record_again(ground, phase, crash, &result)?;
    }
    let known = &phase.known;
    Ok(Some(Evidence::States(Box::new(States {
        start,
        baseline,
        crash,
        result,
        further: further.flatten(),
        mask: known.mask.clone(),
        runs: crashes.last().map_or_else(Vec::new, |crash| runs(crash, known)),
        resume,
        uninterrupted: known.log.clone(),
        oracle: sum.oracle.clone(),
        at_crash: sum.asked == Asked::AtCrash,
    }))))
}

/// On the in-process seam the result lies in a directory that is used again, so it is explained at once.
fn told(ground: &mut Ground, phase: &PreparedPhase, sum: &Sum) -> Result<Option<Evidence>, Error> {
    if sum.asked != Asked::AtEnd {
        return Ok(None);
    }
    let look = ground.stage.look()?;
    let explanation = explain::finding(&Inputs {
        found: (Found::Result, View::from(&look)),
        wanted: (Wanted::Baseline, View::from(&phase.known.baseline)),
        mask: Some(&phase.known.mask),
        cut: &[],
        resume: None,
        uninterrupted: None,
        oracle: &sum.oracle,
    });
    let explanation = explanation.map_err(Error::io(look.path))?;
    Ok(Some(Evidence::Told(Box::new(explanation))))
}

/// The recording of a resume that was judged by its end alone, by running it once more; none where it leaves something
/// else now. The stage holds the same volume afterwards, or what it left now.
fn record_again(
    ground: &mut Ground,
    phase: &mut PreparedPhase,
    crash: &Volume,
    result: &Volume,
) -> Result<Option<Arc<OpLog>>, Error> {
    if phase.recorded_again >= MAX_RECORDED_AGAIN {
        return Ok(None);
    }
    phase.recorded_again += 1;
    let fuse = ground.stage.fuse()?;
    fuse.place_volume(crash.clone());
    fuse.want_ends_alone(false);
    let job = Job { phase: &phase.known.phase, which: Which::Resume, cut: None };
    ground.stage.run(job, &mut |_, _| {})?;
    let log = ground.stage.take_log();
    let fuse = ground.stage.fuse()?;
    let same = volume_id(fuse.now()) == volume_id(result);
    fuse.place_volume(result.clone());
    Ok(log.filter(|_| same))
}
