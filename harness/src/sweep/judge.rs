//! What a worker does with one state: puts it there, samples it, resumes, asks the oracles.

use std::collections::BTreeSet;
use std::ffi::OsString;
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
    /// What the resume asked of what lay in the scratch directory; none where it asked for more than names.
    pub asked: Option<AskedOf>,
}

/// What a resume asked of what lay in the scratch directory. With anything of which it would have been told the same, it
/// would have done the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedOf {
    /// All names, by listing them.
    pub all: bool,
    /// Names that it looked up.
    pub names: BTreeSet<OsString>,
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
    let Finished { judgement, resume, glances, .. } =
        Chain::begin_with(ground, phase, vec![crash]).finish(None)?;
    let asked = glances.filter(|glances| !glances.touched);
    Ok(Judged {
        sample,
        judgement,
        resume: resume.filter(|_| follow),
        asked: asked.map(|glances| AskedOf { all: glances.listed, names: glances.names }),
    })
}
