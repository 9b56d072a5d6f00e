//! A campaign of live random kills: iteration after iteration, each phase is killed at random times, resumed to the
//! end and judged, until the iterations or the time are used up, a signal comes, or the disk is full.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, Instant};

use fault_backend::oplog::{Op, OpLog};
use fault_backend::{Action, Fault};
use reports::{Event, PlannedKill, Stream, Verdict};
use scenarios::model::ScratchPolicy;

use crate::chain::{Chain, Finished, Step};
use crate::draw::{self, DrawnKill, Window};
use crate::error::Error;
use crate::explain::Evidence;
use crate::ground::{Ground, full_check};
use crate::judge::Judgement;
use crate::prepare::{Prepared, PreparedPhase};
use crate::process::{Aim, Anchor};
use crate::record::{Origin, Place, Recorder, Trace};
use crate::shrink::{self, Outcome};
use crate::stage::Cut;

/// A kill that came too late is made up for by another one, so many times.
const TRIES_PER_KILL: u32 = 12;

/// Each kill that came too late makes the ones that make up for it come so much earlier.
const HASTE: f64 = 0.8;

/// How kills are aimed.
#[derive(Clone, Copy, Debug)]
struct Aiming {
    /// Delays are multiplied by this.
    haste: f64,
    /// They count from the start, whatever the steps.
    by_clock: bool,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Iterations; none where only time counts.
    pub iterations: Option<u64>,
    /// Time after which no iteration begins; none where only iterations count.
    pub time: Option<Duration>,
    /// Kills per phase and iteration.
    pub kills: RangeInclusive<u32>,
    /// Findings after which no iteration begins.
    pub findings: Option<u64>,
    /// Bytes that have to stay free on the disks that the campaign uses; by their size where none is given.
    pub min_free_bytes: Option<u64>,
    /// How findings of several kills are made smaller, where they are.
    pub shrinking: Option<shrink::Limits>,
}

/// Runs a campaign. What was done until an error is in the stream.
#[derive(Debug)]
pub struct Campaign<'a> {
    prepared: &'a mut Prepared,
    limits: Limits,
    recorder: Recorder,
}

impl<'a> Campaign<'a> {
    /// A campaign over what was prepared.
    pub fn new(prepared: &'a mut Prepared, limits: Limits, origin: Origin, run_dir: &Path) -> Self {
        prepared.ground.watch_room(run_dir, limits.min_free_bytes);
        let recorder = Recorder::new(origin, run_dir).shrinking(limits.shrinking);
        Self { prepared, limits, recorder }
    }

    /// Goes on until everything that was asked for is done.
    pub fn run(&mut self, stream: &mut Stream) -> Result<(), Error> {
        let began = Instant::now();
        let mut iteration = 0;
        while self.limits.iterations.is_none_or(|n| iteration < n)
            && self.limits.time.is_none_or(|time| began.elapsed() < time)
            && self.limits.findings.is_none_or(|n| self.recorder.findings() < n)
        {
            iteration += 1;
            self.check_room(stream)?;
            stream.emit(&Event::IterationStarted { iteration })?;
            for phase in 0..self.prepared.phases.len() {
                self.kill_phase(iteration, phase, stream)?;
            }
        }
        Ok(())
    }

    fn check_room(&mut self, stream: &mut Stream) -> Result<(), Error> {
        let ground = &self.prepared.ground;
        full_check(&ground.work)?;
        ground.may_go_on()?;
        ground.warn_of_room(stream)
    }

    /// Has every kill that was drawn for the phase land, in as many chains as it takes.
    fn kill_phase(&mut self, iteration: u64, index: usize, stream: &mut Stream) -> Result<(), Error> {
        let drawn = draw::draw(self.limits.seed, iteration, index, self.limits.kills.clone());
        stream.emit(&Event::Planned {
            iteration,
            phase: self.prepared.phases[index].known.phase.name.clone(),
            kills: drawn
                .kills
                .iter()
                .map(|kill| PlannedKill { fraction: kill.fraction, scratch_wiped: kill.wipe })
                .collect(),
        })?;
        let mut left = drawn.kills;
        let mut tries = left.len() as u32 * TRIES_PER_KILL;
        let mut redrawn = 0;
        let mut attempt = 0;
        let mut aiming = Aiming { haste: 1.0, by_clock: false };
        while !left.is_empty() && tries > 0 {
            let done = self.chain(iteration, index, &left, aiming, &mut attempt, stream)?;
            if !done.passed {
                // It is a finding, or could not be measured; trying the same again would only repeat that.
                break;
            }
            aiming.by_clock = done.late == Some(Late::StepNotReached);
            if done.attempted > done.landed && !aiming.by_clock {
                aiming.haste *= HASTE;
            }
            tries = tries.saturating_sub(done.attempted);
            let still = left.len().saturating_sub(done.landed as usize);
            left = (0..still)
                .map(|_| {
                    redrawn += 1;
                    draw::redraw(self.limits.seed, iteration, index, redrawn)
                })
                .collect();
        }
        Ok(())
    }

    fn chain(
        &mut self,
        iteration: u64,
        index: usize,
        kills: &[DrawnKill],
        aiming: Aiming,
        attempt: &mut u32,
        stream: &mut Stream,
    ) -> Result<Done, Error> {
        let Prepared { phases, ground } = &mut *self.prepared;
        let phase = &mut phases[index];
        let place = Place::new(iteration, phase);
        let (Finished { crashes, judgement, .. }, late) = run_chain(ground, phase, kills, aiming)?;

        let landed = self.recorder.kills(&place, &crashes, judgement.writes, attempt, stream)?;
        if let Some((anchor, _)) = &late {
            *attempt += 1;
            stream.emit(&Event::Late {
                iteration,
                phase: place.phase.clone(),
                attempt: *attempt,
                step: anchor.name().to_owned(),
            })?;
        }
        let done = Done {
            attempted: crashes.len() as u32 + u32::from(late.is_some()),
            landed,
            passed: judgement.verdict.is_pass(),
            late: late.as_ref().map(|(_, why)| *why),
        };
        if crashes.is_empty() && judgement.verdict == Verdict::Recovered {
            // Nothing was cut, so there is no crash state to judge.
            return Ok(done);
        }
        self.recorder.verdict(&place, crashes.len(), &judgement, stream)?;
        let (trace, judgement) = self.shrunk(index, &place, Trace::of(&crashes, &place), judgement)?;
        self.recorder.follow_up(&mut self.prepared.ground, &place, &trace, judgement, stream)?;
        Ok(done)
    }

    /// A finding of several kills, as small as it can be made.
    fn shrunk(
        &mut self,
        index: usize,
        place: &Place,
        trace: Trace,
        judgement: Judgement,
    ) -> Result<(Trace, Judgement), Error> {
        let Some((case, limits)) = self.recorder.to_shrink(place, &trace, &judgement) else {
            return Ok((trace, judgement));
        };
        match shrink::shrink(self.prepared, index, &case, limits)? {
            Outcome::Shrunk(shrunk) => Ok((trace.shrunk_to(&shrunk, place), shrunk.judgement)),
            // Where the volume is a directory, something else is there by now.
            Outcome::NotAgain | Outcome::NotLive => {
                let in_memory = judgement.evidence.filter(|evidence| matches!(evidence, Evidence::States(_)));
                Ok((trace, Judgement { evidence: in_memory, ..judgement }))
            }
        }
    }
}

/// What became of a chain's kills.
struct Done {
    attempted: u32,
    landed: u32,
    passed: bool,
    late: Option<Late>,
}

/// Why a kill came too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// The tool was quicker.
    Overtaken,
    /// The run did not go through the step that was aimed at, as a resume need not.
    StepNotReached,
}

/// Cuts the phase at the drawn times until one comes too late, and judges what the last resume leaves. The second
/// value is the aim that came too late, and why.
fn run_chain(
    ground: &mut Ground,
    phase: &mut PreparedPhase,
    kills: &[DrawnKill],
    aiming: Aiming,
) -> Result<(Finished, Option<(Anchor, Late)>), Error> {
    let window = phase.known.window.clone();
    let scratch = phase.known.phase.scratch;
    let log = phase.known.log.clone();
    let mut chain = Chain::begin(ground, phase)?;
    for kill in kills {
        // A tool that doesn't write what is there already goes on from here.
        let done: u64 = chain.crashes.iter().map(|crash| crash.op).sum();
        let done = usize::try_from(done).unwrap_or(usize::MAX);
        let (cut, anchor) = match log.as_deref().and_then(|log| by_op(log, &window, kill, done, aiming)) {
            Some(fault) => (Cut::Op(fault), Anchor::Start),
            None => {
                let aim = by_time(&window, kill, done, aiming);
                let anchor = aim.anchor.clone();
                (Cut::Time(aim), anchor)
            }
        };
        let wipe = match scratch {
            ScratchPolicy::Kept => false,
            ScratchPolicy::Wiped => true,
            ScratchPolicy::Both => kill.wipe,
        };
        if let Step::Finished(attempt) = chain.cut(&cut, wipe)? {
            let reached =
                anchor == Anchor::Start || attempt.run.marks.iter().any(|mark| mark.name == anchor.name());
            let why = if reached { Late::Overtaken } else { Late::StepNotReached };
            return Ok((chain.finish(Some(*attempt))?, Some((anchor, why))));
        }
    }
    Ok((chain.finish(None)?, None))
}

/// The op that a drawn kill falls on, on a seam that can cut there: before the op, or inside it at a page.
fn by_op(log: &OpLog, window: &Window, kill: &DrawnKill, done: usize, aiming: Aiming) -> Option<Fault> {
    let (number, into) = window.op(kill.fraction, done)?;
    let number = ((number as f64 * aiming.haste).ceil() as u64).max(1);
    // What a resume does is not known beforehand; it is taken to write as the run did from there on.
    let op = log.op(number.saturating_add(done as u64));
    let pages = op.map_or(1, Op::pages).max(1);
    let boundary = (into * pages as f64) as u64;
    let action = match (boundary, op) {
        (1.., Some(op)) => Action::KillTorn(u32::try_from(op.torn_sectors(boundary)).unwrap_or(u32::MAX)),
        _ => Action::KillBefore,
    };
    Some(Fault::AtOp(number, action))
}

/// The time that a drawn kill stands for.
fn by_time(window: &Window, kill: &DrawnKill, done: usize, aiming: Aiming) -> Aim {
    let mut aim = match aiming.by_clock {
        true => window.aim_by_clock(kill.fraction),
        false => window.aim(kill.fraction, done),
    };
    aim.delay = aim.delay.mul_f64(aiming.haste);
    aim
}
