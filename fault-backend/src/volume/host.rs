//! Volumes from directories of the host, and back.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::mkfifo;

use super::node::{Attr, Entries, Ino, Node, NodeKind, Timestamp};
use super::{Owned, Volume};
use crate::image::{Base, Image};

/// Files up to this length are read into memory; of longer ones the file is held open.
const READ_WHOLE_BYTES: u64 = 256 << 10;

/// Something on the host could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A host's file or directory.
    #[error("`{}` can't be read or made", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A device, which is no part of a volume.
    #[error("`{}` is a device", path.display())]
    Device {
        /// Which.
        path: PathBuf,
    },
}

impl HostError {
    fn io<E: Into<io::Error>>(path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { path: path.to_owned(), source: source.into() }
    }
}

impl From<HostError> for io::Error {
    fn from(error: HostError) -> Self {
        let kind = match &error {
            HostError::Io { source, .. } => source.kind(),
            HostError::Device { .. } => io::ErrorKind::Unsupported,
        };
        Self::new(kind, error)
    }
}

impl Volume {
    /// Reads a directory of the host with all that is below it, attributes, links and times included. Large files stay
    /// on the host, held open, and must not change as long as the volume or a clone is in use.
    pub fn import(dir: &Path) -> Result<Self, HostError> {
        let mut volume = Self::new();
        let metadata = fs::metadata(dir).map_err(HostError::io(dir))?;
        volume.take_attributes(Ino::ROOT, dir, &metadata)?;
        let mut seen: HashMap<(u64, u64), Ino> = HashMap::new();
        let mut waiting = vec![(dir.to_owned(), Ino::ROOT)];
        while let Some((dir, parent)) = waiting.pop() {
            for name in sorted_names(&dir)? {
                let path = dir.join(&name);
                let metadata = fs::symlink_metadata(&path).map_err(HostError::io(&path))?;
                let key = (metadata.dev(), metadata.ino());
                let known = seen.get(&key).copied().filter(|_| metadata.nlink() > 1 && !metadata.is_dir());
                let ino = match known {
                    Some(ino) => ino,
                    None => {
                        let kind = read_kind(&path, &metadata)?;
                        let attr = Attr::of(Owned::default(), Timestamp::default());
                        let ino = volume.insert_node(Node { attr, kind, home: (parent, name.clone()) });
                        seen.insert(key, ino);
                        ino
                    }
                };
                let time = Timestamp::default();
                let added = volume.add_name(parent, &name, ino, time);
                added.map_err(HostError::io(&path))?;
                volume.take_attributes(ino, &path, &metadata)?;
                if metadata.is_dir() {
                    waiting.push((path, ino));
                }
            }
            // Adding the entries changed the directory's times.
            let metadata = fs::symlink_metadata(&dir).map_err(HostError::io(&dir))?;
            volume.take_times(parent, &metadata).map_err(HostError::io(&dir))?;
        }
        Ok(volume)
    }

    /// Writes everything into a directory of the host, which is made where it does not exist, and gets the root's
    /// attributes. Names that exist there already are an error. Holes stay holes. Owners are set only where they
    /// differ, so that it needs privileges only for that.
    pub fn export(&self, dir: &Path) -> Result<(), HostError> {
        let mut written: Vec<(PathBuf, &Node)> = Vec::new();
        let mut first: HashMap<Ino, PathBuf> = HashMap::new();
        for (path, ino) in self.walk() {
            let Some(node) = self.node(ino) else { continue };
            let path = if ino == Ino::ROOT { dir.to_owned() } else { dir.join(path) };
            match first.get(&ino) {
                Some(earlier) => fs::hard_link(earlier, &path).map_err(HostError::io(&path))?,
                None => {
                    write_kind(&path, node, ino == Ino::ROOT).map_err(HostError::io(&path))?;
                    if !node.is_dir() && node.attr.nlink > 1 {
                        first.insert(ino, path.clone());
                    }
                    written.push((path, node));
                }
            }
        }
        // The deepest first, so that a directory's times are set when nothing in it changes any more.
        for (path, node) in written.iter().rev() {
            write_attributes(path, node).map_err(HostError::io(path))?;
        }
        Ok(())
    }

    fn take_attributes(&mut self, ino: Ino, path: &Path, metadata: &Metadata) -> Result<(), HostError> {
        self.take_times(ino, metadata).map_err(HostError::io(path))?;
        let attr = &mut self.node_mut(ino).map_err(HostError::io(path))?.attr;
        attr.mode = metadata.mode() & 0o7777;
        attr.uid = metadata.uid();
        attr.gid = metadata.gid();
        for (name, value) in read_xattrs(path).map_err(HostError::io(path))? {
            attr.xattrs.insert(name, value.into());
        }
        Ok(())
    }

    fn take_times(&mut self, ino: Ino, metadata: &Metadata) -> io::Result<()> {
        let time = |secs, nanos: i64| Timestamp { secs, nanos: nanos as u32 };
        let attr = &mut self.node_mut(ino)?.attr;
        attr.atime = time(metadata.atime(), metadata.atime_nsec());
        attr.mtime = time(metadata.mtime(), metadata.mtime_nsec());
        attr.ctime = time(metadata.ctime(), metadata.ctime_nsec());
        Ok(())
    }
}

/// The names in a directory, sorted, so that inode numbers do not follow the host's order.
fn sorted_names(dir: &Path) -> Result<Vec<OsString>, HostError> {
    let names = fs::read_dir(dir).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
    });
    let mut names = names.map_err(HostError::io(dir))?;
    names.sort_unstable();
    Ok(names)
}

fn read_kind(path: &Path, metadata: &Metadata) -> Result<NodeKind, HostError> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        Ok(NodeKind::Dir(Entries::new()))
    } else if kind.is_symlink() {
        let target = fs::read_link(path).map_err(HostError::io(path))?;
        Ok(NodeKind::Symlink(target.into()))
    } else if kind.is_fifo() {
        Ok(NodeKind::Fifo)
    } else if kind.is_socket() {
        Ok(NodeKind::Socket)
    } else if kind.is_file() {
        read_image(path, metadata.len()).map(NodeKind::File).map_err(HostError::io(path))
    } else {
        Err(HostError::Device { path: path.to_owned() })
    }
}

fn read_image(path: &Path, len_bytes: u64) -> io::Result<Image> {
    if len_bytes > READ_WHOLE_BYTES {
        return Ok(Image::over(Arc::new(Base::open(File::open(path)?)?)));
    }
    let bytes = fs::read(path)?;
    let mut image = Image::new(0);
    image.write_at(0, &bytes)?;
    Ok(image)
}

fn read_xattrs(path: &Path) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let names = match xattr::list(path) {
        // A file system that knows none.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(Vec::new()),
        names => names?,
    };
    let mut list = Vec::new();
    for name in names {
        if let Some(value) = xattr::get(path, &name)? {
            list.push((name, value));
        }
    }
    Ok(list)
}

fn write_kind(path: &Path, node: &Node, is_root: bool) -> io::Result<()> {
    match &node.kind {
        NodeKind::Dir(_) if is_root && path.is_dir() => Ok(()),
        NodeKind::Dir(_) => fs::create_dir(path),
        NodeKind::File(image) => image.export(&File::create_new(path)?),
        NodeKind::Symlink(target) => symlink(target, path),
        NodeKind::Fifo => Ok(mkfifo(path, Mode::from_bits_truncate(0o600))?),
        NodeKind::Socket => Ok(mknod(path, SFlag::S_IFSOCK, Mode::from_bits_truncate(0o600), 0)?),
    }
}

fn write_attributes(path: &Path, node: &Node) -> io::Result<()> {
    let attr = &node.attr;
    let now = fs::symlink_metadata(path)?;
    if (now.uid(), now.gid()) != (attr.uid, attr.gid) {
        lchown(path, Some(attr.uid), Some(attr.gid))?;
    }
    for (name, value) in &attr.xattrs {
        xattr::set(path, name, value)?;
    }
    if !matches!(node.kind, NodeKind::Symlink(_)) {
        fs::set_permissions(path, Permissions::from_mode(attr.mode))?;
    }
    let time = |at: Timestamp| TimeSpec::new(at.secs, i64::from(at.nanos));
    utimensat(AT_FDCWD, path, &time(attr.atime), &time(attr.mtime), UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}
