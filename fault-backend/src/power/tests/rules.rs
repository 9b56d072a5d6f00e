//! What a flush covers under each rule, told by small runs: the names and contents that may be found at their end.

use std::ffi::OsString;

use super::*;
use crate::volume::{Owned, RenameMode, SetAttr};

/// Writes a small run as a program would, with paths of one or two letters; files hold their last byte's letter.
struct Run {
    start: Volume,
    now: Volume,
    log: OpLog,
}

impl Run {
    fn on(paths: &[&str]) -> Self {
        let mut start = Volume::new();
        for path in paths {
            match path.strip_suffix('/') {
                Some(dir) => start.insert_dir(Path::new(dir)).map(drop).unwrap(),
                None => {
                    let mut image = Image::new(0);
                    image.write_at(0, b"old").unwrap();
                    start.insert_file(Path::new(path), image).map(drop).unwrap();
                }
            }
        }
        Self { now: start.clone(), start, log: OpLog::default() }
    }

    fn place(&self, path: &str) -> (Ino, OsString) {
        let path = Path::new(path);
        (self.now.resolve(path.parent().unwrap()).unwrap(), path.file_name().unwrap().to_owned())
    }

    fn ino(&self, path: &str) -> Ino {
        self.now.resolve(Path::new(path)).unwrap()
    }

    fn does(mut self, mutation: Mutation) -> Self {
        self.now.apply(&mutation, Timestamp::default()).unwrap();
        push(&mut self.log, mutation);
        self
    }

    fn create(self, path: &str) -> Self {
        let (parent, name) = self.place(path);
        self.does(Mutation::Create { parent, name, owned: Owned { mode: 0o644, uid: 0, gid: 0 } })
    }

    fn mkdir(self, path: &str) -> Self {
        let (parent, name) = self.place(path);
        self.does(Mutation::Mkdir { parent, name, owned: Owned { mode: 0o755, uid: 0, gid: 0 } })
    }

    fn write(self, path: &str, text: &str) -> Self {
        let ino = self.ino(path);
        self.does(Mutation::Write { ino, offset: 0, data: text.as_bytes().into() })
    }

    fn truncate(self, path: &str, len: u64) -> Self {
        let ino = self.ino(path);
        self.does(Mutation::Truncate { ino, len })
    }

    fn chmod(self, path: &str, mode: u32) -> Self {
        let ino = self.ino(path);
        self.does(Mutation::SetAttr { ino, set: SetAttr { mode: Some(mode), ..SetAttr::default() } })
    }

    fn rename(self, from: &str, to: &str) -> Self {
        let ((from, from_name), (to, to_name)) = (self.place(from), self.place(to));
        self.does(Mutation::Rename { from, from_name, to, to_name, mode: RenameMode::Replace })
    }

    fn link(self, from: &str, to: &str) -> Self {
        let (ino, (parent, name)) = (self.ino(from), self.place(to));
        self.does(Mutation::Link { ino, parent, name })
    }

    fn unlink(self, path: &str) -> Self {
        let (parent, name) = self.place(path);
        self.does(Mutation::Unlink { parent, name })
    }

    fn rmdir(self, path: &str) -> Self {
        let (parent, name) = self.place(path);
        self.does(Mutation::Rmdir { parent, name })
    }

    fn fsync(mut self, path: &str) -> Self {
        let ino = self.ino(path);
        flush(&mut self.log, Some(ino));
        self
    }

    fn fdatasync(mut self, path: &str) -> Self {
        self = self.fsync(path);
        let kind = OpKind::Flush { ino: Some(self.ino(path)), data_only: true };
        self.log.ops.last_mut().unwrap().kind = kind;
        self
    }

    fn sync(mut self) -> Self {
        flush(&mut self.log, None);
        self
    }

    /// What may be found after a power cut at its end, one text for each tree, in alphabetic order.
    fn leaves(&self, durability: Durability) -> Vec<String> {
        let options = PowerOptions { durability, ..PowerOptions::default() };
        let power = Power::new(self.start.clone(), &self.log, options).unwrap();
        let mut builder = power.builder();
        let trees: BTreeSet<String> = power
            .states_at(self.log.len())
            .map(|state| describe(&builder.materialise(&state).unwrap()))
            .collect();
        trees.into_iter().collect()
    }
}

fn describe(volume: &Volume) -> String {
    let one = |(path, ino): (std::path::PathBuf, Ino)| {
        let node = volume.node(ino)?;
        let Some(image) = node.image() else {
            return path.file_name().map(|_| format!("{}/", path.display()));
        };
        let mut text = vec![0; image.len_bytes() as usize];
        image.read_at(0, &mut text).ok()?;
        let special = if node.attr.mode == 0o644 { "" } else { "*" };
        Some(format!("{}={}{special}", path.display(), String::from_utf8_lossy(&text).replace('\0', ".")))
    };
    volume.walk().filter_map(one).collect::<Vec<_>>().join(" ")
}

use Durability::{Disk, Ordered, Posix};

#[test]
fn a_new_file_needs_its_own_fsync_and_under_posix_that_of_its_directory() {
    let new = || Run::on(&[]).create("f").write("f", "new");
    for rule in [Disk, Ordered, Posix] {
        assert_eq!(new().leaves(rule), ["", "f=", "f=new"], "{rule}");
        assert_eq!(new().sync().leaves(rule), ["f=new"], "{rule}");
    }
    assert_eq!(new().fsync("f").leaves(Disk), ["f=new"]);
    assert_eq!(new().fsync("f").leaves(Ordered), ["f=new"]);
    assert_eq!(new().fsync("f").leaves(Posix), ["", "f=new"]);
    assert_eq!(new().fsync("").leaves(Posix), ["f=", "f=new"]);
    assert_eq!(new().fsync("").leaves(Ordered), ["f=", "f=new"]);
    assert_eq!(new().fsync("f").fsync("").leaves(Posix), ["f=new"]);
}

#[test]
fn a_file_that_is_replaced_by_a_rename_is_the_old_or_the_new_one() {
    let replace = |synced: bool| {
        let run = Run::on(&["f"]).create("t").write("t", "new");
        if synced { run.fsync("t").rename("t", "f") } else { run.rename("t", "f") }
    };
    assert_eq!(replace(true).leaves(Ordered), ["f=new", "f=old t=new"]);
    assert_eq!(replace(true).leaves(Posix), ["f=new", "f=old", "f=old t=new"]);
    assert_eq!(replace(true).fsync("").leaves(Posix), ["f=new"]);
    // Without the fsync of the data, the new name may be there before what it names: the well-known empty file.
    assert_eq!(replace(false).leaves(Ordered), ["f=", "f=new", "f=old", "f=old t=", "f=old t=new"]);
    assert_eq!(replace(false).fsync("").leaves(Ordered), ["f=", "f=new"]);
}

#[test]
fn an_ordered_journal_keeps_the_order_of_all_names() {
    let two = || Run::on(&["a/", "b/"]).create("a/x").create("b/y");
    assert_eq!(two().leaves(Ordered), ["a/ a/x= b/", "a/ a/x= b/ b/y=", "a/ b/"]);
    assert_eq!(two().leaves(Posix), ["a/ a/x= b/", "a/ a/x= b/ b/y=", "a/ b/", "a/ b/ b/y="]);
    assert_eq!(two().fsync("b").leaves(Ordered), ["a/ a/x= b/ b/y="]);
    assert_eq!(two().fsync("b").leaves(Posix), ["a/ a/x= b/ b/y=", "a/ b/ b/y="]);
}

#[test]
fn a_file_in_a_directory_whose_name_is_lost_is_lost() {
    let deep = Run::on(&[]).mkdir("d").create("d/f").write("d/f", "new").fsync("d/f").fsync("d");
    assert_eq!(deep.leaves(Posix), ["", "d/ d/f=new"]);
    assert_eq!(deep.leaves(Ordered), ["d/ d/f=new"]);
    assert_eq!(deep.fsync("").leaves(Posix), ["d/ d/f=new"]);
}

#[test]
fn a_rename_between_directories_needs_both_and_is_never_half_done() {
    let moved = || Run::on(&["a/f", "b/"]).rename("a/f", "b/f");
    let (old, new) = ("a/ a/f=old b/", "a/ b/ b/f=old");
    for run in [moved(), moved().fsync("a"), moved().fsync("b"), moved().fsync("b").fsync("b")] {
        assert_eq!(run.leaves(Posix), [old, new]);
    }
    assert_eq!(moved().fsync("a").fsync("b").leaves(Posix), [new]);
    assert_eq!(moved().fsync("b").leaves(Ordered), [new]);
}

#[test]
fn a_directory_is_removed_or_replaced_once_it_is_empty() {
    let removed = Run::on(&["d/f"]).unlink("d/f").rmdir("d");
    assert_eq!(removed.leaves(Posix), ["", "d/", "d/ d/f=old"]);
    let replaced = Run::on(&["d/f", "e/g"]).unlink("d/f").rename("e", "d");
    assert_eq!(replaced.leaves(Posix), ["d/ d/f=old e/ e/g=old", "d/ d/g=old", "d/ e/ e/g=old"]);
}

#[test]
fn a_file_is_the_same_one_whether_or_not_those_made_before_it_are_there() {
    let run = Run::on(&["a/", "b/"]).create("a/x").create("b/y").write("b/y", "new").fsync("b").fsync("b/y");
    assert_eq!(run.leaves(Posix), ["a/ a/x= b/ b/y=new", "a/ b/ b/y=new"]);
}

#[test]
fn a_durable_name_brings_along_what_it_comes_after() {
    // The new `a/f` is durable with its directory, so the old one has moved out of its way.
    let run = Run::on(&["a/f", "b/"]).rename("a/f", "b/f").create("a/f").fsync("a");
    assert_eq!(run.leaves(Posix), ["a/ a/f= b/ b/f=old"]);
}

#[test]
fn a_file_that_is_linked_and_unlinked_can_be_lost_under_posix() {
    let run = Run::on(&["a/f", "b/"]).link("a/f", "b/f").unlink("a/f").fsync("a");
    assert_eq!(run.leaves(Posix), ["a/ b/", "a/ b/ b/f=old"]);
    assert_eq!(run.leaves(Ordered), ["a/ b/ b/f=old"]);
}

#[test]
fn an_fdatasync_covers_no_attributes_and_names_only_where_the_file_needs_them() {
    let mode = || Run::on(&["f"]).chmod("f", 0o600);
    assert_eq!(mode().fsync("f").leaves(Posix), ["f=old*"]);
    assert_eq!(mode().fdatasync("f").leaves(Posix), ["f=old", "f=old*"]);
    assert_eq!(mode().fdatasync("f").leaves(Ordered), ["f=old", "f=old*"]);
    let grown = |text: &str| Run::on(&["f"]).create("g").write("f", text).fdatasync("f");
    assert_eq!(grown("new").leaves(Ordered), ["f=new", "f=new g="]);
    assert_eq!(grown("longer").leaves(Ordered), ["f=longer g="]);
    assert_eq!(Run::on(&[]).create("g").create("f").fdatasync("f").leaves(Ordered), ["f= g="]);
}

#[test]
fn another_files_fsync_covers_its_names_but_not_its_content() {
    let run = || Run::on(&["f", "g"]).write("f", "new").truncate("g", 1).fsync("g");
    assert_eq!(run().leaves(Disk), ["f=new g=o"]);
    assert_eq!(run().leaves(Ordered), ["f=new g=o", "f=old g=o"]);
    assert_eq!(run().leaves(Posix), ["f=new g=o", "f=old g=o"]);
    let other = || Run::on(&["f", "g"]).truncate("f", 1).write("g", "new").fsync("g");
    assert_eq!(other().leaves(Ordered), ["f=o g=new"]);
    assert_eq!(other().leaves(Posix), ["f=o g=new", "f=old g=new"]);
}

#[test]
fn a_write_is_not_there_without_the_truncate_that_made_room_for_it() {
    let rewritten = || Run::on(&["f"]).truncate("f", 0).write("f", "ab");
    for rule in [Disk, Ordered, Posix] {
        assert_eq!(rewritten().leaves(rule), ["f=", "f=ab", "f=old"], "{rule}");
    }
    // Of two truncates the second one is not there alone.
    assert_eq!(Run::on(&["f"]).truncate("f", 1).truncate("f", 5).leaves(Disk), ["f=o", "f=o....", "f=old"]);
    // What lies before the cut, or is only made room for, is independent.
    assert_eq!(
        Run::on(&["f"]).truncate("f", 2).write("f", "n").leaves(Disk),
        ["f=nl", "f=nld", "f=ol", "f=old"]
    );
    assert_eq!(
        Run::on(&["f"]).truncate("f", 5).write("f", "newer").leaves(Disk),
        ["f=newer", "f=old", "f=old.."]
    );
}

#[test]
fn a_failed_or_dropped_flush_covers_nothing() {
    let run = |outcome| {
        let mut run = Run::on(&["f"]).write("f", "new").sync();
        run.log.ops[1].outcome = outcome;
        run.leaves(Disk)
    };
    assert_eq!(run(Outcome::Completed), ["f=new"]);
    for outcome in [Outcome::Dropped, Outcome::Skipped, Outcome::Failed(nix::errno::Errno::EIO)] {
        assert_eq!(run(outcome), ["f=new", "f=old"]);
    }
}

#[test]
fn a_run_that_was_cut_inside_a_write_has_the_part_that_arrived_or_not() {
    let mut run = Run::on(&["f"]).write("f", "new");
    run.log.ops[0].outcome = Outcome::Torn { bytes: 1 };
    assert_eq!(run.leaves(Disk), ["f=nld", "f=old"]);
}
