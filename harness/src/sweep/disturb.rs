//! Runs that are not cut but disturbed: an op answers an error or writes less than it was asked to, or a signal other than
//! SIGKILL comes. These are live runs, since what a tool does next is its own affair.
//!
//! The rule: a run that says it is done has done it all, and a resume after one that failed recovers.

use std::sync::Arc;

use fault_backend::fault::Failure;
use fault_backend::oplog::{Op, OpLog};
use fault_backend::{Action, Fault};
use nix::sys::signal::Signal;
use reports::Model;

use super::judge::Judged;
use super::regions::{Region, Regions};
use crate::chain::Chain;
use crate::error::Error;
use crate::prepare::Prepared;

/// One disturbance of a phase's run.
#[derive(Clone, Debug)]
pub struct Disturbance {
    /// `error` or `signal`.
    pub model: Model,
    /// What happens, and at which op.
    pub fault: Fault,
    /// The op.
    pub op: u64,
    /// Its step.
    pub step: Arc<str>,
    /// What it is about.
    pub region: Region,
}

/// Every disturbance of a recorded run under these models, in the order of its ops.
pub fn all(log: &OpLog, regions: &Regions, models: &std::collections::BTreeSet<Model>) -> Vec<Disturbance> {
    let mut found = Vec::new();
    for model in [Model::Error, Model::Signal].into_iter().filter(|model| models.contains(model)) {
        for op in &log.ops {
            let faults = if model == Model::Error { errors(op) } else { signals(op) };
            found.extend(faults.into_iter().map(|fault| Disturbance {
                model,
                fault,
                op: op.number,
                step: Arc::clone(&op.step),
                region: regions.of(op),
            }));
        }
    }
    found
}

/// EIO, ENOSPC where the op needs space, each once and for good; a write that stops half way.
fn errors(op: &Op) -> Vec<Fault> {
    let number = op.number;
    let mut failures = vec![Failure::Io];
    if op.mutation().is_some_and(|mutation| mutation.needs_space()) {
        failures.push(Failure::NoSpace);
    }
    let mut faults: Vec<Fault> = failures
        .into_iter()
        .flat_map(|failure| {
            [Fault::AtOp(number, Action::Fail(failure)), Fault::FromOp(number, Action::Fail(failure))]
        })
        .collect();
    let bytes = op.mutation().filter(|mutation| mutation.is_write()).map_or(0, |write| write.payload_bytes());
    if bytes >= 2 {
        faults.push(Fault::AtOp(number, Action::Short(u32::try_from(bytes / 2).unwrap_or(u32::MAX))));
    }
    faults
}

fn signals(op: &Op) -> Vec<Fault> {
    [Signal::SIGTERM, Signal::SIGINT].map(|signal| Fault::AtOp(op.number, Action::Signal(signal))).to_vec()
}

/// Runs a phase disturbed, then what resumes it, and judges both.
pub fn run(prepared: &mut Prepared, phase: usize, fault: Fault) -> Result<Judged, Error> {
    let Prepared { phases, ground } = prepared;
    ground.may_go_on()?;
    let mut chain = Chain::begin(ground, &mut phases[phase])?;
    chain.disturb(fault)?;
    let finished = chain.finish(None)?;
    let sample =
        finished.crashes.into_iter().next_back().map(|crash| crash.sample).ok_or(Error::NotRecorded)?;
    Ok(Judged::alone(sample, finished.judgement))
}
