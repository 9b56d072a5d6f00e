//! The superblock and the group descriptors of ext2, ext3 and ext4, as far as block usage and inodes need them.
//!
//! Field offsets are those of the kernel's documentation of the ext4 disk layout. Everything that is read is
//! checked against the device, so that a hostile image gives an error.

use super::bad;
use crate::disk::{Disk, Extent};
use crate::error::Result;
use crate::fstools::stage::Stage;
use crate::patch;

/// Where the superblock lies, whatever the block size.
pub(crate) const SUPERBLOCK_OFFSET_BYTES: u64 = 1024;
const SUPERBLOCK_BYTES: usize = 1024;
const MAGIC: u16 = 0xEF53;

const COMPAT_SPARSE_SUPER2: u32 = 0x200;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_JOURNAL_DEV: u32 = 0x8;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_MMP: u32 = 0x100;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
/// The features that change nothing in where blocks lie (filetype, extents, flex_bg, ea_inode, dirdata, largedir,
/// inline_data, encrypt, casefold), and those that are handled here (recover, 64bit, mmp, csum_seed).
const INCOMPAT_KNOWN: u32 = 0x3_F7C6;
const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
const RO_COMPAT_GDT_CSUM: u32 = 0x10;
const RO_COMPAT_BIGALLOC: u32 = 0x200;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;

const GROUP_INODE_UNINIT: u16 = 0x1;
const GROUP_BLOCK_UNINIT: u16 = 0x2;

/// The first inode number for files where the superblock doesn't say.
const FIRST_INODE_REVISION_0: u32 = 11;

/// Something that a file system is read from: a partition or a staged copy.
pub(super) trait Source {
    /// Its length.
    fn len_bytes(&self) -> Result<u64>;
    /// Fills `buf` from `offset_bytes`.
    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<()>;
    /// Where it lies on the disk, for messages: a staged copy has the place of its original.
    fn name(&self) -> Extent;
}

/// A partition as a [`Source`].
#[derive(Clone, Copy)]
pub(super) struct Partition<'a> {
    pub disk: &'a dyn Disk,
    pub at: Extent,
}

impl Source for Partition<'_> {
    fn len_bytes(&self) -> Result<u64> {
        Ok(self.at.len_bytes)
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        patch::read(self.disk, self.at.offset_bytes + offset_bytes, buf)
    }

    fn name(&self) -> Extent {
        self.at
    }
}

/// The staged copy of what lies at `of`.
pub(super) struct Staged {
    pub stage: Stage,
    pub of: Extent,
}

impl Source for Staged {
    fn len_bytes(&self) -> Result<u64> {
        self.stage.len_bytes()
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        self.stage.read_at(offset_bytes, buf)
    }

    fn name(&self) -> Extent {
        self.of
    }
}

/// Where one block group keeps its metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub block_bitmap: u64,
    pub inode_bitmap: u64,
    pub inode_table: u64,
    pub free_blocks: u64,
    /// The bitmap on the disk was never written; what is used follows from the layout.
    pub uninit: bool,
    /// None of its inodes is in use, whatever its bitmap on the disk says.
    pub inodes_uninit: bool,
}

/// A file system's geometry.
#[derive(Debug)]
pub(super) struct Layout {
    pub block_bytes: u64,
    pub blocks: u64,
    pub first_block: u64,
    pub blocks_per_group: u64,
    pub inode_table_blocks: u64,
    pub inodes_per_group: u64,
    pub inode_bytes: u64,
    /// The number of the first inode that isn't reserved.
    pub first_inode: u64,
    /// What the checksum of every inode starts from; `None` where inodes have none.
    pub checksum_seed: Option<u32>,
    pub descriptor_blocks: u64,
    pub reserved_descriptor_blocks: u64,
    pub groups: Vec<Group>,
    pub uuid: [u8; 16],
    pub label: [u8; 16],
    /// The latest of the superblock's own times, in seconds since 1970.
    pub clock_s: u64,
    pub needs_recovery: bool,
    pub has_mmp: bool,
    sparse_super: bool,
    sparse_super2_backups: Option<[u64; 2]>,
}

impl Layout {
    /// Reads the layout; `None` where there is no ext file system.
    pub fn load(source: &dyn Source) -> Result<Option<Layout>> {
        if source.len_bytes()? < SUPERBLOCK_OFFSET_BYTES + SUPERBLOCK_BYTES as u64 {
            return Ok(None);
        }
        let mut sb = [0; SUPERBLOCK_BYTES];
        source.read_at(SUPERBLOCK_OFFSET_BYTES, &mut sb)?;
        let log_block_size = le32(&sb, 24);
        let block_bytes = if log_block_size <= 6 { 1024 << log_block_size } else { 0 };
        let first_block = u64::from(le32(&sb, 20));
        // The magic is two bytes only: what can't be an ext superblock otherwise is not taken for a broken one.
        if le16(&sb, 56) != MAGIC || block_bytes == 0 || first_block > 1 || le32(&sb, 76) > 1 {
            return Ok(None);
        }
        let mut layout = Layout::from_superblock(source, &sb, block_bytes, first_block)?;
        layout.load_groups(source, &sb)?;
        Ok(Some(layout))
    }

    fn from_superblock(
        source: &dyn Source,
        sb: &[u8; SUPERBLOCK_BYTES],
        block_bytes: u64,
        first_block: u64,
    ) -> Result<Layout> {
        let at = source.name();
        let dynamic = le32(sb, 76) == 1;
        let feature = |offset: usize| if dynamic { le32(sb, offset) } else { 0 };
        let (compat, incompat, ro_compat) = (feature(92), feature(96), feature(100));
        if incompat & INCOMPAT_JOURNAL_DEV != 0 {
            return Err(bad(at, "it is an external journal, not a file system"));
        }
        if incompat & INCOMPAT_META_BG != 0 {
            return Err(bad(at, "its feature meta_bg is not supported"));
        }
        if ro_compat & RO_COMPAT_BIGALLOC != 0 {
            return Err(bad(at, "its feature bigalloc is not supported"));
        }
        if incompat & !INCOMPAT_KNOWN != 0 {
            return Err(bad(at, format!("it has unknown features ({:#x})", incompat & !INCOMPAT_KNOWN)));
        }
        let wide = incompat & INCOMPAT_64BIT != 0;
        let blocks = u64::from(le32(sb, 4)) | if wide { u64::from(le32(sb, 0x150)) << 32 } else { 0 };
        let blocks_per_group = u64::from(le32(sb, 32));
        let inodes_per_group = u64::from(le32(sb, 40));
        let inode_bytes = if dynamic { u64::from(le16(sb, 88)) } else { 128 };
        let plausible = first_block == u64::from(block_bytes == 1024)
            && blocks > first_block
            && (8..=8 * block_bytes).contains(&blocks_per_group)
            && blocks_per_group.is_multiple_of(8)
            && (1..=8 * block_bytes).contains(&inodes_per_group)
            && inode_bytes.is_power_of_two()
            && (128..=block_bytes).contains(&inode_bytes);
        if !plausible {
            return Err(bad(at, "its superblock contradicts itself"));
        }
        if blocks.checked_mul(block_bytes).is_none_or(|bytes| bytes > source.len_bytes().unwrap_or(0)) {
            return Err(bad(
                at,
                format!("its superblock claims {blocks} blocks, more than the partition has"),
            ));
        }
        let group_count = (blocks - first_block).div_ceil(blocks_per_group);
        if u64::from(le32(sb, 0)) != group_count * inodes_per_group {
            return Err(bad(at, "its superblock's inode count doesn't fit its groups"));
        }
        let time = |low: usize, high: usize| u64::from(le32(sb, low)) | u64::from(sb[high]) << 32;
        let clock_s = [time(44, 0x275), time(48, 0x274), time(64, 0x277), time(0x108, 0x276)]
            .into_iter()
            .max()
            .unwrap_or(0);
        let descriptor_bytes = descriptor_bytes(sb, wide);
        if !descriptor_bytes.is_power_of_two() || !(32..=block_bytes).contains(&descriptor_bytes) {
            return Err(bad(at, "its group descriptors have an impossible size"));
        }
        Ok(Layout {
            block_bytes,
            blocks,
            first_block,
            blocks_per_group,
            inode_table_blocks: (inodes_per_group * inode_bytes).div_ceil(block_bytes),
            inodes_per_group,
            inode_bytes,
            first_inode: u64::from(if dynamic { le32(sb, 84) } else { FIRST_INODE_REVISION_0 }),
            checksum_seed: (ro_compat & RO_COMPAT_METADATA_CSUM != 0).then(|| {
                if incompat & INCOMPAT_CSUM_SEED != 0 {
                    le32(sb, 0x270)
                } else {
                    crc32c(u32::MAX, &sb[104..120])
                }
            }),
            descriptor_blocks: (group_count * descriptor_bytes).div_ceil(block_bytes),
            reserved_descriptor_blocks: u64::from(le16(sb, 206)),
            groups: Vec::new(),
            uuid: array(sb, 104),
            label: array(sb, 120),
            // A clock of zero would mean "not set" to e2fsprogs.
            clock_s: clock_s.max(1),
            needs_recovery: incompat & INCOMPAT_RECOVER != 0,
            has_mmp: incompat & INCOMPAT_MMP != 0,
            sparse_super: ro_compat & RO_COMPAT_SPARSE_SUPER != 0,
            sparse_super2_backups: (compat & COMPAT_SPARSE_SUPER2 != 0)
                .then(|| [u64::from(le32(sb, 0x24C)), u64::from(le32(sb, 0x250))]),
        })
    }

    fn load_groups(&mut self, source: &dyn Source, sb: &[u8; SUPERBLOCK_BYTES]) -> Result<()> {
        let at = source.name();
        let wide = le32(sb, 76) == 1 && le32(sb, 96) & INCOMPAT_64BIT != 0;
        let checksummed =
            le32(sb, 76) == 1 && le32(sb, 100) & (RO_COMPAT_GDT_CSUM | RO_COMPAT_METADATA_CSUM) != 0;
        let size = descriptor_bytes(sb, wide) as usize;
        let table = self.first_block + 1;
        if table + self.descriptor_blocks + self.reserved_descriptor_blocks > self.blocks {
            return Err(bad(at, "its group descriptors lie outside of it"));
        }
        let mut bytes = vec![0; (self.descriptor_blocks * self.block_bytes) as usize];
        source.read_at(table * self.block_bytes, &mut bytes)?;
        let count = (self.blocks - self.first_block).div_ceil(self.blocks_per_group) as usize;
        for (index, bytes) in bytes.chunks_exact(size).take(count).enumerate() {
            let high = |offset: usize| if size >= 64 { u64::from(le32(bytes, offset)) << 32 } else { 0 };
            let free_high = if size >= 64 { u64::from(le16(bytes, 0x2C)) << 16 } else { 0 };
            let group = Group {
                block_bitmap: u64::from(le32(bytes, 0)) | high(0x20),
                inode_bitmap: u64::from(le32(bytes, 4)) | high(0x24),
                inode_table: u64::from(le32(bytes, 8)) | high(0x28),
                free_blocks: u64::from(le16(bytes, 12)) | free_high,
                uninit: checksummed && le16(bytes, 18) & GROUP_BLOCK_UNINIT != 0,
                inodes_uninit: checksummed && le16(bytes, 18) & GROUP_INODE_UNINIT != 0,
            };
            let inside = |first: u64, count: u64| {
                first >= self.first_block && first.checked_add(count).is_some_and(|end| end <= self.blocks)
            };
            if !inside(group.block_bitmap, 1)
                || !inside(group.inode_bitmap, 1)
                || !inside(group.inode_table, self.inode_table_blocks)
            {
                return Err(bad(at, format!("the metadata of its group {index} lies outside of it")));
            }
            self.groups.push(group);
        }
        Ok(())
    }

    /// Its length; a partition may be longer.
    pub fn size_bytes(&self) -> u64 {
        self.blocks * self.block_bytes
    }

    /// How many inodes it has; their numbers begin with one.
    pub fn inodes(&self) -> u64 {
        self.groups.len() as u64 * self.inodes_per_group
    }

    /// The group of an inode and its index there.
    pub fn inode_place(&self, number: u64) -> (usize, u64) {
        let index = number - 1;
        ((index / self.inodes_per_group) as usize, index % self.inodes_per_group)
    }

    /// Where an inode lies.
    pub fn inode_offset(&self, number: u64) -> u64 {
        let (group, index) = self.inode_place(number);
        self.groups[group].inode_table * self.block_bytes + index * self.inode_bytes
    }

    /// How many blocks its groups count as free.
    pub fn free_blocks(&self) -> u64 {
        self.groups.iter().map(|group| group.free_blocks).sum()
    }

    /// The first block of a group.
    pub fn group_start(&self, group: usize) -> u64 {
        self.first_block + group as u64 * self.blocks_per_group
    }

    /// How many blocks a group has; the last one may be shorter than the others.
    pub fn group_blocks(&self, group: usize) -> u64 {
        self.blocks_per_group.min(self.blocks - self.group_start(group))
    }

    /// How many blocks at a group's start hold a superblock, the descriptors and what is reserved for them.
    pub fn backup_blocks(&self, group: usize) -> u64 {
        if self.has_superblock(group as u64) {
            1 + self.descriptor_blocks + self.reserved_descriptor_blocks
        } else {
            0
        }
    }

    fn has_superblock(&self, group: u64) -> bool {
        if group == 0 {
            return true;
        }
        if let Some(backups) = self.sparse_super2_backups {
            return backups.contains(&group);
        }
        let is_power_of = |base: u64| {
            let mut power = base;
            while power < group {
                power *= base;
            }
            power == group
        };
        group == 1 || !self.sparse_super || [3, 5, 7].into_iter().any(is_power_of)
    }
}

fn descriptor_bytes(sb: &[u8; SUPERBLOCK_BYTES], wide: bool) -> u64 {
    if wide { u64::from(le16(sb, 254)) } else { 32 }
}

/// Continues the CRC-32C `state`, which ext4 neither begins nor ends with an inversion.
pub(super) fn crc32c(state: u32, bytes: &[u8]) -> u32 {
    const RAW: crc::Algorithm<u32> = crc::Algorithm { xorout: 0, ..crc::CRC_32_ISCSI };
    static CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&RAW);
    // The crate reflects the value that it is given to begin with.
    let mut digest = CRC.digest_with_initial(state.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

pub(super) fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}
