//! Goal: whatever moment a run is cut off at, one copy of the table is valid, no untouched partition has changed,
//! and running it again ends in the bytes of an uninterrupted run.
//!
//! Method: disks in memory with content that is copied raw. A run is recorded; then it is repeated, cut off after
//! N operations, and resumed. For power cuts, every subset of an epoch's table writes is tried.

mod common;

use ::gpt::disk::LogicalBlockSize;
use common::layout::{self, MIB, Spec};
use common::memory::{MemoryDisk, Op, power_cuts_in_resume, replay};
use common::{oracle, scale};
use proptest::prelude::*;
use resizer::error::Result;
use resizer::fstools::Tools;
use resizer::gpt;
use resizer::patch::Sequence;
use resizer::pipeline::{Pipeline, Settings};
use resizer::plan::{self, Goal, Request};
use resizer::select::Identifier;

/// A command: the partitions to grow, by their first index, and their new sizes in MiB.
#[derive(Clone, Debug)]
struct Command {
    sector: usize,
    grows: Vec<(u32, usize)>,
    preserve_numbers: bool,
}

/// Runs `command` as the program would, its partitions identified by GUID.
fn run(disk: &MemoryDisk, command: &Command) -> Result<()> {
    let size = LogicalBlockSize::try_from(command.sector as u64).unwrap();
    let table = gpt::read(disk, size)?.table;
    let mut goals = Vec::new();
    for (index, mib) in &command.grows {
        let index = Identifier::Uuid(layout::guid(*index)).resolve(&table)?;
        goals.push(Goal { index, len_bytes: (mib * MIB) as u64 });
    }
    let request = Request { goals, reserve: None, preserve_numbers: command.preserve_numbers };
    let plan = plan::plan(&table, &request)?;
    let settings = Settings {
        fix_errors: false,
        verbose: false,
        tools: Tools::new(std::env::temp_dir(), stage_of_this_run()),
    };
    Pipeline::new(disk, size, &plan, &settings, &mut std::io::sink()).run()
}

/// Runs go on side by side here, on disks of the same GUID.
fn stage_of_this_run() -> uuid::Uuid {
    static RUNS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    uuid::Uuid::from_u64_pair(std::process::id().into(), run)
}

fn run_whole(bytes: &[u8], command: &Command) -> MemoryDisk {
    let disk = MemoryDisk::new(bytes.to_vec());
    run(&disk, command).unwrap();
    disk
}

/// One copy of the table at least is valid, and every partition that is in both `start` and `end` at one place
/// has its bytes.
fn assert_bootable(start: &[u8], state: &[u8], end: &[u8], sector: usize, when: &str) {
    let (primary, backup) = oracle::copies(state, sector);
    assert!(primary.is_some() || backup.is_some(), "no valid copy {when}");
    let stays = oracle::agreed(end, sector);
    for (index, part) in oracle::agreed(start, sector) {
        if stays.get(&index) == Some(&part) {
            let content = |disk| oracle::content(disk, sector, &part);
            assert!(content(start) == content(state), "partition {index} changed {when}");
        }
    }
}

fn mixed(sector: usize, preserve_numbers: bool) -> (Vec<u8>, Command) {
    let mut specs = vec![
        Spec::new(1, 1, 2, "EFI System"),
        Spec::new(2, 3, 3, "IMGA"),
        Spec::new(3, 6, 1, "CONFIG"),
        Spec::new(9, 8, 1, "P3"),
    ];
    specs[1].attributes = 0x8000_0000_0000_0005;
    let command = Command { sector, grows: vec![(1, 4), (2, 5)], preserve_numbers };
    (layout::disk(24, sector, &specs), command)
}

#[test]
fn a_run_cut_off_after_any_operation_resumes_to_the_same_bytes() {
    for (sector, preserve_numbers) in [(512, true), (512, false), (4096, true), (4096, false)] {
        let (start, command) = mixed(sector, preserve_numbers);
        let whole = run_whole(&start, &command);
        let ops = whole.ops().len();
        let end = whole.into_bytes();
        let wanted = oracle::owned(&end, sector);
        assert!(ops > 20, "the copies consist of many writes: {ops}");
        for point in 0..ops {
            let cut = MemoryDisk::new(start.clone()).cut_after(point, 0);
            assert!(run(&cut, &command).is_err(), "cut off after {point}");
            let state = cut.into_bytes();
            assert_bootable(&start, &state, &end, sector, &format!("after operation {point}"));
            let resumed = run_whole(&state, &command).into_bytes();
            assert!(oracle::owned(&resumed, sector) == wanted, "resumed after operation {point}");
        }
    }
}

#[test]
fn a_finished_command_writes_nothing_more_but_flushes() {
    for preserve_numbers in [true, false] {
        let (start, command) = mixed(512, preserve_numbers);
        let end = run_whole(&start, &command).into_bytes();
        assert_eq!(run_whole(&end, &command).ops(), [Op::Flush]);
    }
}

/// A sector-torn prefix or suffix stands for what a device may keep of one write.
fn torn_variants(data: &[u8]) -> Vec<Vec<(usize, usize)>> {
    let mut variants = vec![vec![], vec![(0, data.len())]];
    if data.len() > 512 {
        variants.push(vec![(0, 512)]);
        variants.push(vec![(512, data.len())]);
    }
    variants
}

/// Applies the epoch's writes in each combination of variants, and calls `check` with each state; `disk` is as
/// it was afterwards.
fn power_states(disk: &mut Vec<u8>, epoch: &[(usize, Vec<u8>)], check: &mut dyn FnMut(&[u8])) {
    let Some(((offset, data), rest)) = epoch.split_first() else {
        check(disk);
        return;
    };
    let old = disk[*offset..offset + data.len()].to_vec();
    for variant in torn_variants(data) {
        for (from, to) in variant {
            disk[offset + from..offset + to].copy_from_slice(&data[from..to]);
        }
        power_states(disk, rest, check);
        disk[*offset..offset + data.len()].copy_from_slice(&old);
    }
}

#[test]
fn a_power_cut_never_leaves_a_disk_without_a_valid_table() {
    // Indices far apart, so that the array's change spans many sectors of it and can tear.
    let specs: Vec<Spec> = (0..20).map(|n| Spec::new(n * 6 + 1, n as usize + 1, 1, "part")).collect();
    let start = layout::disk(64, 512, &specs);
    let grows = specs.iter().map(|spec| (spec.index, 2)).collect();
    let whole = run_whole(&start, &Command { sector: 512, grows, preserve_numbers: true });
    let is_table = |offset: usize| offset < 34 * 512 || offset >= start.len() - 33 * 512;
    let (mut durable, mut epoch, mut states) = (start.clone(), Vec::new(), 0);
    for op in whole.ops() {
        match op {
            Op::Write { offset, data } if is_table(offset) => epoch.push((offset, data)),
            Op::Write { .. } => {}
            Op::Flush => {
                power_states(&mut durable, &epoch, &mut |state| {
                    states += 1;
                    let (primary, backup) = oracle::copies(state, 512);
                    assert!(primary.is_some() || backup.is_some(), "no valid copy");
                });
                for (offset, data) in epoch.drain(..) {
                    durable[offset..offset + data.len()].copy_from_slice(&data);
                }
            }
        }
    }
    assert!(epoch.is_empty(), "the run ended with a flush");
    assert!(states >= 4 * 8, "each copy of two tables was torn in each way: {states}");
}

#[test]
fn a_power_cut_during_a_resume_leaves_a_valid_table_and_is_resumed_to_the_same_bytes() {
    let (mut start, command) = mixed(512, true);
    // The run begins with restoring the primary copy.
    start[512 + 56] ^= 1;
    let whole = run_whole(&start, &command);
    let ops = whole.ops();
    let end = whole.into_bytes();
    let wanted = oracle::owned(&end, 512);
    let mut judged = 0;
    for kill in 1..=ops.len() {
        let mut state = start.clone();
        replay(&mut state, &ops[..kill]);
        let resume = run_whole(&state, &command).ops();
        for state in power_cuts_in_resume(&start, &ops[..kill], &resume) {
            judged += 1;
            let (primary, backup) = oracle::copies(&state, 512);
            assert!(primary.is_some() || backup.is_some(), "no valid copy, killed after operation {kill}");
            let resumed = run_whole(&state, &command).into_bytes();
            assert!(oracle::owned(&resumed, 512) == wanted, "killed after operation {kill}");
        }
    }
    assert!(judged > 20, "only {judged} states that only a power cut during the resume leaves");
}

#[test]
fn a_resume_makes_durable_what_a_killed_run_had_done() {
    let (start, command) = mixed(512, true);
    let mut ops = run_whole(&start, &command).ops();
    assert_eq!(ops.pop(), Some(Op::Flush));
    let mut state = start.clone();
    replay(&mut state, &ops);
    assert_eq!(run_whole(&state, &command).ops(), [Op::Flush], "all was done, but not all of it durable");
}

#[test]
fn an_exit_without_error_means_that_everything_is_durable() {
    let (start, command) = mixed(512, true);
    assert_eq!(run_whole(&start, &command).ops().last(), Some(&Op::Flush));
}

/// Partitions side by side with random gaps, a random part of which shall grow.
fn layouts() -> impl Strategy<Value = (Vec<Spec>, Vec<(u32, usize)>)> {
    let part = (0usize..3, 1usize..4, prop::option::weighted(0.6, 1usize..4));
    prop::collection::vec(part, 1..6).prop_map(|parts| {
        let (mut specs, mut grows, mut next) = (Vec::new(), Vec::new(), 1);
        for (number, (gap, len, grow)) in (1u32..).zip(parts) {
            // Sparse indices, not in the order of place.
            let index = (number * 37) % 128 + 1;
            specs.push(Spec::new(index, next + gap, len, "part"));
            grows.extend(grow.map(|more| (index, len + more)));
            next += gap + len;
        }
        (specs, grows)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: scale::cases(24), max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two cuts at random places, the second in the first resume, on random layouts.
    #[test]
    fn random_layouts_survive_two_cuts(
        (specs, grows) in layouts(),
        cuts in (0.0f64..1.0, 0.0f64..1.0),
        big_sectors: bool,
        preserve_numbers: bool,
    ) {
        let sector = if big_sectors { 4096 } else { 512 };
        let start = layout::disk(40, sector, &specs);
        let command = Command { sector, grows, preserve_numbers };
        let whole = MemoryDisk::new(start.clone());
        if run(&whole, &command).is_err() {
            prop_assert!(whole.ops().is_empty(), "what does not fit is refused before any write");
            return Ok(());
        }
        let ops = whole.ops().len();
        let end = whole.into_bytes();
        let mut state = start.clone();
        for cut in [cuts.0, cuts.1] {
            let disk = MemoryDisk::new(state).cut_after((ops as f64 * cut) as usize, 0);
            // The second may well come to its end.
            let _ = run(&disk, &command);
            state = disk.into_bytes();
            assert_bootable(&start, &state, &end, sector, "after a cut");
        }
        let resumed = run_whole(&state, &command).into_bytes();
        prop_assert!(oracle::owned(&resumed, sector) == oracle::owned(&end, sector));
    }
}

/// Where a patch writes: what differs, what lies in little between, and nothing of a longer stretch that is equal.
#[test]
fn what_differs_is_written_with_short_gaps_and_in_windows_whatever_the_parts() {
    const KIB: usize = 1024;
    let wanted = |at: usize| match at / (4 * KIB) {
        // Pages 1 and 10 are 32 KiB apart, page 40 is 116 KiB further; the last ones reach over a window's end.
        1 | 10 | 40 | 126..130 => 7,
        _ => 0,
    };
    let data: Vec<u8> = (0..1024 * KIB).map(wanted).collect();
    let disk = MemoryDisk::new(vec![0; data.len()]);
    let mut sequence = Sequence::new(&disk, 0);
    let mut rest = &data[..600 * KIB];
    // Parts of a length of no meaning.
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.len().min(7001));
        sequence.put(part).unwrap();
        rest = after;
    }
    sequence.zero_to(data.len() as u64).unwrap();
    sequence.finish().unwrap();
    let page = |number: usize| number * 4 * KIB;
    let writes: Vec<(usize, usize)> = disk
        .ops()
        .into_iter()
        .map(|op| match op {
            Op::Write { offset, data } => (offset, offset + data.len()),
            Op::Flush => panic!("flushing is left to the caller"),
        })
        .collect();
    assert_eq!(writes, [(1, 11), (40, 41), (126, 128), (128, 130)].map(|(from, to)| (page(from), page(to))));
    assert!(disk.into_bytes() == data);
}
