//! Which sleeps are slept. A tool whose sleep was not skipped runs into its limit here.

use std::time::Duration;

use killpoint::process::{Command, End, Run};

use super::tools::{at_step, both, perl, run, script, usual};

fn quick(command: Command) -> Run {
    let runner = usual();
    assert!(runner.sleeps_skipped().unwrap(), "this test needs seccomp's user notification");
    run(&runner, &Command { real_time: false, ..command }, None)
}

#[test]
fn a_long_sleep_is_over_at_once_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let run = quick(script(dir.path(), "sleep 1000; sh -c 'sleep 500' & wait; exit 4"));
    assert_eq!((run.end, run.sleeps_skipped), (End::Exited(4), Duration::from_secs(1500)));
}

#[test]
fn a_tool_sleeps_in_real_time_where_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(&usual(), &script(dir.path(), "sleep 0.3"), None);
    assert!(run.wall >= Duration::from_millis(300));
    assert_eq!(run.sleeps_skipped, Duration::ZERO);
}

#[test]
fn short_sleeps_are_slept() {
    let dir = tempfile::tempdir().unwrap();
    let run = quick(script(dir.path(), "for i in 1 2 3 4 5; do sleep 0.04; done; sleep 0.05"));
    assert!(run.wall >= Duration::from_millis(200));
    assert_eq!(run.sleeps_skipped, Duration::from_millis(50));
}

#[test]
fn a_sleep_until_a_time_counts_from_now() {
    let dir = tempfile::tempdir().unwrap();
    // CLOCK_REALTIME, TIMER_ABSTIME: in 1000 s, and 10 s ago.
    let text = "for (1000, -10) { \
                    my $t = pack('q q', time + $_, 0); \
                    print syscall({clock_nanosleep}, 0, 1, $t, 0), ';'; \
                }";
    let run = quick(perl(dir.path(), text));
    assert_eq!((run.end, run.stdout.as_str()), (End::Exited(0), "0;0;"));
    assert!(run.sleeps_skipped > Duration::from_secs(990), "{:?}", run.sleeps_skipped);
    assert!(run.sleeps_skipped <= Duration::from_secs(1000), "{:?}", run.sleeps_skipped);
}

#[test]
fn a_sleep_that_makes_no_sense_gets_the_kernels_answer() {
    let dir = tempfile::tempdir().unwrap();
    // More than 10^9 nanoseconds, a negative time, and no address at all.
    let text = "for (pack('q q', 1, 2_000_000_000), pack('q q', -1, 0), 0) { \
                    print syscall({nanosleep}, $_, 0) == -1 ? $! + 0 : 'ok', ';'; \
                }";
    let run = quick(perl(dir.path(), text));
    assert_eq!(run.stdout, format!("{};{};{};", libc::EINVAL, libc::EINVAL, libc::EFAULT));
    assert_eq!(run.sleeps_skipped, Duration::ZERO);
}

#[test]
fn a_tool_that_sleeps_all_the_time_can_be_killed() {
    for runner in both() {
        let dir = tempfile::tempdir().unwrap();
        // Skipped sleeps in some processes, a real one in another.
        let text = "for i in 1 2 3; do setsid sh -c 'while :; do sleep 1; done' & done; echo 'step: up'; \
                    while :; do sleep 0.049; done";
        let command = Command { real_time: false, ..script(dir.path(), text) };
        let run = run(&runner, &command, Some(&at_step("up", 100)));
        assert_eq!(run.end, End::Killed);
        assert_eq!(runner.containment.members().unwrap(), []);
    }
}
