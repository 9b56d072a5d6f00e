//! Images made of random writes and holes: copies are equal and as sparse, differences are exact, a restored image is
//! the one that it was restored from.

use std::os::unix::fs::MetadataExt;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// Places where pages, chunks and read blocks end.
const EDGES: [u64; 7] = [0, 4096, 64 << 10, 256 << 10, 1 << 20, (1 << 20) + (64 << 10), 3 << 20];

/// A write near one of the edges.
fn write() -> impl Strategy<Value = (u64, Vec<u8>)> {
    let at = (prop::sample::select(EDGES.to_vec()), -40i64..40)
        .prop_map(|(edge, by)| edge.saturating_add_signed(by));
    (at, prop::collection::vec(0u8..3, 1..100))
}

fn make(path: &Path, len: u64, writes: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let file = File::create(path).expect("create");
    file.set_len(len).expect("its length");
    let mut bytes = vec![0; len as usize];
    for (at, data) in writes {
        let at = (*at).min(len - 1);
        let data = &data[..data.len().min((len - at) as usize)];
        file.write_all_at(data, at).expect("write");
        bytes[at as usize..at as usize + data.len()].copy_from_slice(data);
    }
    bytes
}

/// Differences as a loop over bytes finds them.
fn naive(a: &[u8], b: &[u8]) -> Vec<Range<u64>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    for i in (0..a.len().max(b.len())).filter(|i| a.get(*i) != b.get(*i)) {
        match found.last_mut() {
            Some(last) if last.end == i as u64 => last.end += 1,
            _ => found.push(i as u64..i as u64 + 1),
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn differences_are_exact_and_restore_undoes_them(
        a_writes in prop::collection::vec(write(), 0..6), b_writes in prop::collection::vec(write(), 0..6),
        a_len in 1u64..(3 << 20) + 50, b_len in prop::option::of(1u64..(3 << 20) + 50))
    {
        let folder = TempDir::new()?;
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let a_bytes = make(&a, a_len, &a_writes);
        let b_bytes = make(&b, b_len.unwrap_or(a_len), &b_writes);
        prop_assert_eq!(diff(&a, &b)?, naive(&a_bytes, &b_bytes));
        prop_assert_eq!(content_id(&a)? == content_id(&b)?, a_bytes == b_bytes);

        restore(&a, &b)?;
        prop_assert_eq!(fs::read(&b)?, a_bytes);
        prop_assert_eq!(content_id(&a)?, content_id(&b)?);
    }

    #[test]
    fn parts_compare_at_any_offsets(
        writes in prop::collection::vec(write(), 1..6), a_start in 0u64..70_000, b_start in 0u64..70_000,
        len in 0u64..1_500_000)
    {
        let folder = TempDir::new()?;
        let path = folder.path().join("a");
        let bytes = make(&path, 3 << 20, &writes);
        let file = File::open(&path)?;
        let mut found = Vec::new();
        let _ = compare_parts((&file, a_start), (&file, b_start), len, |range| {
            found.push(range);
            ControlFlow::Continue(())
        })?;
        let part = |start: u64| &bytes[start as usize..(start + len) as usize];
        prop_assert_eq!(found, naive(part(a_start), part(b_start)));
        let id = content_of(&file, a_start..a_start + len)?;
        prop_assert_eq!(id == content_of(&file, b_start..b_start + len)?, part(a_start) == part(b_start));
    }
}

#[test]
fn a_copy_is_equal_and_as_sparse() {
    let folder = TempDir::new().expect("a temporary folder");
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    fs::create_dir_all(a.join("below")).expect("a folder");
    make(&a.join("below/disk.img"), 64 << 20, &[(33 << 20, vec![1; 100])]);
    make(&a.join("other"), 10, &[(0, vec![2; 10])]);
    copy_sparse(&a, &b).expect("copy");
    assert_eq!(content_id(&a).expect("an id"), content_id(&b).expect("an id"));
    let blocks = fs::metadata(b.join("below/disk.img")).expect("its metadata").blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks of 512 bytes are allocated");
    let error = copy_sparse(&a.join("other"), &b.join("other")).expect_err("it is there already");
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(b.join("other")).expect("read"), [2; 10], "a refused copy leaves what is there");
}

#[test]
fn restoring_punches_holes_and_removes_what_is_left_over() {
    let folder = TempDir::new().expect("a temporary folder");
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    fs::create_dir(&a).expect("a folder");
    make(&a.join("disk.img"), 32 << 20, &[(5, vec![1; 100])]);
    copy_sparse(&a, &b).expect("copy");
    make(&b.join("disk.img"), 40 << 20, &[(0, vec![3; 30 << 20])]);
    fs::write(b.join("left"), "over").expect("write");
    restore(&a, &b).expect("restore");
    assert_eq!(files(&b).expect("list"), [PathBuf::from("disk.img")]);
    assert_eq!(content_id(&a).expect("an id"), content_id(&b).expect("an id"));
    let blocks = fs::metadata(b.join("disk.img")).expect("its metadata").blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks of 512 bytes are allocated");
}

#[test]
fn a_volume_is_told_by_its_names_too() {
    let folder = TempDir::new().expect("a temporary folder");
    for (volume, name) in [("a", "one"), ("b", "two")] {
        fs::create_dir(folder.path().join(volume)).expect("a folder");
        fs::write(folder.path().join(volume).join(name), "same").expect("write");
    }
    let id = |volume: &str| content_id(&folder.path().join(volume)).expect("an id");
    assert_ne!(id("a"), id("b"));
}
