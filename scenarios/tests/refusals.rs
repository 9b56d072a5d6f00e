//! What a wrong scenario file is answered with. Each case takes the file of `mixed-layout`, makes one mistake in it,
//! and keeps the whole message, so that place, caret and hint are judged together.

use std::error::Error as _;

use scenarios::{ScenarioError, load};

/// Name of the case, the text that is replaced (its first occurrence), and the mistake.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("syntax", "schema = 1", "schema = = 1"),
    ("unknown-key", "requires =", "require ="),
    ("unknown-key-in-phase", "step_prefix =", "step_prefx ="),
    ("unknown-key-in-oracle", "need = \"both-valid\"", "needs = \"both-valid\""),
    ("unknown-key-in-content", "cluster_bytes =", "cluster_size ="),
    ("unknown-kind", "kind = \"untouched\"", "kind = \"untuoched\""),
    ("wrong-type", "index = 4", "index = \"4\""),
    ("missing-key", "index = 4\n", ""),
    ("wrong-schema", "schema = 1", "schema = 2"),
    ("bad-name", "name = \"mixed-layout\"", "name = \"Mixed Layout\""),
    ("no-default-scale", "default_scale = \"small\"\n", ""),
    ("bad-default-scale", "default_scale = \"small\"", "default_scale = \"tiny\""),
    ("scale-lacks-a-placeholder", "p3_shrunk = \"12M\"\n", ""),
    ("unknown-placeholder", "label:P3:{p3_shrunk}", "label:P3:{p3_shrnk}"),
    ("run-placeholder-in-fixture", "size = \"{disk}\"", "size = \"{volume}\""),
    ("bad-size", "size = \"1M\"", "size = \"1MiB\""),
    ("bad-size-from-scale", "efi = \"33M\"", "efi = \"33 megabytes\""),
    ("unaligned-size", "size = \"1M\"", "size = \"1000\""),
    ("overlap", "size = \"1M\"", "start = \"3M\"\nsize = \"1M\""),
    ("far-outside", "size = \"1M\"", "size = \"16777215T\""),
    ("outside", "disk = \"102M\"", "disk = \"100M\""),
    ("duplicate-index", "index = 9", "index = 4"),
    ("duplicate-label", "label = \"IMGB\"", "label = \"IMGA\""),
    ("index-outside-table", "index = 9", "index = 129"),
    ("bad-guid", "guid = \"5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6a14\"", "guid = \"5a6f1c0e\""),
    ("bad-block-size", "p3_block = \"1K\"", "p3_block = \"3K\""),
    ("used-too-large", "p3_used = \"8M\"", "p3_used = \"80M\""),
    ("duplicate-phase", "name = \"grow\"", "name = \"shrink\""),
    (
        "empty-command",
        "run = [\"resizer\", \"--scratch\", \"{scratch}\", \"--grow-partition\", \"label:P3:{p3_shrunk}\", \"{volume}/disk.img\"]",
        "run = []",
    ),
    ("resume-exit-count", "copies =", "resume_exit = [[0], [0]]\ncopies ="),
    ("bad-duration", "copies =", "time_limit = \"soon\"\ncopies ="),
    ("unknown-partition", "partitions = [\"CONFIG\", \"P3\"]", "partitions = [\"CONFIG\", \"P4\"]"),
    ("unknown-copied-partition", "copies = [\"EFI System\"", "copies = [\"EFI\""),
    ("unknown-file", "kind = \"fsck\"", "kind = \"fsck\"\nfile = \"disk2.img\""),
    ("unknown-phase", "phases = [\"grow\"]", "phases = [\"growth\"]"),
    (
        "no-checker",
        "kind = \"fsck\"\npartitions = [\"EFI System\", \"P3\"]",
        "kind = \"fsck\"\npartitions = [\"CONFIG\"]",
    ),
    ("bad-mask", "mask = [\"unallocated\"]", "mask = [\"unallocated\", \"0x10-0x20\"]"),
];

/// A message and what caused it, as a program prints them.
fn message(error: &ScenarioError) -> String {
    match error.source() {
        None => error.to_string(),
        Some(source) => format!("{error}\n  caused by: {source}"),
    }
}

#[test]
fn every_mistake_is_shown_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = scenarios::shipped().iter().find(|shipped| shipped.name == "mixed-layout").unwrap();
    let mut answers = String::new();
    for (case, right, wrong) in MISTAKES {
        assert!(shipped.text.contains(right), "{case}: the file has no `{right}` any more");
        let path = folder.path().join(format!("{case}.toml"));
        std::fs::write(&path, shipped.text.replacen(right, wrong, 1)).unwrap();
        let error = load(path.to_str().unwrap(), None).expect_err(case);
        let prefix = format!("{}/", folder.path().display());
        answers.push_str(&format!("{}\n\n", message(&error).replace(&prefix, "")));
    }
    insta::assert_snapshot!("mistakes", answers);
}

#[test]
fn a_missing_file_name_or_scale_says_what_there_is() {
    let mut answers = String::new();
    for (name, scale) in [
        ("mixed-layuot", None),
        ("mixed", None),
        ("entirely-else", None),
        ("no/such/file.toml", None),
        ("no-such-file.toml", None),
        ("mixed-layout", Some("huge")),
        ("renumber", Some("full")),
    ] {
        let error = load(name, scale).expect_err(name);
        answers.push_str(&format!("{}\n\n", message(&error)));
    }
    insta::assert_snapshot!("not-found", answers);
}

#[test]
fn a_file_that_is_not_utf8_is_refused_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("binary.toml");
    std::fs::write(&path, [0xFF, 0xFE, 0x00]).unwrap();
    let error = load(path.to_str().unwrap(), None).unwrap_err();
    assert!(matches!(&error, ScenarioError::Read { path: named, .. } if *named == path), "{error}");
}
