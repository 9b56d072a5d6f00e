//! Random damage to the wanted state and to the found one: both are explained, nothing fails, and every byte is counted.

use fault_backend::Image;
use killpoint::explain::MAX_DIFFERENCES;
use libtest_mimic::Failed;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::disk::{disk, explained};

/// Cases, or as many as `KILLPOINT_EXPLAIN_CASES` says for a soak.
const CASES: u32 = 48;

/// A write: where, in which of the disk's structures, and what.
type Damage = Vec<(usize, u64, Vec<u8>)>;

fn damage() -> impl Strategy<Value = Damage> {
    let bytes = prop_oneof![vec(any::<u8>(), 1..9), vec(Just(0xFF), 1..600), vec(Just(0), 1..600)];
    vec((0usize..6, any::<u64>(), bytes), 0..12)
}

/// Most of it falls where the charts are read from.
fn damaged(damage: &Damage) -> Image {
    let disk = disk();
    let (boot, data) = (disk.start_of("BOOT"), disk.start_of("DATA"));
    let len = disk.image.len_bytes();
    let mut image = disk.image.clone();
    for (region, at, bytes) in damage {
        let (start, span) = match region {
            0 => (0, 34 * 512),
            1 => (len - 33 * 512, 33 * 512),
            2 => (boot, 64 << 10),
            // Superblock and descriptors; then bitmaps, inode tables and directories.
            3 => (data + 1024, 2048),
            4 => (data + 3072, 1 << 20),
            _ => (0, len),
        };
        let offset = start + at % span;
        let end = (offset + bytes.len() as u64).min(len);
        image.write_at(offset, &bytes[..(end - offset) as usize]).expect("write");
    }
    image
}

pub fn is_explained() -> Result<(), Failed> {
    let cases = std::env::var("KILLPOINT_EXPLAIN_CASES").ok().and_then(|cases| cases.parse().ok());
    let mut runner = TestRunner::new(Config {
        cases: cases.unwrap_or(CASES),
        failure_persistence: None,
        ..Config::default()
    });
    runner.run(&(damage(), damage()), |(wanted, found)| {
        let (wanted, found) = (damaged(&wanted), damaged(&found));
        let explanation = explained(&wanted, &found);
        let differing: u64 = wanted.diff(&found).expect("compare").iter().map(|r| r.end - r.start).sum();
        let listed: u64 = explanation.differences.iter().map(|difference| difference.bytes).sum();
        prop_assert_eq!(explanation.differing_bytes, differing);
        prop_assert!(explanation.differences.len() <= MAX_DIFFERENCES);
        if explanation.more.is_empty() {
            prop_assert_eq!(listed + explanation.unplaced_bytes, differing);
        }
        prop_assert!(!explanation.to_string().is_empty());
        Ok(())
    })?;
    Ok(())
}
