//! A campaign of live random kills: iteration after iteration, each phase is killed at random times, resumed to the
//! end and judged, until the iterations or the time are used up, a signal comes, or the disk is full.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fault_backend::ContentId;
use reports::{Event, Finding, Kill, PlannedKill, Stream, Verdict};

use crate::chain::{Chain, CrashState, Cut, Judgement, Step};
use crate::draw::{self, DrawnKill};
use crate::error::Error;
use crate::prepare::{Prepared, full_check};
use crate::process::{Aim, Anchor};
use crate::token::{self, Token};
use crate::workdir;

/// A kill that came too late is made up for by another one, so many times.
const TRIES_PER_KILL: u32 = 8;

/// Below this the run directory counts as full.
const RUN_DIR_FULL_BELOW_BYTES: u64 = 1 << 20;

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
}

/// Runs a campaign. What was done until an error is in the stream.
#[derive(Debug)]
pub struct Campaign<'a> {
    prepared: &'a mut Prepared,
    limits: Limits,
    bug: Option<String>,
    /// The scenario's file, where it does not ship.
    scenario_file: Option<PathBuf>,
    run_dir: &'a Path,
    /// Content ids seen so far, per phase.
    seen: HashSet<(usize, ContentId)>,
    findings: u64,
    /// How much of the measured duration a resume takes, per phase; learnt from the resumes that ran to the end.
    resume_scale: Vec<f64>,
}

impl<'a> Campaign<'a> {
    /// A campaign over what was prepared.
    pub fn new(
        prepared: &'a mut Prepared,
        limits: Limits,
        bug: Option<String>,
        scenario_file: Option<PathBuf>,
        run_dir: &'a Path,
    ) -> Self {
        let resume_scale = vec![1.0; prepared.phases.len()];
        Self { prepared, limits, bug, scenario_file, run_dir, seen: HashSet::new(), findings: 0, resume_scale }
    }

    /// Goes on until everything that was asked for is done.
    pub fn run(&mut self, stream: &mut Stream) -> Result<(), Error> {
        let began = Instant::now();
        let mut iteration = 0;
        while self.limits.iterations.is_none_or(|n| iteration < n)
            && self.limits.time.is_none_or(|time| began.elapsed() < time)
        {
            iteration += 1;
            self.check_room()?;
            stream.emit(&Event::IterationStarted { iteration })?;
            for phase in 0..self.prepared.phases.len() {
                self.kill_phase(iteration, phase, stream)?;
            }
        }
        Ok(())
    }

    fn check_room(&self) -> Result<(), Error> {
        full_check(&self.prepared.work)?;
        let free_bytes = workdir::free_bytes(self.run_dir).map_err(Error::io(self.run_dir))?;
        if free_bytes < RUN_DIR_FULL_BELOW_BYTES {
            return Err(Error::RunDirFull { path: self.run_dir.to_owned(), free_bytes });
        }
        Ok(())
    }

    /// Has every kill that was drawn for the phase land, in as many chains as it takes.
    fn kill_phase(&mut self, iteration: u64, index: usize, stream: &mut Stream) -> Result<(), Error> {
        let drawn = draw::draw(self.limits.seed, iteration, index, self.limits.kills.clone());
        stream.emit(&Event::Planned {
            iteration,
            phase: self.prepared.phases[index].phase.name.clone(),
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
        while !left.is_empty() && tries > 0 {
            let done = self.chain(iteration, index, &left, &mut attempt, stream)?;
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
        attempt: &mut u32,
        stream: &mut Stream,
    ) -> Result<Done, Error> {
        let scale = self.resume_scale[index];
        let phases = &mut self.prepared.phases;
        // The chain borrows its phase mutably and the rest of the campaign's ground immutably.
        let mut phase = phases.remove(index);
        let result = run_chain(self.prepared, &mut phase, kills, scale);
        let name = phase.phase.name.clone();
        let (start_id, baseline_id, wall) = (phase.start_id, phase.baseline_id, phase.wall);
        self.prepared.phases.insert(index, phase);
        let (crashes, judgement, late) = result?;

        if let Some(aim) = &late {
            *attempt += 1;
            stream.emit(&Event::Late {
                iteration,
                phase: name.clone(),
                attempt: *attempt,
                step: match &aim.anchor {
                    Anchor::Start => "start".to_owned(),
                    Anchor::Step(step) => step.clone(),
                },
            })?;
        }
        // A kill fell before the run's last op if the run was the first and did fewer ops than it should, or if
        // anything was left to write afterwards.
        let mut writes_after = judgement.writes;
        let mut landed_flags = Vec::with_capacity(crashes.len());
        for crash in crashes.iter().rev() {
            landed_flags.push(crash.before_last_op || writes_after > 0);
            writes_after += crash.writes;
        }
        landed_flags.reverse();
        for (crash, landed) in crashes.iter().zip(&landed_flags) {
            *attempt += 1;
            let distinct = self.seen.insert((index, crash.content_id));
            stream.emit(&Event::Kill(Kill {
                iteration,
                phase: name.clone(),
                attempt: *attempt,
                at_ms: crash.at_ms,
                landed: *landed,
                step: crash.step.clone(),
                op: crash.op,
                inside_op: crash.inside_op,
                content_id: crash.content_id.to_string(),
                distinct,
                interior: crash.content_id != start_id && crash.content_id != baseline_id,
                scratch_wiped: crash.kill.wipe,
                gpt: crash.gpt,
                copies: crash.copies.clone(),
            }))?;
        }
        let landed = landed_flags.iter().filter(|landed| **landed).count() as u32;
        let done = Done { attempted: crashes.len() as u32 + u32::from(late.is_some()), landed };
        if crashes.is_empty() {
            // Nothing was cut, so there is no crash state to judge; a failure of a plain run still counts.
            if judgement.verdict == Verdict::Recovered {
                return Ok(done);
            }
        } else if judgement.verdict == Verdict::Recovered {
            let ratio = (judgement.resume_s / wall.as_secs_f64().max(0.001)).clamp(0.05, 1.0);
            self.resume_scale[index] = 0.8 * self.resume_scale[index] + 0.2 * ratio;
        }
        stream.emit(&Event::Judged {
            iteration,
            phase: name.clone(),
            verdict: judgement.verdict,
            kills: crashes.len() as u32,
            wall_ms: judgement.wall_ms,
        })?;
        if !judgement.verdict.is_pass() && judgement.verdict != Verdict::NotMeasured {
            let finding = self.finding(&name, &crashes, judgement);
            stream.emit(&Event::Finding(finding))?;
        } else if judgement.verdict == Verdict::NotMeasured {
            stream.emit(&Event::Warning { text: format!("phase `{name}`: not measured: {}", judgement.explain) })?;
        }
        Ok(done)
    }

    fn finding(&mut self, phase: &str, crashes: &[CrashState], judgement: Judgement) -> Finding {
        self.findings += 1;
        let resolved = &self.prepared.resolved;
        let token = Token {
            scenario: resolved.scenario.name.clone(),
            scale: resolved.scale.clone(),
            digest: resolved.digest(),
            seed: self.limits.seed,
            phase: phase.to_owned(),
            kills: crashes.iter().map(|crash| crash.kill).collect(),
            fixture: token::short(self.prepared.fixture_id),
            crash: crashes.last().map_or_else(|| token::short(self.prepared.fixture_id), |c| token::short(c.content_id)),
            bug: self.bug.clone(),
        };
        let points: Vec<String> = token.kills.iter().map(|kill| kill.describe()).collect();
        let file = match &self.scenario_file {
            Some(path) => format!(" --scenario '{}'", path.display()),
            None => String::new(),
        };
        Finding {
            id: format!("F{}", self.findings),
            repro: format!("killpoint repro '{token}'{file}"),
            token: token.to_string(),
            verdict: judgement.verdict,
            phase: phase.to_owned(),
            step: crashes.last().map_or("start", |crash| &crash.step).to_owned(),
            point: points.join(", then "),
            oracle: judgement.oracle,
            explain: judgement.explain,
        }
    }
}

/// What became of a chain's kills.
struct Done {
    attempted: u32,
    landed: u32,
}

/// Cuts the phase at the drawn times until one comes too late, and judges what the last resume leaves. The third
/// value is the aim that came too late.
fn run_chain(
    prepared: &Prepared,
    phase: &mut crate::prepare::PreparedPhase,
    kills: &[DrawnKill],
    resume_scale: f64,
) -> Result<(Vec<CrashState>, Judgement, Option<Aim>), Error> {
    let window = phase.window.clone();
    let mut chain = Chain::begin(prepared, phase)?;
    for (ordinal, kill) in kills.iter().enumerate() {
        let scale = if ordinal == 0 { 1.0 } else { resume_scale };
        let aim = window.aim(kill.fraction, scale);
        match chain.cut(&Cut::Time(aim.clone()), kill.wipe)? {
            Step::Crashed(_) => {}
            Step::Finished(attempt) => {
                let (crashes, judgement) = chain.finish(Some(*attempt))?;
                return Ok((crashes, judgement, Some(aim)));
            }
        }
    }
    let (crashes, judgement) = chain.finish(None)?;
    Ok((crashes, judgement, None))
}
