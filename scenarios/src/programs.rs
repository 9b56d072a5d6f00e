//! External programs: which Debian package has one, and where it is. The system folders are searched besides `PATH`,
//! since an ordinary Debian user has no `/usr/sbin` in it, where the file-system tools live.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Program and Debian package, sorted by program.
const PACKAGES: &[(&str, &str)] = &[
    ("btrfs", "btrfs-progs"),
    ("cfdisk", "fdisk"),
    ("cgdisk", "gdisk"),
    ("cryptsetup", "cryptsetup-bin"),
    ("debugfs", "e2fsprogs"),
    ("dumpe2fs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("e2image", "e2fsprogs"),
    ("e4defrag", "e2fsprogs"),
    ("fatlabel", "dosfstools"),
    ("fatresize", "fatresize"),
    ("fdisk", "fdisk"),
    ("fsck.f2fs", "f2fs-tools"),
    ("fsck.fat", "dosfstools"),
    ("fusermount3", "fuse3"),
    ("gdisk", "gdisk"),
    ("growpart", "cloud-guest-utils"),
    ("losetup", "mount"),
    ("lvm", "lvm2"),
    ("mattrib", "mtools"),
    ("mcopy", "mtools"),
    ("mdadm", "mdadm"),
    ("mdir", "mtools"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.f2fs", "f2fs-tools"),
    ("mkfs.fat", "dosfstools"),
    ("mkfs.ntfs", "ntfs-3g"),
    ("mkfs.vfat", "dosfstools"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkntfs", "ntfs-3g"),
    ("mksquashfs", "squashfs-tools"),
    ("mkswap", "util-linux"),
    ("mount", "mount"),
    ("mtype", "mtools"),
    ("ntfscat", "ntfs-3g"),
    ("ntfsclone", "ntfs-3g"),
    ("ntfscp", "ntfs-3g"),
    ("ntfsfix", "ntfs-3g"),
    ("ntfsinfo", "ntfs-3g"),
    ("ntfsresize", "ntfs-3g"),
    ("parted", "parted"),
    ("partprobe", "parted"),
    ("partx", "util-linux"),
    ("perl", "perl-base"),
    ("python3", "python3-minimal"),
    ("qemu-img", "qemu-utils"),
    ("qemu-io", "qemu-utils"),
    ("qemu-nbd", "qemu-utils"),
    ("resize2fs", "e2fsprogs"),
    ("sfdisk", "fdisk"),
    ("sgdisk", "gdisk"),
    ("sqlite3", "sqlite3"),
    ("strace", "strace"),
    ("tar", "tar"),
    ("tune2fs", "e2fsprogs"),
    ("unsquashfs", "squashfs-tools"),
    ("veritysetup", "cryptsetup-bin"),
    ("vgcreate", "lvm2"),
    ("wipefs", "util-linux"),
    ("xfs_db", "xfsprogs"),
    ("xfs_growfs", "xfsprogs"),
    ("xfs_repair", "xfsprogs"),
];

/// The Debian package that has `program`, where it is known.
#[must_use]
pub fn package_of(program: &str) -> Option<&'static str> {
    let found = PACKAGES.binary_search_by_key(&program, |(name, _)| name).ok()?;
    Some(PACKAGES[found].1)
}

/// Where `program` is: in `PATH`, else in `/usr/local/sbin`, `/usr/sbin` or `/sbin`; a name with a slash is a path.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return is_executable(Path::new(program)).then(|| PathBuf::from(program));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    find_in(folders, program)
}

/// Where `program` is: in the first of these folders that has it.
#[must_use]
pub fn find_in(folders: impl IntoIterator<Item = PathBuf>, program: &str) -> Option<PathBuf> {
    folders.into_iter().map(|folder| folder.join(program)).find(|file| is_executable(file))
}

/// What `program` prints when it is run with `flag`, which asks for its version; `None` where it is not installed.
pub(crate) fn version(program: &str, flag: &str) -> Option<Vec<u8>> {
    let output = Command::new(find(program)?).arg(flag).stdin(Stdio::null()).output().ok()?;
    Some([output.stdout, output.stderr].concat())
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_so_that_every_entry_is_found() {
        for (program, package) in PACKAGES {
            assert_eq!(package_of(program), Some(*package));
        }
        assert_eq!(package_of("no-such-program"), None);
    }

    #[test]
    fn a_file_that_is_not_executable_is_no_program() {
        assert!(find("sh").is_some());
        assert!(find("/etc/passwd").is_none());
        assert!(find("no-such-program").is_none());
    }
}
