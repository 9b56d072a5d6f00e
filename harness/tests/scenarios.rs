//! Goal: every scenario that ships passes under live random kills, and every planted bug is caught and brought back
//! by its token. Method: the binary is run as a person would, a few iterations each, and its report is read. A case
//! whose programs are missing is reported as ignored, by name. Of a few long sweeps a part is judged;
//! `KILLPOINT_TEST_SWEEPS=all` judges all of each.

mod common;

use std::collections::BTreeSet;
use std::process::ExitCode;

use common::{Bench, text_of};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

/// Tests side by side: each waits for three turns of the clock's second in each phase, whatever the number of CPUs.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let mut trials: Vec<Trial> = Vec::new();
    for shipped in scenarios::shipped() {
        let name = shipped.name;
        if shipped.is_image() {
            trials.push(trial(format!("image::{name}"), name, move || no_point_is_a_finding(name)));
            continue;
        }
        if is_mounted(name) {
            continue;
        }
        if shipped.is_open() {
            trials.push(trial(format!("open::{name}"), name, move || finds_what_is_expected(name)));
            continue;
        }
        trials.push(trial(format!("in_process::{name}"), name, move || passes(name, "in-process")));
        trials.push(trial(format!("fuse::{name}"), name, move || passes(name, "fuse")));
    }
    trials.push(trial("gpt_delay::mixed-layout".to_owned(), "mixed-layout", kills_land_inside_table_writes));
    for (bug, oracle, explained) in RESIZER_BUGS {
        let name = format!("planted::{bug}");
        trials.push(trial(name, "mixed-layout", move || is_caught_and_brought_back(bug, oracle, explained)));
    }
    for (bug, scenario, oracle) in IMAGE_BUGS {
        let name = format!("planted::{bug}::{scenario}");
        trials.push(trial(name, scenario, move || is_found_by_a_sweep(bug, scenario, oracle)));
    }
    for (bug, scenario) in MERGED {
        let name = format!("merged::{bug}::{scenario}");
        trials.push(trial(name, scenario, move || is_found_whatever_is_merged(bug, scenario)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Planted bugs of the resizer that SIGKILLs show, the oracle that finds them where it is always the same, and what the
/// explanation's first line has to name: the structure that is wrong, and the step that the bug is in. Those that take a
/// power cut are explained in the tests of explanations.
const RESIZER_BUGS: [(&str, Option<&str>, &[&str]); 2] = [
    ("naive-copy-back", None, &["partition `P3` (index 9): ", "ext4", "step shrinkFilesystems"]),
    ("random-guid", Some("baseline"), &["primary GPT entry ", "unique GUID is ", "step updatePartitions"]),
];

/// Planted bugs of the image tools, the scenarios that are there to find them, and the oracle that does. One that writes
/// under the final name is caught at the crash, before any resume could mend it.
const IMAGE_BUGS: [(&str, &str, &str); 9] = [
    ("chain-error-is-end", "gc-torn-overlay", "untouched"),
    ("grace-0", "gc-flood", "exit"),
    ("half-target", "clone-file", "never incomplete under its name"),
    ("half-target", "work-disk", "never incomplete under its name"),
    ("hardlink-memory", "fork-life", "isolation"),
    ("holes-marked-used", "image-from-tree", "e2fsck"),
    ("in-place-build", "image-from-tar", "never incomplete under its name"),
    ("in-place-build", "image-from-tree", "never incomplete under its name"),
    ("no-reserve", "admit-need", "exit"),
];

/// Planted bugs, and scenarios with states that are merged or proven, of which each kind of finding must remain.
const MERGED: [(&str, &str); 2] =
    [("chain-error-is-end", "gc-torn-overlay"), ("hardlink-memory", "fork-life")];

/// Sweeps of which the usual test run judges one part, and of how many; parts hold whole states, of every model.
const LONG_SWEEPS: [(&str, u32); 3] = [("gc-flood", 4), ("gc-scale", 4), ("ntfsresize", 4)];

/// How many parts a scenario's sweep is divided into, of which the first is judged.
fn parts(scenario: &str) -> u32 {
    let all = std::env::var("KILLPOINT_TEST_SWEEPS").is_ok_and(|which| which == "all");
    LONG_SWEEPS.iter().find(|(name, _)| *name == scenario && !all).map_or(1, |(_, parts)| *parts)
}

/// Sweeps a scenario and expects an exit code.
fn sweep(bench: &Bench, scenario: &str, options: &[&str], code: i32) -> Result<Value, Failed> {
    let shard = format!("1/{}", parts(scenario));
    let arguments = [&[scenario, "--seed", "1", "--shard", &shard], options].concat();
    let output = bench.killpoint("sweep", &arguments).output()?;
    if output.status.code() != Some(code) {
        return Err(format!("expected exit {code}: {}", text_of(&output)).into());
    }
    let report = bench.report();
    let (explored, planned) = (report["points"]["explored"].as_u64(), report["points"]["planned"].as_u64());
    match parts(scenario) {
        1 => expect(explored == planned, "every point", &report)?,
        _ => expect(explored > Some(20) && explored < planned, "a good part of the points", &report)?,
    }
    Ok(report)
}

/// A case that needs what a scenario requires.
fn trial(
    name: String,
    scenario: &'static str,
    test: impl Fn() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        let resolved = scenarios::load(scenario, None)?;
        let missing: Vec<_> =
            resolved.scenario.requires.iter().filter(|p| scenarios::programs::find(p).is_none()).collect();
        if !missing.is_empty() {
            return Ok(Completion::ignored_with(format!("not installed: {missing:?}")));
        }
        test().map(|()| Completion::Completed)
    })
}

/// Runs `killpoint run` and expects an exit code.
fn run(bench: &Bench, arguments: &[&str], code: i32) -> Result<Value, Failed> {
    let output = bench.killpoint("run", arguments).output()?;
    if output.status.code() != Some(code) {
        return Err(format!("expected exit {code}: {}", text_of(&output)).into());
    }
    Ok(bench.report())
}

fn expect(holds: bool, what: &str, report: &Value) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(format!("{what}: {report:#}").into()) }
}

fn passes(scenario: &str, seam: &str) -> Result<(), Failed> {
    let bench = Bench::new();
    let iterations = if seam == "fuse" { "2" } else { "4" };
    let report = run(&bench, &[scenario, "--iterations", iterations, "--seed", "1", "--seam", seam], 0)?;
    expect(report["seam"] == seam, "the seam", &report)?;
    let planned: usize =
        bench.events("planned").iter().filter_map(|event| Some(event["kills"].as_array()?.len())).sum();
    expect(report["points"]["landed"] == planned as u64, "every planned kill landed", &report)?;
    // A tool that refuses writes nothing, so that every crash state is the start; any other one has inner states.
    let refuses = report["baseline"]["ops"] == 0;
    expect(refuses == ["no-space", "shrink-below-used"].contains(&scenario), "who refuses", &report)?;
    expect((report["interior"]["kills"] == 0) == refuses, "inner states", &report)?;
    let phases = report["phases"].as_array().map_or(0, Vec::len);
    expect(!refuses || report["states"]["distinct"] == phases, "one state per phase", &report)?;
    expect(report["findings"].as_array().is_some_and(Vec::is_empty), "no finding", &report)
}

/// Every crash point of a tool that is not ours: what is known of it appears, nothing else, and live kills leave the
/// recorded states. Of sgdisk and growpart the counts are known from their write order.
fn finds_what_is_expected(scenario: &str) -> Result<(), Failed> {
    let bench = Bench::new();
    let report = sweep(&bench, scenario, &["--live-checks", "10"], 0)?;
    expect(report["points"]["attempted"] != 0, "live kills were made", &report)?;
    expect(report["points"]["landed"] == report["points"]["attempted"], "live kills agree", &report)?;
    expect(report["expected"]["vanished"] == 0, "nothing vanished", &report)?;
    if scenario.starts_with("sgdisk") || scenario == "growpart" {
        expect(report["states"]["distinct"] == 5, "distinct states", &report)?;
        expect(report["gpt"]["no_valid_copy"] == 0, "a valid copy at every point", &report)?;
    }
    if scenario == "sgdisk-new" {
        // Five mutations and two flushes: the states after the backup array, the backup header and the primary array
        // have copies that disagree.
        let points = bench.events("point");
        let disagree =
            points.iter().filter(|point| point["torn_bytes"].is_null() && point["gpt"]["clean"] == false);
        expect(disagree.count() == 3, "whole ops that leave the copies disagreeing", &report)?;
    }
    let Some(finding) = report["findings"].as_array().and_then(|findings| findings.first()) else {
        return Ok(());
    };
    page_shows_the_bytes(&bench)?;
    let token = finding["token"].as_str().unwrap_or_default();
    let again = bench.dir.path().join("again");
    let kept = format!("{}#{}", bench.run_dir().display(), finding["id"].as_str().unwrap_or_default());
    for what in [token, &kept] {
        let _ = std::fs::remove_dir_all(&again);
        let mut repro = std::process::Command::new(env!("CARGO_BIN_EXE_killpoint"));
        let output = repro.args(["repro", what, "--run-dir"]).arg(&again).output()?;
        if output.status.code() != Some(1) {
            return Err(format!("{what} does not fail again: {}", text_of(&output)).into());
        }
    }
    Ok(())
}

/// The page of a sweep, and the one that is made of its run directory later, have the bytes of its findings.
fn page_shows_the_bytes(bench: &Bench) -> Result<(), Failed> {
    let made_later = bench.dir.path().join("page.html");
    let mut report = std::process::Command::new(env!("CARGO_BIN_EXE_killpoint"));
    let output = report.arg("report").arg(bench.run_dir()).arg("--html").arg(&made_later).output()?;
    let page = std::fs::read_to_string(bench.run_dir().join("report.html"))?;
    if !page.contains("<details class=\"bytes\">") {
        return Err("the page shows no bytes".into());
    }
    match std::fs::read_to_string(&made_later)? == page {
        true => Ok(()),
        false => Err(format!("the page that is made later is another one: {}", text_of(&output)).into()),
    }
}

/// Whether the kernel writes, below a file system that it mounts: something else every time, so that neither live kills nor
/// tokens can be compared. The tests of power cuts sweep these.
fn is_mounted(scenario: &str) -> bool {
    ["ext4-rename", "xfs-rename", "btrfs-rename"].iter().any(|mounted| scenario.starts_with(mounted))
}

/// Every op of a tool of ours that writes files, a sample of the places inside its writes, and what power cuts leave; of
/// the long sweeps the latter is left to `KILLPOINT_TEST_SWEEPS=all`.
fn no_point_is_a_finding(scenario: &str) -> Result<(), Failed> {
    let bench = Bench::new();
    let models = if parts(scenario) == 1 { "kill,torn,power" } else { "kill,torn" };
    let report = sweep(&bench, scenario, &["--live-checks", "10", "--model", models], 0)?;
    expect(report["points"]["landed"] == report["points"]["attempted"], "live kills agree", &report)?;
    expect(report["states"]["distinct"].as_u64() > Some(5), "inner states", &report)
}

/// A bug is a finding of a sweep, and of the oracle that guards against it.
fn is_found_by_a_sweep(bug: &str, scenario: &str, oracle: &str) -> Result<(), Failed> {
    let bench = Bench::new();
    let report = sweep(&bench, scenario, &["--live-checks", "0", "--bug", bug], 1)?;
    let findings = report["findings"].as_array().ok_or("a list of findings")?;
    expect(findings.iter().any(|finding| finding["oracle"] == oracle), "the oracle that guards it", &report)
}

/// What is merged or proven in place of being judged hides no bug: the same oracles object as when everything is judged.
fn is_found_whatever_is_merged(bug: &str, scenario: &str) -> Result<(), Failed> {
    let found = |options: &[&str]| -> Result<(BTreeSet<(String, String)>, u64), Failed> {
        let bench = Bench::new();
        let common = ["--live-checks", "0", "--no-shrink", "--model", "kill,torn,power", "--bug", bug];
        let report = sweep(&bench, scenario, &[&common[..], options].concat(), 1)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let findings = report["findings"].as_array().ok_or("a list of findings")?;
        let kinds = findings.iter().map(|found| (text(&found["verdict"]), text(&found["oracle"]))).collect();
        let states = &report["states"];
        Ok((kinds, states["merged"].as_u64().unwrap_or(0) + states["unread"].as_u64().unwrap_or(0)))
    };
    let ((with, spared), (without, none)) = (found(&[])?, found(&["--no-merge"])?);
    if with != without || spared == 0 || none != 0 {
        return Err(format!("merged {spared}: {with:?}; merged {none}: {without:?}").into());
    }
    Ok(())
}

/// Where a kill falls is a matter of chance, so a few campaigns may be needed until each place was hit; that nothing
/// is found must hold in all of them.
fn kills_land_inside_table_writes() -> Result<(), Failed> {
    const CAMPAIGNS: usize = 6;
    let mut wanted: BTreeSet<(&str, &str)> = [
        ("kills_by_step", "preflight"),
        ("kills_by_step", "shrinkFilesystems"),
        ("kills_by_step", "shrinkPartitions"),
        ("kills_by_step", "createPartitions"),
        ("kills_by_step", "copyFilesystems"),
        ("kills_by_step", "updatePartitions"),
        ("gpt", "torn_primary"),
        ("gpt", "torn_backup"),
        ("gpt", "mismatch"),
    ]
    .into();
    for seed in 1..=CAMPAIGNS {
        let bench = Bench::new();
        let seed = seed.to_string();
        let delay = ["--gpt-delay", "10ms", "--seam", "in-process"];
        let arguments = [&["mixed-layout", "--iterations", "20", "--seed", &seed][..], &delay].concat();
        let report = run(&bench, &arguments, 0)?;
        expect(report["gpt"]["no_valid_copy"] == 0, "one copy is always valid", &report)?;
        wanted.retain(|(table, row)| report[table][row].as_u64() == Some(0));
        if wanted.is_empty() {
            return Ok(());
        }
    }
    Err(format!("not hit in {CAMPAIGNS} campaigns: {wanted:?}").into())
}

fn is_caught_and_brought_back(bug: &str, oracle: Option<&str>, explained: &[&str]) -> Result<(), Failed> {
    let bench = Bench::new();
    let report = run(
        &bench,
        &["mixed-layout", "--iterations", "100", "--max-findings", "1", "--seed", "1", "--bug", bug],
        1,
    )?;
    let finding = &report["findings"][0];
    if let Some(oracle) = oracle {
        expect(finding["oracle"] == oracle, "the oracle that guards it", &report)?;
    }
    // What the oracles say comes first.
    let story = finding["explain"].as_str().and_then(|text| text.lines().nth(1)).unwrap_or_default();
    expect(explained.iter().all(|words| story.contains(words)), "structure and step are named", finding)?;
    let kept = bench.run_dir().join("explanations/F1.json");
    expect(kept.is_file(), "the explanation is kept as data", finding)?;
    let token = finding["token"].as_str().ok_or("a finding has a token")?;
    for _ in 0..3 {
        let again = Bench::new();
        let output = again.killpoint("repro", &[token]).output()?;
        if output.status.code() != Some(1) {
            return Err(format!("`{token}` is not brought back: {}", text_of(&output)).into());
        }
        let found = &again.report()["findings"][0];
        expect(found["verdict"] == finding["verdict"], "the same verdict", found)?;
        expect(found["oracle"] == finding["oracle"], "the same oracle", found)?;
    }
    Ok(())
}
