//! Volumes of several files: what a tree is compared by, what a baseline accepts, what `untouched` guards besides
//! partitions, and what a scenario names that is not there.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use fault_backend::{Image, Volume};
use killpoint::mask::Mask;
use killpoint::oracle::{Checkers, OracleSet, Outcome};
use killpoint::stage::{Look, Saved, Words};
use reports::Exit;
use scenarios::Resolved;
use tempfile::TempDir;

use crate::bench::{BOTH, Bench, Parts, Seen, scenario};

const HEAD: &str = r#"
schema = 1
name = "tree"
summary = "several files"
[fixture]
command = ["true"]
[[phase]]
name = "nothing"
run = ["true"]
"#;

/// Two files, a link and a folder.
fn tree() -> TempDir {
    let volume = TempDir::new().expect("a temporary folder");
    fs::set_permissions(volume.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::create_dir(volume.path().join("below")).expect("a folder");
    fs::write(volume.path().join("a"), vec![1; 10_000]).expect("write");
    fs::write(volume.path().join("below/b"), vec![2; 300]).expect("write");
    symlink("a", volume.path().join("link")).expect("a link");
    volume
}

fn bench(seen: Seen, oracles: &str, start: &Path, baseline: &Path, mask: &[&str]) -> Bench {
    let (_folder, resolved) = scenario(&format!("{HEAD}{oracles}"));
    let mask: Vec<String> = mask.iter().map(|mask| (*mask).to_owned()).collect();
    let parts = Parts { start, baseline, mask: &mask, ..Parts::still(baseline) };
    Bench::new(seen, &resolved, &parts).expect("oracles")
}

fn patch(file: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(file).expect("open");
    file.write_all_at(bytes, at).expect("write");
}

#[test]
fn every_difference_of_a_tree_is_told_by_its_path() {
    type Change = fn(&Path);
    let cases: [(Change, &str); 10] = [
        (|v| patch(&v.join("below/b"), 7, &[9, 9]), "2 bytes differ in 1 range: `below/b`+0x7 (2 bytes)"),
        (|v| fs::remove_file(v.join("link")).expect("remove"), "`link` is missing"),
        (|v| fs::write(v.join("new"), "").expect("write"), "`new` is left over"),
        (|v| fs::create_dir(v.join("new")).expect("a folder"), "`new` is left over"),
        (
            |v| OpenOptions::new().write(true).open(v.join("a")).and_then(|a| a.set_len(9_000)).expect("cut"),
            "`a` is 9000 bytes long, not 10000",
        ),
        (
            |v| fs::set_permissions(v.join("a"), fs::Permissions::from_mode(0o600)).expect("chmod"),
            "`a` has mode 0600, not 0644",
        ),
        (
            |v| {
                fs::remove_file(v.join("link")).expect("remove");
                symlink("below/b", v.join("link")).expect("a link");
            },
            "`link` leads to `below/b`, not `a`",
        ),
        (
            |v| {
                fs::remove_file(v.join("link")).expect("remove");
                fs::create_dir(v.join("link")).expect("a folder");
            },
            "`link` has mode 0755, not 0777; `link` is a directory, not a symbolic link",
        ),
        (
            |v| fs::hard_link(v.join("a"), v.join("c")).expect("a link"),
            "`a` is same file as `a`, not alone; `c` is left over",
        ),
        (
            |v| fs::set_permissions(v, fs::Permissions::from_mode(0o711)).expect("chmod"),
            "`.` has mode 0711, not 0755",
        ),
    ];
    let volume = tree();
    for (change, explain) in cases {
        let mut bench = bench(Seen::InMemory, "", volume.path(), volume.path(), &[]);
        change(&bench.volume());
        let Outcome::Failed { explain: found } = bench.outcome("baseline") else {
            panic!("not seen: {explain}")
        };
        let sorted = |text: &str| {
            let mut parts: Vec<String> = text.split("; ").map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(sorted(&found), sorted(explain));
    }
}

/// Where the old content is accepted, a volume that is as it was is rolled back, and one between the two is neither.
#[test]
fn a_baseline_may_accept_what_was_there_before() {
    let (old, new) = (tree(), tree());
    patch(&new.path().join("a"), 100, &[7, 7]);
    patch(&new.path().join("a"), 5_000, &[7]);
    let restore = |bench: &Bench| patch(&bench.volume().join("a"), 100, &[1, 1]);
    for seen in BOTH {
        let accept = |accept: &str| {
            let oracle = format!("[[oracle]]\nkind = \"baseline\"\naccept = {accept}\n");
            bench(seen, &oracle, old.path(), new.path(), &[])
        };
        let mut both = accept("[\"old\", \"new\"]");
        assert_eq!(both.outcome("baseline"), Outcome::Held, "{seen:?}");
        both.set.prove().expect("it objects to what is neither");
        restore(&both);
        let explain = "2 bytes differ in 1 range: `a`+0x64 (2 bytes); \
                       from what it was before the run: 1 byte differs in 1 range: `a`+0x1388 (1 byte)";
        assert_eq!(both.outcome("baseline"), Outcome::Failed { explain: explain.to_owned() });
        patch(&both.volume().join("a"), 5_000, &[1]);
        assert_eq!(both.outcome("baseline"), Outcome::RolledBack);

        let mut only_new = accept("[\"new\"]");
        restore(&only_new);
        patch(&only_new.volume().join("a"), 5_000, &[1]);
        assert!(matches!(only_new.outcome("baseline"), Outcome::Failed { .. }), "{seen:?}");

        let mut only_old = accept("[\"old\"]");
        assert!(matches!(only_old.outcome("baseline"), Outcome::Failed { .. }), "{seen:?}");
    }
}

#[test]
fn what_a_mask_excuses_counts_neither_for_old_nor_for_new() {
    let (old, new) = (tree(), tree());
    patch(&new.path().join("a"), 100, &[7, 7]);
    for seen in BOTH {
        let oracle = "[[oracle]]\nkind = \"baseline\"\naccept = [\"old\", \"new\"]\n";
        let mut bench = bench(seen, oracle, old.path(), new.path(), &["a:5000+10"]);
        patch(&bench.volume().join("a"), 5_005, &[9]);
        assert_eq!(bench.outcome("baseline"), Outcome::Held);
        patch(&bench.volume().join("a"), 100, &[1, 1]);
        assert_eq!(bench.outcome("baseline"), Outcome::RolledBack);
        patch(&bench.volume().join("below/b"), 5, &[9]);
        assert!(matches!(bench.outcome("baseline"), Outcome::Failed { .. }));
    }
}

/// Ranges and files are held against the phase's start, whatever the run makes of them.
#[test]
fn ranges_and_files_can_be_guarded() {
    let (old, new) = (tree(), tree());
    patch(&new.path().join("a"), 100, &[7, 7]);
    let oracle = "[[oracle]]\nkind = \"untouched\"\nat = \"both\"\nfile = \"a\"\nranges = [\"0x1000+512\", \"0+50\"]\n\
                  files = [\"below/b\"]\n";
    for seen in BOTH {
        let mut bench = bench(seen, oracle, old.path(), new.path(), &[]);
        assert_eq!(bench.set.prove().expect("each objects"), ["baseline", "untouched"]);
        assert_eq!(bench.objections(), "", "{seen:?}");
        patch(&bench.volume().join("a"), 4_200, &[9]);
        patch(&bench.volume().join("a"), 9_000, &[9]);
        let said = |explain: &str| Outcome::Failed { explain: explain.to_owned() };
        assert_eq!(bench.outcome("untouched"), said("1 byte differs in 1 range: `a`+0x1068 (1 byte)"));
        patch(&bench.volume().join("a"), 4_200, &[1]);
        assert_eq!(bench.outcome("untouched"), Outcome::Held);
        patch(&bench.volume().join("below/b"), 300, &[2]);
        assert_eq!(bench.outcome("untouched"), said("`below/b` is 301 bytes long, not 300"));
        fs::remove_file(bench.volume().join("below/b")).expect("remove");
        assert_eq!(bench.outcome("untouched"), said("`below/b` is missing"));
    }
}

/// A file without a file system is content by its leading bytes; a longer one holds the same.
#[test]
fn a_file_may_grow_and_keep_its_content() {
    let volume = tree();
    let oracle = "[[oracle]]\nkind = \"content\"\nfile = \"a\"\noffset = \"4K\"\n";
    for seen in BOTH {
        let mut bench = bench(seen, oracle, volume.path(), volume.path(), &[]);
        bench.set.prove().expect("it objects");
        patch(&bench.volume().join("a"), 10_000, &[5; 5_000]);
        patch(&bench.volume().join("a"), 0, &[5; 4_096]);
        assert_eq!(bench.outcome("content"), Outcome::Held, "{seen:?}");
        patch(&bench.volume().join("a"), 9_999, &[5]);
        let explain = "1 byte differs in 1 range: `a`+0x270f (1 byte)".to_owned();
        assert_eq!(bench.outcome("content"), Outcome::Failed { explain });
    }
}

/// Names that are not there when the phase starts are errors of the scenario, with their place in it.
#[test]
fn what_is_not_there_is_an_error_at_its_line() {
    let volume = tree();
    for (oracle, line, caret) in [
        ("kind = \"gpt\"\nfile = \"disk.img\"", 12, "^^^^^^^^^^"),
        ("kind = \"untouched\"\nfile = \"a\"\nfiles = [\"a\", \"c\"]", 13, "              ^^^"),
        ("kind = \"untouched\"\nfile = \"a\"\nranges = [\"0+20000\"]", 13, "^^^^^^^^^"),
        ("kind = \"fsck\"\nfile = \"a\"\npartitions = [\"P3\"]", 13, "^^^^"),
        ("kind = \"content\"\nfile = \"a\"\noffset = \"1M\"", 13, "^^^^"),
        ("kind = \"fsck\"\nfile = \"a\"", 11, "^^^^^^"),
    ] {
        let (_folder, resolved) = scenario(&format!("{HEAD}[[oracle]]\n{oracle}\n"));
        for seen in BOTH {
            let Err(error) = Bench::new(seen, &resolved, &Parts::still(volume.path())) else {
                panic!("accepted: {oracle}")
            };
            assert_eq!(error.exit(), Exit::Usage);
            let text = error.to_string();
            assert!(text.contains(&format!("scenario.toml:{line}:")), "{oracle}\n{text}");
            assert!(text.ends_with(caret), "{oracle}\n{text}");
        }
    }
}

fn set_in_memory(resolved: &Resolved, work: &Path, baseline: &Saved) -> OracleSet {
    let words = Words {
        volume: work.to_owned(),
        scratch: work.to_owned(),
        scenario_dir: work.to_owned(),
        directory: None,
        programs: Default::default(),
        environment: Default::default(),
        real_time: false,
    };
    let checkers =
        Checkers { work: work.to_owned(), lacking: Vec::new(), words, acks: Vec::new(), show: None };
    let mask = Mask::measure(&[baseline.clone(), baseline.clone()], &[], 0.001).expect("a mask");
    OracleSet::new(resolved, &resolved.scenario.phase[0], baseline, baseline, mask, checkers)
        .expect("oracles")
}

/// A terabyte that nobody can read in a test's time: what is judged is what differs.
#[test]
fn a_huge_sparse_disk_in_memory_costs_what_differs() {
    let (_folder, resolved) = scenario(&format!(
        "{HEAD}[[oracle]]\nkind = \"untouched\"\nranges = [\"0+1T\"]\n[[oracle]]\nkind = \"content\"\n"
    ));
    let work = TempDir::new().expect("a temporary folder");
    let mut image = Image::new(4 << 40);
    image.write_at(1 << 35, &[7; 4096]).expect("write");
    let mut state = Volume::new();
    state.insert_file("volume/disk.img".as_ref(), image.clone()).expect("insert");
    let saved = |state: &Volume| Saved {
        id: state.content_id(),
        path: work.path().join("nowhere"),
        memory: Some(state.clone()),
    };
    let baseline = saved(&state);
    let mut set = set_in_memory(&resolved, work.path(), &baseline);
    assert_eq!(set.prove().expect("each objects"), ["baseline", "untouched", "content"]);
    let mut answers = |state: &Volume| {
        let Saved { id, path, memory } = saved(state);
        let look = Look { id, path: &path, hashes: None, memory: memory.as_ref() };
        set.at_end(&look, &[]).into_iter().map(|answer| answer.outcome).collect::<Vec<_>>()
    };
    assert_eq!(answers(&state), [Outcome::Held, Outcome::Held, Outcome::Held]);
    image.write_at((1 << 40) + 5, &[9]).expect("write");
    state.insert_file("volume/disk.img".as_ref(), image).expect("insert");
    let explain = "1 byte differs in 1 range: `disk.img`+0x10000000005 (1 byte)".to_owned();
    let fails = Outcome::Failed { explain };
    assert_eq!(answers(&state), [fails.clone(), Outcome::Held, fails]);
}
