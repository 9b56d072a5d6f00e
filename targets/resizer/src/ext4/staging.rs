//! The staged copy of a file system's used blocks, checked and resized by e2fsprogs.
//!
//! The programs see the time that the superblock knows as its latest, so the same source gives the same image. The
//! times of files that resize2fs sets to that clock are put back ([`times`]).

use std::ffi::OsString;

use super::layout::{Layout, Partition, Staged};
use super::usage::Usage;
use super::{bad, times};
use crate::error::{self, Error, Result};
use crate::fstools::stage::Stage;
use crate::fstools::{Call, Tools, child_name};

/// A staged file system after its resize.
pub(super) struct Resized {
    pub staged: Staged,
    pub layout: Layout,
    pub usage: Usage,
}

/// Stages what `usage` calls used and resizes it to `blocks`.
pub(super) fn resized(
    partition: &Partition<'_>,
    layout: &Layout,
    usage: &Usage,
    blocks: u64,
    tools: &Tools,
) -> Result<Resized> {
    let Partition { disk, at } = *partition;
    let mut stage = Stage::create(tools, layout.size_bytes())?;
    for run in usage.runs(true, 0, layout.blocks) {
        let offset = run.first * layout.block_bytes;
        stage.copy(disk, at.offset_bytes + offset, offset, run.count * layout.block_bytes)?;
    }
    let mut staged = Staged { stage, of: at };
    let layout = run_resize(&mut staged, partition, layout, blocks, tools, &[0, 1])?;
    let usage = Usage::load(&staged, &layout)?;
    Ok(Resized { staged, layout, usage })
}

/// Runs e2fsck, which resize2fs insists on, and resize2fs on the stage of `partition`, puts back the times that
/// this falsified, and checks what that made; the new layout.
pub(super) fn run_resize(
    staged: &mut Staged,
    partition: &Partition<'_>,
    layout: &Layout,
    blocks: u64,
    tools: &Tools,
    e2fsck_accepted: &[i32],
) -> Result<Layout> {
    let at = partition.at;
    let run = |stage: &Stage, program, before: &[&str], after: &[&str], accepted: &[i32]| {
        let (name, stdin) = child_name(stage.path(), true)?;
        let args = before.iter().map(OsString::from).chain([name]).chain(after.iter().map(OsString::from));
        let (package, args) = ("e2fsprogs", args.collect());
        tools.run(Call { program, package, args, clock_s: layout.clock_s, stdin, accepted })
    };
    run(&staged.stage, "e2fsck", &["-f", "-y"], &[], e2fsck_accepted)?;

    let size_bytes = blocks * layout.block_bytes;
    if staged.stage.len_bytes()? < size_bytes {
        staged.stage.set_len(size_bytes)?;
    }
    let count = blocks.to_string();
    match run(&staged.stage, "resize2fs", &[], &[&count], &[0]) {
        Err(Error::Tool { output, .. }) if smallest_blocks(&output).is_some() => {
            // That estimate assumes the worst of every file's extents. Forced, it fits or runs out of space; on a
            // stage neither does harm.
            run(&staged.stage, "resize2fs", &["-f"], &[&count], &[0]).map_err(|_| Error::BelowUsed {
                what: format!("the ext4 file system at byte {}", at.offset_bytes),
                wanted_bytes: size_bytes,
                used_bytes: smallest_blocks(&output).unwrap_or(0) * layout.block_bytes,
            })?;
        }
        other => drop(other?),
    }
    let resized = Layout::load(staged)?.ok_or_else(|| bad(at, "resize2fs left no file system"))?;
    if !times::restore(partition, layout, staged, &resized)? {
        error::report(format_args!(
            "warning: files of the ext4 file system at byte {} that resize2fs gave other inode numbers get a new change time: they could not be told apart",
            at.offset_bytes
        ));
    }
    run(&staged.stage, "e2fsck", &["-f", "-n"], &[], &[0])?;
    Ok(resized)
}

/// The number in resize2fs's refusal `New size smaller than minimum (N)`.
fn smallest_blocks(output: &str) -> Option<u64> {
    let (_, rest) = output.split_once("New size smaller than minimum (")?;
    rest.split_once(')')?.0.parse().ok()
}
