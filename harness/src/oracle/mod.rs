//! The oracles of a scenario: each looks at a volume and says whether one thing about it holds.
//!
//! An [`OracleSet`] is made once per phase, from the state at the phase's start and the one that an uninterrupted run
//! leaves (the baseline); what can be known beforehand is computed then. Answers are remembered by content, and a state
//! in memory costs what differs from its baseline. Before a set is relied on, [`OracleSet::prove`] shows that each
//! oracle objects to damage.

mod answer;
mod baseline;
mod checker;
mod command;
mod content;
mod damage;
mod error;
mod fsck;
mod isolation;
mod memory;
mod prove;
mod run;
mod setup;
mod spot;
mod subject;
mod table;
mod untouched;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fault_backend::Volume;
use scenarios::Resolved;
use scenarios::model::{Accept, At, Oracle, Phase};

use crate::content::Reader;
use crate::image::VOLUME;
use crate::mask::Mask;
use crate::stage::{Look, Saved, Words};

pub use answer::{Answer, Outcome, Told};
pub use error::OracleError;
pub use prove::Unproved;
pub use run::{Ended, Limits, Program, run_limited, run_program, source_argument};

use baseline::Accepted;
use error::{Halt, at, chain};
use memory::{Memory, Question};
use setup::Setup;
use subject::{Side, Subject};

/// What the oracles of a set work with.
#[derive(Clone, Debug)]
pub struct Checkers {
    /// A folder for temporary files; made where it does not exist.
    pub work: PathBuf,
    /// Optional programs of the scenario that this machine lacks: what needs one is left out and named by
    /// [`OracleSet::not_tested`].
    pub lacking: Vec<String>,
    /// How commands are made.
    pub words: Words,
    /// What the uninterrupted run acknowledged, for command oracles that are proved.
    pub acks: Vec<String>,
    /// Shows states in memory to external programs, on a seam that has them there.
    pub show: Option<Arc<dyn Showcase>>,
}

/// Shows a state in memory as a directory.
pub trait Showcase: fmt::Debug + Send + Sync {
    /// Puts a state (as in [`Saved::memory`]: with `volume` and `scratch`) where external programs can look at it, and
    /// answers the directory of its volume: the one that [`Look::path`] is. What was shown there before is gone.
    fn show(&self, state: &Volume) -> PathBuf;
}

/// The oracles of one phase.
#[derive(Debug)]
pub struct OracleSet {
    checks: Vec<Check>,
    world: World,
    not_tested: Vec<String>,
    proof_acks: Vec<String>,
    proof_exit: Option<i32>,
}

/// One oracle of the scenario, ready to be asked.
#[derive(Debug)]
struct Check {
    /// Tells its remembered answers from those of others.
    number: usize,
    at: At,
    kind: CheckKind,
}

#[derive(Debug)]
enum CheckKind {
    Baseline(Accepted),
    Table(table::Table),
    Untouched(untouched::Untouched),
    Fsck(fsck::Fsck),
    Content(content::Content),
    Command(command::Command),
    Isolation(isolation::Isolation),
}

/// What all oracles of a set share.
#[derive(Debug)]
struct World {
    start: Side,
    baseline: Side,
    mask: Mask,
    work: PathBuf,
    words: Words,
    show: Option<Arc<dyn Showcase>>,
    reader: Reader,
    memory: Memory,
}

/// Whether the scenario declares that a baseline says nothing about bytes.
pub(crate) fn compares_nothing(oracles: &[Oracle]) -> bool {
    let everything =
        |spec: &String| scenarios::model::Mask::parse(spec) == Some(scenarios::model::Mask::Everything);
    oracles.iter().any(|oracle| match oracle {
        Oracle::Baseline { mask, .. } => mask.iter().any(everything),
        _ => false,
    })
}

impl OracleSet {
    /// Sets up the oracles of a scenario for one phase. The directories of `start` and `baseline` stay as they are as
    /// long as the set is asked.
    pub fn new(
        resolved: &Resolved,
        phase: &Phase,
        start: &Saved,
        baseline: &Saved,
        mask: Mask,
        checkers: Checkers,
    ) -> Result<Self, OracleError> {
        let Checkers { work, lacking, words, acks, show } = checkers;
        fs::create_dir_all(&work).map_err(at(&work))?;
        let scenario = &resolved.scenario;
        let mut world = World {
            start: Side::of_saved(start)?,
            baseline: Side::of_saved(baseline)?,
            mask,
            words,
            show,
            reader: Reader { work: work.clone(), debugfs: !lacking.iter().any(|name| name == "debugfs") },
            work,
            memory: Memory::default(),
        };
        let mut not_tested = Vec::new();
        let is_baseline = |oracle: &&Oracle| matches!(oracle, Oracle::Baseline { .. });
        let accepted = match scenario.oracle.iter().find(is_baseline) {
            Some(Oracle::Baseline { accept, .. }) => {
                Accepted { old: accept.contains(&Accept::Old), new: accept.contains(&Accept::New) }
            }
            _ => Accepted { old: false, new: true },
        };
        // The baseline comes first: what it finds equal, the others need not read again.
        let mut checks = vec![Check { number: 0, at: At::End, kind: CheckKind::Baseline(accepted) }];
        if compares_nothing(&scenario.oracle) {
            checks.clear();
            not_tested.push(
                "the bytes that are left, since uninterrupted runs differ everywhere by what the scenario says \
                 (`mask = [\"everything\"]`)"
                    .to_owned(),
            );
        }
        let mut setup = Setup::new(resolved, &mut world, &lacking, &mut not_tested);
        for (place, oracle) in scenario.oracle.iter().enumerate() {
            if oracle.applies_to(&phase.name)
                && let Some(kind) = setup.kind_of(place, oracle)?
            {
                checks.push(Check { number: place + 1, at: oracle.at(), kind });
            }
        }
        // A command may write to the directory that others look at, so it comes last.
        checks.sort_by_key(|check| matches!(check.kind, CheckKind::Command(_)));
        let proof_exit = phase.run_exit.first().copied();
        Ok(Self { checks, world, not_tested, proof_acks: acks, proof_exit })
    }

    /// What is left out, each with its reason: for want of an optional program, with the package to install, or since
    /// nothing shows that a command objects.
    pub fn not_tested(&self) -> Vec<String> {
        self.not_tested.clone()
    }

    /// Asks the oracles that look at a crash state, before any resume. Told are the acknowledgements so far.
    pub fn at_crash<'a>(&mut self, look: &Look<'_>, told: impl Into<Told<'a>>) -> Vec<Answer> {
        self.ask_all(look, told.into(), |at| matches!(at, At::Crash | At::Both))
    }

    /// Asks the oracles that look at the end, after the resume. Told are all acknowledgements, and the resume's exit code
    /// where that is known.
    pub fn at_end<'a>(&mut self, look: &Look<'_>, told: impl Into<Told<'a>>) -> Vec<Answer> {
        self.ask_all(look, told.into(), |at| matches!(at, At::End | At::Both))
    }

    /// Shows that each oracle holds on the baseline and objects to a copy of it with the damage that the oracle is
    /// there to find. Answers the names of the oracles that were proved.
    pub fn prove(&mut self) -> Result<Vec<String>, Unproved> {
        let told = Told { acks: &self.proof_acks, exit: self.proof_exit };
        prove::prove(&self.checks, told, &mut self.world)
    }

    fn ask_all(&mut self, look: &Look<'_>, told: Told<'_>, when: impl Fn(At) -> bool) -> Vec<Answer> {
        let asked: Vec<&Check> = self.checks.iter().filter(|check| when(check.at)).collect();
        if asked.is_empty() {
            return Vec::new();
        }
        let of_volume =
            look.memory.and_then(|state| state.content_id_at(Path::new(VOLUME))).unwrap_or(look.id);
        let subject = Side::of_look(look).map(|side| Subject::new(side, Some((look.id, of_volume)), told));
        asked
            .into_iter()
            .map(|check| Answer {
                oracle: check.name().to_owned(),
                outcome: match &subject {
                    Ok(subject) => check.ask(subject, &mut self.world),
                    Err(error) => Outcome::NotMeasured { why: chain(error) },
                },
            })
            .collect()
    }
}

impl Check {
    /// Kind, or a command's name.
    fn name(&self) -> &str {
        match &self.kind {
            CheckKind::Baseline(_) => "baseline",
            CheckKind::Table(_) => "gpt",
            CheckKind::Untouched(_) => "untouched",
            CheckKind::Fsck(_) => "fsck",
            CheckKind::Content(_) => "content",
            CheckKind::Command(command) => &command.name,
            CheckKind::Isolation(_) => "isolation",
        }
    }

    /// Asks this oracle, unless it was asked about the same before.
    fn ask(&self, subject: &Subject<'_>, world: &mut World) -> Outcome {
        let number = self.number;
        let question = subject.ids.and_then(|(state, volume)| match self.kind {
            CheckKind::Command(_) => {
                Some(Question::Command { number, id: state, told: command::told_id(subject.told) })
            }
            // No content id tells one inode from another.
            CheckKind::Isolation(_) => None,
            _ => Some(Question::Volume { number, id: volume }),
        });
        if let Some(answer) = question.and_then(|question| world.memory.recall(&question)) {
            return answer;
        }
        let answer = match self.look(subject, world) {
            Ok(outcome) | Err(Halt::Says(outcome)) => outcome,
            Err(Halt::Fails(error)) => Outcome::NotMeasured { why: chain(&error) },
        };
        if let Some(question) = question {
            world.memory.keep(question, &answer);
        }
        answer
    }

    fn look(&self, subject: &Subject<'_>, world: &mut World) -> Result<Outcome, Halt> {
        match &self.kind {
            CheckKind::Baseline(accepted) => baseline::ask(*accepted, subject, world),
            CheckKind::Table(table) => table.ask(subject),
            CheckKind::Untouched(untouched) => untouched.ask(subject, world),
            CheckKind::Fsck(fsck) => fsck.ask(self.number, subject, world),
            CheckKind::Content(content) => content.ask(self.number, subject, world),
            CheckKind::Command(command) => command.ask(subject, world),
            CheckKind::Isolation(isolation) => isolation.ask(subject, world),
        }
    }
}

impl World {
    /// Makes a state in memory visible again where it was; without a showcase it stays as it is.
    fn show_again(&self, state: &Volume) {
        if let Some(show) = &self.show {
            show.show(state);
        }
    }

    /// Makes a state in memory visible, in `place` where there is no showcase.
    fn show(&self, state: &Volume, place: &Path) -> io::Result<PathBuf> {
        match &self.show {
            Some(show) => Ok(show.show(state)),
            None => {
                state.export(place)?;
                Ok(place.join(VOLUME))
            }
        }
    }
}
