//! The superblock: 1024 bytes, in group 0 behind the boot sector's place, in the groups with a copy at their start.
//!
//! Times are left at zero, so that nothing depends on a clock and e2fsck never sees one from the future.

use crate::bytes::Put;
use crate::checksum;
use crate::geometry::{BLOCKS_PER_GROUP, Geometry, INODE_BYTES};
use crate::inode::{EXTRA_BYTES, JOURNAL, LOST_AND_FOUND};

/// Bytes of a superblock.
pub(crate) const BYTES: usize = 1024;
/// Where that of group 0 stands in its block; copies stand at the start of theirs.
pub(crate) const PRIMARY_OFFSET: u64 = 1024;
/// Groups whose bitmaps lie together, as a power of two.
pub(crate) const LOG_GROUPS_PER_FLEX: u8 = 4;

mod features {
    pub const COMPAT_HAS_JOURNAL: u32 = 0x4;
    pub const COMPAT_EXT_ATTR: u32 = 0x8;
    pub const COMPAT_DIR_INDEX: u32 = 0x20;
    pub const INCOMPAT_FILETYPE: u32 = 0x2;
    pub const INCOMPAT_EXTENTS: u32 = 0x40;
    pub const INCOMPAT_FLEX_BG: u32 = 0x200;
    pub const INCOMPAT_INLINE_DATA: u32 = 0x8000;
    pub const RO_SPARSE_SUPER: u32 = 0x1;
    pub const RO_LARGE_FILE: u32 = 0x2;
    pub const RO_HUGE_FILE: u32 = 0x8;
    pub const RO_DIR_NLINK: u32 = 0x20;
    pub const RO_EXTRA_ISIZE: u32 = 0x40;
    pub const RO_METADATA_CSUM: u32 = 0x400;
}

/// What a superblock says.
pub(crate) struct Superblock {
    pub geometry: Geometry,
    pub blocks: u64,
    pub free_blocks: u64,
    pub free_inodes: u64,
    pub uuid: [u8; 16],
    pub inline_data: bool,
    /// Of the journal, if there is one: `i_block` and bytes.
    pub journal: Option<([u8; 60], u64)>,
}

impl Superblock {
    /// The copy of a group.
    pub fn encode(&self, group: u64) -> [u8; BYTES] {
        const CLEAN: u16 = 1;
        const ON_ERROR_CONTINUE: u16 = 1;
        const DYNAMIC_REVISION: u32 = 1;
        const LOG_BLOCK_KIB: u32 = 2;
        const NEVER_BY_MOUNTS: u16 = u16::MAX;
        const HALF_MD4: u8 = 1;
        const SIGNED_HASH: u32 = 1;
        const USER_XATTR_AND_ACL: u32 = 0xc;
        const CRC32C: u8 = 1;
        let mut raw = [0; BYTES];
        raw.put_u32(0x00, (self.geometry.groups * self.geometry.inodes_per_group) as u32);
        raw.put_u32(0x04, self.blocks as u32);
        raw.put_u32(0x0c, self.free_blocks as u32);
        raw.put_u32(0x10, self.free_inodes as u32);
        raw.put_u32(0x18, LOG_BLOCK_KIB);
        raw.put_u32(0x1c, LOG_BLOCK_KIB);
        raw.put_u32(0x20, BLOCKS_PER_GROUP as u32);
        raw.put_u32(0x24, BLOCKS_PER_GROUP as u32);
        raw.put_u32(0x28, self.geometry.inodes_per_group as u32);
        raw.put_u16(0x36, NEVER_BY_MOUNTS);
        raw.put_u16(0x38, 0xef53);
        raw.put_u16(0x3a, CLEAN);
        raw.put_u16(0x3c, ON_ERROR_CONTINUE);
        raw.put_u32(0x4c, DYNAMIC_REVISION);
        raw.put_u32(0x54, LOST_AND_FOUND);
        raw.put_u16(0x58, INODE_BYTES as u16);
        raw.put_u16(0x5a, group as u16);
        self.put_features(&mut raw);
        raw.put(0x68, &self.uuid);
        // s_journal_uuid at 0xd0 stays zero: it names an external journal, and e2fsck would look for that.
        if let Some((body, bytes)) = &self.journal {
            const KEEPS_BLOCKS: u8 = 1;
            raw.put_u32(0xe0, JOURNAL);
            raw[0xfd] = KEEPS_BLOCKS;
            raw.put(0x10c, body);
            raw.put_u32(0x148, (bytes >> 32) as u32);
            raw.put_u32(0x14c, *bytes as u32);
        }
        raw.put(0xec, &self.uuid);
        raw[0xfc] = HALF_MD4;
        raw.put_u32(0x100, USER_XATTR_AND_ACL);
        raw.put_u16(0x15c, EXTRA_BYTES);
        raw.put_u16(0x15e, EXTRA_BYTES);
        raw.put_u32(0x160, SIGNED_HASH);
        raw[0x174] = LOG_GROUPS_PER_FLEX;
        raw[0x175] = CRC32C;
        let sum = checksum::of_superblock(&raw[..0x3fc]);
        raw.put_u32(0x3fc, sum);
        raw
    }

    fn put_features(&self, raw: &mut [u8]) {
        use features::*;
        let journal = if self.journal.is_some() { COMPAT_HAS_JOURNAL } else { 0 };
        let inline_data = if self.inline_data { INCOMPAT_INLINE_DATA } else { 0 };
        raw.put_u32(0x5c, COMPAT_EXT_ATTR | COMPAT_DIR_INDEX | journal);
        raw.put_u32(0x60, INCOMPAT_FILETYPE | INCOMPAT_EXTENTS | INCOMPAT_FLEX_BG | inline_data);
        raw.put_u32(
            0x64,
            RO_SPARSE_SUPER | RO_LARGE_FILE | RO_HUGE_FILE | RO_DIR_NLINK | RO_EXTRA_ISIZE | RO_METADATA_CSUM,
        );
    }
}
