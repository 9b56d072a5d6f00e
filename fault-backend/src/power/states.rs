//! The enumeration of the power states of a run, one cut after the other, each made when it is asked for.

use std::sync::Arc;

use rand::RngExt;

use super::draw::stream;
use super::model::Power;
use super::profile::Dropped;
use super::state::{PowerState, Torn, Units};
use super::torn;

/// The odds with which a sample keeps each op; each sample draws one of them.
const KEPT: [f64; 4] = [0.1, 0.5, 0.9, 0.98];

/// Draws for one sample that is none of the states that are enumerated anyway.
const TRIES: u32 = 64;

/// How the cut's own op counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// It is there, or torn: without it, it is a state of an earlier cut.
    There,
    /// It may be missing, as that leaves traces.
    AnyTrace,
    /// It completed and may be missing.
    Completed,
}

/// A set of missing ops, and whether a write of it is torn instead.
struct Missing {
    ops: Vec<u64>,
    torn: bool,
}

impl<'a> Power<'a> {
    /// The states of all cuts, in the order of their cuts; [`PowerState::prefix`] is the first of each. At most one
    /// cut's are held at a time, and of these little more than one.
    pub fn states(&self) -> impl Iterator<Item = PowerState> + '_ {
        self.states_from(0)
    }

    /// As [`Power::states`], of this cut and later ones.
    pub fn states_from(&self, first: u64) -> impl Iterator<Item = PowerState> + '_ {
        let last = match self.options.device.dropped {
            Dropped::Old => Last::There,
            Dropped::Zeros | Dropped::Garbage => Last::AnyTrace,
        };
        let changes = |cut: &u64| *cut == 0 || self.effect(*cut).is_some();
        let shares = self.sample_shares();
        let cuts = (first..=self.log.len()).filter(changes);
        cuts.flat_map(move |cut| self.at_cut(cut, last, shares[cut as usize]))
    }

    /// The states that a power cut can leave once so many ops completed, also those that an earlier cut leaves: what
    /// a tool has to expect after it was told that all is done.
    pub fn states_at(&self, cut: u64) -> impl Iterator<Item = PowerState> + '_ {
        self.at_cut(cut.min(self.log.len()), Last::Completed, self.options.samples)
    }

    /// Whether every subset is looked at, with so many volatile ops.
    pub(super) fn is_exhaustive(&self, volatile: usize) -> bool {
        volatile <= self.options.exhaustive_ops()
    }

    /// Samples for each cut: those of its epoch, spread evenly over the cuts that are not exhausted.
    fn sample_shares(&self) -> Vec<u32> {
        let epochs = self.epochs();
        let mut shares = vec![0; epochs.len()];
        let open = |cut: &usize| {
            self.effect(*cut as u64).is_some() && !self.is_exhaustive(self.volatile(*cut as u64).len())
        };
        let cuts: Vec<usize> = (1..epochs.len()).filter(open).collect();
        for cuts in cuts.chunk_by(|a, b| epochs[*a] == epochs[*b]) {
            let (samples, count) = (u64::from(self.options.samples), cuts.len() as u64);
            for (place, cut) in (0..).zip(cuts) {
                shares[*cut] = (samples * (place + 1) / count - samples * place / count) as u32;
            }
        }
        shares
    }

    fn at_cut(&self, cut: u64, last: Last, samples: u32) -> impl Iterator<Item = PowerState> + '_ {
        let volatile = self.volatile(cut);
        let exhaustive = self.is_exhaustive(volatile.len());
        let fixed = match last {
            Last::There => [self.ancestors(cut), vec![cut]].concat(),
            Last::AnyTrace | Last::Completed => Vec::new(),
        };
        let may_miss = |op: &u64| !fixed.contains(op);
        let ops: Arc<[u64]> = volatile.iter().copied().filter(may_miss).collect();
        let missing: Box<dyn Iterator<Item = Missing> + '_> = if exhaustive {
            Box::new(self.subsets(cut, ops))
        } else {
            let window = &volatile[volatile.len().saturating_sub(self.options.window())..];
            let recent: Arc<[u64]> = window.iter().copied().filter(may_miss).collect();
            let none = Missing { ops: Vec::new(), torn: true };
            let first_recent = window.first().copied().unwrap_or(cut);
            Box::new(
                std::iter::once(none)
                    .chain(self.singles(cut, ops.clone()))
                    .chain(self.several(cut, recent))
                    .chain(self.samples(cut, ops, first_recent, samples)),
            )
        };
        let completed = last == Last::Completed || (last == Last::AnyTrace && self.is_volatile(cut, cut));
        missing.flat_map(move |missing| self.with_torn(cut, missing, !completed, exhaustive))
    }

    /// Every subset that is closed.
    fn subsets(&self, cut: u64, ops: Arc<[u64]>) -> impl Iterator<Item = Missing> + '_ {
        (0..1u64 << ops.len()).filter_map(move |mask| {
            let chosen = choose(&ops, mask);
            (self.closure(&chosen, cut) == chosen).then_some(Missing { ops: chosen, torn: true })
        })
    }

    fn singles(&self, cut: u64, ops: Arc<[u64]>) -> impl Iterator<Item = Missing> + '_ {
        (0..ops.len()).map(move |at| Missing { ops: self.closure(&[ops[at]], cut), torn: true })
    }

    /// Two and more of the last ops, none of which hangs on another: what hangs on them is missing with them.
    fn several(&self, cut: u64, recent: Arc<[u64]>) -> impl Iterator<Item = Missing> + '_ {
        let most = self.options.max_drops.min(recent.len() as u32);
        (2..=most).flat_map(move |size| {
            let recent = recent.clone();
            masks(size, recent.len() as u32).filter_map(move |mask| {
                let chosen = choose(&recent, mask);
                let ops = self.closure(&chosen, cut);
                (self.roots(&ops, cut) == chosen).then_some(Missing { ops, torn: false })
            })
        })
    }

    fn samples(
        &self,
        cut: u64,
        ops: Arc<[u64]>,
        first_recent: u64,
        count: u32,
    ) -> impl Iterator<Item = Missing> + '_ {
        let mut random = stream(self.options.seed, "subset", &[cut]);
        let max_drops = self.options.max_drops as usize;
        (0..count).filter_map(move |_| {
            for _ in 0..TRIES {
                let kept = KEPT[random.random_range(0..KEPT.len())];
                let chosen: Vec<u64> = ops.iter().copied().filter(|_| !random.random_bool(kept)).collect();
                let ops = self.closure(&chosen, cut);
                let roots = self.roots(&ops, cut);
                let known = roots.len() <= 1 || (roots.len() <= max_drops && roots[0] >= first_recent);
                if !known {
                    return Some(Missing { ops, torn: false });
                }
            }
            None
        })
    }

    /// The state without the missing ops, then those in which one of them is torn, or the last op, still in flight.
    fn with_torn(
        &self,
        cut: u64,
        missing: Missing,
        in_flight: bool,
        exhaustive: bool,
    ) -> impl Iterator<Item = PowerState> + '_ {
        let last = (in_flight && cut > 0 && (exhaustive || missing.ops.is_empty())).then_some(cut);
        // What hangs on a missing op is missing whole.
        let among = if missing.torn { self.roots(&missing.ops, cut) } else { Vec::new() };
        let writes = among.into_iter().chain(last.filter(|_| missing.torn));
        let torn = writes.flat_map(|op| {
            let parts = torn::variants(self.units(op), self.options.torn_per_write);
            parts.into_iter().map(move |units: Units| Torn { op, units })
        });
        let whole = PowerState { cut, dropped: missing.ops, torn: None };
        let base = whole.clone();
        std::iter::once(whole).chain(torn.map(move |torn| PowerState {
            dropped: base.dropped.iter().copied().filter(|op| *op != torn.op).collect(),
            torn: Some(torn),
            ..base
        }))
    }
}

fn choose(ops: &[u64], mask: u64) -> Vec<u64> {
    (0..).zip(ops).filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, op)| *op).collect()
}

/// Numbers below `2^bits` with so many bits set, ascending (Gosper's hack).
fn masks(size: u32, bits: u32) -> impl Iterator<Item = u64> {
    let first = (1u64 << size) - 1;
    std::iter::successors(Some(first), |mask| {
        let lowest = mask & mask.wrapping_neg();
        let ripple = mask + lowest;
        Some((mask ^ ripple) >> 2 >> lowest.trailing_zeros() | ripple)
    })
    .take_while(move |mask| mask >> bits == 0)
}
