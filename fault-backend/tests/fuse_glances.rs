//! Goal: what a tool asked of what lay in a directory is known, so that states which it can't tell apart may be judged
//! together; and a run through the page cache ends in the same bytes. Method: small scripts as tools, one for each way to
//! ask, on a directory in which a file and a folder lie.

mod fuse_support;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use fault_backend::fuse::{Glances, Run};
use fault_backend::{Image, Volume};
use fuse_support::*;

/// A volume with a file, and a scratch directory in which a file and a folder with a file lie.
fn start() -> Volume {
    let mut volume = with_file("disk", &[b'a'; 8192]);
    for path in ["scratch/old", "scratch/dir/inner"] {
        let mut image = Image::new(0);
        image.write_at(0, b"left over").unwrap();
        volume.insert_file(path.as_ref(), image).unwrap();
    }
    volume
}

/// What a script asks of the scratch directory.
fn glances(mount: &Mount, script: &str) -> Glances {
    let watch = |wiring| Run { watch: Some(PathBuf::from("scratch")), ..Run::new(wiring) };
    let (recorded, status) = mount.run(&start(), watch, &mut sh(script));
    assert!(status.success(), "{script}");
    recorded.glances
}

fn names(names: &[&str]) -> BTreeSet<OsString> {
    names.iter().map(OsString::from).collect()
}

/// Each row is a script, the names that it looks up among others, whether it lists them, and whether it asks for more.
#[test]
fn names_lists_and_anything_more_are_told_apart() {
    let mount = Mount::new();
    for (script, looked_up, listed, touched) in [
        ("true", &[][..], false, false),
        ("echo x > disk", &[], false, false),
        ("echo x > scratch/new; cat scratch/new; rm scratch/new", &["new"], false, false),
        ("mkdir scratch/new; echo x > scratch/new/a; ls scratch/new", &["new"], false, false),
        // Removing and replacing a file asks no more than whether it is there.
        ("python3 -c 'import os; os.unlink(\"scratch/old\")'", &["old"], false, false),
        (
            "echo x > scratch/new; python3 -c 'import os; os.rename(\"scratch/new\", \"scratch/old\")'",
            &["new", "old"],
            false,
            false,
        ),
        ("cat scratch/old", &["old"], false, true),
        ("echo x >> scratch/old", &["old"], false, true),
        ("stat scratch/old", &["old"], false, true),
        ("mv scratch/old disk", &["old"], false, true),
        ("cat scratch/dir/inner", &["dir"], false, true),
        ("ls scratch/dir", &["dir"], false, true),
        ("python3 -c 'import os; os.listdir(\"scratch\")'", &[], true, false),
    ] {
        let found = glances(&mount, script);
        assert_eq!((found.listed, found.touched), (listed, touched), "{script}: {found:?}");
        assert!(found.names.is_superset(&names(looked_up)), "{script}: {found:?}");
        assert!(looked_up.contains(&"old") || !found.names.contains("old".as_ref() as &std::ffi::OsStr));
    }
}

#[test]
fn without_a_directory_to_watch_nothing_is_noted() {
    let mount = Mount::new();
    let (recorded, _) = mount.run(&start(), Run::new, &mut sh("ls scratch; cat scratch/old"));
    assert_eq!(recorded.glances, Glances::default());
}

/// Reads, rewrites what it read, grows, cuts, and reads again what it wrote, through several handles.
const MIXED: &str = "
import os
a = os.open('disk', os.O_RDWR)
b = os.open('disk', os.O_RDWR)
for i in range(40):
    at = (i * 977) % 8000
    piece = os.pread(a, 300, at)
    os.pwrite(b, bytes((c + i) % 256 for c in piece), at + 13)
    assert os.pread(a, 20, at + 13) == os.pread(b, 20, at + 13)
os.ftruncate(a, 5000)
os.pwrite(b, b'end' * 3000, 4000)
os.fsync(a)
with open('scratch/new', 'wb') as f:
    f.write(os.pread(a, 9000, 0))
";

#[test]
fn a_run_through_the_page_cache_ends_as_one_past_it_and_leaves_no_page_behind() {
    let mount = Mount::new();
    let mut ends = Vec::new();
    for page_cache in [false, true, true, false] {
        let (recorded, status) =
            mount.run(&start(), |wiring| Run { page_cache, ..Run::new(wiring) }, &mut python(MIXED));
        assert!(status.success());
        assert_eq!(bytes(&recorded.volume, "disk").len(), 13_000);
        ends.push(recorded.volume.content_id());
    }
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{ends:?}");
    // What the kernel remembers of another state is never seen.
    let other = with_file("disk", &[b'z'; 8192]);
    let check = "import sys; sys.exit(open('disk', 'rb').read() != b'z' * 8192)";
    for page_cache in [true, false] {
        let (_, status) =
            mount.run(&other, |wiring| Run { page_cache, ..Run::new(wiring) }, &mut python(check));
        assert!(status.success());
    }
}
