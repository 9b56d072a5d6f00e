//! Which blocks of a file system are used, from its own bitmaps.
//!
//! Groups whose bitmap was never written (`BLOCK_UNINIT`) are computed from the layout. A bitmap that disagrees
//! with its group's free count is refused: whoever copies only used blocks must not copy too few.

use super::bad;
use super::layout::{Layout, Source};
use crate::error::Result;

/// A contiguous range of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First block.
    pub first: u64,
    /// How many.
    pub count: u64,
}

impl Run {
    /// One past the last block.
    pub fn end(&self) -> u64 {
        self.first + self.count
    }
}

/// The used blocks of one file system. Blocks before the first group (the boot block of 1 KiB file systems)
/// count as used, blocks beyond the end as free.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Usage {
    first_block: u64,
    blocks: u64,
    /// One bit per block from `first_block` on; bits beyond the end are zero.
    bits: Vec<u64>,
}

impl Usage {
    /// Reads the bitmaps of `layout` from where it was read itself.
    pub fn load(source: &dyn Source, layout: &Layout) -> Result<Usage> {
        let len = (layout.blocks - layout.first_block).div_ceil(64) as usize;
        let mut usage = Usage { first_block: layout.first_block, blocks: layout.blocks, bits: vec![0; len] };
        let mut bitmap = vec![0; layout.block_bytes as usize];
        for (index, group) in layout.groups.iter().enumerate() {
            let start = layout.group_start(index);
            if group.uninit {
                usage.mark(start, layout.backup_blocks(index).min(layout.group_blocks(index)));
            } else {
                source.read_at(group.block_bitmap * layout.block_bytes, &mut bitmap)?;
                usage.merge(start - layout.first_block, layout.group_blocks(index), &bitmap);
            }
        }
        // Of an unwritten group the metadata may lie in any group, and any group's in an unwritten one.
        for group in &layout.groups {
            usage.mark(group.block_bitmap, 1);
            usage.mark(group.inode_bitmap, 1);
            usage.mark(group.inode_table, layout.inode_table_blocks);
        }
        for (index, group) in layout.groups.iter().enumerate() {
            let (start, count) = (layout.group_start(index), layout.group_blocks(index));
            let free = count - usage.used_between(start, start + count);
            if free != group.free_blocks {
                let why = format!(
                    "its group {index} counts {} free blocks, but its bitmap has {free}; --fix-errors can repair that",
                    group.free_blocks
                );
                return Err(bad(source.name(), why));
            }
        }
        Ok(usage)
    }

    /// A usage of `blocks` blocks in which every 64 blocks look the same.
    #[cfg(test)]
    pub fn from_words(blocks: u64, word: u64) -> Usage {
        Usage { first_block: 0, blocks, bits: vec![word; blocks.div_ceil(64) as usize] }
    }

    /// Whether a block is used.
    pub fn is_used(&self, block: u64) -> bool {
        if block < self.first_block {
            return true;
        }
        let bit = block - self.first_block;
        block < self.blocks && self.bits[(bit / 64) as usize] >> (bit % 64) & 1 == 1
    }

    /// How many blocks of `from..to` are used.
    pub fn used_between(&self, from: u64, to: u64) -> u64 {
        self.runs(true, from, to).map(|run| run.count).sum()
    }

    /// The longest runs of used (or free) blocks within `from..to`, in order.
    pub fn runs(&self, used: bool, from: u64, to: u64) -> impl Iterator<Item = Run> + '_ {
        let mut at = from;
        std::iter::from_fn(move || {
            let first = self.next(used, at, to);
            let end = self.next(!used, first, to);
            at = end;
            (first < to).then_some(Run { first, count: end - first })
        })
    }

    /// The first block from `at` on whose state is `used`, or `to`.
    fn next(&self, used: bool, from: u64, to: u64) -> u64 {
        let mut at = from;
        while at < to {
            if at < self.first_block {
                if used {
                    return at;
                }
                at = self.first_block;
            } else if at >= self.blocks {
                return if used { to } else { at };
            } else {
                let bit = at - self.first_block;
                let word = self.bits[(bit / 64) as usize];
                let wanted = if used { word } else { !word } >> (bit % 64);
                if wanted != 0 {
                    return (at + u64::from(wanted.trailing_zeros())).min(to);
                }
                at += 64 - bit % 64;
            }
        }
        to
    }

    fn mark(&mut self, first: u64, count: u64) {
        for bit in first - self.first_block..first - self.first_block + count {
            self.bits[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }

    /// Takes over the first `count` bits of a group's bitmap.
    fn merge(&mut self, first_bit: u64, count: u64, bitmap: &[u8]) {
        for (index, byte) in bitmap.iter().enumerate().take(count.div_ceil(8) as usize) {
            let bit = first_bit + index as u64 * 8;
            let left = count - index as u64 * 8;
            let byte = if left < 8 { byte & ((1 << left) - 1) } else { *byte };
            // A group's blocks are a multiple of eight, so a byte never straddles two words.
            self.bits[(bit / 64) as usize] |= u64::from(byte) << (bit % 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::Command;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::disk::{Disk, Extent};
    use crate::ext4::layout::Partition;
    use crate::file_disk::{Access, FileDisk};

    fn usage_of(bits: &[bool], first_block: u64) -> Usage {
        let blocks = first_block + bits.len() as u64;
        let mut usage = Usage { first_block, blocks, bits: vec![0; bits.len().div_ceil(64)] };
        for (block, _) in (first_block..).zip(bits).filter(|(_, used)| **used) {
            usage.mark(block, 1);
        }
        usage
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Runs are what going through the blocks one by one finds.
        #[test]
        fn runs_are_maximal_and_complete(
            pattern in prop::collection::vec((any::<bool>(), 1_usize..90), 1..12),
            first_block in 0_u64..2,
            from in 0_u64..300,
            len in 0_u64..900,
            used in any::<bool>(),
        ) {
            let bits: Vec<bool> =
                pattern.iter().flat_map(|(bit, count)| std::iter::repeat_n(*bit, *count)).collect();
            let usage = usage_of(&bits, first_block);
            let mut expected: Vec<Run> = Vec::new();
            for block in (from..from + len).filter(|block| usage.is_used(*block) == used) {
                match expected.last_mut() {
                    Some(last) if last.end() == block => last.count += 1,
                    _ => expected.push(Run { first: block, count: 1 }),
                }
            }
            prop_assert_eq!(usage.runs(used, from, from + len).collect::<Vec<_>>(), expected);
        }
    }

    /// What dumpe2fs prints as a group's free blocks: `Free blocks: 12-15, 20`.
    fn free_blocks_by_dumpe2fs(text: &str) -> Vec<u64> {
        let lists = text.lines().filter_map(|line| line.strip_prefix("  Free blocks: "));
        let ranges = lists.flat_map(|list| list.split(", ")).filter(|range| !range.is_empty());
        ranges
            .flat_map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                first.parse::<u64>().unwrap()..=last.parse().unwrap()
            })
            .collect()
    }

    #[test]
    fn free_blocks_are_those_that_dumpe2fs_lists() {
        for options in [
            &["-t", "ext4"][..],
            &["-t", "ext4", "-b", "1024", "-O", "^flex_bg"],
            &["-t", "ext4", "-b", "1024", "-O", "64bit", "-g", "1024"],
            &["-t", "ext4", "-b", "4096", "-O", "^64bit,^metadata_csum,uninit_bg", "-g", "2048"],
            &["-t", "ext4", "-b", "2048", "-O", "sparse_super2,^resize_inode", "-g", "4096"],
            &["-t", "ext4", "-b", "4096", "-O", "bigalloc"],
            &["-t", "ext2", "-b", "1024", "-O", "^sparse_super,^resize_inode"],
            &["-t", "ext2", "-r", "0", "-b", "1024"],
        ] {
            let dir = TempDir::new().unwrap();
            let path = dir.path().join("fs.img");
            let run = |program: &str, args: &[&str], last: &[&str]| {
                let image = path.to_str().unwrap();
                let args = args.iter().chain([&image]).chain(last);
                let paths = "/usr/sbin:/usr/bin:/sbin:/bin";
                let output = Command::new(program).args(args).env("PATH", paths).output().unwrap();
                assert!(output.status.success(), "{program}: {output:?}");
                String::from_utf8_lossy(&output.stdout).into_owned()
            };
            File::create(&path).unwrap();
            run("mke2fs", &[&["-q", "-F"], options].concat(), &["61001k"]);
            let text = run("dumpe2fs", &[], &[]);
            let disk = FileDisk::open(&path, Access::Read).unwrap();
            let at = Extent { offset_bytes: 0, len_bytes: disk.len_bytes() };
            let partition = Partition { disk: &disk, at };
            if options.contains(&"bigalloc") {
                let refused = Layout::load(&partition).unwrap_err().to_string();
                assert!(refused.contains("bigalloc"), "{refused}");
                continue;
            }
            let layout = Layout::load(&partition).unwrap().unwrap();
            let usage = Usage::load(&partition, &layout).unwrap();
            let free: Vec<u64> =
                usage.runs(false, 0, layout.blocks).flat_map(|run| run.first..run.end()).collect();
            assert!(free.len() > 10_000, "{options:?}: only {} free blocks", free.len());
            assert!(free == free_blocks_by_dumpe2fs(&text), "{options:?}");
        }
    }
}
