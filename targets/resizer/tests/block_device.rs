//! Goal: on a block device the kernel ends up with the table that is on the disk, partitions in use are refused or
//! end with exit code 3, and sector sizes are the device's. Method: loop devices over image files, their
//! partitions announced by BLKPG, as this needs no partition scanning.

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use common::layout::{self, Spec};
use common::place::temp_dir;
use common::program::{self, Image};
use common::{filesystems, oracle};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// A loop device; detached when it goes.
struct Loop {
    device: PathBuf,
    nodes: tempfile::TempDir,
}

impl Loop {
    fn attach(image: &Image, sector: usize) -> Loop {
        Loop::attach_as(image, sector, &[])
    }

    fn attach_as(image: &Image, sector: usize, options: &[&str]) -> Loop {
        let (sector, path) = (sector.to_string(), image.path());
        let args = ["--find", "--show", "--sector-size", &sector, path.to_str().unwrap()];
        let device = PathBuf::from(filesystems::tool("losetup", &[options, &args].concat()).trim());
        Loop { device, nodes: temp_dir() }
    }

    fn name(&self) -> &str {
        self.device.file_name().unwrap().to_str().unwrap()
    }

    /// Has the kernel know the partitions of `table`.
    fn announce(&self, disk: &[u8], sector: usize) {
        for (index, part) in oracle::agreed(disk, sector) {
            let unit = sector as u64 / 512;
            let (start, len) = (part.first * unit, (part.last - part.first + 1) * unit);
            let args =
                [self.device.to_str().unwrap(), &index.to_string(), &start.to_string(), &len.to_string()];
            filesystems::tool("addpart", &args);
        }
    }

    /// What the kernel knows: index, start and length in units of 512 bytes.
    fn known(&self) -> Vec<(u32, u64, u64)> {
        let directory = Path::new("/sys/block").join(self.name());
        let number = |path: PathBuf| fs::read_to_string(path).unwrap().trim().parse::<u64>().unwrap();
        let mut known: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|child| child.unwrap().path())
            .filter(|child| child.join("partition").exists())
            .map(|p| (number(p.join("partition")) as u32, number(p.join("start")), number(p.join("size"))))
            .collect();
        known.sort();
        known
    }

    /// A device node for one of its partitions, made here: there may be no udev to do it.
    fn node(&self, index: u32) -> PathBuf {
        let name = format!("{}p{index}", self.name());
        let numbers = fs::read_to_string(format!("/sys/block/{}/{name}/dev", self.name())).unwrap();
        let (major, minor) = numbers.trim().split_once(':').unwrap();
        let node = self.nodes.path().join(&name);
        let device = makedev(major.parse().unwrap(), minor.parse().unwrap());
        mknod(&node, SFlag::S_IFBLK, Mode::from_bits_truncate(0o600), device).unwrap();
        node
    }

    fn run(&self, args: &[&str]) -> program::Ended {
        program::end(program::on_disk(&self.device, args))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        for (index, ..) in self.known() {
            filesystems::tool("delpart", &[self.device.to_str().unwrap(), &index.to_string()]);
        }
        filesystems::tool("losetup", &["--detach", self.device.to_str().unwrap()]);
    }
}

fn in_units(disk: &[u8], sector: usize) -> Vec<(u32, u64, u64)> {
    let unit = sector as u64 / 512;
    let parts = oracle::agreed(disk, sector).into_iter();
    parts.map(|(index, p)| (index, p.first * unit, (p.last - p.first + 1) * unit)).collect()
}

fn plain(sector: usize) -> Vec<u8> {
    let specs = [Spec::new(1, 1, 2, "A"), Spec::new(2, 3, 2, "B"), Spec::new(9, 6, 2, "C")];
    layout::disk(16, sector, &specs)
}

fn the_kernel_is_told_what_changed() {
    for sector in [512, 4096] {
        for mode in [&[][..], &["--preserve-numbers"]] {
            let image = Image::new(&plain(sector));
            let device = Loop::attach(&image, sector);
            device.announce(&image.bytes(), sector);
            let command = [&["--grow-partition", "label:A:3M"], mode].concat();
            let ended = device.run(&command);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            assert_eq!(device.known(), in_units(&image.bytes(), sector));
            assert_eq!(device.run(&command).code, Some(0), "a finished command has nothing to tell");
        }
    }
}

fn a_run_that_was_killed_before_it_told_the_kernel_makes_up_for_it() {
    let image = Image::new(&plain(512));
    let start = image.bytes();
    image.run_ok(&["--grow-partition", "label:A:3M"]);
    let device = Loop::attach(&image, 512);
    device.announce(&start, 512);
    assert_eq!(device.run(&["--grow-partition", "label:A:3M"]).code, Some(0));
    assert_eq!(device.known(), in_units(&image.bytes(), 512));
}

fn a_shrunk_partition_is_resized_in_the_kernel() {
    let image = Image::new(&filesystems::mixed());
    let device = Loop::attach(&image, 512);
    device.announce(&image.bytes(), 512);
    let ended = device.run(&["--grow-partition", "label:P3:24M"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(device.known().contains(&(9, 42 * 2048, 24 * 2048)));
    assert_eq!(device.known(), in_units(&image.bytes(), 512));
}

fn a_partition_that_is_open_needs_a_reboot() {
    let image = Image::new(&plain(512));
    let device = Loop::attach(&image, 512);
    device.announce(&image.bytes(), 512);
    let held = File::open(device.node(1)).unwrap();
    let ended = device.run(&["--grow-partition", "label:A:3M", "--preserve-numbers"]);
    assert_eq!(ended.failed(), 3);
    assert!(ended.stderr.contains("the table is on disk; reboot to apply"), "{ended:?}");
    let a = &oracle::agreed(&image.bytes(), 512)[&1];
    assert_eq!((a.first, a.last - a.first + 1), (16384, 6144), "the table is on the disk");
    drop(held);
    let again = device.run(&["--grow-partition", "label:A:3M", "--preserve-numbers"]);
    assert_eq!(again.code, Some(0), "once it is free, the same command tells the kernel: {again:?}");
}

fn a_mounted_partition_is_refused() {
    let image = Image::new(&filesystems::mixed());
    let device = Loop::attach(&image, 512);
    device.announce(&image.bytes(), 512);
    let (node, place) = (device.node(9), temp_dir());
    let place = place.path().to_str().unwrap();
    filesystems::tool("mount", &["-o", "ro,noload", node.to_str().unwrap(), place]);
    let ended = device.run(&["--grow-partition", "label:P3:24M"]);
    let unconcerned = device.run(&["--grow-partition", "label:IMGA:1G", "--dry-run"]);
    filesystems::tool("umount", &[place]);
    assert_eq!(ended.failed(), 2);
    assert!(ended.stderr.contains(&format!("partition 9 is in use (mounted on {place})")), "{ended:?}");
    assert_eq!(unconcerned.failed(), 1);
    assert!(image.bytes() == filesystems::mixed());
}

fn a_read_only_device_is_refused() {
    let image = Image::new(&plain(512));
    let device = Loop::attach_as(&image, 512, &["--read-only"]);
    let ended = device.run(&["--grow-partition", "label:A:3M"]);
    assert_eq!(ended.failed(), 2);
    assert!(ended.stderr.ends_with("is read-only\n"), "{ended:?}");
    assert!(image.bytes() == plain(512));
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
    let cases: [(&str, fn()); 6] = [
        ("the_kernel_is_told_what_changed", the_kernel_is_told_what_changed),
        (
            "a_run_that_was_killed_before_it_told_the_kernel_makes_up_for_it",
            a_run_that_was_killed_before_it_told_the_kernel_makes_up_for_it,
        ),
        ("a_shrunk_partition_is_resized_in_the_kernel", a_shrunk_partition_is_resized_in_the_kernel),
        ("a_partition_that_is_open_needs_a_reboot", a_partition_that_is_open_needs_a_reboot),
        ("a_mounted_partition_is_refused", a_mounted_partition_is_refused),
        ("a_read_only_device_is_refused", a_read_only_device_is_refused),
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
