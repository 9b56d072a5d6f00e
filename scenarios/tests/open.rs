//! The scenarios of other people's tools, without a crash: each fixture has the same bytes in another second, an
//! uninterrupted run ends as its phase says, the resume accepts a finished run, and every command oracle holds on that
//! and objects to what its `prove` damages. Needs the programs that the scenarios require; a missing one fails by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use scenarios::model::Oracle;
use scenarios::{Resolved, fixture, load, programs, shipped};
use tempfile::TempDir;

/// One test for each, so that a failure names it and they run beside each other.
macro_rules! open {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )*

        #[test]
        fn every_open_scenario_that_ships_is_among_these_tests() {
            let open = shipped().iter().filter(|shipped| shipped.is_open()).map(|shipped| shipped.name);
            let open: Vec<_> = open.filter(|name| !runs_killpoint(name)).collect();
            assert_eq!(open, [$($name),*]);
        }
    };
}

open! {
    growpart_is_sound: "growpart",
    ntfsresize_is_sound: "ntfsresize",
    qemu_img_snapshot_is_sound: "qemu-img-snapshot",
    rename_synced_is_sound: "rename-synced",
    rename_unsynced_is_sound: "rename-unsynced",
    resize2fs_grow_is_sound: "resize2fs-grow",
    resize2fs_shrink_is_sound: "resize2fs-shrink",
    sgdisk_delete_is_sound: "sgdisk-delete",
    sgdisk_grown_is_sound: "sgdisk-grown",
    sgdisk_new_is_sound: "sgdisk-new",
    sgdisk_type_is_sound: "sgdisk-type",
    sqlite_async_is_sound: "sqlite-async",
    sqlite_delete_is_sound: "sqlite-delete",
    sqlite_wal_is_sound: "sqlite-wal",
}

/// Scenarios of mounted file systems run killpoint itself, which this package does not have: the harness's tests of power cuts
/// sweep them.
fn runs_killpoint(name: &str) -> bool {
    load(name, None).unwrap().scenario.phase.iter().any(|phase| phase.run[0] == "killpoint")
}

/// Folders of one scenario.
struct Bench {
    resolved: Resolved,
    folder: TempDir,
}

impl Bench {
    fn of(name: &str) -> Self {
        let bench = Self { resolved: load(name, None).unwrap(), folder: tempfile::tempdir().unwrap() };
        for program in &bench.resolved.scenario.requires {
            let package = programs::package_of(program).unwrap_or("unknown");
            assert!(
                programs::find(program).is_some(),
                "`{program}` is not installed (Debian package {package})"
            );
        }
        bench.resolved.write_assets(&bench.path("scenario")).unwrap();
        fs::create_dir(bench.path("scratch")).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn fixture(&self, name: &str) -> PathBuf {
        let volume = self.path(name);
        fs::create_dir(&volume).unwrap();
        fixture::build(&self.resolved, &volume).unwrap_or_else(|error| panic!("{error}"));
        self.resolved.check_volume(&volume).unwrap_or_else(|error| panic!("{error}"));
        volume
    }

    /// Runs a command of the scenario with these placeholders besides the common ones.
    fn run(&self, words: &[String], volume: &Path, more: &[(&str, &Path)]) -> Output {
        let (scratch, scenario) = (self.path("scratch"), self.path("scenario"));
        let common: [(&str, &Path); 3] =
            [("volume", volume), ("scratch", &scratch), ("scenario_dir", &scenario)];
        let filled: Vec<String> = words
            .iter()
            .map(|word| {
                let all = common.iter().chain(more);
                all.fold(word.clone(), |word, (name, path)| {
                    word.replace(&format!("{{{name}}}"), path.to_str().unwrap())
                })
            })
            .collect();
        let mut command = Command::new(programs::find(&filled[0]).unwrap_or_else(|| panic!("{}", filled[0])));
        command.args(&filled[1..]).current_dir(volume).env_clear().stdin(Stdio::null());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("LC_ALL", "C").env("TZ", "UTC").env("TMPDIR", &scratch);
        command.envs(&self.resolved.scenario.environment).output().unwrap()
    }
}

fn check(name: &str) {
    let bench = Bench::of(name);
    let start = bench.fixture("start");
    thread::sleep(Duration::from_millis(1100));
    assert!(content(&start) == content(&bench.fixture("again")), "the fixture differs in another second");
    let volume = bench.path("volume");
    copy(&start, &volume);
    let mut acks = Vec::new();
    for phase in &bench.resolved.scenario.phase {
        let mut expect = |words: &[String], exits: &[i32]| {
            let output = bench.run(words, &volume, &[]);
            let exit = output.status.code().unwrap();
            assert!(exits.contains(&exit), "{words:?}: {}\n{}", output.status, said(&output));
            acks.extend(acknowledged(phase.ack_pattern.as_deref(), &output));
            exit
        };
        expect(&phase.run, &phase.run_exit);
        let after = content(&volume);
        assert!(after != content(&start), "the phase changes nothing");
        let once = [phase.run.clone()];
        let resume = if phase.resume.is_empty() { &once[..] } else { &phase.resume[..] };
        for (place, words) in resume.iter().enumerate() {
            expect(words, phase.resume_exit.get(place).unwrap_or(&phase.run_exit));
        }
    }
    let acks = PathBuf::from(acks.join("\n"));
    for oracle in &bench.resolved.scenario.oracle {
        if let Oracle::Command { name, run, pass, prove, .. } = oracle {
            let more = [("start", start.as_path()), ("baseline", &volume), ("acks", &acks)];
            let ask = || bench.run(run, &volume, &more);
            let answer = ask();
            assert!(pass.contains(&answer.status.code().unwrap()), "{name}: {}", said(&answer));
            let sound = bench.path("sound");
            copy(&volume, &sound);
            let damage = bench.run(prove.as_ref().unwrap(), &volume, &[("start", &start)]);
            assert!(damage.status.success(), "{name}: {}", said(&damage));
            let answer = ask();
            assert!(!pass.contains(&answer.status.code().unwrap()), "{name} does not object");
            fs::remove_dir_all(&volume).unwrap();
            fs::rename(&sound, &volume).unwrap();
        }
    }
}

/// What a run acknowledged.
fn acknowledged(pattern: Option<&str>, output: &Output) -> Vec<String> {
    let Some(pattern) = pattern else { return Vec::new() };
    let pattern = regex::Regex::new(pattern).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter_map(|line| Some(pattern.captures(line)?[1].to_owned())).collect()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn content(volume: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(volume).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap())).collect()
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-r", "--sparse=always"]).args([from, to]).status().unwrap();
    assert!(status.success());
}
