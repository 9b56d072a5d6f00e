//! What each flush of a run is good for: it is ignored, and states that are possible only then are judged. A flush without
//! which one fails carries weight. One with nothing of its own run before it can only be for what an earlier run left, so it
//! is ignored in resumes as well.

mod weigh;

use fault_backend::oplog::{Op, OpKind, OpLog, Outcome};
use fault_backend::power::PowerState;
use reports::{Barrier, Event, Stream};

use super::power::PowerPlan;
use super::{Course, Plan};
use crate::error::Error;
use crate::prepare::Prepared;
use crate::workers::Workers;
use weigh::Scales;

/// Ignores each flush of each phase in turn. At most `most` states are judged for each.
pub fn barriers(
    prepared: &mut Prepared,
    plan: &Plan,
    cpus: &[usize],
    most: usize,
    stream: &mut Stream,
) -> Result<(), Error> {
    let courses = super::charts(prepared, plan, stream)?;
    let workers = Workers::start(prepared, cpus, plan.jobs)?;
    for course in &courses {
        let mut scales = Scales::new(&workers, course, plan, most);
        for op in course.log.ops.iter().filter(|op| is_barrier(op)) {
            let mut barrier = described(course, op);
            scales.weigh(&mut prepared.ground, op.number, &mut barrier)?;
            if barrier.failure.is_none() && is_for_an_earlier_run(&course.log, op) {
                scales.weigh_in_resumes(&mut prepared.ground, &mut barrier)?;
            }
            prepared.ground.warn_of_room(stream)?;
            stream.emit(&Event::Barrier(barrier))?;
        }
    }
    Ok(())
}

/// Whether an op makes something durable.
fn is_barrier(op: &Op) -> bool {
    op.outcome == Outcome::Completed && (op.is_flush() || op.fua)
}

/// Whether an op is the first flush of a run that has changed nothing before it.
fn is_for_an_earlier_run(log: &OpLog, op: &Op) -> bool {
    op.is_flush()
        && log.ops.iter().take_while(|one| one.number < op.number).all(|one| one.mutation().is_none())
}

fn described(course: &Course, op: &Op) -> Barrier {
    let path = op.path.as_ref().map_or_else(|| "everything".to_owned(), |path| path.display().to_string());
    let what = match op.kind {
        OpKind::Flush { ino: None, .. } => "sync of everything".to_owned(),
        OpKind::Flush { data_only: true, .. } => format!("fdatasync of {path}"),
        OpKind::Flush { .. } => format!("fsync of {path}"),
        _ => format!("forced write to {}", course.regions.of(op).name),
    };
    let around = |ops: &mut dyn Iterator<Item = &Op>| {
        let mut regions: Vec<String> = Vec::new();
        for op in ops.take_while(|op| !is_barrier(op)) {
            let region = course.regions.of(op).name.to_string();
            if !regions.contains(&region) {
                regions.push(region);
            }
        }
        regions
    };
    let at = op.number as usize - 1;
    let ops = &course.log.ops;
    let mut before = around(&mut ops[..at].iter().rev());
    before.reverse();
    Barrier {
        phase: course.known.phase.name.clone(),
        op: op.number,
        step: op.step.to_string(),
        process: op.process.to_string(),
        what,
        before,
        after: around(&mut ops[at + 1..].iter()),
        possible: 0,
        judged: 0,
        failure: None,
    }
}

/// What a power cut that leads to a failure says of the run: between which two ops any flush of what was lost would have ruled
/// it out, which are the last one that is lost and the last one that is there; or that there is none before the tool says
/// that it is done.
pub(super) fn missing(course: &Course, state: &PowerState, done: bool) -> Option<String> {
    let torn = state.torn.map(|torn| torn.op);
    let is_lost = |number: &u64| state.dropped.binary_search(number).is_ok() || torn == Some(*number);
    let changes = |number: &u64| course.log.op(*number).is_some_and(|op| op.mutation().is_some());
    let named = |number: u64| match course.log.op(number) {
        Some(op) => format!("op {number} ({}, {})", course.regions.of(op).name, op.step),
        None => format!("op {number}"),
    };
    let last = |before: u64, lost: bool| (1..before).rev().find(|n| changes(n) && is_lost(n) == lost);
    if done {
        let lost = last(state.cut + 1, true)?;
        return Some(format!("there is no flush after {} before the tool says that it is done", named(lost)));
    }
    let there = last(state.cut + 1, false)?;
    let lost = last(there, true)?;
    Some(format!("there is no flush between {} and {}", named(lost), named(there)))
}

/// What barriers need of a plan: the power model alone.
pub fn plan(power: PowerPlan, seed: u64, jobs: usize) -> Plan {
    Plan {
        seed,
        models: [reports::Model::Kill, reports::Model::Power].into(),
        torn: super::points::Torn::PerWrite(4),
        unit: super::points::TornUnit::Page,
        live_checks: 0,
        closure: None,
        nested: 0,
        budget: None,
        power,
        scratch: None,
        merge: true,
        jobs,
        shard: None,
    }
}
