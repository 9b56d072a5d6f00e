//! Which op did what: the one that wrote a byte last, and the ones around the cut, each named with its process, step,
//! range, and the structures that it touches.

use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use fault_backend::oplog::{Op, OpKind, OpLog, Outcome};
use fault_backend::volume::{Ino, Mutation};

use super::compare::Charts;
use super::difference::{Cut, OpName};
use super::place::Place;
use crate::image::{SCRATCH, VOLUME};

/// Pieces of an op's range that are looked at, and areas that are named.
const MAX_PIECES: usize = 64;
const MAX_AREAS: usize = 4;

/// A recorded run of the tool, as far as it went.
#[derive(Clone, Copy, Debug)]
pub struct Leg<'a> {
    /// Its ops; those of the whole run where it is known from an uninterrupted one.
    pub log: &'a OpLog,
    /// Ops that were done.
    pub after: u64,
    /// An op of which only a part of the payload arrived, and how many bytes of it.
    pub torn: Option<(u64, u64)>,
    /// Ops up to `after` that did not survive the cut (power): sorted.
    pub lost: &'a [u64],
    /// The op that was disturbed, where the run was not cut but went on.
    pub disturbed: Option<u64>,
}

impl<'a> Leg<'a> {
    /// A run that went to its end.
    pub fn whole(log: &'a OpLog) -> Self {
        Self { log, after: log.len(), torn: None, lost: &[], disturbed: None }
    }

    /// How many bytes of an op's payload are there; none where the op is not.
    fn arrived(&self, op: &Op) -> Option<u64> {
        let torn = self.torn.filter(|(number, _)| *number == op.number).map(|(_, bytes)| bytes);
        match op.outcome {
            Outcome::Failed(_) | Outcome::Dropped => None,
            Outcome::Torn { bytes } => Some(torn.unwrap_or(bytes)),
            Outcome::Skipped | Outcome::Completed if torn.is_some() => torn,
            Outcome::Skipped => None,
            Outcome::Completed => {
                let there = op.number <= self.after && self.lost.binary_search(&op.number).is_err();
                there.then_some(u64::MAX)
            }
        }
    }

    /// The last op that wrote or cut off a byte of a file.
    fn last_writer(&self, ino: Ino, offset: u64) -> Option<(&'a Op, u64)> {
        let upto = usize::try_from(self.torn.map_or(self.after, |(op, _)| op.max(self.after))).ok()?;
        let ops = self.log.ops.get(..upto.min(self.log.ops.len()))?;
        ops.iter().rev().find_map(|op| {
            let mutation = op.mutation().filter(|mutation| mutation.ino() == Some(ino))?;
            let arrived = self.arrived(op)?;
            let touches = match mutation {
                Mutation::Truncate { len, .. } => *len <= offset,
                _ => mutation.range().is_some_and(|range| {
                    (range.start..range.end.min(range.start.saturating_add(arrived))).contains(&offset)
                }),
            };
            touches.then_some((op, arrived))
        })
    }
}

/// The op of several runs, one after the other, that wrote a byte last.
pub fn last_writer(legs: &[Leg<'_>], ino: Ino, offset: u64, charts: &mut Charts<'_>) -> Option<OpName> {
    legs.iter().enumerate().rev().find_map(|(run, leg)| {
        let (op, arrived) = leg.last_writer(ino, offset)?;
        Some(named(op, u32::try_from(run).ok(), Some(arrived), charts))
    })
}

/// The op of the uninterrupted run that wrote a byte last.
pub fn wanted_writer(log: &OpLog, ino: Ino, offset: u64, charts: &mut Charts<'_>) -> Option<OpName> {
    let (op, _) = Leg::whole(log).last_writer(ino, offset)?;
    Some(named(op, None, None, charts))
}

/// Where each of some runs was cut.
pub fn cuts(legs: &[Leg<'_>], charts: &mut Charts<'_>) -> Vec<Cut> {
    (0..).zip(legs).filter_map(|(run, leg)| cut(run, leg, charts)).collect()
}

fn cut(run: u32, leg: &Leg<'_>, charts: &mut Charts<'_>) -> Option<Cut> {
    let mut name = |number: u64, arrived| Some(named(leg.log.op(number)?, Some(run), arrived, charts));
    if let Some(number) = leg.disturbed {
        let disturbed = name(number, None);
        return Some(Cut {
            run,
            disturbed,
            last: None,
            torn: None,
            next: None,
            lost: Vec::new(),
            more_lost: 0,
        });
    }
    // A flush leaves nothing to be seen: the last change is what a person looks for.
    let changes = |op: &&Op| op.mutation().is_some() && leg.arrived(op) == Some(u64::MAX);
    let done = leg.log.ops.get(..usize::try_from(leg.after).ok()?.min(leg.log.ops.len()))?;
    let last = done.iter().rev().find(changes).and_then(|op| name(op.number, None));
    let torn = leg.torn.and_then(|(number, bytes)| name(number, Some(bytes)));
    let behind = leg.torn.map_or(leg.after, |(number, _)| number.max(leg.after));
    let rest = leg.log.ops.get(usize::try_from(behind).ok()?..).unwrap_or(&[]);
    let next = rest.iter().find(|op| op.mutation().is_some()).and_then(|op| name(op.number, None));
    let lost = leg.lost.iter().take(super::MAX_LOST).filter_map(|number| name(*number, None)).collect();
    let more_lost = leg.lost.len().saturating_sub(super::MAX_LOST) as u64;
    Some(Cut { run, disturbed: None, last, torn, next, lost, more_lost })
}

fn named(op: &Op, run: Option<u32>, arrived: Option<u64>, charts: &mut Charts<'_>) -> OpName {
    let payload = op.mutation().map_or(0, Mutation::payload_bytes);
    OpName {
        run,
        number: op.number,
        process: op.process.to_string(),
        step: op.step.to_string(),
        action: action(op),
        areas: areas(op, charts),
        torn_bytes: arrived.filter(|bytes| *bytes < payload),
    }
}

/// The structures that an op changes, each named once, those of one partition together. Free space is named where there is
/// nothing else.
fn areas(op: &Op, charts: &mut Charts<'_>) -> Vec<String> {
    let file = op.path.as_deref().and_then(|path| path.strip_prefix(VOLUME).ok());
    let (Some(file), Some(range)) = (file, op.range()) else { return Vec::new() };
    let mut places: Vec<Place> = Vec::new();
    let mut at = range.start;
    for _ in 0..MAX_PIECES {
        if at >= range.end {
            break;
        }
        let piece = charts.piece(file, at);
        places.push(piece.place());
        at = piece.range.end.max(at + 1);
    }
    if places.iter().any(|place| !place.structure.is_free()) {
        places.retain(|place| !place.structure.is_free());
    }
    let mut areas: Vec<String> = Vec::new();
    for of_partition in places.chunk_by(|a, b| a.partition == b.partition) {
        let mut names: Vec<String> = Vec::new();
        for name in of_partition.iter().map(|place| place.structure.area()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.len() > MAX_AREAS {
            names.truncate(MAX_AREAS);
            names.push("…".to_owned());
        }
        let names = names.join(", ");
        let area = match &of_partition[0].partition {
            Some(partition) => format!("{names} of {partition}"),
            None => names,
        };
        if !areas.contains(&area) {
            areas.push(area);
        }
    }
    areas
}

/// What an op does, in words.
fn action(op: &Op) -> String {
    let file = op.path.as_deref().map_or_else(|| "a file without a name".to_owned(), file_name);
    let at =
        |range: &Range<u64>| format!("{} bytes at {:#x} of {file}", range.end - range.start, range.start);
    let mutation = match &op.kind {
        OpKind::Flush { ino: None, .. } => return "flush of everything".to_owned(),
        OpKind::Flush { .. } => return format!("flush of {file}"),
        OpKind::Mutation(mutation) => mutation,
    };
    let named = |name: &OsString| format!("`{}`", name.display());
    match mutation {
        Mutation::Write { offset, data, .. } => {
            format!("write of {}", at(&(*offset..offset.saturating_add(data.len() as u64))))
        }
        Mutation::Truncate { len, .. } => format!("truncation of {file} to {len} bytes"),
        Mutation::Allocate { range, .. } => format!("allocation of {}", at(range)),
        Mutation::Punch { range, .. } => format!("hole of {}", at(range)),
        Mutation::Zero { range, .. } => format!("zeroing of {}", at(range)),
        Mutation::Create { .. } => format!("creation of {file}"),
        Mutation::Mkdir { .. } => format!("creation of folder {file}"),
        Mutation::Symlink { target, .. } => format!("link {file} to {}", named(target)),
        Mutation::Mknod { .. } => format!("creation of pipe or socket {file}"),
        Mutation::Link { .. } => format!("further name {file}"),
        Mutation::Unlink { .. } => format!("removal of {file}"),
        Mutation::Rmdir { .. } => format!("removal of folder {file}"),
        Mutation::Rename { from_name, .. } => format!("rename of {} to {file}", named(from_name)),
        Mutation::SetAttr { .. } => format!("change of attributes of {file}"),
        Mutation::SetXattr { name, .. } => format!("change of xattr {} of {file}", named(name)),
        Mutation::RemoveXattr { name, .. } => format!("removal of xattr {} of {file}", named(name)),
    }
}

/// A file as a person names it: relative to the volume, or in the scratch directory.
fn file_name(path: &Path) -> String {
    match (path.strip_prefix(VOLUME), path.strip_prefix(SCRATCH)) {
        (Ok(file), _) => format!("`{}`", file.display()),
        (_, Ok(file)) => format!("scratch file `{}`", file.display()),
        _ => format!("`{}`", path.display()),
    }
}
