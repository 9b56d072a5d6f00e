//! Running the built program on an image file.

use super::place::temp_dir;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

pub const STEPS: [&str; 6] = [
    "preflight",
    "shrinkFilesystems",
    "shrinkPartitions",
    "createPartitions",
    "copyFilesystems",
    "updatePartitions",
];

/// An image in a directory of its own, with a scratch directory beside it.
pub struct Image {
    directory: TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The exit code, after a look at what every error has to look like.
    pub fn failed(&self) -> i32 {
        let first = self.stderr.lines().next().unwrap_or_default();
        assert!(first.starts_with("resizer: error: "), "{self:?}");
        self.code.unwrap()
    }
}

impl Image {
    pub fn new(bytes: &[u8]) -> Image {
        let image = Image { directory: temp_dir() };
        fs::create_dir(image.scratch()).unwrap();
        fs::write(image.path(), bytes).unwrap();
        image
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("disk.img")
    }

    pub fn scratch(&self) -> PathBuf {
        self.directory.path().join("scratch")
    }

    pub fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = on_disk(&self.path(), args);
        command.arg("--scratch").arg(self.scratch());
        command
    }

    /// Runs the program on the image.
    pub fn run(&self, args: &[&str]) -> Ended {
        end(self.command(args))
    }

    /// Runs it where it has to succeed.
    pub fn run_ok(&self, args: &[&str]) -> Ended {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }

    /// Runs it where it has to fail without touching the image, and returns exit code and message.
    pub fn run_refused(&self, args: &[&str]) -> (i32, String) {
        let before = blake3::hash(&self.bytes());
        let ended = self.run(args);
        assert_eq!(blake3::hash(&self.bytes()), before, "the disk was touched: {ended:?}");
        (ended.failed(), ended.stderr)
    }

    /// Kills it as soon as it announces `step`.
    pub fn kill_at(&self, step: &str, args: &[&str]) {
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let wanted = format!("step: {step}");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = lines.map_while(Result::ok).any(|line| line == wanted);
        let _ = child.kill();
        child.wait().unwrap();
        assert!(seen, "it never announced {step}");
    }
}

/// The program with `args` on any disk.
pub fn on_disk(disk: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resizer"));
    command.args(args).arg(disk).env_remove("RESIZER_BUG").env_remove("KILLPOINT_HOOK");
    command
}

/// Runs a command to its end.
pub fn end(mut command: Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
