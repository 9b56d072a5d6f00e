//! A plan at work: it counts the ops of one run, says what happens at each, and how often each fault fired.

use std::ops::Range;
use std::path::Path;

use wildmatch::WildMatch;

use super::{Action, Condition, Failure, Fault, FaultPlan, Trigger};

/// What sort of op a plan is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpClass {
    /// A write, which has an inside.
    Write,
    /// Another change.
    Change {
        /// A full disk can refuse it.
        needs_space: bool,
    },
    /// A barrier.
    Flush,
}

/// An op, as far as triggers look at it.
#[derive(Clone, Debug)]
pub struct OpView<'a> {
    /// Number in its run, from 1.
    pub number: u64,
    /// What it is.
    pub class: OpClass,
    /// Bytes of the file that it writes or zeroes.
    pub range: Option<Range<u64>>,
    /// Length in bytes of the disk that regions refer to, where the op is about that disk. Elsewhere no region fits.
    pub disk_len: Option<u64>,
    /// Sector size of that disk in bytes.
    pub sector_bytes: u32,
    /// The file that it is about, relative to the volume's root.
    pub file: Option<&'a Path>,
    /// The step that the run is in; empty before the first mark.
    pub step: &'a str,
}

/// A plan with the counts of one run.
#[derive(Clone, Debug)]
pub struct ArmedPlan {
    plan: FaultPlan,
    armed: Vec<Armed>,
}

/// What is counted for one fault.
#[derive(Clone, Debug, Default)]
struct Armed {
    /// Compiled pattern of a file trigger.
    pattern: Option<WildMatch>,
    /// Ops that fit so far.
    fitting: u64,
    /// Times that it fired.
    fired: u64,
}

impl ArmedPlan {
    /// Starts with nothing counted.
    pub fn new(plan: FaultPlan) -> Self {
        let pattern = |fault: &Fault| match fault {
            Fault::On(Trigger { condition: Condition::File(glob), .. }, _) => Some(WildMatch::new(glob)),
            _ => None,
        };
        let armed =
            plan.0.iter().map(|fault| Armed { pattern: pattern(fault), ..Armed::default() }).collect();
        Self { plan, armed }
    }

    /// The plan.
    pub fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// Whether the run is cut before its first op; to be asked once, when the run begins.
    pub fn cut_at_start(&mut self) -> bool {
        for (fault, armed) in self.plan.0.iter().zip(&mut self.armed) {
            if matches!(fault, Fault::AtOp(0, _)) {
                armed.fired += 1;
            }
        }
        self.plan.cuts_at_start()
    }

    /// What happens at an op, in the order of the plan. To be asked once for each op, in their order.
    ///
    /// Only actions that the op can obey are given and counted as fired: no short flush, no dropped write. A torn kill
    /// of an op that is no write is a kill before it.
    pub fn at(&mut self, op: &OpView<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        for (fault, armed) in self.plan.0.iter().zip(&mut self.armed) {
            if let Some(action) = armed.holds(fault, op).then(|| possible(fault.action(), op)).flatten() {
                armed.fired += 1;
                actions.push(action);
            }
        }
        actions
    }

    /// How often each fault of the plan fired, in the plan's order. One that did not fire was not survived.
    pub fn fired(&self) -> Vec<u64> {
        self.armed.iter().map(|armed| armed.fired).collect()
    }
}

impl Armed {
    /// Counts the op, and says whether the fault's trigger holds at it.
    fn holds(&mut self, fault: &Fault, op: &OpView<'_>) -> bool {
        match fault {
            Fault::AtOp(number, _) => op.number == *number,
            Fault::FromOp(number, _) => op.number >= *number,
            Fault::Delay(region, _) => self.fits(&Condition::Region(*region), op),
            Fault::On(trigger, _) => {
                if !self.fits(&trigger.condition, op) {
                    return false;
                }
                self.fitting += 1;
                self.fitting == trigger.nth || (trigger.onward && self.fitting > trigger.nth)
            }
        }
    }

    fn fits(&self, condition: &Condition, op: &OpView<'_>) -> bool {
        match condition {
            Condition::Region(region) => match (&op.range, op.disk_len) {
                (Some(range), Some(len)) => region.touches(range, len, op.sector_bytes),
                _ => false,
            },
            Condition::Flush => op.class == OpClass::Flush,
            Condition::Step(name) => op.step == &**name,
            Condition::File(_) => match (&self.pattern, op.file) {
                (Some(pattern), Some(file)) => pattern.matches(&file.to_string_lossy()),
                _ => false,
            },
        }
    }
}

/// The action as this op can obey it.
fn possible(action: Action, op: &OpView<'_>) -> Option<Action> {
    let needs_space = matches!(op.class, OpClass::Write | OpClass::Change { needs_space: true });
    match (action, op.class) {
        (Action::KillTorn(_), OpClass::Write) => Some(action),
        (Action::KillTorn(_), _) => Some(Action::KillBefore),
        (Action::Short(_), OpClass::Write) | (Action::DropFlush, OpClass::Flush) => Some(action),
        (Action::Short(_) | Action::DropFlush, _) => None,
        (Action::Fail(Failure::NoSpace), _) if !needs_space => None,
        _ => Some(action),
    }
}
