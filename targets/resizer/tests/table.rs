//! Goal: of the table nothing is lost and nothing is written that does not have to be; a damaged copy is restored
//! from the good one first; a disk that grew gets its backup at its new end. Disks of both sector sizes.

mod common;

use ::gpt::disk::LogicalBlockSize;
use common::layout::{self, MIB, Spec};
use common::memory::{MemoryDisk, Op};
use common::oracle;
use common::program::Image;
use resizer::gpt;
use uuid::Uuid;

fn specs() -> Vec<Spec> {
    vec![Spec::new(1, 1, 2, "A"), Spec::new(2, 3, 2, "B"), Spec::new(9, 6, 2, "C")]
}

const GROW_A: [&str; 2] = ["--grow-partition", "label:A:3M"];

/// An entry whose every field is unusual: unknown type, all attribute bits, a name that is no valid UTF-16 and
/// has bytes behind its end.
fn odd_entry(disk: &mut [u8], index: usize) -> Vec<u8> {
    let mut array = disk[1024..1024 + 128 * 128].to_vec();
    let raw = &mut array[(index - 1) * 128..index * 128];
    raw[..16].copy_from_slice(&Uuid::from_u128(0xDEAD_BEEF).to_bytes_le());
    raw[48..56].fill(0xFF);
    raw[56..64].copy_from_slice(&[0x00, 0xD8, b'x', 0, 0, 0, b'y', 0]);
    raw[126..128].copy_from_slice(&[9, 9]);
    let raw = raw.to_vec();
    layout::put_table(disk, 512, &array);
    raw
}

#[test]
fn every_bit_of_an_entry_survives_relocation() {
    let mut disk = layout::disk(16, 512, &specs());
    let before = odd_entry(&mut disk, 2);
    let image = Image::new(&disk);
    let grow = format!("uuid:{}:3M", layout::guid(2));
    image.run_ok(&["--grow-partition", &grow, "--preserve-numbers"]);
    let after = image.bytes()[1024 + 128..1024 + 256].to_vec();
    let (wanted_lbas, lbas) = ([16384u64, 16384 + 6143], [32, 40].map(|at| oracle::u64_at(&after, at)));
    assert_eq!(lbas, wanted_lbas);
    assert_eq!(after[..32], before[..32]);
    assert_eq!(after[48..], before[48..]);
}

#[test]
fn entries_that_are_not_concerned_keep_their_bytes_even_unused_ones() {
    let mut disk = layout::disk(16, 512, &specs());
    let mut array = disk[1024..1024 + 128 * 128].to_vec();
    // Unused by its type, but not all zeros.
    array[20 * 128 + 60..20 * 128 + 70].fill(0x55);
    layout::put_table(&mut disk, 512, &array);
    odd_entry(&mut disk, 9);
    let before = disk[1024..1024 + 128 * 128].to_vec();
    let image = Image::new(&disk);
    image.run_ok(&GROW_A);
    let after = image.bytes()[1024..1024 + 128 * 128].to_vec();
    // The first entry went, the third is the new one.
    assert_eq!(after[..128], [0; 128]);
    assert_eq!(after[128..256], before[128..256]);
    assert_eq!(after[384..], before[384..]);
}

#[test]
fn boot_code_stays_and_nothing_but_the_table_and_the_copy_is_written() {
    let start = layout::disk(16, 512, &specs());
    let image = Image::new(&start);
    image.run_ok(&GROW_A);
    let end = image.bytes();
    assert_eq!(end[..512], start[..512]);
    let target = 8 * MIB..11 * MIB;
    let changed = (34 * 512..start.len() - 33 * 512).filter(|at| start[*at] != end[*at]);
    assert!(changed.into_iter().all(|at| target.contains(&at)));
}

#[test]
fn tables_of_other_sizes_than_128_entries_are_kept() {
    for entries in [56, 256, 2048] {
        let mut disk = layout::disk(16, 512, &specs());
        let mut array = disk[1024..1024 + 128 * 128].to_vec();
        array.resize(entries * 128, 0);
        layout::put_table(&mut disk, 512, &array);
        let image = Image::new(&disk);
        image.run_ok(&GROW_A);
        let (primary, _) = oracle::copies(&image.bytes(), 512);
        assert_eq!(primary.unwrap().array.len(), entries * 128);
        assert_eq!(oracle::agreed(&image.bytes(), 512)[&3].name, "A");
    }
}

#[test]
fn a_disk_of_4096_byte_sectors_is_recognised_and_resized() {
    let image = Image::new(&layout::disk(16, 4096, &specs()));
    image.run_ok(&["--grow-partition", "label:A:3M", "--preserve-numbers"]);
    let disk = image.bytes();
    let parts = oracle::agreed(&disk, 4096);
    let a = &parts[&1];
    assert_eq!((a.first, a.last), (8 * 256, 11 * 256 - 1));
    let mut content = vec![0; 3 * MIB];
    layout::fill(&mut content[..2 * MIB], 1);
    assert!(oracle::content(&disk, 4096, a) == content);
}

#[test]
fn sizes_that_are_no_whole_sectors_are_rounded_up_and_stay_finished() {
    let image = Image::new(&layout::disk(16, 512, &specs()));
    let command = ["--grow-partition", "label:A:2097153"];
    image.run_ok(&command);
    let end = image.bytes();
    let a = &oracle::agreed(&end, 512)[&3];
    assert_eq!(a.last - a.first + 1, 4097);
    image.run_ok(&command);
    assert!(image.bytes() == end);
}

#[test]
fn a_damaged_copy_is_restored_first_and_from_the_good_one() {
    let end = 16 * MIB;
    // The primary's header and array, the backup's header and array.
    for at in [512 + 56, 1024 + 32, end - 512 + 56, end - 33 * 512 + 32] {
        let mut disk = layout::disk(16, 512, &specs());
        disk[at] ^= 1;
        let image = Image::new(&disk);
        image.run_ok(&GROW_A);
        assert_eq!(oracle::agreed(&image.bytes(), 512)[&3].name, "A");

        let memory = MemoryDisk::new(disk);
        assert!(gpt::heal(&memory, LogicalBlockSize::Lb512).unwrap());
        let primary_damaged = at < 34 * 512;
        for op in memory.ops() {
            let Op::Write { offset, .. } = op else { continue };
            assert_eq!(offset < 34 * 512, primary_damaged, "the good copy is not written: {offset}");
        }
        assert!(!gpt::heal(&memory, LogicalBlockSize::Lb512).unwrap(), "healed is healed");
        assert!(memory.into_bytes() == layout::disk(16, 512, &specs()));
    }
}

#[test]
fn where_the_copies_differ_the_primary_wins() {
    let mut disk = layout::disk(16, 512, &specs());
    let newer = layout::disk(16, 512, &[Spec::new(1, 1, 2, "renamed")]);
    let table = 16 * MIB - 33 * 512;
    disk[table..].copy_from_slice(&newer[table..]);
    let image = Image::new(&disk);
    let ended = image.run(&["--grow-partition", "label:renamed:3M"]);
    assert_eq!(ended.failed(), 2);
    assert!(image.bytes() == disk, "a refused command heals nothing");
    image.run_ok(&GROW_A);
    assert_eq!(oracle::agreed(&image.bytes(), 512).len(), 3);
}

#[test]
fn copies_that_disagree_are_healed_even_if_nothing_else_is_to_do() {
    let mut disk = layout::disk(16, 512, &specs());
    let last = disk.len() - 1;
    disk[last - 511 + 20] ^= 1;
    let image = Image::new(&disk);
    image.run_ok(&["--grow-partition", "label:A:2M"]);
    assert!(image.bytes() == layout::disk(16, 512, &specs()));
}

#[test]
fn a_disk_that_grew_gets_its_backup_at_the_new_end() {
    for sector in [512, 4096] {
        let mut disk = layout::disk(16, sector, &specs());
        disk.resize(32 * MIB, 0);
        let image = Image::new(&disk);
        image.run_ok(&["--grow-partition", "label:A:2M"]);
        assert!(image.bytes() == disk, "where nothing is to do, it stays");
        image.run_ok(&["--grow-partition", "label:A:20M", "--preserve-numbers"]);
        let end = image.bytes();
        let a = &oracle::agreed(&end, sector)[&1];
        assert_eq!(a.first as usize * sector, 8 * MIB);
        let last = 32 * MIB / sector - 1;
        assert!(oracle::copy_at(&end, sector, last as u64).is_some());
        let usable_end = oracle::u64_at(&end, sector + 48);
        assert_eq!(usable_end as usize, last - 128 * 128 / sector - 1);
        assert_eq!(end[..440], disk[..440], "boot code");
        assert_eq!(end[458..462], (last as u32).to_le_bytes(), "the protective record covers the disk");
    }
}

#[test]
fn a_disk_that_grew_survives_a_cut_at_every_operation() {
    let mut start = layout::disk(16, 512, &specs());
    start.resize(20 * MIB, 0);
    let size = LogicalBlockSize::Lb512;
    let table = gpt::read(&MemoryDisk::new(start.clone()), size).unwrap().table;
    let whole = MemoryDisk::new(start.clone());
    assert!(gpt::write(&whole, &table).unwrap());
    let ops = whole.ops().len();
    let end = whole.into_bytes();
    for point in 0..ops {
        let cut = MemoryDisk::new(start.clone()).cut_after(point, 0);
        assert!(gpt::write(&cut, &table).is_err());
        let resumed = MemoryDisk::new(cut.into_bytes());
        let found = gpt::read(&resumed, size).unwrap().table;
        gpt::write(&resumed, &found).unwrap();
        assert!(resumed.into_bytes() == end, "cut after {point}");
    }
}

#[test]
fn a_hybrid_mbr_is_left_alone() {
    let mut disk = layout::disk(16, 512, &specs());
    disk[462..478].copy_from_slice(&[0x80, 0, 2, 0, 0x0C, 9, 9, 9, 0, 8, 0, 0, 0, 16, 0, 0]);
    disk.resize(20 * MIB, 0);
    let image = Image::new(&disk);
    image.run_ok(&["--grow-partition", "label:A:10M"]);
    assert_eq!(image.bytes()[..512], disk[..512]);
}

#[test]
fn verbose_shows_the_table_at_every_boundary() {
    let image = Image::new(&layout::disk(16, 512, &specs()));
    let ended = image.run_ok(&["-v", "--grow-partition", "label:A:3M"]);
    assert_eq!(ended.stdout.lines().filter(|line| line.starts_with("table: ")).count(), 7);
    assert!(ended.stdout.contains("`A_resized2`"));
}
