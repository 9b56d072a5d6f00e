//! The checksums of feature metadata_csum: crc32c without the final inversion, started from a seed.
//!
//! The seed of a structure says what it belongs to, so a block of one file never passes for one of another: the UUID for
//! all, and for what belongs to an inode its number and generation too (always 0 here).

use crc::{Algorithm, CRC_32_ISCSI, Crc, Table};

const CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&Algorithm { xorout: 0, ..CRC_32_ISCSI });
/// What stands for "no seed yet".
const START: u32 = u32::MAX;

/// A seed for checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    /// The seed of a file system.
    pub fn of_file_system(uuid: &[u8; 16]) -> Self {
        Self(update(START, uuid))
    }

    /// The seed of what belongs to an inode.
    pub fn of_inode(self, inode: u32) -> Self {
        const GENERATION: [u8; 4] = [0; 4];
        Self(update(update(self.0, &inode.to_le_bytes()), &GENERATION))
    }

    /// The seed of what belongs to a block group.
    pub fn of_group(self, group: u32) -> Self {
        Self(update(self.0, &group.to_le_bytes()))
    }

    /// The seed of what stands in a block.
    pub fn of_block(self, block: u64) -> Self {
        Self(update(self.0, &block.to_le_bytes()))
    }

    /// Checksum of bytes.
    pub fn of(self, bytes: &[u8]) -> u32 {
        update(self.0, bytes)
    }
}

/// Checksum of a superblock, which needs no seed as it names the file system itself.
pub(crate) fn of_superblock(bytes: &[u8]) -> u32 {
    update(START, bytes)
}

fn update(crc: u32, bytes: &[u8]) -> u32 {
    // The crate takes the start value as the polynomial is written, most significant bit first.
    let mut digest = CRC32C.digest_with_initial(crc.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_chain_and_agree_with_the_check_value_of_crc32c() {
        assert_eq!(!of_superblock(b"123456789"), 0xe306_9283);
        assert_eq!(update(update(START, b"1234"), b"56789"), of_superblock(b"123456789"));
    }
}
