//! Goal: `killpoint exec` takes any command on anybody's file, as root, and the file stays as it is; what the command
//! does wrong is found and brought back; and a command that hangs, prints without end, fills its disk, maps its file
//! or leaves a child behind gets its verdict and leaves nothing. Method: the binary is run as a person would, on tools
//! that are shell scripts of a few lines. It needs root and FUSE, without which each test fails and says so.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Bench, text_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A file of 64 KiB with something in it.
fn image(bench: &Bench) -> PathBuf {
    let path = bench.dir.path().join("a.img");
    fs::write(&path, [7; 64 << 10]).unwrap();
    path
}

/// A tool: a shell script.
fn tool(bench: &Bench, script: &str) -> String {
    let path = bench.dir.path().join("tool.sh");
    fs::write(&path, format!("set -e\n{script}\n")).unwrap();
    path.display().to_string()
}

fn exec(bench: &Bench, options: &[&str], command: &[&str]) -> Output {
    let arguments: Vec<&str> = [&["--seed", "1"], options].concat();
    let mut killpoint = bench.killpoint("exec", &arguments);
    let output = killpoint.arg("--").args(command).output().unwrap();
    assert!(
        !String::from_utf8_lossy(&output.stderr).contains("FUSE seam can't be used"),
        "this test needs FUSE: {}",
        text_of(&output)
    );
    output
}

fn mounts() -> Vec<String> {
    let text = fs::read_to_string("/proc/mounts").unwrap();
    text.lines().filter(|line| line.contains("killpoint")).map(str::to_owned).collect()
}

fn cgroups() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().starts_with("killpoint-") {
                    found.push(entry.path());
                } else {
                    open.push(entry.path());
                }
            }
        }
    }
    found
}

/// Writes four blocks in place, in two steps.
const FOUR_BLOCKS: &str = "for i in 0 1 2 3; do
    [ $i = 2 ] && echo 'step: second'
    printf 'block %s' $i | dd of=$1 bs=4096 seek=$i conv=notrunc status=none
done";

#[test]
fn the_users_file_is_never_modified_and_every_point_is_judged() {
    let bench = Bench::new();
    let image = image(&bench);
    let before = (fs::read(&image).unwrap(), fs::metadata(&image).unwrap().mtime_nsec());
    let tool = tool(&bench, FOUR_BLOCKS);
    let path = image.to_str().unwrap();
    // By its own path, by the placeholder, and by a path relative to where the command is run.
    for name in [path, "{image}", "a.img"] {
        let bench_dir = bench.run_dir();
        let _ = fs::remove_dir_all(&bench_dir);
        let output = exec(&bench, &["--image", path], &["sh", &tool, name]);
        assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
        let report = bench.report();
        assert_eq!(report["states"]["distinct"], 5, "{report:#}");
        assert_eq!(report["verdicts"]["recovered"], 5);
        assert_eq!(report["points"]["landed"], report["points"]["attempted"]);
        let after = (fs::read(&image).unwrap(), fs::metadata(&image).unwrap().mtime_nsec());
        assert!(before == after, "{name}: the image was modified");
    }
    assert_eq!(mounts(), Vec::<String>::new());
}

#[test]
fn a_tool_that_does_not_recover_is_found_and_brought_back_by_its_token_and_from_its_run_directory() {
    let bench = Bench::new();
    let image = image(&bench);
    let path = image.to_str().unwrap();
    // It takes its own second block for a sign that everything is done.
    let script = format!(
        "if [ \"$(dd if=$1 bs=4096 skip=1 count=1 status=none | head -c 5)\" = block ]; then exit 0; fi\n{FOUR_BLOCKS}"
    );
    let tool = tool(&bench, &script);
    let options = ["--image", path, "--step-pattern", "^step: (\\S+)"];
    let output = exec(&bench, &options, &["sh", &tool, "{image}"]);
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    let report = bench.report();
    assert_eq!(report["verdicts"]["diverged"], 2, "after block 1 and block 2: {report:#}");
    assert_eq!(report["findings"][0]["step"], "start");
    assert_eq!(report["findings"][1]["step"], "second");
    let token = report["findings"][0]["token"].as_str().unwrap();
    let kept = format!("{}#F2", bench.run_dir().display());
    let repro = |what: &str, options: &[&str]| {
        let again = bench.dir.path().join("again");
        let _ = fs::remove_dir_all(&again);
        let mut command = Command::new(env!("CARGO_BIN_EXE_killpoint"));
        command.args(["repro", what]).args(options).arg("--run-dir").arg(again);
        command.current_dir(bench.dir.path()).stdin(Stdio::null()).output().unwrap()
    };
    let unasked = repro(token, &[]);
    assert_eq!(unasked.status.code(), Some(2), "a command from a token needs a yes: {}", text_of(&unasked));
    assert!(text_of(&unasked).contains("sh "), "the command is shown");
    for what in [token, &kept] {
        let output = repro(what, &["--yes"]);
        assert_eq!(output.status.code(), Some(1), "{what}: {}", text_of(&output));
        assert!(text_of(&output).contains("fails again: diverged"), "{}", text_of(&output));
    }
    let other = fs::OpenOptions::new().write(true).open(&image).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&other, b"x", 60_000).unwrap();
    let changed = repro(token, &["--yes"]);
    assert_eq!(changed.status.code(), Some(2), "another image is another question: {}", text_of(&changed));
}

#[test]
fn checks_and_accepted_content_decide_and_a_check_can_change_nothing() {
    let bench = Bench::new();
    let image = image(&bench);
    let path = image.to_str().unwrap();
    let tool = tool(&bench, FOUR_BLOCKS);
    // The check spoils its copy, which must not reach what is judged after it.
    let check =
        "grep -q 'block 3' {image} && dd if=/dev/zero of={image} bs=4096 count=4 conv=notrunc status=none";
    let output = exec(&bench, &["--image", path, "--check", check], &["sh", &tool, path]);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    fs::remove_dir_all(bench.run_dir()).unwrap();
    let output =
        exec(&bench, &["--image", path, "--check", "! grep -q 'block 3' {image}"], &["sh", &tool, path]);
    assert_eq!(output.status.code(), Some(3), "a check that fails on the baseline: {}", text_of(&output));
    fs::remove_dir_all(bench.run_dir()).unwrap();

    // What puts everything back leaves the old content.
    let undo = "dd if=/dev/zero bs=4096 count=4 status=none | tr '\\000' '\\007' | dd of={image} conv=notrunc status=none";
    for (accept, code, verdict) in [("old,new", 0, "rolled-back"), ("new", 1, "diverged")] {
        let _ = fs::remove_dir_all(bench.run_dir());
        let options = ["--image", path, "--resume", undo, "--accept", accept];
        let output = exec(&bench, &options, &["sh", &tool, path]);
        assert_eq!(output.status.code(), Some(code), "{accept}: {}", text_of(&output));
        assert!(bench.report()["verdicts"][verdict].as_u64().unwrap() >= 4, "{:#}", bench.report());
    }
}

#[test]
fn what_is_no_image_or_in_use_is_refused_before_anything_is_made() {
    let bench = Bench::new();
    let image = image(&bench);
    for (options, code, said) in [
        (&["--image", "/dev/null"][..], 2, "a device"),
        (&["--image", "/nonexistent.img"], 2, "/nonexistent.img"),
        (&["--volume", "/proc"], 2, "mount point"),
        (&["--image", "."], 2, "--volume"),
        (&[], 2, "--image"),
        (&["--image", image.to_str().unwrap(), "--mask", "anything"], 2, "anything"),
        (&["--image", image.to_str().unwrap(), "--time-limit", "soon"], 2, "soon"),
        (&["--image", image.to_str().unwrap(), "--untouched", "root"], 2, "root"),
    ] {
        let output = exec(&bench, options, &["true"]);
        assert_eq!(output.status.code(), Some(code), "{options:?}: {}", text_of(&output));
        assert!(text_of(&output).contains(said), "{options:?}: {}", text_of(&output));
    }
    let output = exec(&bench, &["--image", image.to_str().unwrap()], &["no-such-program"]);
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
    assert_eq!(mounts(), Vec::<String>::new());
}

#[test]
fn tools_that_misbehave_get_a_verdict_or_a_clear_error() {
    for (script, options, code, said) in [
        // The uninterrupted run itself never ends.
        ("while :; do :; done", &["--time-limit", "1s"][..], 3, "ran past its limit"),
        ("yes", &[][..], 3, "ran past its limit"),
        // A resume that finds the first block hangs.
        (
            "if [ \"$(head -c 5 $1)\" = block ]; then while :; do :; done; fi
             printf 'block' | dd of=$1 conv=notrunc status=none
             printf 'end' | dd of=$1 bs=4096 seek=1 conv=notrunc status=none",
            &["--time-limit", "1s"],
            1,
            "hung",
        ),
        ("yes | head -c 400000000 | dd of=$1 bs=1M conv=notrunc status=none", &[], 3, "No space left"),
        ("exit 4", &[], 3, "exited with 4"),
        ("kill -SEGV $$", &[], 3, "signal 11"),
    ] {
        let bench = Bench::new();
        let image = image(&bench);
        let tool = tool(&bench, script);
        let options = [&["--image", image.to_str().unwrap()], options].concat();
        let output = exec(&bench, &options, &["sh", &tool, "{image}"]);
        assert_eq!(output.status.code(), Some(code), "{script}: {}", text_of(&output));
        assert!(text_of(&output).contains(said), "{script}: {}", text_of(&output));
    }
    assert_eq!(mounts(), Vec::<String>::new());
}

#[test]
fn a_tool_that_maps_its_file_is_told_apart() {
    let bench = Bench::new();
    let image = image(&bench);
    let program = bench.dir.path().join("map.py");
    fs::write(
        &program,
        "import mmap, sys
f = open(sys.argv[1], 'r+b')
m = mmap.mmap(f.fileno(), 0)
m[0:5] = b'block'
m.flush()
",
    )
    .unwrap();
    let path = image.to_str().unwrap();
    let output = exec(&bench, &["--image", path], &["python3", program.to_str().unwrap(), path]);
    assert_eq!(output.status.code(), Some(4), "{}", text_of(&output));
    assert!(text_of(&output).contains("shared mapping"), "{}", text_of(&output));
}

#[test]
fn after_a_signal_to_killpoint_nothing_is_left() {
    let bench = Bench::new();
    let image = image(&bench);
    let tool = tool(
        &bench,
        "setsid sh -c 'while :; do printf x >> $0.log; sleep 0.01; done' $1 & while :; do :; done",
    );
    let before = cgroups();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let _ = fs::remove_dir_all(bench.run_dir());
        let mut child = bench
            .killpoint("exec", &["--image", image.to_str().unwrap()])
            .args(["--", "sh", &tool, "{image}"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let events = bench.run_dir().join("events.jsonl");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !fs::read_to_string(&events).is_ok_and(|text| text.contains("fixture-ready")) {
            assert!(Instant::now() < deadline, "the campaign did not begin");
            sleep(Duration::from_millis(20));
        }
        sleep(Duration::from_millis(1500));
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.code(), (signal == Signal::SIGTERM).then_some(130));
        // A killed killpoint can't wait for its tool's end.
        let deadline = Instant::now() + Duration::from_secs(10);
        while processes_naming(&image) > 0 {
            assert!(Instant::now() < deadline, "{signal}: the tool is still there");
            sleep(Duration::from_millis(20));
        }
        assert_eq!(mounts(), Vec::<String>::new(), "{signal}");
        assert_eq!(fs::read(&image).unwrap(), [7; 64 << 10], "{signal}");
    }
    // The next campaign removes the cgroup of the one that was killed.
    let _ = fs::remove_dir_all(bench.run_dir());
    let good = self::tool(&bench, FOUR_BLOCKS);
    let output = exec(&bench, &["--image", image.to_str().unwrap()], &["sh", &good, "{image}"]);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    let left: Vec<_> = cgroups().into_iter().filter(|dir| !before.contains(dir)).collect();
    // Other tests run their own meanwhile; one of ours would have no living owner.
    let dead = left.iter().filter(|dir| {
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        let pid = name.split('-').nth(1).and_then(|pid| pid.parse().ok()).unwrap();
        kill(Pid::from_raw(pid), None).is_err()
    });
    assert_eq!(dead.collect::<Vec<_>>(), Vec::<&PathBuf>::new());
}

/// Processes whose command line names a path.
fn processes_naming(path: &Path) -> usize {
    let wanted = path.display().to_string();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            entry.file_name().to_string_lossy().parse::<i32>().is_ok_and(|pid| pid != Pid::this().as_raw())
                && String::from_utf8_lossy(&line).contains(&wanted)
        })
        .count()
}
