//! One byte is changed, and the explanation has to name its structure.

use fault_backend::Image;
use killpoint::image::ReadAt;
use libtest_mimic::Failed;

use super::disk::{Disk, disk, explained, inverted, part};

const BLOCK: u64 = 1024;

/// The first number after some words of a text.
fn number_after(text: &str, words: &str) -> u64 {
    let rest = text.split_once(words).unwrap_or_else(|| panic!("no `{words}` in {text}")).1;
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after `{words}` in {text}"))
}

/// A file of the ext4: its path and inode, by debugfs.
pub fn some_file(disk: &Disk) -> (String, u64) {
    let listing = disk.debugfs("ls -p /bin");
    // Lines are `/INODE/MODE/UID/GID/NAME/SIZE/`.
    let files = listing.lines().filter_map(|line| {
        let parts: Vec<&str> = line.split('/').collect();
        let [_, inode, mode, _, _, name, size, ..] = parts.as_slice() else { return None };
        let size: u64 = size.parse().ok()?;
        (mode.starts_with("10") && size > 3 * BLOCK)
            .then(|| Some(((*name).to_owned(), inode.parse().ok()?)))?
    });
    let (name, inode) = files.into_iter().next().unwrap_or_else(|| panic!("no large file in {listing}"));
    (format!("/bin/{name}"), inode)
}

pub fn blocks(disk: &Disk, file: &str) -> Vec<u64> {
    disk.debugfs(&format!("blocks {file}"))
        .split_whitespace()
        .filter_map(|block| block.parse().ok())
        .collect()
}

fn ext4_places(disk: &Disk) -> Vec<(u64, String)> {
    let start = disk.start_of("DATA");
    let at = |block: u64| start + block * BLOCK;
    let in_data = |what: &str| format!("partition `DATA` (index 9): {what}");
    let stats = disk.debugfs("stats");
    let group_1 = stats.split_once("Group  1:").expect("two groups").1;
    let (path, inode) = some_file(disk);
    let imap = disk.debugfs(&format!("imap {path}"));
    let (_, hex) = imap.split_once("offset 0x").expect("an inode's place");
    let within = u64::from_str_radix(hex.trim(), 16).expect("a hexadecimal offset");
    let data = blocks(disk, &path);
    let free = number_after(&disk.debugfs("ffb"), "Free blocks found:");
    vec![
        (start + 1024 + 12, in_data("ext4 superblock: free block count is")),
        (start + 1024 + 1023, in_data("ext4 superblock: superblock checksum is")),
        (at(8193) + 90, in_data("ext4 superblock (copy in group 1): group of this copy is")),
        (start + 2048 + 12, in_data("ext4 descriptor of group 0: free block count is")),
        (
            at(number_after(group_1, "block bitmap at")),
            in_data("ext4 block bitmap of group 1: blocks in use is"),
        ),
        (
            at(number_after(group_1, "inode bitmap at")),
            in_data("ext4 inode bitmap of group 1: inodes in use is"),
        ),
        (
            at(number_after(&imap, "located at block")) + within + 4,
            in_data(&format!("ext4 inode {inode} ({path}): size is")),
        ),
        (at(data[2]) + 5, in_data(&format!("data of ext4 file {path} (inode {inode}) at {}", 2 * BLOCK + 5))),
        (at(blocks(disk, "/bin")[0]) + 6, in_data("ext4 directory /bin (inode ")),
        (at(blocks(disk, "<8>")[3]), in_data("ext4 journal, block 3")),
        (at(free), in_data(&format!("free ext4 block {free}"))),
    ]
}

fn fat_places(disk: &Disk) -> Vec<(u64, String)> {
    let start = disk.start_of("BOOT");
    let in_boot = |what: &str| format!("partition `BOOT` (index 1): {what}");
    let mut boot = [0; 512];
    disk.image.fill(start, &mut boot).expect("read");
    let u16_at = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
    let (reserved, fat_sectors, root_entries) = (u16_at(14), u16_at(22), u16_at(17));
    let fat = start + reserved * 512;
    let root = fat + 2 * fat_sectors * 512;
    let mut entries = vec![0; (root_entries * 32) as usize];
    disk.image.fill(root, &mut entries).expect("read");
    let file = entries.chunks(32).enumerate().find(|(_, entry)| entry.starts_with(b"IO      SYS"));
    let (index, entry) = file.expect("a file in the root");
    let cluster = u64::from(u16::from_le_bytes([entry[26], entry[27]]));
    let data = root + root_entries * 32 + (cluster - 2) * 512;
    vec![
        (start + 28, in_boot("FAT boot sector: hidden sectors is")),
        (fat + 2 * cluster, in_boot(&format!("FAT 1, entry of cluster {cluster}: next cluster is"))),
        (fat + fat_sectors * 512 + 2 * 7, in_boot("FAT 2, entry of cluster 7: next cluster is")),
        (root + 32 * index as u64 + 28, in_boot(&format!("FAT directory /, entry {index}: size is"))),
        (data + 3, in_boot("data of FAT file /IO.SYS at 3")),
    ]
}

fn table_places(disk: &Disk) -> Vec<(u64, String)> {
    let backup = disk.image.len_bytes() - 512;
    vec![
        (454, "protective MBR: protective partition's first LBA is".to_owned()),
        (512 + 40, "primary GPT header: first usable LBA is".to_owned()),
        (512 + 88, "primary GPT header: array CRC is".to_owned()),
        (backup + 24, "backup GPT header: own LBA is".to_owned()),
        (1024 + 8 * 128 + 16, "primary GPT entry 9 (`DATA`): unique GUID is".to_owned()),
        (backup - 128 * 128 + 3 * 128 + 40, "backup GPT entry 4 (`CONFIG`): last LBA is".to_owned()),
        (1024 + 128, "primary GPT entry 2 (unnamed): type GUID is".to_owned()),
        (100 * 512, "unallocated space at 0xc800".to_owned()),
        (
            disk.start_of("CONFIG") + 16,
            "partition `CONFIG` (index 4): payload at 0x10, no known structure".to_owned(),
        ),
    ]
}

fn check(image: &Image, places: Vec<(u64, String)>) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for (offset, expected) in places {
        let explanation = explained(image, &inverted(image, offset));
        let core = explanation.core();
        let [difference] = explanation.differences.as_slice() else {
            return Err(format!("one byte is one difference: {explanation:?}").into());
        };
        let row = difference.hex.first().map(|row| row.offset);
        if !core.contains(&expected) || difference.offset != offset || row != Some(offset - offset % 16) {
            wrong.push(format!("{offset:#x}: expected `{expected}`, got `{core}`"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

pub fn are_named() -> Result<(), Failed> {
    let disk = disk();
    let places = [table_places(disk), fat_places(disk), ext4_places(disk)].concat();
    check(&disk.image, places)
}

/// The same ext4 as a file of its own, which is no partition.
pub fn without_a_table() -> Result<(), Failed> {
    let disk = disk();
    let start = disk.start_of("DATA");
    let image = part(&disk.image, start, 12 << 20);
    let places = ext4_places(disk)
        .into_iter()
        .map(|(offset, text)| (offset - start, text.replace("partition `DATA` (index 9): ", "`disk.img`, ")));
    check(&image, places.collect())
}
