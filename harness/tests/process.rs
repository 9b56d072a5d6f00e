//! Goal: whatever a tool does, it and everything that it started is dead when a run returns, and how it ended is
//! told apart. Method: small shell scripts, run in a cgroup (where this machine lets us) and below the subreaper.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::{Duration, Instant};

use killpoint::process::run::{RunError, Runner};
use killpoint::process::{Aim, Anchor, Command, Containment, End, Run, StepRule};

static NEVER: AtomicBool = AtomicBool::new(false);

fn runner(containment: Containment) -> Runner {
    Runner { containment, launcher: PathBuf::from(env!("CARGO_BIN_EXE_killpoint")) }
}

/// The cgroup where there is one, and the subreaper: on a machine without a writable cgroup v2 both are the latter.
fn both() -> [Runner; 2] {
    [runner(Containment::choose().unwrap()), runner(Containment::subreaper().unwrap())]
}

fn script(dir: &Path, text: &str) -> Command {
    Command {
        arguments: vec!["-c".into(), text.into()],
        environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".into())]),
        step: Some(StepRule::Prefix("step: ".to_owned())),
        time_limit: Duration::from_secs(20),
        ..Command::new("/bin/sh", dir)
    }
}

fn run(runner: &Runner, command: &Command, aim: Option<&Aim>) -> Run {
    runner.run(command, aim, false, &NEVER, &mut |_| {}).unwrap()
}

fn at(anchor: Anchor, ms: u64) -> Aim {
    Aim { anchor, delay: Duration::from_millis(ms) }
}

/// Tests of the subreaper see all children of this process, so only one may run at a time.
static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn a_child_in_a_session_of_its_own_is_dead_when_the_run_returns() {
    let _alone = alone();
    for runner in both() {
        let dir = tempfile::tempdir().unwrap();
        let writer = "while :; do echo x >> out; done";
        let text = format!("setsid sh -c '{writer}' & sleep 0.2; echo 'step: ready'; sleep 100");
        let run = run(&runner, &script(dir.path(), &text), Some(&at(Anchor::Step("ready".to_owned()), 20)));
        assert_eq!(run.end, End::Killed, "{}", runner.containment.describe());
        let out = dir.path().join("out");
        let len = fs::metadata(&out).unwrap().len();
        assert!(len > 0, "the child wrote before the kill");
        sleep(Duration::from_millis(200));
        assert_eq!(fs::metadata(&out).unwrap().len(), len, "nothing is written after the kill");
    }
}

#[test]
fn what_a_tool_leaves_behind_at_its_exit_is_ended_too() {
    let _alone = alone();
    for runner in both() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "setsid sh -c 'while :; do echo x >> out; sleep 0.01; done' >/dev/null 2>&1 & sleep 0.1; exit 3";
        let run = run(&runner, &script(dir.path(), text), None);
        assert_eq!(run.end, End::Exited(3));
        let len = fs::metadata(dir.path().join("out")).unwrap().len();
        sleep(Duration::from_millis(100));
        assert_eq!(fs::metadata(dir.path().join("out")).unwrap().len(), len);
        assert_eq!(runner.containment.members().unwrap(), []);
    }
}

#[test]
fn a_tool_that_hangs_or_prints_without_end_is_ended_at_its_limit() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(Containment::choose().unwrap());
    for text in ["sleep 1000", "yes"] {
        let mut command = script(dir.path(), text);
        command.time_limit = Duration::from_secs(if text == "yes" { 60 } else { 1 });
        let began = Instant::now();
        assert_eq!(run(&runner, &command, None).end, End::Hung, "{text}");
        assert!(began.elapsed() < Duration::from_secs(50), "{text}");
    }
}

#[test]
fn a_signal_of_its_own_is_not_our_kill() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(Containment::choose().unwrap());
    for (text, end) in [
        ("kill -SEGV $$", End::Signalled(11)),
        ("kill -KILL $$", End::Signalled(9)),
        ("exit 7", End::Exited(7)),
    ] {
        assert_eq!(run(&runner, &script(dir.path(), text), None).end, end, "{text}");
    }
}

#[test]
fn a_kill_falls_after_its_step_and_before_the_next() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(Containment::choose().unwrap());
    let text = "echo 'step: one'; sleep 0.1; echo 'step: two'; sleep 30; echo 'step: three'";
    let run = run(&runner, &script(dir.path(), text), Some(&at(Anchor::Step("two".to_owned()), 50)));
    let marks: Vec<_> = run.marks.iter().map(|mark| mark.name.as_str()).collect();
    assert_eq!((run.end, marks), (End::Killed, vec!["one", "two"]));
    assert!(run.wall >= Duration::from_millis(150));
}

#[test]
fn a_kill_can_count_from_the_first_op_after_a_mark() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(Containment::choose().unwrap());
    let text = "echo early > ops; echo 'step: write'; sleep 0.3; echo op >> ops; sleep 30";
    let mut command = script(dir.path(), text);
    command.op_log = Some(dir.path().join("ops"));
    let run = run(&runner, &command, Some(&at(Anchor::FirstOpIn("write".to_owned()), 0)));
    assert_eq!(run.end, End::Killed);
    assert_eq!(fs::read_to_string(dir.path().join("ops")).unwrap(), "early\nop\n");
}

#[test]
fn an_interrupt_ends_the_tool_and_says_so() {
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(Containment::choose().unwrap());
    let command = script(dir.path(), "echo 'step: up'; sleep 100");
    let result = runner.run(&command, None, false, &INTERRUPTED, &mut |_| {
        INTERRUPTED.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(matches!(result, Err(RunError::Interrupted)));
    assert_eq!(runner.containment.members().unwrap(), []);
}

#[test]
fn output_and_environment_are_the_tools_own() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let runner = runner(Containment::choose().unwrap());
    let run = run(&runner, &script(dir.path(), "env | sort; pwd; echo trouble >&2"), None);
    let names: Vec<_> = run.stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert_eq!(names, ["PATH", "PWD"], "nothing is inherited");
    assert!(run.stdout.contains(dir.path().to_str().unwrap()));
    assert_eq!(run.stderr, "trouble\n");
}
