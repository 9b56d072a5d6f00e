//! Inodes of 256 bytes: fields, what stands in `i_block`, and the attributes behind.

use crate::bytes::{Put, halves};
use crate::checksum::Seed;
use crate::geometry::{BLOCK_BYTES, INODE_BYTES};
use crate::tree::{Kind, Meta};
use crate::xattr::INODE_ROOM;

/// Inode of the top folder.
pub(crate) const ROOT: u32 = 2;
/// Inode of the journal.
pub(crate) const JOURNAL: u32 = 8;
/// First inode that is not reserved; by custom that of `/lost+found`.
pub(crate) const LOST_AND_FOUND: u32 = 11;

/// `i_flags`: `i_block` holds the top of an extent tree.
const FLAG_EXTENTS: u32 = 0x8_0000;
/// `i_flags`: `i_block` holds the start of the content.
const FLAG_INLINE_DATA: u32 = 0x1000_0000;
/// Bytes that the fields behind the first 128 take.
pub(crate) const EXTRA_BYTES: u16 = 32;
const XATTR_START: usize = 128 + EXTRA_BYTES as usize;
/// `i_blocks` counts in sectors.
const SECTORS_PER_BLOCK: u64 = BLOCK_BYTES / 512;
/// Names of a folder at most; one with more says 1 (dir_nlink).
const MAX_DIRECTORY_LINKS: u32 = 65_000;

/// What `i_block` holds.
pub(crate) enum Body {
    /// The top of an extent tree.
    Extents([u8; 60]),
    /// The first bytes of the content.
    Inline([u8; 60]),
    /// The target of a symlink, or the number of a device.
    Plain([u8; 60]),
}

/// All that an inode is made of.
pub(crate) struct Inode<'a> {
    pub number: u32,
    /// Type and permission bits.
    pub mode: u16,
    pub meta: &'a Meta,
    pub links: u32,
    pub size: u64,
    /// Blocks of data, extent tree and attributes.
    pub blocks: u64,
    pub body: Body,
    pub xattrs: [u8; INODE_ROOM],
    pub xattr_block: Option<u64>,
}

impl Inode<'_> {
    /// As it stands in the inode table.
    pub fn encode(&self, seed: Seed) -> [u8; INODE_BYTES as usize] {
        let mut raw = [0; INODE_BYTES as usize];
        let (uid_low, uid_high) = halves(self.meta.uid);
        let (gid_low, gid_high) = halves(self.meta.gid);
        let sectors = self.blocks * SECTORS_PER_BLOCK;
        let (time, time_extra) = self.meta.mtime.to_fields();
        let (flags, body) = match &self.body {
            Body::Extents(body) => (FLAG_EXTENTS, body),
            Body::Inline(body) => (FLAG_INLINE_DATA, body),
            Body::Plain(body) => (0, body),
        };
        raw.put_u16(0x00, self.mode);
        raw.put_u16(0x02, uid_low);
        raw.put_u32(0x04, self.size as u32);
        for at in [0x08, 0x0c, 0x10, 0x90] {
            raw.put_u32(at, time);
        }
        for at in [0x84, 0x88, 0x8c, 0x94] {
            raw.put_u32(at, time_extra);
        }
        raw.put_u16(0x18, gid_low);
        raw.put_u16(0x1a, self.stored_links());
        raw.put_u32(0x1c, sectors as u32);
        raw.put_u32(0x20, flags);
        raw.put(0x28, body);
        raw.put_u32(0x68, self.xattr_block.unwrap_or(0) as u32);
        raw.put_u32(0x6c, (self.size >> 32) as u32);
        raw.put_u16(0x74, (sectors >> 32) as u16);
        raw.put_u16(0x78, uid_high);
        raw.put_u16(0x7a, gid_high);
        raw.put_u16(0x80, EXTRA_BYTES);
        raw.put(XATTR_START, &self.xattrs);
        let (sum_low, sum_high) = halves(seed.of_inode(self.number).of(&raw));
        raw.put_u16(0x7c, sum_low);
        raw.put_u16(0x82, sum_high);
        raw
    }

    fn stored_links(&self) -> u16 {
        if self.links > MAX_DIRECTORY_LINKS { 1 } else { self.links as u16 }
    }
}

/// The type bits of `i_mode`.
pub(crate) fn type_bits(kind: &Kind) -> u16 {
    match kind {
        Kind::Fifo => 0x1000,
        Kind::CharDevice { .. } => 0x2000,
        Kind::Directory => 0x4000,
        Kind::BlockDevice { .. } => 0x6000,
        Kind::File(_) => 0x8000,
        Kind::Symlink(_) => 0xa000,
        Kind::Socket => 0xc000,
    }
}

/// `i_block` of a device: small numbers in the first word as of old, others in the second.
pub(crate) fn device_body(major: u32, minor: u32) -> [u8; 60] {
    let mut body = [0; 60];
    if major < 256 && minor < 256 {
        body.put_u32(0, major << 8 | minor);
    } else {
        body.put_u32(4, minor & 0xff | major << 8 | (minor & !0xff) << 12);
    }
    body
}

/// `i_block` with the start of some bytes.
pub(crate) fn text_body(text: &[u8]) -> [u8; 60] {
    let mut body = [0; 60];
    let len = text.len().min(60);
    body[..len].copy_from_slice(&text[..len]);
    body
}
