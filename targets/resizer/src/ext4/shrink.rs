//! Shrinking in place.
//!
//! resize2fs shrinks a staged copy. Of what then differs, blocks that the old file system doesn't use are written
//! first, which leaves it whole. All others go through the redo journal ([`redo`]), which lies in blocks that are
//! free in the old file system and beyond the new size: until its marker is durable the old file system counts and
//! the shrink is done again from the start, from then on the journal is applied, as often as it takes.

use super::layout::{Layout, Partition, Source, Staged};
use super::redo::{self, Journal};
use super::staging::{self, Resized};
use super::usage::{Run, Usage};
use super::{bad, require};
use crate::disk::{Disk, Extent};
use crate::error::{Error, Result};
use crate::fstools::Tools;
use crate::fstools::stage::Stage;
use crate::patch::{self, Patch, WRITE_MAX_BYTES};
use crate::planted;

/// What differs between the shrunk image and the partition, as runs of at most [`WRITE_MAX_BYTES`].
#[derive(Default)]
struct Changes {
    /// In blocks that the old file system doesn't use.
    direct: Vec<Run>,
    /// In blocks that it uses.
    journaled: Vec<Run>,
}

pub(super) fn check(disk: &dyn Disk, at: Extent, new_len_bytes: u64) -> Result<()> {
    let partition = Partition { disk, at };
    let layout = require(&partition)?;
    if layout.size_bytes() <= new_len_bytes {
        return Ok(());
    }
    let usage = Usage::load(&partition, &layout)?;
    refuse_below_used(&layout, at, new_len_bytes)?;
    // At least the superblock and the group descriptors change.
    let least = [Run { first: layout.first_block, count: 1 + layout.descriptor_blocks.min(1) }];
    Journal::plan(at, &[0; 16], layout.block_bytes, new_len_bytes, &usage, &least).map(drop)
}

fn refuse_below_used(layout: &Layout, at: Extent, new_len_bytes: u64) -> Result<()> {
    let needed = least_blocks(layout, new_len_bytes) * layout.block_bytes;
    if needed > new_len_bytes {
        return Err(Error::BelowUsed {
            what: format!("the ext4 file system at byte {}", at.offset_bytes),
            wanted_bytes: new_len_bytes,
            used_bytes: needed,
        });
    }
    Ok(())
}

/// The blocks in use, less the metadata of the groups that a shrink to `new_len_bytes` takes away whole.
fn least_blocks(layout: &Layout, new_len_bytes: u64) -> u64 {
    let used = layout.blocks.saturating_sub(layout.free_blocks());
    let new_blocks = new_len_bytes / layout.block_bytes;
    let cut = (0..layout.groups.len()).filter(|group| layout.group_start(*group) >= new_blocks);
    let metadata: u64 = cut.map(|group| layout.backup_blocks(group) + 2 + layout.inode_table_blocks).sum();
    used.saturating_sub(metadata)
}

pub(super) fn shrink(
    disk: &dyn Disk,
    at: Extent,
    part_guid: &[u8; 16],
    new_len_bytes: u64,
    tools: &Tools,
) -> Result<()> {
    let partition = Partition { disk, at };
    // A marked shrink counts already, whatever the superblock says.
    redo::recover(disk, at, part_guid)?;
    let layout = require(&partition)?;
    if planted::active() == Some(planted::Bug::NaiveCopyBack) {
        return copy_straight_back(&partition, &layout, new_len_bytes, tools);
    }
    if layout.size_bytes() <= new_len_bytes {
        return Ok(());
    }
    refuse_below_used(&layout, at, new_len_bytes)?;
    let usage = Usage::load(&partition, &layout)?;
    let new_blocks = new_len_bytes / layout.block_bytes;
    let shrunk = staging::resized(&partition, &layout, &usage, new_blocks, tools)?;
    if shrunk.layout.size_bytes() > new_len_bytes {
        return Err(bad(at, "resize2fs left it longer than was asked for"));
    }
    let changes = compare(&partition, &usage, &shrunk)?;
    let journal =
        Journal::plan(at, part_guid, layout.block_bytes, new_len_bytes, &usage, &changes.journaled)?;

    let mut patch = Patch::new(disk);
    let mut buf = vec![0; WRITE_MAX_BYTES];
    for run in &changes.direct {
        let offset = run.first * layout.block_bytes;
        let data = &mut buf[..(run.count * layout.block_bytes) as usize];
        shrunk.staged.read_at(offset, data)?;
        patch.put(at.offset_bytes + offset, data)?;
    }
    journal.write(disk, &shrunk.staged)?;
    if !redo::recover(disk, at, part_guid)? {
        return Err(bad(
            at,
            "the redo journal that was just written is not there; does the disk keep writes?",
        ));
    }
    Ok(())
}

/// Finds what the shrunk image changes, among the blocks that it uses.
fn compare(partition: &Partition<'_>, old: &Usage, shrunk: &Resized) -> Result<Changes> {
    let block_bytes = shrunk.layout.block_bytes;
    let mut changes = Changes::default();
    let (mut now, mut then) = (vec![0; WRITE_MAX_BYTES], vec![0; WRITE_MAX_BYTES]);
    for run in shrunk.usage.runs(true, 0, shrunk.layout.blocks) {
        let mut first = run.first;
        while first < run.end() {
            let count = (run.end() - first).min(WRITE_MAX_BYTES as u64 / block_bytes);
            let len = (count * block_bytes) as usize;
            partition.read_at(first * block_bytes, &mut now[..len])?;
            shrunk.staged.read_at(first * block_bytes, &mut then[..len])?;
            if now[..len] != then[..len] {
                let size = block_bytes as usize;
                let pairs = now[..len].chunks(size).zip(then[..len].chunks(size));
                for (block, _) in (first..).zip(pairs).filter(|(_, (now, then))| now != then) {
                    let list = if old.is_used(block) { &mut changes.journaled } else { &mut changes.direct };
                    push(list, block, block_bytes);
                }
            }
            first += count;
        }
    }
    Ok(changes)
}

fn push(list: &mut Vec<Run>, block: u64, block_bytes: u64) {
    match list.last_mut() {
        Some(last) if last.end() == block && last.count < WRITE_MAX_BYTES as u64 / block_bytes => {
            last.count += 1;
        }
        _ => list.push(Run { first: block, count: 1 }),
    }
}

/// The planted bug `naive-copy-back`, as known tools do it: shrink a copy and lay it over the partition, with one
/// flush at the end; run again, let e2fsck mend what a kill left.
fn copy_straight_back(
    partition: &Partition<'_>,
    layout: &Layout,
    new_len_bytes: u64,
    tools: &Tools,
) -> Result<()> {
    let Partition { disk, at } = *partition;
    let mut stage = Stage::create(tools, at.len_bytes)?;
    stage.copy_all(disk, at)?;
    let blocks = layout.blocks.min(new_len_bytes / layout.block_bytes);
    let mut staged = Staged { stage, of: at };
    staging::run_resize(&mut staged, partition, layout, blocks, tools, &[0, 1, 2, 4])?;
    let mut patch = Patch::new(disk);
    let mut buf = vec![0; WRITE_MAX_BYTES];
    let mut done = 0;
    let end = blocks * layout.block_bytes;
    while done < end {
        let len = (end - done).min(buf.len() as u64) as usize;
        staged.read_at(done, &mut buf[..len])?;
        patch.put(at.offset_bytes + done, &buf[..len])?;
        done += len as u64;
    }
    patch::flush(disk)
}
