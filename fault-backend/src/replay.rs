//! Crash states under model `kill`: what a volume held at each point of a recorded run.
//!
//! States are handed out as clones, each of which shares what it did not change. Asking in the order of the points
//! applies each op once; going back starts from the nearest of the states that are kept on the way.

use nix::errno::Errno;

use crate::oplog::{Op, OpLog, Outcome};
use crate::volume::{Mutation, Volume};

/// Where a run is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// After so many ops; 0 is the start.
    After(u64),
    /// Inside a write.
    Torn {
        /// Number of the op.
        op: u64,
        /// Bytes of its payload that arrived, from its first.
        bytes: u64,
    },
}

/// A recorded run can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The point is not in the log.
    #[error("op {number} is not in the log, which has {len} ops")]
    NoSuchOp {
        /// Number of the op.
        number: u64,
        /// Ops that there are.
        len: u64,
    },
    /// A point inside an op that is no write, or beyond its payload.
    #[error("op {number} can't be cut after {bytes} bytes")]
    NotTorn {
        /// Number of the op.
        number: u64,
        /// Bytes.
        bytes: u64,
    },
    /// A recorded op, which succeeded then, fails now: the log is not of a run that began with this volume.
    #[error("op {number} can't be applied again")]
    Apply {
        /// Number of the op.
        number: u64,
        /// Why.
        source: Errno,
    },
}

/// The states of one recorded run.
#[derive(Clone, Debug)]
pub struct Replay<'a> {
    /// The states after 0, [`KEPT_EVERY`], … ops, as far as they were reached.
    kept: Vec<Volume>,
    log: &'a OpLog,
    now: Volume,
    done: u64,
}

/// Ops between states that are kept.
const KEPT_EVERY: u64 = 256;

impl<'a> Replay<'a> {
    /// Takes the volume as it was before op 1.
    pub fn new(start: Volume, log: &'a OpLog) -> Self {
        Self { now: start.clone(), kept: vec![start], log, done: 0 }
    }

    /// Applies the next op; its number, or none at the end.
    pub fn advance(&mut self) -> Result<Option<u64>, ReplayError> {
        let Some(op) = self.log.op(self.done + 1) else { return Ok(None) };
        match op.outcome {
            Outcome::Completed => apply(&mut self.now, op, None)?,
            Outcome::Torn { bytes } => apply(&mut self.now, op, Some(bytes))?,
            Outcome::Skipped | Outcome::Failed(_) | Outcome::Dropped => {}
        }
        self.done = op.number;
        if self.done == self.kept.len() as u64 * KEPT_EVERY {
            self.kept.push(self.now.clone());
        }
        Ok(Some(op.number))
    }

    /// The state at a point, without orphans: nobody holds them open after a kill.
    pub fn state(&mut self, point: Point) -> Result<Volume, ReplayError> {
        match point {
            Point::After(number) => self.state_after(number),
            Point::Torn { op: number, bytes } => {
                let op = self.op(number)?;
                let whole = op.mutation().filter(|mutation| mutation.is_write()).and_then(Mutation::range);
                if whole.is_none_or(|range| bytes > range.end - range.start) {
                    return Err(ReplayError::NotTorn { number, bytes });
                }
                self.go_to(number - 1)?;
                let mut volume = self.now.clone();
                if matches!(op.outcome, Outcome::Completed | Outcome::Torn { .. } | Outcome::Skipped) {
                    apply(&mut volume, op, Some(bytes))?;
                }
                volume.drop_orphans();
                Ok(volume)
            }
        }
    }

    /// The state after so many ops, without orphans.
    pub fn state_after(&mut self, number: u64) -> Result<Volume, ReplayError> {
        self.go_to(number)?;
        let mut volume = self.now.clone();
        volume.drop_orphans();
        Ok(volume)
    }

    fn op(&self, number: u64) -> Result<&'a Op, ReplayError> {
        self.log.op(number).ok_or(ReplayError::NoSuchOp { number, len: self.log.len() })
    }

    fn go_to(&mut self, number: u64) -> Result<(), ReplayError> {
        if number > self.log.len() {
            return Err(ReplayError::NoSuchOp { number, len: self.log.len() });
        }
        let nearest = (number / KEPT_EVERY).min(self.kept.len() as u64 - 1);
        if number < self.done || nearest * KEPT_EVERY > self.done {
            self.now = self.kept[nearest as usize].clone();
            self.done = nearest * KEPT_EVERY;
        }
        while self.done < number {
            self.advance()?;
        }
        Ok(())
    }
}

/// Applies a recorded op, of a write only the first so many bytes.
fn apply(volume: &mut Volume, op: &Op, bytes: Option<u64>) -> Result<(), ReplayError> {
    let Some(mutation) = op.mutation() else { return Ok(()) };
    let failed = |source| ReplayError::Apply { number: op.number, source };
    match (mutation, bytes) {
        (Mutation::Write { .. }, Some(0)) => Ok(()),
        (Mutation::Write { ino, offset, data }, Some(bytes)) => {
            let arrived = data.len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
            volume.write(*ino, *offset, &data[..arrived], op.time).map_err(failed)
        }
        _ => volume.apply(mutation, op.time).map(drop).map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    //! Goal: a replayed state is what a run that was cut there left. Method: a small run is recorded while its volume
    //! is kept after each op, and the states are compared with those.

    use std::path::Path;

    use nix::errno::Errno;

    use super::*;
    use crate::oplog::OpKind;
    use crate::volume::{Ino, Owned, Timestamp};

    const NOW: Timestamp = Timestamp { secs: 1, nanos: 0 };

    fn record(log: &mut OpLog, kind: OpKind, outcome: Outcome) {
        log.push(Op {
            number: log.len() + 1,
            kind,
            fua: false,
            cached: false,
            process: "tool".into(),
            step: "start".into(),
            acks: 0,
            epoch: 0,
            outcome,
            time: NOW,
            path: None,
        });
    }

    fn file_text(volume: &Volume) -> Option<String> {
        let image = volume.file(Path::new("file"))?;
        let mut bytes = vec![0; image.len_bytes() as usize];
        image.read_at(0, &mut bytes).unwrap();
        Some(String::from_utf8(bytes).unwrap())
    }

    fn write(offset: u64, text: &str) -> Mutation {
        Mutation::Write { ino: Ino(2), offset, data: text.as_bytes().into() }
    }

    /// Create, write, flush, a write that failed, a write, unlink, a write to the orphan.
    fn run() -> OpLog {
        let mut log = OpLog::default();
        let mut does = |mutation, outcome| record(&mut log, OpKind::Mutation(mutation), outcome);
        let (parent, name) = (Ino::ROOT, std::ffi::OsString::from("file"));
        does(Mutation::Create { parent, name: name.clone(), owned: Owned::default() }, Outcome::Completed);
        does(write(0, "hello"), Outcome::Completed);
        does(write(0, "XXXXX"), Outcome::Failed(Errno::EIO));
        does(write(3, "p!"), Outcome::Completed);
        does(write(0, "torn"), Outcome::Torn { bytes: 2 });
        does(Mutation::Unlink { parent, name }, Outcome::Completed);
        does(write(0, "orphan"), Outcome::Completed);
        record(&mut log, OpKind::Flush { ino: None, data_only: false }, Outcome::Dropped);
        log
    }

    #[test]
    fn each_state_holds_the_ops_before_it_that_happened_and_no_orphan() {
        let log = run();
        let mut replay = Replay::new(Volume::new(), &log);
        let states =
            [None, Some(""), Some("hello"), Some("hello"), Some("help!"), Some("tolp!"), None, None, None];
        for (number, expected) in (0..).zip(states) {
            let state = replay.state_after(number).unwrap();
            assert_eq!(file_text(&state).as_deref(), expected, "after op {number}");
            assert_eq!(state.orphans().count(), 0);
        }
        // Back, and the same again.
        assert_eq!(file_text(&replay.state(Point::After(2)).unwrap()).as_deref(), Some("hello"));
    }

    #[test]
    fn a_torn_state_holds_the_first_bytes_of_its_write() {
        let log = run();
        let mut replay = Replay::new(Volume::new(), &log);
        for (op, bytes, expected) in
            [(4, 0, "hello"), (4, 1, "helpo"), (4, 2, "help!"), (2, 1, "h"), (3, 4, "hello")]
        {
            let state = replay.state(Point::Torn { op, bytes }).unwrap();
            assert_eq!(file_text(&state).as_deref(), Some(expected), "{bytes} bytes of op {op}");
        }
        assert!(matches!(replay.state(Point::Torn { op: 4, bytes: 3 }), Err(ReplayError::NotTorn { .. })));
        assert!(matches!(replay.state(Point::Torn { op: 1, bytes: 0 }), Err(ReplayError::NotTorn { .. })));
    }

    #[test]
    fn what_does_not_fit_the_log_is_an_error() {
        let log = run();
        let mut replay = Replay::new(Volume::new(), &log);
        assert!(matches!(replay.state_after(9), Err(ReplayError::NoSuchOp { number: 9, len: 8 })));
        let mut other = Volume::new();
        other.insert_dir(Path::new("file")).unwrap();
        let mut replay = Replay::new(other, &log);
        assert!(matches!(
            replay.state_after(1),
            Err(ReplayError::Apply { number: 1, source: Errno::EEXIST })
        ));
    }
}
