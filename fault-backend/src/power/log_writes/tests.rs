//! Goal: a recording and the dm-log-writes log made of it are the same run: the same bytes after each op, and the
//! same flushes; the bytes are those that the kernel writes; and no input makes the reader panic or hold more than
//! there is. Method: random runs there and back, one log byte for byte, damaged and random input.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::oplog::{OpKind, OpLog, Outcome};
use crate::power::tests::{DISK, disk, flush, op, push, write};
use crate::replay::Replay;
use crate::volume::{Ino, Mutation};

const LEN: u64 = 8192;

fn exported(log: &OpLog, sector: u32) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    export(log, DISK, &Image::new(LEN), sector, &mut out).unwrap();
    out.into_inner()
}

fn fields(bytes: &[u8]) -> Vec<u64> {
    bytes[..32].chunks_exact(8).map(|field| u64::from_le_bytes(field.try_into().unwrap())).collect()
}

#[test]
fn the_log_has_the_bytes_that_the_kernel_and_replay_log_expect() {
    let mut log = OpLog::default();
    write(&mut log, 1000, 100, 7);
    flush(&mut log, Some(DISK));
    write(&mut log, 4096, 512, 8);
    log.ops[2].fua = true;
    push(&mut log, Mutation::Punch { ino: DISK, range: 4000..5200 });
    let bytes = exported(&log, 512);
    // Magic, version and count as bytes: a reader on the same machine can't tell a wrong order.
    assert_eq!(bytes[..8], [0x72, 0x68, 0x73, 0x77, 0x66, 0x73, 0x6a, 0]);
    assert_eq!(
        bytes[8..28],
        [[1, 0, 0, 0, 0, 0, 0, 0], [7, 0, 0, 0, 0, 0, 0, 0]]
            .concat()
            .into_iter()
            .chain([0, 2, 0, 0])
            .collect::<Vec<u8>>()
    );
    let sector = |number: usize| &bytes[number * 512..(number + 1) * 512];
    // Its step as a mark; the write, widened from 1000..1100 to sectors 1 and 2; flush; forced write.
    assert_eq!((fields(sector(1)), &sector(1)[32..37]), (vec![0, 0, 8, 5], b"start".as_slice()));
    assert_eq!(fields(sector(2)), [1, 2, 0, 0]);
    assert_eq!(sector(3)[480..], [[0; 8].as_slice(), &[7; 24]].concat());
    assert_eq!(sector(4)[..80], [[7; 76].as_slice(), &[0; 4]].concat());
    assert_eq!(fields(sector(5)), [0, 0, 1, 0]);
    assert_eq!(fields(sector(6)), [8, 1, 2, 0]);
    assert_eq!(sector(7), [8; 512]);
    // The punched range: what is left of sector 7, sectors 8 and 9 discarded, the beginning of sector 10.
    assert_eq!(fields(sector(8)), [7, 1, 0, 0]);
    assert_eq!(fields(sector(10)), [8, 2, 4, 0]);
    assert_eq!(fields(sector(11)), [10, 1, 0, 0]);
    assert_eq!(bytes.len(), 13 * 512);
}

#[test]
fn steps_come_back_as_the_marks_that_they_became_and_other_files_stay_out() {
    let mut log = OpLog::default();
    write(&mut log, 0, 512, 1);
    push(&mut log, Mutation::Write { ino: Ino(9), offset: 0, data: [5].as_slice().into() });
    flush(&mut log, Some(Ino(9)));
    write(&mut log, 512, 512, 2);
    log.ops[3].step = "second".into();
    let back = import(&mut exported(&log, 512).as_slice(), DISK, LEN).unwrap();
    let steps: Vec<&str> = back.ops.iter().map(|op| &*op.step).collect();
    assert_eq!(steps, ["start", "second"]);
}

#[test]
fn a_discard_is_in_pieces_that_replay_log_does_not_leave_out() {
    let (len, mib) = (300 << 20, 1 << 20);
    let mut log = OpLog::default();
    push(&mut log, Mutation::Punch { ino: DISK, range: 100..len });
    let mut out = Cursor::new(Vec::new());
    export(&log, DISK, &Image::new(len), 512, &mut out).unwrap();
    let back = import(&mut out.into_inner().as_slice(), DISK, len).unwrap();
    let ranges: Vec<_> = back.ops.iter().filter_map(|op| op.range()).collect();
    assert_eq!(ranges.first(), Some(&(0..512)), "what is no whole sector is written");
    assert!(ranges[1..].iter().all(|range| range.end - range.start <= 128 * mib), "{ranges:?}");
    assert!(ranges.is_sorted_by(|a, b| a.end == b.start), "{ranges:?}");
    assert_eq!(ranges.last().map(|range| range.end), Some(len));
}

#[test]
fn entries_come_one_by_one_up_to_the_first_that_makes_no_sense() {
    let mut log = OpLog::default();
    write(&mut log, 512, 512, 7);
    flush(&mut log, None);
    write(&mut log, 1024, 512, 8);
    let mut bytes = exported(&log, 512);
    // Super block, mark, write and its data, flush: the flags of the second write.
    bytes[5 * 512 + 16] = 0x80;
    let mut entries = Entries::open(bytes.as_slice(), LEN).unwrap();
    let mut next =
        || entries.next().map(|entry| entry.map(|entry| (entry.number, entry.flush, entry.action)));
    assert_eq!(next().unwrap().unwrap(), (1, false, EntryAction::Mark("start".to_owned())));
    assert_eq!(next().unwrap().unwrap(), (2, false, EntryAction::Write { offset: 512, data: vec![7; 512] }));
    assert_eq!(next().unwrap().unwrap(), (3, true, EntryAction::Nothing));
    assert!(matches!(next(), Some(Err(ImportError::Malformed { entry: 4, .. }))));
    assert!(next().is_none(), "nothing behind it is believed");
}

#[test]
fn what_a_disk_cannot_do_is_refused() {
    let export_one = |mutation, sector| {
        let mut log = OpLog::default();
        push(&mut log, mutation);
        export(&log, DISK, &Image::new(LEN), sector, &mut Cursor::new(Vec::new()))
    };
    let truncate = |len| Mutation::Truncate { ino: DISK, len };
    assert!(matches!(export_one(truncate(100), 512), Err(ExportError::Resizes { number: 1 })));
    assert!(matches!(export_one(truncate(LEN), 512), Ok(1)), "nothing but the mark");
    let beyond = Mutation::Write { ino: DISK, offset: LEN, data: [1].as_slice().into() };
    assert!(matches!(export_one(beyond, 512), Err(ExportError::Resizes { number: 1 })));
    let zero = Mutation::Zero { ino: DISK, range: 0..LEN + 1, keep_len: false };
    assert!(matches!(export_one(zero, 512), Err(ExportError::Resizes { number: 1 })));
    assert!(matches!(export_one(truncate(LEN), 500), Err(ExportError::NoSector(500))));
    assert!(matches!(export_one(truncate(LEN), 16384), Err(ExportError::NotWhole { .. })));
}

#[test]
fn what_is_no_log_is_refused_with_a_reason() {
    let mut log = OpLog::default();
    write(&mut log, 512, 512, 7);
    let good = exported(&log, 512);
    let damaged = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        import(&mut bytes.as_slice(), DISK, LEN).unwrap_err()
    };
    assert!(matches!(damaged(0, 1), ImportError::NoLog(_)));
    assert!(matches!(damaged(8, 2), ImportError::Version(2)));
    assert!(matches!(damaged(24, 1), ImportError::NoSector(513)));
    assert!(matches!(damaged(16, 3), ImportError::Io { entry: 3, .. }));
    assert!(matches!(damaged(22, 0xFF), ImportError::Io { entry: 3, .. }), "2^56 entries are not believed");
    // The entry of the write begins at 1024: its sector, count and flags.
    assert!(matches!(damaged(1024, 16), ImportError::BeyondEnd { entry: 2, .. }));
    assert!(matches!(damaged(1031, 0xFF), ImportError::BeyondEnd { entry: 2, .. }));
    assert!(matches!(damaged(1039, 0xFF), ImportError::BeyondEnd { entry: 2, .. }));
    assert!(matches!(damaged(1032, 2), ImportError::Io { entry: 2, .. }));
    assert!(matches!(damaged(1041, 1), ImportError::Malformed { entry: 2, .. }));
    assert!(matches!(damaged(1040, 8), ImportError::Malformed { entry: 2, .. }));
    // A mark that is longer than its sector.
    assert!(matches!(damaged(512 + 25, 9), ImportError::Malformed { entry: 1, .. }));
}

#[derive(Clone, Debug)]
enum Step {
    Write { at: u64, len: u64, value: u8, fua: bool },
    Zero { at: u64, len: u64 },
    Punch { at: u64, len: u64 },
    Flush { dropped: bool },
}

fn any_step() -> impl Strategy<Value = Step> {
    let range = || (0..LEN, 1..3000u64).prop_map(|(at, len)| (at, len.min(LEN - at)));
    prop_oneof![
        4 => (range(), 1..9u8, any::<bool>())
            .prop_map(|((at, len), value, fua)| Step::Write { at, len, value, fua }),
        1 => range().prop_map(|(at, len)| Step::Zero { at, len }),
        1 => range().prop_map(|(at, len)| Step::Punch { at, len }),
        1 => prop::bool::weighted(0.2).prop_map(|dropped| Step::Flush { dropped }),
    ]
}

fn record(steps: &[Step]) -> OpLog {
    let mut log = OpLog::default();
    for step in steps {
        match step {
            Step::Write { at, len, value, fua } => {
                write(&mut log, *at, *len as usize, *value);
                log.ops.last_mut().unwrap().fua = *fua;
            }
            Step::Zero { at, len } => {
                push(&mut log, Mutation::Zero { ino: DISK, range: *at..at + len, keep_len: true });
            }
            Step::Punch { at, len } => push(&mut log, Mutation::Punch { ino: DISK, range: *at..at + len }),
            Step::Flush { dropped } => {
                log.push(op(&log, OpKind::Flush { ino: None, data_only: false }));
                if *dropped {
                    log.ops.last_mut().unwrap().outcome = Outcome::Dropped;
                }
            }
        }
    }
    log
}

/// The content at each flush that counts, and at the end.
fn at_flushes(log: &OpLog) -> Vec<crate::ContentId> {
    let mut replay = Replay::new(disk(LEN), log);
    let flushes = log.flushes().filter(|op| op.outcome == Outcome::Completed).map(|op| op.number);
    let points: Vec<u64> = flushes.chain([log.len()]).collect();
    points.into_iter().map(|number| replay.state_after(number).unwrap().content_id()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_run_there_and_back_is_the_same_run(
        steps in prop::collection::vec(any_step(), 0..20), sector in prop::sample::select(vec![512u32, 1024, 4096]))
    {
        let log = record(&steps);
        let bytes = exported(&log, sector);
        let back = import(&mut bytes.as_slice(), DISK, LEN).unwrap();
        prop_assert_eq!(at_flushes(&back), at_flushes(&log));
        prop_assert_eq!(back.epochs().count() >= back.flushes().count(), true);
        let forced = |log: &OpLog| log.ops.iter().filter(|op| op.fua).count();
        prop_assert_eq!(forced(&back), forced(&log));
        // Whole sectors come back as they went.
        prop_assert_eq!(&exported(&back, sector), &bytes);
    }

    #[test]
    fn no_damage_makes_the_reader_panic(
        steps in prop::collection::vec(any_step(), 0..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>())
    {
        let mut bytes = exported(&record(&steps), 512);
        for (at, value) in damage {
            // Most damage is to fields, since few of the bytes are fields.
            let at = at.index(bytes.len());
            let field = at / 512 * 512 + at % 32;
            bytes[field] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let payload = |log: OpLog| log.payload_bytes();
        prop_assert!(import(&mut bytes.as_slice(), DISK, LEN).map_or(0, payload) <= bytes.len() as u64);
    }
}
