//! What of a recorded run is there at a crash, as a run of its own: the ops that are kept, in their order, and then,
//! in a step that says so, whatever else the crash state holds. So it leads to that state whatever the crash model did.

use std::fmt;
use std::io;

use fault_backend::Image;
use fault_backend::oplog::{Op, OpKind, OpLog, Outcome};
use fault_backend::replay::Point;
use fault_backend::volume::{Ino, Mutation, Timestamp};

use crate::store::{Past, Reached};

/// The step, and so the mark, that a log begins with: `replay-log` refuses one without entries, which is what is there when
/// nothing was done yet.
const BEGIN: &str = "killpoint: kept ops";

/// The step, and so the mark, of what no kept op explains: parts of torn writes, and what a device leaves in place of
/// lost ones.
pub(super) const REST: &str = "killpoint: torn and filled ranges";

/// What became of an op at the crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is there.
    Kept,
    /// It is not there: lost, or never come to.
    Lost,
    /// A part of it is there.
    Torn,
    /// It had answered an error, and changed nothing.
    Failed,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kept => "kept",
            Self::Lost => "lost",
            Self::Torn => "torn",
            Self::Failed => "failed",
        })
    }
}

/// What became of an op of a run that was cut.
fn fate(at: &Reached, op: &Op) -> Fate {
    if matches!(op.outcome, Outcome::Failed(_)) {
        return Fate::Failed;
    }
    let (cut, torn) = match at {
        Reached::Point(Point::After(cut)) => (*cut, None),
        Reached::Point(Point::Torn { op, .. }) => (*op, Some(*op)),
        Reached::Power(power) => (power.state.cut, power.state.torn.map(|torn| torn.op)),
    };
    let dropped = match at {
        Reached::Power(power) => power.state.dropped.contains(&op.number),
        Reached::Point(_) => false,
    };
    match op.number {
        number if number > cut || dropped => Fate::Lost,
        number if torn == Some(number) => Fate::Torn,
        _ => Fate::Kept,
    }
}

/// The run that leads from `start` to `crash`, as far as it is about one file.
pub(super) fn of(past: &Past, ino: Ino, start: &Image, crash: &Image) -> io::Result<OpLog> {
    let mut log = OpLog::default();
    let mut image = start.clone();
    // It changes nothing, and leaves the mark alone.
    let nothing = Mutation::Truncate { ino, len: start.len_bytes() };
    log.push(of_step(BEGIN, 0, nothing));
    for op in past.log.ops.iter().filter(|op| fate(&past.at, op) == Fate::Kept) {
        apply(&mut image, op, ino)?;
        log.push(op.clone());
    }
    for range in image.diff(crash)? {
        let mut data = vec![0; (range.end - range.start) as usize];
        let read = crash.read_at(range.start, &mut data)?;
        data.truncate(read);
        let number = past.log.len() + 1;
        log.push(of_step(REST, number, Mutation::Write { ino, offset: range.start, data: data.into() }));
    }
    Ok(log)
}

fn of_step(step: &str, number: u64, mutation: Mutation) -> Op {
    Op {
        number,
        kind: OpKind::Mutation(mutation),
        fua: false,
        cached: false,
        process: "killpoint".into(),
        step: step.into(),
        acks: 0,
        epoch: 0,
        outcome: Outcome::Completed,
        time: Timestamp::default(),
        path: None,
    }
}

/// Does an op to the file; what can't be expressed in a log is refused where the whole run is written.
fn apply(image: &mut Image, op: &Op, ino: Ino) -> io::Result<()> {
    match op.mutation().filter(|mutation| mutation.ino() == Some(ino)) {
        Some(Mutation::Write { offset, data, .. }) => image.write_at(*offset, data),
        Some(Mutation::Punch { range, .. } | Mutation::Zero { range, .. }) => {
            image.punch(range.start..range.end.min(image.len_bytes()))
        }
        _ => Ok(()),
    }
}

/// A line for each op of the run that is about the file, or about everything: number, fate, kind, range, step.
pub(super) fn kept_lines(past: &Past, ino: Ino) -> String {
    let mut text = format!("# {:>6} {:6} {:8} {:>24} step\n", "op", "fate", "kind", "first byte+length");
    for op in &past.log.ops {
        let (kind, own) = match &op.kind {
            OpKind::Flush { ino: synced, .. } => ("flush", synced.is_none_or(|synced| synced == ino)),
            OpKind::Mutation(mutation) => (kind_of(mutation, op.fua), mutation.ino() == Some(ino)),
        };
        if own {
            let range = op.range().map_or_else(
                || "-".to_owned(),
                |range| format!("{:#x}+{}", range.start, range.end - range.start),
            );
            let fate = fate(&past.at, op);
            text += &format!("{:>8} {fate:6} {kind:8} {range:>24} {}\n", op.number, op.step);
        }
    }
    text
}

fn kind_of(mutation: &Mutation, fua: bool) -> &'static str {
    match mutation {
        Mutation::Write { .. } if fua => "forced",
        Mutation::Write { .. } => "write",
        Mutation::Punch { .. } => "discard",
        Mutation::Zero { .. } => "zero",
        Mutation::Truncate { .. } | Mutation::Allocate { .. } => "length",
        _ => "attr",
    }
}
