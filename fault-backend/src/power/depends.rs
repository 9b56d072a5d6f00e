//! What each op of a log needs and comes after, found by replaying the log once: the rules are in [`crate::power`].

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use super::options::Durability;
use crate::oplog::{Op, OpLog, Outcome};
use crate::replay::ReplayError;
use crate::volume::{Applied, Ino, Mutation, RenameMode, Volume};

/// An op that changed the volume, and what it hangs on; ops are told by their numbers.
#[derive(Debug)]
pub(super) struct Effect<'a> {
    pub op: &'a Op,
    pub mutation: &'a Mutation,
    /// The inode that it made.
    pub made: Option<Ino>,
    /// Whether it made its file longer or shorter.
    pub resizes: bool,
    /// It is gone with any of these.
    pub needs: Vec<u64>,
    /// It is missing where any of these is, and these are durable where it is.
    pub after: Vec<u64>,
}

/// The effects of a log by op number less one; none where an op changed nothing.
pub(super) fn effects<'a>(
    start: &Volume,
    log: &'a OpLog,
    durability: Durability,
) -> Result<Vec<Option<Effect<'a>>>, ReplayError> {
    let mut tracker =
        Tracker { volume: start.clone(), ordered: durability == Durability::Ordered, ..Tracker::default() };
    log.ops.iter().map(|op| tracker.effect(op)).collect()
}

/// The last op, or all ops, that did something, as far as a later one may hang on it.
#[derive(Default)]
struct Tracker {
    volume: Volume,
    ordered: bool,
    makers: HashMap<Ino, u64>,
    names: HashMap<(Ino, OsString), u64>,
    names_in: HashMap<Ino, Vec<u64>>,
    names_of: HashMap<Ino, Vec<u64>>,
    truncates: HashMap<Ino, u64>,
    /// Of each file, the truncates that made it shorter, with the length.
    cuts: HashMap<Ino, Vec<(u64, u64)>>,
    attributes: HashMap<Ino, u64>,
    moved_dir: Option<u64>,
    journal: Option<u64>,
}

impl Tracker {
    fn effect<'a>(&mut self, op: &'a Op) -> Result<Option<Effect<'a>>, ReplayError> {
        if !matches!(op.outcome, Outcome::Completed | Outcome::Torn { bytes: 1.. }) {
            return Ok(None);
        }
        let Some(mutation) = op.mutation() else { return Ok(None) };
        let (mut needs, mut after) = (Vec::new(), Vec::new());
        for ino in inodes(mutation) {
            needs.extend(self.makers.get(&ino));
        }
        self.content(op.number, mutation, &mut after);
        self.namespace(op.number, mutation, &mut after);
        if self.ordered && !mutation.is_write() {
            after.extend(self.journal.replace(op.number));
        }
        let len = |volume: &Volume| Some(volume.node(mutation.ino()?)?.len_bytes());
        let before = len(&self.volume);
        let applied = match mutation {
            Mutation::Write { ino, offset, data } => {
                self.volume.write(*ino, *offset, op.arrived(data), op.time).map(|()| Applied::default())
            }
            _ => self.volume.apply(mutation, op.time),
        };
        let applied = applied.map_err(|source| ReplayError::Apply { number: op.number, source })?;
        let made = applied.ino.filter(|_| !matches!(mutation, Mutation::Link { .. }));
        self.makers.extend(made.map(|ino| (ino, op.number)));
        if let Some(ino) = applied.ino {
            self.names_of.entry(ino).or_default().push(op.number);
        }
        for list in [&mut needs, &mut after] {
            list.sort_unstable();
            list.dedup();
        }
        let resizes = before != len(&self.volume);
        Ok(Some(Effect { op, mutation, made, resizes, needs, after }))
    }

    /// Notes what is about content and attributes.
    fn content(&mut self, number: u64, mutation: &Mutation, after: &mut Vec<u64>) {
        match mutation {
            Mutation::Write { ino, .. } => {
                let end = mutation.range().map_or(0, |range| range.end);
                let cuts = self.cuts.get(ino).into_iter().flatten();
                after.extend(cuts.rev().find(|(_, len)| *len < end).map(|(number, _)| *number));
            }
            Mutation::Truncate { ino, len } => {
                after.extend(self.truncates.insert(*ino, number));
                if self.volume.node(*ino).is_some_and(|node| *len < node.len_bytes()) {
                    self.cuts.entry(*ino).or_default().push((number, *len));
                }
            }
            Mutation::SetAttr { ino, .. }
            | Mutation::SetXattr { ino, .. }
            | Mutation::RemoveXattr { ino, .. } => after.extend(self.attributes.insert(*ino, number)),
            _ => {}
        }
    }

    /// Notes what is about names.
    fn namespace(&mut self, number: u64, mutation: &Mutation, after: &mut Vec<u64>) {
        match mutation {
            Mutation::Create { parent, name, .. }
            | Mutation::Mkdir { parent, name, .. }
            | Mutation::Symlink { parent, name, .. }
            | Mutation::Mknod { parent, name, .. } => self.name(number, *parent, name, after),
            Mutation::Link { ino, parent, name } => {
                after.extend(self.names_of.get(ino).into_iter().flatten());
                self.name(number, *parent, name, after);
            }
            Mutation::Unlink { parent, name } => self.name(number, *parent, name, after),
            Mutation::Rmdir { parent, name } => {
                self.emptied(*parent, name, after);
                self.name(number, *parent, name, after);
            }
            Mutation::Rename { from, from_name, to, to_name, mode } => {
                let dirs = [(*from, from_name), (*to, to_name)]
                    .map(|(dir, name)| self.volume.lookup(dir, name))
                    .map(|ino| ino.is_some_and(|ino| self.volume.entries(ino).is_some()));
                if dirs[0] || (dirs[1] && *mode == RenameMode::Exchange) {
                    after.extend(self.moved_dir.replace(number));
                }
                if *mode == RenameMode::Replace {
                    self.emptied(*to, to_name, after);
                }
                self.name(number, *from, from_name, after);
                self.name(number, *to, to_name, after);
            }
            _ => {}
        }
    }

    /// A directory that is removed was empty by every op on names in it.
    fn emptied(&self, parent: Ino, name: &OsStr, after: &mut Vec<u64>) {
        if let Some(dir) = self.volume.lookup(parent, name) {
            after.extend(self.names_in.get(&dir).into_iter().flatten());
        }
    }

    fn name(&mut self, number: u64, dir: Ino, name: &OsStr, after: &mut Vec<u64>) {
        let earlier = self.names.insert((dir, name.to_owned()), number);
        after.extend(earlier.filter(|earlier| *earlier != number));
        self.names_in.entry(dir).or_default().push(number);
        if let Some(ino) = self.volume.lookup(dir, name) {
            self.names_of.entry(ino).or_default().push(number);
        }
    }
}

/// The inodes that a mutation names.
fn inodes(mutation: &Mutation) -> impl Iterator<Item = Ino> {
    let (one, other) = match mutation {
        Mutation::Create { parent, .. }
        | Mutation::Mkdir { parent, .. }
        | Mutation::Symlink { parent, .. }
        | Mutation::Mknod { parent, .. }
        | Mutation::Unlink { parent, .. }
        | Mutation::Rmdir { parent, .. } => (Some(*parent), None),
        Mutation::Link { ino, parent, .. } => (Some(*ino), Some(*parent)),
        Mutation::Rename { from, to, .. } => (Some(*from), Some(*to)),
        _ => (mutation.ino(), None),
    };
    one.into_iter().chain(other)
}
