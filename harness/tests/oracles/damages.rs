//! Damage of a disk with every kind of content: each is found by the oracles that guard against it, with the same words
//! wherever the state lies.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use killpoint::content::{Kind, Reader};
use killpoint::image::{self, Bytes};
use killpoint::oracle::{Answer, Outcome, Told, Unproved};
use proptest::prelude::*;

use crate::bench::{BOTH, Bench, Parts, Seen, saved};
use crate::disk::{DiskBench, fixture, origin};

#[test]
fn everything_holds_on_the_baseline() {
    for seen in BOTH {
        let mut bench = DiskBench::new(seen);
        assert_eq!(bench.objections(), "", "{seen:?}");
        let asked = |answers: Vec<Answer>| answers.into_iter().map(|a| a.oracle).collect::<Vec<_>>();
        let (crash, end) = bench.ask(Told::default());
        assert_eq!(asked(crash), ["gpt", "untouched"]);
        assert_eq!(asked(end), ["baseline", "gpt", "untouched", "fsck", "content"]);
        assert!(bench.set.not_tested().is_empty());
    }
}

#[test]
fn every_oracle_is_proved_and_nothing_of_the_proof_is_left() {
    for seen in BOTH {
        let mut bench = DiskBench::new(seen);
        let proved = bench.set.prove().expect("every oracle objects");
        assert_eq!(proved, ["baseline", "gpt", "untouched", "fsck", "content"], "{seen:?}");
        let work = bench.folder.path().join("work");
        assert_eq!(fs::read_dir(work).expect("the work folder").count(), 0);
        assert_eq!(bench.objections(), "", "the proof leaves the answers as they were");
    }
}

/// A baseline with a broken file system is no baseline.
#[test]
fn a_broken_baseline_is_told_from_an_oracle_that_does_not_object() {
    for seen in BOTH {
        let broken = DiskBench::new(seen);
        broken.invert(broken.start_of("DATA") + 1024 + 0x10, 4);
        let (start, baseline) = (origin(), broken.volume());
        let parts = Parts { start: &start, baseline: &baseline, ..Parts::still(&start) };
        let mut bench = Bench::new(seen, &fixture().1, &parts).expect("oracles");
        match bench.set.prove() {
            Err(Unproved::BaselineFails { oracle, .. }) => assert_eq!(oracle, "fsck"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn each_damage_is_found_and_named() {
    type Inflict = fn(&DiskBench);
    let cases: [(&str, Inflict); 20] = [
        ("a byte of an untouched partition", |b| b.invert(b.start_of("CONFIG") + 0x1234, 1)),
        ("unallocated space", |b| b.invert(34 * 512, 64)),
        ("the primary header's CRC", |b| b.invert(512 + 16, 4)),
        ("both headers' CRCs", |b| {
            b.invert(512 + 16, 4);
            b.invert(b.gpt().len_bytes - 512 + 16, 4);
        }),
        ("a torn primary array", |b| b.invert(1024 + 3 * 128 + 48, 8)),
        ("an untouched partition's attributes, in a table that is sound", |b| b.patch_entry(4, 48, 8)),
        ("two partitions that overlap", |b| b.patch_entry(4, 41, 8)),
        ("a boot sector's code", |b| b.invert(b.start_of("BOOT") + 100, 2)),
        ("a FAT", |b| b.invert(b.start_of("BOOT") + 512 + 10, 6)),
        ("a FAT entry's attributes", |b| b.invert(b.fat_entry(b"EMPTY   TXT") + 11, 1)),
        ("the first block of ext4 gone", |b| b.invert(b.start_of("DATA") + 1024, 1024)),
        ("a mode without setuid", |b| b.debugfs("set_inode_field /bin/su mode 0100755")),
        ("another owner", |b| b.debugfs("set_inode_field /etc/shadow gid 7")),
        ("another time", |b| b.debugfs("set_inode_field /etc/shadow mtime 20200101")),
        ("another time of a directory", |b| b.debugfs("set_inode_field /etc mtime 20200101")),
        ("an extended attribute lost", |b| b.debugfs("ea_rm /bin/ping security.capability")),
        ("a file lost", |b| b.debugfs("unlink /etc/shadow")),
        ("a hard link more", |b| b.debugfs("ln /etc/empty /etc/second")),
        ("a file left over in the volume", |b| fs::write(b.volume().join("left"), "x").expect("write")),
        ("a disk cut short", |b| {
            let file = OpenOptions::new().write(true).open(b.disk()).expect("open the disk");
            file.set_len(23 << 20).expect("truncate");
        }),
    ];
    let tables = BOTH.map(|seen| {
        let mut table = String::new();
        for (what, inflict) in &cases {
            let mut bench = DiskBench::new(seen);
            assert_eq!(bench.objections(), "", "before {what}");
            inflict(&bench);
            table.push_str(&format!("{what}\n{}", bench.objections()));
        }
        table
    });
    assert_eq!(tables[0], tables[1], "on the host and in memory");
    let [table, _] = tables;
    insta::assert_snapshot!(table);
}

/// A file system whose blocks and inodes have moved has other bytes and the same content, but for the directories
/// that resize2fs stamps with its own time: that is a change, and a tool that shrinks has to undo it.
#[test]
fn content_is_the_same_wherever_it_lies() {
    let mut bench = DiskBench::new(Seen::OnHost);
    let e2fsprogs = |program: &str, arguments: &[&str]| {
        let program = scenarios::programs::find(program).expect("e2fsprogs");
        let output = Command::new(program).args(arguments).output().expect("run it");
        assert!(output.status.code().is_some_and(|code| code < 2), "{output:?}");
    };
    // Shrink the ext4 outside the disk and put it back: resize2fs moves blocks and inodes.
    let partition = bench.start_of("DATA");
    let aside = bench.folder.path().join("data");
    let disk = OpenOptions::new().read(true).write(true).open(bench.disk()).expect("open the disk");
    let file = File::create_new(&aside).expect("a file");
    image::copy_part(&disk, partition..partition + (12 << 20), &file).expect("copy out");
    let name = aside.to_str().expect("text");
    e2fsprogs("e2fsck", &["-fy", name]);
    e2fsprogs("resize2fs", &[name, "6M"]);
    let moved = fs::read(&aside).expect("read it");
    disk.write_all_at(&moved, partition).expect("put it back");
    let answers = bench.at_end();
    let held = |oracle: &str| answers.iter().find(|a| a.oracle == oracle).map(|a| a.outcome.clone());
    let Some(Outcome::Failed { explain }) = held("content") else { panic!("{answers:?}") };
    let other: Vec<_> = explain
        .split("; ")
        .filter(|part| !part.contains(": modified ") && !part.ends_with("more paths differ"))
        .collect();
    assert_eq!(other, [] as [&str; 0], "{explain}");
    assert_eq!(held("fsck"), Some(Outcome::Held));
    assert!(matches!(held("baseline"), Some(Outcome::Failed { .. })));
}

#[test]
fn what_an_optional_program_would_check_is_named() {
    let mut bench = DiskBench::without(Seen::OnHost, &["fsck.fat"]);
    assert_eq!(
        bench.set.not_tested(),
        ["fsck of BOOT: fsck.fat is not installed (Debian package dosfstools)"]
    );
    bench.invert(bench.start_of("BOOT") + 512 + 10, 6);
    assert!(!bench.objections().contains("fsck.fat"));
    assert!(DiskBench::without(Seen::OnHost, &["fsck.fat"]).set.prove().is_ok());
}

/// Answers are remembered by content: the same content gets the same answer, another one an answer of its own.
#[test]
fn a_remembered_answer_is_given_for_its_own_content_only() {
    for seen in BOTH {
        let mut bench = DiskBench::new(seen);
        bench.debugfs("set_inode_field /bin/su mode 0100755");
        let first = bench.objections();
        assert_eq!(bench.objections(), first);
        bench.debugfs("set_inode_field /bin/su mode 0104755");
        assert!(!bench.objections().contains("/bin/su: mode"), "another content is judged anew");
    }
}

#[test]
fn a_mask_over_everything_proves_nothing() {
    for seen in BOTH {
        let (volume, mask) = (origin(), ["0+0x1800000".to_owned()]);
        let parts = Parts { mask: &mask, ..Parts::still(&volume) };
        let mut bench = Bench::new(seen, &fixture().1, &parts).expect("oracles");
        assert!(matches!(bench.set.prove(), Err(Unproved::Silent { oracle, .. }) if oracle == "baseline"));
    }
}

#[test]
fn copies_are_sampled_by_their_whole_content() {
    use killpoint::copies::Copies;
    use reports::event::CopyState;

    for seen in BOTH {
        let bench = DiskBench::new(seen);
        let (baseline, volume, phase) = (origin(), bench.volume(), &fixture().1.scenario.phase[0]);
        // At the phase's start CONFIG's place is zero; DATA is there already.
        let place = bench.start_of("CONFIG");
        let disk = OpenOptions::new().write(true).open(bench.disk()).expect("open the disk");
        disk.write_all_at(&vec![0; 1 << 20], place).expect("clear the place");
        // What a state in memory was made from must not change, so the start is a copy.
        let start = bench.folder.path().join("start");
        image::copy_sparse(&volume, &start).expect("a copy");
        let made = |start: &PathBuf| {
            let (start, baseline) = (saved(seen, start), saved(seen, &baseline));
            Copies::new(phase, Some("disk.img".as_ref()), &start, &baseline).expect("copies")
        };
        let sample = |copies: &Copies, label: &str| {
            copies.sample(&saved(seen, &volume), None).expect("a sample")[label]
        };
        let copies = made(&start);
        let config = || sample(&copies, "CONFIG");
        assert_eq!(sample(&copies, "DATA"), CopyState::Complete);
        assert_eq!(config(), CopyState::Empty);
        let mut content = vec![0; 1 << 20];
        let whole = File::open(baseline.join("disk.img")).expect("open");
        whole.read_exact_at(&mut content, place).expect("read");
        disk.write_all_at(&content[..64 << 10], place).expect("write the first chunks");
        assert_eq!(config(), CopyState::Partial);
        disk.write_all_at(&content, place).expect("write it whole");
        assert_eq!(config(), CopyState::Complete);
        // Head and tail are not enough.
        disk.write_all_at(&[content[500_000] ^ 1], place + 500_000).expect("break the middle");
        assert_eq!(config(), CopyState::Partial);
        // Chunks that the copy does not change, or that are zero, say nothing about it: here one of DATA's is to come.
        let data = bench.start_of("DATA");
        disk.write_all_at(&[0xAA; 16], data + 4096).expect("change a chunk");
        let later = bench.folder.path().join("later");
        image::copy_sparse(&volume, &later).expect("a copy");
        assert_eq!(sample(&made(&later), "DATA"), CopyState::Empty);
    }
}

/// Which folder the tests run in doesn't matter, nor a `?` in the volume's name, which e2fsprogs would cut at.
#[test]
fn a_question_mark_in_the_path_is_part_of_the_name() {
    let mut bench = DiskBench::new(Seen::OnHost);
    let odd = bench.folder.path().join("what?offset=1");
    fs::rename(bench.volume(), &odd).expect("rename");
    let (_, end) = bench.ask_about(&odd, Told::default());
    assert!(end.iter().all(|answer| answer.outcome == Outcome::Held), "{end:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a kill leaves of a file system, reading its tree ends, in a tree or in an error that blames it.
    #[test]
    fn damaged_file_systems_are_read_to_an_end(
        hits in prop::collection::vec((0u64..400_000, any::<u8>()), 1..200), boot in any::<bool>())
    {
        let bench = DiskBench::new(Seen::OnHost);
        let (label, kind) = if boot { ("BOOT", Kind::Fat) } else { ("DATA", Kind::Ext4) };
        let file = OpenOptions::new().read(true).write(true).open(bench.disk())?;
        let gpt = bench.gpt();
        let partitions = gpt.partitions();
        let extent = &partitions.iter().find(|p| p.label == label).expect("the partition").extent;
        for (at, value) in hits {
            file.write_all_at(&[value], extent.start + at)?;
        }
        let reader = Reader { work: bench.folder.path().to_owned(), debugfs: false };
        let disk = Bytes::File(file);
        if let Err(error) = reader.read(kind, (&disk, &bench.disk()), extent, 512, None) {
            prop_assert!(error.blames_content(), "{error}");
        }
    }
}
