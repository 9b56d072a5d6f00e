//! What a seam holds: its four slots, and the run that is on. Everything here is called with the seam's lock held and
//! never waits.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;

use super::names::Names;
use super::run::{Caller, Change};
use super::slot::{Content, Slot};
use super::verdict::{End, Verdict};
use super::{Glances, Recorded, Run, Wiring};
use crate::content_id::CHUNK_BYTES;
use crate::fault::{ArmedPlan, OpClass, OpView};
use crate::footprint::Footprint;
use crate::oplog::{Op, OpLog, Outcome, Progress};
use crate::volume::{Ino, Mutation, Volume};

/// The state of a seam.
#[derive(Debug)]
pub(super) struct State {
    contents: [Content; Slot::ALL.len()],
    generations: u64,
    runs: u64,
    pub run: Option<Active>,
    /// Whether the kernel allows shared mappings.
    pub maps: bool,
    pub names: Names,
}

/// A run that is on.
#[derive(Debug)]
pub(super) struct Active {
    /// Number of the run.
    pub id: u64,
    pub wiring: Wiring,
    pub broken: bool,
    plan: ArmedPlan,
    run: Run,
    log: OpLog,
    log_bytes: u64,
    log_cut: bool,
    /// Number of the last op.
    ops: u64,
    /// Flushes that completed.
    epoch: u32,
    /// Memory of the volume beyond its base files; kept up to date only where there is a limit.
    held_bytes: u64,
    /// The plan cuts the run before its first op, which has not come yet.
    cut_at_start: bool,
    frozen: bool,
    refused_late: u64,
    mapped: bool,
    /// Paths of inodes, until a name changes.
    paths: HashMap<Ino, Option<Arc<Path>>>,
    /// Path of what the op at hand is about.
    path: Option<Arc<Path>>,
    /// The directory that is watched, what lay in it when the run began, and what was asked about that.
    watched: Option<Ino>,
    lying: HashSet<Ino>,
    glances: Glances,
    /// What was read and overwritten, and the volume that the run began with.
    traced: Option<(Footprint, Volume)>,
}

impl Active {
    pub(super) fn new(run: Run) -> Self {
        let mut plan = ArmedPlan::new(run.plan.clone());
        Self {
            id: 0,
            wiring: run.wiring.clone(),
            broken: false,
            cut_at_start: plan.cut_at_start(),
            plan,
            run,
            log: OpLog::default(),
            log_bytes: 0,
            log_cut: false,
            ops: 0,
            epoch: 0,
            held_bytes: 0,
            frozen: false,
            refused_late: 0,
            mapped: false,
            paths: HashMap::new(),
            path: None,
            watched: None,
            lying: HashSet::new(),
            glances: Glances::default(),
            traced: None,
        }
    }

    /// Whether the tool's files go through the page cache.
    pub(super) fn uses_page_cache(&self) -> bool {
        self.run.page_cache
    }

    /// Whether the run is cut, be it that its first op, which has just come, is the one that the cut waited for.
    pub(super) fn is_cut(&mut self) -> bool {
        self.frozen |= std::mem::take(&mut self.cut_at_start);
        self.frozen
    }

    /// Path of an inode, one of them where it has several names.
    fn path_of(&mut self, volume: &Volume, ino: Ino) -> Option<Arc<Path>> {
        self.paths.entry(ino).or_insert_with(|| volume.path_of(ino).map(Arc::from)).clone()
    }

    /// Path of what a change is about: the new name of a rename, the name that is made or removed.
    fn subject(&mut self, volume: &Volume, change: &Change<'_>) -> Option<Arc<Path>> {
        let (parent, name) = match change {
            Change::Write { ino, .. } => return self.path_of(volume, *ino),
            Change::Flush { ino, .. } => return self.path_of(volume, (*ino)?),
            Change::Mutation(mutation) => match mutation {
                Mutation::Create { parent, name, .. }
                | Mutation::Mkdir { parent, name, .. }
                | Mutation::Symlink { parent, name, .. }
                | Mutation::Mknod { parent, name, .. }
                | Mutation::Link { parent, name, .. }
                | Mutation::Unlink { parent, name }
                | Mutation::Rmdir { parent, name } => (*parent, name),
                Mutation::Rename { to, to_name, .. } => (*to, to_name),
                other => return self.path_of(volume, other.ino()?),
            },
        };
        let folder = self.path_of(volume, parent)?;
        Some(Arc::from(folder.join(name)))
    }
}

/// All nodes below a directory.
fn below(volume: &Volume, dir: Ino, found: &mut HashSet<Ino>) {
    for (_, ino) in volume.entries(dir).into_iter().flatten() {
        if found.insert(*ino) {
            below(volume, *ino, found);
        }
    }
}

impl State {
    pub(super) fn new() -> Self {
        let contents = std::array::from_fn(|slot| Content::new(Volume::new(), slot as u64 + 1));
        let generations = Slot::ALL.len() as u64;
        Self { contents, generations, runs: 0, run: None, maps: false, names: Names::default() }
    }

    pub(super) fn content(&self, slot: Slot) -> &Content {
        &self.contents[slot as usize]
    }

    pub(super) fn content_mut(&mut self, slot: Slot) -> &mut Content {
        &mut self.contents[slot as usize]
    }

    /// Takes no more changes in a slot, and says of which inodes the kernel may hold pages.
    pub(super) fn close(&mut self, slot: Slot) -> Vec<Ino> {
        let content = self.content_mut(slot);
        content.closed = true;
        content.cached.iter().copied().collect()
    }

    /// Puts a volume into a slot.
    pub(super) fn load(&mut self, slot: Slot, volume: Volume) {
        self.generations += 1;
        *self.content_mut(slot) = Content::new(volume, self.generations);
    }

    /// Begins a run.
    pub(super) fn begin(&mut self, mut run: Active) {
        self.names.clear();
        self.runs += 1;
        run.id = self.runs;
        let content = self.content_mut(Slot::Work);
        content.closed = run.cut_at_start;
        if run.run.limit_bytes.is_some() {
            run.held_bytes = content.volume.dirty_bytes();
        }
        run.watched = run.run.watch.as_ref().and_then(|path| content.volume.resolve(path));
        if let Some(watched) = run.watched {
            below(&content.volume, watched, &mut run.lying);
        }
        run.traced = run.run.trace.then(|| (Footprint::default(), content.volume.clone()));
        self.run = Some(run);
    }

    /// Notes that the tool asks more of a node than its name.
    pub(super) fn touch(&mut self, slot: Slot, ino: Ino) {
        if let Some(run) = &mut self.run
            && slot == Slot::Work
            && run.lying.contains(&ino)
        {
            run.glances.touched = true;
        }
    }

    /// Notes that the tool asks about an entry of a directory, or, without a name, for all of them.
    pub(super) fn glance(&mut self, slot: Slot, dir: Ino, name: Option<&OsStr>) {
        self.touch(slot, dir);
        let Some(run) = self.run.as_mut().filter(|run| slot == Slot::Work && run.watched == Some(dir)) else {
            return;
        };
        match name {
            None => run.glances.listed = true,
            Some(name) if !run.glances.names.contains(name) => {
                run.glances.names.insert(name.to_owned());
            }
            Some(_) => {}
        }
    }

    /// What is noted of reads and writes, while that is asked for.
    pub(super) fn footprint(&mut self, slot: Slot) -> Option<&mut Footprint> {
        let traced = self.run.as_mut().filter(|_| slot == Slot::Work)?.traced.as_mut();
        traced.map(|(footprint, _)| footprint)
    }

    /// Notes a change of content.
    pub(super) fn overwrites(&mut self, change: &Change<'_>) {
        let Some(footprint) = self.footprint(Slot::Work) else { return };
        match change {
            Change::Write { ino, offset, data } => {
                footprint.write(*ino, *offset..offset.saturating_add(data.len() as u64));
            }
            Change::Mutation(mutation) => footprint.mutation(mutation),
            Change::Flush { .. } => {}
        }
    }

    /// Cuts the run.
    pub(super) fn freeze(&mut self) {
        self.content_mut(Slot::Work).closed = true;
        if let Some(run) = &mut self.run {
            run.frozen = true;
            run.cut_at_start = false;
        }
    }

    /// Ends the run.
    pub(super) fn end(&mut self) -> Option<Recorded> {
        let run = self.run.take()?;
        let content = self.content_mut(Slot::Work);
        content.closed = true;
        let mut volume = content.volume.clone();
        let orphans_dropped = volume.drop_orphans();
        let traced = run.traced.filter(|_| !run.mapped);
        let footprint = traced.map(|(mut footprint, start)| {
            let gone = start.walk().map(|(_, ino)| ino).filter(|ino| volume.node(*ino).is_none());
            gone.for_each(|ino| footprint.removed(ino));
            footprint
        });
        Some(Recorded {
            footprint,
            volume,
            log: run.log,
            ops: run.ops,
            fired: run.plan.fired(),
            frozen: run.frozen,
            refused_late: run.refused_late,
            mapped: run.mapped,
            orphans_dropped,
            log_cut: run.log_cut,
            broken: run.broken,
            glances: run.glances,
        })
    }

    /// Whether a run is on, and not cut.
    pub(super) fn is_on(&self, run: u64) -> bool {
        !self.content(Slot::Work).closed && self.run.as_ref().is_some_and(|active| active.id == run)
    }

    /// Whether a run is cut or over, so that its change comes too late. It is counted.
    pub(super) fn late(&mut self, run: u64) -> bool {
        let late = !self.is_on(run);
        if let Some(active) = &mut self.run
            && late
        {
            active.refused_late += u64::from(active.frozen && active.id == run);
        }
        late
    }

    /// Asks the plan about the next op.
    pub(super) fn ask_plan(&mut self, change: &Change<'_>, caller: &Caller, step: &str) -> Verdict {
        let Some(run) = &mut self.run else { return Verdict::of(&[]) };
        let volume = &self.contents[Slot::Work as usize].volume;
        run.mapped |= caller.cached;
        run.path = run.subject(volume, change);
        if run.plan.plan().0.is_empty() {
            return Verdict::of(&[]);
        }
        let (class, ino, range) = match change {
            Change::Write { ino, offset, data } => {
                (OpClass::Write, Some(*ino), Some(*offset..offset.saturating_add(data.len() as u64)))
            }
            Change::Mutation(mutation) => {
                (OpClass::Change { needs_space: mutation.needs_space() }, mutation.ino(), mutation.range())
            }
            Change::Flush { ino, .. } => (OpClass::Flush, *ino, None),
        };
        let on_disk = run.path.is_some() && run.path.as_deref() == run.run.disk.as_deref();
        let image = ino.filter(|_| on_disk).and_then(|ino| volume.node(ino)).and_then(|node| node.image());
        let view = OpView {
            number: run.ops + 1,
            class,
            range,
            disk_len: image.map(|image| image.len_bytes()),
            sector_bytes: run.run.sector_bytes,
            file: run.path.as_deref(),
            step,
        };
        Verdict::of(&run.plan.at(&view))
    }

    /// What becomes of the op: what the plan says, unless the space is used up. A page that the kernel writes back
    /// can't be shortened.
    pub(super) fn end_of(&mut self, change: &Change<'_>, caller: &Caller, verdict: &Verdict) -> End {
        let end = match verdict.end {
            End::Short(_) if caller.cached => End::Complete,
            end => end,
        };
        if matches!(end, End::Complete | End::Short(_)) && self.is_full_for(change) {
            return End::Fail(Errno::ENOSPC);
        }
        end
    }

    /// Whether the change needs more memory than the run may use. A quick estimate first; only near the limit the
    /// change is tried on a clone.
    fn is_full_for(&mut self, change: &Change<'_>) -> bool {
        let Some(run) = &mut self.run else { return false };
        let Some(limit) = run.run.limit_bytes else { return false };
        let content = &self.contents[Slot::Work as usize];
        let most = match change {
            Change::Write { data, .. } => (data.len() as u64 / CHUNK_BYTES as u64 + 2) * CHUNK_BYTES as u64,
            Change::Mutation(mutation) if mutation.needs_space() => CHUNK_BYTES as u64,
            _ => return false,
        };
        if run.held_bytes.saturating_add(most) <= limit {
            run.held_bytes += most;
            return false;
        }
        let held = content.volume.dirty_bytes();
        let mut tried = content.volume.clone();
        let failed = match change {
            Change::Write { ino, offset, data } => tried.write(*ino, *offset, data, content.now()).is_err(),
            Change::Mutation(mutation) => tried.apply(mutation, content.now()).is_err(),
            Change::Flush { .. } => false,
        };
        let needed = tried.dirty_bytes();
        run.held_bytes = needed.max(held);
        // What needs no more than there is may go on, even where the limit has been passed before the run.
        !failed && needed > limit && needed > held
    }

    /// Bytes that the tool's slot offers in all and that are left, where they are limited.
    pub(super) fn space(&mut self) -> Option<(u64, u64)> {
        let run = self.run.as_mut()?;
        let limit = run.run.limit_bytes?;
        run.held_bytes = self.contents[Slot::Work as usize].volume.dirty_bytes();
        Some((limit, limit.saturating_sub(run.held_bytes)))
    }

    /// Gives the op its number and writes it to the log.
    pub(super) fn record(
        &mut self,
        change: &Change<'_>,
        caller: &Caller,
        progress: &Progress,
        outcome: Outcome,
    ) {
        let time = self.content(Slot::Work).now();
        let Some(run) = &mut self.run else { return };
        run.ops += 1;
        let epoch = run.epoch;
        if matches!(change, Change::Flush { .. }) && outcome == Outcome::Completed {
            run.epoch += 1;
        }
        if change.renames() {
            run.paths.clear();
        }
        let path = run.path.take();
        if !run.run.record || run.log_cut {
            return;
        }
        let payload = if let Change::Write { data, .. } = change { data.len() } else { 0 };
        run.log_bytes = run.log_bytes.saturating_add((payload + size_of::<Op>()) as u64);
        if run.run.log_limit_bytes.is_some_and(|limit| run.log_bytes > limit) {
            run.log_cut = true;
            return;
        }
        run.log.push(Op {
            number: run.ops,
            kind: change.op_kind(),
            fua: caller.fua,
            cached: caller.cached,
            process: self.names.name(caller.pid),
            step: progress.step.clone(),
            acks: progress.acks,
            epoch,
            outcome,
            time,
            path,
        });
    }
}
