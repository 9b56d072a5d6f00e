//! The protective MBR in sector 0 (UEFI 2.10 §5.2.3).
//!
//! It changes only where the disk grew, and only if its one record is the protective one: boot code, signature
//! and hybrid records stay as they are.

use ::gpt::disk::LogicalBlockSize;
use ::gpt::mbr::ProtectiveMBR;

/// Type of the protective record.
const PROTECTIVE: u8 = 0xEE;

/// Sector 0 with its protective record made to cover a disk that ends with `last_lba`; `None` where it has to stay.
pub(super) fn adapted(sector: &[u8], last_lba: u64, sector_size: LogicalBlockSize) -> Option<Vec<u8>> {
    let mut mbr = ProtectiveMBR::from_bytes(sector, sector_size).ok()?;
    let used: Vec<usize> =
        (0..4).filter(|slot| mbr.partition(*slot).is_some_and(|record| record.os_type != 0)).collect();
    let [slot] = used[..] else { return None };
    let mut record = mbr.partition(slot).filter(|record| record.os_type == PROTECTIVE)?;
    // The record starts at LBA 1, so its length is the last LBA; what 32 bits can't hold is all ones.
    record.lb_size = u32::try_from(last_lba).unwrap_or(u32::MAX);
    mbr.set_partition(slot, record);
    let mut changed = sector.to_vec();
    changed[..512].copy_from_slice(&mbr.to_bytes());
    (changed != sector).then_some(changed)
}
