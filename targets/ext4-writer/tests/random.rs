//! Goal: whatever a tree holds and however an image is asked for, the image is sound. Method: random trees over several
//! groups, each written unaligned and aligned, judged by `e2fsck -fn` and read back by `ext4-view`. A failure names its
//! seed; `EXT4_WRITER_SEEDS` is how many are tried (default 2), `EXT4_WRITER_FIRST_SEED` where to begin.

mod common;

use common::{MIB, Made, meta, write_and_judge};
use ext4_writer::{Align, Kind, Meta, NodeId, Options};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn random_meta(rng: &mut ChaCha8Rng) -> Meta {
    let mut meta = meta(rng.random_range(0..0o10000));
    meta.uid = if rng.random_bool(0.5) { 0 } else { rng.random() };
    for index in 0..rng.random_range(0..=3_u32).saturating_sub(1) {
        let len = *[0, 3, 30, 300].choose(rng).unwrap();
        meta.xattrs.insert(format!("user.name-{index}").into_bytes(), vec![b'v'; len]);
    }
    meta
}

/// Lengths around the bounds of a block and of inline data, and some that cross a group.
fn random_len(rng: &mut ChaCha8Rng) -> u64 {
    match rng.random_range(0..20) {
        0 => rng.random_range(0..200),
        1 => 4096 * rng.random_range(0..5) + rng.random_range(0..2),
        2 => rng.random_range(MIB..20 * MIB),
        _ => rng.random_range(0..300_000),
    }
}

fn random_data(rng: &mut ChaCha8Rng, len: u64) -> Vec<std::ops::Range<u64>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < len {
        let start = at + rng.random_range(0..60_000);
        let end = (start + rng.random_range(1..60_000)).min(len);
        if start < end {
            ranges.push(start..end);
        }
        // Where a hole shares a block with data, it is written with it.
        at = end.max(start) + 1;
    }
    ranges
}

fn random_tree(seed: u64) -> Made {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut made = Made::new();
    let mut folders = vec![made.tree.root()];
    let mut files: Vec<NodeId> = Vec::new();
    for number in 0..rng.random_range(1..400) {
        let parent = *folders.choose(&mut rng).unwrap();
        let name = format!("{number}-{}", "n".repeat(rng.random_range(0..200)));
        let meta = random_meta(&mut rng);
        match rng.random_range(0..12) {
            0 | 1 => folders.push(made.tree.add(parent, name.as_bytes(), meta, Kind::Directory).unwrap()),
            2 => {
                // The reader takes no component of more than 255 bytes.
                let target = b"t/".repeat(150)[..rng.random_range(1..300)].to_vec();
                made.tree.add(parent, name.as_bytes(), meta, Kind::Symlink(target)).unwrap();
            }
            3 => {
                made.tree.add(parent, name.as_bytes(), meta, Kind::Fifo).unwrap();
            }
            4 => {
                let len = random_len(&mut rng) * 4;
                let data = random_data(&mut rng, len);
                files.push(made.add(parent, &name, meta, len, Some(data)));
            }
            _ => {
                let len = random_len(&mut rng);
                files.push(made.add(parent, &name, meta, len, None));
            }
        }
    }
    // Something that crosses into the next groups, before or after the rest.
    let top = made.tree.root();
    made.file(top, "large", rng.random_range(100..200) * MIB + rng.random_range(0..4096));
    // Other names of a file have its content as well; for the reader they are files.
    for number in 0..rng.random_range(0..5) {
        if let Some(file) = files.choose(&mut rng) {
            made.tree.link(top, format!("link-{number}").as_bytes(), *file).unwrap();
        }
    }
    made
}

#[test]
fn random_trees_are_sound_aligned_and_not() {
    let first = number("EXT4_WRITER_FIRST_SEED", 1);
    for seed in first..first + number("EXT4_WRITER_SEEDS", 2) {
        println!("seed {seed}");
        for bytes in [None, Some(128 << 10), Some(16 << 10)] {
            let mut rng = ChaCha8Rng::seed_from_u64(!seed);
            let options = Options {
                size_bytes: rng.random_bool(0.5).then(|| rng.random_range(700 * MIB..2000 * MIB)),
                uuid: None,
                journal_blocks: rng.random_bool(0.5).then(|| rng.random_range(1024..9000)),
                align: bytes.map(|bytes| Align { bytes, min_bytes: rng.random_range(0..bytes) }),
                inline_data: false,
            };
            write_and_judge(random_tree(seed), &options);
        }
    }
}
