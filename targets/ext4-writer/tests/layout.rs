//! Goal: images are sound wherever their parts happen to lie: in one group or several, aligned, with journal or inode
//! tables at the end of a group. Method: `e2fsck -fn` objects to nothing, `ext4-view` reads back every byte, and debugfs
//! and dumpe2fs see what was asked for.

mod common;

use std::io::Read;
use std::os::unix::fs::FileExt;

use common::{
    Image, MIB, Made, allocated, assert_holds, assert_is_clean, debugfs, meta, tool, write, write_and_judge,
};
use ext4_writer::{Align, BLOCK_BYTES, BLOCKS_PER_GROUP, Kind, Options};

const GROUP_BYTES: u64 = BLOCKS_PER_GROUP * BLOCK_BYTES;

/// First and last block of each extent of an inode or a path, as debugfs prints them.
fn extents(image: &Image, what: &str) -> Vec<(u64, u64, u64)> {
    let said = debugfs(&image.path, &format!("ex {what}"));
    let rows = said.lines().filter(|line| line.contains("0/ 0") || line.contains("1/ 1"));
    let number =
        |row: &str| row.split([' ', '-', '/']).filter_map(|word| word.parse().ok()).collect::<Vec<u64>>();
    // Level, of levels, entry, of entries, logical first and last, physical first and last, length.
    rows.map(number).map(|n| (n[4], n[6], n[8])).collect()
}

/// The value of a field that dumpe2fs prints.
fn field(image: &Image, name: &str) -> String {
    let (code, said) = tool("dumpe2fs", &["-h", image.path.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name}: {said}")).trim().to_owned()
}

#[test]
fn trees_in_one_group_and_in_several_are_sound() {
    for (count, len) in [(0, 0), (1, 0), (1, 1), (40, 4096), (300, 70_001), (3, 60 * MIB)] {
        write_and_judge(Made::files(count, len), &Options::default());
    }
}

#[test]
fn disks_of_any_size_are_sound_and_have_that_size() {
    for size in [
        MIB,
        5 * MIB + 4096 + 17,
        GROUP_BYTES - 4096,
        GROUP_BYTES,
        GROUP_BYTES + 4096,
        GROUP_BYTES + 2 * 4096,
        GROUP_BYTES + 3 * 4096,
        2 * GROUP_BYTES + 4096,
        3 * GROUP_BYTES + 12 * 4096,
        40 * GROUP_BYTES,
    ] {
        let options = Options {
            size_bytes: Some(size),
            journal_blocks: Options::suitable_journal(size),
            ..Options::default()
        };
        let image = write_and_judge(Made::files(3, 10_000), &options);
        assert_eq!(std::fs::metadata(&image.path).unwrap().len(), size);
        assert_eq!(image.summary.size_bytes, size);
    }
}

#[test]
fn counts_and_features_are_what_dumpe2fs_reads() {
    let uuid = *b"0123456789abcdef";
    let options = Options {
        size_bytes: Some(300 * MIB),
        uuid: Some(uuid),
        journal_blocks: Some(2048),
        ..Options::default()
    };
    let image = write_and_judge(Made::files(1200, 5000), &options);
    let number = |name: &str| field(&image, name).parse::<u64>().unwrap();
    assert_eq!(number("Block count"), 300 * MIB / BLOCK_BYTES);
    assert_eq!(number("Free blocks") * BLOCK_BYTES, image.summary.free_bytes);
    assert_eq!(number("Inode count"), image.summary.inodes);
    assert_eq!(number("Free inodes"), image.summary.free_inodes);
    // 11 up to lost+found, 1200 files in twelve folders.
    assert_eq!(image.summary.inodes - image.summary.free_inodes, 11 + 1200 + 12);
    assert_eq!(field(&image, "Filesystem UUID"), "30313233-3435-3637-3839-616263646566");
    assert_eq!(field(&image, "Total journal blocks"), "2048");
    for feature in ["has_journal", "extent", "flex_bg", "sparse_super", "metadata_csum", "dir_nlink"] {
        assert!(field(&image, "Filesystem features").contains(feature), "{feature}");
    }
}

#[test]
fn a_copy_of_the_superblock_is_as_good_as_the_first() {
    let made = Made::files(3, 60 * MIB);
    let expected = made.expected();
    let image = write(made, &Options::default());
    let file = std::fs::File::options().write(true).open(&image.path).unwrap();
    file.write_all_at(&[0; 2 * BLOCK_BYTES as usize], 0).unwrap();
    let (code, said) = tool("e2fsck", &["-fy", image.path.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("trying backup blocks"), "{said}");
    assert_is_clean(&image.path);
    assert_holds(&image.path, &expected);
}

#[test]
fn aligned_files_start_on_the_grid_and_stay_on_it_behind_a_copy_of_the_superblock() {
    for grid in [128 << 10, 16 << 10] {
        let options = Options { align: Some(Align { bytes: grid, min_bytes: grid }), ..Options::default() };
        let mut made = Made::files(30, 3 * grid + 1);
        let top = made.tree.root();
        made.file(top, "small", 100);
        made.file(top, "large", 150 * MIB);
        let image = write_and_judge(made, &options);
        let mut found = Vec::new();
        for path in ["/folder-0/file-0", "/folder-0/file-29", "/large"] {
            found.extend(extents(&image, path));
        }
        assert!(found.len() >= 4, "{found:?}");
        assert!(found.iter().any(|(_, physical, _)| *physical >= BLOCKS_PER_GROUP));
        for (logical, physical, _) in found {
            let blocks = grid / BLOCK_BYTES;
            assert_eq!(logical % blocks, physical % blocks, "grid of {grid} at {logical}");
        }
    }
}

#[test]
fn a_journal_never_straddles_a_copy_of_the_superblock() {
    let mut moved = 0;
    for payload in 120..=136 {
        let options = Options { journal_blocks: Some(1024), ..Options::default() };
        let image = write(Made::files(1, payload * MIB), &options);
        assert_is_clean(&image.path);
        let journal = extents(&image, "<8>");
        assert!(matches!(journal[..], [(0, _, 1024)]), "{payload}: {journal:?}");
        // Group 1 starts with a superblock and a block of descriptors.
        let (start, copy) = (journal[0].1, BLOCKS_PER_GROUP..BLOCKS_PER_GROUP + 2);
        assert!(start + 1024 <= copy.start || start >= copy.end, "{payload}: {start}");
        moved += u32::from(start >= copy.end && payload <= 127);
    }
    assert!(moved > 0, "the sweep never met the boundary");
}

#[test]
fn inode_tables_at_the_end_of_a_group_are_moved_behind_it_and_the_gap_is_free() {
    for count in [30_500, 31_000, 31_500] {
        let image = write_and_judge(Made::files(count, 100), &Options::default());
        let (code, said) = tool("dumpe2fs", &[image.path.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{said}");
        let tables = said.lines().filter_map(|line| line.trim().strip_prefix("Inode table at "));
        for table in tables {
            let mut ends = table.split([' ', '-']).filter_map(|word| word.parse::<u64>().ok());
            let (first, last) = (ends.next().unwrap(), ends.next().unwrap());
            assert!(last < BLOCKS_PER_GROUP || first > BLOCKS_PER_GROUP + 1, "{count}: {table}");
        }
    }
}

#[test]
fn holes_stay_holes_and_fragments_take_a_tree_of_extents() {
    let mut made = Made::new();
    let top = made.tree.root();
    // 5 extents need one block below the inode, 1400 two levels.
    for (name, pieces) in [("one", 1), ("five", 5), ("many", 1400)] {
        let data = (0..pieces).map(|piece| piece * 9 * 4096..piece * 9 * 4096 + 5000).collect();
        made.add(top, name, meta(0o644), pieces * 9 * 4096 + 100_000, Some(data));
    }
    made.add(top, "hole", meta(0o644), 1 << 40, Some(Vec::new()));
    // Every piece takes two blocks.
    let data = 1406 * 2 * BLOCK_BYTES;
    let mut without_hole = made.expected();
    let hole = without_hole.remove(std::path::Path::new("/hole"));
    let image = write(made, &Options::default());
    assert_is_clean(&image.path);
    assert!(hole.is_some());
    let said = debugfs(&image.path, "stat /hole");
    assert!(said.contains("Size: 1099511627776") && said.contains("Blockcount: 0"), "{said}");
    assert!(allocated(&image.path) < data + MIB, "{}", allocated(&image.path));
    let tree = debugfs(&image.path, "ex /many");
    assert!(tree.contains("2/ 2"), "{tree}");
}

#[test]
fn everything_that_a_tree_can_hold_is_there_for_debugfs() {
    let mut made = Made::new();
    let top = made.tree.root();
    let mut with_xattrs = meta(0o6755);
    (with_xattrs.uid, with_xattrs.gid) = (70_000, 80_000);
    with_xattrs.xattrs.insert(b"user.short".to_vec(), b"value".to_vec());
    let mut with_block = meta(0o600);
    with_block.xattrs.insert(b"user.long".to_vec(), vec![b'v'; 1000]);
    let file = made.add(top, "file", with_xattrs, 10, None);
    made.tree.link(top, b"second", file).unwrap();
    let folder = made.tree.add(top, b"folder", with_block, Kind::Directory).unwrap();
    for number in 0..400 {
        made.file(folder, &format!("a-name-that-is-long-enough-for-several-blocks-{number}"), 1);
    }
    let long = vec![b't'; 60];
    for (name, kind) in [
        ("short-link", Kind::Symlink(vec![b't'; 59])),
        ("long-link", Kind::Symlink(long)),
        ("fifo", Kind::Fifo),
        ("socket", Kind::Socket),
        ("old-device", Kind::CharDevice { major: 5, minor: 1 }),
        ("new-device", Kind::BlockDevice { major: 259, minor: 70_000 }),
    ] {
        made.tree.add(top, name.as_bytes(), meta(0o640), kind).unwrap();
    }
    let image = write_and_judge(made, &Options::default());
    let stat = |path: &str| debugfs(&image.path, &format!("stat {path}"));
    for (path, words) in [
        (
            "/file",
            &[
                "Mode:  06755",
                "Links: 2",
                "User: 70000",
                "Group: 80000",
                "user.short (5)",
                "mtime: 0x6553f100:1d6f3454",
            ][..],
        ),
        ("/second", &["Links: 2"]),
        ("/folder", &["Type: directory", "Links: 2", "user.long (1000)"]),
        ("/short-link", &["Fast link dest", "Blockcount: 0"]),
        ("/long-link", &["Type: symlink", "Size: 60", "Blockcount: 8"]),
        ("/fifo", &["Type: FIFO"]),
        ("/socket", &["Type: socket"]),
        ("/old-device", &["character special", "05:01"]),
        ("/new-device", &["block special", "259:70000"]),
    ] {
        let said = stat(path);
        for word in words {
            assert!(said.contains(word), "{path} lacks {word}: {said}");
        }
    }
}

#[test]
fn small_files_live_in_their_inodes_if_asked() {
    let mut made = Made::new();
    let top = made.tree.root();
    for len in [0, 1, 59, 60, 61, 127, 128, 129] {
        let mut meta = meta(0o644);
        if len % 2 == 1 {
            meta.xattrs.insert(b"user.more".to_vec(), vec![b'v'; 40]);
        }
        made.add(top, &len.to_string(), meta, len, None);
    }
    let contents = made.contents.0.clone();
    let image = write(made, &Options { inline_data: true, ..Options::default() });
    assert_is_clean(&image.path);
    for content in contents {
        let dump = image.folder.path().join("dump");
        debugfs(&image.path, &format!("dump /{} {}", content.len, dump.display()));
        // debugfs gives all 60 bytes of the inode's field, whatever the size says.
        content.assert_read_from(std::fs::File::open(&dump).unwrap().take(content.len), &dump);
        let is_inline = debugfs(&image.path, &format!("stat /{}", content.len)).contains("Flags: 0x10000000");
        assert_eq!(is_inline, (1..=128).contains(&content.len), "{}", content.len);
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes_and_another_one_another_uuid() {
    let of = |len| {
        let options = Options { journal_blocks: Some(1024), ..Options::default() };
        write(Made::files(50, len), &options)
    };
    let (first, second, other) = (of(5000), of(5000), of(5001));
    assert_eq!(common::digest(&first.path), common::digest(&second.path));
    let uuid = |image| field(image, "Filesystem UUID");
    assert_eq!(uuid(&first), uuid(&second));
    assert_ne!(uuid(&first), uuid(&other));
}

#[test]
fn an_empty_disk_takes_next_to_nothing() {
    let options = Options { size_bytes: Some(64 << 30), journal_blocks: Some(16_384), ..Options::default() };
    let image = write(Made::new(), &options);
    assert_is_clean(&image.path);
    assert!(allocated(&image.path) < MIB, "{}", allocated(&image.path));
}
