//! Makes the oracles of a phase from the scenario's tables. What a table names has to be there when the phase starts;
//! what is not is an error at its key in the scenario file.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use scenarios::model::Oracle;
use scenarios::{Problem, Resolved, Step};

use crate::content::Reader;
use crate::image::View;

use super::command::Command;
use super::content::Content;
use super::fsck::Fsck;
use super::isolation::Isolation;
use super::memory::Memory;
use super::subject::{Disk, ExtentId, Side, Subject};
use super::table::Table;
use super::untouched::Untouched;
use super::{CheckKind, OracleError, Told, World, at};

/// What the constructors of the oracles share.
pub(super) struct Setup<'a> {
    resolved: &'a Resolved,
    /// Place of the oracle in the scenario that is being made.
    place: usize,
    world: &'a mut World,
    start: Subject<'static>,
    pub reader: Reader,
    /// Programs that are missing and optional.
    pub lacking: Vec<String>,
    not_tested: &'a mut Vec<String>,
}

impl<'a> Setup<'a> {
    pub fn new(
        resolved: &'a Resolved,
        world: &'a mut World,
        lacking: &[String],
        not_tested: &'a mut Vec<String>,
    ) -> Self {
        let optional = &resolved.scenario.optional;
        Self {
            resolved,
            place: 0,
            start: Subject::new(world.start.clone(), None, Told::default()),
            reader: world.reader.clone(),
            lacking: lacking.iter().filter(|program| optional.contains(program)).cloned().collect(),
            world,
            not_tested,
        }
    }

    /// The oracle at a place of the scenario; `None` for one that others ask, or that can't be asked here.
    pub fn kind_of(&mut self, place: usize, oracle: &Oracle) -> Result<Option<CheckKind>, OracleError> {
        self.place = place;
        Ok(match oracle {
            // The first is there in any case, and the chain asks the last.
            Oracle::Baseline { .. } | Oracle::Idempotent {} | Oracle::Durable { .. } => None,
            Oracle::Gpt { file, need, .. } => Some(CheckKind::Table(Table::new(self, file, *need)?)),
            Oracle::Untouched { file, partitions, ranges, files, .. } => {
                let named = (partitions.as_slice(), ranges.as_slice(), files.as_slice());
                Some(CheckKind::Untouched(Untouched::new(self, file, named)?))
            }
            Oracle::Fsck { file, partitions, offset, fs, .. } => {
                let fsck = Fsck::new(self, file, partitions, (offset.as_deref(), *fs))?;
                // Where every checker is lacking there is nothing to ask.
                (!fsck.targets.is_empty()).then_some(CheckKind::Fsck(fsck))
            }
            Oracle::Content { file, partitions, offset, .. } => {
                Some(CheckKind::Content(Content::new(self, file, partitions, offset.as_deref())?))
            }
            Oracle::Command { name, run, pass, not_measured, time_limit, prove, .. } => {
                self.command(name, run, (pass, not_measured), time_limit, prove.as_ref())
            }
            Oracle::Isolation { source, fork, .. } => {
                Some(CheckKind::Isolation(Isolation::new(self, source, fork)?))
            }
        })
    }

    fn command(
        &mut self,
        name: &str,
        run: &[String],
        (pass, not_measured): (&[i32], &[i32]),
        time_limit: &str,
        prove: Option<&Vec<String>>,
    ) -> Option<CheckKind> {
        if let Some(program) = run.first().filter(|program| self.lacking.contains(program)) {
            self.leave_out(format!("command oracle {name}"), program);
            return None;
        }
        if prove.is_none() {
            self.not_tested
                .push(format!("command oracle {name} was not proved: the scenario names no `prove`"));
        }
        // A scenario that was loaded has limits that can be read.
        let limits = Command::limits(time_limit)?;
        Some(CheckKind::Command(Command {
            name: name.to_owned(),
            run: run.to_vec(),
            prove: prove.cloned(),
            pass: pass.to_vec(),
            not_measured: not_measured.to_vec(),
            limits,
        }))
    }

    /// The volume's file when the phase starts.
    pub fn disk(&self, file: &str) -> Result<Disk, OracleError> {
        self.disk_at(file, "file", None)
    }

    /// As [`Self::disk`], for a file that another key names.
    pub fn disk_at(&self, file: &str, key: &str, item: Option<usize>) -> Result<Disk, OracleError> {
        match self.world.start.disk(Path::new(file)) {
            Err(OracleError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let view: View<'_> = self.world.start.view();
                let names = view.files().map_err(at(&self.world.start.path))?;
                let known = names.iter().map(|name: &PathBuf| name.display().to_string()).collect();
                Err(self.error_at(key, item, Problem::UnknownFile { file: file.to_owned(), known }))
            }
            disk => disk,
        }
    }

    /// Id of an extent of a file when the phase starts.
    pub fn starting_id(
        &mut self,
        file: &Path,
        disk: &Disk,
        extent: &Range<u64>,
    ) -> Result<ExtentId, OracleError> {
        self.start.extent_id(file, disk, extent, self.world)
    }

    /// An error at a key of the oracle's table.
    pub fn error_at(&self, key: &str, item: Option<usize>, problem: Problem) -> OracleError {
        let mut path = vec![Step::from("oracle"), Step::from(self.place), Step::from(key)];
        path.extend(item.map(Step::from));
        OracleError::Scenario(Box::new(self.resolved.error_at(&path, problem)))
    }

    /// The volume when the phase starts, and what oracles share.
    pub fn start(&mut self) -> (&Side, &mut Memory) {
        let World { start, memory, .. } = &mut *self.world;
        (start, memory)
    }

    /// Notes what an oracle can't look at here.
    pub fn not_tested(&mut self, what: String) {
        self.not_tested.push(what);
    }

    /// Notes that something is left out for want of a program.
    pub fn leave_out(&mut self, what: String, program: &str) {
        let package = scenarios::programs::package_of(program);
        let hint = package.map_or_else(String::new, |package| format!(" (Debian package {package})"));
        self.not_tested.push(format!("{what}: {program} is not installed{hint}"));
    }
}
