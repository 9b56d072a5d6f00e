//! The oracles on a small disk of every kind of content: they hold on what is sound, and each damage is found by
//! those that guard against it, in words that name the place. The disk is built by the fixture builder; the phase
//! under test is one that changes nothing, so that start and baseline are the same.
//!
//! Needs `mke2fs`, `debugfs`, `e2fsck` (e2fsprogs) and `fsck.fat` (dosfstools); without them it fails by name.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crc::{CRC_32_ISO_HDLC, Crc};
use killpoint::content::{Kind, Reader};
use killpoint::gpt::Gpt;
use killpoint::image;
use killpoint::mask::Mask;
use killpoint::oracle::{Answer, OracleSet, Outcome, Unproved};
use proptest::prelude::*;
use scenarios::model::Scenario;
use tempfile::TempDir;

const SCENARIO: &str = r#"
schema = 1
name = "every-content"
summary = "one partition of every kind of content"
requires = ["mke2fs", "debugfs", "e2fsck"]
optional = ["fsck.fat"]

[fixture.disk]
size = "24M"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b01"

[[fixture.partition]]
index = 1
label = "BOOT"
type = "esp"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b11"
size = "5M"
content = { kind = "fat", bits = 16, seed = 1, cluster_bytes = "512", used = "600K" }

[[fixture.partition]]
index = 4
label = "CONFIG"
type = "linux"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b12"
attributes = 4
size = "1M"
content = { kind = "raw", seed = 2 }

[[fixture.partition]]
index = 9
label = "DATA"
type = "linux"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b13"
size = "12M"
content = { kind = "ext4", seed = 3, block_bytes = "1K", used = "3M", uuid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b23" }

[[phase]]
name = "nothing"
run = ["true"]
copies = ["CONFIG", "DATA"]

[[oracle]]
kind = "baseline"
mask = ["unallocated"]

[[oracle]]
kind = "gpt"

[[oracle]]
kind = "gpt"
at = "crash"
need = "one-valid"

[[oracle]]
kind = "untouched"
at = "both"
partitions = ["CONFIG"]

[[oracle]]
kind = "fsck"
partitions = ["BOOT", "DATA"]

[[oracle]]
kind = "content"
partitions = ["BOOT", "CONFIG", "DATA"]
"#;

/// The volume as the builder makes it, once for all tests.
fn fixture() -> &'static (TempDir, Scenario) {
    static FIXTURE: OnceLock<(TempDir, Scenario)> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("scenario.toml");
        fs::write(&file, SCENARIO).expect("write the scenario");
        let scenario =
            scenarios::load(file.to_str().expect("a path of text"), None).expect("a sound scenario").scenario;
        let volume = folder.path().join("volume");
        fs::create_dir(&volume).expect("a folder for the volume");
        scenarios::fixture::build(&scenario, &volume).expect("the fixture (needs e2fsprogs)");
        (folder, scenario)
    })
}

/// A copy of the volume, and an oracle set over it with the untouched volume as start and baseline.
struct Bench {
    folder: TempDir,
    set: OracleSet,
}

impl Bench {
    fn new() -> Self {
        Self::without(&[])
    }

    /// On a machine that lacks some programs.
    fn without(missing: &[&str]) -> Self {
        let (origin, scenario) = fixture();
        let folder = TempDir::new().expect("a temporary folder");
        let volume = origin.path().join("volume");
        image::copy_sparse(&volume, &folder.path().join("volume")).expect("a copy of the volume");
        let mask = Mask::measure(&[&volume, &volume], &["unallocated".to_owned()], 0.001).expect("a mask");
        let missing: Vec<String> = missing.iter().map(|name| (*name).to_owned()).collect();
        let work = folder.path().join("work");
        let set = OracleSet::new(scenario, &scenario.phase[0], &volume, &volume, mask, &work, &missing)
            .expect("oracles");
        Self { folder, set }
    }

    fn volume(&self) -> PathBuf {
        self.folder.path().join("volume")
    }

    fn disk(&self) -> PathBuf {
        self.volume().join("disk.img")
    }

    fn gpt(&self) -> Gpt {
        Gpt::read(&File::open(self.disk()).expect("open the disk")).expect("read its table")
    }

    /// First byte of a partition.
    fn start_of(&self, label: &str) -> u64 {
        self.gpt().partitions().iter().find(|p| p.label == label).expect("the partition").extent.start
    }

    /// Inverts bytes of the disk.
    fn invert(&self, at: u64, len: usize) {
        let file = OpenOptions::new().read(true).write(true).open(self.disk()).expect("open the disk");
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, at).expect("read");
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        file.write_all_at(&bytes, at).expect("write");
    }

    /// Changes an entry's byte in both copies of the table, and puts the CRCs right.
    fn patch_entry(&self, index: u64, field: u64, bit: u8) {
        const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
        let file = OpenOptions::new().read(true).write(true).open(self.disk()).expect("open the disk");
        let gpt = self.gpt();
        for copy in [&gpt.primary, &gpt.backup] {
            let array = copy.array_extent().expect("a sound header");
            let mut entries = vec![0; (array.end - array.start) as usize];
            file.read_exact_at(&mut entries, array.start).expect("read");
            entries[((index - 1) * 128 + field) as usize] ^= bit;
            file.write_all_at(&entries, array.start).expect("write");
            let mut header = [0; 92];
            file.read_exact_at(&mut header, copy.lba * 512).expect("read");
            header[88..92].copy_from_slice(&CRC32.checksum(&entries).to_le_bytes());
            header[16..20].fill(0);
            let crc = CRC32.checksum(&header);
            header[16..20].copy_from_slice(&crc.to_le_bytes());
            file.write_all_at(&header, copy.lba * 512).expect("write");
        }
    }

    /// Changes the ext4 by debugfs, as a tool that loses something would.
    fn debugfs(&self, command: &str) {
        let source = format!("{}?offset={}", self.disk().display(), self.start_of("DATA"));
        let program = scenarios::programs::find("debugfs").expect("debugfs (Debian package e2fsprogs)");
        let output =
            Command::new(program).args(["-w", "-R", command, &source]).output().expect("run debugfs");
        assert!(output.status.success(), "{output:?}");
    }

    /// Where a name's directory entry is in the FAT.
    fn fat_entry(&self, name: &[u8; 11]) -> u64 {
        let start = self.start_of("BOOT");
        let mut bytes = vec![0; 5 << 20];
        let file = File::open(self.disk()).expect("open the disk");
        file.read_exact_at(&mut bytes, start).expect("read the FAT");
        let entry = bytes.chunks(32).position(|entry| entry.starts_with(name)).expect("the entry");
        start + 32 * entry as u64
    }

    /// Crash and end answers as lines, those that hold left out.
    fn objections(&mut self) -> String {
        let volume = self.volume();
        let crash = self.set.at_crash(&volume);
        let end = self.set.at_end(&volume);
        let line = |when: &str, answer: &Answer| {
            let text = match &answer.outcome {
                Outcome::Held => return None,
                Outcome::Failed { explain } => format!("fails: {}", portable(&answer.oracle, explain)),
                Outcome::NotMeasured { why } => format!("not measured: {why}"),
                Outcome::Hung { what } => format!("hangs: {what}"),
            };
            Some(format!("  {when} {}: {text}\n", answer.oracle))
        };
        let lines =
            crash.iter().filter_map(|a| line("crash", a)).chain(end.iter().filter_map(|a| line("end", a)));
        lines.collect()
    }
}

/// An explanation without what depends on the version of e2fsprogs or dosfstools: where mke2fs places things, and the
/// checkers' own words.
fn portable(oracle: &str, explain: &str) -> String {
    match (oracle, explain.find(" exits ")) {
        ("fsck", Some(end)) => explain[..end + " exits 1".len()].to_owned(),
        ("baseline", ..) if explain.contains("`DATA`+") => "bytes differ in `DATA`".to_owned(),
        _ => explain.to_owned(),
    }
}

#[test]
fn everything_holds_on_the_baseline() {
    let mut bench = Bench::new();
    assert_eq!(bench.objections(), "");
    let volume = bench.volume();
    let asked = |answers: Vec<Answer>| answers.into_iter().map(|a| a.oracle).collect::<Vec<_>>();
    assert_eq!(asked(bench.set.at_crash(&volume)), ["gpt", "untouched"]);
    assert_eq!(asked(bench.set.at_end(&volume)), ["baseline", "gpt", "untouched", "fsck", "content"]);
    assert!(bench.set.not_tested().is_empty());
}

#[test]
fn every_oracle_is_proved_and_nothing_of_the_proof_is_left() {
    let mut bench = Bench::new();
    let proved = bench.set.prove().expect("every oracle objects");
    assert_eq!(proved, ["baseline", "gpt", "untouched", "fsck", "content"]);
    let work = bench.folder.path().join("work");
    assert_eq!(fs::read_dir(work).expect("the work folder").count(), 0);
    assert_eq!(bench.objections(), "", "the proof leaves the answers as they were");
}

/// A baseline with a broken file system is no baseline.
#[test]
fn a_broken_baseline_is_told_from_an_oracle_that_does_not_object() {
    let bench = Bench::new();
    bench.invert(bench.start_of("DATA") + 1024 + 0x10, 4);
    let (origin, scenario) = fixture();
    let start = origin.path().join("volume");
    let broken = bench.volume();
    let mask = Mask::measure(&[&broken, &broken], &[], 0.001).expect("a mask");
    let work = bench.folder.path().join("work");
    let mut set =
        OracleSet::new(scenario, &scenario.phase[0], &start, &broken, mask, &work, &[]).expect("oracles");
    match set.prove() {
        Err(Unproved::BaselineFails { oracle, .. }) => assert_eq!(oracle, "fsck"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_damage_is_found_and_named() {
    type Inflict = fn(&Bench);
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
    let mut table = String::new();
    for (what, inflict) in cases {
        let mut bench = Bench::new();
        assert_eq!(bench.objections(), "", "before {what}");
        inflict(&bench);
        table.push_str(&format!("{what}\n{}", bench.objections()));
    }
    insta::assert_snapshot!(table);
}

/// A file system whose blocks and inodes have moved has other bytes and the same content, but for the directories
/// that resize2fs stamps with its own time: that is a change, and a tool that shrinks has to undo it.
#[test]
fn content_is_the_same_wherever_it_lies() {
    let mut bench = Bench::new();
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
    let volume = bench.volume();
    let answers = bench.set.at_end(&volume);
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
    let mut bench = Bench::without(&["fsck.fat"]);
    assert_eq!(
        bench.set.not_tested(),
        ["fsck of BOOT: fsck.fat is not installed (Debian package dosfstools)"]
    );
    bench.invert(bench.start_of("BOOT") + 512 + 10, 6);
    assert!(!bench.objections().contains("fsck.fat"));
    assert!(Bench::without(&["fsck.fat"]).set.prove().is_ok());
}

/// Answers are remembered by content: the same content gets the same answer, another one an answer of its own.
#[test]
fn a_remembered_answer_is_given_for_its_own_content_only() {
    let mut bench = Bench::new();
    bench.debugfs("set_inode_field /bin/su mode 0100755");
    let first = bench.objections();
    assert_eq!(bench.objections(), first);
    bench.debugfs("set_inode_field /bin/su mode 0104755");
    assert!(!bench.objections().contains("/bin/su: mode"), "another content is judged anew");
}

#[test]
fn a_mask_over_everything_proves_nothing() {
    let (origin, scenario) = fixture();
    let volume = origin.path().join("volume");
    let work = TempDir::new().expect("a temporary folder");
    let mask = Mask::measure(&[&volume, &volume], &["0+0x1800000".to_owned()], 0.001).expect("a mask");
    let mut set = OracleSet::new(scenario, &scenario.phase[0], &volume, &volume, mask, work.path(), &[])
        .expect("oracles");
    assert!(matches!(set.prove(), Err(Unproved::Silent { oracle, .. }) if oracle == "baseline"));
}

/// A checker that accepts everything, and one that prints for ever, take e2fsck's place in `PATH`. The test runs
/// itself with it, since the environment of a running process is not to be changed.
#[test]
fn checkers_that_see_nothing_or_never_end_are_found_out() {
    const CASE: &str = "ORACLES_TEST_CHECKER";
    match std::env::var(CASE).as_deref() {
        Ok("blind") => {
            let result = Bench::new().set.prove();
            let silent = matches!(&result, Err(Unproved::Silent { oracle, .. }) if oracle == "fsck");
            assert!(silent, "{result:?}");
        }
        Ok("endless") => {
            let mut bench = Bench::new();
            let volume = bench.volume();
            let answers = bench.set.at_end(&volume);
            let fsck = answers.iter().find(|answer| answer.oracle == "fsck").expect("its answer");
            assert!(matches!(&fsck.outcome, Outcome::Hung { what } if what.contains("e2fsck")), "{fsck:?}");
        }
        _ => {
            for (case, script) in [("blind", "exit 0"), ("endless", "while :; do echo again; done")] {
                let folder = TempDir::new().expect("a temporary folder");
                let program = folder.path().join("e2fsck");
                // The fixture is built with the real one, whatever its arguments; only a mere check is faked.
                let real = scenarios::programs::find("e2fsck").expect("e2fsck (Debian package e2fsprogs)");
                let text = format!(
                    "#!/bin/sh\nif [ \"$1\" = -fn ]; then {script}; fi\nexec {} \"$@\"\n",
                    real.display()
                );
                fs::write(&program, text).expect("write it");
                fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it a program");
                let path = std::env::var("PATH").unwrap_or_default();
                let status = Command::new(std::env::current_exe().expect("this test"))
                    .args(["--exact", "checkers_that_see_nothing_or_never_end_are_found_out"])
                    .env(CASE, case)
                    .env("PATH", format!("{}:{path}", folder.path().display()))
                    .status();
                assert!(status.expect("run it").success(), "{case}");
            }
        }
    }
}

#[test]
fn copies_are_sampled_by_their_whole_content() {
    use killpoint::copies::Copies;
    use reports::event::CopyState;

    let bench = Bench::new();
    let (origin, scenario) = fixture();
    let (baseline, start) = (origin.path().join("volume"), bench.volume());
    // At the phase's start CONFIG's place is zero; DATA is there already.
    let place = bench.start_of("CONFIG");
    let disk = OpenOptions::new().write(true).open(bench.disk()).expect("open the disk");
    disk.write_all_at(&vec![0; 1 << 20], place).expect("clear the place");
    let copies = Copies::new(&scenario.phase[0], "disk.img", &start, &baseline).expect("copies");
    let config = || copies.sample(&start, None).expect("a sample")["CONFIG"];
    assert_eq!(copies.sample(&start, None).expect("a sample")["DATA"], CopyState::Complete);
    assert_eq!(config(), CopyState::Empty);
    let mut content = vec![0; 1 << 20];
    File::open(baseline.join("disk.img")).expect("open").read_exact_at(&mut content, place).expect("read");
    disk.write_all_at(&content[..64 << 10], place).expect("write the first chunk");
    assert_eq!(config(), CopyState::Partial);
    disk.write_all_at(&content, place).expect("write it whole");
    assert_eq!(config(), CopyState::Complete);
    // Chunks that the copy does not change, or that are zero, say nothing about it: here one of DATA's is to come.
    let data = bench.start_of("DATA");
    disk.write_all_at(&[0xAA; 16], data + 4096).expect("change a chunk");
    let copies_of_data = Copies::new(&scenario.phase[0], "disk.img", &start, &baseline).expect("copies");
    assert_eq!(copies_of_data.sample(&start, None).expect("a sample")["DATA"], CopyState::Empty);
    // Head and tail are not enough.
    disk.write_all_at(&[content[500_000] ^ 1], place + 500_000).expect("break the middle");
    assert_eq!(config(), CopyState::Partial);
}

/// Which folder the tests run in doesn't matter, nor a `?` in the volume's name, which e2fsprogs would cut at.
#[test]
fn a_question_mark_in_the_path_is_part_of_the_name() {
    let mut bench = Bench::new();
    let odd = bench.folder.path().join("what?offset=1");
    fs::rename(bench.volume(), &odd).expect("rename");
    assert!(bench.set.at_end(Path::new(&odd)).iter().all(|answer| answer.outcome == Outcome::Held));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a kill leaves of a file system, reading its tree ends, in a tree or in an error that blames it.
    #[test]
    fn damaged_file_systems_are_read_to_an_end(
        hits in prop::collection::vec((0u64..400_000, any::<u8>()), 1..200), boot in any::<bool>())
    {
        let bench = Bench::new();
        let (label, kind) = if boot { ("BOOT", Kind::Fat) } else { ("DATA", Kind::Ext4) };
        let file = OpenOptions::new().read(true).write(true).open(bench.disk())?;
        let gpt = bench.gpt();
        let partitions = gpt.partitions();
        let extent = &partitions.iter().find(|p| p.label == label).expect("the partition").extent;
        for (at, value) in hits {
            file.write_all_at(&[value], extent.start + at)?;
        }
        let reader = Reader { work: bench.folder.path().to_owned(), debugfs: false };
        if let Err(error) = reader.read(kind, &file, extent, 512, None) {
            prop_assert!(error.blames_content(), "{error}");
        }
    }
}
