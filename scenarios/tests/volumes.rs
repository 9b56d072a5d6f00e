//! Volumes that a command makes or that are copied: what ends up in the volume, what the command sees, what decides the
//! cache key, and what a person reads where the command fails.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use scenarios::{FixtureError, Resolved, fixture, load};
use tempfile::TempDir;

/// A scenario in a folder of its own, and a volume for it.
struct Own {
    folder: TempDir,
    volume: TempDir,
}

impl Own {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder, volume: tempfile::tempdir().unwrap() }
    }

    fn load(&self, fixture: &str) -> Resolved {
        let path = self.folder.path().join("own.toml");
        let head = "schema = 1\nname = \"own\"\nsummary = \"a test\"\nrequires = [\"cp\"]\n";
        let rest =
            "[environment]\nMARK = \"{volume}|{scratch}\"\n[[phase]]\nname = \"one\"\nrun = [\"true\"]\n";
        fs::write(&path, format!("{head}[fixture]\n{fixture}\n{rest}")).unwrap();
        load(path.to_str().unwrap(), None).unwrap_or_else(|error| panic!("{error}"))
    }

    fn build(&self, fixture: &str) -> Result<(), FixtureError> {
        fixture::build(&self.load(fixture), self.volume.path())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.volume.path().join(name)).unwrap()
    }

    fn failure(&self, script: &str) -> String {
        fs::write(self.folder.path().join("build.sh"), script).unwrap();
        self.build(r#"command = ["sh", "{scenario_dir}/build.sh"]"#).unwrap_err().to_string()
    }
}

#[test]
fn a_command_makes_files_and_folders_in_a_clean_environment() {
    let script = "set -eu; mkdir -p \"$1/a/b\"; echo x > \"$1/a/b/c\"; env | sort > \"$1/environment\"; \
                  pwd > place; touch \"$TMPDIR/left\"; cat > input; cat \"$(dirname \"$0\")/more\" > more";
    let own = Own::new(&[("build.sh", script), ("more", "helper of a helper")]);
    own.build(r#"command = ["sh", "{scenario_dir}/build.sh", "{volume}"]"#).unwrap();
    let volume = own.volume.path().display().to_string();
    assert_eq!(own.read("a/b/c"), "x\n");
    assert_eq!(own.read("more"), "helper of a helper");
    assert_eq!(own.read("place").trim_end(), volume);
    assert_eq!(own.read("input"), "");
    let environment = own.read("environment");
    let names: Vec<&str> =
        environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    // The shell sets these itself.
    let of_a_shell = ["OLDPWD", "PWD", "SHLVL", "_"];
    let clean: Vec<_> = names.into_iter().filter(|name| !of_a_shell.contains(name)).collect();
    assert_eq!(clean, ["HOME", "LC_ALL", "MARK", "PATH", "TMPDIR", "TZ"]);
    assert!(environment.contains(&format!("MARK={volume}|")), "{environment}");
    assert!(!environment.contains('{'), "{environment}");
}

#[test]
fn a_command_that_fails_is_shown_with_its_exit_and_what_it_said() {
    let own = Own::new(&[]);
    let said = own.failure("echo out; echo error >&2; exit 3");
    assert_eq!(said, "the fixture's command `sh` failed (exit status: 3)\nout\nerror");
    assert!(own.failure("kill -9 $$").contains("signal: 9"), "death by a signal");
    assert_eq!(own.failure("true"), "the fixture's command `sh` made no file");
    let unknown = own.build(r#"command = ["no-such-program"]"#).unwrap_err();
    assert_eq!(unknown.to_string(), "`no-such-program` is not installed");
}

#[test]
fn a_command_that_prints_without_end_is_stopped_and_nothing_of_it_lives_on() {
    let own = Own::new(&[]);
    let said = own.failure("echo $$ > pid; sleep 1000 & echo $! >> pid; yes");
    assert!(said.contains("it said more than 16777216 bytes"), "{}", &said[..200]);
    assert!(said.len() < 5000, "{} bytes", said.len());
    for pid in own.read("pid").lines() {
        // What was sent SIGKILL dies once it is its turn on a CPU.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") || !state.contains("sleep") {
                break;
            }
            assert!(Instant::now() < deadline, "{state}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_command_starts_in_an_empty_volume_or_not_at_all() {
    let own = Own::new(&[("build.sh", "touch made")]);
    fs::write(own.volume.path().join("old"), "").unwrap();
    let error = own.build(r#"command = ["sh", "{scenario_dir}/build.sh"]"#).unwrap_err();
    assert!(matches!(error, FixtureError::NotEmpty(_)), "{error}");
    assert!(!own.volume.path().join("made").exists());
}

#[test]
fn files_are_copied_whole_sparse_and_with_one_mode() {
    let own = Own::new(&[("small", "text")]);
    let large = own.folder.path().join("large");
    let file = File::create(&large).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(b"in the middle", 32 << 20).unwrap();
    fs::set_permissions(&large, fs::Permissions::from_mode(0o400)).unwrap();
    own.build(r#"files = { "disk.img" = "large", "a/b.txt" = "small" }"#).unwrap();
    assert_eq!(own.read("a/b.txt"), "text");
    let copied = own.volume.path().join("disk.img");
    let same = Command::new("cmp").args([&large, &copied]).status().unwrap();
    assert!(same.success());
    let meta = copied.metadata().unwrap();
    assert_eq!(meta.mode() & 0o777, 0o644);
    assert!(meta.blocks() * 512 < 1 << 20, "{} blocks are not sparse", meta.blocks());
    let left: Vec<_> =
        fs::read_dir(own.volume.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn the_cache_key_follows_what_a_command_is_made_of() {
    let own = Own::new(&[("build.sh", "touch a"), ("other.sh", "touch b")]);
    let command = r#"command = ["sh", "{scenario_dir}/build.sh"]"#;
    let resolved = own.load(command);
    let (key, digest) = (fixture::cache_key(&resolved), resolved.digest());
    assert_eq!(fixture::cache_key(&own.load(command)), key);
    fs::write(own.folder.path().join("other.sh"), "touch c").unwrap();
    assert_eq!(fixture::cache_key(&own.load(command)), key, "a file that is not named decides nothing");
    assert_ne!(fixture::cache_key(&own.load(&command.replace("build", "other"))), key);
    let mut programs = resolved.clone();
    programs.scenario.requires = vec!["mv".to_owned()];
    assert_ne!(fixture::cache_key(&programs), key);
    let mut environment = resolved;
    environment.scenario.environment.clear();
    assert_ne!(fixture::cache_key(&environment), key);
    fs::write(own.folder.path().join("build.sh"), "touch d").unwrap();
    assert_ne!(fixture::cache_key(&own.load(command)), key);
    assert_ne!(own.load(command).digest(), digest, "a token must not replay another script");
}

#[test]
fn the_cache_key_follows_the_content_of_copied_files() {
    let own = Own::new(&[("image", "one")]);
    let files = r#"files = { "disk.img" = "image" }"#;
    let key = fixture::cache_key(&own.load(files));
    fs::write(own.folder.path().join("image"), "two").unwrap();
    assert_ne!(fixture::cache_key(&own.load(files)), key);
}

#[test]
fn expectations_decide_nothing_about_what_is_run() {
    let own = Own::new(&[
        ("a.json", r#"{"schema": 1, "findings": []}"#),
        (
            "b.json",
            r#"{"schema": 1, "findings": [{"phase": "one", "verdict": "hung", "oracle": "x", "note": ""}]}"#,
        ),
    ]);
    let with = |file: &str| own.load(&format!("command = [\"true\"]\n[expect]\nfindings = \"{file}\""));
    let (a, b) = (with("a.json"), with("b.json"));
    assert_eq!(a.digest(), b.digest());
    assert_eq!(a.expected.position("kill", "one", "hung", "x"), None);
    assert_eq!(b.expected.position("kill", "one", "hung", "x"), Some(0));
}

#[test]
fn a_scenario_that_ships_writes_its_helpers_where_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let resolved = load("sgdisk-new", None).unwrap();
    resolved.write_assets(&folder.path().join("deeper")).unwrap();
    let written = fs::read_to_string(folder.path().join("deeper/gpt-disk.sh")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("open/gpt-disk.sh");
    assert_eq!(written, fs::read_to_string(shipped).unwrap());
}
