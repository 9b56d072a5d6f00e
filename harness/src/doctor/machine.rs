//! What the kernel offers and lets this process have: the FUSE mount, the end of a tree of processes, system calls that are
//! answered in its place, loop devices. Each is tried.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use fault_backend::fuse::{Seam as FuseSeam, SeamOptions};

use super::{Check, State};
use crate::process::containment::ContainmentError;
use crate::process::{Command, Containment, End, RunError, Runner, Seam, Wiring};
use crate::seam;
use crate::tools::{self, SEARCH_PATH};
use crate::workdir::WorkDir;

/// No run of a check takes longer, unless what it checks does not work.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// What a tool would sleep if it were let.
const LONG_SLEEP: Duration = Duration::from_secs(1000);

/// Nothing interrupts a check.
static GOING_ON: AtomicBool = AtomicBool::new(false);

/// A mount of the seam, really made.
pub(super) fn fuse(work: Option<&WorkDir>, private: bool) -> Check {
    const COSTS: &str =
        "sweep, exec and import can't run, and run only kills at times, through the hook in its own tools";
    let lacks = |state, why: String, mend: &str| Check::lacks("fuse", state, format!("{why}: {COSTS}"), mend);
    if let Some(why) = seam::lacking() {
        let there = Path::new("/dev/fuse").exists();
        let state = if there { State::Refused } else { State::Missing };
        return lacks(
            state,
            why.to_owned(),
            "apt-get install fuse3; in a container --device /dev/fuse --privileged",
        );
    }
    let Some(point) = work.and_then(|work| work.subdir("fuse").ok()) else {
        return lacks(State::Refused, "no folder to mount at".to_owned(), "see the working area");
    };
    let mounted = match FuseSeam::mount(&point, &SeamOptions { cpu: None }) {
        Ok(seam) => std::fs::metadata(seam.root()).map(|_| seam.maps()).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let where_to =
        if private { "seen by killpoint alone" } else { "seen by everybody, since this is not root" };
    match mounted {
        Ok(true) => Check::ok("fuse", format!("mounted and unmounted, {where_to}; shared mappings work")),
        Ok(false) => Check::ok(
            "fuse",
            format!("mounted and unmounted, {where_to}; no shared mappings, which take Linux 6.6"),
        ),
        Err(why) => lacks(State::Refused, why, "run it as root; in a container --cap-add SYS_ADMIN"),
    }
}

/// The end of a tree of processes, with a cgroup and without, and trapped system calls.
pub(super) fn processes(launcher: &Path) -> Vec<Check> {
    let runner = |containment: Result<Containment, ContainmentError>| {
        containment.map(|containment| Runner { containment, launcher: launcher.to_owned() })
    };
    let mut checks = vec![cgroup(&runner(Containment::choose()))];
    let plain = runner(Containment::subreaper());
    checks.push(match ends_a_tree(&plain) {
        Ok(()) => Check::ok("subreaper", "a process that left its session was found and killed"),
        Err(why) => Check::lacks("subreaper", State::Refused, why, "a kernel with /proc mounted"),
    });
    if let Some(check) = checks.last_mut() {
        check.needed = true;
    }
    let Ok(runner) = plain else { return checks };
    checks.push(trapped("seccomp sleeps", "tools sleep as long as they want", skips_a_sleep(&runner)));
    checks.push(trapped(
        "seccomp sync",
        "sync is no flush, so model power sees too few",
        hears_a_sync(&runner),
    ));
    checks
}

fn cgroup(runner: &Result<Runner, ContainmentError>) -> Check {
    const MEND: &str =
        "mount cgroup v2 writable (docker run --cgroupns private --privileged; systemd: Delegate=yes)";
    const COSTS: &str = "the subreaper stands in, which kills one process after the other";
    match (runner, ends_a_tree(runner)) {
        (Ok(found), Ok(())) if found.containment.describe() == "cgroup" => {
            Check::ok("cgroup kill", "a process that left its session was killed with its cgroup")
        }
        (Ok(_), Ok(())) => Check::lacks(
            "cgroup kill",
            State::Missing,
            format!("no cgroup v2 with cgroup.kill can be made: {COSTS}"),
            MEND,
        ),
        (_, Err(why)) => Check::lacks("cgroup kill", State::Refused, why, MEND),
        (Err(error), _) => Check::lacks("cgroup kill", State::Refused, error.to_string(), MEND),
    }
}

/// Leaves a process behind in a session of its own, which nothing but its tree tells of.
fn ends_a_tree(runner: &Result<Runner, ContainmentError>) -> Result<(), String> {
    let runner = runner.as_ref().map_err(ToString::to_string)?;
    let command = Command { real_time: true, ..shell("setsid sleep 1000 & exit 0") };
    let run = runner.run(&command, None, false, &GOING_ON, &mut |_| {}).map_err(|error| told(&error))?;
    if run.end != End::Exited(0) {
        return Err(format!("a shell that leaves a process behind ended with {:?}", run.end));
    }
    match runner.containment.members() {
        Ok(left) if left.is_empty() => Ok(()),
        Ok(left) => Err(format!("processes {left:?} are left")),
        Err(error) => Err(error.to_string()),
    }
}

/// A check of system calls that are answered in the kernel's place.
fn trapped(name: &str, costs: &str, result: Result<String, String>) -> Check {
    match result {
        Ok(found) => Check::ok(name, found),
        Err(why) => Check::lacks(
            name,
            State::Refused,
            format!("{why}: {costs}"),
            "Linux 5.5 or later with seccomp's user notification; in a container --security-opt seccomp=unconfined",
        ),
    }
}

fn skips_a_sleep(runner: &Runner) -> Result<String, String> {
    if !runner.sleeps_skipped().map_err(|error| told(&error))? {
        return Err("the kernel lets nobody answer system calls".to_owned());
    }
    let command = shell(&format!("sleep {}", LONG_SLEEP.as_secs()));
    let run = runner.run(&command, None, false, &GOING_ON, &mut |_| {}).map_err(|error| told(&error))?;
    match (run.end, run.sleeps_skipped) {
        (End::Exited(0), skipped) if skipped >= LONG_SLEEP => {
            Ok(format!("a sleep of {} s took {} ms", LONG_SLEEP.as_secs(), run.wall.as_millis()))
        }
        (end, skipped) => Err(format!("a long sleep ended with {end:?} after {skipped:?} were skipped")),
    }
}

/// Counts what asks for everything to be made durable.
#[derive(Default)]
struct Flushes(AtomicU32);

impl Seam for Flushes {
    fn begin(&self, _: Wiring) {}

    fn sync(&self, _: i32) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn freeze(&self) {}
}

fn hears_a_sync(runner: &Runner) -> Result<String, String> {
    let flushes = Flushes::default();
    let command = shell("sync");
    let run =
        runner.run_on(&flushes, &command, None, &GOING_ON, &mut |_| {}).map_err(|error| told(&error))?;
    match (run.end, flushes.0.into_inner()) {
        (End::Exited(0), 1) => Ok("sync was heard, and did not reach this machine's disks".to_owned()),
        (end, heard) => Err(format!("sync ended with {end:?} and was heard {heard} times")),
    }
}

fn shell(text: &str) -> Command {
    let mut command = Command::new("/bin/sh", "/");
    command.arguments = ["-c", text].map(Into::into).to_vec();
    command.environment.insert("PATH".to_owned(), SEARCH_PATH.into());
    Command { time_limit: TIME_LIMIT, ..command }
}

/// An error with its cause, on one line.
fn told(error: &RunError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// A loop device over a small file, really set up.
pub(super) fn loops(work: Option<&WorkDir>) -> Check {
    const COSTS: &str = "scenarios of mounted file systems can't run";
    const MEND: &str = "modprobe loop, and run it as root; in a container --privileged -v /dev:/dev";
    let lacks = |state, why: &str| Check::lacks("loop devices", state, format!("{why}: {COSTS}"), MEND);
    let Some(losetup) = tools::find_in_path("losetup") else {
        let check = lacks(State::Missing, "no losetup");
        return Check { mend: "apt-get install mount".to_owned(), ..check };
    };
    if !Path::new("/dev/loop-control").exists() {
        return lacks(State::Missing, "there is no /dev/loop-control");
    }
    let image = work.map(|work| work.path().join("loop.img"));
    let made = image.filter(|path| File::create(path).and_then(|file| file.set_len(1 << 20)).is_ok());
    let Some(image) = made else { return lacks(State::Refused, "no file to put under one can be made") };
    match Loop::set_up(losetup, &image) {
        Ok(device) => Check::ok("loop devices", format!("{} was set up and detached", device.device)),
        Err(why) => lacks(State::Refused, &why),
    }
}

/// A loop device that is detached on drop.
struct Loop {
    losetup: PathBuf,
    device: String,
}

impl Loop {
    fn set_up(losetup: PathBuf, image: &Path) -> Result<Self, String> {
        let output = Program::new(&losetup)
            .args(["--find", "--show", "--read-only"])
            .arg(image)
            .output()
            .map_err(|error| format!("losetup can't be started: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" "));
        }
        Ok(Self { losetup, device: String::from_utf8_lossy(&output.stdout).trim().to_owned() })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Program::new(&self.losetup).args(["--detach", &self.device]).output();
    }
}
