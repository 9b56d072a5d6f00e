//! Random logs over whole trees, under each rule: no enumerated state is an impossible tree.

use proptest::prelude::*;

use super::*;
use crate::volume::tests::check;
use crate::volume::tests::host::{Step, any_step};

const NOW: Timestamp = Timestamp { secs: 1, nanos: 0 };

/// A step of a tool, or a flush of what is at a path.
#[derive(Clone, Debug)]
enum Act {
    Step(Step),
    Flush { path: String, data_only: bool },
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        5 => any_step().prop_map(Act::Step),
        1 => ("([abc](/[abc])?)?", any::<bool>()).prop_map(|(path, data_only)| Act::Flush { path, data_only }),
    ]
}

/// The log of what succeeds, on a tree that is there before.
fn record(acts: &[Act]) -> (Volume, OpLog) {
    let mut start = Volume::new();
    start.insert_dir(Path::new("a/b")).unwrap();
    start.insert_file(Path::new("a/c"), Image::new(5000)).unwrap();
    start.insert_file(Path::new("c"), Image::new(0)).unwrap();
    let (mut volume, mut log) = (start.clone(), OpLog::default());
    for act in acts {
        let kind = match act {
            Act::Step(step) => match step.mutation(&volume) {
                Some(mutation) if volume.apply(&mutation, NOW).is_ok() => OpKind::Mutation(mutation),
                _ => continue,
            },
            Act::Flush { path, data_only } => match volume.resolve(Path::new(path)) {
                Some(ino) => OpKind::Flush { ino: Some(ino), data_only: *data_only },
                None => continue,
            },
        };
        log.push(op(&log, kind));
    }
    (start, log)
}

const RULES: [Durability; 3] = [Durability::Disk, Durability::Ordered, Durability::Posix];

fn options(durability: Durability, exhaustive_ops: u32) -> PowerOptions {
    let device = DeviceProfile::new("test", AtomicUnit::Bytes(512), Dropped::Old, true);
    PowerOptions {
        durability,
        device,
        exhaustive_ops,
        samples: 60,
        torn_per_write: 2,
        ..PowerOptions::default()
    }
}

/// Under each rule, how many states are enumerated, and how many sets of ops that are there or torn.
fn counts(acts: &[Act], exhaustive_ops: u32) -> Vec<(usize, usize)> {
    let (start, log) = record(acts);
    let count = |rule| {
        let options = PowerOptions { samples: 0, ..options(rule, exhaustive_ops) };
        let power = Power::new(start.clone(), &log, options).unwrap();
        let kept = |state: &PowerState| -> Vec<u64> {
            let gone = power.gone(&state.dropped, state.cut);
            let there = |op: &u64| power.effect(*op).is_some() && !gone.contains(op);
            (1..=state.cut).filter(there).collect()
        };
        let states: Vec<_> = power.states().map(|state| (kept(&state), state.torn)).collect();
        (states.len(), states.iter().collect::<BTreeSet<_>>().len())
    };
    RULES.map(count).to_vec()
}

/// `b/c` is durable once `b` is synced, but gone where `b` is, and the link in it with it.
#[test]
fn what_hangs_on_a_durable_op_is_no_second_thing_to_lose() {
    let acts = [
        Act::Step(Step::Mkdir("b".into())),
        Act::Step(Step::Mkdir("b/c".into())),
        Act::Step(Step::Symlink { path: "b/c/a".into(), target: ".".into() }),
        Act::Flush { path: "b".into(), data_only: false },
        Act::Step(Step::Chmod { path: "a".into(), mode: 0o700 }),
    ];
    for (states, distinct) in counts(&acts, 0) {
        assert_eq!(states, distinct);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_enumerated_tree_is_made_without_an_error_and_holds_together(
        acts in prop::collection::vec(any_act(), 1..22), exhaustive_ops in prop::sample::select(vec![0, 6]))
    {
        let (start, log) = record(&acts);
        for rule in RULES {
            let power = Power::new(start.clone(), &log, options(rule, exhaustive_ops)).unwrap();
            let mut builder = power.builder();
            let states = power.states().chain(power.states_at(log.len()));
            for state in states {
                let volume = builder.materialise(&state);
                prop_assert!(volume.is_ok(), "{:?} {}: {:?}", rule, state, volume.unwrap_err());
                check(&volume.unwrap());
            }
        }
    }

    #[test]
    fn each_state_is_enumerated_once(
        acts in prop::collection::vec(any_act(), 1..14), exhaustive_ops in prop::sample::select(vec![0, 6]))
    {
        for (states, distinct) in counts(&acts, exhaustive_ops) {
            prop_assert_eq!(states, distinct);
        }
    }

    #[test]
    fn at_a_cut_a_state_lacks_no_more_after_another_flush(
        acts in prop::collection::vec(any_act(), 1..10), at in any::<prop::sample::Index>())
    {
        let (start, mut log) = record(&acts);
        log.ops.insert(at.index(log.ops.len() + 1), op(&log, OpKind::Flush { ino: Some(Ino::ROOT), data_only: false }));
        (1..).zip(&mut log.ops).for_each(|(number, op)| op.number = number);
        let number = at.index(log.ops.len()) as u64 + 1;
        prop_assume!(log.op(number).is_some_and(Op::is_flush));
        for rule in RULES {
            let states = |log: &OpLog| {
                let power = Power::new(start.clone(), log, options(rule, 20)).unwrap();
                (0..=log.len()).map(|cut| ids(&power, power.states_at(cut))).collect::<Vec<_>>()
            };
            for (with, without) in states(&log).iter().zip(&states(&log.without_flush(number))) {
                prop_assert!(with.is_subset(without));
            }
        }
    }
}
