//! Goal: what a finding is reduced to fails again, always, in the same way, has no more faults than the finding, and can't be
//! reduced further. Method: each planted bug is found as a person would find it, by `run` or `sweep`; its token is reduced by
//! `killpoint shrink`, and the reduced one brought back by `killpoint repro`, `KILLPOINT_TEST_REPROS` times (3 by default).
//! A case whose programs are missing is reported as ignored, by name.

mod common;

use std::path::Path;
use std::process::{Command, ExitCode, Output};

use common::{Bench, text_of};
use killpoint::token::{Token, TokenKill};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

/// Reproductions of each reduced token.
const REPROS: u32 = 3;

/// Cases at once: most of the time a campaign sleeps into the next second, to see what depends on the clock.
const THREADS: usize = 6;

/// How a planted bug is found, and what is wanted of what it is reduced to.
#[derive(Clone, Copy)]
struct Bug {
    name: &'static str,
    /// A scenario that ships, or the one below.
    scenario: &'static str,
    command: &'static [&'static str],
    /// The campaign reduces it by itself.
    automatic: bool,
}

/// A scenario in which the resizer's missing flushes show when the power fails, in a table's update that is short enough to
/// look at every set of lost ops.
const ONE_MOVE: &str = "one-move";

/// `gc-flood` with one start: the order of concurrent ones is another in each run, so that no op's number means the same
/// twice, and only the state that a run directory keeps brings a finding back.
const ONE_START: &str = "gc-flood, one start";

const SWEEP: &[&str] = &["sweep", "--seed", "1", "--live-checks", "0"];
const POWER: &[&str] = &["sweep", "--seed", "1", "--live-checks", "0", "--model", "power", "--torn", "none"];
const RUN: &[&str] = &["run", "--seed", "1", "--iterations", "100", "--max-findings", "1", "--kills", "3"];

const BUGS: [Bug; 13] = [
    Bug { name: "naive-copy-back", scenario: "mixed-layout", command: RUN, automatic: true },
    Bug { name: "random-guid", scenario: "mixed-layout", command: RUN, automatic: true },
    Bug { name: "no-flush-backup", scenario: ONE_MOVE, command: POWER, automatic: false },
    Bug { name: "no-flush-primary", scenario: ONE_MOVE, command: POWER, automatic: false },
    Bug { name: "chain-error-is-end", scenario: "gc-torn-overlay", command: SWEEP, automatic: false },
    Bug { name: "grace-0", scenario: ONE_START, command: SWEEP, automatic: false },
    Bug { name: "half-target", scenario: "clone-file", command: SWEEP, automatic: false },
    Bug { name: "half-target", scenario: "work-disk", command: SWEEP, automatic: false },
    Bug { name: "hardlink-memory", scenario: "fork-life", command: SWEEP, automatic: false },
    Bug { name: "holes-marked-used", scenario: "image-from-tree", command: SWEEP, automatic: false },
    Bug { name: "in-place-build", scenario: "image-from-tar", command: SWEEP, automatic: false },
    Bug { name: "in-place-build", scenario: "image-from-tree", command: SWEEP, automatic: false },
    Bug { name: "no-reserve", scenario: "admit-need", command: SWEEP, automatic: false },
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let mut trials: Vec<Trial> = BUGS.into_iter().map(|bug| trial(bug, move || reduced(bug))).collect();
    for script in SCRIPTS {
        trials.push(Trial::test(script.name, move || reduced_by_itself(script)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A case that needs what a scenario requires.
fn trial(bug: Bug, test: impl Fn() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::ignorable_test(format!("planted::{}::{}", bug.name, bug.scenario), move || {
        let requires = match bug.scenario {
            ONE_MOVE => Vec::new(),
            ONE_START => vec!["qemu-img".to_owned()],
            shipped => scenarios::load(shipped, None)?.scenario.requires,
        };
        let missing: Vec<_> = requires.iter().filter(|p| scenarios::programs::find(p).is_none()).collect();
        if !missing.is_empty() {
            return Ok(Completion::ignored_with(format!("not installed: {missing:?}")));
        }
        test().map(|()| Completion::Completed)
    })
}

fn repros() -> u32 {
    std::env::var("KILLPOINT_TEST_REPROS").ok().and_then(|number| number.parse().ok()).unwrap_or(REPROS)
}

/// The bug is found, reduced, and what it is reduced to comes back every time.
fn reduced(bug: Bug) -> Result<(), Failed> {
    let bench = Bench::new();
    let file = scenario_of(&bench, bug.scenario)?;
    let found = find(&bench, bug, &file)?;
    let token = text(&found, "token")?;
    expect(
        found["shrunk_from"].is_string() || !bug.automatic || is_single(&token)?,
        "reduced as found",
        &found,
    )?;

    let small = shrink(&bench, &token, &file)?;
    alike(&small, &found)?;
    let least = text(&small, "token")?;
    expect(weight(&least)? <= weight(&token)?, "no heavier than what was found", &small)?;
    let again = shrink(&bench, &least, &file)?;
    expect(text(&again, "token")? == least, "what is minimal stays as it is", &again)?;
    for _ in 0..repros() {
        alike(&repro(&bench, &least, &file)?, &found)?;
    }
    Ok(())
}

/// The scenario's file; one that ships is named.
fn scenario_of(bench: &Bench, scenario: &str) -> Result<String, Failed> {
    let text = match scenario {
        ONE_MOVE => include_str!("data/one-move.toml").to_owned(),
        ONE_START => {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/image");
            let text = std::fs::read_to_string(folder.join("gc-flood.toml"))?;
            let text =
                text.replace("{scenario_dir}", folder.canonicalize()?.to_str().ok_or("a path of text")?);
            let text = text.replace("box-2.ext4", "box-1.ext4");
            text.replace("\"{volume}/home\", \"4\"", "\"{volume}/home\", \"1\"")
        }
        shipped => return Ok(shipped.to_owned()),
    };
    let path = bench.dir.path().join("own.toml");
    std::fs::write(&path, text)?;
    Ok(path.to_str().ok_or("a path of text")?.to_owned())
}

/// The first finding of a campaign, or the first with several faults where those are to be reduced as they are found.
fn find(bench: &Bench, bug: Bug, file: &str) -> Result<Value, Failed> {
    let (command, options) = bug.command.split_first().ok_or("a command")?;
    let arguments = [&[file, "--bug", bug.name], options].concat();
    let output = bench.killpoint(command, &arguments).output()?;
    exits_with(1, &output)?;
    let report = bench.report();
    let findings = report["findings"].as_array().ok_or("findings")?;
    let reduced = findings.iter().find(|finding| finding["shrunk_from"].is_string());
    let found = reduced.filter(|_| bug.automatic).or(findings.first()).ok_or("a finding")?;
    if bug.automatic
        && let Some(before) = found["shrunk_from"].as_str()
    {
        let after = text(found, "token")?;
        expect(weight(&after)? < weight(before)?, "less than what was found first", found)?;
    }
    Ok(found.clone())
}

fn shrink(bench: &Bench, token: &str, file: &str) -> Result<Value, Failed> {
    once_more(bench, "shrink", token, file)
}

fn repro(bench: &Bench, token: &str, file: &str) -> Result<Value, Failed> {
    once_more(bench, "repro", token, file)
}

/// The one finding of a command that brings a token back.
fn once_more(bench: &Bench, command: &str, token: &str, file: &str) -> Result<Value, Failed> {
    let place = tempfile::tempdir_in(bench.dir.path())?;
    let run_dir = place.path().join("run");
    let mut killpoint = Command::new(env!("CARGO_BIN_EXE_killpoint"));
    killpoint.args([command, token, "--run-dir"]).arg(&run_dir).current_dir(bench.dir.path());
    if Path::new(file).is_absolute() {
        killpoint.args(["--scenario", file]);
    }
    exits_with(1, &killpoint.output()?)?;
    let report: Value = serde_json::from_str(&std::fs::read_to_string(run_dir.join("report.json"))?)?;
    Ok(report["findings"][0].clone())
}

/// A tool that is no file of the scenario's own folder, and what its campaign reduces by itself.
#[derive(Clone, Copy)]
struct Script {
    name: &'static str,
    files: [(&'static str, &'static str); 2],
    options: &'static [&'static str],
    /// What every finding is reduced to.
    least: &'static str,
}

const SCRIPTS: [Script; 2] = [
    // Two interruptions show the bug, wherever they are; a third one is no part of it.
    Script {
        name: "closure::later_kills_of_resumes_come_earlier",
        files: [("own.toml", include_str!("data/twice.toml")), ("twice.sh", include_str!("data/twice.sh"))],
        options: &["--model", "kill", "--closure"],
        least: "a1k,a1k",
    },
    Script {
        name: "power::ops_that_do_not_matter_are_there_again",
        files: [("own.toml", include_str!("data/gap.toml")), ("gap.sh", include_str!("data/gap.sh"))],
        options: &["--model", "power"],
        least: "p3-2k",
    },
];

/// A sweep reduces its findings by itself; with `--no-shrink` it does not, and finds the same.
fn reduced_by_itself(script: Script) -> Result<(), Failed> {
    let bench = Bench::new();
    for (name, text) in script.files {
        std::fs::write(bench.dir.path().join(name), text)?;
    }
    let file = bench.dir.path().join("own.toml");
    let file = file.to_str().ok_or("a path of text")?;
    let (mut verdicts, mut reduced) = (Vec::new(), Vec::new());
    for more in [&["--no-shrink"][..], &[]] {
        let _ = std::fs::remove_dir_all(bench.run_dir());
        let options = ["--seed", "1", "--live-checks", "0"];
        let arguments = [&[file][..], &options, script.options, more].concat();
        exits_with(1, &bench.killpoint("sweep", &arguments).output()?)?;
        let report = bench.report();
        let findings = report["findings"].as_array().ok_or("findings")?;
        verdicts.push(findings.iter().map(|finding| finding["verdict"].clone()).collect::<Vec<_>>());
        let shrunk = findings.iter().filter(|finding| finding["shrunk_from"].is_string());
        reduced.push(shrunk.cloned().collect::<Vec<_>>());
    }
    expect(
        verdicts[0] == verdicts[1] && reduced[0].is_empty(),
        "the same findings",
        &verdicts.concat().into(),
    )?;
    expect(!reduced[1].is_empty(), "some are reduced", &Value::Null)?;
    for finding in &reduced[1] {
        let (least, before) = (text(finding, "token")?, text(finding, "shrunk_from")?);
        let faults = killpoint::token::faults_text(&least.parse::<Token>()?.kills);
        expect(faults == script.least && weight(&least)? < weight(&before)?, "the least", finding)?;
        expect(text(finding, "repro")?.contains(&least), "its line is about the reduced one", finding)?;
    }
    let first = &reduced[1][0];
    for token in [text(first, "token")?, text(first, "shrunk_from")?] {
        alike(&repro(&bench, &token, file)?, first)?;
        let least = shrink(&bench, &token, file)?;
        expect(text(&least, "token")? == text(first, "token")?, "the command comes to the same", &least)?;
    }
    let kept = format!("{}#{}", bench.run_dir().display(), text(first, "id")?);
    alike(&repro(&bench, &kept, file)?, first)
}

fn exits_with(code: i32, output: &Output) -> Result<(), Failed> {
    if output.status.code() == Some(code) {
        return Ok(());
    }
    Err(format!("expected exit {code}: {}", text_of(output)).into())
}

fn expect(holds: bool, what: &str, value: &Value) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(format!("{what}: {value:#}").into()) }
}

fn text(finding: &Value, field: &str) -> Result<String, Failed> {
    Ok(finding[field].as_str().ok_or_else(|| format!("no `{field}` in {finding:#}"))?.to_owned())
}

/// Verdict and oracle are the same.
fn alike(finding: &Value, other: &Value) -> Result<(), Failed> {
    expect(finding["verdict"] == other["verdict"], "the same verdict", finding)?;
    expect(finding["oracle"] == other["oracle"], "the same oracle", finding)
}

fn is_single(token: &str) -> Result<bool, Failed> {
    let token: Token = token.parse()?;
    Ok(token.kills.len() == 1 && token.kills[0].power.as_ref().is_none_or(|state| state.is_prefix()))
}

/// What a reduction makes less of: kills, lost ops, torn writes; then how late they are; then wiped scratch files.
fn weight(token: &str) -> Result<(usize, usize, u64, usize), Failed> {
    let token: Token = token.parse()?;
    let lost = |kill: &TokenKill| {
        kill.power.as_ref().map_or(0, |state| state.dropped.len() + usize::from(state.torn.is_some()))
    };
    // Half a sector's way is between two ops.
    let late = |kill: &TokenKill| match kill.fault {
        fault_backend::Fault::AtOp(op, fault_backend::Action::KillAfter) => 2 * op,
        fault_backend::Fault::AtOp(op, fault_backend::Action::KillBefore) => 2 * op - 2,
        fault_backend::Fault::AtOp(op, _) => 2 * op - 1,
        _ => u64::MAX,
    };
    let kills = &token.kills;
    Ok((
        kills.len(),
        kills.iter().map(lost).sum(),
        kills.iter().map(late).sum(),
        kills.iter().filter(|kill| kill.wipe).count(),
    ))
}
