//! Which points tell most, for a sweep that has no time for all of them.
//!
//! First come those at writes to a disk's own structures and at changes of names, then those around flushes, then the
//! ends of steps, then the rest, spread evenly over the run at every moment.

use fault_backend::oplog::OpLog;
use fault_backend::power::PowerState;
use reports::Model;

use super::points::CrashPoint;

/// Orders points by what they tell.
pub fn sort(points: &mut [&CrashPoint], log: &OpLog) {
    points.sort_by_key(|point| (class(point, log), spread(point.op, log.len()), point.torn_bytes));
}

/// How much a point tells; 0 is most.
fn class(point: &CrashPoint, log: &OpLog) -> u8 {
    let (inside, last, next) = (log.op(point.op + 1), log.op(point.op), log.op(point.op + 1));
    let about = if point.model() == Model::Torn { inside } else { last };
    let is_name = |mutation: &fault_backend::Mutation| mutation.range().is_none();
    if point.region.is_structure || about.and_then(|op| op.mutation()).is_some_and(is_name) {
        return 0;
    }
    let is_flush = |op: Option<&fault_backend::Op>| op.is_some_and(|op| op.is_flush());
    if is_flush(last) || is_flush(next) {
        return 1;
    }
    if next.is_none_or(|next| Some(&next.step) != last.map(|last| &last.step)) { 2 } else { 3 }
}

/// Orders power states, each with its place: those that lose least come first.
pub fn sort_power(states: &mut [(u64, PowerState)], ops: u64) {
    let lost = |state: &PowerState| state.dropped.len() + usize::from(state.torn.is_some());
    states.sort_by_key(|(place, state)| (lost(state), spread(state.cut, ops), *place));
}

/// A place in an order in which every beginning is spread evenly over the run: the bits of the position, reversed.
fn spread(op: u64, ops: u64) -> u64 {
    let bits = 64 - ops.max(1).leading_zeros();
    op.reverse_bits() >> (64 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_is_spread_over_the_run() {
        let mut ops: Vec<u64> = (0..=100).collect();
        ops.sort_by_key(|op| spread(*op, 100));
        for taken in [4, 8, 16, 32] {
            let mut first = ops[..taken].to_vec();
            first.sort_unstable();
            let widest = first.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(widest <= 2 * 101 / taken as u64 + 1, "{taken}: {first:?}");
        }
    }
}
