//! What a failed chain leaves for its explanation: states, recordings, and where each run was cut.

use std::sync::Arc;

use fault_backend::oplog::OpLog;
use fault_backend::volume::Volume;

use super::CrashState;
use crate::error::Error;
use crate::explain::{Directory, Evidence, Explanation, Reach, Run, States};
use crate::ground::Ground;
use crate::judge::Asked;
use crate::prepare::{Known, Varies};
use crate::stage::{Job, Which};
use crate::store::{Past, Reached};

/// The states around the run that went to the end.
pub(super) struct Around {
    /// The last crash state, where it was resumed from and is in memory.
    pub crash: Option<Volume>,
    /// What the run left, in memory.
    pub result: Option<Volume>,
    /// A further run was made, and what it left is in memory.
    pub further: Option<Option<Volume>>,
}

impl From<&Past> for Run {
    fn from(past: &Past) -> Self {
        let reach = match &past.at {
            Reached::Point(point) => (*point).into(),
            Reached::Power(cut) => (&cut.state).into(),
        };
        Run { log: Arc::clone(&past.log), reach }
    }
}

/// The runs that lead to a crash state, as far as they were recorded: those before it, and its own.
pub(super) fn runs(crash: &CrashState, known: &Known) -> Vec<Run> {
    if !crash.runs.is_empty() {
        return crash.runs.clone();
    }
    let own = match &crash.past {
        Some(past) => Some(past.into()),
        // A point of the recorded run.
        None => known.log.as_ref().and_then(|log| {
            let reach = match &crash.kill.power {
                Some(state) => state.into(),
                None => Reach::of_fault(&crash.kill.fault, log)?,
            };
            Some(Run { log: Arc::clone(log), reach })
        }),
    };
    own.into_iter().collect()
}

/// Gathers what a failure is explained from. In a directory that is used again, what a further run or a crash left is gone
/// by the time somebody asks. The oracle is the one that decided the verdict.
pub(super) fn gather(
    known: &Known,
    crashes: &[CrashState],
    around: Around,
    resume: Option<Arc<OpLog>>,
    (oracle, asked): (&str, Asked),
) -> Option<Evidence> {
    let Around { crash, result, further } = around;
    let in_memory = known.start.memory.clone().zip(known.baseline.memory.clone()).zip(result);
    let Some(((start, baseline), result)) = in_memory else {
        let stays = further.is_none() && asked == Asked::AtEnd;
        return stays.then(|| {
            let (baseline, mask, oracle) = (known.baseline.clone(), known.mask.clone(), oracle.to_owned());
            Evidence::Directory(Box::new(Directory { baseline, mask, oracle }))
        });
    };
    Some(Evidence::States(Box::new(States {
        start,
        baseline,
        phase: known.phase.clone(),
        crash,
        result,
        further: further.flatten(),
        mask: known.mask.clone(),
        payload_varies: known.varies == Varies::InPayload,
        runs: crashes.last().map_or_else(Vec::new, |crash| runs(crash, known)),
        resume: resume.filter(|log| !log.is_empty()),
        uninterrupted: known.log.clone(),
        oracle: oracle.to_owned(),
        asked,
    })))
}

/// Explains a failure. A resume that was judged by its end alone is run once more, for its ops. What an earlier try of the
/// campaign explained is not explained again.
pub fn explain(evidence: Evidence, ground: &mut Ground) -> Result<Option<Explanation>, Error> {
    let explanation = match evidence {
        Evidence::Directory(directory) => {
            let look = ground.stage.look()?;
            directory.explain((&look).into())
        }
        Evidence::States(mut states) => {
            if states.resume.is_none()
                && states.asked == Asked::AtEnd
                && let Some(crash) = states.crash.clone()
            {
                states.resume = record_again(ground, &states, crash)?;
            }
            states.explain()
        }
        Evidence::Told(_) => return Ok(None),
    };
    explanation.map(Some).map_err(Error::io(ground.work.path()))
}

/// The recording of a resume, by running it once more on its crash state; none where it leaves something else now.
fn record_again(ground: &mut Ground, states: &States, crash: Volume) -> Result<Option<Arc<OpLog>>, Error> {
    let fuse = ground.stage.fuse()?;
    let before = fuse.now().clone();
    fuse.place_volume(crash);
    let ran = ground.stage.run(Job { phase: &states.phase, which: Which::Resume, cut: None }, &mut |_, _| {});
    let log = ground.stage.take_log();
    let fuse = ground.stage.fuse()?;
    let result = fuse.now().clone();
    fuse.place_volume(before);
    ran?;
    let same = states.is_result(&result).map_err(Error::io(ground.work.path()))?;
    Ok(log.filter(|log| same && !log.is_empty()))
}
