//! What a worker does with one state: puts it there, samples it, resumes, asks the oracles.

use std::sync::Arc;

use fault_backend::oplog::OpLog;
use fault_backend::volume::Volume;

use crate::chain::{Chain, CrashState, Finished, Sample, sample};
use crate::error::Error;
use crate::judge::Judgement;
use crate::prepare::Prepared;
use crate::token::TokenKill;

/// What a state was found to be, and what became of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The state, without its oracles' answers.
    pub sample: Sample,
    /// What resume and oracles came to.
    pub judgement: Judgement,
    /// The recording of the resume, where it was asked for.
    pub resume: Option<Arc<OpLog>>,
}

/// Judges a crash state of a phase. The kill is the last one that led to it.
pub fn judge(
    prepared: &mut Prepared,
    phase: usize,
    state: Volume,
    kill: TokenKill,
    follow: bool,
) -> Result<Judged, Error> {
    let Prepared { phases, ground } = prepared;
    if ground.stage.interrupted() {
        return Err(Error::Interrupted);
    }
    let phase = &mut phases[phase];
    ground.stage.enter(&mut phase.known.start, &mut phase.known.baseline)?;
    ground.stage.fuse()?.place_volume(state);
    let found = sample(ground, phase, &[])?;
    // Answers are needed once; what is kept of many states has to be small.
    let sample = Sample { answers: Vec::new(), ..found.clone() };
    let crash = CrashState::of_point(kill, found);
    let Finished { judgement, resume, .. } = Chain::begin_with(ground, phase, vec![crash]).finish(None)?;
    Ok(Judged { sample, judgement, resume: resume.filter(|_| follow) })
}
