//! Goal: however a table update is interrupted, and its resume once more, a valid copy of the table is there and the
//! same update again leaves the same bytes; and once it has succeeded, no power cut takes it back.
//!
//! Method: the update runs on a disk in memory that records it; every kill, every kill inside a write, and the power
//! cuts that may leave any subset of what was not flushed are made from the record, resumed, and judged by a reader of
//! GPT copies that is not the resizer's. With the planted bugs the same tests have to fail.

mod common;

use std::cell::RefCell;
use std::io;
use std::path::Path;

use ::gpt::disk::LogicalBlockSize;
use common::layout::{self, Spec};
use common::oracle;
use fault_backend::BlockDevice;
use fault_backend::power::{AtomicUnit, DeviceProfile, Dropped, PowerOptions};
use fault_backend::testing::{self, Model, Summary, Sweep, SweepError};
use resizer::disk::Disk;
use resizer::error::Result;
use resizer::gpt::{self, Span};

const SIZE: LogicalBlockSize = LogicalBlockSize::Lb512;

/// The sweep's disk as the resizer's.
struct Adapter<'a>(RefCell<&'a mut testing::Disk>);

impl Disk for Adapter<'_> {
    fn len_bytes(&self) -> u64 {
        self.0.borrow().len_bytes()
    }

    fn path(&self) -> &Path {
        Path::new("disk in memory")
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.borrow().read_at(offset_bytes, buf)
    }

    fn write_at(&self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().write_at(offset_bytes, data)
    }

    fn flush(&self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

/// Moves one partition to where there is room and shrinks another: two sectors of the array change.
fn update(disk: &mut testing::Disk) -> Result<()> {
    let adapter = Adapter(RefCell::new(disk));
    change(&adapter, &[(1, Span::new(3 * 2048, 1500)), (9, Span::new(2 * 2048, 1000))])?;
    flush(&adapter)
}

/// The same in two changes, with nothing of the caller's between them.
fn two_updates(disk: &mut testing::Disk) -> Result<()> {
    let adapter = Adapter(RefCell::new(disk));
    change(&adapter, &[(9, Span::new(2 * 2048, 1000))])?;
    change(&adapter, &[(1, Span::new(3 * 2048, 1500))])?;
    flush(&adapter)
}

fn change(adapter: &Adapter<'_>, spans: &[(u32, Span)]) -> Result<()> {
    let mut table = gpt::read(adapter, SIZE)?.table;
    for (index, span) in spans {
        let entry = table.entry(*index).expect("both partitions").at(*span)?;
        table.set(*index, entry);
    }
    gpt::write(adapter, &table).map(drop)
}

/// With it a run ends.
fn flush(adapter: &Adapter<'_>) -> Result<()> {
    adapter.flush().expect("a disk in memory");
    Ok(())
}

fn bytes(disk: &testing::Disk) -> Vec<u8> {
    let mut bytes = vec![0; disk.len_bytes() as usize];
    disk.read_at(0, &mut bytes).unwrap();
    bytes
}

fn a_copy_is_valid(disk: &testing::Disk) -> std::result::Result<(), &'static str> {
    match oracle::copies(&bytes(disk), 512) {
        (None, None) => Err("no valid copy of the table"),
        _ => Ok(()),
    }
}

fn start() -> Vec<u8> {
    layout::disk(4, 512, &[Spec::new(1, 1, 1, "A"), Spec::new(9, 2, 1, "B")])
}

/// Power cuts with two of the last ops missing, torn at sectors of 512 bytes.
fn power() -> PowerOptions {
    let device = DeviceProfile::new("sectors of 512", AtomicUnit::Bytes(512), Dropped::Old, true);
    PowerOptions { device, max_drops: 2, ..PowerOptions::default() }
}

fn sweep(
    start: Vec<u8>,
    models: &[Model],
    depth: u32,
    durable: bool,
) -> std::result::Result<Summary, SweepError> {
    sweep_of(update, start, models, depth, durable)
}

fn sweep_of(
    update: fn(&mut testing::Disk) -> Result<()>,
    start: Vec<u8>,
    models: &[Model],
    depth: u32,
    durable: bool,
) -> std::result::Result<Summary, SweepError> {
    let sweep = Sweep::new(start).models(models.iter().copied()).power(power()).depth(depth).durable(durable);
    sweep.run(update).at_crash(a_copy_is_valid).check(|disk| {
        let parts = oracle::agreed(&bytes(disk), 512);
        if parts[&1].first == 3 * 2048 && parts[&9].last == 2 * 2048 + 999 {
            Ok(())
        } else {
            Err("the update is not there")
        }
    })
}

const ALL: [Model; 3] = [Model::Kill, Model::TornSectors, Model::Power];

#[test]
fn an_update_that_is_interrupted_twice_leaves_a_valid_copy_and_completes() {
    let summary = sweep(start(), &ALL, 2, false).unwrap();
    assert!(summary.judged >= 14, "{summary:?}");
}

/// The second change begins with the flush that makes the first one's primary durable: the backup is broken only then.
#[test]
fn a_change_right_after_another_leaves_a_valid_copy_too() {
    let summary = sweep_of(two_updates, start(), &ALL, 2, true).unwrap();
    assert!(summary.judged >= 13, "{summary:?}");
}

/// Places of a damage: the primary's header and array, the backup's header and array.
fn damages() -> [usize; 4] {
    let last = 4 * layout::MIB;
    [512 + 56, 1024 + 32, last - 512 + 56, last - 33 * 512 + 32]
}

fn damaged(at: usize) -> Vec<u8> {
    let mut start = start();
    start[at] ^= 1;
    start
}

#[test]
fn an_update_of_a_disk_with_a_broken_copy_survives_a_crash_and_any_kills() {
    for at in damages() {
        let once = sweep(damaged(at), &ALL, 1, true);
        assert!(once.is_ok(), "damage at {at}: {once:?}");
        let kills = sweep(damaged(at), &[Model::Kill, Model::TornSectors], u32::MAX, true).unwrap();
        assert!(kills.closed, "damage at {at}: {kills:?}");
    }
}

/// A broken primary is restored, and the run is killed before its flush: the resume finds a valid primary, which only the
/// cache holds. If it began with the backup, a power cut could break both.
#[test]
fn a_restored_primary_that_a_killed_run_did_not_flush_is_never_lost_with_the_backup() {
    for at in damages() {
        let summary = sweep(damaged(at), &ALL, 2, true);
        assert!(summary.is_ok(), "damage at {at}: {summary:?}");
    }
}

#[test]
fn no_flush_of_an_update_is_without_a_write_that_needs_it() {
    let ops = |start: Vec<u8>, update: fn(&mut testing::Disk) -> Result<()>| {
        Sweep::new(start).models([]).run(update).check(|_| Ok::<_, &str>(())).unwrap().ops
    };
    let wanted_ops = "a flush for what a killed run left; two writes and a flush for each copy";
    assert_eq!(ops(start(), update), 7, "{wanted_ops}");
    let wanted_ops = "behind the first table no other flush than the second one's first";
    assert_eq!(ops(start(), two_updates), 13, "{wanted_ops}");
    for (at, wanted) in damages().into_iter().zip([2, 2, 3, 3]) {
        let heal = |disk: &mut testing::Disk| {
            let adapter = Adapter(RefCell::new(disk));
            gpt::heal(&adapter, SIZE)?;
            flush(&adapter)
        };
        let wanted_ops = "one write and a flush, and before the backup's write a flush of the primary";
        assert_eq!(ops(damaged(at), heal), wanted, "damage at {at}: {wanted_ops}");
    }
}

#[test]
fn an_update_of_a_disk_that_grew_survives_too() {
    let mut start = start();
    start.resize(5 * layout::MIB, 0);
    sweep(start, &ALL, 2, true).unwrap();
}

#[test]
fn a_completed_update_survives_a_power_cut() {
    sweep(start(), &[], 1, true).unwrap();
}

/// Runs a test of this file with a planted bug on: whether it passes, and what it prints.
#[cfg(feature = "planted")]
fn with_bug(bug: &str, test: &str) -> (bool, String) {
    let program = std::env::current_exe().unwrap();
    let output = std::process::Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env("RESIZER_BUG", bug)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[cfg(feature = "planted")]
#[test]
fn the_planted_missing_flush_is_found() {
    let interrupted = "an_update_that_is_interrupted_twice_leaves_a_valid_copy_and_completes";
    let (passes, text) = with_bug("no-flush-backup", interrupted);
    assert!(!passes && text.contains("no valid copy of the table"), "{text}");
    assert!(text.contains(".replay(\"sweep1:0:p"), "{text}");
}
