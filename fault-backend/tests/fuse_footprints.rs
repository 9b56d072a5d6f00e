//! Goal: it is known what a tool wrote before it read it, so that states which differ there alone may be judged together.
//! Method: small scripts as tools, one for each way to read and to write, past the page cache and through it; and each
//! script once more on a volume that differs in exactly those bytes, which must end the same.

#![allow(clippy::single_range_in_vec_init)] // A list of one range is what is meant.

mod fuse_support;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use fault_backend::Volume;
use fault_backend::footprint::Footprint;
use fault_backend::fuse::Run;
use fuse_support::*;

const LEN: u64 = 64 << 10;

fn start(fill: u8) -> Volume {
    let mut volume = with_file("disk", &[fill; LEN as usize]);
    let mut old = fault_backend::Image::new(0);
    old.write_at(0, b"old").unwrap();
    volume.insert_file("old".as_ref(), old).unwrap();
    volume
}

fn run(mount: &Mount, start: &Volume, script: &str, page_cache: bool) -> (Volume, Option<Footprint>) {
    let traced = |wiring| Run { trace: true, page_cache, ..Run::new(wiring) };
    let (recorded, status) = mount.run(start, traced, &mut sh(script));
    assert!(status.success(), "{script}");
    (recorded.volume, recorded.footprint)
}

/// What was overwritten unread of the files that were there at the start.
fn overwritten(start: &Volume, footprint: &Footprint) -> BTreeMap<PathBuf, Vec<Range<u64>>> {
    let of = |(ino, ranges)| Some((start.path_of(ino)?, ranges));
    footprint.overwritten().filter_map(of).collect()
}

#[test]
fn what_is_written_before_it_is_read_makes_no_difference() {
    let mount = Mount::new();
    let all = 0..u64::MAX;
    let dd = |what: &str| format!("dd if=/dev/zero of=disk conv=notrunc status=none {what}");
    let write = dd("bs=4096 seek=1 count=2");
    let rows: Vec<(String, &str, Vec<Range<u64>>)> = vec![
        ("true".into(), "disk", vec![]),
        (write.clone(), "disk", vec![4096..12288]),
        (format!("{write}; cat disk"), "disk", vec![4096..12288]),
        (format!("cat disk; {write}"), "disk", vec![]),
        (format!("dd if=disk bs=4096 count=2 status=none; {write}"), "disk", vec![8192..12288]),
        (dd("bs=100 count=1"), "disk", vec![0..100]),
        ("truncate -s 5000 disk".into(), "disk", vec![5000..u64::MAX]),
        ("echo new > disk".into(), "disk", vec![all.clone()]),
        ("fallocate -p -o 4096 -l 8192 disk".into(), "disk", vec![4096..12288]),
        ("fallocate -z -o 4096 -l 8192 disk".into(), "disk", vec![4096..12288]),
        ("rm old".into(), "old", vec![all.clone()]),
        ("cat old; rm old".into(), "old", vec![3..u64::MAX]),
        ("echo new > new; mv new old".into(), "old", vec![all.clone()]),
        ("mv old elsewhere".into(), "old", vec![]),
        // Where its holes are is asked for.
        (format!("cp --sparse=auto disk copy; {write}"), "disk", vec![]),
        (
            format!("python3 -c 'import os; os.lseek(os.open(\"disk\", 0), 0, os.SEEK_HOLE)'; {write}"),
            "disk",
            vec![],
        ),
    ];
    for (script, file, expected) in &rows {
        let (end, footprint) = run(&mount, &start(b'a'), script, false);
        let found = overwritten(&start(b'a'), &footprint.unwrap());
        assert_eq!(
            found.get::<std::path::Path>(file.as_ref()).cloned().unwrap_or_default(),
            *expected,
            "{script}"
        );

        // Through the page cache more may be read than was asked for, never less.
        let (cached_end, cached) = run(&mount, &start(b'a'), script, true);
        assert_same(&end, &cached_end, script);
        for (path, ranges) in overwritten(&start(b'a'), &cached.unwrap()) {
            let known = found.get(&path).unwrap_or_else(|| panic!("{script}: {}", path.display()));
            let inside =
                |range: &Range<u64>| known.iter().any(|k| k.start <= range.start && range.end <= k.end);
            assert!(ranges.iter().all(inside), "{script}: {ranges:?} of {known:?}");
        }

        let mut other = start(b'a');
        for (path, ranges) in &found {
            let ino = other.resolve(path).unwrap();
            let len = other.file(path).unwrap().len_bytes();
            for range in ranges.iter().filter(|range| range.start < len) {
                let data = vec![b'x'; (range.end.min(len) - range.start) as usize];
                other.write(ino, range.start, &data, Default::default()).unwrap();
            }
        }
        assert_same(&end, &run(&mount, &other, script, false).0, script);
    }
}

#[test]
fn nothing_is_said_of_a_run_that_shares_memory_with_a_file() {
    let mount = Mount::new();
    if !mount.seam.maps() {
        return;
    }
    let script = r#"
import mmap, os
with mmap.mmap(os.open("disk", os.O_RDWR), 4096) as shared:
    shared[0:4] = b"here"
    shared.flush()
"#;
    let traced = |wiring| Run { trace: true, ..Run::new(wiring) };
    let (recorded, status) = mount.run(&start(b'a'), traced, &mut python(script));
    assert!(status.success());
    assert_eq!((recorded.mapped, recorded.footprint), (true, None));
}
