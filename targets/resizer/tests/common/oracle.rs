//! GPT copies read by hand (UEFI 2.10 §5.3), as an oracle for what the resizer writes.

use std::collections::BTreeMap;

use crc::{CRC_32_ISO_HDLC, Crc};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A valid copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    pub header: Vec<u8>,
    pub array: Vec<u8>,
    pub array_offset: usize,
}

/// An entry of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub first: u64,
    pub last: u64,
    pub attributes: u64,
    pub guid: [u8; 16],
    pub type_guid: [u8; 16],
    pub name: String,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The copy whose header lies at `lba`, if it is valid.
pub fn copy_at(disk: &[u8], sector: usize, lba: u64) -> Option<Copy> {
    let header = disk.get(lba as usize * sector..(lba as usize + 1) * sector)?.to_vec();
    if &header[..8] != b"EFI PART" || u64_at(&header, 24) != lba {
        return None;
    }
    let mut zeroed = header[..92].to_vec();
    zeroed[16..20].fill(0);
    let array_offset = u64_at(&header, 72) as usize * sector;
    let array_len = u32_at(&header, 80) as usize * 128;
    let array = disk.get(array_offset..array_offset + array_len)?.to_vec();
    let valid = CRC.checksum(&zeroed) == u32_at(&header, 16) && CRC.checksum(&array) == u32_at(&header, 88);
    valid.then_some(Copy { header, array, array_offset })
}

/// The primary copy, and the backup that it or the disk's end points to.
pub fn copies(disk: &[u8], sector: usize) -> (Option<Copy>, Option<Copy>) {
    let primary = copy_at(disk, sector, 1);
    let end = (disk.len() / sector - 1) as u64;
    let backup = copy_at(disk, sector, end).or_else(|| {
        let header = &disk[sector..2 * sector];
        copy_at(disk, sector, u64_at(header, 32))
    });
    (primary, backup)
}

/// Both copies, which must be valid and say the same; the partitions in them.
pub fn agreed(disk: &[u8], sector: usize) -> BTreeMap<u32, Part> {
    let (primary, backup) = copies(disk, sector);
    let primary = primary.expect("the primary copy is valid");
    let backup = backup.expect("the backup copy is valid");
    assert_eq!(primary.array, backup.array, "the arrays agree");
    assert_eq!(primary.header[40..72], backup.header[40..72], "usable space and GUID agree");
    assert_eq!(u64_at(&primary.header, 32), u64_at(&backup.header, 24));
    assert_eq!(u64_at(&backup.header, 32), 1);
    parts(&primary)
}

/// The used entries of a copy.
pub fn parts(copy: &Copy) -> BTreeMap<u32, Part> {
    let used = (1..).zip(copy.array.chunks_exact(128)).filter(|(_, raw)| raw[..16] != [0; 16]);
    used.map(|(index, raw)| (index, part(raw))).collect()
}

fn part(raw: &[u8]) -> Part {
    let units: Vec<u16> = raw[56..]
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    Part {
        first: u64_at(raw, 32),
        last: u64_at(raw, 40),
        attributes: u64_at(raw, 48),
        guid: raw[16..32].try_into().unwrap(),
        type_guid: raw[..16].try_into().unwrap(),
        name: String::from_utf16_lossy(&units),
    }
}

/// The bytes of a partition.
pub fn content<'a>(disk: &'a [u8], sector: usize, part: &Part) -> &'a [u8] {
    &disk[part.first as usize * sector..(part.last as usize + 1) * sector]
}

/// The disk with everything zeroed that belongs to no partition and no table: what a resume must reproduce.
pub fn owned(disk: &[u8], sector: usize) -> Vec<u8> {
    let mut owned = vec![0; disk.len()];
    let mut keep = |from: usize, to: usize| owned[from..to].copy_from_slice(&disk[from..to]);
    for part in agreed(disk, sector).values() {
        keep(part.first as usize * sector, (part.last as usize + 1) * sector);
    }
    let header = &disk[sector..2 * sector];
    keep(0, u64_at(header, 40) as usize * sector);
    keep((u64_at(header, 48) as usize + 1) * sector, disk.len());
    owned
}
