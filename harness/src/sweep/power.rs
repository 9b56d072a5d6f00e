//! The power model of a sweep: what a power cut at each op of a recorded run may leave beyond what a kill leaves there, and
//! what one leaves after the tool has said that it is done.
//!
//! A cut that loses nothing leaves what a kill leaves, so the power model always goes with the kill model, and its own
//! points are the others.

use std::sync::Arc;

use fault_backend::oplog::OpLog;
use fault_backend::power::{
    Coverage, DeviceProfile, Durability, EpochClaim, Power, PowerOptions, PowerState,
};
use reports::event::AT_END;
use reports::{Event, Model};

use super::explore::{Candidate, Explorer, Follow, Label};
use super::points::{Points, START, Torn};
use super::priority::{self, is_name};
use super::{Course, Plan};
use crate::error::Error;
use crate::outage::{Outage, PowerCut};
use crate::store::{Past, Reached};
use crate::token::TokenKill;

/// What is asked of the power model.
#[derive(Clone, Debug)]
pub struct PowerPlan {
    /// The device.
    pub device: DeviceProfile,
    /// What a flush covers, in place of what the scenario says.
    pub durability: Option<Durability>,
    /// How many of the last ops of an epoch are lost together, at most.
    pub max_drops: u32,
    /// Samples of what is not enumerated, per epoch.
    pub samples: u32,
}

/// What is enumerated of a run.
pub(super) fn options(course: &Course, plan: &Plan) -> PowerOptions {
    PowerOptions {
        max_drops: plan.power.max_drops,
        samples: plan.power.samples,
        torn_per_write: match plan.torn {
            Torn::None => 0,
            Torn::PerWrite(n) => n,
            Torn::All => u32::MAX,
        },
        ..outage(course, plan).options()
    }
}

/// How the power fails in a phase.
pub(super) fn outage(course: &Course, plan: &Plan) -> Outage {
    let durability = plan.power.durability.unwrap_or(course.known.phase.durability);
    Outage { device: plan.power.device.clone(), durability, seed: plan.seed }
}

/// The phase's run under the power model, or one that differs from it in its flushes.
pub(super) fn model<'a>(course: &Course, log: &'a OpLog, plan: &Plan) -> Result<Power<'a>, Error> {
    let start = course.known.start.memory.clone().ok_or(Error::NotRecorded)?;
    Ok(Power::new(start, log, options(course, plan))?)
}

/// Counts the points of the power model.
pub(super) fn count(course: &Course, plan: &Plan, points: &mut Points) -> Result<(), Error> {
    let power = model(course, &course.log, plan)?;
    let mut here: Option<(u64, u64)> = None;
    let mut add = |(cut, states): (u64, u64)| {
        let (step, region) = course.place_of(cut);
        points.count(Model::Power, &step, &region, (states, states));
    };
    for state in power.states().filter(|state| !state.is_prefix()) {
        match &mut here {
            Some((cut, states)) if *cut == state.cut => *states += 1,
            _ => here.replace((state.cut, 1)).into_iter().for_each(&mut add),
        }
    }
    here.into_iter().for_each(&mut add);
    if course.durable {
        let cut = course.log.len();
        add((cut, power.states_at(cut).count() as u64));
    }
    Ok(())
}

/// What is said of each epoch once all of it was looked at.
fn claim(claim: &EpochClaim, failed: u64) -> reports::EpochClaim {
    let (looked_at, bound) = (claim.coverage.looked_at(), claim.coverage.bound());
    let exhaustive = matches!(claim.coverage, Coverage::Exhaustive { .. });
    reports::EpochClaim { epoch: claim.epoch, ops: claim.ops, exhaustive, looked_at, bound, failed }
}

impl Explorer<'_> {
    /// Looks at what power cuts leave.
    pub(super) fn power_cuts(&mut self) -> Result<(), Error> {
        let course = self.course;
        let power = model(course, &course.log, self.plan)?;
        let outage = Arc::new(outage(course, self.plan));
        let mut builder = power.builder();
        let beyond = power.states().filter(|state| !state.is_prefix());
        let states: Box<dyn Iterator<Item = (u64, PowerState)>> = match self.plan.budget {
            None => Box::new((0..).zip(beyond)),
            Some(_) => {
                let all: Vec<(u64, PowerState)> = (0..).zip(beyond).collect();
                let all = priority::sort_power(all, course.log.len(), |op| course.tells(op));
                Box::new(all.into_iter())
            }
        };
        let before = self.left;
        for (ordinal, state) in states {
            if self.is_over() {
                self.left += 1;
                continue;
            }
            self.may_go_on()?;
            let volume = builder.materialise(&state)?;
            for (volume, wiped) in self.variants(volume)? {
                let label = course.power_label(ordinal, TokenKill::power(state.clone(), wiped));
                let cut = PowerCut { state: state.clone(), outage: Arc::clone(&outage) };
                let past = Past { log: Arc::clone(&course.log), at: Reached::Power(cut), wiped };
                let acks = course.acks_after(state.cut);
                self.offer(Candidate::of_run(volume, acks, label, past), Follow::Nothing)?;
            }
        }
        self.settle_all()?;
        // Of what a budget left out nothing can be claimed.
        if self.left == before {
            let failed = std::mem::take(&mut self.failed_cuts);
            let of = |epoch: u32| failed.iter().filter(|cut| power.epoch_of(**cut) == epoch).count() as u64;
            let epochs = power.claims().iter().map(|epoch| claim(epoch, of(epoch.epoch))).collect();
            let phase = self.place.phase.clone();
            self.stream.emit(&Event::PowerClaims { phase, epochs })?;
        }
        Ok(())
    }

    /// Oracle `durable`: what a power cut leaves after the tool has said that it is done is what an uninterrupted run
    /// leaves, with nothing run again.
    pub(super) fn durability(&mut self) -> Result<(), Error> {
        let course = self.course;
        if !course.durable {
            return Ok(());
        }
        let power = model(course, &course.log, self.plan)?;
        let outage = Arc::new(outage(course, self.plan));
        let mut builder = power.builder();
        for (ordinal, state) in (0..).zip(power.states_at(course.log.len())) {
            if self.is_over() {
                self.left += 1;
                continue;
            }
            self.may_go_on()?;
            let mut volume = builder.materialise(&state)?;
            self.without_scratch(&mut volume)?;
            let label = course.power_label(ordinal, TokenKill::power_at_end(state.clone()));
            let cut = PowerCut { state, outage: Arc::clone(&outage) };
            let past = Past { log: Arc::clone(&course.log), at: Reached::Power(cut), wiped: true };
            self.offer(Candidate::of_run(volume, AT_END, label, past), Follow::Nothing)?;
        }
        self.settle_all()
    }
}

impl Course {
    fn power_label(&self, ordinal: u64, kill: TokenKill) -> Label {
        let cut = kill.power.as_ref().map_or(0, |state| state.cut);
        let (step, region) = self.place_of(cut);
        Label {
            model: Model::Power,
            depth: 0,
            op: cut,
            torn_bytes: None,
            ordinal,
            step,
            region,
            kills: vec![kill],
        }
    }

    /// Whether what an op is about tells more than others: a disk's own structure, or names.
    pub(super) fn tells(&self, number: u64) -> bool {
        self.log.op(number).is_some_and(|op| self.regions.of(op).is_structure || is_name(op))
    }

    /// Step and region of the op at a cut.
    fn place_of(&self, cut: u64) -> (Arc<str>, Arc<str>) {
        match self.log.op(cut) {
            Some(op) => (Arc::clone(&op.step), self.regions.of(op).name),
            None => (START.into(), START.into()),
        }
    }
}
