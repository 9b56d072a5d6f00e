//! Goal: whichever command fails, a person reads the same kind of line: the program, what failed, on what in backticks,
//! why, and where there is something to do, that. Method: one failure of each command, the whole line compared.

mod common;

use std::fs;

use common::{program, text};

/// A command's arguments with `DIR` for a folder, its exit code, and the line that it ends with.
const FAILURES: &[(&[&str], i32, &str)] = &[
    (
        &["ext4", "build", "--from", "DIR/none", "--output", "DIR/out"],
        1,
        "`DIR/none` can't be read: No such file or directory (os error 2)",
    ),
    (
        &["ext4", "build", "--from", "DIR/tree", "--output", "DIR/out", "--size", "10K"],
        1,
        "`DIR/out` can't be made from this tree: `/file` has 20000 bytes of data and the disk 10240; ask for a larger size",
    ),
    (
        &["ext4", "build", "--from", "DIR/tree", "--output", "DIR/tree/out"],
        1,
        "`DIR/tree/out` lies within `DIR/tree`, which it is made from; put it elsewhere",
    ),
    (&["clone", "DIR/tree", "DIR/out"], 1, "`DIR/tree` is no regular file; only those can be cloned"),
    (
        &["clone", "DIR/tree/file", "DIR/none/out"],
        1,
        "`DIR/none/.out.part` can't be created: No such file or directory (os error 2)",
    ),
    (
        &["work-seed", "build", "DIR/none"],
        1,
        "`DIR/none` can't be used: `DIR/none` can't be read as ext4: io error: No such file or directory (os error 2)",
    ),
    (
        &["gc", "DIR/tree"],
        2,
        "`DIR/tree` is no home: `DIR/tree/boxes` is not there, so nothing tells which images are needed; \
         nothing was deleted",
    ),
    (&["fork", "DIR/none", "DIR/out"], 2, "the snapshot `DIR/none` is no directory"),
    (
        &["fork", "DIR/tree", "DIR/tree/out"],
        2,
        "the fork `DIR/tree/out` would lie inside its own snapshot; choose a place outside",
    ),
    (
        &["fork", "DIR/tree", "DIR/out", "--skip", "../x"],
        2,
        "`../x` is no path inside the snapshot; name it relative to that, without `..`",
    ),
    (
        &["fork", "DIR/tree", "DIR/out", "--skip-from", "DIR/empty"],
        2,
        "the list `DIR/empty` names no path; leave --skip-from out to skip nothing",
    ),
];

#[test]
fn every_failure_is_one_line_that_begins_alike() {
    let folder = tempfile::tempdir().unwrap();
    let place = text(folder.path());
    fs::create_dir(folder.path().join("tree")).unwrap();
    fs::write(folder.path().join("tree/file"), vec![1; 20_000]).unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    for (args, code, line) in FAILURES {
        let args: Vec<String> = args.iter().map(|arg| arg.replace("DIR", place)).collect();
        let output = program(&args.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).replace(place, "DIR");
        assert_eq!(said, format!("image-tools: error: {line}\n"), "{args:?}");
        assert_eq!(output.status.code(), Some(*code), "{args:?}");
    }
}

#[test]
fn a_start_that_is_refused_is_told_in_the_same_way() {
    let home = tempfile::tempdir().unwrap();
    for folder in ["images/disk-images", "boxes"] {
        fs::create_dir_all(home.path().join(folder)).unwrap();
    }
    let output = program(&["admit", text(home.path()), "--need", "1000000T"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).replace(text(home.path()), "HOME");
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("image-tools: error: the disk of `HOME` is too full: "), "{said}");
    assert!(
        said.ends_with("have to stay free; free some space first\n") && said.lines().count() == 1,
        "{said}"
    );
}
