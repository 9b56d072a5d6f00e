//! Trees whose content is made up, images of them, and the readers written by others that judge an image.

#![allow(dead_code, reason = "each test uses a part")]

pub mod content;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use content::{Content, MadeUp};
use ext4_view::{Ext4, FileType};
use ext4_writer::{FileData, Kind, Meta, NodeId, Options, Plan, Summary, Time, Tree};

pub const MIB: u64 = 1 << 20;

pub fn meta(mode: u16) -> Meta {
    let mtime = Time { seconds: 1_700_000_000, nanoseconds: 123_456_789 };
    Meta { mode, mtime, ..Meta::default() }
}

/// What a path of an image has to hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    File(Content),
    Symlink(Vec<u8>),
}

/// A tree that is being made, with its content.
pub struct Made {
    pub tree: Tree,
    pub contents: MadeUp,
}

impl Made {
    pub fn new() -> Self {
        Self { tree: Tree::new(meta(0o755)), contents: MadeUp::default() }
    }

    /// `count` files of `len` bytes each, a hundred in a folder.
    pub fn files(count: usize, len: u64) -> Self {
        let mut made = Self::new();
        let mut folder = made.tree.root();
        for number in 0..count {
            if number % 100 == 0 {
                let name = format!("folder-{}", number / 100);
                folder =
                    made.tree.add(made.tree.root(), name.as_bytes(), meta(0o755), Kind::Directory).unwrap();
            }
            made.file(folder, &format!("file-{number}"), len);
        }
        made
    }

    pub fn file(&mut self, parent: NodeId, name: &str, len: u64) -> NodeId {
        self.add(parent, name, meta(0o644), len, None)
    }

    pub fn add(
        &mut self,
        parent: NodeId,
        name: &str,
        meta: Meta,
        len: u64,
        data: Option<Vec<Range<u64>>>,
    ) -> NodeId {
        let number = self.contents.0.len() as u64;
        let file = match &data {
            Some(ranges) => FileData::sparse(len, number, ranges.iter().cloned()),
            None => FileData::whole(len, number),
        };
        self.contents.0.push(Content { seed: number + 1, len, data });
        self.tree.add(parent, name.as_bytes(), meta, Kind::File(file)).unwrap()
    }

    /// What an image of it has to hold: files and symlinks by path.
    pub fn expected(&self) -> BTreeMap<PathBuf, Expected> {
        let mut expected = BTreeMap::new();
        let mut waiting = vec![(self.tree.root(), PathBuf::from("/"))];
        while let Some((folder, path)) = waiting.pop() {
            for (name, id) in self.tree.children(folder) {
                let path = path.join(std::ffi::OsStr::from_bytes(name));
                match self.tree.kind(id) {
                    Kind::Directory => waiting.push((id, path)),
                    Kind::File(data) => {
                        let content = self.contents.0[data.content() as usize].clone();
                        expected.insert(path, Expected::File(content));
                    }
                    Kind::Symlink(target) => {
                        expected.insert(path, Expected::Symlink(target.clone()));
                    }
                    _ => {}
                }
            }
        }
        expected
    }
}

/// An image and the folder that it lies in.
pub struct Image {
    pub folder: tempfile::TempDir,
    pub path: PathBuf,
    pub summary: Summary,
}

pub fn write(made: Made, options: &Options) -> Image {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.ext4");
    let plan = Plan::new(made.tree, options).unwrap_or_else(|error| panic!("{error}"));
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    let summary = plan.write(&made.contents, &file).unwrap_or_else(|error| panic!("{error}"));
    Image { folder, path, summary }
}

/// Writes a tree and has it checked and read back.
pub fn write_and_judge(made: Made, options: &Options) -> Image {
    let expected = made.expected();
    let image = write(made, options);
    assert_is_clean(&image.path);
    assert_holds(&image.path, &expected);
    image
}

/// A program of e2fsprogs, which these tests can't do without.
pub fn tool(program: &str, args: &[&str]) -> (Option<i32>, String) {
    let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    let found = folders.map(|folder| Path::new(folder).join(program)).into_iter().find(|path| path.exists());
    let path = found.unwrap_or_else(|| panic!("`{program}` is not installed (Debian package e2fsprogs)"));
    let output = Command::new(path).args(args).env("LC_ALL", "C").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// What debugfs answers to a request.
pub fn debugfs(image: &Path, request: &str) -> String {
    tool("debugfs", &["-R", request, image.to_str().unwrap()]).1
}

pub fn assert_is_clean(image: &Path) {
    let (code, said) = tool("e2fsck", &["-fn", image.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
}

/// Reads everything by a reader that shares no code with the writer.
pub fn assert_holds(image: &Path, expected: &BTreeMap<PathBuf, Expected>) {
    let ext4 = Ext4::load_from_path(image).unwrap();
    let mut found = 0;
    let mut waiting = vec![PathBuf::from("/")];
    while let Some(folder) = waiting.pop() {
        for entry in ext4.read_dir(folder.as_os_str().as_bytes()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if [&b"."[..], b".."].contains(&name.as_ref()) {
                continue;
            }
            let path = folder.join(std::ffi::OsStr::from_bytes(name.as_ref()));
            let bytes = path.as_os_str().as_bytes();
            match (entry.file_type().unwrap(), expected.get(&path)) {
                (FileType::Directory, None) => waiting.push(path),
                (FileType::Regular, Some(Expected::File(content))) => {
                    content.assert_read_from(ext4.open(bytes).unwrap(), &path);
                    found += 1;
                }
                (FileType::Symlink, Some(Expected::Symlink(target))) => {
                    assert!(ext4.read_link(bytes).unwrap().as_ref() == target, "{path:?}");
                    found += 1;
                }
                (
                    FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice,
                    None,
                ) => {}
                (kind, expected) => panic!("{path:?} is {kind:?}, not {expected:?}"),
            }
        }
    }
    assert_eq!(found, expected.len());
}

/// Bytes that an image takes on its disk.
pub fn allocated(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).unwrap().blocks() * 512
}

/// The digest of a file.
pub fn digest(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return hasher.finalize(),
            read => hasher.update(&buffer[..read]),
        };
    }
}
