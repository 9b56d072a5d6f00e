//! What a worker does with one state: puts it there, samples it, resumes, asks the oracles.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;

use fault_backend::ContentId;
use fault_backend::oplog::OpLog;
use fault_backend::volume::Volume;

use super::unread::Overwrites;
use crate::chain::{Chain, CrashState, Finished, Sample, Step, sample};
use crate::error::Error;
use crate::explain::Run;
use crate::judge::Judgement;
use crate::oracle::Outcome;
use crate::prepare::Prepared;
use crate::stage::Cut;
use crate::token::TokenKill;

/// What a state was found to be, and what became of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The state, without its oracles' answers.
    pub sample: Sample,
    /// What resume and oracles came to.
    pub judgement: Judgement,
    /// The state itself and its resume, where that is to be followed.
    pub followed: Option<Followed>,
    /// What the resume asked of what lay in the scratch directory; none where it asked for more than names.
    pub asked: Option<AskedOf>,
    /// What the resume overwrote before it read it.
    pub overwrites: Overwrites,
}

/// A state and what was recorded of its resume.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The state.
    pub state: Volume,
    /// The resume.
    pub log: Arc<OpLog>,
    /// What was acknowledged up to the resume's end.
    pub acks: Vec<String>,
}

/// What a state was found to be that need not be judged.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The state, without its oracles' answers.
    pub sample: Sample,
    /// Every oracle that looks at crash states holds.
    pub holds: bool,
}

impl Judged {
    /// A state that stands for no other.
    pub fn alone(sample: Sample, judgement: Judgement) -> Self {
        Self { sample, judgement, followed: None, asked: None, overwrites: Overwrites::default() }
    }
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

/// How a state comes about.
#[derive(Clone, Debug)]
pub struct Source {
    /// A state of recorded runs.
    pub root: Volume,
    /// The kill that leads there.
    pub kill: TokenKill,
    /// The recorded runs that lead there, where they are not the phase's run alone.
    pub runs: Vec<Run>,
    /// Kills of resumes after it, one after the other: they are made again, since keeping what they leave would take
    /// more memory than there is.
    pub further: Vec<TokenKill>,
    /// Content id of the volume that is expected then.
    pub volume: ContentId,
    /// What the tool had acknowledged before the first kill.
    pub acks: Vec<String>,
}

/// Judges a crash state of a phase. With `follow` the state and its resume's recording are given back.
pub fn judge(prepared: &mut Prepared, phase: usize, source: Source, follow: bool) -> Result<Judged, Error> {
    let Prepared { phases, ground } = prepared;
    ground.may_go_on()?;
    let phase = &mut phases[phase];
    ground.stage.enter(&mut phase.known.start, &mut phase.known.baseline)?;
    ground.stage.fuse()?.want_ends_alone(!follow);
    ground.stage.fuse()?.place_volume(source.root);
    let mut last = CrashState::of_point(source.kill, sample(ground, phase, &source.acks)?);
    last.runs = source.runs;
    for kill in source.further {
        let mut chain = Chain::begin_with(ground, phase, vec![last.clone()], source.acks.clone());
        match chain.cut(&Cut::Op(kill.fault.clone()), kill.wipe)? {
            Step::Crashed(crash) => last = *crash,
            Step::Finished(_) => break,
        }
    }
    let state = ground.stage.fuse()?.now().clone();
    // Answers are needed once; what is kept of many states has to be small.
    let sample = Sample { answers: Vec::new(), ..last.sample.clone() };
    if sample.volume_id != source.volume {
        let why = "the kills of its resumes, made again, leave another state than before".to_owned();
        return Ok(Judged::alone(sample, Judgement::not_measured(why)));
    }
    let Finished { judgement, resume, glances, footprint, acks, .. } =
        Chain::begin_with(ground, phase, vec![last], source.acks).finish(None)?;
    let asked = glances.filter(|glances| !glances.touched);
    let overwrites = footprint.map(|footprint| Overwrites::of(&state, &footprint)).unwrap_or_default();
    Ok(Judged {
        sample,
        judgement,
        followed: resume.filter(|_| follow).map(|log| Followed { state, log, acks }),
        asked: asked.map(|glances| AskedOf { all: glances.listed, names: glances.names }),
        overwrites,
    })
}

/// Looks at a state of a phase's run without resuming it.
pub fn look_at(prepared: &mut Prepared, phase: usize, source: Source) -> Result<Looked, Error> {
    let Prepared { phases, ground } = prepared;
    ground.may_go_on()?;
    let phase = &mut phases[phase];
    ground.stage.enter(&mut phase.known.start, &mut phase.known.baseline)?;
    ground.stage.fuse()?.place_volume(source.root);
    let sample = sample(ground, phase, &source.acks)?;
    let holds = sample.answers.iter().all(|answer| matches!(answer.outcome, Outcome::Held));
    Ok(Looked { sample: Sample { answers: Vec::new(), ..sample }, holds })
}

/// Judges what a power cut left after a phase's run said that it was done: nothing is resumed.
pub fn judge_done(prepared: &mut Prepared, phase: usize, source: Source) -> Result<Judged, Error> {
    let Prepared { phases, ground } = prepared;
    ground.may_go_on()?;
    let phase = &mut phases[phase];
    ground.stage.enter(&mut phase.known.start, &mut phase.known.baseline)?;
    ground.stage.fuse()?.place_volume(source.root);
    let sample = Sample { answers: Vec::new(), ..sample(ground, phase, &source.acks)? };
    let crash = CrashState::of_point(source.kill, sample.clone());
    let Finished { judgement, .. } =
        Chain::begin_with(ground, phase, vec![crash], source.acks).finish_durable()?;
    Ok(Judged::alone(sample, judgement))
}
