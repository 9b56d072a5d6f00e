//! One file, copied: the bytes are the same, holes stay holes, and a fault of the disk gives its errno and no file.
//!
//! Method: the system calls are answered by a table where a file system would have to be made to fail, and by the kernel
//! else. What a file takes is `st_blocks`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use image_tools::copy::{Calls, CopyError, Kernel, Reflink, copy_file};
use nix::errno::Errno;
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

/// The kernel, but for what a test answers by itself.
#[derive(Default)]
struct Faulty {
    clone: Option<Errno>,
    clones_tried: u32,
    /// From the n-th call on, counted from 0.
    seek: Option<(u32, Errno)>,
    seeks: u32,
    read: Option<(u64, Errno)>,
    write: Option<(u64, Errno)>,
}

impl Faulty {
    fn seek_fails(&mut self) -> Result<(), Errno> {
        self.seeks += 1;
        match self.seek {
            Some((from, errno)) if self.seeks > from => Err(errno),
            _ => Ok(()),
        }
    }
}

fn at_offset(fault: Option<(u64, Errno)>, offset: u64, len: usize) -> io::Result<()> {
    match fault {
        Some((from, errno)) if offset + len as u64 > from => Err(errno.into()),
        _ => Ok(()),
    }
}

impl Calls for &mut Faulty {
    fn clone_file(&mut self, source: &File, copy: &File) -> Result<(), Errno> {
        self.clones_tried += 1;
        self.clone.map_or_else(|| Kernel.clone_file(source, copy), Err)
    }
    fn seek_data(&mut self, file: &File, offset: u64) -> Result<u64, Errno> {
        self.seek_fails()?;
        Kernel.seek_data(file, offset)
    }
    fn seek_hole(&mut self, file: &File, offset: u64) -> Result<u64, Errno> {
        self.seek_fails()?;
        Kernel.seek_hole(file, offset)
    }
    fn read_at(&mut self, file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        at_offset(self.read, offset, bytes.len())?;
        Kernel.read_at(file, bytes, offset)
    }
    fn write_at(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        at_offset(self.write, offset, bytes.len())?;
        Kernel.write_at(file, bytes, offset)
    }
}

fn allocated(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

/// A guest's memory: 256 MiB with pieces of data in it.
fn sparse_memory(path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(256 * MIB).unwrap();
    for (place, byte) in [(0, 1_u8), (17 * MIB + 12_345, 2), (100 * MIB, 3), (255 * MIB, 4)] {
        file.write_all_at(&vec![byte; 3 << 18], place).unwrap();
    }
    file.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
}

#[test]
fn a_sparse_file_stays_sparse_whatever_the_file_system_tells_of_its_holes() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("memory");
    sparse_memory(&source);
    let bytes = fs::read(&source).unwrap();
    let seeks: [Option<(u32, Errno)>; 5] = [
        None,
        Some((0, Errno::EINVAL)),
        Some((0, Errno::EOPNOTSUPP)),
        // In the middle: what was copied before is not copied again.
        Some((3, Errno::EINVAL)),
        Some((4, Errno::ENOTTY)),
    ];
    for (number, seek) in seeks.into_iter().enumerate() {
        let copy = dir.path().join(format!("copy-{number}"));
        let mut faulty = Faulty { seek, ..Faulty::default() };
        let mut reflink = Reflink::with_calls(&mut faulty, false);
        copy_file(&source, &copy, &mut reflink).unwrap();
        assert_eq!((reflink.copied_files, reflink.cloned_files), (1, 0));
        assert!(fs::read(&copy).unwrap() == bytes, "{seek:?}");
        let taken = allocated(&copy);
        assert!(taken <= allocated(&source) + 8 * MIB, "{seek:?}: {taken} bytes");
        assert!(taken * 10 < 256 * MIB, "{seek:?}: {taken} bytes");
        assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o7777, 0o640);
        fs::remove_file(&copy).unwrap();
    }
}

#[test]
fn a_disk_that_fails_gives_its_errno_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (source, copy) = (dir.path().join("memory"), dir.path().join("copy"));
    sparse_memory(&source);
    let at = |place, errno| Some((place, errno));
    let cases = [
        ("reading", Faulty { read: at(100 * MIB, Errno::EIO), ..Faulty::default() }, Errno::EIO, &source),
        ("writing", Faulty { write: at(100 * MIB, Errno::EIO), ..Faulty::default() }, Errno::EIO, &copy),
        (
            "a full disk",
            Faulty { write: at(17 * MIB, Errno::ENOSPC), ..Faulty::default() },
            Errno::ENOSPC,
            &copy,
        ),
        ("seeking", Faulty { seek: Some((2, Errno::EIO)), ..Faulty::default() }, Errno::EIO, &source),
        ("a reflink", Faulty { clone: Some(Errno::EIO), ..Faulty::default() }, Errno::EIO, &copy),
        (
            "a reflink on a full disk",
            Faulty { clone: Some(Errno::ENOSPC), ..Faulty::default() },
            Errno::ENOSPC,
            &copy,
        ),
    ];
    for (what, mut faulty, errno, named) in cases {
        let wanted = faulty.clone.is_some();
        let CopyError { at, source: error, .. } =
            copy_file(&source, &copy, &mut Reflink::with_calls(&mut faulty, wanted)).unwrap_err();
        assert_eq!((at.as_path(), error.raw_os_error()), (named.as_path(), Some(errno as i32)), "{what}");
        assert!(!copy.exists(), "{what}");
    }
}

#[test]
fn reflinks_are_off_for_good_once_one_is_not_supported() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("memory");
    fs::write(&source, "abc").unwrap();
    let unsupported = [
        Errno::EINVAL,
        Errno::ENOTSUP,
        Errno::EOPNOTSUPP,
        Errno::EXDEV,
        Errno::ETXTBSY,
        Errno::EISDIR,
        Errno::ENOTTY,
    ];
    for (place, errno) in unsupported.into_iter().enumerate() {
        let mut faulty = Faulty { clone: Some(errno), ..Faulty::default() };
        let mut reflink = Reflink::with_calls(&mut faulty, true);
        for number in 0..3 {
            let copy = dir.path().join(format!("{place}-{number}"));
            copy_file(&source, &copy, &mut reflink).unwrap();
            assert_eq!(fs::read(&copy).unwrap(), b"abc");
        }
        assert!(!reflink.is_tried());
        assert_eq!(reflink.copied_files, 3);
        assert_eq!(faulty.clones_tried, 1, "{errno}");
    }
}

#[test]
fn a_name_that_is_taken_is_an_error_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (source, copy) = (dir.path().join("a"), dir.path().join("b"));
    fs::write(&source, "new").unwrap();
    fs::write(&copy, "old").unwrap();
    let error = copy_file(&source, &copy, &mut Reflink::new(true)).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&copy).unwrap(), b"old");
}

/// Cases of the property; a soak sets more.
fn cases() -> u32 {
    std::env::var("IMAGE_TOOLS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn any_file_is_the_same_when_copied(
        len in 0_u64..6 << 20,
        pieces in prop::collection::vec((0_u64..6 << 20, 1_usize..200_000, any::<u8>()), 0..6),
        seek in prop::option::of((0_u32..8, prop::sample::select(vec![Errno::EINVAL, Errno::EOPNOTSUPP]))),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (source, copy) = (dir.path().join("a"), dir.path().join("b"));
        let file = File::create(&source).unwrap();
        for (place, piece, byte) in &pieces {
            file.write_all_at(&vec![*byte; *piece], *place).unwrap();
        }
        file.set_len(len).unwrap();
        let mut faulty = Faulty { seek, ..Faulty::default() };
        copy_file(&source, &copy, &mut Reflink::with_calls(&mut faulty, false)).unwrap();
        prop_assert!(fs::read(&source).unwrap() == fs::read(&copy).unwrap());
        prop_assert!(allocated(&copy) <= allocated(&source) + (1 << 16));
    }
}
