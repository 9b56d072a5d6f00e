//! From which op on each op of a log is durable.

use std::collections::HashMap;

use super::depends::Effect;
use super::options::PowerOptions;
use crate::oplog::{OpKind, OpLog, Outcome};
use crate::power::Durability;
use crate::volume::{Ino, Mutation};

/// Never durable.
pub(super) const NEVER: u64 = u64::MAX;

/// For each op by its number less one: the op with which it is durable, itself where it was forced.
pub(super) fn durable_from(log: &OpLog, effects: &[Option<Effect<'_>>], options: &PowerOptions) -> Vec<u64> {
    let mut settled = Settled { from: vec![NEVER; effects.len()], effects };
    if !options.device.honours_flush {
        return settled.from;
    }
    let mut open: Vec<&Effect<'_>> = Vec::new();
    let mut synced = HashMap::new();
    for (op, effect) in log.ops.iter().zip(effects) {
        if let Some(effect) = effect {
            if op.fua {
                settled.settle(op.number, op.number);
            }
            open.push(effect);
        }
        let OpKind::Flush { ino, data_only } = op.kind else { continue };
        if op.outcome != Outcome::Completed {
            continue;
        }
        let mut flush = Flush { ino, data_only, anchor: 0, synced: &mut synced };
        flush.anchor = open.iter().rev().find(|effect| flush.resizes(effect)).map_or(0, |e| e.op.number);
        for effect in &open {
            if flush.covers(effect, options.durability) {
                settled.settle(effect.op.number, op.number);
            }
        }
        open.retain(|effect| settled.from[index(effect.op.number)] == NEVER);
    }
    settled.from
}

struct Settled<'a> {
    from: Vec<u64>,
    effects: &'a [Option<Effect<'a>>],
}

impl Settled<'_> {
    /// Makes an op durable, and what it comes after.
    fn settle(&mut self, number: u64, at: u64) {
        let mut waiting = vec![number];
        while let Some(number) = waiting.pop() {
            let from = &mut self.from[index(number)];
            if *from > at {
                *from = at;
                waiting.extend(self.effects[index(number)].iter().flat_map(|effect| &effect.after));
            }
        }
    }
}

struct Flush<'a> {
    ino: Option<Ino>,
    data_only: bool,
    /// The last op that made or resized the file.
    anchor: u64,
    /// Of renames between directories that wait for a second one: the directory that was synced.
    synced: &'a mut HashMap<u64, Ino>,
}

impl Flush<'_> {
    fn resizes(&self, effect: &Effect<'_>) -> bool {
        self.ino.is_some()
            && (effect.made == self.ino || (effect.mutation.ino() == self.ino && effect.resizes))
    }

    fn covers(&mut self, effect: &Effect<'_>, durability: Durability) -> bool {
        let Some(ino) = self.ino else { return true };
        let mutation = effect.mutation;
        let own = mutation.ino() == Some(ino);
        match durability {
            Durability::Disk => true,
            Durability::Ordered if mutation.is_write() => own,
            Durability::Ordered => !self.data_only || effect.op.number <= self.anchor,
            Durability::Posix if mutation.ino().is_some() => {
                own && !(self.data_only && is_attribute(mutation))
            }
            Durability::Posix => self.covers_name(effect, ino),
        }
    }

    fn covers_name(&mut self, effect: &Effect<'_>, dir: Ino) -> bool {
        match effect.mutation {
            Mutation::Rename { from, to, .. } if from != to => {
                let is_one = [*from, *to].contains(&dir);
                is_one && *self.synced.entry(effect.op.number).or_insert(dir) != dir
            }
            Mutation::Create { parent, .. }
            | Mutation::Mkdir { parent, .. }
            | Mutation::Symlink { parent, .. }
            | Mutation::Mknod { parent, .. }
            | Mutation::Link { parent, .. }
            | Mutation::Unlink { parent, .. }
            | Mutation::Rmdir { parent, .. }
            | Mutation::Rename { from: parent, .. } => *parent == dir,
            _ => false,
        }
    }
}

fn is_attribute(mutation: &Mutation) -> bool {
    matches!(mutation, Mutation::SetAttr { .. } | Mutation::SetXattr { .. } | Mutation::RemoveXattr { .. })
}

fn index(number: u64) -> usize {
    number as usize - 1
}
