//! No crash during a shrink loses anything, and every resume ends in the bytes of an uninterrupted run.
//!
//! One uninterrupted shrink is recorded; then the disk is rebuilt as a crash at each operation leaves it (whole, torn
//! inside a write, or with a power cut's subset of what was not flushed), the resizer is run again and every byte
//! compared. That the uninterrupted run keeps all files is shown in the tests of `ext4.rs`.

mod common;

use std::collections::BTreeSet;
use std::fs;

use common::ext4::{AT, SHRUNK_BYTES, VARIANTS, contents, fixture, kept, record, shrink, tools};
use common::filesystems::tool;
use common::memory::{MemoryDisk, Op, power_cuts_in_resume, replay, torn};
use common::place::temp_dir;
use common::scale;
use resizer::error::Error;
use resizer::fstools;

fn kill_at_any_write(options: &[&str]) {
    let run = record(options);
    let count = run.ops.len();
    assert!(count > 30, "only {count} operations");
    let mut state = run.before.clone();
    for at in 0..=count {
        run.resume(&state, &format!("killed after operation {at} of {count}"));
        let Some(next) = run.ops.get(at) else { continue };
        let pages = (1..).take_while(|pages| torn(next, *pages).is_some()).count().div_ceil(2);
        if let Some(part) = torn(next, pages) {
            replay(&mut state, [&part]);
            run.resume(&state, &format!("torn after {pages} pages of operation {}", at + 1));
        }
        replay(&mut state, [next]);
    }
}

#[test]
fn a_kill_at_any_write_ends_in_the_same_bytes() {
    kill_at_any_write(VARIANTS[0]);
}

#[test]
fn a_kill_at_any_write_ends_in_the_same_bytes_where_inodes_move() {
    kill_at_any_write(VARIANTS[1]);
}

/// Here the resizer itself meets the failure, again and again, with the scratch directory kept or wiped.
#[test]
fn failures_one_after_another_end_in_the_same_bytes() {
    let run = record(VARIANTS[1]);
    let count = run.ops.len();
    for (round, start) in (0..count).step_by(count / 12 + 1).enumerate() {
        let mut state = run.before.clone();
        for kill in [start, count - start, 2, 5, count / 2] {
            let disk = MemoryDisk::new(state).cut_after(kill, round % 3);
            let failed = shrink(&disk, &tools(&run.scratch));
            assert!(!matches!(failed, Err(Error::BadContent { .. } | Error::Tool { .. })), "{failed:?}");
            state = disk.into_bytes();
            if round % 2 == 0 {
                fs::remove_dir_all(run.scratch.path()).unwrap();
                fs::create_dir(run.scratch.path()).unwrap();
            }
        }
        run.resume(&state, &format!("five failures from operation {start} on"));
    }
}

#[test]
fn a_power_cut_ends_in_the_same_bytes() {
    let run = record(VARIANTS[1]);
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut draw = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random >> 32
    };
    let mut from = 0;
    let mut durable = run.before.clone();
    let mut state = durable.clone();
    for (index, op) in run.ops.iter().enumerate() {
        if index + 1 < run.ops.len() && !matches!(op, Op::Flush) {
            continue;
        }
        // Of the writes since the last flush any subset may have arrived.
        for sample in 0..scale::cases(14) {
            state.copy_from_slice(&durable);
            let arrived: Vec<_> = run.ops[from..index]
                .iter()
                .filter(|_| draw() % 4 < if sample % 2 == 0 { 1 } else { 3 })
                .collect();
            let what = format!("power cut in {from}..{index}, {} writes arrived", arrived.len());
            replay(&mut state, arrived);
            run.resume(&state, &what);
        }
        replay(&mut durable, &run.ops[from..=index]);
        from = index + 1;
    }
}

/// In particular a marker that only the cache holds: if its journal were applied at once, it could be lost with half of
/// that done.
#[test]
fn a_power_cut_during_a_resume_ends_in_the_same_bytes() {
    let run = record(VARIANTS[1]);
    let mut judged = 0;
    for kill in kills_before_flushes(&run.ops) {
        let mut state = run.before.clone();
        replay(&mut state, &run.ops[..kill]);
        let resume = run.resume(&state, &format!("killed after operation {kill}"));
        for state in power_cuts_in_resume(&run.before, &run.ops[..kill], &resume) {
            judged += 1;
            run.resume(&state, &format!("killed after operation {kill}, then a power cut in the resume"));
        }
    }
    assert!(judged >= 3, "only {judged} states that only a power cut during the resume leaves");
}

/// Of what comes before each flush: after its first operation, in the middle, and after its last.
fn kills_before_flushes(ops: &[Op]) -> BTreeSet<usize> {
    let mut kills = BTreeSet::new();
    let mut from = 0;
    for (at, _) in ops.iter().enumerate().filter(|(_, op)| matches!(op, Op::Flush)) {
        kills.extend([from + 1, (from + at).div_ceil(2), at].into_iter().filter(|kill| *kill > from));
        from = at + 1;
    }
    kills
}

/// A repair writes back what replaying the journal changed, and only then that the journal is empty.
#[test]
fn a_repair_cut_off_anywhere_is_done_again_from_the_same_journal() {
    let mut before = fixture(VARIANTS[0]);
    let dir = temp_dir();
    let image = dir.path().join("fs.img");
    let place = AT.offset_bytes as usize..AT.end_bytes() as usize;
    fs::write(&image, &before[place.clone()]).unwrap();
    // Transactions that overwrite blocks of a file all over the disk, committed but not written in place.
    let stat = tool("debugfs", &["-R", "blocks dir4/file199", image.to_str().unwrap()]);
    let numbers = stat.lines().find(|line| line.starts_with(|first: char| first.is_ascii_digit())).unwrap();
    let blocks: Vec<&str> = numbers.split_whitespace().step_by(3).collect();
    let block = dir.path().join("block");
    fs::write(&block, vec![0x77; 4096 * blocks.len()]).unwrap();
    let commands = dir.path().join("commands");
    fs::write(&commands, format!("jo\njw -b {} {}\njc\n", blocks.join(","), block.display())).unwrap();
    tool("debugfs", &["-w", "-f", commands.to_str().unwrap(), image.to_str().unwrap()]);
    before[place.clone()].copy_from_slice(&fs::read(&image).unwrap());

    let repair = |bytes: Vec<u8>| {
        let disk = MemoryDisk::new(bytes);
        fstools::check_ext4(&disk, AT, true, &tools(&dir)).unwrap();
        (disk.ops.take(), disk.bytes.take())
    };
    let (ops, after) = repair(before.clone());
    let replayed =
        after[place.clone()].chunks(4096).filter(|block| block.iter().all(|byte| *byte == 0x77)).count();
    assert!(replayed >= 2 * blocks.len(), "the journal and its targets have {replayed} such blocks");
    // From the first of the last two writes on the journal is empty, and e2fsck counts its own work anew: the journal's
    // sequence number and the superblock's count of kilobytes written may differ then.
    let flags_from = ops.iter().position(|op| matches!(op, Op::Flush)).unwrap() + 1;
    assert_eq!(ops.len(), flags_from + 3);
    for kill in 0..=ops.len() {
        let mut state = before.clone();
        replay(&mut state, &ops[..kill]);
        let repaired = repair(state).1;
        let differing = repaired.chunks(1024).zip(after.chunks(1024)).filter(|(one, other)| one != other);
        let allowed = if kill <= flags_from { 0 } else { 2 };
        assert!(differing.count() <= allowed, "killed after operation {kill} of {}", ops.len());
        fs::write(&image, &repaired[place.clone()]).unwrap();
        tool("e2fsck", &["-f", "-n", image.to_str().unwrap()]);
    }
}

/// What known tools do: lay the shrunk image straight over the partition, and after a kill let e2fsck mend it. The
/// files that are then missing or changed are what the scheme above exists for.
#[test]
fn copying_straight_back_loses_files_although_e2fsck_is_content() {
    let run = record(VARIANTS[0]);
    let partition = |bytes: &[u8]| bytes[AT.offset_bytes as usize..AT.end_bytes() as usize].to_vec();
    let old = contents(&partition(&run.before));
    let dir = temp_dir();
    let image = dir.path().join("fs.img");
    let mut lost = 0;
    for part in 1..16 {
        let len = SHRUNK_BYTES as usize * part / 16;
        let mut state = partition(&run.before);
        state[..len].copy_from_slice(&kept(&run.after)[..len]);
        fs::write(&image, state).unwrap();
        let fixed = std::process::Command::new("e2fsck")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["-f", "-y", image.to_str().unwrap()])
            .output()
            .unwrap();
        if matches!(fixed.status.code(), Some(0 | 1)) {
            lost += usize::from(contents(&fs::read(&image).unwrap()) != old);
        }
    }
    assert!(lost >= 10, "files were lost in only {lost} of 15 states");
}

/// The planted bug must not pass the crash test above: this runs that test with the bug switched on.
#[cfg(feature = "planted")]
#[test]
fn the_planted_copy_back_fails_the_crash_test() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_kill_at_any_write_ends_in_the_same_bytes"])
        .env("RESIZER_BUG", "naive-copy-back")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && text.contains("the shrunk file system differs"), "{text}");
}
