//! Goal: what a loss of power can do to a tool is found, told with the flush that is missing, and brought back; what it
//! can't do is not made up. Method: the binary is run as a person would, on scenarios that ship and on a script of a few
//! lines. It needs root, FUSE, loop devices, gdisk, cloud-guest-utils, sqlite3 and e2fsprogs, without which the tests fail
//! and say so.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Bench, text_of};
use serde_json::Value;

/// A folder for the results of some sweeps.
struct Place(Bench);

impl Place {
    fn new() -> Self {
        Self(Bench::new())
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.0.dir.path().join(name)
    }

    /// Runs killpoint with its results in a folder of this name.
    fn run(&self, name: &str, arguments: &[&str]) -> Output {
        let mut killpoint = Command::new(env!("CARGO_BIN_EXE_killpoint"));
        killpoint.args(arguments[..1].iter()).arg("--run-dir").arg(self.dir(name));
        killpoint.args(["--no-progress"]).args(&arguments[1..]).current_dir(self.0.dir.path());
        let output = killpoint.output().unwrap();
        let text = text_of(&output);
        assert!(!text.contains("FUSE seam can't be used"), "this test needs FUSE: {text}");
        assert_ne!(output.status.code(), Some(5), "this machine lacks something: {text}");
        output
    }

    fn sweep(&self, scenario: &str, options: &[&str]) -> Output {
        let name = format!("{scenario}{}", options.concat().replace('/', "-"));
        self.run(&name, &[&["sweep", scenario, "--seed", "1", "--live-checks", "0"], options].concat())
    }

    fn report(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.dir(name).join("report.json")).expect("there is a report");
        let mut report: Value = serde_json::from_str(&text).expect("the report is JSON");
        report.as_object_mut().unwrap().remove("throughput");
        report
    }

    /// The points of a model, as the events tell them.
    fn points(&self, name: &str, model: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.dir(name).join("events.jsonl")).unwrap();
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == "point" && event["model"] == model).collect()
    }
}

/// A report apart from how many states were proven in place of being resumed: a part knows only its own proofs.
fn but_for_proofs(mut report: Value) -> Value {
    report["states"].as_object_mut().unwrap().remove("unread").expect("it is counted");
    report
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn contents<'a>(points: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    points.into_iter().map(|point| point["content_id"].as_str().unwrap().to_owned()).collect()
}

const WHOLE_WRITES: [&str; 4] = ["--model", "power", "--atomic-unit", "write"];

/// Counts that are known from an independent reading of what these tools write.
#[test]
fn tools_of_known_order_have_the_states_that_follow_from_it() {
    let place = Place::new();
    for (scenario, beyond, without_table, distinct, distinct_without) in
        [("sgdisk-new", 26, 8, 11, 4), ("sgdisk-grown", 26, 0, 11, 0)]
    {
        let output = place.sweep(scenario, &WHOLE_WRITES);
        assert!(matches!(code(&output), Some(0 | 1)), "{}", text_of(&output));
        let name = format!("{scenario}{}", WHOLE_WRITES.concat());
        let points = place.points(&name, "power");
        let bad = || points.iter().filter(|point| point["gpt"]["no_valid_copy"] == true);
        assert_eq!((points.len(), bad().count()), (beyond, without_table), "{scenario}");
        let killed = contents(&place.points(&name, "kill"));
        let new: BTreeSet<String> = contents(&points).difference(&killed).cloned().collect();
        assert_eq!((new.len(), contents(bad()).len()), (distinct, distinct_without), "{scenario}");
    }
    // sfdisk flushes after every write: nothing of the disk is ever lost.
    let output = place.sweep("growpart", &[&WHOLE_WRITES[..], &["--scratch", "wiped"]].concat());
    assert_eq!(code(&output), Some(0), "{}", text_of(&output));
    let name = format!("growpart{}--scratchwiped", WHOLE_WRITES.concat());
    let killed = contents(&place.points(&name, "kill"));
    assert_eq!(contents(&place.points(&name, "power")).difference(&killed).count(), 0);
}

#[test]
fn a_power_cut_is_brought_back_by_its_token_and_from_its_run_directory() {
    let place = Place::new();
    let output = place.sweep("sgdisk-delete", &WHOLE_WRITES);
    let name = format!("sgdisk-delete{}", WHOLE_WRITES.concat());
    let report = place.report(&name);
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["model"] == "power");
    let finding = finding.unwrap_or_else(|| panic!("{}", text_of(&output)));
    let explain = finding["explain"].as_str().unwrap();
    assert!(explain.contains("no GPT copy is valid"), "{explain}");
    assert!(explain.contains("there is no flush between op 1 (backup GPT array, start) and op"), "{explain}");
    let kept = format!("{}#{}", place.dir(&name).display(), finding["id"].as_str().unwrap());
    for (name, what) in [("token", finding["token"].as_str().unwrap()), ("kept", &kept)] {
        let output = place.run(name, &["repro", what]);
        assert_eq!(code(&output), Some(1), "{name}: {}", text_of(&output));
    }
    // A state that is none of this run is no finding.
    let other = finding["token"].as_str().unwrap().replace(":p", ":p9");
    assert_eq!(code(&place.run("other", &["repro", &other])), Some(4));
}

/// Four blocks in place, of which only the first two are flushed.
const HALF_FLUSHED: &str = r#"
for i in 0 1; do printf 'block %s' $i | dd of=$1 bs=4096 seek=$i conv=notrunc,fsync status=none; done
for i in 2 3 4; do printf 'block %s' $i | dd of=$1 bs=4096 seek=$i conv=notrunc status=none; done
"#;

#[test]
fn one_worker_or_two_and_one_machine_or_three_tell_the_same_of_power_cuts() {
    let place = Place::new();
    let (tool, image) = (place.dir("tool.sh"), place.dir("a.img"));
    fs::write(&tool, HALF_FLUSHED).unwrap();
    fs::write(&image, [7; 64 << 10]).unwrap();
    let [tool, image] = [tool, image].map(|path| path.display().to_string());
    let check =
        format!("[ \"$(head -c 7 {image})\" != 'block 0' ] || cmp -n 4096 {image} {{baseline}}/a.img");
    let sweep = |name: &str, options: &[&str]| {
        let exec = ["exec", "--image", &image, "--seed", "1", "--model", "power", "--check", &check];
        place.run(name, &[&exec[..], options, &["--", "sh", &tool, &image]].concat())
    };
    let output = sweep("one", &["--jobs", "1"]);
    assert_eq!(code(&output), Some(0), "{}", text_of(&output));
    let one = place.report("one");
    assert!(one["power"][0]["epochs"].as_array().is_some_and(|epochs| epochs.len() == 3), "{one:#}");
    sweep("two", &["--jobs", "2"]);
    assert_eq!(place.report("two"), one, "two workers");
    let dirs: Vec<PathBuf> = ["1/3", "2/3", "3/3"]
        .iter()
        .map(|shard| {
            let name = shard.replace('/', "-");
            sweep(&name, &["--jobs", "1", "--shard", shard]);
            place.dir(&name)
        })
        .collect();
    let mut merge = Command::new(env!("CARGO_BIN_EXE_killpoint"));
    let merged = merge.arg("report").args(&dirs).arg("--run-dir").arg(place.dir("merged")).output().unwrap();
    assert_eq!(code(&merged), Some(0), "{}", text_of(&merged));
    assert_eq!(but_for_proofs(place.report("merged")), but_for_proofs(one), "three shards");
}

/// Flushes what it wrote before it says so, but takes what it finds for flushed: a killed run may not have come to that.
const TRUSTING: &str = r#"set -e
[ -s "$1/done" ] && exit 0
[ -s "$1/data" ] || { printf data > "$1/data"; sync "$1/data"; }
printf yes > "$1/done"; sync "$1/done"
"#;

#[test]
fn a_resume_that_trusts_what_a_killed_run_had_not_flushed_is_found_by_power_cuts_of_resumes_alone() {
    let place = Place::new();
    let (tool, volume) = (place.dir("tool.sh"), place.dir("volume"));
    let sweep = |name: &str, script: &str, nested: &str| {
        fs::write(&tool, script).unwrap();
        let _ = fs::remove_dir_all(&volume);
        fs::create_dir(&volume).unwrap();
        for file in ["data", "done"] {
            fs::write(volume.join(file), "").unwrap();
        }
        let [tool, volume] = [&tool, &volume].map(|path| path.display().to_string());
        let options = ["--seed", "1", "--model", "power", "--durability", "posix", "--nested", nested];
        let command = ["--", "sh", &tool, &volume];
        place.run(name, &[&["exec", "--volume", &volume][..], &options, &command].concat())
    };
    let plain = sweep("plain", TRUSTING, "0");
    assert_eq!(code(&plain), Some(0), "{}", text_of(&plain));
    let nested = sweep("nested", TRUSTING, "50");
    assert_eq!(code(&nested), Some(1), "{}", text_of(&nested));
    let report = place.report("nested");
    let cuts = &report["resume_cuts"][0];
    assert!(cuts["looked_at"] == cuts["possible"] && cuts["failed"] != 0, "{cuts}");
    let finding = &report["findings"][0];
    assert_eq!(finding["verdict"], "diverged", "{finding:#}");
    let point = finding["point"].as_str().unwrap();
    assert!(point.contains(", then power cut after op "), "{finding:#}");
    let explain = finding["explain"].as_str().unwrap();
    assert!(explain.contains("data"), "{finding:#}");
    let kept = format!("nested#{}", finding["id"].as_str().unwrap());
    for (name, what) in [("live", finding["token"].as_str().unwrap()), ("kept", &kept)] {
        let again = place.run(name, &["repro", what, "--yes"]);
        assert_eq!(code(&again), Some(1), "{what}: {}", text_of(&again));
    }
    let mended = TRUSTING.replace(
        "printf data > \"$1/data\"; sync \"$1/data\"; }",
        "printf data > \"$1/data\"; }\nsync \"$1/data\"",
    );
    assert_ne!(mended, TRUSTING);
    let mended = sweep("mended", &mended, "50");
    assert_eq!(code(&mended), Some(0), "{}", text_of(&mended));
}

/// Bounds that leave a test's time to others; the scenarios are swept whole by hand.
const FEW: [&str; 6] = ["--model", "power", "--max-drops", "1", "--power-samples", "40"];

#[test]
fn a_database_that_flushes_keeps_what_it_committed_and_one_that_does_not_loses_it_to_power_cuts_alone() {
    let place = Place::new();
    for scenario in ["sqlite-delete", "sqlite-wal"] {
        let output = place.sweep(scenario, &[&FEW[..], &["--torn", "1"]].concat());
        assert_eq!(code(&output), Some(0), "{scenario}: {}", text_of(&output));
    }
    let options = [&FEW[..], &["--torn", "none"]].concat();
    let output = place.sweep("sqlite-async", &options);
    assert_eq!(code(&output), Some(0), "all of it is expected: {}", text_of(&output));
    let report = place.report(&format!("sqlite-async{}", options.concat()));
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["model"] == "power"), "{findings:?}");
    let told =
        |what: &str| findings.iter().any(|finding| finding["explain"].as_str().unwrap().contains(what));
    assert!(told("was committed and is gone"), "what was acknowledged counts: {findings:?}");
}

#[test]
fn a_rename_without_a_flush_loses_the_file_by_every_rule_of_what_a_flush_covers() {
    let place = Place::new();
    for rule in ["disk", "ordered", "posix"] {
        let options = ["--model", "power", "--durability", rule];
        let output = place.sweep("rename-unsynced", &options);
        assert_eq!(code(&output), Some(0), "it is expected: {}", text_of(&output));
        let report = place.report(&format!("rename-unsynced{}", options.concat()));
        let findings = report["findings"].as_array().unwrap();
        assert!(findings.iter().all(|finding| finding["model"] == "power"), "{rule}: {findings:?}");
        assert!(findings.iter().any(|finding| finding["oracle"] == "old or new"), "{rule}: {findings:?}");
        let output = place.sweep("rename-synced", &options);
        assert_eq!(code(&output), Some(0), "{rule}: {}", text_of(&output));
    }
    // A device that ignores flushes keeps nothing that it promised.
    let options = ["--model", "power", "--device", "eatmydata"];
    let output = place.sweep("rename-synced", &options);
    assert_eq!(code(&output), Some(1), "{}", text_of(&output));
    let report = place.report(&format!("rename-synced{}", options.concat()));
    let findings = report["findings"].as_array().unwrap();
    let durable = findings.iter().find(|finding| finding["oracle"] == "durable").expect("exit 0 promised it");
    let output = place.run("again", &["repro", durable["token"].as_str().unwrap()]);
    assert_eq!(code(&output), Some(1), "{}", text_of(&output));
}

#[test]
fn each_flush_is_weighed() {
    let place = Place::new();
    let rows_of = |name: &str, scenario: &str| {
        let output = place.run(name, &["barriers", scenario, "--seed", "1"]);
        assert_eq!(code(&output), Some(0), "{}", text_of(&output));
        place.report(name)["barriers"].as_array().unwrap().clone()
    };
    let barriers = |scenario: &str| {
        rows_of(scenario, scenario)
            .into_iter()
            .map(|row| (row["what"].as_str().unwrap().to_owned(), !row["failure"].is_null()))
            .collect::<Vec<_>>()
    };
    let rows = barriers("rename-synced");
    let what = |file: &str, weight| (format!("fsync of volume{file}"), weight);
    assert_eq!(rows, [what("/config.tmp", true), what("", true)]);
    // Two table writes and the run's end. What is before the first flush only an earlier run can have written.
    let rows = rows_of("one-move", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/one-move.toml"));
    let ops: Vec<u64> = rows.iter().filter_map(|row| row["op"].as_u64()).collect();
    assert_eq!(ops, [1, 4, 9, 12, 15], "{rows:#?}");
    let point = |row: &Value| row["failure"]["point"].as_str().unwrap_or("no weight").to_owned();
    assert!(rows.iter().all(|row| point(row).contains("power cut after op")), "{rows:#?}");
    let in_a_resume: Vec<bool> = rows.iter().map(|row| point(row).contains(", then power cut")).collect();
    assert_eq!(in_a_resume, [true, false, false, false, false], "{rows:#?}");
    // Both of sgdisk's flushes come last, so that either makes the other useless.
    assert_eq!(barriers("sgdisk-new").iter().map(|(_, weight)| *weight).collect::<Vec<_>>(), [false, false]);
}

#[test]
fn one_phase_alone_is_judged_as_it_is_with_the_others() {
    let place = Place::new();
    let sweep = |options: &[&str]| place.sweep("clone-file", &[&["--model", "power"], options].concat());
    let output = sweep(&["--phase", "replaced"]);
    assert_eq!(code(&output), Some(2), "{}", text_of(&output));
    assert!(text_of(&output).contains("no phase `replaced`; it has: new, replace"), "{}", text_of(&output));
    assert!(!place.dir("clone-file--modelpower--phasereplaced").exists());
    assert_eq!(code(&sweep(&["--phase", "replace"])), Some(0));
    assert_eq!(code(&sweep(&[])), Some(0));
    let told = |name: &str| {
        let mut points = [place.points(name, "kill"), place.points(name, "power")].concat();
        points.iter_mut().for_each(|point| drop(point.as_object_mut().unwrap().remove("wall_ms")));
        points
    };
    let (alone, mut both) = (told("clone-file--modelpower--phasereplace"), told("clone-file--modelpower"));
    assert!(both.iter().any(|point| point["phase"] == "new"), "{both:#?}");
    both.retain(|point| point["phase"] == "replace");
    assert!(!alone.is_empty() && alone == both, "{alone:#?}\n{both:#?}");
    let said = &place.report("clone-file--modelpower--phasereplace")["not_tested"];
    assert!(said.to_string().contains("phase `new`, which `--phase` left out"), "{said}");
}

/// Nothing has to be resumed to see it, so it comes before all that a short budget leaves no time for.
#[test]
fn what_a_tool_did_not_flush_at_its_end_is_found_within_any_budget() {
    let place = Place::new();
    let options = ["--model", "power", "--budget", "5s", "--no-shrink", "--bug", "no-flush-primary"];
    let output = place.sweep("mixed-layout", &options);
    assert_eq!(code(&output), Some(1), "{}", text_of(&output));
    let report = place.report(&format!("mixed-layout{}", options.concat()));
    let finding = &report["findings"][0];
    assert_eq!(finding["oracle"], "durable", "{report:#}");
    let missing = "there is no flush after op 1663 (primary GPT array, shrinkPartitions) before the tool says that it is done";
    assert!(finding["explain"].as_str().is_some_and(|text| text.contains(missing)), "{report:#}");
    assert!(report["not_tested"].to_string().contains("budget left no time"), "{report:#}");
}

/// The lost write and the one that must not come before it is durable: the missing flush is between them.
#[test]
fn a_flush_that_is_missing_between_the_copies_of_a_table_is_named() {
    let place = Place::new();
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/one-move.toml");
    let options = ["--model", "power", "--no-shrink", "--bug", "no-flush-backup", "--seed", "1"];
    let output = place.run("bug", &[&["sweep", scenario], &options[..]].concat());
    assert_eq!(code(&output), Some(1), "{}", text_of(&output));
    let report = place.report("bug");
    let explain = report["findings"][0]["explain"].as_str().unwrap_or_default();
    let missing = "there is no flush between op 2 (backup GPT array, createPartitions) and op 4 (primary GPT array, createP";
    assert!(explain.contains(missing), "{report:#}");
}

#[test]
fn files_of_a_mounted_file_system_are_whole_where_they_were_flushed_and_may_be_empty_where_not() {
    assert!(Path::new("/dev/loop-control").exists(), "this test needs loop devices");
    let place = Place::new();
    let sweep = |scenario: &str, budget| {
        let options = [&FEW[..], &["--torn", "none", "--budget", budget]].concat();
        let output = place.sweep(scenario, &options);
        (text_of(&output), code(&output), format!("{scenario}{}", options.concat()))
    };
    // An ext4 that flushes nothing for a file by itself, as its option says; xfs never does, and btrfs always.
    for (fs, guards, budget) in [("ext4", false, "60s"), ("xfs", false, "15s"), ("btrfs", true, "10s")] {
        let (text, how, name) = sweep(&format!("{fs}-rename-synced"), budget);
        assert!(matches!(how, Some(0 | 4)), "{text}");
        assert_eq!(place.report(&name)["findings"], Value::Array(vec![]), "{text}");
        let (text, _, name) = sweep(&format!("{fs}-rename-unsynced"), budget);
        let report = place.report(&name);
        assert!(report["states"]["judged"].as_u64() > Some(10), "{text}");
        let findings = report["findings"].as_array().unwrap();
        assert_eq!(findings.iter().any(|finding| finding["oracle"] == "old or new"), !guards, "{text}");
        if !guards {
            // The kernel writes something else in the next run, but the state is kept.
            let finding = format!("{}#F1", place.dir(&name).display());
            let output = place.run(&format!("kept-{fs}"), &["repro", &finding]);
            assert_eq!(code(&output), Some(1), "{}", text_of(&output));
        }
    }
}
