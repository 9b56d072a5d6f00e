//! Goal: folders and archives become the trees that they are, and what can't be one is refused by name before there is an
//! image. Method: real folders, archives made by the `tar` crate and by GNU tar, images read back by `ext4-view`.

mod common;

use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Made, allocated, assert_is_clean, debugfs, digest, meta};
use ext4_view::Ext4;
use ext4_writer::{Contents, FileData, Kind, Opened, Options, Plan, Tree, tar_tree, walk};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

fn image(folder: &TempDir, name: &str, tree: Tree, contents: &dyn Contents) -> PathBuf {
    let path = folder.path().join(name);
    let file = File::create_new(&path).unwrap();
    Plan::new(tree, &Options::default()).unwrap().write(contents, &file).unwrap();
    assert_is_clean(&path);
    path
}

fn example(folder: &TempDir) -> PathBuf {
    let top = folder.path().join("tree");
    fs::create_dir_all(top.join("b/deep")).unwrap();
    fs::write(top.join("b/deep/file"), "content of the file").unwrap();
    fs::hard_link(top.join("b/deep/file"), top.join("a-link")).unwrap();
    fs::set_permissions(top.join("b/deep/file"), fs::Permissions::from_mode(0o4711)).unwrap();
    symlink("b/deep", top.join("to-deep")).unwrap();
    let sparse = File::create_new(top.join("sparse")).unwrap();
    sparse.set_len(40 << 20).unwrap();
    sparse.write_all_at(b"in the middle", 20 << 20).unwrap();
    top
}

fn check_example(image: &Path) {
    let ext4 = Ext4::load_from_path(image).unwrap();
    assert_eq!(ext4.read("/b/deep/file").unwrap(), b"content of the file");
    assert_eq!(ext4.read("/to-deep/file").unwrap(), b"content of the file");
    let mut sparse = vec![0; 40 << 20];
    sparse[20 << 20..][..13].copy_from_slice(b"in the middle");
    assert!(ext4.read("/sparse").unwrap() == sparse);
    assert!(allocated(image) < 1 << 20, "holes are kept");
    let said = debugfs(image, "stat /a-link");
    assert!(said.contains("Links: 2") && said.contains("Mode:  04711"), "{said}");
}

#[test]
fn a_folder_becomes_an_image_with_links_modes_and_holes() {
    let folder = tempfile::tempdir().unwrap();
    let top = example(&folder);
    let (tree, files) = walk::walk(&top).unwrap();
    let first = image(&folder, "first", tree, &files);
    check_example(&first);
    let (tree, files) = walk::walk(&top).unwrap();
    assert_eq!(digest(&image(&folder, "second", tree, &files)), digest(&first));
}

#[test]
fn archives_of_gnu_tar_become_an_image_with_links_modes_and_holes() {
    let folder = tempfile::tempdir().unwrap();
    let top = example(&folder);
    for (name, options) in [
        ("gnu", &["--format=gnu", "--sparse"][..]),
        ("pax", &["--format=pax", "--sparse", "--xattrs"]),
        ("dense", &["--format=pax"]),
    ] {
        let archive = folder.path().join(name).with_extension("tar");
        let status =
            Command::new("tar").args(options).arg("-cf").arg(&archive).arg("-C").arg(&top).arg(".").status();
        assert!(status.unwrap().success());
        let (tree, files) = tar_tree::read(&archive).unwrap();
        let path = image(&folder, name, tree, &files);
        if name != "dense" {
            check_example(&path);
        }
        assert_eq!(
            Ext4::load_from_path(&path).unwrap().read("/b/deep/file").unwrap(),
            b"content of the file"
        );
    }
}

#[test]
fn maps_of_many_holes_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("tree");
    fs::create_dir(&top).unwrap();
    let file = File::create_new(top.join("many")).unwrap();
    for piece in 0..60 {
        file.write_all_at(&[piece as u8 + 1; 4096], piece * (64 << 10)).unwrap();
    }
    for format in ["gnu", "pax"] {
        let archive = folder.path().join(format).with_extension("tar");
        let mut tar = Command::new("tar");
        tar.args([&format!("--format={format}"), "--sparse", "-cf"])
            .arg(&archive)
            .arg("-C")
            .arg(&top)
            .arg(".");
        assert!(tar.status().unwrap().success());
        let (tree, files) = tar_tree::read(&archive).unwrap();
        let path = image(&folder, format, tree, &files);
        let found = Ext4::load_from_path(&path).unwrap().read("/many").unwrap();
        assert!(found == fs::read(top.join("many")).unwrap(), "{format}");
        assert!(allocated(&path) < 1 << 20, "{format}");
    }
}

/// An archive of entries with these paths, types and link names.
fn archive(folder: &TempDir, entries: &[(&str, EntryType, &str)]) -> PathBuf {
    let path = folder.path().join("made.tar");
    let mut builder = Builder::new(File::create(&path).unwrap());
    for (name, kind, link) in entries {
        let mut header = Header::new_gnu();
        // Set raw, since the crate refuses to write some of what has to be refused here.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o640);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(1_600_000_000);
        let content: &[u8] = if kind.is_file() { b"content" } else { b"" };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap();
    path
}

#[test]
fn archives_that_contradict_themselves_are_refused_by_name() {
    use EntryType::{Directory, Link, Regular, Symlink};
    for (entries, message) in [
        (
            &[("a", Regular, ""), ("./a", Regular, "")][..],
            "`/a` is there twice; an image can hold one of them",
        ),
        (
            &[("a/", Directory, ""), ("a/", Directory, "")],
            "`a/` is there twice; an image can hold one of them",
        ),
        (
            &[("../a", Regular, "")],
            "the entry `../a` has a path with `..` or a leading slash; make the archive with paths below its top",
        ),
        (
            &[("/a", Regular, "")],
            "the entry `/a` has a path with `..` or a leading slash; make the archive with paths below its top",
        ),
        (&[("a", Link, "b")], "`a` is a hard link to `b`, which did not come before it in the archive"),
        (
            &[("d/", Directory, ""), ("a", Link, "d")],
            "`/a` would be a second name of a folder; only files can have several",
        ),
        (&[("a", Regular, ""), ("a/b", Regular, "")], "`/a` can't hold anything as it is not a folder"),
        (&[("a", Symlink, "d"), ("a/b", Regular, "")], "`/a` can't hold anything as it is not a folder"),
        (&[("a", EntryType::new(b'V'), "")], "`a` has the entry type `V`, which is not supported"),
        (&[(".", Regular, "")], "the entry `.` stands for the top of the tree and is no folder"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let refused = tar_tree::read(&archive(&folder, entries)).unwrap_err();
        assert_eq!(refused.to_string(), message);
    }
}

#[test]
fn folders_may_show_in_paths_before_they_are_described() {
    let folder = tempfile::tempdir().unwrap();
    let entries = [
        ("a/b/c", EntryType::Regular, ""),
        ("a/", EntryType::Directory, ""),
        ("./", EntryType::Directory, ""),
    ];
    let (tree, files) = tar_tree::read(&archive(&folder, &entries)).unwrap();
    let path = image(&folder, "disk", tree, &files);
    assert_eq!(Ext4::load_from_path(&path).unwrap().read("/a/b/c").unwrap(), b"content");
    for (name, words) in [
        ("/", ["Mode:  0640", "User:     7", "Group:     8"]),
        ("/a", ["Mode:  0640", "User:     7", "Group:     8"]),
        ("/a/b", ["Mode:  0755", "User:     0", "Group:     0"]),
    ] {
        let said = debugfs(&path, &format!("stat {name}"));
        assert!(words.iter().all(|word| said.contains(word)), "{name}: {said}");
    }
}

#[test]
fn an_archive_that_ends_early_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = archive(&folder, &[("a", EntryType::Regular, "")]);
    File::options().write(true).open(&path).unwrap().set_len(514).unwrap();
    let refused = tar_tree::read(&path).unwrap_err().to_string();
    assert_eq!(refused, "the archive ends within `a`; it is not complete");
}

#[test]
fn a_folder_that_is_not_there_is_refused_with_its_errno() {
    let refused = walk::walk(Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!(refused.to_string(), "`/nowhere/at/all` can't be read");
    let source = std::error::Error::source(&refused).and_then(|source| source.downcast_ref::<io::Error>());
    assert_eq!(source.and_then(io::Error::raw_os_error), Some(2));
}

#[test]
fn files_of_a_folder_are_whole_at_every_length_and_changed_ones_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("tree");
    fs::create_dir(&top).unwrap();
    let lengths = [1, 4095, 4096, 16_383, 16_384, 16_385, 3 << 20, (3 << 20) + 1];
    let content = |len: usize| (0..len).map(|at| (at / 5 + len) as u8).collect::<Vec<_>>();
    for len in lengths {
        fs::write(top.join(len.to_string()), content(len)).unwrap();
    }
    let (tree, files) = walk::walk(&top).unwrap();
    let path = image(&folder, "disk", tree, &files);
    let ext4 = Ext4::load_from_path(&path).unwrap();
    for len in lengths {
        assert!(ext4.read(&*format!("/{len}")).unwrap() == content(len), "{len}");
    }
    for len in [3_u64 << 20, 1] {
        let (tree, files) = walk::walk(&top).unwrap();
        let plan = Plan::new(tree, &Options::default()).unwrap();
        File::options().write(true).open(top.join(len.to_string())).unwrap().set_len(len - 1).unwrap();
        let error = plan.write(&files, &tempfile::tempfile().unwrap()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("`/{len}` changed its length")), "{error}");
        fs::write(top.join(len.to_string()), content(len as usize)).unwrap();
    }
}

/// Content of another length than the tree says.
struct Other(&'static [u8]);

impl Contents for Other {
    fn open(&self, _: u64) -> io::Result<Opened<'_>> {
        Ok(Opened::Reader(Box::new(Cursor::new(self.0))))
    }
}

#[test]
fn content_that_shrinks_or_grows_while_it_is_read_is_an_error() {
    for (content, inline_data) in
        [(&b"short"[..], false), (b"longer than ten bytes", false), (b"short", true)]
    {
        let mut tree = Tree::new(meta(0o755));
        tree.add(tree.root(), b"file", meta(0o644), Kind::File(FileData::whole(10, 0))).unwrap();
        let plan = Plan::new(tree, &Options { inline_data, ..Options::default() }).unwrap();
        let error = plan.write(&Other(content), &tempfile::tempfile().unwrap()).unwrap_err();
        let message = "`/file` changed its length while it was read; run again when nothing writes to it";
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn what_has_no_place_in_ext4_is_refused_before_there_is_an_image() {
    let mut odd = meta(0o644);
    odd.xattrs.insert(b"system.odd".to_vec(), Vec::new());
    let mut large = meta(0o644);
    large.xattrs.insert(b"user.large".to_vec(), vec![0; 5000]);
    for (name, meta, kind, message) in [
        ("f", odd, Kind::Fifo, "`/f` has the attribute `system.odd`, which ext4 can't store; remove it"),
        (
            "f",
            large,
            Kind::Fifo,
            "the attributes of `/f` are more than the 4096 bytes of a block; remove some",
        ),
        (
            "d",
            meta(0o600),
            Kind::BlockDevice { major: 4096, minor: 0 },
            "the device `/d` has the number 4096:0, beyond 4095:1048575",
        ),
        (
            "lost+found",
            meta(0o600),
            Kind::Fifo,
            "`/lost+found` has to be a folder, as e2fsck puts there what it finds; rename what has that name",
        ),
    ] {
        let mut made = Made::new();
        let top = made.tree.root();
        made.tree.add(top, name.as_bytes(), meta, kind).unwrap();
        assert_eq!(Plan::new(made.tree, &Options::default()).unwrap_err().to_string(), message);
    }
}

#[test]
fn content_is_read_where_the_hole_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, files) = tar_tree::read(&archive(&folder, &[("a", EntryType::Regular, "")])).unwrap();
    drop(tree);
    let Opened::Reader(mut reader) = files.open(0).unwrap() else {
        panic!("an archive's files are parts of one")
    };
    let mut rest = String::new();
    reader.seek(io::SeekFrom::Start(4)).unwrap();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "ent");
    assert!(files.open(1).is_err());
}
