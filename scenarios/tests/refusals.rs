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

/// The same for the files of other scenarios, whose helpers lie beside them: name of the case, scenario, and so on.
const OPEN_MISTAKES: &[(&str, &str, &str, &str)] = &[
    ("no-fixture", "growpart", "command = [", "# command = ["),
    ("two-fixtures", "growpart", "[fixture]", "[fixture]\nfiles = { \"disk.img\" = \"growpart.toml\" }"),
    (
        "partition-without-disk",
        "growpart",
        "\n[[phase]]",
        "\n[[fixture.partition]]\nindex = 1\nlabel = \"a\"\ntype = \"linux\"\nguid = \"a\"\nsize = \"1M\"\ncontent = { kind = \"raw\", seed = 1 }\n\n[[phase]]",
    ),
    ("unknown-key-in-fixture", "growpart", "command = [", "comand = ["),
    ("no-files", "growpart", "command = [", "files = {} # ["),
    ("file-outside-volume", "growpart", "command = [", "files = { \"../disk.img\" = \"growpart.toml\" } # ["),
    ("missing-source", "growpart", "command = [", "files = { \"disk.img\" = \"growpart.img\" } # ["),
    (
        "file-that-is-not-copied",
        "growpart",
        "command = [",
        "files = { \"disc.img\" = \"growpart.toml\" } # [",
    ),
    ("empty-fixture-command", "growpart", "command = [", "command = [] # ["),
    ("missing-helper", "growpart", "gpt-disk.sh", "gpt-disc.sh"),
    ("scratch-in-fixture", "growpart", "{volume}\"]", "{scratch}\"]"),
    ("baseline-in-phase", "growpart", "{volume}/disk.img\", \"3\"", "{baseline}/disk.img\", \"3\""),
    (
        "two-step-patterns",
        "growpart",
        "name = \"grow\"",
        "name = \"grow\"\nstep_prefix = \"a\"\nstep_pattern = '(b)'",
    ),
    ("no-regex", "growpart", "name = \"grow\"", "name = \"grow\"\nstep_pattern = '^step: (\\S+'"),
    ("no-group", "growpart", "name = \"grow\"", "name = \"grow\"\nstep_pattern = '^step: \\S{1,9}'"),
    ("two-groups", "growpart", "name = \"grow\"", "name = \"grow\"\nack_pattern = '(a)(b)'"),
    ("unknown-durability", "growpart", "name = \"grow\"", "name = \"grow\"\ndurability = \"disc\""),
    ("nothing-accepted", "growpart", "kind = \"baseline\"", "kind = \"baseline\"\naccept = []"),
    ("unknown-acceptance", "growpart", "kind = \"baseline\"", "kind = \"baseline\"\naccept = [\"newer\"]"),
    (
        "bad-file-in-mask",
        "growpart",
        "kind = \"baseline\"",
        "kind = \"baseline\"\nmask = [\"disk.img:0x10\"]",
    ),
    ("nothing-untouched", "growpart", "partitions = [\"boot\", \"root\"]\nranges = [\"17M+16M\"]", ""),
    ("bad-range", "growpart", "ranges = [\"17M+16M\"]", "ranges = [\"17M-33M\"]"),
    ("isolation-of-one-folder", "fork-life", "fork = \"copy\"", "fork = \"vm/copy\""),
    ("isolation-outside", "fork-life", "source = \"vm\"", "source = \"../vm\""),
    ("untouched-file-outside", "growpart", "ranges = [\"17M+16M\"]", "files = [\"/etc/passwd\"]"),
    ("bad-offset", "resize2fs-grow", "fs = \"ext4\"", "offset = \"first\""),
    ("offset-and-partitions", "resize2fs-grow", "fs = \"ext4\"", "offset = \"1M\"\npartitions = [\"1\"]"),
    ("unknown-file-system", "resize2fs-grow", "fs = \"ext4\"", "fs = \"ext5\""),
    (
        "empty-oracle-command",
        "ntfsresize",
        "run = [\"sh\", \"{scenario_dir}/ntfs-files.sh\", \"{volume}/disk.img\", \"{start}/disk.img\"]",
        "run = []",
    ),
    ("empty-oracle-name", "ntfsresize", "name = \"files\"", "name = \" \""),
    ("exit-with-two-meanings", "ntfsresize", "name = \"files\"", "name = \"files\"\nnot_measured = [77, 0]"),
    ("no-pass", "ntfsresize", "name = \"files\"", "name = \"files\"\npass = []"),
    ("bad-oracle-limit", "ntfsresize", "name = \"files\"", "name = \"files\"\ntime_limit = \"short\""),
    ("empty-proof", "ntfsresize", "prove = [", "prove = [] # ["),
    ("duplicate-oracle", "qemu-img-snapshot", "name = \"image check\"", "name = \"guest content\""),
    (
        "key-in-idempotent",
        "qemu-img-snapshot",
        "kind = \"baseline\"",
        "kind = \"idempotent\"\nat = \"end\" #",
    ),
    ("missing-expectation", "growpart", "\n[[phase]]", "\n[expect]\nfindings = \"none.json\"\n\n[[phase]]"),
    ("expectation-no-json", "growpart", "\n[[phase]]", "\n[expect]\nfindings = \"gpt-disk.sh\"\n\n[[phase]]"),
    (
        "expectation-unknown-key",
        "growpart",
        "\n[[phase]]",
        "\n[expect]\nfindings = \"key.json\"\n\n[[phase]]",
    ),
    ("expectation-schema", "growpart", "\n[[phase]]", "\n[expect]\nfindings = \"schema.json\"\n\n[[phase]]"),
    ("expectation-phase", "growpart", "\n[[phase]]", "\n[expect]\nfindings = \"phase.json\"\n\n[[phase]]"),
    (
        "expectation-verdict",
        "growpart",
        "\n[[phase]]",
        "\n[expect]\nfindings = \"verdict.json\"\n\n[[phase]]",
    ),
];

/// Lists of expected findings with one mistake each.
const LISTS: &[(&str, &str)] = &[
    ("key.json", "{\"schema\": 1,\n \"finding\": []}"),
    ("schema.json", "{\"schema\": 2, \"findings\": []}"),
    (
        "phase.json",
        "{\"schema\": 1, \"findings\": [{\"phase\": \"new\", \"verdict\": \"corrupt\", \"oracle\": \"gpt\", \"note\": \"\"}]}",
    ),
    (
        "verdict.json",
        "{\"schema\": 1, \"findings\": [{\"phase\": \"grow\", \"verdict\": \"recovered\", \"oracle\": \"gpt\", \"note\": \"\"}]}",
    ),
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
fn every_mistake_in_an_open_scenario_is_shown_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in LISTS {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut answers = String::new();
    for (case, base, right, wrong) in OPEN_MISTAKES {
        let shipped = scenarios::shipped().iter().find(|shipped| shipped.name == *base).unwrap();
        load(base, None).unwrap().write_assets(folder.path()).unwrap();
        std::fs::write(folder.path().join(format!("{base}.toml")), shipped.text).unwrap();
        assert!(shipped.text.contains(right), "{case}: the file has no `{right}` any more");
        let path = folder.path().join(format!("{case}.toml"));
        std::fs::write(&path, shipped.text.replacen(right, wrong, 1)).unwrap();
        let error = load(path.to_str().unwrap(), None).expect_err(case);
        let prefix = format!("{}/", folder.path().display());
        answers.push_str(&format!("{}\n\n", message(&error).replace(&prefix, "")));
    }
    insta::assert_snapshot!("open-mistakes", answers);
}

/// What a command makes is known only afterwards; the message is the same as for a mistake found on loading.
#[test]
fn a_file_that_the_fixtures_command_did_not_make_is_shown_at_the_key_that_names_it() {
    let shipped = scenarios::shipped().iter().find(|shipped| shipped.name == "qemu-img-snapshot").unwrap();
    let folder = tempfile::tempdir().unwrap();
    load(shipped.name, None).unwrap().write_assets(folder.path()).unwrap();
    let path = folder.path().join("own.toml");
    let wrong = shipped.text.replace("disk.qcow2:0x415010+8", "disc.qcow2:0x415010+8");
    std::fs::write(&path, wrong + "\n[[oracle]]\nkind = \"untouched\"\nfiles = [\"base.qcow2\"]\n").unwrap();
    let resolved = load(path.to_str().unwrap(), None).unwrap();
    let volume = tempfile::tempdir().unwrap();
    std::fs::write(volume.path().join("disk.qcow2"), "").unwrap();
    let mut answers = String::new();
    for file in ["disc.qcow2", "base.qcow2"] {
        let error = resolved.check_volume(volume.path()).expect_err(file);
        answers.push_str(&message(&error).replace(&format!("{}/", folder.path().display()), ""));
        answers.push_str("\n\n");
        std::fs::write(volume.path().join(file), "").unwrap();
    }
    resolved.check_volume(volume.path()).unwrap();
    insta::assert_snapshot!("not-made", answers);
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
