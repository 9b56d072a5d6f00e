//! Goal: `doctor` says what a machine really offers and leaves nothing behind, `demo` shows what it promises, and every
//! command that prints for a person prints JSON for a program. Method: the binary is run; what a machine lacks is hidden
//! from it in a mount namespace of its own; the JSON of all commands is parsed. A case that can't run here is reported as
//! ignored, with what it needs.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Output};

use clap::CommandFactory;
use common::{Bench, text_of};
use killpoint::cli::Cli;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

type Case = (&'static str, &'static [&'static str], fn() -> Result<(), Failed>);

const CASES: &[Case] = &[
    ("doctor_finds_what_is_here_and_leaves_nothing", &["losetup"], finds),
    ("doctor_names_what_is_hidden_from_it", &["losetup", "unshare", "sqlite3", "e2fsck"], hidden),
    ("the_demo_finds_the_mistake_and_overwrites_nothing", &[], demo),
    ("what_every_command_prints_for_people_it_prints_as_json", &["losetup", "mke2fs", "sfdisk"], json),
];

fn main() -> ExitCode {
    let trials = CASES.iter().map(|(name, needs, run)| {
        Trial::ignorable_test(*name, move || {
            let missing: Vec<_> =
                needs.iter().filter(|program| scenarios::programs::find(program).is_none()).collect();
            if !missing.is_empty() {
                return Ok(Completion::ignored_with(format!("not installed: {missing:?}")));
            }
            match killpoint::seam::lacking() {
                _ if !nix::unistd::geteuid().is_root() => Ok(Completion::ignored_with("this needs root")),
                Some(why) => Ok(Completion::ignored_with(format!("this needs FUSE: {why}"))),
                None => run().map(|()| Completion::Completed),
            }
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

const KILLPOINT: &str = env!("CARGO_BIN_EXE_killpoint");

fn killpoint(bench: &Bench, arguments: &[&str]) -> Output {
    Command::new(KILLPOINT).args(arguments).current_dir(bench.dir.path()).output().unwrap()
}

fn parsed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text_of(output)))
}

/// State of a check by its name.
fn state<'a>(doctor: &'a Value, name: &str) -> &'a str {
    let checks = doctor["checks"].as_array().unwrap();
    let check =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check {name}"));
    check["state"].as_str().unwrap()
}

fn runs(doctor: &Value, scenario: &str) -> bool {
    let all = doctor["scenarios"].as_array().unwrap();
    all.iter().find(|one| one["name"] == scenario).unwrap()["runs"].as_bool().unwrap()
}

/// What must be the same before and after: mounts, and loop devices over files of killpoint's.
fn left_behind() -> (String, Vec<String>) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let loops =
        Command::new("losetup").args(["--list", "--noheadings", "--output", "BACK-FILE"]).output().unwrap();
    let loops = String::from_utf8(loops.stdout).unwrap();
    (mounts, loops.lines().filter(|line| line.contains("killpoint-work")).map(str::to_owned).collect())
}

fn finds() -> Result<(), Failed> {
    let bench = Bench::new();
    let before = left_behind();
    let output = killpoint(&bench, &["doctor", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    assert_eq!(left_behind(), before);
    let doctor = parsed(&output);
    for name in ["fuse", "subreaper", "seccomp sleeps", "seccomp sync", "working area", "cache", "cpus"] {
        assert_eq!(state(&doctor, name), "ok", "{}", text_of(&output));
    }
    assert_eq!(doctor["scenarios"].as_array().unwrap().len(), scenarios::shipped().len());
    assert_eq!(fs::read_dir(bench.dir.path()).unwrap().count(), 0, "it wrote something");
    let lines = String::from_utf8(killpoint(&bench, &["doctor"]).stdout).unwrap();
    let checks = lines.lines().take_while(|line| !line.is_empty());
    assert_eq!(checks.count(), doctor["checks"].as_array().unwrap().len(), "one line each: {lines}");
    Ok(())
}

/// Runs `doctor` where files are hidden: `/dev/null` is mounted over each, which nobody else sees.
fn doctor_without(hidden: &[&str], homeless: bool) -> (Option<i32>, Value) {
    let binds: String = hidden.iter().map(|path| format!("mount --bind /dev/null {path} && ")).collect();
    let script = format!("{binds} exec {KILLPOINT} doctor --format json");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    if homeless {
        command.env_remove("HOME").env_remove("XDG_CACHE_HOME").env_remove("KILLPOINT_CACHE");
    }
    let output = command.output().unwrap();
    (output.status.code(), parsed(&output))
}

fn hidden() -> Result<(), Failed> {
    let at = |program: &str| killpoint::tools::find_in_path(program).unwrap().canonicalize().unwrap();
    let [losetup, sqlite3, e2fsck] = ["losetup", "sqlite3", "e2fsck"].map(at);

    // A device that opens and is no FUSE: only a mount that is really tried tells.
    let (code, doctor) = doctor_without(&["/dev/fuse"], false);
    assert_eq!((code, state(&doctor, "fuse")), (Some(0), "refused"), "run has another seam: {doctor:#}");
    assert!(!runs(&doctor, "sgdisk-new") && runs(&doctor, "no-space"), "{doctor:#}");

    let (code, doctor) = doctor_without(&[losetup.to_str().unwrap()], false);
    assert_eq!((code, state(&doctor, "loop devices")), (Some(0), "missing"), "{doctor:#}");
    assert!(!runs(&doctor, "ext4-rename-synced") && runs(&doctor, "rename-synced"), "{doctor:#}");

    let (code, doctor) = doctor_without(&[sqlite3.to_str().unwrap()], false);
    assert_eq!((code, state(&doctor, "sqlite3")), (Some(0), "missing"), "{doctor:#}");
    assert!(!runs(&doctor, "sqlite-wal") && runs(&doctor, "sgdisk-new"), "{doctor:#}");
    assert!(doctor.to_string().contains("apt-get install sqlite3"), "{doctor:#}");

    let (code, doctor) = doctor_without(&[e2fsck.to_str().unwrap()], false);
    assert_eq!((code, state(&doctor, "e2fsprogs")), (Some(5), "missing"), "{doctor:#}");

    // Neither a tool nor what would build it.
    let mut command = Command::new(KILLPOINT);
    command.args(["doctor", "--format", "json"]).env("PATH", "/nowhere");
    let output = command.env_remove("CARGO").env_remove("KILLPOINT_TOOLS").output().unwrap();
    let doctor = parsed(&output);
    assert_eq!((output.status.code(), state(&doctor, "resizer")), (Some(5), "missing"), "{doctor:#}");
    assert!(!runs(&doctor, "no-space") && runs(&doctor, "sgdisk-new"), "{doctor:#}");

    let (code, doctor) = doctor_without(&[], true);
    assert_eq!((code, state(&doctor, "cache")), (Some(5), "missing"), "{doctor:#}");
    Ok(())
}

fn demo() -> Result<(), Failed> {
    let bench = Bench::new();
    let output = killpoint(&bench, &["demo", "--dir", "first"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    let dir = bench.dir.path().join("first");
    assert!(
        dir.join("in-place/report.html").is_file() && text.contains("first/in-place/report.html"),
        "{text}"
    );

    // The line that it prints brings the finding back, and the other one's absence is shown by the same means.
    let repro = text.lines().rev().find(|line| line.starts_with("  killpoint repro ")).expect("a repro line");
    let words = shell_words::split(repro).unwrap();
    let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    let again = killpoint(&bench, &words);
    assert_eq!(again.status.code(), Some(1), "{}", text_of(&again));
    fs::write(dir.join("set-option.sh"), fs::read(dir.join("set-option-mended.sh")).unwrap()).unwrap();
    let mended = killpoint(&bench, &["sweep", "first/in-place.toml"]);
    assert_eq!(mended.status.code(), Some(0), "{}", text_of(&mended));

    let taken = killpoint(&bench, &["demo", "--dir", "first"]);
    assert_eq!(taken.status.code(), Some(2), "{}", text_of(&taken));
    assert_eq!(
        fs::read(dir.join("set-option.sh")).unwrap(),
        fs::read(dir.join("set-option-mended.sh")).unwrap()
    );
    Ok(())
}

/// Trusts its own first byte, so that a kill inside its last write is not mended.
const TOOL: &str = "
[ \"$(head -c 1 $1)\" = x ] && exit 0
head -c 16384 /dev/zero | tr '\\0' x | dd of=$1 bs=16384 iflag=fullblock seek=1 conv=notrunc status=none
head -c 16384 /dev/zero | tr '\\0' x | dd of=$1 bs=16384 iflag=fullblock conv=notrunc status=none";

/// What each command is asked, and the exit code: those that read what others left come after them.
const ASKED: &[(&str, i32)] = &[
    ("list", 0),
    ("show in-place.toml", 0),
    ("doctor", 0),
    ("man --out man", 0),
    ("run in-place.toml --iterations 2 --seed 1 --run-dir run", 1),
    ("sweep in-place.toml --seed 1 --run-dir sweep", 1),
    ("exec --image blank.img --seed 1 --run-dir exec -- sh tool.sh blank.img", 1),
    ("barriers by-rename.toml --seed 1 --run-dir barriers", 0),
    ("preflight by-rename.toml", 0),
    ("report sweep", 1),
    ("report --compare sweep sweep", 0),
    ("repro sweep#F1 --scenario in-place.toml --run-dir repro", 1),
    ("shrink sweep#F1 --scenario in-place.toml --run-dir shrink", 1),
    ("export exec#F1 --out finding --yes", 0),
    ("replay-log finding/run.log clone.img", 0),
    ("import finding/run.log --image blank.img --seed 1 --run-dir import", 0),
    ("inspect disk.img", 0),
    ("on-mount fs.img --fs ext4 -- ls -d lost+found", 0),
    ("demo --dir demo", 0),
];

/// What it prints is for a shell.
const NOT_FOR_PEOPLE: [&str; 1] = ["completions"];

fn prepare(dir: &Path) {
    for name in ["in-place.toml", "by-rename.toml", "app.conf", "set-option.sh", "set-option-mended.sh"] {
        fs::write(dir.join(name), killpoint::demo::text_of(name).unwrap()).unwrap();
    }
    fs::write(dir.join("tool.sh"), TOOL).unwrap();
    for name in ["blank.img", "clone.img", "fs.img", "disk.img"] {
        let len = if name == "disk.img" { 8 << 20 } else { 32768 };
        fs::File::create(dir.join(name)).and_then(|file| file.set_len(len)).unwrap();
    }
    fs::File::create(dir.join("fs.img")).and_then(|file| file.set_len(4 << 20)).unwrap();
    let script = "mke2fs -q -t ext4 fs.img && echo 'label: gpt' | sfdisk --quiet disk.img";
    let made = Command::new("sh").args(["-c", script]).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", text_of(&made));
}

fn json() -> Result<(), Failed> {
    let bench = Bench::new();
    prepare(bench.dir.path());
    let mut seen: BTreeSet<&str> = NOT_FOR_PEOPLE.into();
    for (line, code) in ASKED {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        seen.insert(name);
        let rest = rest.split(' ').filter(|word| !word.is_empty());
        let words: Vec<&str> = [name, "--format", "json"].into_iter().chain(rest).collect();
        let output = killpoint(&bench, &words);
        assert_eq!(output.status.code(), Some(*code), "{line}: {}", text_of(&output));
        let documents = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
        let documents: Vec<Value> = documents
            .collect::<Result<_, _>>()
            .unwrap_or_else(|error| panic!("{line}: {error}: {}", text_of(&output)));
        let expected = if name == "demo" { 2 } else { 1 };
        assert_eq!(documents.len(), expected, "{line}: {}", text_of(&output));
        assert!(documents.iter().all(|document| document.is_object() || document.is_array()), "{line}");
    }
    let all = Cli::command();
    let all: BTreeSet<&str> = all.get_subcommands().map(|command| command.get_name()).collect();
    assert_eq!(seen, all, "each command is asked for its JSON here");
    Ok(())
}
