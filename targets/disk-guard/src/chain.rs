//! The backing chain of a qcow2 overlay: every file that it needs, down to the one that has no backing file itself.
//!
//! Headers are read by `imago`, which opens no other file on the way. Names mean what they mean to QEMU (qcow2
//! specification, "Backing file name"; QEMU's `path_has_protocol` and `path_combine`): a relative one counts from the
//! folder of the image that has it. A chain that can't be read to its end is an error, never a shorter chain.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use imago::file::File as ImageFile;
use imago::qcow2::Qcow2;
use imago::storage::StorageOpenOptions;

/// Most files in a chain, the overlay included; a longer one counts as unreadable.
pub const MAX_LINKS: usize = 128;

/// First bytes of a qcow2 image.
const QCOW2_MAGIC: &[u8] = b"QFI\xfb";

/// First bytes of other formats that can have a parent, which QEMU would look for where no format is declared: QED, VMDK
/// (sparse, ESX, descriptor), VHD, VHDX.
const OTHER_PARENTED: &[&[u8]] = &[b"QED\0", b"KDMV", b"COWD", b"# Disk Descript", b"conectix", b"vhdxfile"];

/// A file that a chain reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its canonical path.
    pub path: PathBuf,
    /// Device and inode number.
    pub id: (u64, u64),
}

/// Why a chain can't be read to its end. What it might need beyond that is not known.
#[derive(Debug, thiserror::Error)]
#[error("the backing chain of `{}` can't be read to its end: `{}` {reason}", overlay.display(), at.display())]
pub struct ChainError {
    /// The overlay that it begins with.
    pub overlay: PathBuf,
    /// The file that it breaks off at.
    pub at: PathBuf,
    /// Why there.
    #[source]
    pub reason: Break,
}

/// Why a chain breaks off at a file.
#[derive(Debug, thiserror::Error)]
pub enum Break {
    /// It can't be opened or read, or its header is broken.
    #[error("can't be read")]
    Unreadable(#[source] io::Error),
    /// A directory, a pipe or the like.
    #[error("is neither a file nor a block device")]
    NoFile,
    /// It was reached before.
    #[error("is its own backing file")]
    Cycle,
    /// There are too many files before it.
    #[error("comes after {MAX_LINKS} others, which is the most that is followed")]
    TooDeep,
    /// It should be a qcow2 image and is none.
    #[error("is no qcow2 image, though declared as one")]
    NotQcow2,
    /// It is of a format that is not followed.
    #[error("is of format `{0}`, which is not followed")]
    Format(String),
    /// Its backing file has a name that says nothing about where it is.
    #[error("has the backing file name `{0}`, which can't be resolved")]
    Name(String),
    /// The folder that its backing file's name counts from depends on which of its own names is used.
    #[error("is a link to another folder, so its relative backing file name `{0}` has two meanings")]
    TwoMeanings(String),
    /// Its data lies in a file that it doesn't name.
    #[error("keeps its data in another file without naming it")]
    NamelessData,
}

/// A file to look at next, and its format where the file above declares one.
struct Next {
    path: PathBuf,
    format: Option<String>,
}

/// Every file that an overlay needs, the overlay first, an external data file after the image that has it.
pub fn read(overlay: &Path) -> Result<Vec<Link>, ChainError> {
    let mut links: Vec<Link> = Vec::new();
    let mut seen = HashSet::new();
    let mut next = Some(Next { path: overlay.to_owned(), format: Some("qcow2".to_owned()) });
    while let Some(at) = next {
        let broken = |reason| ChainError { overlay: overlay.to_owned(), at: at.path.clone(), reason };
        if links.len() >= MAX_LINKS {
            return Err(broken(Break::TooDeep));
        }
        let (link, file) = open(&at.path).map_err(broken)?;
        if !seen.insert(link.id) {
            return Err(broken(Break::Cycle));
        }
        next = below(&at, &link, file, &mut links).map_err(broken)?;
    }
    Ok(links)
}

fn open(path: &Path) -> Result<(Link, File), Break> {
    let canonical = fs::canonicalize(path).map_err(Break::Unreadable)?;
    // Opening a pipe would wait for its other end.
    let kind = fs::metadata(&canonical).map_err(Break::Unreadable)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(Break::NoFile);
    }
    let file = File::open(&canonical).map_err(Break::Unreadable)?;
    let metadata = file.metadata().map_err(Break::Unreadable)?;
    Ok((Link { path: canonical, id: (metadata.dev(), metadata.ino()) }, file))
}

/// Adds the file, and an external data file of it, to the chain; answers what backs it.
fn below(at: &Next, link: &Link, file: File, links: &mut Vec<Link>) -> Result<Option<Next>, Break> {
    links.push(link.clone());
    let head = head(&file).map_err(Break::Unreadable)?;
    let is_qcow2 = head.starts_with(QCOW2_MAGIC);
    match at.format.as_deref() {
        Some("qcow2") if !is_qcow2 => return Err(Break::NotQcow2),
        Some("qcow2") => {}
        // Declared as raw, it has no backing file whatever it holds.
        Some("raw" | "file" | "host_device") => return Ok(None),
        Some(other) => return Err(Break::Format(other.to_owned())),
        None if is_qcow2 => {}
        None => {
            return match OTHER_PARENTED.iter().find(|magic| head.starts_with(magic)) {
                Some(magic) => Err(Break::Format(magic.escape_ascii().to_string())),
                None => Ok(None),
            };
        }
    }
    let options = StorageOpenOptions::new().filename(&link.path);
    let image = ImageFile::from_open_file(file, options)
        .and_then(|file| Qcow2::<ImageFile>::open_image(file, false))
        .map_err(Break::Unreadable)?;
    if image.requires_external_data_file() {
        let name = image.implicit_external_data_file().ok_or(Break::NamelessData)?;
        let (data, _) = open(&resolved(name, at, link)?)?;
        links.push(data);
    }
    let Some(name) = image.implicit_backing_file() else { return Ok(None) };
    Ok(Some(Next { path: resolved(name, at, link)?, format: image.implicit_backing_format().cloned() }))
}

/// The first bytes of a file; zeros beyond its end.
fn head(file: &File) -> io::Result<[u8; 16]> {
    let mut head = [0; 16];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64)? {
            0 => break,
            len => filled += len,
        }
    }
    Ok(head)
}

/// Where the name that a file has in its header leads to.
fn resolved(name: &str, at: &Next, link: &Link) -> Result<PathBuf, Break> {
    let unknown = || Break::Name(name.escape_debug().to_string());
    if name.is_empty() || name.contains('\0') {
        return Err(unknown());
    }
    // A colon before the first slash ends a protocol's name. Behind `file:` QEMU takes a relative path from its own
    // working directory, which nobody knows here.
    let protocol = name.split('/').next().and_then(|start| start.split_once(':'));
    let path = match protocol {
        None => Path::new(name),
        Some(("file", _)) => Path::new(&name["file:".len()..]),
        Some(_) => return Err(unknown()),
    };
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    if protocol.is_some() {
        return Err(unknown());
    }
    // QEMU counts from the name by which it knows the image, others from where the image is.
    let real = link.path.parent().unwrap_or(Path::new("/"));
    let named = match at.path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if fs::canonicalize(named).map_err(Break::Unreadable)? != real {
        return Err(Break::TwoMeanings(name.to_owned()));
    }
    Ok(real.join(path))
}
