//! Crash states of findings, kept in the run directory as the ops that led to them, so that a finding can be judged
//! again without the tool doing the same once more.
//!
//! A folder `states` holds recordings (`log-1`, each written once however many findings it leads to) and, for each
//! finding, a small file that says which of their ops lead from the phase's start to its crash state.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fault_backend::oplog::OpLog;
use fault_backend::power::{DeviceProfile, Durability};
use fault_backend::replay::{Point, Replay, ReplayError};
use fault_backend::volume::Volume;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::explain::Explanation;
use crate::outage::{Outage, PowerCut};

/// Folder of the states in a run directory.
const FOLDER: &str = "states";

/// Folder of the explanations in a run directory, each a file of JSON.
const EXPLANATIONS: &str = "explanations";

/// Bytes of payload that the recordings of one campaign may take together; findings beyond them have their token.
const MAX_BYTES: u64 = 1 << 30;

/// Schema number of the files.
const SCHEMA: u32 = 1;

/// How a state came about: a recorded run up to a point, then what became of the scratch directory.
#[derive(Clone, Debug)]
pub struct Past {
    /// The run.
    pub log: Arc<OpLog>,
    /// Where it was cut.
    pub at: Reached,
    /// The scratch directory was emptied after it.
    pub wiped: bool,
}

/// What ended a recorded run.
#[derive(Clone, Debug)]
pub enum Reached {
    /// A kill at a point of it.
    Point(Point),
    /// A power cut.
    Power(PowerCut),
}

/// The state of a finding can't be kept or brought back.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file of it can't be read or written.
    #[error("the kept state `{path}` can't be used")]
    Io {
        /// File.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of it is damaged or from another version.
    #[error("the kept state `{path}` is damaged or was written by another version of killpoint")]
    Damaged {
        /// File.
        path: PathBuf,
    },
    /// The ops don't fit the start.
    #[error("the kept state can't be brought back")]
    Replay(#[from] ReplayError),
}

/// Keeps states in a run directory.
#[derive(Debug)]
pub struct FindingStore {
    folder: PathBuf,
    explanations: PathBuf,
    /// Recordings that were written, in the order of their numbers.
    logs: Vec<Arc<OpLog>>,
    bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    schema: u32,
    legs: Vec<KeptLeg>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptLeg {
    log: usize,
    /// Ops that are complete.
    after: u64,
    /// Bytes of the op after them that arrived.
    torn_bytes: Option<u64>,
    wiped: bool,
    /// The power cut that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    power: Option<KeptPower>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptPower {
    state: String,
    device: String,
    durability: Durability,
    seed: u64,
}

impl KeptPower {
    fn of(cut: &PowerCut) -> Self {
        let Outage { device, durability, seed } = &*cut.outage;
        Self { state: cut.state.to_string(), device: device.word(), durability: *durability, seed: *seed }
    }

    /// None where the words mean nothing.
    fn read(&self) -> Option<PowerCut> {
        let device = DeviceProfile::from_word(&self.device).ok()?;
        let outage = Arc::new(Outage { device, durability: self.durability, seed: self.seed });
        Some(PowerCut { state: self.state.parse().ok()?, outage })
    }
}

impl FindingStore {
    /// For a run directory; nothing is made before there is a finding.
    pub fn new(run_dir: &Path) -> Self {
        Self {
            folder: run_dir.join(FOLDER),
            explanations: run_dir.join(EXPLANATIONS),
            logs: Vec::new(),
            bytes: 0,
        }
    }

    /// Keeps the way to a finding's state. Beyond the limit nothing is kept.
    pub fn keep(&mut self, finding: &str, past: &[Past]) -> Result<(), Error> {
        let mut legs = Vec::new();
        for leg in past {
            let known = self.logs.iter().position(|log| Arc::ptr_eq(log, &leg.log));
            let log = match known {
                Some(index) => index + 1,
                None if self.bytes.saturating_add(leg.log.payload_bytes()) > MAX_BYTES => return Ok(()),
                None => self.write_log(&leg.log)?,
            };
            let (after, torn_bytes, power) = match &leg.at {
                Reached::Point(Point::After(op)) => (*op, None, None),
                Reached::Point(Point::Torn { op, bytes }) => (*op - 1, Some(*bytes), None),
                Reached::Power(cut) => (cut.state.cut, None, Some(KeptPower::of(cut))),
            };
            legs.push(KeptLeg { log, after, torn_bytes, wiped: leg.wiped, power });
        }
        let path = self.folder.join(format!("{finding}.json"));
        let text = serde_json::to_vec(&Kept { schema: SCHEMA, legs }).map_err(Error::Json)?;
        fs::write(&path, text).map_err(Error::io(&path))
    }

    /// Keeps why a finding is one, as data: [`Explanation`].
    pub fn keep_explanation(&self, finding: &str, explanation: &Explanation) -> Result<(), Error> {
        fs::create_dir_all(&self.explanations).map_err(Error::io(&self.explanations))?;
        let path = self.explanations.join(format!("{finding}.json"));
        let text = serde_json::to_vec_pretty(explanation).map_err(Error::Json)?;
        fs::write(&path, text).map_err(Error::io(&path))
    }

    fn write_log(&mut self, log: &Arc<OpLog>) -> Result<usize, Error> {
        fs::create_dir_all(&self.folder).map_err(Error::io(&self.folder))?;
        let number = self.logs.len() + 1;
        let path = log_path(&self.folder, number);
        let file = File::create(&path).map_err(Error::io(&path))?;
        let mut writer = BufWriter::new(file);
        log.write_to(&mut writer).and_then(|()| writer.flush()).map_err(Error::io(&path))?;
        self.bytes = self.bytes.saturating_add(log.payload_bytes());
        self.logs.push(Arc::clone(log));
        Ok(number)
    }
}

fn log_path(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("log-{number}"))
}

/// Whether a finding's state was kept.
pub fn is_kept(run_dir: &Path, finding: &str) -> bool {
    run_dir.join(FOLDER).join(format!("{finding}.json")).is_file()
}

/// How a finding's state came about.
pub fn read(run_dir: &Path, finding: &str) -> Result<Vec<Past>, StateError> {
    let folder = run_dir.join(FOLDER);
    let path = folder.join(format!("{finding}.json"));
    let text = fs::read(&path).map_err(|source| StateError::Io { path: path.clone(), source })?;
    let damaged = || StateError::Damaged { path: path.clone() };
    let kept: Kept = serde_json::from_slice(&text).map_err(|_| damaged())?;
    if kept.schema != SCHEMA {
        return Err(damaged());
    }
    let read_leg = |leg: &KeptLeg| {
        let path = log_path(&folder, leg.log);
        let file = File::open(&path).map_err(|source| StateError::Io { path: path.clone(), source })?;
        let log = OpLog::read_from(&mut BufReader::new(file)).map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => StateError::Damaged { path: path.clone() },
            _ => StateError::Io { path: path.clone(), source },
        })?;
        let at = match (leg.torn_bytes, &leg.power) {
            (_, Some(power)) => Reached::Power(power.read().ok_or_else(damaged)?),
            (None, None) => Reached::Point(Point::After(leg.after)),
            (Some(bytes), None) => Reached::Point(Point::Torn { op: leg.after + 1, bytes }),
        };
        Ok(Past { log: Arc::new(log), at, wiped: leg.wiped })
    };
    kept.legs.iter().map(read_leg).collect()
}

/// The state that a past leads to from a phase's start. `wipe` empties the scratch directory of a state.
pub fn follow(
    start: Volume,
    past: &[Past],
    mut wipe: impl FnMut(&mut Volume) -> Result<(), Error>,
) -> Result<Volume, Error> {
    let mut state = start;
    for leg in past {
        state = match &leg.at {
            Reached::Point(point) => {
                Replay::new(state, &leg.log).state(*point).map_err(StateError::Replay)?
            }
            Reached::Power(cut) => cut.outage.volume(state, &leg.log, &cut.state)?,
        };
        if leg.wiped {
            wipe(&mut state)?;
        }
    }
    Ok(state)
}
