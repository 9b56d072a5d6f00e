//! What all of these tests run their tools with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use killpoint::process::run::Runner;
use killpoint::process::{Aim, Anchor, Command, Containment, Run, StepRule};

pub static NEVER: AtomicBool = AtomicBool::new(false);

pub fn runner(containment: Containment) -> Runner {
    Runner { containment, launcher: PathBuf::from(env!("CARGO_BIN_EXE_killpoint")) }
}

/// A runner as users get it.
pub fn usual() -> Runner {
    runner(Containment::choose().unwrap())
}

/// The cgroup where there is one, and the subreaper: on a machine without a writable cgroup v2 both are the latter.
pub fn both() -> [Runner; 2] {
    [usual(), runner(Containment::subreaper().unwrap())]
}

/// A shell script in this directory, which really sleeps.
pub fn script(dir: &Path, text: &str) -> Command {
    Command {
        arguments: vec!["-c".into(), text.into()],
        environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".into())]),
        step: Some(StepRule::Prefix("step: ".to_owned())),
        time_limit: Duration::from_secs(20),
        real_time: true,
        ..Command::new("/bin/sh", dir)
    }
}

/// A Perl program, for system calls that a shell has no command for. `{NAME}` stands for the number of a call.
pub fn perl(dir: &Path, text: &str) -> Command {
    let numbers = [
        ("{nanosleep}", libc::SYS_nanosleep),
        ("{clock_nanosleep}", libc::SYS_clock_nanosleep),
        ("{sync}", libc::SYS_sync),
        ("{syncfs}", libc::SYS_syncfs),
    ];
    let text = numbers
        .iter()
        .fold(format!("$| = 1; {text}"), |text, (name, number)| text.replace(name, &number.to_string()));
    let command = script(dir, "");
    Command { program: "perl".into(), arguments: vec!["-e".into(), text.into()], ..command }
}

pub fn run(runner: &Runner, command: &Command, aim: Option<&Aim>) -> Run {
    runner.run(command, aim, false, &NEVER, &mut |_| {}).unwrap()
}

pub fn at(anchor: Anchor, ms: u64) -> Aim {
    Aim { anchor, delay: Duration::from_millis(ms) }
}

pub fn at_step(step: &str, ms: u64) -> Aim {
    at(Anchor::Step(step.to_owned()), ms)
}

pub fn marks(run: &Run) -> Vec<&str> {
    run.marks.iter().map(|mark| mark.name.as_str()).collect()
}
