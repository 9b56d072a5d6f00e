//! A recorded run under the power model: what is volatile at each cut, and what is missing with what.

use nix::errno::Errno;

use super::depends::{Effect, effects};
use super::durable::durable_from;
use super::options::PowerOptions;
use super::state::PowerState;
use super::torn;
use crate::oplog::{OpLog, Outcome};
use crate::replay::ReplayError;
use crate::volume::Volume;

/// A state can't be made.
#[derive(Debug, thiserror::Error)]
pub enum PowerError {
    /// The run can't be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The state is none of this run: an op that is not there, is durable at the cut, or is missing alone although
    /// others hang on it; or a part of what can't be torn.
    #[error("`{state}` is no power state of this run: {why}")]
    Impossible {
        /// The state.
        state: PowerState,
        /// Why.
        why: Impossible,
    },
    /// An op of the state can't be applied.
    #[error("op {number} can't be applied in power state `{state}`")]
    Apply {
        /// Number of the op.
        number: u64,
        /// The state.
        state: PowerState,
        /// Why.
        source: Errno,
    },
}

/// Why a state is none of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// The cut is behind the log's end.
    #[error("the log has {0} ops")]
    CutBehindEnd(u64),
    /// The op is durable, changes nothing, or is not before the cut.
    #[error("op {0} is not volatile there")]
    NotVolatile(u64),
    /// The op hangs on one that is missing.
    #[error("op {0} can't be there without the missing ones")]
    HangsOnMissing(u64),
    /// The op is no write that the device tears, has fewer units, or is missing.
    #[error("op {0} can't be torn like that")]
    NotTorn(u64),
}

/// A recorded run under the power model.
#[derive(Debug)]
pub struct Power<'a> {
    pub(super) start: Volume,
    pub(super) log: &'a OpLog,
    pub(super) options: PowerOptions,
    effects: Vec<Option<Effect<'a>>>,
    durable_from: Vec<u64>,
    /// No op hangs on another.
    independent: bool,
}

impl<'a> Power<'a> {
    /// Takes the volume as it was before op 1, and replays the log on it once.
    pub fn new(start: Volume, log: &'a OpLog, options: PowerOptions) -> Result<Self, ReplayError> {
        let effects = effects(&start, log, options.durability)?;
        let durable_from = durable_from(log, &effects, &options);
        let hangs = |effect: &Effect<'_>| !effect.needs.is_empty() || !effect.after.is_empty();
        let independent = !effects.iter().flatten().any(hangs);
        Ok(Self { start, log, options, effects, durable_from, independent })
    }

    /// What was asked for.
    pub fn options(&self) -> &PowerOptions {
        &self.options
    }

    /// The ops that may be missing if the power fails after so many ops, in order.
    pub fn volatile(&self, cut: u64) -> Vec<u64> {
        (1..=cut.min(self.log.len())).filter(|number| self.is_volatile(*number, cut)).collect()
    }

    /// The epoch of a cut: so many flushes that the device honours completed before its op.
    pub(super) fn epochs(&self) -> Vec<u32> {
        let mut epoch = 0;
        let mut epochs = vec![0];
        for op in &self.log.ops {
            epochs.push(epoch);
            let ends = op.is_flush() && op.outcome == Outcome::Completed && self.options.device.honours_flush;
            epoch += u32::from(ends);
        }
        epochs
    }

    /// Number of the epoch of the op at a cut, from 1, as an [`EpochClaim`](super::EpochClaim) counts it.
    pub fn epoch_of(&self, cut: u64) -> u32 {
        let cut = usize::try_from(cut).unwrap_or(usize::MAX);
        self.epochs().get(cut).map_or(1, |epoch| epoch + 1)
    }

    pub(super) fn effect(&self, number: u64) -> Option<&Effect<'a>> {
        self.effects.get(usize::try_from(number.checked_sub(1)?).ok()?)?.as_ref()
    }

    pub(super) fn is_volatile(&self, number: u64, cut: u64) -> bool {
        number <= cut && self.effect(number).is_some() && self.durable_from[number as usize - 1] > cut
    }

    /// The ops up to a cut that are gone if these are missing, in order, durable ones included.
    pub(super) fn gone(&self, missing: &[u64], cut: u64) -> Vec<u64> {
        if self.independent || missing.is_empty() {
            return missing.to_vec();
        }
        let mut gone: Vec<u64> = Vec::with_capacity(missing.len());
        for number in missing[0]..=cut {
            let Some(effect) = self.effect(number) else { continue };
            if missing.binary_search(&number).is_ok() || hangs_on(effect, &gone) {
                gone.push(number);
            }
        }
        gone
    }

    /// As [`Power::gone`], of the volatile ones alone: what a state lists.
    pub(super) fn closure(&self, missing: &[u64], cut: u64) -> Vec<u64> {
        let mut gone = self.gone(missing, cut);
        if !self.independent {
            gone.retain(|number| self.is_volatile(*number, cut));
        }
        gone
    }

    /// Those of a closed set that hang on no other of it, nor on a durable op that is gone with another.
    pub(super) fn roots(&self, closed: &[u64], cut: u64) -> Vec<u64> {
        let gone = self.gone(closed, cut);
        let root = |number: &u64| self.effect(*number).is_some_and(|effect| !hangs_on(effect, &gone));
        closed.iter().copied().filter(root).collect()
    }

    /// What an op hangs on, however far back, in no order.
    pub(super) fn ancestors(&self, number: u64) -> Vec<u64> {
        let mut found = Vec::new();
        let mut waiting = vec![number];
        while let Some(effect) = waiting.pop().and_then(|number| self.effect(number)) {
            for earlier in effect.needs.iter().chain(&effect.after) {
                if !found.contains(earlier) {
                    found.push(*earlier);
                    waiting.push(*earlier);
                }
            }
        }
        found
    }

    /// Atomic units that the op touches; 1 where it can't be torn.
    pub(super) fn units(&self, number: u64) -> u64 {
        let write = self
            .effect(number)
            .filter(|effect| effect.mutation.is_write() && effect.op.outcome == Outcome::Completed);
        let range = write.and_then(|effect| effect.mutation.range());
        range.map_or(1, |range| torn::count(&range, self.options.device.atomic_unit))
    }

    /// Whether this run has such a state.
    pub fn has(&self, state: &PowerState) -> bool {
        self.check(state).is_ok()
    }

    /// Why this run has no such state.
    pub(crate) fn check(&self, state: &PowerState) -> Result<(), Impossible> {
        if state.cut > self.log.len() {
            return Err(Impossible::CutBehindEnd(self.log.len()));
        }
        if let Some(op) = state.dropped.iter().find(|op| !self.is_volatile(**op, state.cut)) {
            return Err(Impossible::NotVolatile(*op));
        }
        let closure = self.closure(&state.dropped, state.cut);
        if let Some(op) = closure.iter().find(|op| state.dropped.binary_search(op).is_err()) {
            return Err(Impossible::HangsOnMissing(*op));
        }
        let Some(torn) = state.torn else { return Ok(()) };
        let there = (torn.op == state.cut || self.is_volatile(torn.op, state.cut))
            && self.gone(&state.dropped, state.cut).binary_search(&torn.op).is_err();
        if there && torn::fits(torn.units, self.units(torn.op)) {
            Ok(())
        } else {
            Err(Impossible::NotTorn(torn.op))
        }
    }
}

fn hangs_on(effect: &Effect<'_>, gone: &[u64]) -> bool {
    effect.needs.iter().chain(&effect.after).any(|earlier| gone.binary_search(earlier).is_ok())
}
