//! A tree from a tar archive (ustar, pax or GNU, not compressed), which is read twice: once for its headers, and where
//! content lies when the image is written.
//!
//! An archive that contradicts itself or names places outside of the tree is refused: two entries for one path, `..`, a
//! leading slash, a hard link to what has not come yet. Folders that only show in the paths of others get mode 0755.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tar::{Archive, Entry, EntryType};

use self::content::Segment;
pub use self::content::TarFiles;
use crate::time::Time;
use crate::tree::{FileData, Kind, Meta, NodeId, Tree, TreeError};

mod content;

/// A tar archive can't be made a tree.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The archive can't be read or understood.
    #[error("the archive `{archive}` can't be read", archive = archive.display())]
    Read {
        /// The archive.
        archive: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive ends within the content of an entry.
    #[error("the archive ends within `{path}`; it is not complete", path = path.display())]
    Truncated {
        /// Path of the entry.
        path: PathBuf,
    },
    /// A path that leads out of the tree.
    #[error("the entry `{path}` has a path with `..` or a leading slash; make the archive with paths below its top", path = path.display())]
    Outside {
        /// Path of the entry.
        path: PathBuf,
    },
    /// An entry for the top that is no folder.
    #[error("the entry `{path}` stands for the top of the tree and is no folder", path = path.display())]
    Top {
        /// Path of the entry.
        path: PathBuf,
    },
    /// A link to what isn't there.
    #[error(
        "`{path}` is a hard link to `{target}`, which did not come before it in the archive",
        path = path.display(), target = target.display()
    )]
    LinkTarget {
        /// Path of the entry.
        path: PathBuf,
        /// What it links to.
        target: PathBuf,
    },
    /// An entry of a type that has no place in a file system, or of an extension that isn't understood.
    #[error("`{path}` {what}, which is not supported", path = path.display())]
    Unsupported {
        /// Path of the entry.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A node that an image can't hold.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// The tree of an archive. What is no regular file (a pipe) is first copied to a temporary file without a name.
pub fn read(archive: &Path) -> Result<(Tree, TarFiles), TarError> {
    let failed = |source| TarError::Read { archive: archive.to_owned(), source };
    let file = open_seekable(archive).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    let tree = Tree::new(implied_folder());
    let implied = HashSet::from([tree.root()]);
    let mut reader = Reader { tree, contents: Vec::new(), implied, file: &file, len };
    let mut tar = Archive::new(&file);
    for entry in tar.entries_with_seek().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let extensions = Extensions::of(&mut entry).map_err(failed)?;
        reader.entry(&entry, extensions, &failed)?;
    }
    let Reader { tree, contents, .. } = reader;
    Ok((tree, TarFiles::new(file, contents)))
}

fn open_seekable(archive: &Path) -> io::Result<File> {
    let mut file = File::open(archive)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    let mut spool = tempfile::tempfile()?;
    io::copy(&mut file, &mut spool)?;
    io::Seek::rewind(&mut spool)?;
    Ok(spool)
}

fn implied_folder() -> Meta {
    Meta { mode: 0o755, ..Meta::default() }
}

/// What pax records say of an entry, as far as an image has it.
#[derive(Debug, Default)]
struct Extensions {
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Path and bytes of a sparse file, whose own header has others.
    sparse_path: Option<Vec<u8>>,
    sparse_len: Option<u64>,
    /// A record without which the entry would be misunderstood.
    unsupported: Option<String>,
}

impl Extensions {
    fn of<R: io::Read>(entry: &mut Entry<'_, R>) -> io::Result<Self> {
        let mut found = Self::default();
        for record in entry.pax_extensions()?.into_iter().flatten() {
            let record = record?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            let text = std::str::from_utf8(value).unwrap_or_default();
            match key {
                b"uid" => found.uid = text.parse().ok(),
                b"gid" => found.gid = text.parse().ok(),
                b"mtime" => found.mtime = parse_time(text),
                b"GNU.sparse.name" => found.sparse_path = Some(value.to_vec()),
                b"GNU.sparse.realsize" => found.sparse_len = text.parse().ok(),
                b"GNU.sparse.major" if value == b"1" => {}
                b"GNU.sparse.minor" if value == b"0" => {}
                _ if key.starts_with(b"GNU.sparse.") || key.starts_with(b"SCHILY.acl.") => {
                    let name = String::from_utf8_lossy(key);
                    found.unsupported = Some(format!("has the pax record `{name}`"));
                }
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        found.xattrs.insert(name.to_vec(), value.to_vec());
                    }
                }
            }
        }
        Ok(found)
    }
}

/// Decimal seconds with a fraction of any length, which may be negative.
fn parse_time(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    // -1.25 is 2 seconds before 1970 and 0.75 after that.
    Some(match (text.starts_with('-'), nanoseconds) {
        (true, 1..) => Time { seconds: seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
        _ => Time { seconds, nanoseconds },
    })
}

struct Reader<'a> {
    tree: Tree,
    contents: Vec<(u64, Vec<Segment>)>,
    /// Folders that no entry has described yet.
    implied: HashSet<NodeId>,
    file: &'a File,
    len: u64,
}

impl Reader<'_> {
    fn entry<R: io::Read>(
        &mut self,
        entry: &Entry<'_, R>,
        extensions: Extensions,
        failed: &dyn Fn(io::Error) -> TarError,
    ) -> Result<(), TarError> {
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(());
        }
        let bytes = extensions.sparse_path.unwrap_or_else(|| entry.path_bytes().into_owned());
        let path = to_path(&bytes);
        if let Some(what) = extensions.unsupported {
            return Err(TarError::Unsupported { path, what });
        }
        let names = names_of(&bytes).ok_or_else(|| TarError::Outside { path: path.clone() })?;
        let header = entry.header();
        let meta = Meta {
            mode: (header.mode().map_err(failed)? & 0o7777) as u16,
            uid: extensions.uid.map_or_else(|| number(header.uid()), Ok).map_err(failed)?,
            gid: extensions.gid.map_or_else(|| number(header.gid()), Ok).map_err(failed)?,
            mtime: match extensions.mtime {
                Some(time) => time,
                None => Time { seconds: header.mtime().map_err(failed)? as i64, nanoseconds: 0 },
            },
            xattrs: extensions.xattrs,
        };
        // Before ustar, a folder was a file whose name ends with a slash.
        let is_folder = kind.is_dir() || kind.is_file() && bytes.ends_with(b"/");
        let Some((name, folders)) = names.split_last() else {
            if !is_folder {
                return Err(TarError::Top { path });
            }
            return self.describe(self.tree.root(), meta, path);
        };
        let parent = self.folders(folders)?;
        if is_folder {
            return match self.tree.child(parent, name) {
                Some(id) => self.describe(id, meta, path),
                None => Ok(self.tree.add(parent, name, meta, Kind::Directory).map(drop)?),
            };
        }
        if kind.is_hard_link() {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            let found = names_of(&target).and_then(|names| self.find(&names));
            let missing = || TarError::LinkTarget { path, target: to_path(&target) };
            return Ok(self.tree.link(parent, name, found.ok_or_else(missing)?)?);
        }
        let kind = self.kind(entry, kind, extensions.sparse_len, &path, failed)?;
        self.tree.add(parent, name, meta, kind)?;
        Ok(())
    }

    /// Takes an entry's word on a folder that so far only showed in paths.
    fn describe(&mut self, id: NodeId, meta: Meta, path: PathBuf) -> Result<(), TarError> {
        if !self.implied.remove(&id) {
            return Err(TreeError::Twice { path }.into());
        }
        self.tree.set_meta(id, meta);
        Ok(())
    }

    /// The folder of these names, made where it isn't there.
    fn folders(&mut self, names: &[&[u8]]) -> Result<NodeId, TarError> {
        let mut at = self.tree.root();
        for name in names {
            at = match self.tree.child(at, name) {
                Some(child) => child,
                None => {
                    let made = self.tree.add(at, name, implied_folder(), Kind::Directory)?;
                    self.implied.insert(made);
                    made
                }
            };
        }
        Ok(at)
    }

    fn find(&self, names: &[&[u8]]) -> Option<NodeId> {
        names.iter().try_fold(self.tree.root(), |at, name| self.tree.child(at, name))
    }

    fn kind<R: io::Read>(
        &mut self,
        entry: &Entry<'_, R>,
        kind: EntryType,
        sparse_len: Option<u64>,
        path: &Path,
        failed: &dyn Fn(io::Error) -> TarError,
    ) -> Result<Kind, TarError> {
        let header = entry.header();
        let device = || -> io::Result<(u32, u32)> {
            Ok((header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)))
        };
        Ok(match kind {
            EntryType::Regular | EntryType::Continuous => {
                let (start, stored) = (entry.raw_file_position(), entry.size());
                match sparse_len {
                    Some(len) => {
                        let segments = content::pax_map(len, start, stored, self.file).map_err(failed)?;
                        self.sparse_file(len, segments, path)?
                    }
                    None => {
                        let data = FileData::whole(stored, self.contents.len() as u64);
                        self.file(data, vec![Segment { at: 0, len: stored, start }], path)?
                    }
                }
            }
            EntryType::GNUSparse => {
                let (len, segments) =
                    content::sparse_map(header, entry.raw_file_position(), self.file).map_err(failed)?;
                self.sparse_file(len, segments, path)?
            }
            EntryType::Symlink => Kind::Symlink(entry.link_name_bytes().unwrap_or_default().into_owned()),
            EntryType::Char => {
                let (major, minor) = device().map_err(failed)?;
                Kind::CharDevice { major, minor }
            }
            EntryType::Block => {
                let (major, minor) = device().map_err(failed)?;
                Kind::BlockDevice { major, minor }
            }
            EntryType::Fifo => Kind::Fifo,
            other => {
                let what = format!("has the entry type `{}`", char::from(other.as_byte()).escape_default());
                return Err(TarError::Unsupported { path: path.to_owned(), what });
            }
        })
    }

    fn sparse_file(&mut self, len: u64, segments: Vec<Segment>, path: &Path) -> Result<Kind, TarError> {
        let ranges = segments.iter().map(|segment| segment.at..segment.at + segment.len);
        self.file(FileData::sparse(len, self.contents.len() as u64, ranges), segments, path)
    }

    fn file(&mut self, data: FileData, segments: Vec<Segment>, path: &Path) -> Result<Kind, TarError> {
        if segments.iter().any(|segment| segment.start.saturating_add(segment.len) > self.len) {
            return Err(TarError::Truncated { path: path.to_owned() });
        }
        self.contents.push((data.len_bytes(), segments));
        Ok(Kind::File(data))
    }
}

fn number(value: io::Result<u64>) -> io::Result<u32> {
    u32::try_from(value?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The names of a path below the top; none where it leads out of it.
fn names_of(path: &[u8]) -> Option<Vec<&[u8]>> {
    if path.starts_with(b"/") {
        return None;
    }
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.map(|name| (name != b"..").then_some(name)).collect()
}

fn to_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_pax_have_fractions_of_any_length_on_both_sides_of_1970() {
        let time = |seconds, nanoseconds| Some(Time { seconds, nanoseconds });
        for (text, expected) in [
            ("12", time(12, 0)),
            ("12.5", time(12, 500_000_000)),
            ("12.0000000019", time(12, 1)),
            ("-1", time(-1, 0)),
            ("-1.25", time(-2, 750_000_000)),
            ("-0.25", time(-1, 750_000_000)),
            ("x", None),
        ] {
            assert_eq!(parse_time(text), expected, "{text}");
        }
    }

    #[test]
    fn paths_stay_below_the_top() {
        for (path, expected) in [
            ("./a//b/", Some(vec!["a", "b"])),
            ("./", Some(vec![])),
            ("a/../b", None),
            ("/a", None),
            ("..", None),
            ("a..", Some(vec!["a.."])),
        ] {
            let names = names_of(path.as_bytes());
            let expected = expected.map(|names| names.into_iter().map(str::as_bytes).collect::<Vec<_>>());
            assert_eq!(names, expected, "{path}");
        }
    }
}
