//! Goal: a person who mistypes something, presses Ctrl-C or runs out of disk gets one clear line, the documented exit
//! code, and finds everything that was done kept and nothing left behind. Method: the binary is run as they would.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Bench, text_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Waits for something that a running campaign will do.
fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(300);
    while !happened() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        sleep(Duration::from_millis(20));
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).map(|entries| entries.flatten().collect()).unwrap_or_else(|_| Vec::new());
    entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn events_text(bench: &Bench) -> String {
    fs::read_to_string(bench.run_dir().join("events.jsonl")).unwrap_or_default()
}

/// Command lines of the processes that mention a path.
fn processes_at(path: &Path) -> Vec<String> {
    names_in(Path::new("/proc"))
        .iter()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&*path.to_string_lossy()))
        .collect()
}

#[test]
fn bad_input_is_one_line_with_the_place_and_exit_2_and_leaves_nothing() {
    let bench = Bench::new();
    let file = |name: &str, text: &str| {
        let path = bench.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let shipped = scenarios::shipped().iter().find(|s| s.name == "renumber").unwrap().text;
    let malformed = file("malformed.toml", &shipped.replace("schema = 1", "schema = "));
    let unknown_key = file("unknown-key.toml", &shipped.replace("schema = 1", "schema = 1\nretries = 5"));
    let wrong_type = file("wrong-type.toml", &shipped.replace("schema = 1", "schema = \"one\""));
    let token = "kp1:mixed-layout@small:hook:0123456789abcdef:s1:grow:a3k:0123456789abcdef:0123456789abcdef";
    for (command, argument, expected) in [
        ("run", "mixed-layuot", "mixed-layout"),
        ("run", malformed.as_str(), "malformed.toml"),
        ("run", unknown_key.as_str(), "retries"),
        ("run", wrong_type.as_str(), "wrong-type.toml"),
        ("run", "/nonexistent/x.toml", "/nonexistent/x.toml"),
        ("repro", "kp1:mixed-layout@small:0123", "cut"),
        ("repro", "mixed-layout", "kp1:"),
        ("repro", token, "digest"),
    ] {
        let output = bench.killpoint(command, &[argument]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{command} {argument}: {}", text_of(&output));
        assert!(stderr.contains(expected), "{command} {argument}: {stderr}");
        assert!(stderr.starts_with("killpoint: error: "), "{command} {argument}: {stderr}");
        assert!(!bench.run_dir().exists(), "{command} {argument} made a run directory");
    }
    for arguments in
        [&["--iterations", "0"][..], &["--kills", "4-1"], &["--for", "soon"], &["--colour", "no"]]
    {
        let output = bench.killpoint("run", &[&["mixed-layout"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text_of(&output));
    }
}

#[test]
fn a_run_directory_with_something_in_it_is_refused_and_left_alone() {
    let bench = Bench::new();
    fs::create_dir(bench.run_dir()).unwrap();
    fs::write(bench.run_dir().join("mine"), "x").unwrap();
    let output = bench.killpoint("run", &["renumber"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
    assert_eq!(names_in(&bench.run_dir()), ["mine"]);
}

#[test]
fn a_missing_program_is_exit_5_with_the_package_that_has_it() {
    let bench = Bench::new();
    let shipped = scenarios::shipped().iter().find(|s| s.name == "renumber").unwrap().text;
    let line =
        shipped.lines().find(|line| line.starts_with("requires")).expect("renumber requires something");
    let path = bench.dir.path().join("needs-more.toml");
    fs::write(&path, shipped.replace(line, "requires = [\"mkfs.f2fs\"]")).unwrap();
    let output = bench.killpoint("run", &[path.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text_of(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("mkfs.f2fs"));
    assert!(!bench.run_dir().exists());
}

#[test]
fn a_tool_that_fails_by_itself_is_exit_3() {
    let bench = Bench::new();
    let shipped = scenarios::shipped().iter().find(|s| s.name == "renumber").unwrap().text;
    let path = bench.dir.path().join("fails.toml");
    let broken = shipped.replace("label:", "label:no such ");
    assert_ne!(broken, shipped);
    fs::write(&path, broken).unwrap();
    let output = bench.killpoint("run", &[path.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text_of(&output));
}

#[test]
fn one_seed_draws_one_plan_and_another_seed_another() {
    let plan = |seed: &str| {
        let bench = Bench::new();
        let output =
            bench.killpoint("run", &["renumber", "--iterations", "3", "--seed", seed]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
        bench.events("planned")
    };
    let first = plan("7");
    assert_eq!(first.len(), 3);
    assert_eq!(plan("7"), first);
    assert_ne!(plan("8"), first);
}

/// Starts a long campaign and waits for its first kills.
fn start_soak(bench: &Bench, extra: &[&str]) -> Child {
    let work = bench.dir.path().join("work");
    fs::create_dir_all(&work).unwrap();
    let arguments =
        [&["renumber", "--for", "1h", "--seed", "1", "--work-dir", work.to_str().unwrap()], extra].concat();
    let child =
        bench.killpoint("run", &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("a kill", || events_text(bench).contains("\"event\":\"kill\""));
    child
}

#[test]
fn a_signal_keeps_what_was_done_and_leaves_nothing_behind() {
    for (signal, name) in [(Signal::SIGINT, "SIGINT"), (Signal::SIGTERM, "SIGTERM")] {
        let bench = Bench::new();
        let child = start_soak(&bench, &[]);
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", text_of(&output));
        let report = bench.report();
        assert!(report["points"]["landed"].as_u64() > Some(0), "{report}");
        assert!(text_of(&output).contains(name), "{}", text_of(&output));
        assert_eq!(names_in(&bench.dir.path().join("work")), [] as [&str; 0]);
        assert_eq!(processes_at(&bench.dir.path().join("work")), [] as [&str; 0]);
    }
}

#[test]
fn after_killpoint_itself_was_killed_no_tool_runs_and_the_next_campaign_tidies_up() {
    let bench = Bench::new();
    let mut child = start_soak(&bench, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    let work = bench.dir.path().join("work");
    wait_for("the end of the tool", || processes_at(&work).is_empty());
    assert_eq!(names_in(&work).len(), 1, "a killed campaign can't remove its working area");

    let again = Bench::new();
    let arguments = ["renumber", "--iterations", "1", "--seed", "1", "--work-dir", work.to_str().unwrap()];
    let output = again.killpoint("run", &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    assert_eq!(names_in(&work), [] as [&str; 0]);
}

/// A small file system in memory; it needs root.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(path: std::path::PathBuf, size: &str) -> Self {
        fs::create_dir_all(&path).unwrap();
        let done =
            Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(&path).output().unwrap();
        assert!(done.status.success(), "mounting a tmpfs needs root: {}", text_of(&done));
        Self(path)
    }

    fn fill(&self) {
        let other = File::create(self.0.join("other")).unwrap();
        let zeros = [0; 1 << 16];
        while (&other).write_all(&zeros).is_ok() {}
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_under_the_run_directory_ends_the_campaign_with_its_results_kept() {
    let bench = Bench::new();
    let disk = Tmpfs::mount(bench.run_dir(), "size=4m");
    // On the in-process seam the states lie there.
    let child = start_soak(&bench, &["--seam", "in-process"]);
    disk.fill();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text_of(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("full"), "{}", text_of(&output));
    assert!(bench.report()["points"]["landed"].as_u64() > Some(0));
    assert_eq!(names_in(&bench.dir.path().join("work")), [] as [&str; 0]);
}

#[test]
fn a_full_working_area_is_no_finding_of_the_tool() {
    let bench = Bench::new();
    let disk = Tmpfs::mount(bench.dir.path().join("work"), "size=1g");
    // On the in-process seam the states lie there.
    let child = start_soak(&bench, &["--seam", "in-process"]);
    disk.fill();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text_of(&output));
    assert_eq!(bench.report()["findings"].as_array().unwrap().len(), 0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("full"), "{}", text_of(&output));
}

#[test]
fn repro_tells_a_pass_from_another_state_and_from_a_kill_that_did_not_land() {
    let show = Command::new(env!("CARGO_BIN_EXE_killpoint"))
        .args(["show", "renumber", "--format", "json"])
        .output()
        .unwrap();
    let show: serde_json::Value = serde_json::from_slice(&show.stdout).unwrap();
    let digest = show["digest"].as_str().unwrap();
    for seam in ["hook", "fuse"] {
        let repro = |op: u64, fixture: &str, crash: &str| {
            let bench = Bench::new();
            let token = format!("kp1:renumber:{seam}:{digest}:s1:grow:a{op}k:{fixture}:{crash}");
            let output = bench.killpoint("repro", &[&token]).output().unwrap();
            let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
            (output.status.code(), stdout, text_of(&output), bench)
        };
        let zeros = "0".repeat(16);

        let (code, _, text, bench) = repro(20, &zeros, &zeros);
        assert_eq!(code, Some(2), "another fixture: {text}");
        let fixture = bench.events("fixture-ready")[0]["fixture_id"].as_str().unwrap()[..16].to_owned();

        let (code, stdout, text, _) = repro(20, &fixture, &zeros);
        assert_eq!(code, Some(4), "another crash state: {text}");
        assert!(stdout.contains("crash state"), "{stdout}");
        let crash = stdout.split("the crash state is `").nth(1).unwrap()[..16].to_owned();

        let (code, stdout, text, _) = repro(20, &fixture, &crash);
        assert_eq!(code, Some(0), "this tool recovers from it: {text}");
        assert!(stdout.contains("now passes"), "{stdout}");

        let (code, stdout, text, _) = repro(1_000_000, &fixture, &crash);
        assert_eq!(code, Some(4), "there is no such op: {text}");
        assert!(stdout.contains("did not land"), "{stdout}");
    }
}

#[test]
fn inspect_says_what_is_wrong_with_a_table_and_refuses_what_has_none() {
    let bench = Bench::new();
    let resolved = scenarios::load("renumber", None).unwrap();
    scenarios::fixture::build(&resolved, bench.dir.path()).unwrap();
    let image = bench.dir.path().join("disk.img");
    let inspect = |image: &Path, format: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_killpoint"))
            .args(["inspect", "--format", format])
            .arg(image)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), text_of(&output))
    };
    let (code, text, all) = inspect(&image, "human");
    assert_eq!(code, Some(0), "{all}");
    assert!(text.contains("sound") && text.contains("IMGA"), "{text}");

    let disk = File::options().write(true).open(&image).unwrap();
    let len = disk.metadata().unwrap().len();
    disk.set_len(len + (1 << 20)).unwrap();
    disk.write_all_at(b"x", 512 + 60).unwrap();
    let (code, text, all) = inspect(&image, "human");
    assert_eq!(code, Some(1), "{all}");
    assert!(text.contains("primary (LBA 1): header CRC"), "{text}");
    let (_, json, _) = inspect(&image, "json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["primary"]["valid"], &json["sector_bytes"]), (&false.into(), &512.into()));
    assert_eq!(json["len_bytes"], len + (1 << 20));
    assert!(json["problems"].as_array().is_some_and(|problems| !problems.is_empty()));

    let other = bench.dir.path().join("other");
    for content in [&b""[..], b"tiny", &[0; 1 << 20]] {
        fs::write(&other, content).unwrap();
        let (code, _, all) = inspect(&other, "human");
        assert_eq!(code, Some(2), "{all}");
        assert!(all.contains("holds no GPT"), "{all}");
    }
    for missing in [bench.dir.path().join("nothing"), bench.dir.path().to_owned()] {
        let (code, _, all) = inspect(&missing, "human");
        assert_eq!(code, Some(2), "{all}");
    }
}

#[test]
fn list_and_show_print_what_ships() {
    let killpoint = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_killpoint")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let list = killpoint(&["list"]);
    let json: serde_json::Value = serde_json::from_str(&killpoint(&["list", "--format", "json"])).unwrap();
    for (row, shipped) in json.as_array().unwrap().iter().zip(scenarios::shipped()) {
        assert_eq!(row["name"], shipped.name);
        assert!(list.lines().any(|line| line.starts_with(shipped.name) && line.ends_with(shipped.summary)));
    }
    let small = killpoint(&["show", "mixed-layout"]);
    let full = killpoint(&["show", "mixed-layout", "--scale", "full"]);
    assert!(small.contains("scale small") && full.contains("1152M"), "{full}");
}
