//! Which points tell most, for a sweep that has no time for all of them.
//!
//! First come those at writes to a disk's own structures and at changes of names, then those around flushes, then the
//! ends of steps, then the rest, spread evenly over the run at every moment.

use fault_backend::oplog::{Op, OpLog};
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
    if point.region.is_structure || about.is_some_and(is_name) {
        return 0;
    }
    let is_flush = |op: Option<&Op>| op.is_some_and(|op| op.is_flush());
    if is_flush(last) || is_flush(next) {
        return 1;
    }
    if next.is_none_or(|next| Some(&next.step) != last.map(|last| &last.step)) { 2 } else { 3 }
}

/// Whether an op changes names.
pub fn is_name(op: &Op) -> bool {
    op.mutation().is_some_and(|mutation| mutation.range().is_none())
}

/// Power states, each with its place, in the order in which they are looked at: those that lose least come first, of these
/// those that lose of a structure, by what `tells` says of the numbers of ops; then the first state of every cut, then the
/// second.
pub fn sort_power(
    mut states: Vec<(u64, PowerState)>,
    ops: u64,
    tells: impl Fn(u64) -> bool,
) -> Vec<(u64, PowerState)> {
    let lost = |state: &PowerState| state.dropped.len() + usize::from(state.torn.is_some());
    let dull = |state: &PowerState| {
        let torn = state.torn.map(|torn| torn.op);
        !state.dropped.iter().copied().chain(torn).any(&tells)
    };
    let class = |state: &PowerState| (lost(state), dull(state));
    states.sort_by_cached_key(|(place, state)| (class(state), state.cut, *place));
    let mut ranked: Vec<(u64, (u64, PowerState))> = Vec::with_capacity(states.len());
    for (place, state) in states {
        let rank = match ranked.last() {
            Some((rank, (_, last))) if last.cut == state.cut && class(last) == class(&state) => rank + 1,
            _ => 0,
        };
        ranked.push((rank, (place, state)));
    }
    ranked.sort_by_cached_key(|(rank, (_, state))| (class(state), *rank, spread(state.cut, ops)));
    ranked.into_iter().map(|(_, state)| state).collect()
}

/// A place in an order in which every beginning is spread evenly over the run: the bits of the position, reversed.
fn spread(op: u64, ops: u64) -> u64 {
    let bits = 64 - ops.max(1).leading_zeros();
    op.reverse_bits() >> (64 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each state is a text as a token holds it; op 5 is of a structure.
    #[test]
    fn power_states_that_lose_least_and_of_a_structure_come_first_and_each_cut_has_its_turn() {
        let states =
            ["p9-1", "p9-2", "p9-5", "p9t5.1", "p12-2", "p12-3", "p14-2.3", "p14-5.6", "p12-4", "p14-5"];
        let states = (0..).zip(states).map(|(place, text)| (place, text.parse().unwrap())).collect();
        let order = sort_power(states, 15, |op| op == 5);
        let order: Vec<String> = order.iter().map(|(_, state)| state.to_string()).collect();
        let expected =
            ["p14-5", "p9-5", "p9t5.1", "p12-2", "p9-1", "p12-3", "p9-2", "p12-4", "p14-5.6", "p14-2.3"];
        assert_eq!(order, expected);
    }

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
