//! Goal: the kernel's own ext4 mounts an image, reads every byte, writes to it, and leaves it sound. Method: a copy of the
//! image on a loop device; needs root, and says so where it can't have it.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Expected, Image, MIB, Made, assert_is_clean, meta};
use ext4_writer::{Align, Kind, Options};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// A mount; ended when it goes.
struct Mounted {
    place: tempfile::TempDir,
}

impl Mounted {
    fn of(image: &Path, options: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        run("mount", &["-t", "ext4", "-o", options, image.to_str().unwrap(), place.path().to_str().unwrap()]);
        Self { place }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[self.place.path().to_str().unwrap()]);
    }
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn tree(inline: bool) -> (Made, BTreeMap<PathBuf, Expected>) {
    let mut made = Made::files(500, 3000);
    let top = made.tree.root();
    made.file(top, "large", 150 * MIB + 5);
    made.add(top, "sparse", meta(0o600), 30 * MIB, Some(vec![5 * MIB..6 * MIB, 29 * MIB..30 * MIB]));
    made.tree.add(top, b"link", meta(0o777), Kind::Symlink(vec![b'x'; 90])).unwrap();
    let small = made.file(top, "small", if inline { 100 } else { 5000 });
    made.tree.link(top, b"again", small).unwrap();
    let mut with_xattrs = meta(0o644);
    with_xattrs.xattrs.insert(b"user.one".to_vec(), b"first".to_vec());
    with_xattrs.xattrs.insert(b"trusted.two".to_vec(), vec![b'v'; 900]);
    // Version 2; user::rw-, user:9:r--, group::r--, mask::r--, other::---.
    let mut acl = vec![2, 0, 0, 0];
    for (tag, permissions, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 4, 9), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
    {
        acl.extend_from_slice(&tag.to_le_bytes());
        acl.extend_from_slice(&permissions.to_le_bytes());
        acl.extend_from_slice(&id.to_le_bytes());
    }
    with_xattrs.xattrs.insert(b"system.posix_acl_access".to_vec(), acl);
    with_xattrs.mode = 0o640;
    made.add(top, "attributes", with_xattrs, 1, None);
    let expected = made.expected();
    (made, expected)
}

fn judge(image: &Image, expected: &BTreeMap<PathBuf, Expected>) {
    {
        let mounted = Mounted::of(&image.path, "loop,ro,errors=remount-ro");
        let below = |path: &Path| mounted.place.path().join(path.strip_prefix("/").unwrap());
        for (path, wanted) in expected {
            match wanted {
                Expected::File(content) => content.assert_read_from(File::open(below(path)).unwrap(), path),
                Expected::Symlink(target) => {
                    assert!(fs::read_link(below(path)).unwrap().as_os_str().as_encoded_bytes() == target);
                }
            }
        }
        let attribute = |name| xattr::get(below(Path::new("/attributes")), name).unwrap();
        assert_eq!(attribute("user.one").unwrap(), b"first");
        assert_eq!(attribute("trusted.two").unwrap(), vec![b'v'; 900]);
        assert_eq!(attribute("system.posix_acl_access").unwrap().len(), 4 + 5 * 8);
    }
    {
        let mounted = Mounted::of(&image.path, "loop,errors=remount-ro");
        let top = mounted.place.path();
        fs::create_dir(top.join("new")).unwrap();
        for number in 0..300 {
            fs::write(top.join(format!("new/{number}")), vec![7; 20_000]).unwrap();
        }
        fs::write(top.join("folder-0/one-more"), "x").unwrap();
        fs::remove_file(top.join("large")).unwrap();
        File::options()
            .append(true)
            .open(top.join("small"))
            .and_then(|mut file| std::io::copy(&mut &[7_u8; 9000][..], &mut file))
            .unwrap();
    }
    assert_is_clean(&image.path);
}

fn the_kernel_reads_and_writes_an_image() {
    let (made, expected) = tree(false);
    judge(&common::write(made, &Options { size_bytes: Some(400 * MIB), ..Options::default() }), &expected);
}

fn the_kernel_reads_and_writes_an_image_with_all_options() {
    let (made, expected) = tree(true);
    let options = Options {
        size_bytes: Some(1200 * MIB),
        journal_blocks: Some(4096),
        align: Some(Align { bytes: 128 << 10, min_bytes: 16 << 10 }),
        inline_data: true,
        ..Options::default()
    };
    judge(&common::write(made, &options), &expected);
}

/// Why these cases can't run here, if they can't.
fn obstacle() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root");
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("needs /dev/loop-control");
    }
    None
}

fn main() {
    let cases: [(&str, fn()); 2] = [
        ("the_kernel_reads_and_writes_an_image", the_kernel_reads_and_writes_an_image),
        (
            "the_kernel_reads_and_writes_an_image_with_all_options",
            the_kernel_reads_and_writes_an_image_with_all_options,
        ),
    ];
    let trials = cases.map(|(name, case)| {
        Trial::ignorable_test(name, move || match obstacle() {
            Some(obstacle) => Ok(Completion::ignored_with(obstacle)),
            None => std::panic::catch_unwind(case)
                .map(|()| Completion::Completed)
                .map_err(|_| Failed::from("see above")),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit();
}
