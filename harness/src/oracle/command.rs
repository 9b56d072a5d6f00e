//! Oracle `command`: any check. It runs on a private copy, so it can't change what is judged, and answers by its exit
//! code; what it prints last is the explanation.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use fault_backend::Volume;
use tempfile::TempDir;
use xxhash_rust::xxh3::Xxh3;

use crate::image::{self, SCRATCH};

use super::run::{Ended, Limits, Program, run_program};
use super::subject::Subject;
use super::{Halt, OracleError, Outcome, Told, World, at};

/// Output that a check may print.
const OUTPUT_BYTES: usize = 1 << 20;
/// Lines of its end that are shown.
const LINES_SHOWN: usize = 6;

/// A check.
#[derive(Debug)]
pub(super) struct Command {
    pub name: String,
    pub run: Vec<String>,
    /// Damages a copy, so that the check can be shown to object.
    pub prove: Option<Vec<String>>,
    pub pass: Vec<i32>,
    pub not_measured: Vec<i32>,
    pub limits: Limits,
}

/// The volume and scratch directory that a check sees.
struct Copy {
    volume: PathBuf,
    scratch: PathBuf,
    /// Where it lies, if it was made for this check alone; removed with it.
    _made: Option<TempDir>,
}

impl Command {
    /// Limits of a check with this time limit.
    pub fn limits(time_limit: &str) -> Option<Limits> {
        let time = humantime::parse_duration(time_limit).ok()?;
        Some(Limits { time, output_bytes: OUTPUT_BYTES })
    }

    pub fn ask(&self, subject: &Subject<'_>, world: &World) -> Result<Outcome, Halt> {
        let copy = Copy::of(subject, world)?;
        self.judge(&copy, subject.told, world)
    }

    /// Damages a copy with the scenario's own command and asks about that; `None` where there is no such command.
    pub fn ask_damaged(&self, subject: &Subject<'_>, world: &World) -> Result<Option<Outcome>, Halt> {
        let Some(prove) = &self.prove else { return Ok(None) };
        let copy = Copy::of(subject, world)?;
        match self.start(prove, &copy, subject.told, world)? {
            Ended::Exited { code: 0, .. } => self.judge(&copy, subject.told, world).map(Some),
            ended => {
                let why = format!("`prove` {}", shown(&ended, &copy));
                Ok(Some(Outcome::NotMeasured { why }))
            }
        }
    }

    fn judge(&self, copy: &Copy, told: Told<'_>, world: &World) -> Result<Outcome, Halt> {
        let ended = self.start(&self.run, copy, told, world)?;
        let text = shown(&ended, copy);
        Ok(match ended {
            Ended::Exited { code, .. } if self.pass.contains(&code) => Outcome::Held,
            Ended::Exited { code, .. } if self.not_measured.contains(&code) => {
                Outcome::NotMeasured { why: text }
            }
            Ended::Exited { .. } => Outcome::failed(text),
            Ended::OutOfTime(_) | Ended::TooMuchOutput(_) => Outcome::Hung { what: text },
            Ended::Signalled(_) | Ended::NotFound => Outcome::NotMeasured { why: text },
        })
    }

    fn start(
        &self,
        words: &[String],
        copy: &Copy,
        told: Told<'_>,
        world: &World,
    ) -> Result<Ended, OracleError> {
        let temporary = TempDir::new_in(&world.work).map_err(at(&world.work))?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let values = [
            ("volume", text(&copy.volume)),
            ("scratch", text(&copy.scratch)),
            ("scenario_dir", text(&world.words.scenario_dir)),
            ("baseline", text(&world.baseline.path)),
            ("start", text(&world.start.path)),
            ("acks", told.acks.join("\n")),
            ("exit", told.exit.map_or_else(String::new, |code| code.to_string())),
        ];
        let fill_in = |word: &String| OsString::from(filled_in(word, &values));
        let name = words.first().map(fill_in).unwrap_or_default();
        let known = name.to_str().and_then(|name| world.words.programs.get(name));
        let mut environment: BTreeMap<String, OsString> = BTreeMap::from([
            ("PATH".to_owned(), crate::tools::SEARCH_PATH.into()),
            ("HOME".to_owned(), "/nonexistent".into()),
            ("LC_ALL".to_owned(), "C".into()),
            ("TZ".to_owned(), "UTC".into()),
            ("TMPDIR".to_owned(), temporary.path().into()),
        ]);
        environment
            .extend(world.words.environment.iter().map(|(name, value)| (name.clone(), fill_in(value))));
        let program = Program {
            name: known.map_or(name.as_os_str(), |path| path.as_os_str()),
            arguments: words.iter().skip(1).map(fill_in).collect(),
            environment,
            directory: Some(world.words.directory.as_deref().unwrap_or(&copy.volume)),
        };
        run_program(&program, self.limits).map_err(at(Path::new(&name)))
    }
}

/// A name for what a check is told besides the volume.
pub(super) fn told_id(told: Told<'_>) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(format!("{:?}", told.exit).as_bytes());
    for ack in told.acks {
        hasher.update(&(ack.len() as u64).to_le_bytes());
        hasher.update(ack.as_bytes());
    }
    hasher.digest128()
}

impl Copy {
    /// On the FUSE seam the subject's own directory is private; on the host a sparse copy is made.
    fn of(subject: &Subject<'_>, world: &World) -> Result<Self, OracleError> {
        let volume = subject.path(world);
        if subject.side.memory.is_some() {
            subject.set_written();
            let scratch = volume.with_file_name(SCRATCH);
            return Ok(Self { volume: volume.to_owned(), scratch, _made: None });
        }
        let made = TempDir::new_in(&world.work).map_err(at(&world.work))?;
        let copy =
            Self { volume: made.path().join("volume"), scratch: made.path().join(SCRATCH), _made: None };
        image::copy_sparse(volume, &copy.volume).map_err(at(volume))?;
        let scratch = &world.words.scratch;
        if scratch.is_dir() {
            let contents = Volume::import(scratch).and_then(|contents| contents.export(&copy.scratch));
            contents.map_err(|error| at(scratch)(error.into()))?;
        } else {
            fs::create_dir(&copy.scratch).map_err(at(&copy.scratch))?;
        }
        Ok(Self { _made: Some(made), ..copy })
    }
}

/// How a check ended and what it said last, with the copy's own places left out.
fn shown(ended: &Ended, copy: &Copy) -> String {
    let Ended::Exited { code, output } = ended else { return ended.to_string() };
    let text = String::from_utf8_lossy(output).replace(&*copy.volume.to_string_lossy(), "{volume}");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    if last.is_empty() { format!("exits {code}") } else { format!("exits {code}: {}", last.join(" | ")) }
}

/// Replaces each `{name}` by its value, once: what a value holds is not looked at again.
fn filled_in(word: &str, values: &[(&str, String)]) -> String {
    let mut filled = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        filled.push_str(before);
        let value = values.iter().find_map(|(name, value)| {
            let after = from[1..].strip_prefix(name)?.strip_prefix('}')?;
            Some((value, after))
        });
        rest = match value {
            Some((value, after)) => {
                filled.push_str(value);
                after
            }
            None => {
                filled.push('{');
                &from[1..]
            }
        };
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_filled_in_once_and_other_braces_stay() {
        let values = [("acks", "{volume}\nb".to_owned()), ("volume", "/v".to_owned())];
        for (word, filled) in [
            ("{volume}/disk.img", "/v/disk.img"),
            ("--acks={acks}", "--acks={volume}\nb"),
            ("{}{other}{volume", "{}{other}{volume"),
            ("{{volume}}", "{/v}"),
        ] {
            assert_eq!(filled_in(word, &values), filled, "{word}");
        }
    }
}
