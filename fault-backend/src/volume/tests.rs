//! Goal: a volume does what a file system of the host does, and its clones, ids and differences say so. Method: random
//! mutations run on a volume and in a directory of the host beside each other, with the answers compared, and the
//! directory read back at the end; a check of the tree's own consistency runs after each.
#![allow(clippy::single_range_in_vec_init)]

pub(crate) mod host;

use std::collections::HashMap;
use std::ffi::OsStr;

use proptest::prelude::*;

use super::*;

/// A time that no test looks at.
pub(super) const NOW: Timestamp = Timestamp { secs: 5, nanos: 0 };

pub(super) const OWNED: Owned = Owned { mode: 0o640, uid: 0, gid: 0 };

pub(super) fn create(volume: &mut Volume, path: &str) -> Ino {
    let path = Path::new(path);
    let parent = volume.resolve(path.parent().unwrap()).unwrap();
    let name = path.file_name().unwrap().to_owned();
    volume.apply(&Mutation::Create { parent, name, owned: OWNED }, NOW).unwrap().ino.unwrap()
}

pub(super) fn write(volume: &mut Volume, ino: Ino, offset: u64, data: &[u8]) {
    volume.apply(&Mutation::Write { ino, offset, data: data.into() }, NOW).unwrap();
}

pub(super) fn link(volume: &mut Volume, ino: Ino, name: &str) {
    volume.apply(&Mutation::Link { ino, parent: Ino::ROOT, name: name.into() }, NOW).unwrap();
}

pub(super) fn unlink(volume: &mut Volume, name: &str) -> Option<Ino> {
    volume.apply(&Mutation::Unlink { parent: Ino::ROOT, name: name.into() }, NOW).unwrap().orphaned
}

/// Fails where names, counts and paths of a tree contradict each other.
pub(crate) fn check(volume: &Volume) {
    let mut names: HashMap<Ino, u32> = HashMap::new();
    for (path, ino) in volume.walk() {
        let node = volume.node(ino).expect("every name leads to an inode");
        assert_eq!(volume.resolve(&path), Some(ino));
        let count = names.entry(ino).or_default();
        *count += 1;
        if *count == 1 {
            assert_eq!(volume.path_of(ino), Some(path.clone()), "the first name");
        }
        if let Some(entries) = node.entries() {
            let dirs = entries.values().filter(|child| volume.entries(**child).is_some()).count() as u32;
            assert_eq!((*count, node.attr.nlink), (1, 2 + dirs), "{path:?}");
            let parent = path.parent().map_or(Some(Ino::ROOT), |parent| volume.resolve(parent));
            assert_eq!(volume.parent(ino), parent);
        }
    }
    for (ino, count) in &names {
        let node = volume.node(*ino).unwrap();
        assert!(node.is_dir() || node.attr.nlink == *count);
    }
    for orphan in volume.orphans() {
        assert_eq!(volume.node(orphan).unwrap().attr.nlink, 0);
        assert_eq!((names.get(&orphan), volume.path_of(orphan)), (None, None));
    }
    assert_eq!(volume.node_count(), names.len() + volume.orphans().count());
}

fn small() -> (Volume, Ino) {
    let mut volume = Volume::new();
    volume.insert_dir(Path::new("dir/sub")).unwrap();
    let ino = create(&mut volume, "dir/file");
    write(&mut volume, ino, 0, b"content");
    (volume, ino)
}

#[test]
fn an_unlinked_file_is_written_and_read_until_its_orphan_is_dropped() {
    let mut volume = Volume::new();
    let ino = create(&mut volume, "file");
    let before = volume.clone();
    assert_eq!(unlink(&mut volume, "file"), Some(ino));
    write(&mut volume, ino, 3, b"late");
    assert_eq!(volume.node(ino).unwrap().len_bytes(), 7);
    assert_eq!(volume.content_id(), Volume::new().content_id(), "what has no name is no content");
    check(&volume);
    let link_again = Mutation::Link { ino, parent: Ino::ROOT, name: "again".into() };
    assert_eq!(volume.apply(&link_again, NOW), Err(Errno::ENOENT));
    assert!(volume.drop_orphan(ino) && volume.node(ino).is_none() && !volume.drop_orphan(ino));
    assert_eq!(before.file(Path::new("file")).unwrap().len_bytes(), 0, "a clone keeps what it had");
}

#[test]
fn nothing_is_made_in_a_directory_that_was_removed() {
    let mut volume = Volume::new();
    let dir = volume.insert_dir(Path::new("dir")).unwrap();
    volume.apply(&Mutation::Rmdir { parent: Ino::ROOT, name: "dir".into() }, NOW).unwrap();
    let late = Mutation::Create { parent: dir, name: "late".into(), owned: OWNED };
    assert_eq!(volume.apply(&late, NOW), Err(Errno::ENOENT));
    assert_eq!(volume.drop_orphans(), 1);
    check(&volume);
}

#[test]
fn a_failed_mutation_takes_no_inode_number() {
    let (mut one, _) = small();
    let mut two = one.clone();
    let exists = Mutation::Mkdir { parent: Ino::ROOT, name: "dir".into(), owned: OWNED };
    assert_eq!(one.apply(&exists, NOW), Err(Errno::EEXIST));
    assert_eq!(create(&mut one, "new"), create(&mut two, "new"));
}

#[test]
fn errors_are_those_of_a_file_system_and_change_nothing() {
    let (mut volume, ino) = small();
    let dir = volume.resolve(Path::new("dir")).unwrap();
    let value = |len: usize| Arc::<[u8]>::from(vec![0; len]);
    let set = |name: &str, len, mode| Mutation::SetXattr { ino, name: name.into(), value: value(len), mode };
    let create = |parent, name: &str| Mutation::Create { parent, name: name.into(), owned: OWNED };
    let sub = volume.resolve(Path::new("dir/sub")).unwrap();
    let rename = |from, from_name: &str, to, to_name: &str, mode| Mutation::Rename {
        from,
        from_name: from_name.into(),
        to,
        to_name: to_name.into(),
        mode,
    };
    volume.apply(&set("user.x", 1, XattrMode::Any), NOW).unwrap();
    let id = volume.content_id();
    for (mutation, errno) in [
        (create(ino, "x"), Errno::ENOTDIR),
        (create(dir, "file"), Errno::EEXIST),
        (create(dir, ""), Errno::EINVAL),
        (create(dir, ".."), Errno::EINVAL),
        (create(dir, "a/b"), Errno::EINVAL),
        (create(dir, &"x".repeat(256)), Errno::ENAMETOOLONG),
        (create(Ino(99), "x"), Errno::ENOENT),
        (Mutation::Write { ino: dir, offset: 0, data: value(1) }, Errno::EISDIR),
        (Mutation::Write { ino, offset: u64::MAX, data: value(2) }, Errno::EFBIG),
        (Mutation::Truncate { ino, len: u64::MAX }, Errno::EFBIG),
        (Mutation::Link { ino: dir, parent: dir, name: "x".into() }, Errno::EPERM),
        (rename(Ino::ROOT, "dir", dir, "x", RenameMode::Replace), Errno::EINVAL),
        (rename(Ino::ROOT, "dir", sub, "x", RenameMode::Replace), Errno::EINVAL),
        (rename(dir, "sub", Ino::ROOT, "dir", RenameMode::Exchange), Errno::EINVAL),
        (rename(dir, "sub", Ino::ROOT, "dir", RenameMode::Replace), Errno::ENOTEMPTY),
        (rename(dir, "sub", dir, "file", RenameMode::NoReplace), Errno::EEXIST),
        (rename(dir, "sub", dir, "x", RenameMode::Exchange), Errno::ENOENT),
        (set("user.x", 1, XattrMode::Create), Errno::EEXIST),
        (set("user.y", 1, XattrMode::Replace), Errno::ENODATA),
        (set("user.y", 70_000, XattrMode::Any), Errno::E2BIG),
        (Mutation::RemoveXattr { ino, name: "user.y".into() }, Errno::ENODATA),
    ] {
        assert_eq!(volume.apply(&mutation, NOW), Err(errno), "{mutation:?}");
        assert_eq!(volume.content_id(), id, "{mutation:?}");
    }
}

#[test]
fn allocating_grows_only_and_zeroing_keeps_the_length_where_it_should() {
    let (mut volume, ino) = small();
    let text = |volume: &Volume| {
        let image = volume.file(Path::new("dir/file")).unwrap();
        let mut bytes = vec![0; image.len_bytes() as usize];
        image.read_at(0, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap().replace('\0', ".")
    };
    for (mutation, expected) in [
        (Mutation::Allocate { ino, range: 2..5 }, "content"),
        (Mutation::Allocate { ino, range: 2..9 }, "content.."),
        (Mutation::Punch { ino, range: 5..99 }, "conte...."),
        (Mutation::Zero { ino, range: 4..12, keep_len: true }, "cont....."),
        (Mutation::Zero { ino, range: 3..12, keep_len: false }, "con........."),
    ] {
        volume.apply(&mutation, NOW).unwrap();
        assert_eq!(text(&volume), expected, "{mutation:?}");
    }
}

#[test]
fn the_id_tells_everything_but_times_and_numbers() {
    let (mut volume, ino) = small();
    let xattr = |name: &str, value: &[u8]| Mutation::SetXattr {
        ino,
        name: name.into(),
        value: value.into(),
        mode: XattrMode::Any,
    };
    volume.apply(&xattr("user.a", b"1"), NOW).unwrap();
    let volume = volume;
    let changed = |mutation: Mutation| {
        let mut other = volume.clone();
        other.apply(&mutation, NOW).unwrap();
        assert_eq!(
            other.content_id() == volume.content_id(),
            volume.diff(&other).unwrap().is_empty(),
            "{mutation:?}"
        );
        other.content_id() != volume.content_id()
    };
    let set = |set: SetAttr| Mutation::SetAttr { ino, set };
    let time = Some(Timestamp { secs: 99, nanos: 1 });
    assert!(!changed(set(SetAttr { atime: time, mtime: time, ..SetAttr::default() })));
    assert!(!changed(Mutation::Punch { ino, range: 7..100 }));
    assert!(changed(set(SetAttr { mode: Some(0o4640), ..SetAttr::default() })));
    assert!(changed(set(SetAttr { uid: Some(7), ..SetAttr::default() })));
    assert!(changed(set(SetAttr { gid: Some(7), ..SetAttr::default() })));
    assert!(changed(Mutation::Write { ino, offset: 6, data: [1].as_slice().into() }));
    assert!(changed(Mutation::Truncate { ino, len: 8 }));
    assert!(
        !changed(xattr("user.a", b"1")) && changed(xattr("user.a", b"2")) && changed(xattr("user.b", b"1"))
    );
    let moved = |from_name: &str, to_name: &str| {
        let dir = volume.resolve(Path::new("dir")).unwrap();
        let names = (OsStr::new(from_name).to_owned(), OsStr::new(to_name).to_owned());
        changed(Mutation::Rename {
            from: dir,
            from_name: names.0,
            to: dir,
            to_name: names.1,
            mode: RenameMode::Replace,
        })
    };
    assert!(moved("file", "file2") && moved("sub", "sub2"));
}

#[test]
fn names_of_one_file_are_told_apart_from_equal_copies() {
    let mut linked = Volume::new();
    let ino = create(&mut linked, "a");
    link(&mut linked, ino, "b");
    link(&mut linked, ino, "c");
    let mut copied = Volume::new();
    let ino = create(&mut copied, "a");
    link(&mut copied, ino, "b");
    create(&mut copied, "c");
    assert_ne!(linked.content_id(), copied.content_id());
    let changes: Vec<String> = linked.diff(&copied).unwrap().iter().map(|c| format!("{c:?}")).collect();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].contains("alone") && changes[0].contains("same file as `a`"), "{changes:?}");
    // A name that goes leaves the path of the other one right.
    unlink(&mut linked, "c");
    check(&linked);
    unlink(&mut linked, "b");
    check(&linked);
}

#[test]
fn the_id_tells_where_a_file_is() {
    let tree = |paths: &[&str]| {
        let mut volume = Volume::new();
        volume.insert_dir(Path::new("a/b")).unwrap();
        for path in paths {
            volume.insert_file(Path::new(path), Image::new(0)).unwrap();
        }
        volume.content_id()
    };
    let places = ["c", "a/c", "a/b/c"].map(|path| tree(&[path]));
    assert!(places[0] != places[1] && places[1] != places[2] && places[0] != places[2]);
}

#[test]
fn a_difference_says_what_and_where() {
    let (old, ino) = small();
    let mut new = old.clone();
    write(&mut new, ino, 3, b"TENT and more");
    new.remove_tree(Path::new("dir/sub")).unwrap();
    new.insert_file(Path::new("dir/new/deep"), Image::new(5)).unwrap();
    let set = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    new.apply(&Mutation::SetAttr { ino, set }, NOW).unwrap();
    let shown: Vec<(String, What)> =
        old.diff(&new).unwrap().into_iter().map(|c| (c.path.display().to_string(), c.what)).collect();
    let at = |path: &str, what| (path.to_owned(), what);
    let mode = What::Attr { field: Field::Mode, old: "0640".to_owned(), new: "0600".to_owned() };
    assert_eq!(
        shown,
        [
            at("dir/file", mode),
            at("dir/file", What::Length { old: 7, new: 16 }),
            at("dir/file", What::Data(vec![3..7])),
            at("dir/new", What::Added),
            at("dir/new/deep", What::Added),
            at("dir/sub", What::Removed),
        ]
    );
}

#[test]
fn clearing_a_directory_keeps_it_and_what_else_its_files_are_named() {
    let (mut volume, ino) = small();
    link(&mut volume, ino, "kept");
    create(&mut volume, "dir/sub/inner");
    volume.clear_dir(Path::new("dir")).unwrap();
    check(&volume);
    let left: Vec<String> = volume.walk().map(|(path, _)| path.display().to_string()).collect();
    assert_eq!(left, ["", "dir", "kept"]);
    assert_eq!(volume.orphans().count(), 0);
    assert_eq!(volume.clear_dir(Path::new("kept")), Err(Errno::ENOTDIR));
    assert_eq!(volume.remove_tree(Path::new("gone")), Err(Errno::ENOENT));
}

#[test]
fn a_subtree_grafted_elsewhere_is_the_same_tree_links_included() {
    let (mut volume, ino) = small();
    let dir = volume.resolve(Path::new("dir")).unwrap();
    volume.apply(&Mutation::Link { ino, parent: dir, name: "also".into() }, NOW).unwrap();
    let set = SetAttr { mode: Some(0o700), uid: Some(5), ..SetAttr::default() };
    volume.apply(&Mutation::SetAttr { ino: dir, set }, NOW).unwrap();
    let sub = volume.subtree(Path::new("dir")).unwrap();
    check(&sub);
    assert_eq!(Some(sub.content_id()), volume.content_id_at(Path::new("dir")));
    let mut other = Volume::new();
    other.insert_file(Path::new("x/y/old"), Image::new(1)).unwrap();
    other.graft(Path::new("x/y"), &sub).unwrap();
    check(&other);
    assert_eq!(other.content_id_at(Path::new("x/y")), Some(sub.content_id()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_volume_does_what_the_hosts_file_system_does(steps in prop::collection::vec(host::any_step(), 1..40)) {
        host::compare(&steps);
    }

    #[test]
    fn the_id_is_the_same_exactly_where_no_difference_is_found(steps in prop::collection::vec(host::any_step(), 1..25)) {
        let mut volume = Volume::new();
        let mut states = vec![volume.clone()];
        for step in &steps {
            if let Some(mutation) = step.mutation(&volume) {
                let _ = volume.apply(&mutation, NOW);
                states.push(volume.clone());
            }
        }
        for (index, state) in states.iter().enumerate() {
            for other in &states[index..] {
                let same = state.content_id() == other.content_id();
                prop_assert_eq!(same, state.diff(other).unwrap().is_empty());
                prop_assert_eq!(same, other.diff(state).unwrap().is_empty());
            }
        }
    }
}
