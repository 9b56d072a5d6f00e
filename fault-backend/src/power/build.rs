//! Makes the volumes of power states. States are cheap in the order in which they are enumerated: the volume after
//! each op of the open part of the log is kept, and so is, for each single missing or torn op, the last one like that, as
//! long as all of those take no more than [`KEPT_MAX_BYTES`].

use std::collections::{BTreeMap, HashMap};

use rand::RngExt;

use super::depends::Effect;
use super::draw::stream;
use super::model::{Power, PowerError};
use super::profile::Dropped;
use super::state::{PowerState, Torn, Units};
use super::torn;
use crate::content_id::CHUNK_BYTES;
use crate::volume::{Mutation, Volume};

/// A garbage fill is drawn in pieces of so many bytes.
const GARBAGE_BYTES: usize = 4096;

/// Volumes without an op share nothing of what is written behind that op, so that an epoch of many large writes has no room
/// for all of them. Those that are not kept are made anew each time.
const KEPT_MAX_BYTES: u64 = 256 << 20;

/// A volume of its own takes whole chunks of what is written to it.
const CHUNK: u64 = CHUNK_BYTES as u64;

/// Makes the volumes of a run's power states.
#[derive(Debug)]
pub struct Builder<'a> {
    power: &'a Power<'a>,
    /// Volumes after so many ops, none of them missing; that after 0 stays.
    whole: BTreeMap<u64, Volume>,
    /// By the one op that is missing, with what hangs on it, or torn, and which of its units are there then.
    chains: HashMap<(u64, Option<Units>), Chain>,
    cut: u64,
    /// What the chains may take, and what they take.
    pub(super) kept_max_bytes: u64,
    pub(super) kept_bytes: u64,
}

/// A volume without one op and what hangs on it, or with a part of it, up to a cut.
#[derive(Debug)]
struct Chain {
    cut: u64,
    volume: Volume,
    /// What it has for itself, in bytes.
    own_bytes: u64,
}

impl Power<'_> {
    /// What makes volumes of its states.
    pub fn builder(&self) -> Builder<'_> {
        let whole = BTreeMap::from([(0, self.start.clone())]);
        Builder {
            power: self,
            whole,
            chains: HashMap::new(),
            cut: 0,
            kept_max_bytes: KEPT_MAX_BYTES,
            kept_bytes: 0,
        }
    }
}

impl<'a> Builder<'a> {
    /// The volume of a state, without orphans. It shares with others what is the same.
    pub fn materialise(&mut self, state: &PowerState) -> Result<Volume, PowerError> {
        let checked = self.power.check(state);
        checked.map_err(|why| PowerError::Impossible { state: state.clone(), why })?;
        self.go_to(state.cut);
        let mut volume = match self.first_touched(state) {
            None => self.whole(state.cut, state)?,
            Some(first) => self.without(first, state)?,
        };
        volume.drop_orphans();
        Ok(volume)
    }

    fn first_touched(&self, state: &PowerState) -> Option<u64> {
        let torn = state.torn.map(|torn| torn.op);
        state.dropped.first().copied().into_iter().chain(torn).min()
    }

    /// Forgets what no state at or behind this cut is made from.
    fn go_to(&mut self, cut: u64) {
        if cut == self.cut {
            return;
        }
        self.cut = cut;
        let power = self.power;
        let open = (1..=cut).find(|op| power.is_volatile(*op, cut)).unwrap_or(cut).saturating_sub(1);
        let base = self.whole.range(..=open).next_back().map_or(0, |(at, _)| *at);
        self.whole.retain(|at, _| *at == 0 || *at >= base);
        self.chains.retain(|(op, _), chain| chain.cut <= cut && power.is_volatile(*op, cut));
        self.kept_bytes = self.chains.values().map(|chain| chain.own_bytes).sum();
    }

    /// The volume after so many ops, of which none is missing.
    fn whole(&mut self, cut: u64, state: &PowerState) -> Result<Volume, PowerError> {
        let near = self.whole.range(..=cut).next_back();
        let (at, mut volume) = near.map_or((0, self.power.start.clone()), |(at, v)| (*at, v.clone()));
        for number in at + 1..=cut {
            if let Some(effect) = self.power.effect(number) {
                apply(&mut volume, effect, state)?;
            }
            self.whole.insert(number, volume.clone());
        }
        Ok(volume)
    }

    fn without(&mut self, first: u64, state: &PowerState) -> Result<Volume, PowerError> {
        let single = match state.torn {
            None => self.power.roots(&state.dropped, state.cut) == [first],
            Some(_) => state.dropped.is_empty(),
        };
        let key = (first, state.torn.map(|torn| torn.units));
        let chain = self.chains.get(&key).filter(|chain| single && chain.cut <= state.cut);
        let (at, mut volume, before_bytes) = match chain {
            Some(chain) => (chain.cut, chain.volume.clone(), chain.own_bytes),
            None => (first - 1, self.whole(first - 1, state)?, 0),
        };
        let mut own_bytes = before_bytes;
        let gone = self.power.gone(&state.dropped, state.cut);
        for number in at + 1..=state.cut {
            let Some(effect) = self.power.effect(number) else { continue };
            let len = effect.mutation.range().map_or(0, |range| range.end - range.start);
            own_bytes += CHUNK + len.next_multiple_of(CHUNK);
            match state.torn.filter(|torn| torn.op == number) {
                Some(torn) => self.tear(&mut volume, effect, torn, state)?,
                None if gone.binary_search(&number).is_ok() => self.lose(&mut volume, effect, state)?,
                None => apply(&mut volume, effect, state)?,
            }
        }
        let kept_bytes = self.kept_bytes + own_bytes - before_bytes;
        if single && kept_bytes <= self.kept_max_bytes {
            self.kept_bytes = kept_bytes;
            self.chains.insert(key, Chain { cut: state.cut, volume: volume.clone(), own_bytes });
        }
        Ok(volume)
    }

    /// What a write that did not arrive leaves in its place.
    fn lose(&self, volume: &mut Volume, effect: &Effect<'_>, state: &PowerState) -> Result<(), PowerError> {
        match effect.mutation.range() {
            Some(range) if effect.mutation.is_write() => self.fill(volume, effect, range, state),
            _ => Ok(()),
        }
    }

    fn tear(
        &self,
        volume: &mut Volume,
        effect: &Effect<'_>,
        torn: Torn,
        state: &PowerState,
    ) -> Result<(), PowerError> {
        let Mutation::Write { ino, offset, data } = effect.mutation else { return Ok(()) };
        let options = &self.power.options;
        let range = *offset..*offset + data.len() as u64;
        for (piece, there) in torn::pieces(range, options.device.atomic_unit, torn, options.seed) {
            if there {
                let part = &data[(piece.start - offset) as usize..(piece.end - offset) as usize];
                let written = volume.write(*ino, piece.start, part, effect.op.time);
                written.map_err(|source| failed(effect, state, source))?;
            } else {
                self.fill(volume, effect, piece, state)?;
            }
        }
        Ok(())
    }

    /// Zeros or garbage in a range of the op's file, as far as the file reaches.
    fn fill(
        &self,
        volume: &mut Volume,
        effect: &Effect<'_>,
        range: std::ops::Range<u64>,
        state: &PowerState,
    ) -> Result<(), PowerError> {
        let node = effect.mutation.ino().and_then(|ino| Some((ino, volume.node(ino)?.len_bytes())));
        let Some((ino, len)) = node else { return Ok(()) };
        let range = range.start..range.end.min(len);
        let dropped = self.power.options.device.dropped;
        if dropped == Dropped::Old || range.is_empty() {
            return Ok(());
        }
        let mut random = stream(self.power.options.seed, "garbage", &[effect.op.number, range.start]);
        let mut bytes = [0; GARBAGE_BYTES];
        let mut at = range.start;
        while at < range.end {
            let part = &mut bytes[..(range.end - at).min(GARBAGE_BYTES as u64) as usize];
            if dropped == Dropped::Garbage {
                random.fill(&mut *part);
            }
            let written = volume.write(ino, at, part, effect.op.time);
            written.map_err(|source| failed(effect, state, source))?;
            at += part.len() as u64;
        }
        Ok(())
    }
}

/// Applies an op that is there.
fn apply(volume: &mut Volume, effect: &Effect<'_>, state: &PowerState) -> Result<(), PowerError> {
    let time = effect.op.time;
    let applied = match effect.mutation {
        Mutation::Write { ino, offset, data } => volume.write(*ino, *offset, effect.op.arrived(data), time),
        mutation => volume.apply_as(mutation, time, effect.made).map(drop),
    };
    applied.map_err(|source| failed(effect, state, source))
}

fn failed(effect: &Effect<'_>, state: &PowerState, source: nix::errno::Errno) -> PowerError {
    PowerError::Apply { number: effect.op.number, state: state.clone(), source }
}
