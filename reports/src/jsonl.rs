//! The event log `events.jsonl`: a header line, then one line for each event. It is only ever appended to, each
//! event by one write of its whole line, so a kill or a full disk leaves at most one torn line, the last; reading
//! back tolerates that one and says so.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::disk_full;
use crate::{Event, Reader, SCHEMA, StoreError, Tally, ballast};

/// Name of the event log in a run directory.
const FILE_NAME: &str = "events.jsonl";

/// Path of a log that was put aside.
fn aside(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("events-{number}.jsonl"))
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    schema: u32,
    log: LogKind,
}

#[derive(Serialize, Deserialize)]
enum LogKind {
    #[serde(rename = "killpoint-events")]
    Events,
}

/// The event log of a running campaign.
#[derive(Debug)]
pub struct EventLog {
    dir: PathBuf,
    path: PathBuf,
    file: File,
    /// Bytes of whole lines.
    len_bytes: u64,
}

/// What an event log holds.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedEvents {
    /// All whole events, in order.
    pub events: Vec<Event>,
    /// The line that a kill cut short, if any.
    pub torn: Option<TornTail>,
}

/// A last line without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// Line number, from 1.
    pub line: usize,
    /// Bytes of it that are there.
    pub len_bytes: usize,
}

impl EventLog {
    /// Begins the log of the run directory `dir`, which exists and holds none yet, and reserves the room that the
    /// campaign's end needs on a full disk (`ballast`). On failure nothing is left in `dir`.
    pub fn create(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        let dir = dir.as_ref().to_owned();
        let path = Self::path(&dir);
        let file = File::options()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| StoreError::Write { path: path.clone(), source })?;
        let mut log = Self { dir, path, file, len_bytes: 0 };
        log.begin().inspect_err(|_| {
            // The failure that is reported is the first one; these only tidy up after it.
            let _ = fs::remove_file(&log.path);
            let _ = ballast::release(&log.dir);
        })?;
        Ok(log)
    }

    /// Path of the event log in the run directory `dir`.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join(FILE_NAME)
    }

    /// Reads the event log of the run directory `dir`. A torn last line is left out and named; any other line that
    /// is no event is an error.
    pub fn read(dir: &Path) -> Result<RecordedEvents, StoreError> {
        Self::read_file(&Self::path(dir))
    }

    /// Puts the event log of the run directory `dir` aside, so that another one can be begun: the campaign goes on. What
    /// an earlier one reserved is given up.
    pub fn set_aside(dir: &Path) -> Result<(), StoreError> {
        let path = Self::path(dir);
        let failed = |source| StoreError::Write { path: path.clone(), source };
        ballast::release(dir).map_err(failed)?;
        let number = (1..).find(|number| !aside(dir, *number).exists()).unwrap_or(u32::MAX);
        match fs::rename(&path, aside(dir, number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(failed),
        }
    }

    /// Reads the logs of a run directory that were put aside, and the last one: all that was tried, in order.
    pub fn read_all(dir: &Path) -> Result<Vec<RecordedEvents>, StoreError> {
        let paths = (1..).map(|number| aside(dir, number)).take_while(|path| path.exists());
        let last = Some(Self::path(dir)).filter(|path| path.exists());
        paths.chain(last).map(|path| Self::read_file(&path)).collect()
    }

    fn read_file(path: &Path) -> Result<RecordedEvents, StoreError> {
        let bytes = fs::read(path).map_err(|source| StoreError::Read { path: path.to_owned(), source })?;
        parse(path, &bytes)
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        ballast::reserve(&self.dir)
            .map_err(|source| StoreError::Write { path: ballast::path(&self.dir), source })?;
        let header = self.line(&Header { schema: SCHEMA, log: LogKind::Events })?;
        self.append(&header).map_err(|source| self.failed(source))
    }

    fn line(&self, value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
        let mut line = serde_json::to_vec(value)
            .map_err(|source| StoreError::Encode { path: self.path.clone(), source })?;
        line.push(b'\n');
        Ok(line)
    }

    /// Appends a whole line or nothing: what a full disk let through of it is taken back.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        match self.file.write_all(line) {
            Ok(()) => {
                self.len_bytes += line.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Where even this fails, a torn last line stays, which readers tolerate.
                let _ = self.file.set_len(self.len_bytes);
                Err(error)
            }
        }
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Write { path: self.path.clone(), source }
    }
}

impl Reader for EventLog {
    /// Appends `event`. The campaign's last event may use the reserved room where the disk is full.
    fn event(&mut self, event: &Event, _: &Tally) -> Result<(), StoreError> {
        let line = self.line(event)?;
        let last = matches!(event, Event::CampaignEnded { .. });
        match self.append(&line) {
            Err(source) if last && disk_full(&source) => {
                ballast::release_half(&self.dir)
                    .map_err(|source| StoreError::Write { path: ballast::path(&self.dir), source })?;
                self.append(&line)
            }
            done => done,
        }
        .map_err(|source| self.failed(source))
    }

    /// Makes the log durable.
    fn finish(&mut self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|source| self.failed(source))
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<RecordedEvents, StoreError> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // What follows the last newline: nothing, or a line that a kill cut short.
    let tail = lines.pop().unwrap_or_default();
    let torn = (!tail.is_empty()).then_some(TornTail { line: lines.len() + 1, len_bytes: tail.len() });
    let Some((header, lines)) = lines.split_first() else {
        // Killed before the header was whole: a log without events.
        return Ok(RecordedEvents { events: Vec::new(), torn });
    };
    check_header(path, header)?;
    let events = lines
        .iter()
        .enumerate()
        .map(|(i, line)| {
            serde_json::from_slice(line).map_err(|source| StoreError::Line {
                path: path.to_owned(),
                line: i + 2,
                source,
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(RecordedEvents { events, torn })
}

fn check_header(path: &Path, line: &[u8]) -> Result<(), StoreError> {
    let refused = |source| StoreError::Header { path: path.to_owned(), supported: SCHEMA, source };
    let header: Header = serde_json::from_slice(line).map_err(|source| refused(Some(source)))?;
    if header.schema == SCHEMA { Ok(()) } else { Err(refused(None)) }
}

#[cfg(test)]
mod tests;
