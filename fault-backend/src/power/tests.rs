//! Goal: what is enumerated is what the model's definition says, no more and, where that is promised, no less; and
//! each state is made without an error. Method: logs of known shape with counts that are known from elsewhere;
//! random logs against a naive model that tries every subset of the ops.

mod counts;
mod naive;
mod rules;
mod torn;
mod trees;

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::content_id::ContentId;
use crate::image::Image;
use crate::oplog::{Op, OpKind, OpLog, Outcome};
use crate::volume::{Ino, Mutation, Timestamp, Volume};

/// The file of a volume that is one image.
pub(super) const DISK: Ino = Ino(2);

pub(super) fn disk(len_bytes: u64) -> Volume {
    let mut volume = Volume::new();
    assert_eq!(volume.insert_file(Path::new("disk"), Image::new(len_bytes)), Ok(DISK));
    volume
}

pub(super) fn op(log: &OpLog, kind: OpKind) -> Op {
    Op {
        number: log.len() + 1,
        kind,
        fua: false,
        cached: false,
        process: "tool".into(),
        step: "start".into(),
        acks: 0,
        epoch: 0,
        outcome: Outcome::Completed,
        time: Timestamp::default(),
        path: None,
    }
}

pub(super) fn push(log: &mut OpLog, mutation: Mutation) {
    log.push(op(log, OpKind::Mutation(mutation)));
}

pub(super) fn write(log: &mut OpLog, offset: u64, len: usize, value: u8) {
    push(log, Mutation::Write { ino: DISK, offset, data: vec![value; len].into() });
}

pub(super) fn flush(log: &mut OpLog, ino: Option<Ino>) {
    log.push(op(log, OpKind::Flush { ino, data_only: false }));
}

/// Writes of one byte to places of their own, with a flush after each where wanted.
pub(super) fn writes(count: u64, flushed: bool) -> OpLog {
    let mut log = OpLog::default();
    for at in 0..count {
        write(&mut log, at, 1, 1);
        if flushed {
            flush(&mut log, Some(DISK));
        }
    }
    log
}

pub(super) fn ids(power: &Power<'_>, states: impl Iterator<Item = PowerState>) -> BTreeSet<ContentId> {
    let mut builder = power.builder();
    states.map(|state| builder.materialise(&state).unwrap().content_id()).collect()
}
