//! Faults tried on a prepared phase: the chain that they make, from the recorded run where there is one, and whether it
//! fails as wanted. What a crash state comes to is remembered, since shorter ways often lead to the same one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use fault_backend::ContentId;
use fault_backend::power::PowerError;
use reports::Verdict;
use scenarios::model::ScratchPolicy;

use super::search::{Earlier, Subject};
use super::{Limits, simpler};
use crate::chain::{Chain, CrashState};
use crate::error::Error;
use crate::oracle::Outcome;
use crate::outage::Outage;
use crate::prepare::{Prepared, Varies};
use crate::repro::{Begin, Walked, walk};
use crate::token::TokenKill;

/// How a chain fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Verdict.
    pub verdict: Verdict,
    /// The oracle that decided it.
    pub oracle: String,
}

/// What decides what becomes of a crash state: content, acknowledgements, and whether it is resumed.
type Key = (ContentId, Vec<String>, bool);

/// A phase that faults are tried on.
pub(super) struct Trials<'a> {
    pub prepared: &'a mut Prepared,
    /// The phase's place among those that are prepared.
    pub phase: usize,
    pub outage: Option<Arc<Outage>>,
    pub wanted: Failure,
    pub limits: Limits,
    pub began: Instant,
    pub tries: u64,
    known: HashMap<Key, Failure>,
    /// Steps of the kills that failed last.
    steps: Vec<String>,
}

impl<'a> Trials<'a> {
    pub fn new(
        prepared: &'a mut Prepared,
        phase: usize,
        outage: Option<Arc<Outage>>,
        wanted: Failure,
        limits: Limits,
    ) -> Self {
        let (began, known, steps) = (Instant::now(), HashMap::new(), Vec::new());
        Self { prepared, phase, outage, wanted, limits, began, tries: 0, known, steps }
    }

    /// Whether time or tries are used up.
    fn is_used_up(&self) -> bool {
        self.tries >= self.limits.tries || self.began.elapsed() >= self.limits.time
    }

    /// How a chain fails that these faults make, and its crash states; none where one of them did not land.
    fn judge(&mut self, kills: &[TokenKill]) -> Result<Option<(Failure, Vec<CrashState>)>, Error> {
        let Prepared { phases, ground } = &mut *self.prepared;
        ground.may_go_on()?;
        if let Ok(fuse) = ground.stage.fuse() {
            fuse.want_ends_alone(true);
        }
        let phase = &mut phases[self.phase];
        let recorded = matches!(phase.known.varies, Varies::No | Varies::InScratch);
        let begin = if recorded { Begin::Recorded } else { Begin::Live };
        let mut chain = Chain::begin(ground, phase)?;
        if let Walked::NotLanded { .. } = walk(&mut chain, kills, self.outage.as_ref(), begin)? {
            return Ok(None);
        }
        let done = kills.last().is_some_and(|kill| kill.done);
        let crashes = chain.crashes.clone();
        let key = key_of(&chain, kills, done);
        if let Some(known) = key.as_ref().and_then(|key| self.known.get(key)) {
            return Ok(Some((known.clone(), crashes)));
        }
        let finished = if done { chain.finish_durable() } else { chain.finish(None) }?;
        let failure = Failure { verdict: finished.judgement.verdict, oracle: finished.judgement.oracle };
        self.known.extend(key.map(|key| (key, failure.clone())));
        Ok(Some((failure, crashes)))
    }

    /// What could stand in the place of each fault.
    fn earlier(&self, kills: &[TokenKill], crashes: &[CrashState]) -> Earlier {
        let recorded = self.prepared.phases[self.phase].known.log.as_ref();
        let log_of = |place: usize| match crashes.get(place).and_then(|crash| crash.past.as_ref()) {
            Some(past) => Some(&past.log),
            None => recorded.filter(|_| place == 0),
        };
        let points = |(place, kill)| simpler::earlier(kill, log_of(place).map(AsRef::as_ref));
        kills.iter().enumerate().map(points).collect()
    }
}

/// None where more than the last crash state has a say.
fn key_of(chain: &Chain<'_>, kills: &[TokenKill], done: bool) -> Option<Key> {
    let sound = |crash: &CrashState| {
        crash
            .sample
            .answers
            .iter()
            .all(|answer| matches!(answer.outcome, Outcome::Held | Outcome::RolledBack))
    };
    let cut = kills.iter().all(|kill| kill.power.is_some() || kill.fault.is_kill());
    let last = chain.crashes.last().filter(|_| cut && chain.crashes.iter().all(sound))?;
    Some((last.sample.content_id, chain.acks().to_vec(), done))
}

impl Subject for Trials<'_> {
    type Error = Error;

    fn fails(&mut self, kills: &[TokenKill]) -> Result<Option<Earlier>, Error> {
        self.tries += 1;
        let (failure, crashes) = match self.judge(kills) {
            Ok(Some(judged)) => judged,
            // Ops that a flush made durable can't be lost, and what hangs on them can't be there without them.
            Ok(None) | Err(Error::Power(PowerError::Impossible { .. })) => return Ok(None),
            Err(error) => return Err(error),
        };
        let steps: Vec<String> = crashes.iter().map(|crash| crash.step.clone()).collect();
        let moved = self.steps.len() == steps.len() && self.steps != steps;
        if failure != self.wanted || moved {
            return Ok(None);
        }
        self.steps = steps;
        Ok(Some(self.earlier(kills, &crashes)))
    }

    fn is_over(&self) -> bool {
        self.is_used_up()
    }

    fn may_keep_scratch(&self) -> bool {
        self.prepared.phases[self.phase].known.phase.scratch == ScratchPolicy::Both
    }
}
