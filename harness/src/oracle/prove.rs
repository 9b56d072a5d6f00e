//! Shows that oracles can object: each is asked about the baseline, which it must accept, and then about private
//! copies of it that carry the damage it exists to find. An oracle that never objects would pass everything.
//!
//! A baseline in memory is damaged there, whatever its size; one on the host is copied once and put right each time.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fault_backend::volume::SetAttr;
use fault_backend::{Mutation, Timestamp, Volume};
use reports::Exit;

use crate::image::{self, VOLUME};

use super::damage::{Damage, Harm, Patch, damages};
use super::subject::{Side, Subject};
use super::{Check, CheckKind, Halt, OracleError, Outcome, Told, World, at, chain};

/// Why an oracle can't be relied on.
#[derive(Debug, thiserror::Error)]
pub enum Unproved {
    /// It objects to the uninterrupted run's own result.
    #[error("oracle `{oracle}` objects to the uninterrupted run's result: {explain}")]
    BaselineFails {
        /// Oracle.
        oracle: String,
        /// What it says.
        explain: String,
    },
    /// It accepts damage.
    #[error("oracle `{oracle}` does not object to {damage}")]
    Silent {
        /// Oracle.
        oracle: String,
        /// What was done to the copy.
        damage: String,
    },
    /// It could not look.
    #[error("oracle `{oracle}` could not be proved: {why}")]
    NotMeasured {
        /// Oracle.
        oracle: String,
        /// Why.
        why: String,
    },
    /// The damaged copy could not be made.
    #[error("oracle `{oracle}` could not be proved")]
    Failed {
        /// Oracle.
        oracle: String,
        /// Why.
        source: OracleError,
    },
}

impl Unproved {
    /// The exit code that it leads to: a bad baseline is not an oracle that can't look.
    pub fn exit(&self) -> Exit {
        match self {
            Self::BaselineFails { .. } => Exit::Baseline,
            Self::Silent { .. } | Self::NotMeasured { .. } | Self::Failed { .. } => Exit::NotMeasured,
        }
    }
}

/// What was at the places of a damage before.
type Patches = Vec<Patch>;

/// Proves the checks one after the other.
pub(super) fn prove(checks: &[Check], told: Told<'_>, world: &mut World) -> Result<Vec<String>, Unproved> {
    let place = world.work.join("proof");
    let made = match world.baseline.memory {
        Some(_) => Ok(()),
        None => image::copy_sparse(&world.baseline.path, &place).map_err(at(&place)),
    };
    let proved = made.map_err(failed("baseline")).and_then(|()| {
        let mut proved: Vec<String> = Vec::new();
        for check in checks {
            let prover = Prover { check, told, place: &place };
            if prover.prove(world)? && !proved.iter().any(|name| name == check.name()) {
                proved.push(check.name().to_owned());
            }
        }
        Ok(proved)
    });
    let cleared = removed(&place).map_err(failed("baseline"));
    let proved = proved?;
    cleared?;
    Ok(proved)
}

/// Removes a folder, if it is there.
fn removed(place: &Path) -> Result<(), OracleError> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(place)(error)),
        _ => Ok(()),
    }
}

/// One check on the way to its proof.
struct Prover<'a> {
    check: &'a Check,
    told: Told<'a>,
    /// Where the copy lies, or is shown.
    place: &'a Path,
}

impl Prover<'_> {
    /// Whether there was anything to prove.
    fn prove(&self, world: &mut World) -> Result<bool, Unproved> {
        let oracle = self.check.name().to_owned();
        match self.ask(None, world).map_err(failed(&oracle))? {
            Outcome::Held | Outcome::RolledBack => {}
            Outcome::Failed { explain } => return Err(Unproved::BaselineFails { oracle, explain }),
            Outcome::NotMeasured { why } | Outcome::Hung { what: why } => {
                return Err(Unproved::NotMeasured { oracle, why });
            }
        }
        if let CheckKind::Command(command) = &self.check.kind {
            let baseline = self.side(None, world).map_err(failed(&oracle))?;
            let subject = Subject::new(baseline, None, self.told);
            return match command.ask_damaged(&subject, world) {
                Ok(None) => Ok(false),
                Ok(Some(outcome)) | Err(Halt::Says(outcome)) => {
                    self.must_object(outcome, "what its `prove` does").map(|()| true)
                }
                Err(Halt::Fails(error)) => Err(failed(&oracle)(error)),
            };
        }
        let damages = damages(&self.check.kind, world).map_err(failed(&oracle))?;
        if damages.is_empty() && matches!(self.check.kind, CheckKind::Baseline(_)) {
            let damage = "any change: its mask covers every byte".to_owned();
            return Err(Unproved::Silent { oracle, damage });
        }
        for damage in &damages {
            let outcome = self.ask(Some(damage), world).map_err(failed(&oracle))?;
            self.must_object(outcome, &damage.what)?;
        }
        Ok(!damages.is_empty())
    }

    fn must_object(&self, outcome: Outcome, damage: &str) -> Result<(), Unproved> {
        let oracle = self.check.name().to_owned();
        match outcome {
            Outcome::Failed { .. } => Ok(()),
            Outcome::Held | Outcome::RolledBack => {
                Err(Unproved::Silent { oracle, damage: damage.to_owned() })
            }
            Outcome::NotMeasured { why } | Outcome::Hung { what: why } => {
                Err(Unproved::NotMeasured { oracle, why: format!("{damage}: {why}") })
            }
        }
    }

    /// Asks about the baseline, damaged or not.
    fn ask(&self, damage: Option<&Damage>, world: &mut World) -> Result<Outcome, OracleError> {
        let side = self.side(damage, world)?;
        let undo = match (damage, &side.memory) {
            (Some(damage), None) => Some(damage.inflict(&side.path)?),
            _ => None,
        };
        let answer = self.check.look(&Subject::new(side, None, self.told), world);
        if let Some((path, patches)) = undo {
            write_all(&path, &patches).map_err(at(&path))?;
        }
        Ok(match answer {
            Ok(outcome) | Err(Halt::Says(outcome)) => outcome,
            Err(Halt::Fails(error)) => Outcome::NotMeasured { why: chain(&error) },
        })
    }

    /// The copy on the host, or the state in memory with the damage, shown where external programs look at it.
    fn side(&self, damage: Option<&Damage>, world: &World) -> Result<Side, OracleError> {
        let Some(baseline) = &world.baseline.memory else { return Side::new(self.place, None) };
        let state = match damage {
            Some(damage) => damage.inflicted(baseline).map_err(at(&damage.file))?,
            None => baseline.clone(),
        };
        let external =
            matches!(self.check.kind, CheckKind::Fsck(_) | CheckKind::Content(_) | CheckKind::Command(_));
        if !external {
            return Side::new(&world.baseline.path, Some(&state));
        }
        removed(self.place)?;
        let path: PathBuf = world.show(&state, self.place).map_err(at(self.place))?;
        Side::new(&path, Some(&state))
    }
}

impl Damage {
    /// Writes the damage into a copy on the host; answers what was there.
    fn inflict(&self, copy: &Path) -> Result<(PathBuf, Patches), OracleError> {
        let path = copy.join(&self.file);
        let patches = match &self.harm {
            Harm::Bytes(patches) => patches.as_slice(),
            // Made for states in memory only.
            Harm::Gone | Harm::Mode | Harm::Replaced | Harm::Linked(_) => &[],
        };
        let file = File::open(&path).map_err(at(&path))?;
        let undo = patches.iter().map(|(offset, bytes)| {
            let mut before = vec![0; bytes.len()];
            file.read_exact_at(&mut before, *offset)?;
            Ok((*offset, before))
        });
        let undo = undo.collect::<io::Result<Patches>>().map_err(at(&path))?;
        write_all(&path, patches).map_err(at(&path))?;
        Ok((path, undo))
    }

    /// The state with the damage.
    fn inflicted(&self, state: &Volume) -> io::Result<Volume> {
        let mut state = state.clone();
        let path = Path::new(VOLUME).join(&self.file);
        let lost = || io::Error::from(io::ErrorKind::NotFound);
        match &self.harm {
            Harm::Bytes(patches) => {
                let mut image = state.file(&path).ok_or_else(lost)?.clone();
                patches.iter().try_for_each(|(offset, bytes)| image.write_at(*offset, bytes))?;
                state.insert_file(&path, image)?;
            }
            Harm::Gone => state.remove_tree(&path)?,
            Harm::Replaced => {
                let image = state.file(&path).ok_or_else(lost)?.clone();
                state.remove_tree(&path)?;
                state.insert_file(&path, image)?;
            }
            Harm::Linked(link) => {
                let link = Path::new(VOLUME).join(link);
                let (dir, name) = link.parent().zip(link.file_name()).ok_or_else(lost)?;
                let (ino, parent) = (state.resolve(&path), state.resolve(dir));
                let (ino, parent) = ino.zip(parent).ok_or_else(lost)?;
                let link = Mutation::Link { ino, parent, name: name.to_owned() };
                state.apply(&link, Timestamp::default())?;
            }
            Harm::Mode => {
                let ino = state.resolve(&path).ok_or_else(lost)?;
                let mode = state.node(ino).ok_or_else(lost)?.attr.mode ^ 0o001;
                let set = SetAttr { mode: Some(mode), ..SetAttr::default() };
                state.apply(&Mutation::SetAttr { ino, set }, Timestamp::default())?;
            }
        }
        Ok(state)
    }
}

fn write_all(path: &Path, patches: &[Patch]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    patches.iter().try_for_each(|(offset, bytes)| file.write_all_at(bytes, *offset))
}

fn failed(oracle: &str) -> impl FnOnce(OracleError) -> Unproved {
    let oracle = oracle.to_owned();
    move |source| Unproved::Failed { oracle, source }
}
