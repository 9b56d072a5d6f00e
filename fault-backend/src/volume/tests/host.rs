//! The same mutations by path, in a directory of the host.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, symlink};

use nix::fcntl::{AT_FDCWD, FallocateFlags, RenameFlags, fallocate, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{getegid, geteuid, mkfifo};
use proptest::prelude::*;

use super::super::*;
use super::{NOW, check};

/// A mutation that names its inodes by path.
#[derive(Clone, Debug)]
pub enum Step {
    Write { path: String, at: u64, len: usize, value: u8 },
    Truncate { path: String, len: u64 },
    Punch { path: String, at: u64, len: u64 },
    Create(String),
    Mkdir(String),
    Symlink { path: String, target: String },
    Fifo(String),
    Link { from: String, to: String },
    Unlink(String),
    Rmdir(String),
    Rename { from: String, to: String, mode: RenameMode },
    Chmod { path: String, mode: u32 },
    SetXattr { path: String, name: String, value: u8, mode: XattrMode },
    RemoveXattr { path: String, name: String },
}

fn any_path() -> impl Strategy<Value = String> {
    // Few names, so that steps meet.
    prop_oneof![3 => "[abc]", 3 => "[abc]/[abc]", 1 => "[abc]/[abc]/[abc]"]
}

pub fn any_step() -> impl Strategy<Value = Step> {
    let rename = prop::sample::select(vec![RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange]);
    let xattr = prop::sample::select(vec![XattrMode::Any, XattrMode::Create, XattrMode::Replace]);
    let name = "user\\.[xy]";
    prop_oneof![
        2 => (any_path(), 0..9000u64, 1..6000usize, 0..3u8)
            .prop_map(|(path, at, len, value)| Step::Write { path, at, len, value }),
        1 => (any_path(), 0..9000u64).prop_map(|(path, len)| Step::Truncate { path, len }),
        1 => (any_path(), 0..9000u64, 1..9000u64).prop_map(|(path, at, len)| Step::Punch { path, at, len }),
        3 => any_path().prop_map(Step::Create),
        4 => any_path().prop_map(Step::Mkdir),
        1 => (any_path(), "[abc/.]{1,4}").prop_map(|(path, target)| Step::Symlink { path, target }),
        1 => any_path().prop_map(Step::Fifo),
        2 => (any_path(), any_path()).prop_map(|(from, to)| Step::Link { from, to }),
        2 => any_path().prop_map(Step::Unlink),
        2 => any_path().prop_map(Step::Rmdir),
        4 => (any_path(), any_path(), rename).prop_map(|(from, to, mode)| Step::Rename { from, to, mode }),
        1 => (any_path(), 0..0o2000u32).prop_map(|(path, mode)| Step::Chmod { path, mode: mode | 0o700 }),
        1 => (any_path(), name, any::<u8>(), xattr)
            .prop_map(|(path, name, value, mode)| Step::SetXattr { path, name, value, mode }),
        1 => (any_path(), name).prop_map(|(path, name)| Step::RemoveXattr { path, name }),
    ]
}

fn owned(mode: u32) -> Owned {
    Owned { mode, uid: geteuid().as_raw(), gid: getegid().as_raw() }
}

/// The directory and name of a path whose directory is there.
fn home(volume: &Volume, path: &str) -> Option<(Ino, OsString)> {
    let path = Path::new(path);
    let parent = volume.resolve(path.parent()?).filter(|ino| volume.entries(*ino).is_some())?;
    Some((parent, path.file_name()?.to_owned()))
}

/// A file or directory; the host follows symbolic links where a volume does not.
fn plain(volume: &Volume, path: &str) -> Option<Ino> {
    let ino = volume.resolve(Path::new(path))?;
    matches!(volume.node(ino)?.kind, NodeKind::File(_) | NodeKind::Dir(_)).then_some(ino)
}

impl Step {
    /// The mutation, where all its directories are there.
    pub fn mutation(&self, volume: &Volume) -> Option<Mutation> {
        let make = |path: &str| home(volume, path);
        Some(match self {
            Self::Write { path, at, len, value } => {
                Mutation::Write { ino: plain(volume, path)?, offset: *at, data: vec![*value; *len].into() }
            }
            Self::Truncate { path, len } => Mutation::Truncate { ino: plain(volume, path)?, len: *len },
            Self::Punch { path, at, len } => {
                Mutation::Punch { ino: plain(volume, path)?, range: *at..at + len }
            }
            Self::Create(path) => {
                let (parent, name) = make(path)?;
                Mutation::Create { parent, name, owned: owned(0o640) }
            }
            Self::Mkdir(path) => {
                let (parent, name) = make(path)?;
                Mutation::Mkdir { parent, name, owned: owned(0o750) }
            }
            Self::Symlink { path, target } => {
                let (parent, name) = make(path)?;
                Mutation::Symlink { parent, name, target: target.into(), owned: owned(0o777) }
            }
            Self::Fifo(path) => {
                let (parent, name) = make(path)?;
                Mutation::Mknod { parent, name, special: Special::Fifo, owned: owned(0o600) }
            }
            Self::Link { from, to } => {
                let (parent, name) = make(to)?;
                Mutation::Link { ino: volume.resolve(Path::new(from))?, parent, name }
            }
            Self::Unlink(path) => {
                let (parent, name) = make(path)?;
                Mutation::Unlink { parent, name }
            }
            Self::Rmdir(path) => {
                let (parent, name) = make(path)?;
                Mutation::Rmdir { parent, name }
            }
            Self::Rename { from, to, mode } => {
                let ((from, from_name), (to, to_name)) = (make(from)?, make(to)?);
                Mutation::Rename { from, from_name, to, to_name, mode: *mode }
            }
            Self::Chmod { path, mode } => Mutation::SetAttr {
                ino: plain(volume, path)?,
                set: SetAttr { mode: Some(*mode), ..SetAttr::default() },
            },
            Self::SetXattr { path, name, value, mode } => Mutation::SetXattr {
                ino: plain(volume, path)?,
                name: name.into(),
                value: vec![*value; 3].into(),
                mode: *mode,
            },
            Self::RemoveXattr { path, name } => {
                Mutation::RemoveXattr { ino: plain(volume, path)?, name: name.into() }
            }
        })
    }

    /// The same, done by the host.
    fn on_host(&self, top: &Path) -> io::Result<()> {
        let open = |path: &str| OpenOptions::new().write(true).open(top.join(path));
        match self {
            Self::Write { path, at, len, value } => open(path)?.write_all_at(&vec![*value; *len], *at),
            Self::Truncate { path, len } => open(path)?.set_len(*len),
            Self::Punch { path, at, len } => {
                let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                Ok(fallocate(open(path)?, flags, *at as i64, *len as i64)?)
            }
            Self::Create(path) => {
                OpenOptions::new().write(true).create_new(true).mode(0o640).open(top.join(path)).map(drop)
            }
            Self::Mkdir(path) => DirBuilder::new().mode(0o750).create(top.join(path)),
            Self::Symlink { path, target } => symlink(target, top.join(path)),
            Self::Fifo(path) => Ok(mkfifo(&top.join(path), Mode::from_bits_truncate(0o600))?),
            Self::Link { from, to } => fs::hard_link(top.join(from), top.join(to)),
            Self::Unlink(path) => fs::remove_file(top.join(path)),
            Self::Rmdir(path) => fs::remove_dir(top.join(path)),
            Self::Rename { from, to, mode } => {
                let flags = match mode {
                    RenameMode::Replace => RenameFlags::empty(),
                    RenameMode::NoReplace => RenameFlags::RENAME_NOREPLACE,
                    RenameMode::Exchange => RenameFlags::RENAME_EXCHANGE,
                };
                Ok(renameat2(AT_FDCWD, &top.join(from), AT_FDCWD, &top.join(to), flags)?)
            }
            Self::Chmod { path, mode } => fs::set_permissions(top.join(path), Permissions::from_mode(*mode)),
            Self::SetXattr { path, name, value, mode } => {
                let path = top.join(path);
                match (mode, xattr::get(&path, name)?) {
                    (XattrMode::Create, Some(_)) => Err(Errno::EEXIST.into()),
                    (XattrMode::Replace, None) => Err(Errno::ENODATA.into()),
                    _ => xattr::set(path, name, &[*value; 3]),
                }
            }
            Self::RemoveXattr { path, name } => xattr::remove(top.join(path), name),
        }
    }
}

/// Runs the steps on both sides; answers and what is left must be the same.
pub fn compare(steps: &[Step]) {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    DirBuilder::new().mode(0o755).create(&top).unwrap();
    let mut volume = Volume::import(&top).unwrap();
    for step in steps {
        let Some(mutation) = step.mutation(&volume) else { continue };
        let ours = volume.apply(&mutation, NOW).map(drop);
        let theirs = step.on_host(&top).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)));
        assert_eq!(ours, theirs, "{step:?} of {steps:?}");
        check(&volume);
    }
    volume.drop_orphans();
    let left = Volume::import(&top).unwrap();
    check(&left);
    assert_eq!(volume.diff(&left).unwrap(), [], "{steps:?}");
    assert_eq!(volume.content_id(), left.content_id());
    let copy = dir.path().join("copy");
    volume.export(&copy).unwrap();
    let again = Volume::import(&copy).unwrap();
    assert_eq!(volume.content_id(), again.content_id(), "exported and read back");
    let times = |volume: &Volume| {
        volume
            .walk()
            .filter_map(|(path, ino)| volume.node(ino).map(|node| (path, node.attr.mtime)))
            .collect::<Vec<_>>()
    };
    assert_eq!(times(&volume), times(&again), "times are kept");
}
