//! Makes a finding smaller: the fewest faults, and the earliest op, that still fail with the same verdict and by the same
//! oracle. What it comes to was run once more, live where a kill can be, before anybody is told of it.
//!
//! A search that is not stopped promises this of its result, and no more: it still fails alike; without any one of its kills
//! it does not; no power cut of it loses an op, or a part of one, that it could have kept; no kill can come at an earlier op
//! (or page) of its step, with all kills still in their steps; and scratch files stay where that makes no difference. Other
//! faults further away may be fewer.

mod search;
mod simpler;
#[cfg(test)]
mod tests;
mod trial;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chain::{Chain, CrashState, Finished};
use crate::error::Error;
use crate::judge::Judgement;
use crate::outage::Outage;
use crate::prepare::Prepared;
use crate::repro::{Begin, Walked, ends_done, walk};
use crate::token::TokenKill;
use search::search;
pub use trial::Failure;
use trial::Trials;

/// How long a search goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// No chain is tried after this time.
    pub time: Duration,
    /// Chains that are tried, at most.
    pub tries: u64,
}

/// A finding that is to be made smaller.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its faults, one per run.
    pub kills: Vec<TokenKill>,
    /// How it fails.
    pub failure: Failure,
    /// How the power fails, where it does.
    pub outage: Option<Arc<Outage>>,
}

impl Case {
    /// Whether there is more to it than one kill, so that something may be left out.
    pub fn is_compound(&self) -> bool {
        let loses = |kill: &TokenKill| kill.power.as_ref().is_some_and(|state| !state.is_prefix());
        self.kills.len() > 1 || self.kills.iter().any(loses)
    }
}

/// A finding that was made smaller, or is as small as it can be.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// Its faults.
    pub kills: Vec<TokenKill>,
    /// The crash states that they lead to.
    pub crashes: Vec<CrashState>,
    /// What the last one comes to.
    pub judgement: Judgement,
    /// The search was not stopped, so that what is promised holds.
    pub complete: bool,
    /// Chains that were tried.
    pub tries: u64,
    /// How long it took.
    pub wall: Duration,
}

/// What became of a case.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was made as small as time allowed.
    Shrunk(Box<Shrunk>),
    /// It does not fail again as it did.
    NotAgain,
    /// What was found from the recorded run does not fail when it is done live.
    NotLive,
}

/// Makes a case of a prepared phase smaller.
pub fn shrink(prepared: &mut Prepared, phase: usize, case: &Case, limits: Limits) -> Result<Outcome, Error> {
    let began = Instant::now();
    let mut trials = Trials::new(prepared, phase, case.outage.clone(), case.failure.clone(), limits);
    let Some(found) = search(&mut trials, &case.kills)? else { return Ok(Outcome::NotAgain) };
    let tries = trials.tries;
    let Some((crashes, judgement)) = once(prepared, phase, &found.kills, case.outage.as_ref())? else {
        return Ok(Outcome::NotLive);
    };
    let failure = Failure { verdict: judgement.verdict, oracle: judgement.oracle.clone() };
    if failure != case.failure {
        return Ok(Outcome::NotLive);
    }
    let (kills, complete) = (found.kills, found.complete);
    Ok(Outcome::Shrunk(Box::new(Shrunk {
        kills,
        crashes,
        judgement,
        complete,
        tries,
        wall: began.elapsed(),
    })))
}

/// Makes faults happen as a reproduction does; none where one of them did not land.
pub fn once(
    prepared: &mut Prepared,
    phase: usize,
    kills: &[TokenKill],
    outage: Option<&Arc<Outage>>,
) -> Result<Option<(Vec<CrashState>, Judgement)>, Error> {
    let Prepared { phases, ground } = prepared;
    if let Ok(fuse) = ground.stage.fuse() {
        fuse.want_ends_alone(false);
    }
    let mut chain = Chain::begin(ground, &mut phases[phase])?;
    if let Walked::NotLanded { .. } = walk(&mut chain, kills, outage, Begin::Live)? {
        return Ok(None);
    }
    let Finished { crashes, judgement, .. } =
        if ends_done(kills) { chain.finish_durable() } else { chain.finish(None) }?;
    Ok(Some((crashes, judgement)))
}
