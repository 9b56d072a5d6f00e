//! How a run ends, and that nothing of its tree is left.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use killpoint::process::run::RunError;
use killpoint::process::{Anchor, End};

use super::tools::{at, at_step, both, marks, run, script, usual};

#[test]
fn a_child_in_a_session_of_its_own_is_dead_when_the_run_returns() {
    for runner in both() {
        let dir = tempfile::tempdir().unwrap();
        let writer = "while :; do echo x >> out; done";
        let text = format!("setsid sh -c '{writer}' & sleep 0.2; echo 'step: ready'; sleep 100");
        let run = run(&runner, &script(dir.path(), &text), Some(&at_step("ready", 20)));
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

/// A process that waits for another one's end looks whether it is still listed; a zombie is.
#[test]
fn an_orphan_that_ends_is_buried_while_the_tool_goes_on() {
    for runner in both() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "(sleep 0.05 & echo $! > pid); p=$(cat pid); while kill -0 $p 2>/dev/null; do sleep 0.01; done";
        assert_eq!(run(&runner, &script(dir.path(), text), None).end, End::Exited(0));
    }
}

#[test]
fn runs_of_two_runners_at_once_do_not_end_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = both();
    let quick = script(dir.path(), "sleep 0.01 & exit 0");
    std::thread::scope(|scope| {
        let long = scope.spawn(|| run(&first, &script(dir.path(), "sleep 0.5"), None).end);
        for _ in 0..20 {
            assert_eq!(run(&second, &quick, None).end, End::Exited(0));
        }
        assert_eq!(long.join().unwrap(), End::Exited(0));
    });
}

#[test]
fn a_tool_that_hangs_or_prints_without_end_is_ended_at_its_limit() {
    for runner in both() {
        let dir = tempfile::tempdir().unwrap();
        let endless_line = "tr '\\0' x < /dev/zero";
        for (text, limit_s) in [("sleep 1000", 1), ("yes", 60), ("yes >&2", 60), (endless_line, 60)] {
            let mut command = script(dir.path(), text);
            command.time_limit = Duration::from_secs(limit_s);
            let began = Instant::now();
            let run = run(&runner, &command, None);
            assert_eq!(run.end, End::Hung, "{text}");
            assert!(began.elapsed() < Duration::from_secs(50), "{text}");
            assert!(run.stdout.len().max(run.stderr.len()) <= 8 << 10, "only the end of it is kept");
        }
    }
}

#[test]
fn a_signal_of_its_own_is_not_our_kill() {
    let dir = tempfile::tempdir().unwrap();
    let runner = usual();
    for (text, end) in [
        ("kill -SEGV $$", End::Signalled(11)),
        ("kill -KILL $$", End::Signalled(9)),
        // A real-time signal.
        ("kill -40 $$", End::Signalled(40)),
        ("exit 7", End::Exited(7)),
    ] {
        assert_eq!(run(&runner, &script(dir.path(), text), None).end, end, "{text}");
    }
}

#[test]
fn a_crash_leaves_no_core_file_in_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(&usual(), &script(dir.path(), "ulimit -c; kill -SEGV $$"), None);
    assert_eq!((run.end, run.stdout.as_str()), (End::Signalled(11), "0\n"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_kill_can_fall_before_the_tool_has_done_anything() {
    for runner in both() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let run = run(&runner, &script(dir.path(), "sleep 100"), Some(&at(Anchor::Start, 0)));
            assert_eq!(run.end, End::Killed);
        }
    }
}

#[test]
fn a_kill_falls_after_its_step_and_before_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let text = "echo 'step: one'; sleep 0.1; echo 'step: two'; sleep 30; echo 'step: three'";
    let run = run(&usual(), &script(dir.path(), text), Some(&at_step("two", 50)));
    assert_eq!((run.end, marks(&run)), (End::Killed, vec!["one", "two"]));
    assert!(run.wall >= Duration::from_millis(150));
}

#[test]
fn a_kill_can_count_from_the_first_op_after_a_mark() {
    let dir = tempfile::tempdir().unwrap();
    let text = "echo early > ops; echo 'step: write'; sleep 0.3; echo op >> ops; sleep 30";
    let mut command = script(dir.path(), text);
    command.op_log = Some(dir.path().join("ops"));
    let run = run(&usual(), &command, Some(&at(Anchor::FirstOpIn("write".to_owned()), 0)));
    assert_eq!(run.end, End::Killed);
    assert_eq!(fs::read_to_string(dir.path().join("ops")).unwrap(), "early\nop\n");
}

#[test]
fn an_interrupt_ends_the_tool_and_says_so() {
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    let dir = tempfile::tempdir().unwrap();
    for runner in both() {
        INTERRUPTED.store(false, Ordering::Relaxed);
        let command = script(dir.path(), "setsid sleep 100 & echo 'step: up'; sleep 100");
        let result = runner.run(&command, None, false, &INTERRUPTED, &mut |_| {
            INTERRUPTED.store(true, Ordering::Relaxed);
        });
        assert!(matches!(result, Err(RunError::Interrupted)));
        assert_eq!(runner.containment.members().unwrap(), []);
    }
}
