//! A run directory on a file system that fills up: what was logged stays whole, the error says what it is, and the
//! end of the campaign and its report still find room. The file system is a real one, a small tmpfs in a mount
//! namespace of the test's own, so that nothing outside sees it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use reports::{Event, EventLog, Outcome, Report, Stream};

const NAME: &str = "a_full_disk_loses_nothing_that_was_logged";
const DIR: &str = "REPORTS_TEST_SMALL_DISK";
/// What a failed test's process exits with.
const TEST_FAILED: i32 = 101;

#[test]
fn a_full_disk_loses_nothing_that_was_logged() {
    match std::env::var_os(DIR) {
        Some(dir) => on_a_small_disk(Path::new(&dir)),
        None => in_a_namespace(),
    }
}

/// Runs this test again where a tmpfs of 1 MiB is mounted: as root, or else as root of a user namespace.
fn in_a_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let mut said = Vec::new();
    for user in [&[][..], &["--user", "--map-root-user"][..]] {
        let output = Command::new("unshare")
            .args(user)
            .args(["--mount", "sh", "-c"])
            .arg(r#"mount -t tmpfs -o size=1m small "$1" && exec "$2" --exact "$3""#)
            .arg("sh")
            .args([dir.path(), &std::env::current_exe().unwrap()])
            .arg(NAME)
            .env(DIR, dir.path())
            .output()
            .expect("this test needs `unshare` of util-linux");
        match output.status.code() {
            Some(0) => {
                assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "nothing was tested");
                return;
            }
            Some(TEST_FAILED) => panic!("{}", String::from_utf8_lossy(&output.stdout)),
            _ => said.push(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
    panic!("this test needs root or user namespaces to mount a tmpfs: {said:?}");
}

fn on_a_small_disk(dir: &Path) {
    let mut stream = Stream::new(vec![Box::new(EventLog::create(dir).unwrap())]);
    let mut filler = File::create(dir.join("filler")).unwrap();
    while filler.write_all(&[1; 512]).is_ok() {}

    let event = Event::Warning { text: "one more line in the log".to_owned() };
    let mut logged = 0;
    let error = loop {
        match stream.emit(&event) {
            Ok(()) => logged += 1,
            Err(error) => break error,
        }
        assert!(logged < 100_000, "the disk never fills up");
    };
    assert!(logged > 0, "the last block of the log had room");
    assert!(error.is_disk_full());
    assert_eq!(error.errno(), Some(libc::ENOSPC));
    assert_eq!(error.to_string(), format!("cannot write `{}`", EventLog::path(dir).display()));
    let read = EventLog::read(dir).unwrap();
    assert_eq!((read.events.len(), read.torn), (logged, None));

    let reason = format!("the run directory's disk is full{}", ".".repeat(8192));
    let ended = Event::CampaignEnded {
        outcome: Outcome::Stopped { reason },
        exit_code: 4,
        wall_s: 1.0,
        prepared_s: 1.0,
    };
    stream.emit(&ended).unwrap();
    stream.finish().unwrap();
    assert_eq!(EventLog::read(dir).unwrap().events.last(), Some(&ended));

    // Others go on filling what is given up: the log's share must not be all of it.
    while filler.write_all(&[1; 512]).is_ok() {}
    let report = Report::from(stream.tally());
    report.write(dir).unwrap();
    assert_eq!(Report::read(dir).unwrap(), report);
    let mut left: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["events.jsonl", "filler", "report.json"]);
}
