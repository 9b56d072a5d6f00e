//! Goal: a finding can be looked at, and brought back elsewhere. Method: a script with a bug that two interruptions show is
//! swept; `repro --keep` has to leave the three states as they were, all or nothing; `--pause` has to stop while the crash
//! state can be seen; and the token alone, with another home, cache and working area, has to bring the finding back.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{Bench, text_of};

/// The scenario in a folder, and the token of its first finding.
struct Finding {
    bench: Bench,
    file: PathBuf,
    token: String,
}

impl Finding {
    fn new() -> Self {
        let bench = Bench::new();
        let file = scenario_in(bench.dir.path());
        let options = ["--seed", "1", "--model", "kill", "--closure", "--depth", "1", "--live-checks", "0"];
        let arguments = [&[file.to_str().unwrap()][..], &options].concat();
        let output = bench.killpoint("sweep", &arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
        let token = bench.report()["findings"][0]["token"].as_str().unwrap().to_owned();
        Self { bench, file, token }
    }

    /// A reproduction with options.
    fn repro(&self, token: &str, options: &[&str]) -> Command {
        let mut killpoint = Command::new(env!("CARGO_BIN_EXE_killpoint"));
        let run_dir = tempfile::tempdir_in(self.bench.dir.path()).unwrap().keep();
        killpoint.args(["repro", token, "--scenario"]).arg(&self.file).arg("--run-dir").arg(run_dir);
        killpoint.args(options).current_dir(self.bench.dir.path()).stdin(Stdio::null());
        killpoint
    }

    /// What lies in the folder of the test under a name like that of half-made states.
    fn left_over(&self) -> usize {
        let entries = fs::read_dir(self.bench.dir.path()).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        entries.map(name).filter(|name| name.to_string_lossy().starts_with(".killpoint")).count()
    }
}

fn scenario_in(folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("twice.sh"), include_str!("data/twice.sh")).unwrap();
    let file = folder.join("twice.toml");
    fs::write(&file, include_str!("data/twice.toml")).unwrap();
    file
}

fn exits_with(code: i32, output: &Output) {
    assert_eq!(output.status.code(), Some(code), "{}", text_of(output));
}

fn content(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_else(|error| format!("{file}: {error}"))
}

#[test]
fn the_states_are_kept_all_or_none() {
    let finding = Finding::new();
    let kept = finding.bench.dir.path().join("kept");
    let keep = ["--keep", kept.to_str().unwrap()];
    // Where there is no finding's state, nothing is made.
    let (front, last) = finding.token.split_at(finding.token.len() - 1);
    let other = format!("{front}{}", if last == "0" { "1" } else { "0" });
    let late = finding.token.replace(":a1k,a1k:", ":a1k,a900k:");
    assert!(other != finding.token && late != finding.token, "{}", finding.token);
    for token in [&other, &late] {
        exits_with(4, &finding.repro(token, &keep).output().unwrap());
        assert!(!kept.exists());
    }
    // An empty directory is taken.
    fs::create_dir(&kept).unwrap();
    exits_with(1, &finding.repro(&finding.token, &keep).output().unwrap());
    assert_eq!(content(&kept, "baseline/result"), "right\n");
    assert_eq!(content(&kept, "crash/result"), "none\n");
    assert_eq!(content(&kept, "resumed/result"), "wrong\n");
    assert!(kept.join("crash/once").is_file() && !kept.join("resumed/once").exists());
    for state in ["crash", "resumed", "baseline"] {
        let hole = fs::metadata(kept.join(state).join("hole")).unwrap();
        assert_eq!((hole.len(), hole.blocks()), (8 << 20, 0), "{state}");
    }
    let readme = content(&kept, "README.txt");
    for told in [&*finding.token, "diverged (baseline)", "resumed        what", "diff -rq resumed baseline"] {
        assert!(readme.contains(told), "no `{told}` in {readme}");
    }
    assert!(!readme.contains(".killpoint-keep"), "{readme}");
    assert_eq!(finding.left_over(), 0);
    // One that is not empty is not.
    let output = finding.repro(&finding.token, &keep).output().unwrap();
    exits_with(2, &output);
    assert!(text_of(&output).contains("is not an empty directory"), "{}", text_of(&output));
    assert_eq!(content(&kept, "README.txt"), readme);
    let below_nothing = finding.bench.dir.path().join("no/such/kept");
    exits_with(
        2,
        &finding.repro(&finding.token, &["--keep", below_nothing.to_str().unwrap()]).output().unwrap(),
    );
    // The state that the run directory keeps is left as well as one that is made live.
    let (named, again) = (format!("{}#F1", finding.bench.run_dir().display()), kept.with_extension("again"));
    exits_with(1, &finding.repro(&named, &["--keep", again.to_str().unwrap()]).output().unwrap());
    assert_eq!(content(&again, "resumed/result"), "wrong\n");
    assert_eq!(content(&again, "crash/once"), content(&kept, "crash/once"));
}

#[test]
fn a_pause_shows_the_crash_state_until_somebody_goes_on() {
    let finding = Finding::new();
    let mut killpoint = finding.repro(&finding.token, &["--pause"]);
    let mut child =
        killpoint.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut shown = String::new();
    while !shown.contains("look at it with") {
        assert_ne!(stderr.read_line(&mut shown).unwrap(), 0, "{shown}");
    }
    let crash = shown.lines().map(str::trim).find(|line| line.ends_with("/crash")).expect("a path");
    let crash = PathBuf::from(crash);
    assert_eq!(content(&crash, "result"), "none\n");
    assert!(!crash.with_file_name("resumed").exists());
    // It is a copy: what is done to it changes nothing.
    fs::remove_file(crash.join("once")).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    stderr.read_to_string(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{shown}");
    assert!(!crash.exists(), "a copy that nobody wants to keep is removed");

    let kept = finding.bench.dir.path().join("kept");
    let options = ["--pause", "--keep", kept.to_str().unwrap()];
    let output = finding.repro(&finding.token, &options).output().unwrap();
    exits_with(2, &output);
    assert!(text_of(&output).contains("--pause waits for a line"), "{}", text_of(&output));
    assert!(!kept.exists());
    assert_eq!(finding.left_over(), 0);
}

#[test]
fn a_token_brings_its_finding_back_where_nothing_else_is_the_same() {
    let here = Finding::new();
    let there = tempfile::tempdir().unwrap();
    let at = |name: &str| there.path().join(name);
    let moved = Finding { file: scenario_in(&at("elsewhere/scenarios")), bench: Bench::new(), ..here };
    fs::create_dir(at("work")).unwrap();
    let mut killpoint = moved.repro(&moved.token, &["--work-dir", at("work").to_str().unwrap()]);
    killpoint.env("HOME", at("home")).env("XDG_CACHE_HOME", at("cache")).env("TMPDIR", there.path());
    killpoint.env_remove("KILLPOINT_CACHE");
    let output = killpoint.output().unwrap();
    exits_with(1, &output);
    assert!(text_of(&output).contains("fails again: diverged"), "{}", text_of(&output));
    assert!(at("cache").is_dir(), "the fixture was built anew");
    assert_eq!(fs::read_dir(at("work")).unwrap().count(), 0, "nothing stays in the working area");

    // A scenario that is not the same any more is told apart, with what to do.
    let text = content(moved.file.parent().unwrap(), "twice.toml");
    fs::write(&moved.file, text.replace("echo none", "echo nothing")).unwrap();
    let output = moved.repro(&moved.token, &[]).output().unwrap();
    exits_with(2, &output);
    assert!(text_of(&output).contains("the scenario was changed since"), "{}", text_of(&output));
}
