//! Everything that is there before the first kill: the fixture, three uninterrupted runs of each phase, the volatile
//! mask, oracles that have shown that they can object, and the window that random times are drawn from.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fault_backend::Region;
use fault_backend::oplog::{Op, OpLog};
use reports::{Event, Stream};
use scenarios::Resolved;
use scenarios::model::{Oracle, Phase};

use crate::copies::Copies;
use crate::draw::{self, OpTime, Window};
use crate::error::{Error, Missing};
use crate::ground::{Ground, Setting, full_check, ground};
use crate::layout;
use crate::mask::Mask;
use crate::oracle::{Checkers, OracleSet, compares_nothing};
use crate::process::{End, Run};
use crate::programs::Programs;
use crate::stage::{Attempt, Job, Saved, Which, recorded};

/// Uninterrupted runs of each phase.
const BASELINE_RUNS: u32 = 3;

/// Largest share of a file that may differ between uninterrupted runs.
pub const MAX_VOLATILE_SHARE: f64 = 0.001;

/// A campaign that can begin.
#[derive(Debug)]
pub struct Prepared {
    /// Phases in order.
    pub phases: Vec<PreparedPhase>,
    /// What they share; last, so that everything in its working area is closed before that goes.
    pub ground: Ground,
}

/// A phase that can be crashed.
#[derive(Debug)]
pub struct PreparedPhase {
    /// What is known of it, on whatever ground it is judged.
    pub known: Known,
    /// The checks.
    pub oracles: OracleSet,
    /// The copies that it makes.
    pub copies: Copies,
}

/// What the uninterrupted runs of a phase say of it.
#[derive(Clone, Debug)]
pub struct Known {
    /// The model.
    pub phase: Phase,
    /// The state before it.
    pub start: Saved,
    /// The state after an uninterrupted run.
    pub baseline: Saved,
    /// Where uninterrupted runs differ.
    pub mask: Mask,
    /// What an uninterrupted run acknowledged.
    pub acks: Vec<String>,
    /// Optional programs that this machine lacks.
    lacking: Vec<String>,
    /// Where random times are drawn from.
    pub window: Window,
    /// Ops of an uninterrupted run.
    pub ops: u64,
    /// The first uninterrupted run, on a seam that records.
    pub log: Option<Arc<OpLog>>,
    /// The other uninterrupted runs, where they differ from it in payload alone.
    pub others: Vec<Arc<OpLog>>,
    /// How uninterrupted runs differ in what they do.
    pub varies: Varies,
}

impl Known {
    /// Bytes in which uninterrupted runs differ from each other.
    pub fn volatile_bytes(&self) -> u64 {
        self.mask.volatile_bytes()
    }
}

/// How uninterrupted runs differ in their ops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Varies {
    /// Not at all, or nobody recorded them.
    No,
    /// In names or data below the scratch directory alone.
    InScratch,
    /// In what they write to the volume, but not in where and in which order.
    InPayload,
    /// In where or in which order they change the volume.
    InOrder,
    /// Nobody asks: the scenario compares no bytes, and three runs may be alike by chance.
    Unasked,
    /// They write through a shared mapping, whose pages arrive when the kernel pleases.
    Mapped,
}

/// The place of a phase among those of a scenario.
///
/// # Errors
///
/// The scenario has no such phase.
pub fn place_of(phase: &str, resolved: &Resolved) -> Result<usize, Error> {
    let phases = &resolved.scenario.phase;
    phases.iter().position(|one| one.name == phase).ok_or_else(|| Error::NoSuchPhase {
        scenario: resolved.scenario.name.clone(),
        phase: phase.to_owned(),
        phases: phases.iter().map(|phase| phase.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// Says of each phase that is left out that it is.
pub fn tell_of_others(only: Option<usize>, ground: &Ground, stream: &mut Stream) -> Result<(), Error> {
    let phases = ground.resolved.scenario.phase.iter().enumerate();
    for (_, phase) in phases.filter(|(index, _)| only.is_some_and(|only| only != *index)) {
        let what = format!("phase `{}`, which `--phase` left out", phase.name);
        stream.emit(&Event::NotTested { what })?;
    }
    Ok(())
}

/// Makes everything ready. `only_phase` leaves out the phases after it, and the oracles of those before it.
pub fn prepare(
    resolved: Resolved,
    programs: Programs,
    setting: &Setting,
    only_phase: Option<usize>,
    stream: &mut Stream,
) -> Result<Prepared, Error> {
    let mut ground = ground(resolved, &programs, setting, stream)?;
    let mut phases = Vec::new();
    let mut before = ground.stage.save("start")?;
    for (index, phase) in ground.resolved.scenario.phase.clone().into_iter().enumerate() {
        let judged = only_phase.is_none_or(|only| only == index);
        let baseline = baseline(&mut ground, &phase, &before, setting, stream)?;
        let after = baseline.state.clone();
        if judged {
            let optional = &programs.missing_optional;
            phases.push(prepare_phase(&mut ground, phase, before, baseline, optional, setting, stream)?);
        }
        if only_phase == Some(index) {
            break;
        }
        before = after;
    }
    Ok(Prepared { phases, ground })
}

/// What the uninterrupted runs of a phase gave.
struct Baseline {
    state: Saved,
    mask: Mask,
    first: Attempt,
    /// The quickest run: the first one is often slowed down by cold caches.
    quickest: Attempt,
    log: Option<Arc<OpLog>>,
    others: Vec<Arc<OpLog>>,
    varies: Varies,
}

fn baseline(
    ground: &mut Ground,
    phase: &Phase,
    start: &Saved,
    setting: &Setting,
    stream: &mut Stream,
) -> Result<Baseline, Error> {
    let mut states: Vec<Saved> = Vec::new();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut recordings = Recordings::default();
    for run in 1..=BASELINE_RUNS {
        // Whatever depends on the clock's seconds shows as a difference.
        sleep_into_next_second();
        ground.stage.place(start)?;
        let mut layouts = Vec::new();
        let job = Job { phase, which: Which::Run, cut: None };
        let attempt = ground.stage.run(job, &mut |mark, volume| {
            if setting.layouts && run == 1 {
                layouts.push((mark.name.clone(), layout::of_volume(volume)));
            }
        })?;
        for (step, lines) in layouts {
            stream.emit(&Event::Layout { phase: phase.name.clone(), step, lines })?;
        }
        check_end(ground, phase, &attempt.run)?;
        stream.emit(&Event::BaselineRun {
            phase: phase.name.clone(),
            run,
            ops: attempt.ops.len() as u64,
            flushes: attempt.flushes(),
            wall_ms: attempt.run.wall.as_millis() as u64,
        })?;
        states.push(ground.stage.save(&format!("baseline-{}-{run}", phase.name))?);
        attempts.push(attempt);
        if let Some(log) = ground.stage.take_log() {
            recordings.add(log);
        }
    }
    let mask = Mask::measure(&states, &baseline_mask(ground), MAX_VOLATILE_SHARE)
        .map_err(|source| Error::Mask { phase: phase.name.clone(), source })?;
    for extra in states.drain(1..) {
        ground.stage.drop_state(extra)?;
    }
    let mapped = attempts.iter().any(|attempt| attempt.mapped);
    let varies = match mapped {
        true => Varies::Mapped,
        false if compares_nothing(&ground.resolved.scenario.oracle) => Varies::Unasked,
        false => recordings.vary(),
    };
    let quickest = attempts.iter().min_by_key(|attempt| attempt.run.wall).cloned();
    let (Some(state), Some(quickest)) = (states.pop(), quickest) else {
        return Err(Error::NoCommand { phase: phase.name.clone() });
    };
    let first = attempts.swap_remove(0);
    if state.id == start.id && phase.run_exit == [0] {
        let text = format!("phase `{}`: the uninterrupted run changes nothing", phase.name);
        stream.emit(&Event::Warning { text })?;
    }
    stream.emit(&Event::BaselineReady {
        phase: phase.name.clone(),
        volatile_bytes: mask.volatile_bytes(),
        content_id: state.id.to_string(),
        steps: first.run.marks.iter().map(|mark| mark.name.clone()).collect(),
    })?;
    let others = if varies == Varies::InPayload { recordings.others } else { Vec::new() };
    Ok(Baseline { state, mask, first, quickest, log: recordings.first, others, varies })
}

/// The recordings of a phase's uninterrupted runs: the first one, and of the others, which take as much memory, only those
/// that show something else.
#[derive(Debug, Default)]
struct Recordings {
    first: Option<Arc<OpLog>>,
    others: Vec<Arc<OpLog>>,
    /// Some run differs from the first in its ops at all, in those on the volume, in where and in which order.
    differ: bool,
    differ_in_volume: bool,
    differ_in_shape: bool,
}

impl Recordings {
    fn add(&mut self, log: Arc<OpLog>) {
        let Some(first) = &self.first else {
            self.first = Some(log);
            return;
        };
        let alike = |matters: fn(&Op) -> bool| first.same_ops(&log, matters);
        if alike(|_| true) {
            return;
        }
        self.differ = true;
        if !alike(recorded::is_in_volume) {
            self.differ_in_volume = true;
            self.differ_in_shape |= !first.same_shape(&log);
            self.others.push(log);
        }
    }

    fn vary(&self) -> Varies {
        match (self.differ, self.differ_in_volume, self.differ_in_shape) {
            (false, ..) => Varies::No,
            (_, false, _) => Varies::InScratch,
            (_, _, false) => Varies::InPayload,
            _ => Varies::InOrder,
        }
    }
}

fn prepare_phase(
    ground: &mut Ground,
    phase: Phase,
    start: Saved,
    baseline: Baseline,
    optional: &[Missing],
    setting: &Setting,
    stream: &mut Stream,
) -> Result<PreparedPhase, Error> {
    let Baseline { state, mask, first, quickest, log, others, varies } = baseline;
    if let Some(text) = ground.stage.learn(&phase, &start, &state, &first)? {
        stream.emit(&Event::Warning { text })?;
    }
    let ops = op_times(ground, &quickest, setting.gpt_delay);
    let steps = draw::profile(&quickest.run.marks, &ops, quickest.run.wall);
    let known = Known {
        phase,
        start,
        baseline: state,
        mask,
        acks: first.acks().collect(),
        lacking: optional.iter().map(|missing| missing.program.clone()).collect(),
        window: Window::new(&steps),
        ops: first.ops.len() as u64,
        log,
        others,
        varies,
    };
    let mut prepared = PreparedPhase::on(ground, known)?;
    let name = &prepared.known.phase.name;
    for what in prepared.oracles.not_tested() {
        stream.emit(&Event::NotTested { what: format!("phase `{name}`: {what}") })?;
    }
    if setting.prove {
        let proved =
            prepared.oracles.prove().map_err(|source| Error::Unproved { phase: name.clone(), source })?;
        for oracle in proved {
            stream.emit(&Event::OracleProved { phase: name.clone(), oracle })?;
        }
    }
    Ok(prepared)
}

impl PreparedPhase {
    /// Sets up the checks of a phase on a ground.
    pub fn on(ground: &mut Ground, mut known: Known) -> Result<Self, Error> {
        ground.stage.enter(&mut known.start, &mut known.baseline)?;
        let checkers = Checkers {
            work: ground.work.subdir(&format!("oracles-{}", known.phase.name))?,
            lacking: known.lacking.clone(),
            words: ground.stage.words().clone(),
            acks: known.acks.clone(),
            show: ground.stage.showcase(),
        };
        let Known { phase, start, baseline, mask, .. } = &known;
        let oracles = OracleSet::new(&ground.resolved, phase, start, baseline, mask.clone(), checkers)?;
        let copies = Copies::new(phase, ground.gpt_file.as_deref(), start, baseline)?;
        Ok(Self { known, oracles, copies })
    }
}

/// When the ops of a run began, and how long they wait, before and after, where kills slow the table's writes down.
fn op_times(ground: &Ground, run: &Attempt, gpt_delay: Option<Duration>) -> Vec<OpTime> {
    let disk = ground.stage.disk();
    let delay_of = |range: &std::ops::Range<u64>| match (gpt_delay, disk) {
        (Some(delay), Some((len_bytes, sector_bytes)))
            if Region::Gpt.touches(range, len_bytes, sector_bytes) =>
        {
            delay
        }
        _ => Duration::ZERO,
    };
    run.ops.iter().map(|op| OpTime { at: op.at, delay: delay_of(&op.range) }).collect()
}

/// The masks that the scenario's baseline oracle names.
fn baseline_mask(ground: &Ground) -> Vec<String> {
    let oracles = ground.resolved.scenario.oracle.iter();
    let masks = oracles.filter_map(|oracle| match oracle {
        Oracle::Baseline { mask, .. } => Some(mask.clone()),
        _ => None,
    });
    masks.flatten().collect()
}

/// An uninterrupted run that did not end as the scenario says is no baseline.
fn check_end(ground: &Ground, phase: &Phase, run: &Run) -> Result<(), Error> {
    let how = match run.end {
        End::Exited(code) if phase.run_exit.contains(&code) => return Ok(()),
        End::Exited(code) => format!("exited with {code}"),
        End::Killed => "was killed".to_owned(),
        End::Signalled(signal) => format!("died of signal {signal}"),
        End::Hung => format!("ran past its limit of {} or printed too much", phase.time_limit),
    };
    full_check(&ground.work)?;
    let output = format!("{}{}", run.stdout, run.stderr);
    Err(Error::Baseline { phase: phase.name.clone(), how, output: output.trim_end().to_owned() })
}

fn sleep_into_next_second() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    sleep(Duration::from_secs(1) - Duration::from_nanos(u64::from(now.subsec_nanos())));
}
