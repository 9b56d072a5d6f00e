//! Goal: what a sweep tells doesn't depend on how many workers, machines or tries it took; crashes of resumes, failing ops
//! and signals find what kills alone don't; and what makes no sense is refused before anything is lost. Method: the
//! binary is run as a person would, on tools that are shell scripts of a few lines. It needs root and FUSE, without which
//! each test fails and says so.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Bench, text_of};
use serde_json::Value;

/// Writes four blocks in place, one of them of several pages, by way of the scratch directory; it ignores what fails, so
/// that it says that it is done when it is not.
const CARELESS: &str = r#"
for i in 0 1 2; do printf 'block %s' $i | dd of=$1 bs=4096 seek=$i conv=notrunc,fsync status=none || :; done
head -c 16384 /dev/zero | tr '\0' x | dd of=$1 bs=16384 iflag=fullblock seek=1 conv=notrunc status=none || :
"#;

/// Marks that it recovers, and takes the mark for a proof that block 1 is done: one crash is mended, a crash of the
/// recovery is not.
const TRUSTS_ITS_MARK: &str = r#"
put() { printf %s "$2" | dd of=$1 bs=4096 seek=$3 conv=notrunc status=none; }
get() { dd if=$1 bs=4096 skip=$2 count=1 status=none | head -c 1; }
if [ "$(get $1 0)" = S ]; then
    marked=$(get $1 3)
    put $1 R 3
    [ "$marked" = R ] || put $1 A 1
else
    put $1 S 0
    put $1 A 1
fi
put $1 B 2
put $1 E 3
put $1 F 0
"#;

/// Makes sixty scratch files of random names between two writes, after a resume was seen to read what lies there; and each
/// of its runs leaves a line in the file beside it.
const MAKES_SCRATCH_FILES: &str = r#"
echo run >>"$(dirname "$0")/runs"
put() { printf %s "$2" | dd of=$1 bs=4096 seek=$3 conv=notrunc status=none; }
[ -e $TMPDIR/stage ] && cat $TMPDIR/stage >/dev/null
echo stage >$TMPDIR/stage
put $1 A 0
rm $TMPDIR/stage
put $1 B 1
for i in $(seq 60); do mktemp >/dev/null; done
put $1 C 2
"#;

/// A test's tool and its image.
struct Case {
    bench: Bench,
    tool: String,
    image: String,
}

impl Case {
    fn new(script: &str) -> Self {
        let bench = Bench::new();
        let (tool, image) = (bench.dir.path().join("tool.sh"), bench.dir.path().join("a.img"));
        fs::write(&tool, script).unwrap();
        fs::write(&image, [7; 64 << 10]).unwrap();
        let [tool, image] = [tool, image].map(|path| path.display().to_string());
        Self { bench, tool, image }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.bench.dir.path().join(name)
    }

    /// The command that sweeps the tool, with its results in a folder of this name.
    fn command(&self, name: &str, options: &[&str]) -> Command {
        let mut killpoint = Command::new(env!("CARGO_BIN_EXE_killpoint"));
        killpoint
            .args(["exec", "--image", &self.image, "--seed", "1", "--no-progress", "--run-dir"])
            .arg(self.dir(name))
            .args(options)
            .args(["--", "sh", &self.tool, &self.image])
            .current_dir(self.bench.dir.path());
        killpoint
    }

    fn sweep(&self, name: &str, options: &[&str]) -> Output {
        let output = self.command(name, options).output().unwrap();
        let text = text_of(&output);
        assert!(!text.contains("FUSE seam can't be used"), "this test needs FUSE: {text}");
        output
    }

    /// What a sweep came to, without the time it took.
    fn report(&self, name: &str) -> Value {
        report(&self.dir(name))
    }
}

fn report(dir: &Path) -> Value {
    let text = fs::read_to_string(dir.join("report.json")).expect("there is a report");
    let mut report: Value = serde_json::from_str(&text).expect("the report is JSON");
    report.as_object_mut().unwrap().remove("throughput");
    report
}

/// A report apart from how many states were proven in place of being resumed: a part knows only its own proofs.
fn but_for_proofs(mut report: Value) -> Value {
    report["states"].as_object_mut().unwrap().remove("unread").expect("it is counted");
    report
}

/// What was told of the bytes of findings.
fn bytes(dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("events.jsonl")).expect("there is a log");
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event["event"] == "compared").collect()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

const ALL_MODELS: [&str; 2] = ["--model", "kill,torn,error,signal"];

#[test]
fn no_resume_is_run_for_a_state_that_is_judged_with_another_one() {
    let case = Case::new(MAKES_SCRATCH_FILES);
    let output = case.sweep("run", &["--model", "kill", "--live-checks", "0"]);
    assert_eq!(code(&output), Some(0), "{}", text_of(&output));
    let states = &case.report("run")["states"];
    let [judged, merged] = ["judged", "merged"].map(|what| states[what].as_u64().unwrap());
    let runs = fs::read_to_string(case.dir("runs")).unwrap().lines().count() as u64;
    assert!(merged >= 60, "{states:#}");
    // Three for the baseline, and what a worker may have begun before the proof was there.
    assert!(runs <= judged + 3 + 4, "{runs} runs: {states:#}");
}

/// What a kernel writes below a mount may be the same three times and not the fourth time.
#[test]
fn where_no_bytes_are_compared_no_live_kill_is_either_though_runs_look_alike() {
    const SCENARIO: &str = r#"
schema = 1
name = "unlike"
summary = "a file that is written twice"
[fixture]
command = ["sh", "-c", "echo old > {volume}/a"]
[[phase]]
name = "write"
run = ["sh", "-c", "echo new > {volume}/a; echo new > {volume}/b"]
[[oracle]]
kind = "baseline"
mask = ["everything"]
[[oracle]]
kind = "command"
name = "there"
run = ["test", "-e", "{volume}/a"]
prove = ["rm", "{volume}/a"]
"#;
    let bench = Bench::new();
    fs::write(bench.dir.path().join("unlike.toml"), SCENARIO).unwrap();
    let options = ["./unlike.toml", "--model", "kill", "--seed", "1", "--no-progress"];
    let output = bench.killpoint("sweep", &options).output().unwrap();
    assert_eq!(code(&output), Some(0), "{}", text_of(&output));
    assert!(bench.events("point").len() > 3, "{}", text_of(&output));
    assert!(bench.events("live-check").is_empty(), "{}", text_of(&output));
    let said = "live kills, since the scenario compares no bytes";
    assert!(bench.report()["not_tested"].to_string().contains(said), "{:#}", bench.report());
}

#[test]
fn one_worker_or_two_and_one_machine_or_four_tell_the_same() {
    let case = Case::new(CARELESS);
    let output = case.sweep("one", &[&ALL_MODELS[..], &["--jobs", "1"]].concat());
    assert_eq!(code(&output), Some(1), "{}", text_of(&output));
    let one = case.report("one");
    assert!(one["findings"].as_array().is_some_and(|found| found.len() > 2), "{one:#}");
    assert_eq!(one["points"]["landed"], one["points"]["attempted"], "{one:#}");

    case.sweep("two", &[&ALL_MODELS[..], &["--jobs", "2"]].concat());
    assert_eq!(case.report("two"), one, "two workers");

    let shards: Vec<String> = (1..=4).map(|index| format!("{index}/4")).collect();
    let running: Vec<_> = shards
        .iter()
        .map(|shard| {
            let options = [&ALL_MODELS[..], &["--jobs", "1", "--shard", shard]].concat();
            case.command(&shard.replace('/', "-"), &options).output().unwrap()
        })
        .collect();
    for output in &running {
        assert!(matches!(code(output), Some(0 | 1)), "{}", text_of(output));
    }
    let dirs: Vec<PathBuf> = shards.iter().map(|shard| case.dir(&shard.replace('/', "-"))).collect();
    let judged: Vec<u64> = dirs.iter().map(|dir| report(dir)["states"]["judged"].as_u64().unwrap()).collect();
    assert_eq!(judged.iter().sum::<u64>(), one["states"]["judged"].as_u64().unwrap(), "no state twice");
    assert!(judged.iter().filter(|n| **n > 0).count() > 1, "the states are divided: {judged:?}");

    let merged = merge(&dirs, &case.dir("merged"));
    assert_eq!(code(&merged), Some(1), "{}", text_of(&merged));
    assert!(bytes(&case.dir("one")).len() > 2, "the findings have bytes");
    assert_eq!(bytes(&case.dir("merged")), bytes(&case.dir("one")), "each finding has its own");
    assert_eq!(but_for_proofs(case.report("merged")), but_for_proofs(one), "four shards");

    let without = merge(&dirs[..3], &case.dir("three"));
    assert_eq!(code(&without), Some(1), "findings are findings");
    assert!(text_of(&without).contains("missing are the shards 4/4"), "{}", text_of(&without));
    let twice = merge(&[dirs[0].clone(), dirs[0].clone()], &case.dir("twice"));
    assert_eq!(code(&twice), Some(2));
    assert!(text_of(&twice).contains("shard 1/4 is there twice"), "{}", text_of(&twice));
    let foreign = merge(&[dirs[0].clone(), case.dir("one")], &case.dir("foreign"));
    assert_eq!(code(&foreign), Some(2));
    assert!(text_of(&foreign).contains("part 2 is no shard"), "{}", text_of(&foreign));
}

fn merge(dirs: &[PathBuf], into: &Path) -> Output {
    let mut killpoint = Command::new(env!("CARGO_BIN_EXE_killpoint"));
    killpoint.arg("report").args(dirs).arg("--run-dir").arg(into).output().unwrap()
}

#[test]
fn a_sweep_that_was_killed_goes_on_where_it_was() {
    let case = Case::new(CARELESS);
    let options = [&ALL_MODELS[..], &["--live-checks", "2"]].concat();
    case.sweep("whole", &options);
    let whole = case.report("whole");
    // What a SIGKILL of killpoint leaves: the events so far, the last one torn.
    case.sweep("cut", &options);
    let log = case.dir("cut").join("events.jsonl");
    let events = fs::read_to_string(&log).unwrap();
    let points: Vec<usize> = events.match_indices(r#"{"event":"point""#).map(|(at, _)| at).collect();
    let half = points[points.len() / 2] + 20;
    fs::write(&log, &events[..half]).unwrap();
    fs::remove_file(case.dir("cut").join("report.json")).unwrap();
    let output = case.sweep("cut", &options);
    assert_eq!(code(&output), Some(1), "{}", text_of(&output));
    assert_eq!(case.report("cut"), whole);
    assert_eq!(bytes(&case.dir("cut")), bytes(&case.dir("whole")), "also of what an earlier try found");
    assert_eq!(fs::read_to_string(case.dir("cut").join("events-1.jsonl")).unwrap(), &events[..half]);
    let again = fs::read_to_string(&log).unwrap();
    let took = |text: &str, n: usize| -> Vec<u64> {
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let points = events.filter(|event| event["event"] == "point" && !event["verdict"].is_null());
        points.take(n).map(|point| point["wall_ms"].as_u64().unwrap()).collect()
    };
    let known = took(&events[..half], usize::MAX);
    assert!(known.len() > 5);
    assert_eq!(took(&again, known.len()), known, "what was judged is told as it was, its time included");
}

#[test]
fn what_another_sweep_found_to_recover_is_not_judged_again() {
    let case = Case::new(&format!("echo run >>\"$(dirname \"$0\")/runs\"{CARELESS}"));
    let points = |name: &str| {
        let text = fs::read_to_string(case.dir(name).join("events.jsonl")).unwrap();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut points: Vec<Value> = events.filter(|event| event["event"] == "point").collect();
        points.iter_mut().for_each(|point| drop(point.as_object_mut().unwrap().remove("wall_ms")));
        points
    };
    let runs = |name: &str, options: &[&str]| {
        let _ = fs::remove_file(case.dir("runs"));
        let output = case
            .sweep(name, &[&["--live-checks", "0", "--device", "sata-512", "--no-merge"], options].concat());
        assert!(matches!(code(&output), Some(0 | 1)), "{}", text_of(&output));
        fs::read_to_string(case.dir("runs")).unwrap().lines().count() as u64
    };
    let few = runs("few", &["--model", "kill,error"]);
    let alone = runs("alone", &["--model", "power"]);
    let few_dir = case.dir("few").display().to_string();
    let known = runs("known", &["--model", "power", "--known", &few_dir]);
    assert_eq!(points("known"), points("alone"));
    let kills =
        points("few").iter().filter(|point| point["model"] == "kill" && point["distinct"] == true).count();
    assert!(kills > 3 && few > 3, "{few} runs");
    // A state that only the kills leave is not run again.
    assert_eq!(known + kills as u64, alone, "{kills} of {few} runs were of kills");

    for (name, known, what) in
        [("none", "nowhere", "(campaign: none there"), ("other", &few_dir, "(fixture's content id: ")]
    {
        if name == "other" {
            fs::write(&case.image, [8; 64 << 10]).unwrap();
        }
        let output = case.sweep(name, &["--model", "kill", "--known", known]);
        assert_eq!(code(&output), Some(2), "{}", text_of(&output));
        assert!(text_of(&output).contains(what), "{}", text_of(&output));
    }
    assert!(!case.dir("none").exists());
}

#[test]
fn a_crash_of_the_recovery_is_found_by_the_closure_alone() {
    let case = Case::new(TRUSTS_ITS_MARK);
    let output = case.sweep("plain", &["--model", "kill"]);
    assert_eq!(code(&output), Some(0), "{}", text_of(&output));
    let output = case.sweep("closure", &["--model", "kill", "--closure"]);
    assert_eq!(code(&output), Some(1), "{}", text_of(&output));
    let report = case.report("closure");
    assert_eq!(report["states"]["closure_complete"], true, "{report:#}");
    let finding = &report["findings"][0];
    assert_eq!((&finding["verdict"], &finding["oracle"]), (&"diverged".into(), &"baseline".into()));
    assert!(finding["point"].as_str().unwrap().contains(", then "), "two kills: {finding}");
    let token = finding["token"].as_str().unwrap();
    let kept = format!("{}#F1", case.dir("closure").display());
    for (name, what) in [("token", token), ("kept", &kept)] {
        let mut repro = Command::new(env!("CARGO_BIN_EXE_killpoint"));
        let output = repro.args(["repro", "--yes", what, "--run-dir"]).arg(case.dir(name)).output().unwrap();
        assert_eq!(code(&output), Some(1), "{name}: {}", text_of(&output));
    }
    // Not deep enough to follow the recovery's own recovery.
    let output = case.sweep("shallow", &["--model", "kill", "--closure", "--depth", "1", "--jobs", "1"]);
    let shallow = case.report("shallow");
    assert_eq!(shallow["states"]["closure"]["depth"], 1, "{}", text_of(&output));
}

#[test]
fn a_closure_without_findings_says_that_no_sequence_of_kills_breaks_the_run() {
    let case = Case::new(TRUSTS_ITS_MARK.replace("[ \"$marked\" = R ] ||", "").as_str());
    let output = case.sweep("sound", &["--model", "kill", "--closure"]);
    assert_eq!(code(&output), Some(0), "{}", text_of(&output));
    assert!(text_of(&output).contains("no sequence of SIGKILLs at op boundaries breaks this run"));
    let report = case.report("sound");
    assert!(report["states"]["closure"]["states"].as_u64().unwrap() > 0, "{report:#}");
}

#[test]
fn a_tool_that_says_it_is_done_after_a_failed_write_is_found_and_brought_back() {
    let case = Case::new(CARELESS);
    let output = case.sweep("error", &["--model", "error"]);
    assert_eq!(code(&output), Some(1), "{}", text_of(&output));
    let report = case.report("error");
    let finding = &report["findings"][0];
    let explain = finding["explain"].as_str().unwrap();
    assert!(explain.contains("though the disturbed run said that it was done"), "{finding}");
    assert!(explain.contains("7 bytes of what the disturbed run left differ from"), "{finding}");
    let mut repro = Command::new(env!("CARGO_BIN_EXE_killpoint"));
    let output = repro
        .args(["repro", "--yes", finding["token"].as_str().unwrap(), "--run-dir"])
        .arg(case.dir("again"))
        .output()
        .unwrap();
    assert_eq!(code(&output), Some(1), "{}", text_of(&output));

    // A tool that stops at what fails passes: its rerun makes up for it.
    let case = Case::new(&format!("set -e\n{}", CARELESS.replace("|| :", "")));
    let output = case.sweep("error", &["--model", "error,signal"]);
    assert_eq!(code(&output), Some(0), "{}", text_of(&output));
    assert_eq!(case.report("error")["coverage"]["by_model"][0]["name"], "error");
}

#[test]
fn what_a_budget_leaves_out_is_said_and_the_table_comes_first() {
    let case = Case::new(CARELESS);
    let output = case.sweep("none", &["--budget", "1ns", "--live-checks", "0"]);
    assert_eq!(code(&output), Some(4), "nothing was judged: {}", text_of(&output));
    let report = case.report("none");
    let said = report["not_tested"].as_array().unwrap().iter().any(|what| {
        what.as_str().is_some_and(|what| what.ends_with("crash points that the budget left no time for"))
    });
    assert!(said, "{report:#}");
    let covered = &report["coverage"]["by_model"][0];
    assert!(covered["possible"].as_u64() > Some(0) && covered["explored"] == 0, "{report:#}");
}

#[test]
fn what_makes_no_sense_is_refused_and_nothing_is_lost() {
    let case = Case::new(CARELESS);
    case.sweep("there", &["--model", "kill"]);
    let events = fs::read(case.dir("there").join("events.jsonl")).unwrap();
    let other = ["--model", "kill", "--torn-per-write", "7", "--live-checks", "3"];
    for (name, options, why) in [
        ("new", &["--shard", "5/4"][..], "there is no shard 5 of 4"),
        ("new", &["--shard", "nonsense"], "expected I/N"),
        ("new", &["--shard", "1/4", "--closure"], "cannot be used with"),
        ("new", &["--depth", "2"], "--closure"),
        ("new", &["--jobs", "0"], "0 is not in"),
        ("new", &["--model", "rain"], "possible values"),
        ("there", &other, "(options: "),
        ("there", &["--model", "kill,torn"], "(models: kill there, kill,torn here)"),
        ("there", &["--model", "kill", "--shard", "1/4"], "(shard: none there, 1/4 here)"),
    ] {
        let output = case.sweep(name, options);
        assert_eq!(code(&output), Some(2), "{options:?}: {}", text_of(&output));
        assert!(text_of(&output).contains(why), "{options:?}: {}", text_of(&output));
    }
    assert!(!case.dir("new").exists());
    let log = |name: &str| fs::read(case.dir("there").join(name)).unwrap();
    assert_eq!(log("events.jsonl"), events);
    // Another image is noticed once it was read; what was done is put aside, and counts again with the first image.
    fs::write(&case.image, [8; 64 << 10]).unwrap();
    let output = case.sweep("there", &["--model", "kill"]);
    assert_eq!(code(&output), Some(2), "{}", text_of(&output));
    assert!(text_of(&output).contains("(fixture's content id: "), "{}", text_of(&output));
    assert_eq!(log("events-1.jsonl"), events);
    fs::write(&case.image, [7; 64 << 10]).unwrap();
    assert_eq!(code(&case.sweep("there", &["--model", "kill"])), Some(0));
}

/// The seam sees what strace sees. It needs strace and gdisk, without which it fails and says so.
#[test]
fn the_recorded_mutations_are_as_many_as_strace_counts() {
    let dir = tempfile::tempdir().unwrap();
    let helper = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/open/gpt-disk.sh");
    assert!(
        Command::new("sh").arg(helper).arg(dir.path()).status().unwrap().success(),
        "this test needs gdisk"
    );
    let (disk, log) = (dir.path().join("disk.img"), dir.path().join("trace"));
    let sgdisk = ["sgdisk", "-n", "4:67584:+4M", "-u", "4:5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b14"];
    let preflight = Command::new(env!("CARGO_BIN_EXE_killpoint"))
        .args(["preflight", "--format", "json", "--image"])
        .arg(&disk)
        .arg("--")
        .args(sgdisk)
        .arg(&disk)
        .output()
        .unwrap();
    let seen: Value =
        serde_json::from_slice(&preflight.stdout).unwrap_or_else(|_| panic!("{}", text_of(&preflight)));
    let phase = &seen["phases"][0];
    let recorded = phase["ops"].as_u64().unwrap() - phase["flushes"].as_u64().unwrap();

    let traced = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=write,pwrite64,writev,pwritev,ftruncate,fallocate", "-o"])
        .arg(&log)
        .args(sgdisk)
        .arg(&disk)
        .output()
        .expect("this test needs strace");
    assert!(traced.status.success(), "{}", text_of(&traced));
    let calls = fs::read_to_string(&log).unwrap();
    let counted = calls.lines().filter(|line| line.contains("disk.img>")).count();
    assert_eq!((recorded, counted), (5, 5), "{calls}");
}
