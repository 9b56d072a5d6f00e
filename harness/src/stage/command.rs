//! A phase's command as it is run: placeholders filled in, a clean environment, programs by their paths.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use regex::bytes::Regex;
use scenarios::model::Phase;

use crate::error::Error;
use crate::process::{Command, StepRule};
use crate::tools::SEARCH_PATH;

/// What commands are made from.
#[derive(Clone, Debug)]
pub struct Words {
    /// `{volume}`.
    pub volume: PathBuf,
    /// `{scratch}`.
    pub scratch: PathBuf,
    /// `{scenario_dir}`.
    pub scenario_dir: PathBuf,
    /// Folder that commands are run in; none for the volume.
    pub directory: Option<PathBuf>,
    /// Programs by the name that the scenario uses.
    pub programs: BTreeMap<String, PathBuf>,
    /// The scenario's environment, and that of a planted bug.
    pub environment: BTreeMap<String, String>,
    /// Sleeps last as long as the tool asks for.
    pub real_time: bool,
}

impl Words {
    /// The command of a phase, ready to be run.
    pub fn command(&self, phase: &Phase, command: &[String]) -> Result<Command, Error> {
        let time_limit = humantime::parse_duration(&phase.time_limit)
            .map_err(|source| Error::TimeLimit { phase: phase.name.clone(), source })?;
        let mut words = command.iter().map(|word| self.fill_in(word));
        let name = words.next().unwrap_or_default();
        let program = self.programs.get(&name).cloned().unwrap_or_else(|| PathBuf::from(&name));
        let mut environment: BTreeMap<String, OsString> = BTreeMap::new();
        for (name, value) in [("PATH", SEARCH_PATH), ("HOME", "/nonexistent"), ("LC_ALL", "C"), ("TZ", "UTC")]
        {
            environment.insert(name.to_owned(), value.into());
        }
        environment.insert("TMPDIR".to_owned(), self.scratch.clone().into());
        for (name, value) in &self.environment {
            environment.insert(name.clone(), self.fill_in(value).into());
        }
        let pattern = |text: &Option<String>| match text {
            Some(text) => Regex::new(text)
                .map(Some)
                .map_err(|source| Error::Pattern { phase: phase.name.clone(), source }),
            None => Ok(None),
        };
        let step = match &phase.step_prefix {
            Some(prefix) => Some(StepRule::Prefix(prefix.clone())),
            None => pattern(&phase.step_pattern)?.map(StepRule::Pattern),
        };
        Ok(Command {
            arguments: words.map(OsString::from).collect(),
            environment,
            input: phase.input.clone().map(String::into_bytes),
            step,
            ack: pattern(&phase.ack_pattern)?,
            real_time: self.real_time || phase.real_time,
            time_limit,
            ..Command::new(program, self.directory.clone().unwrap_or_else(|| self.volume.clone()))
        })
    }

    /// Replaces the placeholders that only a run knows.
    pub fn fill_in(&self, word: &str) -> String {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        word.replace("{volume}", &text(&self.volume))
            .replace("{scratch}", &text(&self.scratch))
            .replace("{scenario_dir}", &text(&self.scenario_dir))
    }
}
