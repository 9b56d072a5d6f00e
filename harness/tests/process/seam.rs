//! What a seam is promised. It is played by a thread that serves a tool through two named pipes, as a file system's
//! server would: the tool writes a line for each op and waits for the answer.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use killpoint::process::run::Runner;
use killpoint::process::{Aim, Anchor, Command, End, Run, Seam, Wiring};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::tools::{NEVER, at, at_step, both, marks, perl, script, usual};

/// What happens at each op.
type OnOp = Box<dyn Fn(&Wiring, &str) + Send + Sync>;

#[derive(Default)]
struct Played {
    wiring: Mutex<Option<Wiring>>,
    told: Mutex<Vec<String>>,
    device: Option<u64>,
    kills_at_sync: bool,
}

impl Played {
    fn tell(&self, text: impl Into<String>) {
        self.told.lock().unwrap().push(text.into());
    }

    fn wiring(&self) -> Wiring {
        self.wiring.lock().unwrap().clone().unwrap()
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

impl Seam for Played {
    fn begin(&self, wiring: Wiring) {
        *self.wiring.lock().unwrap() = Some(wiring);
    }

    fn sync(&self, pid: i32) {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        self.tell(format!("sync of {} in {}", name.trim(), (self.wiring().progress)().step));
        if self.kills_at_sync {
            (self.wiring().kill)();
        }
    }

    fn freeze(&self) {
        self.tell("freeze");
    }

    fn device(&self) -> Option<u64> {
        self.device
    }
}

fn run_on(runner: &Runner, seam: &Played, command: &Command, aim: Option<&Aim>) -> Run {
    runner.run_on(seam, command, aim, &NEVER, &mut |_| {}).unwrap()
}

/// Runs a shell script that has a command `op`.
fn run_with_ops(
    runner: &Runner,
    dir: &Path,
    text: &str,
    aim: Option<&Aim>,
    on_op: OnOp,
) -> (Run, Vec<String>) {
    let (asked, answered) = (dir.join("asked"), dir.join("answered"));
    for pipe in [&asked, &answered] {
        mkfifo(pipe, Mode::S_IRWXU).unwrap();
    }
    let seam = Arc::new(Played::default());
    let server = {
        let seam = Arc::clone(&seam);
        let (asked, answered) = (asked.clone(), answered.clone());
        thread::spawn(move || {
            let mut answers = File::options().read(true).write(true).open(answered).unwrap();
            for line in BufReader::new(File::open(asked).unwrap()).lines() {
                let wiring = seam.wiring();
                let step = (wiring.progress)().step;
                let line = line.unwrap();
                seam.tell(format!("{line} in {step}"));
                on_op(&wiring, &line);
                writeln!(answers, "done").unwrap();
            }
        })
    };
    let text = format!("exec 3>asked 4<answered; op() {{ echo \"$*\" >&3; read -r answer <&4; }}; {text}");
    let run = run_on(runner, &seam, &script(dir, &text), aim);
    server.join().unwrap();
    for pipe in [&asked, &answered] {
        fs::remove_file(pipe).unwrap();
    }
    (run, seam.told())
}

#[test]
fn a_mark_that_was_printed_before_an_op_precedes_it() {
    let dir = tempfile::tempdir().unwrap();
    let text = "op 0; i=1; while [ $i -le 200 ]; do echo \"step: $i\"; op $i; i=$((i+1)); done; op end";
    let (run, told) = run_with_ops(&usual(), dir.path(), text, None, Box::new(|_, _| {}));
    assert_eq!(run.end, End::Exited(0), "{}", run.stderr);
    let steps = (1..=200).map(|i| format!("{i} in {i}"));
    let expected: Vec<_> =
        std::iter::once("0 in start".to_owned()).chain(steps).chain(["end in 200".to_owned()]).collect();
    assert_eq!(told, expected);
    assert_eq!(marks(&run).len(), 200);
}

#[test]
fn a_seam_can_kill_the_tree_inside_an_op() {
    for runner in both() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "setsid sh -c 'while :; do echo x >> out; done' & sleep 0.1; op a; op b; touch after; sleep 100";
        let on_op = |wiring: &Wiring, op: &str| {
            if op == "b" {
                (wiring.kill)();
            }
        };
        let (run, told) = run_with_ops(&runner, dir.path(), text, None, Box::new(on_op));
        assert_eq!(run.end, End::Killed, "{}", runner.containment.describe());
        assert_eq!(told, ["a in start", "b in start"]);
        assert!(!dir.path().join("after").exists());
        let len = fs::metadata(dir.path().join("out")).unwrap().len();
        thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(fs::metadata(dir.path().join("out")).unwrap().len(), len);
    }
}

#[test]
fn what_a_seam_kept_does_nothing_to_the_next_run() {
    for runner in both() {
        let dir = tempfile::tempdir().unwrap();
        let (early, late) = (Played::default(), Played::default());
        run_on(&runner, &early, &script(dir.path(), "exit 0"), None);
        let command = script(dir.path(), "echo 'step: up'; sleep 0.1; exit 8");
        let run = runner.run_on(&late, &command, None, &NEVER, &mut |_| {
            (early.wiring().kill)();
            (early.wiring().signal)(libc::SIGTERM);
        });
        assert_eq!(run.unwrap().end, End::Exited(8));
    }
}

#[test]
fn a_seam_can_send_another_signal() {
    let dir = tempfile::tempdir().unwrap();
    let text = "trap 'echo stopped; exit 9' TERM; op a; op b; sleep 100";
    let on_op = |wiring: &Wiring, op: &str| {
        if op == "a" {
            (wiring.signal)(libc::SIGTERM);
        }
    };
    let (run, told) = run_with_ops(&usual(), dir.path(), text, None, Box::new(on_op));
    assert_eq!((run.end, run.stdout.as_str()), (End::Exited(9), "stopped\n"));
    // The shell may get as far as its next command before it looks.
    assert_eq!(told[0], "a in start");
}

#[test]
fn a_kill_at_a_time_counts_from_the_seams_op_and_freezes_first() {
    let dir = tempfile::tempdir().unwrap();
    let text = "op early; echo 'step: write'; echo 'step: on'; op first; touch seen; sleep 100; op never";
    let aim = at(Anchor::FirstOpIn("write".to_owned()), 100);
    let (run, told) = run_with_ops(&usual(), dir.path(), text, Some(&aim), Box::new(|_, _| {}));
    assert_eq!(run.end, End::Killed);
    assert_eq!(told, ["early in start", "first in on", "freeze"]);
    assert!(dir.path().join("seen").exists());
}

/// Whoever is asked to freeze finds the tool alive.
#[test]
fn a_limit_freezes_the_seam_before_it_kills() {
    struct Watching(std::path::PathBuf, Mutex<Option<bool>>);
    impl Seam for Watching {
        fn begin(&self, _: Wiring) {}
        fn sync(&self, _: i32) {}
        fn freeze(&self) {
            let pid = fs::read_to_string(&self.0).unwrap();
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap();
            *self.1.lock().unwrap() = Some(!stat.contains(") Z"));
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let seam = Watching(dir.path().join("pid"), Mutex::new(None));
    let command = script(dir.path(), "echo $$ > pid; echo 'step: up'; sleep 100");
    let run = usual().run_on(&seam, &command, Some(&at_step("up", 0)), &NEVER, &mut |_| {}).unwrap();
    assert_eq!((run.end, *seam.1.lock().unwrap()), (End::Killed, Some(true)));
}

#[test]
fn a_wish_to_sync_reaches_the_seam_it_is_meant_for() {
    let dir = tempfile::tempdir().unwrap();
    let device = fs::metadata(dir.path()).unwrap().dev();
    let text = "print \"step: one\\n\"; syscall({sync}) == 0 or die; print \"step: two\\n\"; \
                for (@ARGV) { open(my $f, '<', $_) or die $_; syscall({syncfs}, fileno $f) == 0 or die $!; } \
                syscall({syncfs}, 999) == -1 or die; print \"step: end\\n\"";
    let mut command = perl(dir.path(), text);
    command.arguments.extend([dir.path().into(), "/proc/self/comm".into()]);
    let seam = Played { device: Some(device), ..Played::default() };
    let run = run_on(&usual(), &seam, &command, None);
    assert_eq!((run.end, marks(&run)), (End::Exited(0), vec!["one", "two", "end"]), "{}", run.stderr);
    assert_eq!(seam.told(), ["sync of perl in one", "sync of perl in two"]);
}

#[test]
fn a_tool_can_be_killed_inside_a_trapped_call() {
    for runner in both() {
        let dir = tempfile::tempdir().unwrap();
        let seam = Played { kills_at_sync: true, ..Played::default() };
        let run = run_on(&runner, &seam, &perl(dir.path(), "syscall({sync}); print 'after'"), None);
        assert_eq!((run.end, run.stdout.as_str()), (End::Killed, ""));
        assert_eq!(seam.told(), ["sync of perl in start"]);
    }
}
