//! Which of the crash points that there are a sweep has looked at, by what they have in common.

use crate::{Lot, Model, Point};

/// Crash points that have something in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// Points that there are.
    pub possible: u64,
    /// Points that were looked at.
    pub explored: u64,
}

/// The points of a campaign, in lots of equal phase, model, step and region. There are a few dozen, so look-up is a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(Vec<(Key, Covered)>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    phase: String,
    model: Model,
    step: String,
    region: String,
}

impl Coverage {
    /// Takes in points that there are.
    pub(super) fn add(&mut self, phase: &str, lot: &Lot) {
        let covered = self.lot(phase, lot.model, &lot.step, &lot.region);
        covered.possible = covered.possible.saturating_add(lot.possible);
    }

    /// Takes in a point that was looked at.
    pub(super) fn explored(&mut self, point: &Point) {
        self.lot(&point.phase, point.model, &point.step, &point.region).explored += 1;
    }

    /// The points by what `name` gives of model, step and region, in order of appearance.
    pub fn by<'a>(&'a self, name: impl Fn(Model, &'a str, &'a str) -> &'a str) -> Vec<(&'a str, Covered)> {
        let mut rows: Vec<(&str, Covered)> = Vec::new();
        for (key, lot) in &self.0 {
            let name = name(key.model, &key.step, &key.region);
            let place = rows.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                rows.push((name, Covered::default()));
                rows.len() - 1
            });
            let row = &mut rows[place].1;
            row.possible = row.possible.saturating_add(lot.possible);
            row.explored += lot.explored;
        }
        rows
    }

    fn lot(&mut self, phase: &str, model: Model, step: &str, region: &str) -> &mut Covered {
        let is_it =
            |key: &Key| key.model == model && key.step == step && key.region == region && key.phase == phase;
        let place = self.0.iter().position(|(key, _)| is_it(key)).unwrap_or_else(|| {
            let [phase, step, region] = [phase, step, region].map(str::to_owned);
            self.0.push((Key { phase, model, step, region }, Covered::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}
