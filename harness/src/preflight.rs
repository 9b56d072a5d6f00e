//! Preflight: one observed run of each phase, and what it says about a sweep: what can be judged, what can't and why,
//! and what it would cost.

use std::time::Duration;

use fault_backend::oplog::OpLog;
use fault_backend::replay::{Point, Replay};
use reports::{Model, Stream};
use scenarios::Resolved;
use scenarios::model::Phase;
use serde::Serialize;

use crate::error::Error;
use crate::ground::{Ground, Setting, ground};
use crate::process::End;
use crate::programs::Programs;
use crate::stage::{Attempt, Job, Which};
use crate::sweep::points::{Points, Torn, TornUnit};
use crate::sweep::regions::Regions;

/// What was seen of all phases.
#[derive(Clone, Debug, Serialize)]
pub struct Preflight {
    /// Scenario's name.
    pub scenario: String,
    /// Its phases.
    pub phases: Vec<Observed>,
    /// The command to go on with, ready to paste.
    pub next: String,
}

/// What one observed run of a phase did.
#[derive(Clone, Debug, Serialize)]
pub struct Observed {
    /// Phase.
    pub phase: String,
    /// How the run ended: `exit 0`.
    pub end: String,
    /// Ops, flushes included.
    pub ops: u64,
    /// Flushes that were completed.
    pub flushes: u64,
    /// Groups of ops between completed flushes.
    pub epochs: u64,
    /// Bytes of payload.
    pub written_bytes: u64,
    /// Writes that the disk had to make durable by themselves (O_SYNC, O_DSYNC).
    pub fua_writes: u64,
    /// Crash points at op boundaries.
    pub kill_points: u64,
    /// Crash points inside writes, at pages of the file.
    pub torn_points: u64,
    /// Names of the processes that wrote.
    pub processes: Vec<String>,
    /// Most threads that were there at one of its ops.
    pub threads: u64,
    /// It wrote through a writable shared mapping.
    pub shared_mappings: bool,
    /// Time that it wanted to sleep and was not made to, in milliseconds.
    pub sleeps_skipped_ms: u64,
    /// Steps that it told of.
    pub steps: Vec<String>,
    /// Duration of the run in milliseconds.
    pub run_ms: f64,
    /// Duration of a resume from the middle of it, in milliseconds.
    pub resume_ms: f64,
    /// How that resume ended.
    pub resume_end: String,
    /// What a default sweep would take, in seconds, oracles left out.
    pub sweep_s: f64,
    /// What can't be judged, and why.
    pub not_judged: Vec<String>,
}

/// Points inside a write that a sweep looks at by default.
const DEFAULT_TORN: Torn = Torn::PerWrite(4);

/// Runs each phase once, and one resume from its middle.
pub fn preflight(
    resolved: Resolved,
    programs: &Programs,
    setting: &Setting,
    next: String,
    stream: &mut Stream,
) -> Result<Preflight, Error> {
    let mut ground = ground(resolved, programs, setting, stream)?;
    let mut phases = Vec::new();
    for phase in ground.resolved.scenario.phase.clone() {
        phases.push(observe(&mut ground, &phase)?);
    }
    Ok(Preflight { scenario: ground.resolved.scenario.name.clone(), phases, next })
}

fn observe(ground: &mut Ground, phase: &Phase) -> Result<Observed, Error> {
    let start = ground.stage.save("start")?;
    ground.stage.fuse()?.count_threads(true);
    let run = ground.stage.run(Job { phase, which: Which::Run, cut: None }, &mut |_, _| {})?;
    let threads = ground.stage.fuse()?.count_threads(false);
    let after = ground.stage.save("after")?;
    let log = ground.stage.take_log().ok_or(Error::NotRecorded)?;
    if run.run.end == End::Hung || !phase.run_exit.iter().any(|code| run.run.end == End::Exited(*code)) {
        let output = format!("{}{}", run.run.stdout, run.run.stderr);
        let how = end_of(&run);
        return Err(Error::Baseline { phase: phase.name.clone(), how, output: output.trim_end().to_owned() });
    }

    // The middle of the run stands for all of its points.
    let memory = start.memory.clone().ok_or(Error::NotRecorded)?;
    let middle = Replay::new(memory, &log).state(Point::After(log.len() / 2))?;
    ground.stage.fuse()?.place_volume(middle);
    let resume = ground.stage.run(Job { phase, which: Which::Resume, cut: None }, &mut |_, _| {})?;
    ground.stage.place(&after)?;

    let points = Points::of(&log, &Regions::default(), Torn::All, TornUnit::Page, 0, &phase.name);
    let looked_at = Points::of(&log, &Regions::default(), DEFAULT_TORN, TornUnit::Page, 0, &phase.name);
    let resume_ms = ms(resume.run.wall);
    Ok(Observed {
        phase: phase.name.clone(),
        end: end_of(&run),
        ops: log.len(),
        flushes: run.flushes(),
        epochs: log.epochs().count() as u64,
        written_bytes: log.payload_bytes(),
        fua_writes: log.ops.iter().filter(|op| op.fua).count() as u64,
        kill_points: points.planned(Model::Kill),
        torn_points: points.planned(Model::Torn),
        processes: log.processes.iter().map(|name| name.to_string()).collect(),
        threads,
        shared_mappings: run.mapped,
        sleeps_skipped_ms: run.run.sleeps_skipped.as_millis() as u64,
        steps: run.run.marks.iter().map(|mark| mark.name.clone()).collect(),
        run_ms: ms(run.run.wall),
        resume_ms,
        resume_end: end_of(&resume),
        sweep_s: resume_ms / 1000.0 * looked_at.all.len() as f64,
        not_judged: not_judged(&run, &log, threads),
    })
}

fn not_judged(run: &Attempt, log: &OpLog, threads: u64) -> Vec<String> {
    let mut found = Vec::new();
    if run.mapped {
        let text = "kills: it writes through a shared mapping, whose pages survive a kill at times of the kernel's choice";
        found.push(text.to_owned());
    }
    if threads > 1 && log.processes.len() == 1 {
        let text = format!(
            "live kills, if its {threads} threads write in another order each time: such a run is recorded and replayed \
             only"
        );
        found.push(text);
    }
    if run.flushes() == 0 {
        found.push("power: it flushes nothing, so that nothing it wrote is promised to be there".to_owned());
    }
    if log.is_empty() {
        found.push("anything: it changes nothing in its volume".to_owned());
    }
    found
}

fn end_of(attempt: &Attempt) -> String {
    match attempt.run.end {
        End::Exited(code) => format!("exit {code}"),
        End::Killed => "killed".to_owned(),
        End::Signalled(signal) => format!("signal {signal}"),
        End::Hung => "ran past its limit".to_owned(),
    }
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1000.0
}

impl Preflight {
    /// For a person.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        for phase in &self.phases {
            lines.push(format!(
                "{}, phase {}: {} in {:.1} ms",
                self.scenario, phase.phase, phase.end, phase.run_ms
            ));
            lines.push(format!(
                "  Ops         {} ({} flushes, {} epochs), {} written",
                phase.ops,
                phase.flushes,
                phase.epochs,
                bytesize::ByteSize(phase.written_bytes)
            ));
            lines.push(format!(
                "  Points      {} at op boundaries, {} inside writes",
                phase.kill_points, phase.torn_points
            ));
            let mapped =
                if phase.shared_mappings { "writable shared mappings" } else { "no shared mappings" };
            lines.push(format!(
                "  Processes   {}; at most {} at one op; {mapped}",
                if phase.processes.is_empty() { "none wrote".to_owned() } else { phase.processes.join(", ") },
                threads(phase.threads)
            ));
            if phase.sleeps_skipped_ms > 0 {
                lines.push(format!(
                    "  Sleeps      {} ms skipped (--real-time keeps them)",
                    phase.sleeps_skipped_ms
                ));
            }
            if !phase.steps.is_empty() {
                lines.push(format!("  Steps       {}", phase.steps.join(", ")));
            }
            lines.push(format!(
                "  Resume      {} in {:.1} ms from the middle of the run",
                phase.resume_end, phase.resume_ms
            ));
            lines.push(format!("  A sweep     about {:.1} s, oracles left out", phase.sweep_s));
            lines.extend(phase.not_judged.iter().map(|what| format!("  Can't judge {what}")));
        }
        lines.push(format!("Next: {}", self.next));
        lines.join("\n") + "\n"
    }
}

fn threads(count: u64) -> String {
    if count == 1 { "1 thread".to_owned() } else { format!("{count} threads") }
}
