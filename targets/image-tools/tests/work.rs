//! Goal: a work disk holds what the root file system has in `/root`, at any size, without root. Method: a root file system
//! is built, its seed and a disk are made, and e2fsck, debugfs and `ext4-view` look at them.

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::{assert_is_clean, debugfs, names, noise, refused, rootfs, run, text};
use ext4_view::Ext4;

fn allocated(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

fn check(image: &Path) {
    assert_is_clean(image);
    let ext4 = Ext4::load_from_path(image).unwrap();
    assert!(ext4.read("/tool").unwrap() == noise(1, 300_000));
    assert_eq!(ext4.read_link("/link").unwrap(), "tool");
    let mut middle = ext4.open("/sparse").unwrap();
    let mut found = [0; 13];
    std::io::Seek::seek(&mut middle, std::io::SeekFrom::Start(50 << 20)).unwrap();
    std::io::Read::read_exact(&mut middle, &mut found).unwrap();
    assert_eq!((&found, middle.metadata().len()), (b"in the middle", 100 << 20));
    assert!(!ext4.exists("/hostname").unwrap() && !ext4.exists("/etc").unwrap());
    let (own, listed) = (debugfs(image, "stat /"), debugfs(image, "ls -p /"));
    assert!(own.contains("Mode:  0700"), "{own}");
    for (path, mode) in [("/tool", "06755"), ("/sticky", "01777")] {
        let said = debugfs(image, &format!("stat {path}"));
        let is_roots = said.contains("User:     0   Group:     0");
        assert!(is_roots && said.contains(&format!("Mode:  {mode}")), "{said}");
    }
    assert_eq!(listed.matches("lost+found").count(), 1, "{listed}");
}

#[test]
fn a_disk_has_the_seeds_content_and_exactly_the_size_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let image = rootfs(folder.path(), true);
    run(&["work-seed", "build", text(&image)]);
    let seed = folder.path().join("rootfs.work-seed.ext4");
    assert_eq!(fs::metadata(&seed).unwrap().len(), 512 << 20);
    check(&seed);
    let first = folder.path().join("first.ext4");
    for size in ["64M", "512M", "8G", "100000000"] {
        run(&["work-disk", "materialize", text(&seed), text(&first), "--size", size]);
        assert_eq!(fs::metadata(&first).unwrap().len(), image_tools::options::size(size).unwrap());
        check(&first);
        assert!(allocated(&first) < 3 << 20, "{size}: {}", allocated(&first));
    }
    let second = folder.path().join("second.ext4");
    run(&["work-disk", "materialize", text(&seed), text(&second), "--size", "100000000"]);
    assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "the same seed gives the same disk");
    assert_eq!(
        names(folder.path()),
        ["first.ext4", "rootfs.ext4", "rootfs.work-seed.ext4", "second.ext4", "tree"]
    );
}

#[test]
fn a_root_file_system_without_root_gives_an_empty_seed() {
    let folder = tempfile::tempdir().unwrap();
    let (image, seed) = (rootfs(folder.path(), false), folder.path().join("seed"));
    run(&["work-seed", "build", text(&image), text(&seed)]);
    assert_is_clean(&seed);
    let listed = debugfs(&seed, "ls -p /");
    let names: Vec<_> = listed.lines().filter_map(|line| line.split('/').nth(5)).collect();
    assert_eq!(names, [".", "..", "lost+found"], "{listed}");
}

#[test]
fn special_files_and_other_mistakes_are_refused_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let image = rootfs(folder.path(), true);
    let pipe = folder.path().join("tree/root/pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let tree = folder.path().join("tree");
    run(&["ext4", "build", "--from", text(&tree), "--output", text(&image)]);
    let before = names(folder.path());
    let special = refused(&["work-seed", "build", text(&image)]);
    assert!(special.contains("`/root/pipe` is a device, pipe or socket"), "{special}");
    fs::remove_dir_all(tree.join("root")).unwrap();
    fs::write(tree.join("root"), "a file").unwrap();
    run(&["ext4", "build", "--from", text(&tree), "--output", text(&image)]);
    let file = refused(&["work-seed", "build", text(&image)]);
    assert!(file.contains("`/root` in the image is no folder"), "{file}");
    let none = folder.path().join("tree/etc/hostname");
    let disk = folder.path().join("disk");
    let no_ext4 = refused(&["work-disk", "materialize", text(&none), text(&disk), "--size", "1G"]);
    assert!(no_ext4.contains("can't be read as ext4"), "{no_ext4}");
    let too_small = refused(&["work-disk", "materialize", text(&image), text(&disk), "--size", "32K"]);
    assert!(too_small.contains("ask for a larger size"), "{too_small}");
    assert_eq!(names(folder.path()), before);
}
