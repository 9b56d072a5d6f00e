//! Goal: killpoint never fills the disks that it works on itself, whichever command judges: it stops in time, says why, keeps
//! what was done, and a sweep goes on from there. Method: the binary is run with a floor that no disk has free, and on a
//! tmpfs that the tool under test fills behind killpoint's back, a little each time that it runs.
//!
//! Needs root and FUSE; where a case can't run it says so by name.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use clap::CommandFactory;
use common::{Bench, text_of};
use disk_guard::Space;
use killpoint::cli::Cli;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

/// What a case that can run does.
type Case = fn() -> Result<(), Failed>;

const CASES: &[(&str, Case)] = &[
    ("every_command_that_judges_stops_below_its_floor", every_command_stops),
    ("a_sweep_by_one_worker_stops_in_time_and_goes_on_where_it_was", || fills_up("1")),
    ("a_sweep_by_two_workers_stops_in_time_and_goes_on_where_it_was", || fills_up("2")),
];

fn main() -> ExitCode {
    let lacking = match nix::unistd::geteuid().is_root() {
        false => Some("this needs root"),
        true => killpoint::seam::lacking(),
    };
    let trials = CASES.iter().map(|(name, case)| {
        Trial::ignorable_test(*name, move || match lacking {
            Some(why) => Ok(Completion::ignored_with(why)),
            None => case().map(|()| Completion::Completed),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn killpoint(dir: &Path, line: &str) -> Output {
    let words = shell_words::split(line).unwrap();
    Command::new(env!("CARGO_BIN_EXE_killpoint")).args(words).current_dir(dir).output().unwrap()
}

/// What a campaign left, without what differs each time.
fn report(run_dir: &Path) -> Value {
    let text = fs::read_to_string(run_dir.join("report.json")).expect("there is a report");
    let mut report: Value = serde_json::from_str(&text).expect("the report is JSON");
    for key in ["throughput", "warnings"] {
        report.as_object_mut().unwrap().remove(key);
    }
    report
}

/// How a campaign ended, as its last event says it.
fn outcome(run_dir: &Path) -> Value {
    let text = fs::read_to_string(run_dir.join("events.jsonl")).expect("there are events");
    serde_json::from_str::<Value>(text.lines().last().unwrap()).unwrap()
}

/// What each command is asked, those last that read what `exec` and `export` left.
const JUDGING: &[&str] = &[
    "run in-place.toml --iterations 1 --seed 1",
    "sweep in-place.toml --seed 1",
    "exec --image blank.img --seed 1 -- sh tool.sh blank.img",
    "barriers by-rename.toml --seed 1",
    "repro found#F1 --yes",
    "shrink found#F1 --yes",
    "import finding/run.log --image blank.img --seed 1",
];

/// Trusts its own first byte, so that a kill inside its last write is not mended.
const TRUSTS_ITS_FIRST_BYTE: &str = "
[ \"$(head -c 1 $1)\" = x ] && exit 0
head -c 16384 /dev/zero | tr '\\0' x | dd of=$1 bs=16384 iflag=fullblock seek=1 conv=notrunc status=none
head -c 16384 /dev/zero | tr '\\0' x | dd of=$1 bs=16384 iflag=fullblock conv=notrunc status=none";

fn every_command_stops() -> Result<(), Failed> {
    let bench = Bench::new();
    let dir = bench.dir.path();
    for name in ["in-place.toml", "by-rename.toml", "app.conf", "set-option.sh", "set-option-mended.sh"] {
        fs::write(dir.join(name), killpoint::demo::text_of(name).unwrap())?;
    }
    fs::write(dir.join("tool.sh"), TRUSTS_ITS_FIRST_BYTE)?;
    fs::File::create(dir.join("blank.img"))?.set_len(32768)?;
    for line in [
        "exec --image blank.img --seed 1 --run-dir found -- sh tool.sh blank.img",
        "export found#F1 --out finding --yes",
    ] {
        let output = killpoint(dir, line);
        assert!(matches!(output.status.code(), Some(0 | 1)), "with room: {}", text_of(&output));
    }

    let mut asked = BTreeSet::new();
    for line in JUDGING {
        let (command, rest) = line.split_once(' ').unwrap();
        asked.insert(command);
        let output =
            killpoint(dir, &format!("{command} --min-free 16000TiB --run-dir stopped/{command} {rest}"));
        let (said, run_dir) = (text_of(&output), dir.join("stopped").join(command));
        assert_eq!(output.status.code(), Some(5), "{line}: {said}");
        assert!(said.contains("is too full") && said.contains("--min-free"), "{line}: {said}");
        let end = outcome(&run_dir);
        assert_eq!(end["exit_code"], 5, "{line}: {end:#}");
        assert!(end["outcome"].to_string().contains("is too full"), "{line}: {end:#}");
        let report = report(&run_dir);
        assert_eq!(
            (&report["states"]["judged"], &report["points"]["attempted"]),
            (&0.into(), &0.into()),
            "{line}: {report:#}"
        );
    }
    let all = Cli::command();
    let judging = all.get_subcommands().filter(|command| {
        ["run_dir", "work_dir"].iter().all(|id| command.get_arguments().any(|option| option.get_id() == id))
    });
    assert_eq!(asked, judging.map(|command| command.get_name()).collect(), "each one is asked here");
    Ok(())
}

/// A small disk; unmounted when it goes.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"])
            .arg(dir.path())
            .output()
            .unwrap();
        assert!(mounted.status.success(), "{}", text_of(&mounted));
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

/// Bytes that have to stay free, of 32 MiB.
const FLOOR_BYTES: u64 = 16 << 20;

/// Bytes that may be written between a look at the disk and the next one.
const SLACK_BYTES: u64 = 8 << 20;

/// Writes 40 blocks in place. Each time that it is run it says so in `runs`, and takes 512 KiB where `grow` is there.
const GROWS: &str = "
echo >> DISK/runs
[ -e DISK/grow ] && head -c 524288 /dev/zero >> DISK/ballast
head -c 163840 /dev/zero | tr '\\0' x | dd of=$1 bs=4096 iflag=fullblock conv=notrunc status=none";

fn fills_up(jobs: &str) -> Result<(), Failed> {
    let disk = SmallDisk::mount();
    let at = |name: &str| disk.path(name);
    fs::write(at("tool.sh"), GROWS.replace("DISK", disk.0.path().to_str().unwrap()))?;
    fs::write(at("a.img"), [7; 160 << 10])?;
    // Answers what was said and how often the tool ran.
    let sweep = |run_dir: &str| {
        let _ = fs::remove_file(at("runs"));
        let line = format!(
            "exec --image a.img --seed 1 --jobs {jobs} --live-checks 0 --no-merge --min-free {FLOOR_BYTES}B \
             --work-dir . --run-dir {run_dir} -- sh tool.sh a.img"
        );
        let output = killpoint(disk.0.path(), &line);
        (output, fs::read_to_string(at("runs")).unwrap().lines().count())
    };
    let (output, whole_runs) = sweep("whole");
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    assert_eq!(text_of(&output).matches("room is short: the disk of the working area").count(), 1);
    let whole = report(&at("whole"));

    fs::write(at("grow"), "")?;
    let (output, runs) = sweep("part");
    let said = text_of(&output);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("is too full") && said.contains("--run-dir"), "{said}");
    let free_bytes = Space::of(disk.0.path())?.free_bytes;
    assert!(
        free_bytes < FLOOR_BYTES && free_bytes > FLOOR_BYTES - SLACK_BYTES,
        "{free_bytes} bytes are free"
    );
    let part = report(&at("part"));
    let judged = |report: &Value| report["states"]["judged"].as_u64().unwrap();
    assert!(judged(&part) > 0 && judged(&part) < judged(&whole), "{part:#}");
    assert!(runs < whole_runs, "{runs} runs before it stopped, of {whole_runs}");
    let areas = fs::read_dir(disk.0.path())?
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("killpoint-work"));
    assert_eq!(areas.count(), 0, "working areas are removed");

    fs::remove_file(at("grow"))?;
    fs::remove_file(at("ballast"))?;
    let (output, runs) = sweep("part");
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    assert_eq!(report(&at("part")), whole);
    assert!(runs < whole_runs, "{runs} runs when it went on, of {whole_runs}");
    Ok(())
}
