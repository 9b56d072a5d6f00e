//! What a tool gets at its start: its files, its CPUs; and what a failed start says.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use killpoint::process::run::RunError;
use killpoint::process::{Bind, Command, Containment, End};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::tools::{NEVER, both, run, runner, script, usual};

/// Needs root, or the right to mount: without, the run fails and says so.
#[test]
fn a_bound_file_is_seen_by_the_tool_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for (name, text) in [("disk", "real"), ("other", "seam"), ("third", "third")] {
        fs::write(path(name), text).unwrap();
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let bind = |source: &str, target: &str| Bind { source: path(source), target: path(target) };
    let text = "cat disk third; printf changed > disk; echo; echo 'step: changed'; sleep 0.1";
    let mut command = script(dir.path(), text);
    command.binds = vec![bind("other", "disk"), bind("other", "third")];
    let mut seen = String::new();
    let run = usual()
        .run(&command, None, false, &NEVER, &mut |_| seen = fs::read_to_string(path("disk")).unwrap())
        .unwrap();
    assert_eq!((run.end, run.stdout.as_str()), (End::Exited(0), "seamseam\nstep: changed\n"));
    assert_eq!(seen, "real", "during the run");
    assert_eq!(fs::read_to_string(path("disk")).unwrap(), "real");
    assert_eq!(fs::read_to_string(path("other")).unwrap(), "changed");
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), mounts);

    let absent = bind("nothing", "disk");
    command.binds.push(absent.clone());
    let result = usual().run(&command, None, false, &NEVER, &mut |_| {});
    assert!(matches!(&result, Err(RunError::Bind { bind, .. }) if *bind == absent), "{result:?}");
}

#[test]
fn what_cannot_be_started_is_an_error_and_the_next_run_works() {
    let dir = tempfile::tempdir().unwrap();
    for runner in both() {
        let fails = |command: &Command| runner.run(command, None, false, &NEVER, &mut |_| {}).unwrap_err();
        let absent = Command { program: "/nonexistent/tool".into(), ..script(dir.path(), "") };
        let error = fails(&absent);
        assert!(
            matches!(&error, RunError::Spawn { program, source }
            if program.ends_with("tool") && source.raw_os_error() == Some(libc::ENOENT)),
            "{error:?}"
        );
        let homeless = Command { directory: "/nonexistent".into(), ..script(dir.path(), "") };
        assert!(matches!(fails(&homeless), RunError::Spawn { .. }));
        assert_eq!(run(&runner, &script(dir.path(), "exit 2"), None).end, End::Exited(2));
    }
}

#[test]
fn a_tool_runs_on_the_cpus_of_the_thread_that_runs_it() {
    let dir = tempfile::tempdir().unwrap();
    let runner = usual();
    let command = script(dir.path(), "grep Cpus_allowed_list /proc/self/status");
    run(&runner, &command, None);
    let all = sched_getaffinity(Pid::from_raw(0)).unwrap();
    for cpu in (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap()) {
        let mut one = CpuSet::new();
        one.set(cpu).unwrap();
        sched_setaffinity(Pid::from_raw(0), &one).unwrap();
        let stdout = run(&runner, &command, None).stdout;
        assert_eq!(stdout.split_whitespace().last(), Some(cpu.to_string().as_str()));
    }
    sched_setaffinity(Pid::from_raw(0), &all).unwrap();
}

/// What killpoint itself was started with is passed on, as by any program.
#[test]
fn a_tool_starts_with_no_signal_blocked_or_ignored_and_no_file_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let text = "grep SigIgn /proc/self/status; ls /proc/self/fd";
    let here = std::process::Command::new("/bin/sh").args(["-c", text]).output().unwrap();
    let run_text = |text: &str| run(&usual(), &script(dir.path(), text), None).stdout;
    assert_eq!(run_text(text), String::from_utf8(here.stdout).unwrap());
    let blocked = run_text("grep SigBlk /proc/self/status | cut -f 2");
    assert_eq!(blocked, "0000000000000000\n");
}

/// The test starts itself once more as the killpoint that is killed.
#[test]
fn a_killpoint_that_is_killed_leaves_no_process() {
    const NAME: &str = "launched::a_killpoint_that_is_killed_leaves_no_process";
    const DIR: &str = "KILLPOINT_TEST_DIR";
    if let Some(dir) = std::env::var_os(DIR) {
        let text = "echo $$ > tool; setsid sh -c 'echo $$ > child; exec sleep 1000' & sleep 1000";
        let command = Command { time_limit: Duration::from_secs(1000), ..script(dir.as_ref(), text) };
        // A cgroup would be ended by the next killpoint too, such as another of these tests.
        run(&runner(Containment::subreaper().unwrap()), &command, None);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut killpoint = std::process::Command::new(std::env::current_exe().unwrap())
        .args([NAME, "--exact"])
        .env(DIR, dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pid_in = |name: &str| loop {
        let text = fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        if text.ends_with('\n') {
            return text.trim().parse::<i32>().unwrap();
        }
        sleep(Duration::from_millis(1));
    };
    let pids = [pid_in("tool"), pid_in("child")];
    killpoint.kill().unwrap();
    killpoint.wait().unwrap();
    for pid in pids {
        wait_for_the_end_of(pid);
    }
}

#[test]
fn a_launcher_that_is_killed_takes_the_tool_with_it_and_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    for runner in both() {
        let text =
            "echo $PPID > launcher; echo $$ > tool; sleep 1000 & echo $! > child; echo 'step: up'; wait";
        let command = script(dir.path(), text);
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap().trim().parse().unwrap();
        let result = runner.run(&command, None, false, &NEVER, &mut |_| {
            kill(Pid::from_raw(read("launcher")), Signal::SIGKILL).unwrap();
        });
        assert!(matches!(result, Err(RunError::Launcher(_))), "{result:?}");
        wait_for_the_end_of(read("tool"));
        wait_for_the_end_of(read("child"));
        assert_eq!(run(&runner, &script(dir.path(), "exit 6"), None).end, End::Exited(6));
    }
}

fn wait_for_the_end_of(pid: i32) {
    let began = Instant::now();
    while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z")) {
        assert!(began.elapsed() < Duration::from_secs(20), "it lives on");
        sleep(Duration::from_millis(1));
    }
}
