//! What each flush of a run is good for: it is ignored, and states that are possible only then are judged. A flush without
//! which one fails carries weight.

use std::collections::HashSet;

use fault_backend::oplog::{Op, OpKind, Outcome};
use fault_backend::power::{Power, PowerState};
use reports::{Barrier, BarrierFailure, Event, Stream};

use super::judge::{self, Judged, Source};
use super::power::{self, PowerPlan};
use super::{Course, Plan, priority};
use crate::error::Error;
use crate::prepare::Prepared;
use crate::stage::recorded::volume_id;
use crate::token::TokenKill;
use crate::workers::{Ticket, Workers};

/// States that may fail without a flush.
struct Suspects {
    /// In the order in which they are judged, each with whether the tool had said that it was done.
    states: Vec<(PowerState, bool)>,
    /// How many there are.
    possible: u64,
}

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
        // Contents that pass, whichever flush is ignored.
        let mut passed = HashSet::new();
        for op in course.log.ops.iter().filter(|op| is_barrier(op)) {
            let barrier = weigh(prepared, &workers, course, plan, op, most, &mut passed)?;
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

/// Judges states that are possible only without a flush, until one fails.
fn weigh(
    prepared: &mut Prepared,
    workers: &Workers,
    course: &Course,
    plan: &Plan,
    op: &Op,
    most: usize,
    passed: &mut HashSet<(fault_backend::ContentId, bool)>,
) -> Result<Barrier, Error> {
    let without = course.log.without_flush(op.number);
    let plain = power::model(course, &course.log, plan)?;
    let power = power::model(course, &without, plan)?;
    let suspects = suspects(course, &plain, &power, op.number, most);
    let mut barrier = described(course, op, suspects.possible);
    let mut builder = power.builder();
    let mut waiting: std::collections::VecDeque<(
        PowerState,
        (fault_backend::ContentId, bool),
        Ticket<Judged>,
    )> = Default::default();
    let mut states = suspects.states.into_iter();
    loop {
        while waiting.len() < workers.narrow_window() {
            let Some((state, done)) = states.next() else { break };
            let mut volume = builder.materialise(&state)?;
            if done {
                prepared.ground.stage.fuse()?.without_scratch(&mut volume)?;
            }
            let key = (volume.content_id(), done);
            if passed.contains(&key) {
                barrier.judged += 1;
                continue;
            }
            let kill = if done {
                TokenKill::power_at_end(state.clone())
            } else {
                TokenKill::power(state.clone(), false)
            };
            let acks = course.acks_after(state.cut) as usize;
            let source = Source {
                volume: volume_id(&volume).unwrap_or(key.0),
                root: volume,
                kill,
                runs: Vec::new(),
                further: Vec::new(),
                acks: course.known.acks.iter().take(acks).cloned().collect(),
            };
            let index = course.index;
            let ticket = workers.submit(move |prepared| match done {
                true => judge::judge_done(prepared, index, source),
                false => judge::judge(prepared, index, source, false),
            });
            waiting.push_back((state, key, ticket));
        }
        let Some((state, key, ticket)) = waiting.pop_front() else { return Ok(barrier) };
        let judgement = ticket.wait()?.judgement;
        barrier.judged += 1;
        if judgement.verdict.is_pass() {
            passed.insert(key);
            continue;
        }
        let kill = if key.1 { TokenKill::power_at_end(state) } else { TokenKill::power(state, false) };
        barrier.failure = Some(BarrierFailure {
            verdict: judgement.verdict,
            oracle: judgement.oracle,
            point: kill.describe(),
            explain: judgement.explain,
        });
        return Ok(barrier);
    }
}

/// States that are possible without a flush and not with it, those that lose least first.
fn suspects(course: &Course, plain: &Power<'_>, power: &Power<'_>, flush: u64, most: usize) -> Suspects {
    let only_now = |state: &PowerState| !state.is_prefix() && !plain.has(state);
    let states: Vec<(u64, PowerState)> = (0..).zip(power.states_from(flush).filter(only_now)).collect();
    let possible = states.len() as u64;
    let states = priority::sort_power(states, course.log.len(), |op| course.tells(op));
    let mut states: Vec<(PowerState, bool)> =
        states.into_iter().take(most).map(|(_, state)| (state, false)).collect();
    let mut at_end = Vec::new();
    if course.durable {
        at_end.extend(
            power.states_at(course.log.len()).filter(|state| !plain.has(state)).map(|state| (state, true)),
        );
    }
    let possible = possible + at_end.len() as u64;
    at_end.truncate(most);
    // What was promised is broken soonest.
    at_end.append(&mut states);
    Suspects { states: at_end, possible }
}

fn described(course: &Course, op: &Op, possible: u64) -> Barrier {
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
        possible,
        judged: 0,
        failure: None,
    }
}

/// What a power cut that leads to a failure says of the run: between which two ops a flush would have ruled it out.
pub(super) fn missing(course: &Course, state: &PowerState, done: bool) -> Option<String> {
    let torn = state.torn.map(|torn| torn.op);
    let is_lost = |number: u64| state.dropped.binary_search(&number).is_ok() || torn == Some(number);
    let changes = |number: &u64| course.log.op(*number).is_some_and(|op| op.mutation().is_some());
    let named = |number: u64| match course.log.op(number) {
        Some(op) => format!("op {number} ({}, {})", course.regions.of(op).name, op.step),
        None => format!("op {number}"),
    };
    let changing: Vec<u64> = (1..=state.cut).filter(changes).collect();
    let pair = changing.windows(2).rev().find(|pair| is_lost(pair[0]) && !is_lost(pair[1]));
    match pair {
        Some(pair) => Some(format!("there is no flush between {} and {}", named(pair[0]), named(pair[1]))),
        None if done => {
            let last = changing.iter().rev().find(|number| is_lost(**number))?;
            Some(format!("there is no flush after {} before the tool says that it is done", named(*last)))
        }
        None => None,
    }
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
