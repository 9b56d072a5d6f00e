//! Torn writes, what is found where a write is missing, and the text of states.

use proptest::prelude::*;

use super::*;

fn bytes(volume: &Volume) -> Vec<u8> {
    let image = volume.file(Path::new("disk")).unwrap();
    let mut bytes = vec![0; image.len_bytes() as usize];
    image.read_at(0, &mut bytes).unwrap();
    bytes
}

fn options(unit: AtomicUnit, dropped: Dropped) -> PowerOptions {
    PowerOptions { device: DeviceProfile::new("test", unit, dropped, true), ..PowerOptions::default() }
}

/// The bytes of a state, one for each 512 of the disk, `x` where they differ among themselves.
fn sketch(log: &OpLog, options: &PowerOptions, state: &str) -> Result<String, PowerError> {
    let power = Power::new(disk(4096), log, options.clone()).unwrap();
    let volume = power.builder().materialise(&state.parse().unwrap())?;
    let letter = |sector: &[u8]| match sector {
        [first, rest @ ..] if rest.iter().all(|byte| byte == first) && *first < 10 => {
            char::from(b'0' + first)
        }
        _ => 'x',
    };
    Ok(bytes(&volume).chunks(512).map(letter).collect())
}

#[test]
fn a_torn_write_leaves_the_named_sectors() {
    let mut log = OpLog::default();
    write(&mut log, 0, 4096, 1);
    flush(&mut log, None);
    write(&mut log, 512, 2048, 2);
    let options = options(AtomicUnit::Bytes(512), Dropped::Old);
    for (state, expected) in [
        ("p2", "11111111"),
        ("p3", "12222111"),
        ("p3-3", "11111111"),
        ("p3t3.1", "12111111"),
        ("p3t3.3", "12221111"),
        ("p3t3.l1", "11112111"),
        ("p3t3.o2", "11211111"),
    ] {
        assert_eq!(sketch(&log, &options, state).unwrap(), expected, "{state}");
    }
    let sample = |number: u64| sketch(&log, &options, &format!("p3t3.s{number}")).unwrap();
    assert!((0..20).any(|number| sample(number) != sample(0)));
    for impossible in ["p3t3.4", "p3t3.0", "p3t3.o5", "p3-1", "p9", "p3t1.1", "p3-3t3.1", "p2-2"] {
        let error = sketch(&log, &options, impossible).unwrap_err();
        assert!(matches!(error, PowerError::Impossible { .. }), "{impossible}: {error}");
    }
}

#[test]
fn units_begin_at_multiples_of_their_size_and_a_write_inside_one_is_whole() {
    let mut log = OpLog::default();
    write(&mut log, 256, 512, 3);
    write(&mut log, 3 * 512, 512, 4);
    let states = |unit| -> Vec<String> {
        let power = Power::new(disk(4096), &log, options(unit, Dropped::Old)).unwrap();
        power.states().filter(|state| state.torn.is_some()).map(|state| state.to_string()).collect()
    };
    assert_eq!(states(AtomicUnit::Bytes(512)), ["p1t1.1", "p1t1.l1", "p2t1.1", "p2t1.l1"]);
    assert_eq!(states(AtomicUnit::Bytes(4096)), Vec::<String>::new());
    assert_eq!(states(AtomicUnit::Write), Vec::<String>::new());
    let options = options(AtomicUnit::Bytes(512), Dropped::Old);
    let power = Power::new(disk(4096), &log, options).unwrap();
    let volume = power.builder().materialise(&"p1t1.l1".parse().unwrap()).unwrap();
    assert_eq!(bytes(&volume)[..800], [vec![0; 512], vec![3; 256], vec![0; 32]].concat());
}

#[test]
fn a_missing_write_leaves_what_the_device_leaves() {
    let mut log = OpLog::default();
    write(&mut log, 0, 4096, 1);
    flush(&mut log, None);
    write(&mut log, 512, 1024, 2);
    write(&mut log, 1024, 1024, 3);
    for (dropped, state, expected) in [
        (Dropped::Old, "p4-3", "11331111"),
        (Dropped::Zeros, "p4-3", "10331111"),
        (Dropped::Garbage, "p4-3", "1x331111"),
        (Dropped::Zeros, "p4-4", "12001111"),
        (Dropped::Zeros, "p4-3t4.1", "10301111"),
        (Dropped::Garbage, "p4t3.l1", "1x331111"),
    ] {
        let options = options(AtomicUnit::Bytes(512), dropped);
        assert_eq!(sketch(&log, &options, state).unwrap(), expected, "{dropped:?} {state}");
    }
}

#[test]
fn the_last_write_that_left_zeros_is_another_state_than_the_cut_before_it() {
    let log = writes(2, false);
    let count = |dropped| {
        let power = Power::new(disk(16), &log, options(AtomicUnit::Write, dropped)).unwrap();
        let states: Vec<String> = power.states().map(|state| state.to_string()).collect();
        states
    };
    assert_eq!(count(Dropped::Old), ["p0", "p1", "p2", "p2-1"]);
    assert_eq!(count(Dropped::Zeros), ["p0", "p1", "p1-1", "p2", "p2-1", "p2-2", "p2-1.2"]);
}

#[test]
fn garbage_comes_from_the_seed() {
    let log = writes(3, false);
    let content = |seed| {
        let options = PowerOptions { seed, ..options(AtomicUnit::Write, Dropped::Garbage) };
        let power = Power::new(disk(16), &log, options).unwrap();
        bytes(&power.builder().materialise(&"p3-1.2.3".parse().unwrap()).unwrap())
    };
    assert_eq!(content(1), content(1));
    assert_ne!(content(1), content(2));
    assert_eq!(content(1)[3..], [0; 13]);
}

#[test]
fn a_forced_write_is_durable_once_it_completed_and_torn_until_then() {
    let mut log = OpLog::default();
    write(&mut log, 0, 512, 1);
    write(&mut log, 1024, 1024, 2);
    log.ops[1].fua = true;
    write(&mut log, 3072, 512, 3);
    let options = options(AtomicUnit::Bytes(512), Dropped::Old);
    let power = Power::new(disk(4096), &log, options).unwrap();
    let states: Vec<String> = power.states().map(|state| state.to_string()).collect();
    let expected = ["p0", "p1", "p2", "p2t2.1", "p2t2.l1", "p2-1", "p2-1t2.1", "p2-1t2.l1", "p3", "p3-1"];
    assert_eq!(states, expected);
}

fn any_units() -> impl Strategy<Value = Units> {
    (0..4, any::<u64>()).prop_map(|(kind, n)| match kind {
        0 => Units::First(n),
        1 => Units::Last(n),
        2 => Units::Only(n),
        _ => Units::Sample(n),
    })
}

proptest! {
    #[test]
    fn a_state_parses_back_from_its_text(
        cut in any::<u64>(),
        dropped in prop::collection::btree_set(any::<u64>(), 0..5),
        torn in prop::option::of((any::<u64>(), any_units()).prop_map(|(op, units)| Torn { op, units })),
    ) {
        let state = PowerState { cut, dropped: dropped.into_iter().collect(), torn };
        let text = state.to_string();
        prop_assert_eq!(text.parse(), Ok(state));
        prop_assert!(!text.contains([':', ' ', ',']));
    }

    #[test]
    fn any_other_text_is_refused_or_prints_the_same(text in "p?[0-9+.tlos-]{0,8}") {
        if let Ok(state) = text.parse::<PowerState>() {
            prop_assert_eq!(state.to_string(), text);
        }
    }
}
