//! A chain: a phase's run from its start, cut and resumed and cut again, until the resume runs to its end and the
//! oracles answer. Random kills, crash points of a sweep and reproductions are the same chain; they differ only in
//! what cuts it, or in the state that it begins with.

pub mod evidence;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fault_backend::footprint::Footprint;
use fault_backend::fuse::Glances;
use fault_backend::replay::{Point, Replay};
use fault_backend::volume::Volume;
use fault_backend::{Action, ContentId, Fault, OpLog};
use reports::{CopyState, GptSample, Verdict};
use scenarios::model::Oracle;

use crate::error::Error;
use crate::explain::{Reach, Run};
use crate::gpt::Gpt;
use crate::ground::{Ground, full_check};
use crate::image::View;
use crate::judge::{Asked, Judgement, Sum, judge};
use crate::oracle::{Answer, Outcome, Told};
use crate::outage::{Outage, PowerCut};
use crate::prepare::{Known, PreparedPhase};
use crate::process::End;
use crate::stage::recorded::volume_id;
use crate::stage::{Attempt, Cut, Job, Look, Which};
use crate::store::{Past, Reached, StateError};
use crate::token::TokenKill;
use evidence::Around;

/// A crash state as it was found.
#[derive(Clone, Debug)]
pub struct CrashState {
    /// The kill by op, and what became of the scratch directory.
    pub kill: TokenKill,
    /// Time from the spawn to the death, in milliseconds; 0 for a point of a recorded run.
    pub at_ms: f64,
    /// Furthest step mark before the kill.
    pub step: String,
    /// Last op that was complete.
    pub op: u64,
    /// The kill fell inside a write of which some pages had arrived.
    pub inside_op: bool,
    /// Writes that the run had begun.
    pub writes: usize,
    /// It is known to have been killed before its last op: it was the phase's first run and had ops left to do, or
    /// the phase has none, so that any point of it is before the end.
    pub before_last_op: bool,
    /// The run that led here from the state before it, where it was recorded.
    pub past: Option<Past>,
    /// All recorded runs that lead here, where they are more than what `kill` and `past` say.
    pub runs: Vec<Run>,
    /// What was there.
    pub sample: Sample,
}

impl CrashState {
    /// A state that was not reached by a live kill, of which only the kill that would lead there is known.
    pub fn of_point(kill: TokenKill, sample: Sample) -> Self {
        let (op, inside_op) = match kill.fault {
            Fault::AtOp(op, Action::KillTorn(_)) => (op.saturating_sub(1), true),
            Fault::AtOp(op, Action::KillBefore) => (op.saturating_sub(1), false),
            Fault::AtOp(op, _) => (op, false),
            _ => (0, false),
        };
        Self {
            kill,
            at_ms: 0.0,
            step: "start".to_owned(),
            op,
            inside_op,
            writes: 0,
            before_last_op: true,
            past: None,
            runs: Vec::new(),
            sample,
        }
    }
}

/// What a state was found to be.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Content id of volume and scratch directory.
    pub content_id: ContentId,
    /// Content id of the volume alone: what a tool names at random in its scratch directory is no part of it.
    pub volume_id: ContentId,
    /// GPT sample, where the volume holds one.
    pub gpt: Option<GptSample>,
    /// State of each copy.
    pub copies: BTreeMap<String, CopyState>,
    /// What the oracles that are asked at the crash answered.
    pub answers: Vec<Answer>,
}

/// A chain that came to its end.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its crash states.
    pub crashes: Vec<CrashState>,
    /// What it came to.
    pub judgement: Judgement,
    /// The recording of the run that went to the end, on a seam that records.
    pub resume: Option<Arc<OpLog>>,
    /// What it left, on a seam that has that in memory; what is there now may be what a further run made of it.
    pub result: Option<Volume>,
    /// What it, and a further run where there was one, asked about the scratch directory, on a seam that sees that.
    pub glances: Option<Glances>,
    /// What they read and overwrote, on a seam that sees that.
    pub footprint: Option<Footprint>,
    /// What all runs of the chain acknowledged.
    pub acks: Vec<String>,
}

impl Finished {
    /// One in which nothing was resumed.
    fn without_resume(crashes: Vec<CrashState>, judgement: Judgement) -> Self {
        Self {
            crashes,
            judgement,
            resume: None,
            result: None,
            glances: None,
            footprint: None,
            acks: Vec::new(),
        }
    }
}

/// How one cut went.
#[derive(Debug)]
pub enum Step {
    /// The tool died of it.
    Crashed(Box<CrashState>),
    /// The tool was at its end before.
    Finished(Box<Attempt>),
}

/// A chain in the making.
#[derive(Debug)]
pub struct Chain<'a> {
    ground: &'a mut Ground,
    phase: &'a mut PreparedPhase,
    /// Crash states so far.
    pub crashes: Vec<CrashState>,
    /// What the runs so far acknowledged.
    acks: Vec<String>,
    /// What the oracles said of a disturbed run that said that it was done.
    at_exit: Vec<Answer>,
    /// What decides the verdict whatever comes after.
    decided: Option<Judgement>,
}

impl<'a> Chain<'a> {
    /// Begins at the phase's start, with an empty scratch directory.
    pub fn begin(ground: &'a mut Ground, phase: &'a mut PreparedPhase) -> Result<Self, Error> {
        ground.stage.enter(&mut phase.known.start, &mut phase.known.baseline)?;
        ground.stage.place(&phase.known.start)?;
        Ok(Self::begin_with(ground, phase, Vec::new(), Vec::new()))
    }

    /// Begins with the last of some crash states, which is there already, and what the tool acknowledged before.
    pub fn begin_with(
        ground: &'a mut Ground,
        phase: &'a mut PreparedPhase,
        crashes: Vec<CrashState>,
        acks: Vec<String>,
    ) -> Self {
        Self { ground, phase, crashes, acks, at_exit: Vec::new(), decided: None }
    }

    /// Runs what comes next, the phase's run or what resumes it, and cuts it.
    pub fn cut(&mut self, cut: &Cut, wipe: bool) -> Result<Step, Error> {
        let which = if self.crashes.is_empty() { Which::Run } else { Which::Resume };
        let job = Job { phase: &self.phase.known.phase, which, cut: Some(cut) };
        let attempt = self.ground.stage.run(job, &mut |_, _| {})?;
        let Some(fault) = attempt.cut.clone() else { return Ok(Step::Finished(Box::new(attempt))) };
        self.acks.extend(attempt.acks());
        if wipe {
            self.ground.stage.clear_scratch()?;
        }
        let sample = sample(self.ground, self.phase, &self.acks)?;
        let mut runs =
            self.crashes.last().map_or_else(Vec::new, |last| evidence::runs(last, &self.phase.known));
        runs.extend(
            attempt.past.as_ref().map(|(log, point)| Run { log: Arc::clone(log), reach: (*point).into() }),
        );
        let state = CrashState {
            at_ms: attempt.run.wall.as_secs_f64() * 1000.0,
            step: attempt.step().to_owned(),
            op: attempt.completed(),
            inside_op: matches!(fault, Fault::AtOp(_, Action::KillTorn(_))),
            writes: attempt.writes(),
            before_last_op: self.phase.known.ops == 0
                || self.crashes.is_empty() && attempt.completed() < self.phase.known.ops,
            past: attempt.past.map(|(log, point)| Past { log, at: Reached::Point(point), wiped: wipe }),
            runs,
            kill: TokenKill::new(fault, wipe),
            sample,
        };
        self.crashes.push(state.clone());
        Ok(Step::Crashed(Box::new(state)))
    }

    /// Puts the state there that the phase's recorded run had at a kill, without running it; whether there is such a
    /// recording.
    pub fn leap(&mut self, kill: &TokenKill) -> Result<bool, Error> {
        let known = &self.phase.known;
        let (Some(start), Some(log)) = (known.start.memory.clone(), known.log.clone()) else {
            return Ok(false);
        };
        let Some(point) = point_of(&kill.fault, &log) else { return Ok(false) };
        let (op, step) = match (&kill.fault, point) {
            (Fault::AtOp(number, Action::KillBefore), _) => (number.saturating_sub(1), log.op(*number)),
            (_, Point::After(number)) => (number, log.op(number)),
            (_, Point::Torn { op: number, .. }) => (number.saturating_sub(1), log.op(number)),
        };
        let step = step.map_or("start", |op| &op.step).to_owned();
        let mut volume = Replay::new(start, &log).state(point).map_err(StateError::Replay)?;
        let told = log.acks_after(op, u32::try_from(known.acks.len()).unwrap_or(u32::MAX));
        self.acks.extend(known.acks.iter().take(told as usize).cloned());
        let fuse = self.ground.stage.fuse()?;
        if kill.wipe {
            fuse.without_scratch(&mut volume)?;
        }
        fuse.place_volume(volume);
        let sample = sample(self.ground, self.phase, &self.acks)?;
        let past = Past { log, at: Reached::Point(point), wiped: kill.wipe };
        let crash = CrashState::of_point(kill.clone(), sample);
        self.crashes.push(CrashState { step, past: Some(past), ..crash });
        Ok(true)
    }

    /// The ground, with the state on it that the faults so far led to.
    pub fn ground(&mut self) -> &mut Ground {
        self.ground
    }

    /// What the runs so far acknowledged.
    pub fn acks(&self) -> &[String] {
        &self.acks
    }

    /// Runs the phase with a fault that does not cut it. What it leaves is there to be resumed from.
    pub fn disturb(&mut self, fault: Fault) -> Result<(), Error> {
        let (Fault::AtOp(number, _) | Fault::FromOp(number, _)) = fault else {
            return Err(Error::NotRecorded);
        };
        let cut = Cut::Op(fault.clone());
        let job = Job { phase: &self.phase.known.phase, which: Which::Run, cut: Some(&cut) };
        let attempt = self.ground.stage.run(job, &mut |_, _| {})?;
        self.acks.extend(attempt.acks());
        if (attempt.ops.len() as u64) < number {
            let why = format!("the run ended before op {number}, so that it was not disturbed");
            self.decided = Some(Judgement::not_measured(why));
        } else if attempt.run.end == End::Hung {
            let explain = "the disturbed run ran past its limit".to_owned();
            let judgement = Judgement::not_measured(explain);
            self.decided = Some(Judgement { verdict: Verdict::Hung, oracle: "exit".to_owned(), ..judgement });
        } else if let (None, End::Exited(code)) = (&attempt.failure, &attempt.run.end) {
            let told = Told { acks: &self.acks, exit: Some(*code) };
            self.at_exit = self.phase.oracles.at_end(&self.ground.stage.look()?, told);
        }
        let sample = sample(self.ground, self.phase, &self.acks)?;
        let mut crash = CrashState::of_point(TokenKill::new(fault.clone(), false), sample);
        if let Some(log) = self.ground.stage.take_log()
            && let Some(reach) = Reach::of_fault(&fault, &log)
        {
            crash.runs.push(Run { log, reach });
        }
        self.crashes.push(CrashState { step: attempt.step().to_owned(), ..crash });
        Ok(())
    }

    /// Cuts the power in what comes next: the phase's recorded run, or a run of what resumes it. What killed runs before it
    /// had not flushed is lost as well, and ops are counted from the first of them.
    pub fn lose_power(&mut self, kill: &TokenKill, outage: &Arc<Outage>) -> Result<(), Error> {
        let Some(state) = &kill.power else { return Err(Error::NotRecorded) };
        let known = &self.phase.known;
        let (start, log, acks, acks_before) = if self.crashes.is_empty() {
            (known.start.memory.clone(), known.log.clone(), known.acks.clone(), 0)
        } else {
            self.ground.stage.fuse()?.want_ends_alone(false);
            let start = self.ground.stage.fuse()?.now().clone();
            let job = Job { phase: &known.phase, which: Which::Resume, cut: None };
            let attempt = self.ground.stage.run(job, &mut |_, _| {})?;
            let log = self.ground.stage.take_log();
            let acks: Vec<String> = attempt.acks().collect();
            match (since_durable(&self.crashes, &self.phase.known), log) {
                (Some(killed), Some(log)) => {
                    let before = self.acks.len();
                    let log = killed.log.then(&log, u32::try_from(before).unwrap_or(u32::MAX));
                    (Some(killed.start), Some(Arc::new(log)), acks, before)
                }
                (_, log) => (Some(start), log, acks, 0),
            }
        };
        let (Some(start), Some(log)) = (start, log) else { return Err(Error::NotRecorded) };
        let mut volume = outage.volume(start, &log, state)?;
        let fuse = self.ground.stage.fuse()?;
        if kill.wipe {
            fuse.without_scratch(&mut volume)?;
        }
        fuse.place_volume(volume);
        let all = u32::try_from(acks_before + acks.len()).unwrap_or(u32::MAX);
        let told = (log.acks_after(state.cut, all) as usize).saturating_sub(acks_before);
        self.acks.extend(acks.into_iter().take(told));
        let sample = sample(self.ground, self.phase, &self.acks)?;
        let step = log.op(state.cut).map_or("start", |op| &op.step).to_owned();
        let cut = PowerCut { state: state.clone(), outage: Arc::clone(outage) };
        let past = Past { log, at: Reached::Power(cut), wiped: kill.wipe };
        let crash = CrashState::of_point(kill.clone(), sample);
        self.crashes.push(CrashState { step, past: Some(past), ..crash });
        Ok(())
    }

    /// Asks, with nothing resumed, whether what a power cut left after the phase's run said that it was done is what an
    /// uninterrupted run leaves.
    pub fn finish_durable(self) -> Result<Finished, Error> {
        let began = Instant::now();
        let Self { ground, phase, crashes, acks, .. } = self;
        let told = Told { acks: &acks, exit: phase.known.phase.run_exit.first().copied() };
        let look = ground.stage.look()?;
        let answers = phase.oracles.at_end(&look, told);
        let wall_ms = began.elapsed().as_millis() as u64;
        let mut judgement = Judgement { wall_ms, ..Judgement::of_durability(&answers) };
        if !judgement.verdict.is_pass() && judgement.verdict != Verdict::NotMeasured {
            let left = look.memory.cloned();
            let around = Around { crash: left.clone(), result: left, further: None };
            let oracle = &judgement.oracle;
            judgement.evidence =
                evidence::gather(&phase.known, &crashes, around, None, (oracle, Asked::AtCrash));
        }
        Ok(Finished::without_resume(crashes, judgement))
    }

    /// Resumes to the end, or takes a run that finished by itself for that, and has the oracles answer.
    pub fn finish(self, finished: Option<Attempt>) -> Result<Finished, Error> {
        let began = Instant::now();
        let Self { ground, phase, crashes, mut acks, at_exit, decided } = self;
        if let Some(judgement) = decided {
            return Ok(Finished::without_resume(crashes, judgement));
        }
        let crash = match &finished {
            None => ground.stage.fuse().ok().map(|fuse| fuse.now().clone()),
            Some(_) => None,
        };
        let attempt = match finished {
            Some(attempt) => attempt,
            None => {
                let which = if crashes.is_empty() { Which::Run } else { Which::Resume };
                ground.stage.run(Job { phase: &phase.known.phase, which, cut: None }, &mut |_, _| {})?
            }
        };
        if attempt.failure.is_some() {
            full_check(&ground.work)?;
        }
        let mut answers: Vec<(Asked, Answer)> = crashes
            .iter()
            .flat_map(|crash| crash.sample.answers.clone())
            .map(|answer| (Asked::AtCrash, answer))
            .chain(at_exit.into_iter().map(|answer| (Asked::AtExit, answer)))
            .collect();
        acks.extend(attempt.acks());
        let resume = ground.stage.take_log();
        let look = ground.stage.look()?;
        let result = look.memory.cloned();
        let mut around = Around { crash, result: result.clone(), further: None };
        let exit = match attempt.run.end {
            End::Exited(code) => Some(code),
            _ => None,
        };
        let at_end = phase.oracles.at_end(&look, Told { acks: &acks, exit });
        answers.extend(at_end.into_iter().map(|answer| (Asked::AtEnd, answer)));
        let (mut glances, mut footprint) = (attempt.glances.clone(), attempt.footprint.clone());
        if attempt.failure.is_none() && asks_for_idempotence(ground) {
            let (answer, again) = run_again(ground, phase)?;
            answers.push((Asked::AtEnd, answer));
            around.further = Some(ground.stage.look()?.memory.cloned());
            footprint = footprint.zip(again.footprint).map(|(mut all, again)| {
                all.then(&again);
                all
            });
            glances = glances.zip(again.glances).map(|(mut all, again)| {
                all.listed |= again.listed;
                all.touched |= again.touched;
                all.names.extend(again.names);
                all
            });
        }
        let writes = attempt.writes();
        let sum = judge(attempt.failure, &answers);
        let wall_ms = began.elapsed().as_millis() as u64;
        if sum.verdict == Verdict::Recovered {
            ground.stage.confirmed();
        }
        let evidence = match sum.verdict {
            verdict if verdict.is_pass() || verdict == Verdict::NotMeasured => None,
            _ => evidence::gather(&phase.known, &crashes, around, resume.clone(), (&sum.oracle, sum.asked)),
        };
        let Sum { verdict, oracle, explain, .. } = sum;
        let judgement = Judgement { verdict, oracle, explain, writes, wall_ms, evidence };
        Ok(Finished { crashes, judgement, resume, result, glances, footprint, acks })
    }
}

/// What was done since all of it was durable.
struct Undurable {
    /// The phase's start.
    start: Volume,
    /// The killed runs, one after the other.
    log: OpLog,
}

/// What was done since the phase's start, where nothing but kills came between: the page cache survives those. What a kill
/// left inside a write counts as durable, and so does what an orderly reboot left.
fn since_durable(crashes: &[CrashState], known: &Known) -> Option<Undurable> {
    let mut done = Undurable { start: known.start.memory.clone()?, log: OpLog::default() };
    let mut acks = 0;
    for crash in crashes {
        let Past { log, at: Reached::Point(Point::After(op)), wiped: false } = crash.past.as_ref()? else {
            return None;
        };
        done.log = done.log.then(&log.until(*op), acks);
        acks += log.acks_after(*op, log.ops.last().map_or(0, |op| op.acks));
    }
    Some(done)
}

fn asks_for_idempotence(ground: &Ground) -> bool {
    ground.resolved.scenario.oracle.iter().any(|oracle| matches!(oracle, Oracle::Idempotent {}))
}

/// The point of a recorded run at which a kill cuts it; none where the run has no such op.
pub fn point_of(fault: &Fault, log: &OpLog) -> Option<Point> {
    let point = match fault {
        Fault::AtOp(op, Action::KillBefore) => Point::After(op.saturating_sub(1)),
        Fault::AtOp(op, Action::KillAfter) => Point::After(*op),
        Fault::AtOp(op, Action::KillTorn(sectors)) => {
            Point::Torn { op: *op, bytes: log.op(*op)?.torn_sector_bytes(u64::from(*sectors)) }
        }
        _ => return None,
    };
    matches!(point, Point::After(op) | Point::Torn { op, .. } if op <= log.len()).then_some(point)
}

/// Oracle `idempotent`: a further run, whatever it answers, leaves every byte as it is.
fn run_again(ground: &mut Ground, phase: &PreparedPhase) -> Result<(Answer, Attempt), Error> {
    let before = ground.stage.look()?.id;
    let job = Job { phase: &phase.known.phase, which: Which::Run, cut: None };
    let again = ground.stage.run(job, &mut |_, _| {})?;
    let outcome = if ground.stage.look()?.id == before {
        Outcome::Held
    } else {
        Outcome::Failed { explain: "a further run changes the volume".to_owned() }
    };
    Ok((Answer { oracle: "idempotent".to_owned(), outcome }, again))
}

/// Looks at the crash state that is there.
pub fn sample(ground: &mut Ground, phase: &mut PreparedPhase, acks: &[String]) -> Result<Sample, Error> {
    let look = ground.stage.look()?;
    let gpt = match &ground.gpt_file {
        Some(file) => sample_gpt(&look, file)?,
        None => None,
    };
    let copies = phase.copies.sample(&look, look.hashes).map_err(Error::io(look.path))?;
    let volume_id = look.memory.and_then(volume_id).unwrap_or(look.id);
    let answers = phase.oracles.at_crash(&look, acks);
    Ok(Sample { content_id: look.id, volume_id, gpt, copies, answers })
}

/// The table of the volume's disk; none where the tool had not made it yet.
fn sample_gpt(look: &Look<'_>, file: &Path) -> Result<Option<GptSample>, Error> {
    let failed = |source| Error::io(look.path.join(file))(source);
    match View::from(look).open(file) {
        Ok(disk) => Ok(Some(Gpt::read(&disk).map_err(failed)?.sample())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}
