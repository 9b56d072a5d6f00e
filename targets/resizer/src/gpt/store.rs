//! Both copies of the table on a disk: which of them to believe, and how to change them.
//!
//! The primary copy is believed if it is valid, else the backup. A change is written as flush, backup array, backup
//! header, flush, primary array, primary header, each one write and only where its bytes differ; a bad primary is first
//! restored from the good backup. Behind the primary comes the next flush of whoever writes on: the first one of the next
//! change, or that with which the run ends. So at every crash point, whatever of the current epoch survives, at least
//! one copy is valid, also where a killed run had flushed nothing of what is read here.

use ::gpt::disk::LogicalBlockSize;
use ::gpt::header::Header;

use super::codec::{self, Flaw};
use super::table::Table;
use super::{ENTRY_LEN, pmbr};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::planted::{self, Bug};
use crate::usage::UsageError;

/// The LBA of the primary header.
const PRIMARY_LBA: u64 = 1;

/// What a disk holds for a table.
#[derive(Clone, Debug)]
pub struct Found {
    /// The table to believe, in the form in which it would be written: its backup at the disk's end.
    pub table: Table,
    /// Whether a copy is damaged, or the two differ.
    pub disagree: bool,
    /// The table as the disk has it, its backup perhaps elsewhere than at the disk's end.
    current: Table,
    primary_valid: bool,
}

/// One copy as it was read.
struct Copy {
    header: Header,
    array: Vec<u8>,
}

/// The sector size of a disk image: that at which a valid header is found, the primary before the backup.
pub fn detect_sector_size(disk: &dyn Disk) -> Result<LogicalBlockSize> {
    const SIZES: [LogicalBlockSize; 2] = [LogicalBlockSize::Lb512, LogicalBlockSize::Lb4096];
    let mut signature = false;
    for backup in [false, true] {
        for size in SIZES {
            let sectors = disk.len_bytes() / size.as_u64();
            if sectors < 4 {
                continue;
            }
            let lba = if backup { sectors - 1 } else { PRIMARY_LBA };
            match codec::decode_header(&read_sectors(disk, size, lba, 1)?, lba, size) {
                Err(Flaw::NoHeader) => {}
                Err(Flaw::Header(_) | Flaw::Misplaced(_)) => signature = true,
                // Valid but unsupported counts: the reader then says what is not supported.
                Ok(_) | Err(_) => return Ok(size),
            }
        }
    }
    // With a trace of a table, reading goes on, so that it can say what is wrong with each copy.
    if signature { Ok(SIZES[0]) } else { Err(UsageError::NotGpt { path: disk.path().to_path_buf() }.into()) }
}

fn read_sectors(disk: &dyn Disk, size: LogicalBlockSize, lba: u64, count: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; count as usize * size.as_usize()];
    disk.read_at(lba * size.as_u64(), &mut bytes).map_err(Error::io("read", disk.path()))?;
    Ok(bytes)
}

/// Reads the copy whose header lies at `lba`. The outer error is one of reading, the inner one of what was read.
fn read_copy(disk: &dyn Disk, size: LogicalBlockSize, lba: u64) -> Result<Result<Copy, Flaw>> {
    let last_lba = disk.len_bytes() / size.as_u64() - 1;
    let header = match codec::decode_header(&read_sectors(disk, size, lba, 1)?, lba, size) {
        Ok(header) => header,
        Err(flaw) => return Ok(Err(flaw)),
    };
    let array_len = header.num_parts as usize * ENTRY_LEN;
    let sectors = (array_len as u64).div_ceil(size.as_u64());
    let array_end = header.part_start.saturating_add(sectors);
    let array_fits = if lba == PRIMARY_LBA {
        header.part_start > PRIMARY_LBA && array_end <= header.first_usable
    } else {
        header.part_start > header.last_usable && array_end <= lba
    };
    if !array_fits || header.first_usable > header.last_usable || array_end > last_lba + 1 {
        return Ok(Err(Flaw::Bounds));
    }
    let mut array = read_sectors(disk, size, header.part_start, sectors)?;
    array.truncate(array_len);
    Ok(codec::check_array(&header, &array).map(|()| Copy { header, array }))
}

/// Reads the table of a disk.
pub fn read(disk: &dyn Disk, size: LogicalBlockSize) -> Result<Found> {
    let sectors = disk.len_bytes() / size.as_u64();
    if sectors < 4 {
        return Err(UsageError::NotGpt { path: disk.path().to_path_buf() }.into());
    }
    let last_lba = sectors - 1;
    // A primary header may be whole while its array is torn: where it says the backup lies is still worth a look.
    let primary_header =
        codec::decode_header(&read_sectors(disk, size, PRIMARY_LBA, 1)?, PRIMARY_LBA, size).ok();
    let elsewhere =
        primary_header.as_ref().map(|h| h.backup_lba).filter(|lba| *lba > PRIMARY_LBA && *lba < last_lba);

    let (current, primary_valid, disagree) = match read_copy(disk, size, PRIMARY_LBA)? {
        Ok(primary) => {
            let current = Table::new(primary.header, primary.array, size)?;
            let backup = read_copy(disk, size, elsewhere.unwrap_or(last_lba))?;
            let agree = backup.is_ok_and(|backup| same(&current, &backup));
            (current, true, !agree)
        }
        Err(primary_flaw) => {
            let mut backup = read_copy(disk, size, last_lba)?;
            if let (Err(_), Some(lba)) = (&backup, elsewhere) {
                backup = read_copy(disk, size, lba)?;
            }
            let backup =
                backup.map_err(|backup| UsageError::NoValidCopy { primary: primary_flaw, backup })?;
            (as_primary(backup, primary_header, size)?, false, true)
        }
    };
    let table = with_backup_at(&current, last_lba)?;
    Ok(Found { table, disagree, current, primary_valid })
}

/// Whether a backup copy says what `table` says.
fn same(table: &Table, backup: &Copy) -> bool {
    let (ours, theirs) = (&table.header, &backup.header);
    ours.current_lba == theirs.backup_lba
        && ours.backup_lba == theirs.current_lba
        && ours.revision == theirs.revision
        && ours.first_usable == theirs.first_usable
        && ours.last_usable == theirs.last_usable
        && ours.disk_guid == theirs.disk_guid
        && table.array == backup.array
}

/// The table of a backup copy in its primary form.
fn as_primary(backup: Copy, old_primary: Option<Header>, size: LogicalBlockSize) -> Result<Table> {
    let array_sectors = (backup.array.len() as u64).div_ceil(size.as_u64());
    let first_usable = backup.header.first_usable;
    let fits = |start: &u64| *start > PRIMARY_LBA && start.saturating_add(array_sectors) <= first_usable;
    // The backup does not know where the primary array lies: the old primary header may, and LBA 2 is usual.
    let part_start = old_primary
        .map(|header| header.part_start)
        .filter(fits)
        .or(Some(PRIMARY_LBA + 1).filter(fits))
        .ok_or_else(|| no_room("before the first usable sector"))?;
    let header = Header {
        current_lba: PRIMARY_LBA,
        backup_lba: backup.header.current_lba,
        part_start,
        ..backup.header.clone()
    };
    Table::new(header, backup.array, size)
}

fn no_room(place: &str) -> Error {
    Error::BadContent {
        what: "partition table".to_owned(),
        why: format!("it leaves no room for its entry array {place}"),
    }
}

/// The table for a disk that ends with `last_lba`: where that is not where the backup lies now, the usable space
/// ends just before the backup's new place.
fn with_backup_at(table: &Table, last_lba: u64) -> Result<Table> {
    let mut header = table.header.clone();
    let backup_array =
        last_lba.checked_sub(table.array_sectors()).ok_or_else(|| no_room("at the disk's end"))?;
    if header.backup_lba != last_lba {
        header.backup_lba = last_lba;
        header.last_usable = backup_array - 1;
    } else if header.last_usable >= backup_array {
        return Err(no_room("behind the last usable sector"));
    }
    Table::new(header, table.array.clone(), table.sector_size)
}

/// The array and the header sector of one copy, each with the LBA that it belongs to.
fn encode(table: &Table, backup: bool) -> Result<[(u64, Vec<u8>); 2]> {
    let mut header = table.header.clone();
    if backup {
        header.part_start = header.backup_lba - table.array_sectors();
        (header.current_lba, header.backup_lba) = (header.backup_lba, header.current_lba);
    }
    let mut array = table.array.clone();
    let sector = codec::encode_header(&header, &array, table.sector_size).map_err(|source| {
        Error::BadContent { what: "partition table header".to_owned(), why: source.to_string() }
    })?;
    array.resize((table.array_sectors() * table.sector_len()) as usize, 0);
    Ok([(header.part_start, array), (header.current_lba, sector)])
}

/// Those of `parts` that are not on the disk yet.
fn missing(
    disk: &dyn Disk,
    size: LogicalBlockSize,
    parts: [(u64, Vec<u8>); 2],
) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut missing = Vec::new();
    for (lba, bytes) in parts {
        if read_sectors(disk, size, lba, bytes.len() as u64 / size.as_u64())? != bytes {
            missing.push((lba, bytes));
        }
    }
    Ok(missing)
}

fn put(disk: &dyn Disk, size: LogicalBlockSize, parts: &[(u64, Vec<u8>)]) -> Result<()> {
    for (lba, bytes) in parts {
        disk.write_at(lba * size.as_u64(), bytes).map_err(Error::io("write", disk.path()))?;
    }
    Ok(())
}

fn flush(disk: &dyn Disk) -> Result<()> {
    disk.flush().map_err(Error::io("flush", disk.path()))
}

/// Makes `table` the one on the disk; it must stem from [`read`] on the same disk. Says whether anything was
/// written. What the table relies on is durable before the table is; the table itself once the disk is flushed.
pub fn write(disk: &dyn Disk, table: &Table) -> Result<bool> {
    let size = table.sector_size;
    let found = read(disk, size)?;
    if !found.primary_valid {
        put(disk, size, &missing(disk, size, encode(&found.current, false)?)?)?;
    }
    let mut first = missing(disk, size, encode(table, true)?)?;
    let primary = missing(disk, size, encode(table, false)?)?;
    let restored = !found.primary_valid;
    if first.is_empty() && primary.is_empty() {
        return Ok(restored);
    }
    // What one copy is to be changed for may be in the cache alone: a primary that was just restored, or a copy that a
    // killed run or the change before has written. Until it is durable, the other copy is the only one.
    flush(disk)?;
    if found.current.header.backup_lba != table.header.backup_lba {
        let sector = read_sectors(disk, size, 0, 1)?;
        let changed = pmbr::adapted(&sector, table.header.backup_lba, size);
        first.splice(0..0, changed.map(|changed| (0, changed)));
    }
    if !first.is_empty() {
        put(disk, size, &first)?;
        if !primary.is_empty() && planted::active() != Some(Bug::NoFlushBackup) {
            flush(disk)?;
        }
    }
    put(disk, size, &primary)?;
    Ok(true)
}

/// Makes the two copies agree where they don't. Says whether anything was written.
pub fn heal(disk: &dyn Disk, size: LogicalBlockSize) -> Result<bool> {
    let found = read(disk, size)?;
    if found.disagree { write(disk, &found.table) } else { Ok(false) }
}
