//! What the end-to-end tests share: the binary, with places of its own, and what it left.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

#[allow(dead_code)] // Not every test needs places.
/// A run of killpoint with a run directory and a working area that go with the test.
pub struct Bench {
    /// Everything that the test makes lies here.
    pub dir: tempfile::TempDir,
}

impl Bench {
    /// Fresh places.
    #[allow(dead_code)] // Not every test needs them.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Where the results go.
    #[allow(dead_code)] // Not every test needs it.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// The command, with the run directory given.
    #[allow(dead_code)] // Not every test runs it this way.
    pub fn killpoint(&self, command: &str, arguments: &[&str]) -> Command {
        let mut killpoint = Command::new(env!("CARGO_BIN_EXE_killpoint"));
        killpoint
            .arg(command)
            .args(arguments)
            .arg("--run-dir")
            .arg(self.run_dir())
            .current_dir(self.dir.path());
        killpoint
    }

    /// The report that it left.
    #[allow(dead_code)] // Not every test reads it.
    pub fn report(&self) -> Value {
        let text = std::fs::read_to_string(self.run_dir().join("report.json")).expect("there is a report");
        serde_json::from_str(&text).expect("the report is JSON")
    }

    /// The events that it left, of one kind.
    #[allow(dead_code)] // Not every test reads them.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.run_dir().join("events.jsonl")).expect("there are events");
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event is JSON"));
        events.filter(|event| event["event"] == kind).collect()
    }
}

/// Standard output and error as text, for a failure's message.
pub fn text_of(output: &Output) -> String {
    format!(
        "exit {:?}\n{}{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
