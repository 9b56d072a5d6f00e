//! The device's atomic units inside a write, and which parts of a torn write are looked at.

use std::ops::Range;

use rand::RngExt;

use super::draw::stream;
use super::profile::AtomicUnit;
use super::state::{Torn, Units};

/// Units that a write of these bytes of its file touches; 1 where it can't be torn.
pub(super) fn count(range: &Range<u64>, unit: AtomicUnit) -> u64 {
    match unit {
        AtomicUnit::Bytes(bytes) if !range.is_empty() => {
            range.end.div_ceil(u64::from(bytes)) - range.start / u64::from(bytes)
        }
        _ => 1,
    }
}

/// Parts of a write of so many units, at most `most`: the first one, half of them, all but one; the same from its
/// end; one in the middle; and two choices at random where there are many.
pub(super) fn variants(count: u64, most: u32) -> Vec<Units> {
    if count < 2 {
        return Vec::new();
    }
    let mut lengths = vec![1, count / 2, count - 1];
    lengths.sort_unstable();
    lengths.dedup();
    let first = lengths.iter().map(|n| Units::First(*n));
    let last = lengths.iter().map(|n| Units::Last(*n));
    let middle = (count > 2).then_some(Units::Only(count / 2 + 1));
    let samples = (0..if count > 3 { 2 } else { 0 }).map(Units::Sample);
    first.chain(last).chain(middle).chain(samples).take(most as usize).collect()
}

/// Whether a part fits a write of so many units.
pub(super) fn fits(units: Units, count: u64) -> bool {
    match units {
        Units::First(n) | Units::Last(n) => (1..count).contains(&n),
        Units::Only(unit) => count > 1 && (1..=count).contains(&unit),
        Units::Sample(_) => count > 1,
    }
}

/// The pieces of a write, as bytes of its file, each with whether it is there.
pub(super) fn pieces(
    range: Range<u64>,
    unit: AtomicUnit,
    torn: Torn,
    seed: u64,
) -> impl Iterator<Item = (Range<u64>, bool)> {
    let count = count(&range, unit);
    let bytes = match unit {
        AtomicUnit::Bytes(bytes) => u64::from(bytes),
        AtomicUnit::Write => u64::MAX,
    };
    let mut random = match torn.units {
        Units::Sample(number) => Some(stream(seed, "torn", &[torn.op, number])),
        _ => None,
    };
    (1..=count).map(move |number| {
        let there = match torn.units {
            Units::First(n) => number <= n,
            Units::Last(n) => number > count - n,
            Units::Only(unit) => number == unit,
            Units::Sample(_) => random.as_mut().is_some_and(|random| random.random_bool(0.5)),
        };
        let first = range.start / bytes + number - 1;
        let end = range.end.min((first + 1).saturating_mul(bytes));
        (range.start.max(first.saturating_mul(bytes))..end, there)
    })
}
