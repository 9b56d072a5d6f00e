//! A sweep: every crash point of a recorded run of each phase is judged, each content once. The states come from the
//! recording; that a live kill leaves the same bytes is shown on a sample of them.
//!
//! Points are gone through model by model, in the order of the run; the crashes of resumes that `--closure` follows come
//! after the kills that they follow from. Only with a budget are the most telling points first. Whatever the number of
//! workers, what is told is the same and comes in the same order.

pub mod barriers;
mod closure;
mod disturb;
pub mod earlier;
mod explore;
mod judge;
mod live;
mod merge;
mod nested;
pub mod points;
pub mod power;
mod priority;
pub mod regions;
pub mod shard;
mod spared;
mod unread;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fault_backend::oplog::OpLog;
use fault_backend::replay::Replay;
use reports::{Event, Model, Stream};
use scenarios::model::{Oracle, ScratchPolicy};

use crate::error::Error;
use crate::ground::Ground;
use crate::prepare::{Known, Prepared, Varies};
use crate::record::Recorder;
use crate::workers::Workers;
use disturb::Disturbance;
use earlier::Earlier;
use explore::{Explorer, Follow};
use points::{CrashPoint, Points, Torn, TornUnit};
use power::PowerPlan;
use regions::Regions;
use shard::Shard;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// What the runs are met by.
    pub models: BTreeSet<Model>,
    /// Points inside writes.
    pub torn: Torn,
    /// What cuts a write.
    pub unit: TornUnit,
    /// Live kills per phase that show that the recording is right.
    pub live_checks: u32,
    /// Follow crashes of resumes, at most so many one after the other.
    pub closure: Option<u32>,
    /// Power is cut in the resumes of so many states.
    pub nested: u32,
    /// Begin no state after this time.
    pub budget: Option<Duration>,
    /// What is asked of the power model.
    pub power: PowerPlan,
    /// What becomes of the scratch directory, in place of what the scenario says.
    pub scratch: Option<ScratchPolicy>,
    /// States that are proven to be like a judged one are not judged.
    pub merge: bool,
    /// Threads that judge.
    pub jobs: usize,
    /// The part of the states that is judged here.
    pub shard: Option<Shard>,
}

/// One phase's points, and what is needed to look at them.
struct Course {
    /// Its place among the phases.
    index: usize,
    known: Known,
    log: Arc<OpLog>,
    regions: Regions,
    points: Points,
    disturbances: Vec<Disturbance>,
    /// It is asked whether what the tool said is done is durable.
    durable: bool,
}

/// Sweeps every phase. What was done until an error is in the stream.
pub fn sweep(
    prepared: &mut Prepared,
    plan: &Plan,
    cpus: &[usize],
    earlier: &Earlier,
    recorder: &mut Recorder,
    stream: &mut Stream,
) -> Result<(), Error> {
    let courses = charts(prepared, plan, stream)?;
    for course in &courses {
        stream.emit(&Event::Sweep {
            phase: course.known.phase.name.clone(),
            ops: course.log.len(),
            lots: course.points.lots.clone(),
        })?;
    }
    let workers = Workers::start(prepared, cpus, plan.jobs)?;
    let deadline = plan.budget.map(|budget| Instant::now() + budget);
    let mut left = 0;
    for course in &courses {
        live::check(&workers, (course.index, &course.known), &course.points, plan, stream)?;
        let ground = &mut prepared.ground;
        let mut explorer = Explorer::new(ground, &workers, course, plan, deadline, earlier, recorder, stream);
        explorer.run()?;
        left += explorer.left;
    }
    if left > 0 {
        let what = format!("{left} crash points that the budget left no time for");
        stream.emit(&Event::NotTested { what })?;
    }
    // Of a part it is not known what the others found.
    if plan.shard.is_none() && left == 0 {
        let phases: Vec<&str> = courses.iter().map(|course| course.known.phase.name.as_str()).collect();
        recorder.vanished(&phases, &plan.models, stream)?;
    }
    Ok(())
}

/// The courses of the phases that can be judged from a recording.
fn charts(prepared: &mut Prepared, plan: &Plan, stream: &mut Stream) -> Result<Vec<Course>, Error> {
    let mut courses = Vec::new();
    for index in 0..prepared.phases.len() {
        let known = prepared.phases[index].known.clone();
        if known.varies == Varies::Mapped {
            let what = format!(
                "phase `{}`: it writes through a shared mapping, whose pages survive a kill at times of the kernel's \
                 choice",
                known.phase.name
            );
            stream.emit(&Event::NotTested { what })?;
            continue;
        }
        courses.push(Course::chart(&mut prepared.ground, index, known, plan)?);
    }
    Ok(courses)
}

impl Course {
    fn chart(ground: &mut Ground, index: usize, mut known: Known, plan: &Plan) -> Result<Self, Error> {
        known.phase.scratch = plan.scratch.unwrap_or(known.phase.scratch);
        let log = known.log.clone().ok_or(Error::NotRecorded)?;
        let regions = Regions::of_phase(ground.gpt_file.as_deref(), &known.start, &known.baseline)?;
        let torn = if plan.models.contains(&Model::Torn) { plan.torn } else { Torn::None };
        let mut points = Points::of(&log, &regions, torn, plan.unit, plan.seed, &known.phase.name);
        points.keep_only(&plan.models);
        if known.phase.scratch == ScratchPolicy::Both {
            count_scratch(ground, &known, &log, &mut points)?;
        }
        let disturbances = disturb::all(&log, &regions, &plan.models);
        for disturbance in &disturbances {
            points.count(disturbance.model, &disturbance.step, &disturbance.region.name, (1, 1));
        }
        let durable = |oracle: &Oracle| {
            matches!(oracle, Oracle::Durable { .. }) && oracle.applies_to(&known.phase.name)
        };
        let durable =
            plan.models.contains(&Model::Power) && ground.resolved.scenario.oracle.iter().any(durable);
        let mut course = Self { index, known, log, regions, points, disturbances, durable };
        if plan.models.contains(&Model::Power) {
            let mut points = std::mem::take(&mut course.points);
            power::count(&course, plan, &mut points)?;
            course.points = points;
        }
        Ok(course)
    }

    /// Acknowledgements of the run before it was cut after so many ops.
    fn acks_after(&self, op: u64) -> u32 {
        self.log.acks_after(op, u32::try_from(self.known.acks.len()).unwrap_or(u32::MAX))
    }

    /// The points of some models, in the order in which they are looked at.
    fn of(&self, models: &[Model]) -> Vec<&CrashPoint> {
        self.points.all.iter().filter(|point| models.contains(&point.model())).collect()
    }
}

/// Counts the points that leave something in the scratch directory twice: where the scenario asks for the state with it
/// as well as without, they are two states.
fn count_scratch(ground: &mut Ground, known: &Known, log: &OpLog, points: &mut Points) -> Result<(), Error> {
    let start = known.start.memory.clone().ok_or(Error::NotRecorded)?;
    let mut replay = Replay::new(start, log);
    let mut twice = Vec::new();
    for point in &points.all {
        if ground.stage.fuse()?.without_scratch(&mut replay.state(point.point)?)? {
            twice.push((point.model(), Arc::clone(&point.step), Arc::clone(&point.region.name)));
        }
    }
    for (model, step, region) in twice {
        points.count(model, &step, &region, (1, 1));
    }
    Ok(())
}

impl Explorer<'_> {
    /// Goes through all points of the course.
    fn run(&mut self) -> Result<(), Error> {
        let course = self.course;
        let follow = if self.plan.closure.is_some() { Follow::Resumes } else { Follow::Nothing };
        let power = self.plan.models.contains(&Model::Power);
        match self.plan.budget {
            None => {
                self.points(&course.of(&[Model::Kill]), follow)?;
                self.closure()?;
                self.points(&course.of(&[Model::Torn]), Follow::Nothing)?;
            }
            Some(_) => {
                // What is lost after the end takes no resume to see, and a budget may not reach what comes last.
                if power {
                    self.durability()?;
                }
                let mut points = course.of(&[Model::Kill, Model::Torn]);
                priority::sort(&mut points, &course.log);
                self.points(&points, follow)?;
                self.closure()?;
            }
        }
        if power {
            self.power_cuts()?;
            if self.plan.budget.is_none() {
                self.durability()?;
            }
            self.power_cuts_of_resumes()?;
        }
        self.disturbances(&course.disturbances)
    }
}
