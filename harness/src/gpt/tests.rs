//! The reader against a table that is made here by hand, byte for byte from the standard, and against damage: what
//! each fault samples as, and that no bytes whatever make it panic.

use std::io::Write;
use std::os::unix::fs::FileExt;

use crc::{CRC_32_ISO_HDLC, Crc};
use proptest::prelude::*;

use super::*;

mod problems;

const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A disk with one partition, `DATA`, as number 3.
struct Made {
    bytes: Vec<u8>,
    sector: usize,
}

impl Made {
    fn new(sector: usize) -> Self {
        let len = 256 * sector;
        let last = (len / sector - 1) as u64;
        let array_lbas = (128 * 128usize).div_ceil(sector) as u64;
        let mut made = Self { bytes: vec![0; len], sector };
        made.bytes[446 + 4] = 0xEE;
        made.bytes[446 + 8..446 + 12].copy_from_slice(&1u32.to_le_bytes());
        made.bytes[446 + 12..446 + 16].copy_from_slice(&(last as u32).to_le_bytes());
        made.bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
        for (own, alternate, array) in [(1, last, 2), (last, 1, last - array_lbas)] {
            let at = made.at(own);
            let header = &mut made.bytes[at..at + sector];
            header[..8].copy_from_slice(b"EFI PART");
            header[8..12].copy_from_slice(&[0, 0, 1, 0]);
            header[12..16].copy_from_slice(&92u32.to_le_bytes());
            for (field, value) in
                [(24, own), (32, alternate), (40, 2 + array_lbas), (48, last - array_lbas - 1)]
            {
                header[field..field + 8].copy_from_slice(&value.to_le_bytes());
            }
            header[56..72].copy_from_slice(&[0xD1; 16]);
            header[72..80].copy_from_slice(&array.to_le_bytes());
            header[80..84].copy_from_slice(&128u32.to_le_bytes());
            header[84..88].copy_from_slice(&128u32.to_le_bytes());
            let entry = made.at(array) + 2 * 128;
            let entry = &mut made.bytes[entry..entry + 128];
            entry[..16].copy_from_slice(&[0x11; 16]);
            entry[16..32].copy_from_slice(&[0x22; 16]);
            entry[32..40].copy_from_slice(&100u64.to_le_bytes());
            entry[40..48].copy_from_slice(&149u64.to_le_bytes());
            entry[48..56].copy_from_slice(&0x8000_0000_0000_0004u64.to_le_bytes());
            for (unit, c) in entry[56..].chunks_mut(2).zip("DATA".encode_utf16()) {
                unit.copy_from_slice(&c.to_le_bytes());
            }
            made.seal(own, array);
        }
        made
    }

    fn at(&self, lba: u64) -> usize {
        lba as usize * self.sector
    }

    fn last(&self) -> u64 {
        (self.bytes.len() / self.sector - 1) as u64
    }

    fn backup_array(&self) -> u64 {
        self.last() - (128 * 128usize).div_ceil(self.sector) as u64
    }

    /// Puts both CRCs of a copy right.
    fn seal(&mut self, header: u64, array: u64) {
        let (at, array) = (self.at(header), self.at(array));
        let crc = CRC32.checksum(&self.bytes[array..array + 128 * 128]);
        self.bytes[at + 88..at + 92].copy_from_slice(&crc.to_le_bytes());
        self.seal_header(header);
    }

    /// Sets a field of the partition's entry in both copies.
    fn set_entry(&mut self, field: usize, value: u64) {
        for (header, array) in [(1, 2), (self.last(), self.backup_array())] {
            let at = self.at(array) + 2 * 128 + field;
            self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            self.seal(header, array);
        }
    }

    fn seal_header(&mut self, header: u64) {
        let at = self.at(header);
        self.bytes[at + 16..at + 20].fill(0);
        let crc = CRC32.checksum(&self.bytes[at..at + 92]);
        self.bytes[at + 16..at + 20].copy_from_slice(&crc.to_le_bytes());
    }

    fn read(&self) -> Gpt {
        read(&self.bytes)
    }
}

fn read(bytes: &[u8]) -> Gpt {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("write it");
    Gpt::read(&file).expect("read it")
}

#[test]
fn a_sound_table_is_clean_and_read_whole() {
    for sector in [512, 4096] {
        let gpt = Made::new(sector).read();
        assert_eq!(gpt.sector_bytes as usize, sector);
        assert_eq!(gpt.sample(), GptSample { clean: true, ..GptSample::default() }, "sector {sector}");
        let partitions = gpt.partitions();
        let [partition] = partitions[..] else { panic!("{partitions:?}") };
        assert_eq!((partition.index, partition.label.as_str()), (3, "DATA"));
        assert_eq!(partition.attributes, 0x8000_0000_0000_0004);
        assert_eq!(partition.extent, 100 * sector as u64..150 * sector as u64);
        assert_eq!(partition.type_guid.to_string(), "11111111-1111-1111-1111-111111111111");
    }
}

#[test]
fn guids_print_with_their_first_groups_little_endian() {
    // The EFI system partition's type, as stored (UEFI 2.10 table 5.7).
    let stored =
        [0x28, 0x73, 0x2A, 0xC1, 0x1F, 0xF8, 0xD2, 0x11, 0xBA, 0x4B, 0x00, 0xA0, 0xC9, 0x3E, 0xC9, 0x3B];
    assert_eq!(Guid(stored).to_string(), "C12A7328-F81F-11D2-BA4B-00A0C93EC93B");
}

/// Every kind of damage, the sample that it gives, and which copy a reader goes by.
#[test]
fn each_damage_samples_as_what_it_is() {
    type Inflict = fn(&mut Made);
    let none = GptSample::default();
    let header_crc = GptSample { header_crc: true, ..none };
    let mismatch = GptSample { mismatch: true, ..none };
    let cases: [(&str, Inflict, GptSample, Option<Side>); 12] = [
        ("primary signature", |m| m.bytes[m.sector] = b'X', header_crc, Some(Side::Backup)),
        ("primary header CRC", |m| m.bytes[m.sector + 16] ^= 1, header_crc, Some(Side::Backup)),
        (
            "primary header's own LBA",
            |m| {
                m.bytes[m.sector + 24] = 9;
                m.seal_header(1);
            },
            header_crc,
            Some(Side::Backup),
        ),
        (
            "backup header zeroed",
            |m| {
                let at = m.at(m.last());
                m.bytes[at..].fill(0);
            },
            header_crc,
            Some(Side::Primary),
        ),
        (
            "primary array torn",
            |m| m.bytes[2 * m.sector + 300] ^= 1,
            GptSample { torn_primary: true, ..mismatch },
            Some(Side::Backup),
        ),
        (
            "backup array torn",
            |m| {
                let at = m.at(m.backup_array());
                m.bytes[at + 300] ^= 1;
            },
            GptSample { torn_backup: true, ..mismatch },
            Some(Side::Primary),
        ),
        (
            "both arrays torn alike",
            |m| {
                for at in [2 * m.sector, m.at(m.backup_array())] {
                    m.bytes[at + 300] ^= 1;
                }
            },
            GptSample { torn_primary: true, torn_backup: true, no_valid_copy: true, ..none },
            None,
        ),
        (
            "backup of another state",
            |m| {
                let (array, last) = (m.backup_array(), m.last());
                let at = m.at(array);
                m.bytes[at + 256 + 40] ^= 1;
                m.seal(last, array);
            },
            mismatch,
            Some(Side::Primary),
        ),
        (
            "backup with another disk GUID",
            |m| {
                let (at, last) = (m.at(m.last()), m.last());
                m.bytes[at + 60] ^= 1;
                m.seal_header(last);
            },
            mismatch,
            Some(Side::Primary),
        ),
        (
            "both headers broken",
            |m| {
                let at = m.at(m.last());
                m.bytes[at + 40] ^= 1;
                m.bytes[m.sector + 40] ^= 1;
            },
            GptSample { no_valid_copy: true, ..header_crc },
            None,
        ),
        (
            "array beyond the disk",
            |m| {
                m.bytes[m.sector + 72..m.sector + 80].fill(0xFF);
                m.seal_header(1);
            },
            GptSample { torn_primary: true, ..mismatch },
            Some(Side::Backup),
        ),
        (
            "an entry count that would fill memory",
            |m| {
                m.bytes[m.sector + 80..m.sector + 84].fill(0xFF);
                m.seal_header(1);
            },
            GptSample { torn_primary: true, ..mismatch },
            Some(Side::Backup),
        ),
    ];
    for (what, inflict, sample, best) in cases {
        for sector in [512, 4096] {
            let mut made = Made::new(sector);
            inflict(&mut made);
            let gpt = made.read();
            assert_eq!(gpt.sector_bytes as usize, sector, "{what}: sector size");
            assert_eq!(gpt.sample(), sample, "{what}");
            assert_eq!(gpt.best().map(|copy| copy.side), best, "{what}: best copy");
        }
    }
}

/// A disk that grew has its backup where the primary says; a table on its way to the new end has it at both.
#[test]
fn the_backup_is_found_where_the_primary_says_and_at_the_end() {
    let mut made = Made::new(512);
    let old_last = made.last();
    made.bytes.resize(300 * 512, 0);
    let gpt = made.read();
    assert!(gpt.sample().clean);
    assert_eq!(gpt.backup.lba, old_last);

    let at = made.at(old_last);
    let mut header = made.bytes[at..at + 512].to_vec();
    header[24..32].copy_from_slice(&299u64.to_le_bytes());
    made.bytes[at..at + 512].fill(0);
    made.bytes[299 * 512..].copy_from_slice(&header);
    made.seal_header(299);
    let gpt = made.read();
    assert_eq!((gpt.backup.lba, gpt.backup.is_valid()), (299, true));
    assert!(gpt.sample().mismatch, "the primary names another place for the backup");
}

#[test]
fn differing_entries_are_named_with_their_fields() {
    let mut made = Made::new(512);
    let (array, last) = (made.backup_array(), made.last());
    let at = made.at(array) + 256;
    made.bytes[at + 40] ^= 1;
    made.bytes[at + 48] ^= 1;
    made.seal(last, array);
    assert_eq!(
        made.read().disagreements(),
        ["entry 3 (`DATA`) differs between the copies in last LBA, attributes"]
    );
}

#[test]
fn layout_names_every_part_of_the_disk() {
    let made = Made::new(512);
    let layout = Layout::of(&made.read()).expect("a valid table");
    let place = |offset: u64| layout.place(offset).to_string();
    assert_eq!(place(511), "protective MBR");
    assert_eq!(place(512 + 60), "primary GPT header, disk GUID");
    assert_eq!(place(512 + 92), "primary GPT header, after its last field");
    assert_eq!(place(1024 + 256 + 48), "primary GPT entry 3 (`DATA`), attributes");
    assert_eq!(place(1024 + 384), "primary GPT entry 4, type GUID");
    assert_eq!(place(100 * 512 + 16), "`DATA`+0x10");
    assert_eq!(place(255 * 512), "backup GPT header, signature");
    assert_eq!(place(150 * 512), "unallocated space at 0x12c00");
    assert_eq!(layout.field(512 + 60), Some(512 + 56..512 + 72));
    assert_eq!(layout.unallocated(), [34 * 512..100 * 512, 150 * 512..223 * 512]);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..20_000)) {
        let gpt = read(&bytes);
        prop_assert!(gpt.best().is_none());
        prop_assert!(gpt.sample().no_valid_copy);
    }

    /// Any bits flipped, with the header CRC put right so that the values are believed.
    #[test]
    fn believed_nonsense_does_not_panic(
        flips in prop::collection::vec((0usize..92, any::<u8>()), 1..12), primary in any::<bool>())
    {
        let mut made = Made::new(512);
        let lba = if primary { 1 } else { made.last() };
        for (at, value) in flips {
            let at = made.at(lba) + at;
            made.bytes[at] = value;
        }
        made.seal_header(lba);
        let gpt = made.read();
        let sample = gpt.sample();
        let worse = sample.header_crc || sample.torn_primary || sample.torn_backup || sample.mismatch;
        prop_assert_eq!(sample.clean, !(worse || sample.no_valid_copy));
        if let Some(layout) = Layout::of(&gpt) {
            layout.unallocated();
            layout.place(70_000).to_string();
        }
    }

    #[test]
    fn any_single_flipped_bit_of_a_table_is_seen(at in 512usize..34 * 512, bit in 0u8..8) {
        // Beyond the 92 bytes of the header its sector is covered by nothing.
        prop_assume!(!(512 + 92..1024).contains(&at));
        let mut made = Made::new(512);
        made.bytes[at] ^= 1 << bit;
        let gpt = made.read();
        prop_assert!(!gpt.sample().clean);
        prop_assert_eq!(gpt.best().map(|copy| copy.side), Some(Side::Backup));
    }
}

#[test]
fn a_file_that_is_no_disk_has_no_table() {
    for len in [0, 1, 511, 512, 513, 1024, 4096, 8192] {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(len).expect("its length");
        let gpt = Gpt::read(&file).expect("read it");
        assert!(!gpt.is_present(), "{len} bytes of zeros");
        if len > 0 {
            file.write_all_at(&[1], len - 1).expect("write");
            assert!(!Gpt::read(&file).expect("read it").is_present());
        }
    }
}
