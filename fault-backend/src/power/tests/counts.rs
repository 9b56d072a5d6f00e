//! Counts that are known from elsewhere: from real tools, and from arithmetic.

use std::collections::HashSet;

use super::*;

/// What sgdisk does for a new partition: backup array, backup header, primary array, primary header, protective
/// MBR (which changes nothing), with no flush in between; then `sync` and one fsync.
fn sgdisk() -> OpLog {
    let mut log = OpLog::default();
    for (offset, len, value) in
        [(60_000, 4096, 1), (65_024, 512, 2), (1024, 4096, 3), (512, 512, 4), (0, 512, 0)]
    {
        write(&mut log, offset, len, value);
    }
    flush(&mut log, None);
    flush(&mut log, Some(DISK));
    log
}

#[test]
fn five_writes_without_a_flush_have_26_states_that_no_kill_leaves_and_11_contents() {
    let log = sgdisk();
    let power = Power::new(disk(65_536), &log, PowerOptions::default()).unwrap();
    let (kill, more): (Vec<_>, Vec<_>) = power.states().partition(PowerState::is_prefix);
    assert_eq!((kill.len(), more.len()), (6, 26));
    let kill = ids(&power, kill.into_iter());
    let more = ids(&power, more.into_iter());
    assert_eq!((kill.len(), more.difference(&kill).count()), (5, 11));
}

#[test]
fn a_flush_after_each_write_leaves_nothing_that_no_kill_leaves() {
    let log = writes(8, true);
    let power = Power::new(disk(16), &log, PowerOptions::default()).unwrap();
    assert!(power.states().all(|state| state.is_prefix()));
    assert_eq!(power.states().count(), 9);
    assert!((0..=16).filter(|cut| cut % 2 == 0).all(|cut| power.volatile(cut).is_empty()));
}

#[test]
fn a_device_that_ignores_flushes_has_one_epoch() {
    let log = writes(4, true);
    let device = DeviceProfile::load("eatmydata").unwrap();
    let power = Power::new(disk(16), &log, PowerOptions { device, ..PowerOptions::default() }).unwrap();
    assert_eq!(power.states().count(), 1 << 4);
    assert_eq!(power.volatile(8), [1, 3, 5, 7]);
    assert_eq!(power.claims().len(), 1);
}

/// Of 274 ops in one epoch there are 37,950 points at which at most one op is missing, and 36,179 at which at most
/// two of the last 16 are. A set of missing ops that includes the cut's own is the same state at an earlier cut, so
/// that fewer states are enumerated than there are points.
#[test]
fn an_epoch_of_274_ops_has_the_points_of_the_formula_and_each_state_once() {
    let log = writes(274, false);
    let options = PowerOptions { samples: 0, ..PowerOptions::default() };
    let power = Power::new(disk(512), &log, options).unwrap();
    let [claim] = power.claims().try_into().unwrap();
    let Coverage::Bounded { less_one, less_several, volatile, .. } = claim.coverage else {
        panic!("{claim}")
    };
    assert_eq!((volatile, less_one, less_several), (274, 37_950, 36_179));

    let kept =
        |cut: u64, dropped: &[u64]| -> Vec<u64> { (1..=cut).filter(|op| !dropped.contains(op)).collect() };
    let (mut points, mut wanted) = ([0, 0usize], HashSet::new());
    for cut in 0..=274u64 {
        let recent: Vec<u64> = (cut.saturating_sub(16) + 1..=cut).collect();
        points[0] += 1 + cut as usize;
        wanted.insert(kept(cut, &[]));
        wanted.extend((1..=cut).map(|op| kept(cut, &[op])));
        points[1] += 1 + recent.len();
        for (place, a) in recent.iter().enumerate() {
            points[1] += recent.len() - place - 1;
            wanted.extend(recent[place + 1..].iter().map(|b| kept(cut, &[*a, *b])));
        }
        // The cuts with six ops and fewer are looked at whole.
        if cut <= 6 {
            wanted.extend(
                (0..1u64 << cut).map(|mask| (1..=cut).filter(|op| mask >> (op - 1) & 1 == 1).collect()),
            );
        }
    }
    assert_eq!(points, [37_950, 36_179]);
    let states: Vec<Vec<u64>> = power.states().map(|state| kept(state.cut, &state.dropped)).collect();
    let distinct: HashSet<_> = states.iter().cloned().collect();
    assert_eq!(states.len(), distinct.len(), "each state once");
    assert_eq!(distinct, wanted);
}

#[test]
fn samples_are_of_the_rest_and_the_same_for_a_seed() {
    let log = writes(100, false);
    let states = |samples, seed| -> Vec<PowerState> {
        let options = PowerOptions { samples, seed, ..PowerOptions::default() };
        Power::new(disk(512), &log, options).unwrap().states().collect()
    };
    let (none, some) = (states(0, 1), states(500, 1));
    assert_eq!(some.len(), none.len() + 500);
    let none: HashSet<_> = none.into_iter().collect();
    let rest: Vec<_> = some.iter().filter(|state| !none.contains(state)).collect();
    assert_eq!(rest.len(), 500);
    assert_eq!(states(500, 1), some);
    assert_ne!(states(500, 2), some);
    // The odds are such that few and many ops are missing.
    let share = |state: &&PowerState| state.dropped.len() as f64 / state.cut as f64;
    assert!(rest.iter().filter(|state| share(state) < 0.2).count() > 100);
    assert!(rest.iter().filter(|state| share(state) > 0.8).count() > 50);
}

#[test]
fn a_claim_says_how_much_of_each_epoch_was_looked_at() {
    let mut log = writes(3, false);
    flush(&mut log, Some(DISK));
    (0..274).for_each(|at| write(&mut log, at, 1, 2));
    flush(&mut log, Some(DISK));
    let claims = |samples| -> Vec<String> {
        let options = PowerOptions { samples, ..PowerOptions::default() };
        let power = Power::new(disk(512), &log, options).unwrap();
        power.claims().iter().map(ToString::to_string).collect()
    };
    let bound = |samples, percent| {
        format!(
            "epoch 2 (274 ops): every cut less one; less two within 16; {samples} samples of the rest: \
             with no failure, at most {percent} % of what was sampled from fails, at 95 %"
        )
    };
    assert_eq!(
        claims(1000),
        ["epoch 1 (3 ops): every subset at every cut (15 points)".to_owned(), bound("1,000", "0.3")]
    );
    assert_eq!(claims(700)[1], bound("700", "0.43"));
    assert_eq!(claims(2)[1], bound("2", "100"));
    assert_eq!(
        claims(0)[1],
        "epoch 2 (274 ops): every cut less one; less two within 16; nothing of the rest"
    );
}

#[test]
fn the_states_at_the_end_are_those_that_a_completed_run_still_can_lose() {
    let mut log = writes(2, true);
    write(&mut log, 9, 1, 5);
    let power = Power::new(disk(16), &log, PowerOptions::default()).unwrap();
    let at_end: Vec<String> = power.states_at(log.len()).map(|state| state.to_string()).collect();
    assert_eq!(at_end, ["p5", "p5-5"]);
    assert_eq!(power.states_at(4).map(|state| state.to_string()).collect::<Vec<_>>(), ["p4"]);
}
