//! Disks with a partition table, made by hand so that every byte is known.

use crc::{CRC_32_ISO_HDLC, Crc};
use uuid::Uuid;

pub const MIB: usize = 1 << 20;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A partition to put on a disk; its place in MiB.
#[derive(Clone, Debug)]
pub struct Spec {
    pub index: u32,
    pub start_mib: usize,
    pub len_mib: usize,
    pub name: &'static str,
    pub attributes: u64,
}

impl Spec {
    pub fn new(index: u32, start_mib: usize, len_mib: usize, name: &'static str) -> Spec {
        Spec { index, start_mib, len_mib, name, attributes: 0 }
    }
}

/// The unique GUID that the partition with an index gets.
pub fn guid(index: u32) -> Uuid {
    Uuid::from_u128(0x1111_2222_3333_4444_5555_6666_0000_0000 + u128::from(index))
}

/// Linux file system data.
pub fn type_guid() -> Uuid {
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4".parse().unwrap()
}

/// A disk of `len_mib` MiB with 128 entries, the given partitions, and boot code in sector 0. What belongs to no
/// partition is noise, so that nothing passes because free space happens to be zero.
pub fn disk(len_mib: usize, sector: usize, specs: &[Spec]) -> Vec<u8> {
    let mut bytes = vec![0; len_mib * MIB];
    fill(&mut bytes, u32::MAX);
    let mut array = vec![0; 128 * 128];
    for spec in specs {
        let raw = &mut array[(spec.index as usize - 1) * 128..spec.index as usize * 128];
        raw[..16].copy_from_slice(&type_guid().to_bytes_le());
        raw[16..32].copy_from_slice(&guid(spec.index).to_bytes_le());
        let first = spec.start_mib * MIB / sector;
        let last = (spec.start_mib + spec.len_mib) * MIB / sector - 1;
        raw[32..40].copy_from_slice(&(first as u64).to_le_bytes());
        raw[40..48].copy_from_slice(&(last as u64).to_le_bytes());
        raw[48..56].copy_from_slice(&spec.attributes.to_le_bytes());
        for (unit, at) in spec.name.encode_utf16().zip((56..128).step_by(2)) {
            raw[at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        fill(&mut bytes[spec.start_mib * MIB..][..spec.len_mib * MIB], spec.index);
    }
    put_table(&mut bytes, sector, &array);
    bytes
}

/// Writes both copies of a table of `array`, and a protective MBR with boot code.
pub fn put_table(bytes: &mut [u8], sector: usize, array: &[u8]) {
    let last = (bytes.len() / sector - 1) as u64;
    let array_sectors = (array.len() / sector) as u64;
    for backup in [false, true] {
        let (own, other) = if backup { (last, 1) } else { (1, last) };
        let array_lba = if backup { last - array_sectors } else { 2 };
        let mut header = vec![0; sector];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
        let fields = [own, other, 2 + array_sectors, last - array_sectors - 1];
        for (value, at) in fields.iter().zip((24..).step_by(8)) {
            header[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        header[56..72].copy_from_slice(&guid(0).to_bytes_le());
        header[72..80].copy_from_slice(&array_lba.to_le_bytes());
        header[80..84].copy_from_slice(&(array.len() as u32 / 128).to_le_bytes());
        header[84..88].copy_from_slice(&128u32.to_le_bytes());
        header[88..92].copy_from_slice(&CRC.checksum(array).to_le_bytes());
        let own_crc = CRC.checksum(&header[..92]);
        header[16..20].copy_from_slice(&own_crc.to_le_bytes());
        bytes[own as usize * sector..][..sector].copy_from_slice(&header);
        bytes[array_lba as usize * sector..][..array.len()].copy_from_slice(array);
    }
    bytes[..440].fill(0xB7);
    bytes[440..512].fill(0);
    bytes[446..462].copy_from_slice(&[0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0, 0, 0, 0]);
    bytes[458..462].copy_from_slice(&(last as u32).to_le_bytes());
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
}

/// Content that differs everywhere and between seeds, and is no file system.
pub fn fill(bytes: &mut [u8], seed: u32) {
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    reader.fill(bytes);
}
