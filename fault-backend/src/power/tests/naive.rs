//! Random logs over one file against the definition: every subset of the ops that holds what is durable.

use proptest::prelude::*;

use super::*;
use crate::replay::Replay;

const LEN: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Write { at: usize, len: usize, value: u8, fua: bool },
    Flush { dropped: bool },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..LEN, 1..4usize, 1..4u8, prop::bool::weighted(0.2)).prop_map(|(at, len, value, fua)| {
            Step::Write { at, len: len.min(LEN - at), value, fua }
        }),
        1 => prop::bool::weighted(0.3).prop_map(|dropped| Step::Flush { dropped }),
    ]
}

fn log_of(steps: &[Step]) -> OpLog {
    let mut log = OpLog::default();
    for step in steps {
        match step {
            Step::Write { at, len, value, .. } => write(&mut log, *at as u64, *len, *value),
            Step::Flush { .. } => flush(&mut log, Some(DISK)),
        }
        let last = log.ops.last_mut().unwrap();
        match step {
            Step::Write { fua, .. } => last.fua = *fua,
            Step::Flush { dropped: true } => last.outcome = Outcome::Dropped,
            Step::Flush { .. } => {}
        }
    }
    log
}

/// The contents at each cut, by trying every subset.
fn by_definition(steps: &[Step]) -> Vec<BTreeSet<[u8; LEN]>> {
    let durable = |op: usize, cut: usize| match &steps[op] {
        Step::Write { fua, .. } => {
            *fua || steps[op..cut].iter().any(|step| matches!(step, Step::Flush { dropped: false }))
        }
        Step::Flush { .. } => true,
    };
    let content = |mask: usize, cut: usize| {
        let mut bytes = [0; LEN];
        for (op, step) in steps[..cut].iter().enumerate() {
            if let (Step::Write { at, len, value, .. }, true) = (step, mask >> op & 1 == 1) {
                bytes[*at..at + len].fill(*value);
            }
        }
        bytes
    };
    let possible = |mask: &usize, cut: usize| (0..cut).all(|op| mask >> op & 1 == 1 || !durable(op, cut));
    (0..=steps.len())
        .map(|cut| (0..1 << cut).filter(|mask| possible(mask, cut)).map(|mask| content(mask, cut)).collect())
        .collect()
}

fn id(bytes: &[u8; LEN]) -> ContentId {
    let mut volume = disk(LEN as u64);
    volume.write(DISK, 0, bytes, Timestamp::default()).unwrap();
    volume.content_id()
}

fn exhaustive() -> PowerOptions {
    PowerOptions { exhaustive_ops: 20, ..PowerOptions::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn exhausted_states_are_those_of_the_definition(steps in prop::collection::vec(any_step(), 0..9)) {
        let log = log_of(&steps);
        let power = Power::new(disk(LEN as u64), &log, exhaustive()).unwrap();
        let at_cuts = by_definition(&steps);
        for (cut, expected) in (0..).zip(&at_cuts) {
            prop_assert_eq!(ids(&power, power.states_at(cut)), expected.iter().map(id).collect(), "cut {}", cut);
        }
        let all: BTreeSet<ContentId> = at_cuts.iter().flatten().map(id).collect();
        prop_assert_eq!(ids(&power, power.states()), all);
    }

    #[test]
    fn bounded_states_are_some_of_the_definition_and_all_kill_states(
        steps in prop::collection::vec(any_step(), 0..9), exhaustive_ops in 0..4u32, max_drops in 0..4u32, window in 0..6u32)
    {
        let log = log_of(&steps);
        let options = PowerOptions { exhaustive_ops, max_drops, window, samples: 10, ..PowerOptions::default() };
        let power = Power::new(disk(LEN as u64), &log, options).unwrap();
        let all: BTreeSet<ContentId> = by_definition(&steps).iter().flatten().map(id).collect();
        let found = ids(&power, power.states());
        prop_assert!(found.is_subset(&all));
        let mut replay = Replay::new(disk(LEN as u64), &log);
        for cut in 0..=log.len() {
            prop_assert!(found.contains(&replay.state_after(cut).unwrap().content_id()), "kill at {}", cut);
        }
    }

    #[test]
    fn a_state_is_the_same_in_whatever_order_it_is_asked_for(
        steps in prop::collection::vec(any_step(), 1..14), order in any::<u64>(),
        kept_max_bytes in prop_oneof![Just(u64::MAX), 0..100_000_u64])
    {
        let log = log_of(&steps);
        // No device has units of two bytes; here they tear what is small enough to be tried at length.
        let device = DeviceProfile::new("test", AtomicUnit::Bytes(2), Dropped::Zeros, true);
        let options = PowerOptions { exhaustive_ops: 2, samples: 20, device, ..PowerOptions::default() };
        let power = Power::new(disk(LEN as u64), &log, options).unwrap();
        let states: Vec<PowerState> = power.states().collect();
        let fresh = |state: &PowerState| power.builder().materialise(state).unwrap().content_id();
        let expected: Vec<ContentId> = states.iter().map(fresh).collect();
        let mut builder = power.builder();
        builder.kept_max_bytes = kept_max_bytes;
        for (state, expected) in states.iter().zip(&expected) {
            prop_assert_eq!(builder.materialise(state).unwrap().content_id(), *expected, "{}", state);
            prop_assert!(builder.kept_bytes <= kept_max_bytes, "{}", builder.kept_bytes);
        }
        for step in 0..states.len() as u64 {
            let at = (order.wrapping_mul(step + 1) % states.len() as u64) as usize;
            prop_assert_eq!(builder.materialise(&states[at]).unwrap().content_id(), expected[at]);
        }
    }

    #[test]
    fn a_flush_that_is_dropped_only_adds_states(steps in prop::collection::vec(any_step(), 1..9)) {
        let log = log_of(&steps);
        let states = |log: &OpLog| {
            let power = Power::new(disk(LEN as u64), log, exhaustive()).unwrap();
            ids(&power, power.states())
        };
        let with = states(&log);
        for number in log.flushes().map(|op| op.number) {
            prop_assert!(with.is_subset(&states(&log.without_flush(number))), "without {}", number);
        }
    }
}
