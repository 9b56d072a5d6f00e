//! The crash points of a recorded run: after each op, and inside each write that a SIGKILL can cut.
//!
//! A buffered write is cut at pages of the file, so one that touches `s` of them has `s - 1` torn states; which of
//! them are looked at is a matter of choice, and the choice is counted.

use std::collections::BTreeSet;
use std::sync::Arc;

use fault_backend::oplog::{Op, OpLog};
use fault_backend::replay::Point;
use fault_backend::{Action, Fault};
use rand::RngExt;
use reports::{Lot, Model};

use super::regions::{Region, Regions};
use crate::seeds;

/// Which points inside a write are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// None.
    None,
    /// So many of each write: the first, the last, the middle, then drawn by seed.
    PerWrite(u32),
    /// All.
    All,
}

/// What cuts a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TornUnit {
    /// The page cache: 4 KiB pages of the file.
    Page,
    /// A disk that keeps no more than a sector whole; a SIGKILL does not do that to a buffered write.
    Sector,
}

/// One crash point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    /// For replaying.
    pub point: Point,
    /// Last op that is complete.
    pub op: u64,
    /// Bytes of the op after it that arrived, for a point inside a write.
    pub torn_bytes: Option<u64>,
    /// Sectors of 512 bytes that those bytes are, as a fault counts them.
    sectors: u32,
    /// Furthest step mark before it.
    pub step: Arc<str>,
    /// What the op that it follows, or lies inside of, is about.
    pub region: Region,
}

/// The step before the first mark, and the region before the first op.
pub(super) const START: &str = "start";

/// The points of a run, and how many there would be.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// In the order of the run.
    pub all: Vec<CrashPoint>,
    /// How many there are and are looked at, by what they have in common.
    pub lots: Vec<Lot>,
}

impl CrashPoint {
    /// Its model.
    pub fn model(&self) -> Model {
        if self.torn_bytes.is_some() { Model::Torn } else { Model::Kill }
    }

    /// The fault that kills a live run here.
    pub fn fault(&self) -> Fault {
        match self.torn_bytes {
            None => Fault::AtOp(self.op, Action::KillAfter),
            Some(_) => Fault::AtOp(self.op + 1, Action::KillTorn(self.sectors)),
        }
    }

    /// In words: `after op 12`.
    pub fn describe(&self) -> String {
        match self.torn_bytes {
            None if self.op == 0 => "before the first op".to_owned(),
            None => format!("after op {}", self.op),
            Some(bytes) => format!("inside op {}, after {bytes} bytes", self.op + 1),
        }
    }
}

impl Points {
    /// The points of a recorded run of a phase.
    pub fn of(log: &OpLog, regions: &Regions, torn: Torn, unit: TornUnit, seed: u64, phase: &str) -> Self {
        let mut points = Self::default();
        let start: Arc<str> = START.into();
        points.push_after(0, &start, &START.into());
        for op in &log.ops {
            let region = regions.of(op);
            let inside = unit.units(op).saturating_sub(1);
            points.count(Model::Torn, &op.step, &region.name, (inside, 0));
            for k in chosen(inside, torn, seed, phase, op.number) {
                let (bytes, sectors) = unit.bytes_and_sectors(op, k);
                points.count(Model::Torn, &op.step, &region.name, (0, 1));
                points.all.push(CrashPoint {
                    point: Point::Torn { op: op.number, bytes },
                    op: op.number - 1,
                    torn_bytes: Some(bytes),
                    sectors: u32::try_from(sectors).unwrap_or(u32::MAX),
                    step: Arc::clone(&op.step),
                    region: region.clone(),
                });
            }
            points.push_after(op.number, &op.step, &region);
        }
        points
    }

    fn push_after(&mut self, op: u64, step: &Arc<str>, region: &Region) {
        self.count(Model::Kill, step, &region.name, (1, 1));
        self.all.push(CrashPoint {
            point: Point::After(op),
            op,
            torn_bytes: None,
            sectors: 0,
            step: Arc::clone(step),
            region: region.clone(),
        });
    }

    /// Counts points that there are, and that are looked at.
    pub fn count(&mut self, model: Model, step: &str, region: &str, (possible, planned): (u64, u64)) {
        if (possible, planned) == (0, 0) {
            return;
        }
        let is_it = |lot: &&mut Lot| lot.model == model && lot.step == step && lot.region == region;
        match self.lots.iter_mut().find(is_it) {
            Some(lot) => {
                lot.possible += possible;
                lot.planned += planned;
            }
            None => self.lots.push(Lot {
                model,
                step: step.to_owned(),
                region: region.to_owned(),
                possible,
                planned,
            }),
        }
    }

    /// Drops the points of other models.
    pub fn keep_only(&mut self, models: &BTreeSet<Model>) {
        self.all.retain(|point| models.contains(&point.model()));
        self.lots.retain(|lot| models.contains(&lot.model));
    }

    /// Points that are looked at of a model.
    pub fn planned(&self, model: Model) -> u64 {
        self.lots.iter().filter(|lot| lot.model == model).map(|lot| lot.planned).sum()
    }
}

impl TornUnit {
    /// Units that a write touches.
    fn units(self, op: &Op) -> u64 {
        match self {
            Self::Page => op.pages(),
            Self::Sector => op.sectors(),
        }
    }

    /// Bytes of the payload before the `k`-th boundary inside a write, and the sectors that a fault counts them in.
    fn bytes_and_sectors(self, op: &Op, k: u64) -> (u64, u64) {
        match self {
            Self::Page => (op.torn_bytes(k), op.torn_sectors(k)),
            Self::Sector => (op.torn_sector_bytes(k), k),
        }
    }
}

/// Which of the boundaries 1 to `inside` of a write are looked at, in order.
fn chosen(inside: u64, torn: Torn, seed: u64, phase: &str, op: u64) -> Vec<u64> {
    let wanted = match torn {
        Torn::None => 0,
        Torn::All => inside,
        Torn::PerWrite(n) => u64::from(n).min(inside),
    };
    if wanted == inside {
        return (1..=inside).collect();
    }
    let mut chosen: Vec<u64> = [1, inside, inside.div_ceil(2)].into_iter().take(wanted as usize).collect();
    chosen.sort_unstable();
    chosen.dedup();
    let mut random = seeds::stream(seed, &format!("torn {phase}"), &[op]);
    while (chosen.len() as u64) < wanted {
        let k = random.random_range(1..=inside);
        if let Err(place) = chosen.binary_search(&k) {
            chosen.insert(place, k);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_last_and_middle_come_before_drawn_ones() {
        assert_eq!(chosen(255, Torn::PerWrite(3), 1, "p", 1), [1, 128, 255]);
        assert_eq!(chosen(255, Torn::PerWrite(1), 1, "p", 1), [1]);
        assert_eq!(chosen(2, Torn::PerWrite(4), 1, "p", 1), [1, 2]);
        assert_eq!(chosen(0, Torn::All, 1, "p", 1), Vec::<u64>::new());
        assert_eq!(chosen(5, Torn::None, 1, "p", 1), Vec::<u64>::new());
        let four = chosen(255, Torn::PerWrite(4), 1, "p", 1);
        assert_ne!(four, chosen(255, Torn::PerWrite(4), 2, "p", 1), "the fourth is the seed's");
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_in_order_inside_the_write_and_as_many_as_asked_for(
            inside in 0u64..400, n in 0u32..20, seed in any::<u64>())
        {
            let found = chosen(inside, Torn::PerWrite(n), seed, "p", 3);
            prop_assert_eq!(found.len() as u64, u64::from(n).min(inside));
            prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(found.iter().all(|k| (1..=inside).contains(k)));
        }
    }
}
