//! Goal: a plan survives its text, and each trigger fires at exactly the ops that its text names. Method: random plans
//! for the text; for the triggers a fixed run of ops, and for each plan the list of what happens at which.

use std::path::Path;

use proptest::prelude::*;

use super::*;

fn any_action() -> impl Strategy<Value = Action> {
    let signals: Vec<Signal> = Signal::iterator().filter(|signal| *signal != Signal::SIGKILL).collect();
    prop_oneof![
        Just(Action::KillBefore),
        Just(Action::KillAfter),
        any::<u32>().prop_map(Action::KillTorn),
        any::<u64>().prop_map(Action::Delay),
        Just(Action::Fail(Failure::Io)),
        Just(Action::Fail(Failure::NoSpace)),
        (1..u32::MAX).prop_map(Action::Short),
        Just(Action::DropFlush),
        prop::sample::select(signals).prop_map(Action::Signal),
    ]
}

fn any_region() -> impl Strategy<Value = Region> {
    prop_oneof![
        Just(Region::Gpt),
        Just(Region::GptPrimaryHeader),
        Just(Region::GptPrimaryArray),
        Just(Region::GptBackupArray),
        Just(Region::GptBackupHeader),
        (0..u64::MAX - 1)
            .prop_flat_map(|first| (Just(first), first + 1..))
            .prop_map(|(first, end)| Region::Bytes { first, end }),
    ]
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let name = prop_oneof!["\\PC{1,12}", "[a-z*?/.%:,@+-]{1,12}"].prop_map(Arc::<str>::from);
    prop_oneof![
        any_region().prop_map(Condition::Region),
        Just(Condition::Flush),
        name.clone().prop_map(Condition::Step),
        name.prop_map(Condition::File),
    ]
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let trigger = (any_condition(), 1..u64::MAX, any::<bool>())
        .prop_map(|(condition, nth, onward)| Trigger { condition, nth, onward });
    prop_oneof![
        (1..u64::MAX, any_action()).prop_map(|(n, action)| Fault::AtOp(n, action)),
        Just(Fault::AtOp(0, Action::KillAfter)),
        (1..u64::MAX, any_action()).prop_map(|(n, action)| Fault::FromOp(n, action)),
        (any_region(), any::<u64>()).prop_map(|(region, ms)| Fault::Delay(region, ms)),
        (trigger, any_action()).prop_map(|(trigger, action)| Fault::On(trigger, action)),
    ]
}

proptest! {
    #[test]
    fn a_plan_parses_back_from_its_text(faults in prop::collection::vec(any_fault(), 0..5)) {
        let plan = FaultPlan(faults);
        let text = plan.to_string();
        prop_assert!(!text.contains([':', ' ']), "{}", text);
        prop_assert_eq!(text.parse(), Ok(plan));
    }

    #[test]
    fn any_text_is_a_plan_with_that_text_or_an_error(text in "[abtd0-9gpt@/+%.,fx -]{0,16}|[a-z]{1,5}[0-9]?@[a-z0-9/+-]{1,12}") {
        if let Ok(plan) = text.parse::<FaultPlan>() {
            let again: FaultPlan = plan.to_string().parse().unwrap();
            prop_assert_eq!(again, plan);
        }
    }

    #[test]
    fn torn_bytes_end_at_a_units_boundary_of_the_file_or_at_the_writes_end(
        offset in 0..1u64 << 40, len in 0..1u64 << 20, k in 0..300u64, unit in prop::sample::select(vec![512u64, 4096]))
    {
        let bytes = torn_bytes(offset, len, k, unit);
        prop_assert!(bytes <= len);
        prop_assert!(bytes == len || bytes == 0 || (offset + bytes).is_multiple_of(unit));
        let touched = |bytes: u64| if bytes == 0 { 0 } else { (offset + bytes).div_ceil(unit) - offset / unit };
        prop_assert_eq!(touched(bytes), k.min(touched(len)));
    }
}

#[test]
fn texts_that_are_no_faults_are_refused() {
    for text in [
        "b",
        "b0",
        "t0.1",
        "t5",
        "t5.",
        "a-1",
        "a+1",
        "x7",
        "dfat.5",
        "dgpt",
        "a1,",
        ",a1",
        "é7",
        "b@7",
        "t3@7",
        "eio@0",
        "eio@",
        "@7",
        "eio@7+1",
        "eio@gpt",
        "eio@gpt/0",
        "eio@fat/1",
        "short0@1",
        "sigKILL@1",
        "sigX@1",
        "eio@step//1",
        "eio@step/a b/1",
        "eio@step/%G1/1",
        "eio@step/%4/1",
        "eio@step/%FF/1",
        "eio@flush/+1",
        "a@0",
    ] {
        assert!(text.parse::<FaultPlan>().is_err(), "{text}");
    }
}

#[test]
fn the_spellings_are_these() {
    let trigger = |condition, nth, onward| Trigger { condition, nth, onward };
    let step = Condition::Step("move data".into());
    for (fault, text) in [
        (Fault::AtOp(7, Action::KillBefore), "b7"),
        (Fault::AtOp(0, Action::KillAfter), "a0"),
        (Fault::AtOp(7, Action::KillTorn(3)), "t7.3"),
        (Fault::Delay(Region::Gpt, 5000), "dgpt.5000"),
        (Fault::Delay(Region::Bytes { first: 0, end: 512 }, 5), "dbytes-0-512.5"),
        (Fault::AtOp(7, Action::Fail(Failure::Io)), "eio@7"),
        (Fault::FromOp(7, Action::Fail(Failure::NoSpace)), "enospc@7+"),
        (Fault::AtOp(2, Action::Signal(Signal::SIGTERM)), "sigTERM@2"),
        (Fault::AtOp(2, Action::Delay(500)), "d500@2"),
        (
            Fault::On(trigger(Condition::Region(Region::GptBackupArray), 2, false), Action::KillBefore),
            "b@gpt-backup-array/2",
        ),
        (Fault::On(trigger(Condition::Flush, 3, true), Action::DropFlush), "drop@flush/3+"),
        (Fault::On(trigger(step, 4, false), Action::KillTorn(1)), "t1@step/move%20data/4"),
        (
            Fault::On(trigger(Condition::File("*.qcow2".into()), 5, false), Action::Short(100)),
            "short100@file/*.qcow2/5",
        ),
    ] {
        assert_eq!(fault.to_string(), text);
        assert_eq!(text.parse(), Ok(fault));
    }
}

/// Ops 1 to 8 on a disk of 1 MiB: data, backup array and header, flush, primary array and header, flush, rename.
fn happens(plan: &str) -> (Vec<(u64, Action)>, Vec<u64>) {
    let disk = Path::new("volume/disk.img");
    let other = Path::new("volume/log/a.txt");
    let len = 1 << 20;
    let write = |at: u64, len: u64| (OpClass::Write, Some(at..at + len), Some(1 << 20), disk, "write");
    let change = |needs_space: bool| (OpClass::Change { needs_space }, None, None, other, "end");
    let flush = |step| (OpClass::Flush, None, Some(1 << 20), disk, step);
    let ops = [
        write(len / 2, 4096),
        write(len - 512 - 16384, 16384),
        write(len - 512, 512),
        flush("write"),
        write(1024, 16384),
        write(512, 512),
        flush("end"),
        change(true),
        change(false),
    ];
    let mut armed = ArmedPlan::new(plan.parse().unwrap());
    let mut seen = Vec::new();
    for (number, (class, range, disk_len, file, step)) in (1..).zip(ops) {
        let op = OpView { number, class, range, disk_len, sector_bytes: 512, file: Some(file), step };
        seen.extend(armed.at(&op).into_iter().map(|action| (number, action)));
    }
    (seen, armed.fired())
}

#[test]
fn a_trigger_fires_at_the_ops_that_its_text_names() {
    for (plan, expected) in [
        ("eio@3", &[3][..]),
        ("eio@7+", &[7, 8, 9]),
        ("eio@gpt/1", &[2]),
        ("eio@gpt/3+", &[5, 6]),
        ("eio@gpt-primary-array/1+", &[5]),
        ("eio@gpt-primary-header/1+", &[6]),
        ("eio@gpt-backup-array/1+", &[2]),
        ("eio@gpt-backup-header/1+", &[3]),
        ("eio@gpt-backup-header/2", &[]),
        ("eio@bytes-0-513/1+", &[6]),
        ("dgpt.5", &[2, 3, 5, 6]),
        ("eio@flush/2", &[7]),
        ("eio@step/end/2", &[8]),
        ("eio@step/write/1+", &[1, 2, 3, 4, 5, 6]),
        ("eio@file/*.txt/1", &[8]),
        ("eio@file/volume/disk.?mg/2", &[2]),
        ("eio@file/disk.img/1", &[]),
        // Only what the op can obey.
        ("drop@1+", &[4, 7]),
        ("short5@1+", &[1, 2, 3, 5, 6]),
        ("enospc@1+", &[1, 2, 3, 5, 6, 8]),
        ("eio@10", &[]),
    ] {
        let (seen, fired) = happens(plan);
        assert_eq!(seen.iter().map(|(number, _)| *number).collect::<Vec<_>>(), expected, "{plan}");
        assert_eq!(fired, [expected.len() as u64], "{plan}");
    }
}

#[test]
fn a_torn_kill_of_what_has_no_inside_is_a_kill_before_it() {
    assert_eq!(happens("t4.1").0, [(4, Action::KillBefore)]);
    assert_eq!(happens("t3.1").0, [(3, Action::KillTorn(1))]);
}

#[test]
fn faults_at_one_op_come_in_the_plans_order_and_are_counted_apart() {
    let (seen, fired) = happens("sigINT@2,dgpt.5,a2,eio@99");
    let first =
        [Action::Signal(Signal::SIGINT), Action::Delay(5), Action::KillAfter].map(|action| (2, action));
    assert_eq!(seen[..3], first);
    assert_eq!(fired, [1, 4, 1, 0]);
}
