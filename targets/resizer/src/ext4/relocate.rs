//! Writing an ext4 file system to another, larger partition.
//!
//! The source stays whole, so a relocation that was cut off is simply done again.

use super::layout::{Partition, Source};
use super::staging::{self, Resized};
use super::usage::Usage;
use super::{bad, require};
use crate::disk::{Disk, Extent};
use crate::error::Result;
use crate::fstools::Tools;
use crate::patch::{Patch, WRITE_MAX_BYTES};

pub(super) fn relocate(disk: &dyn Disk, source: Extent, target: Extent, tools: &Tools) -> Result<()> {
    let partition = Partition { disk, at: source };
    let layout = require(&partition)?;
    if target.len_bytes < layout.size_bytes() {
        let why = format!("its {} bytes don't fit into {}", layout.size_bytes(), target.len_bytes);
        return Err(bad(source, why));
    }
    let usage = Usage::load(&partition, &layout)?;
    let blocks = target.len_bytes / layout.block_bytes;
    let Resized { staged, layout, usage } = staging::resized(&partition, &layout, &usage, blocks, tools)?;

    let mut patch = Patch::new(disk);
    let mut buf = vec![0; WRITE_MAX_BYTES];
    let mut free_from = target.offset_bytes;
    for run in usage.runs(true, 0, layout.blocks) {
        let mut done = run.first * layout.block_bytes;
        let end = run.end() * layout.block_bytes;
        patch.zero(free_from, target.offset_bytes + done - free_from)?;
        while done < end {
            let len = (end - done).min(buf.len() as u64) as usize;
            staged.read_at(done, &mut buf[..len])?;
            patch.put(target.offset_bytes + done, &buf[..len])?;
            done += len as u64;
        }
        free_from = target.offset_bytes + end;
    }
    patch.zero(free_from, target.end_bytes() - free_from).map(drop)
}
