//! What a folder is copied from: a changed byte, a file put in another's place, and a name that the copy shares are each
//! found, wherever the copy is. Inode numbers last in states in memory alone, so what rests on them is asked there.

use std::fs;
use std::path::Path;

use fault_backend::{Mutation, Timestamp, Volume};
use killpoint::mask::Mask;
use killpoint::oracle::{Checkers, OracleSet, Outcome, Told};
use killpoint::stage::{Look, Saved, Words};
use reports::Exit;
use scenarios::Resolved;
use tempfile::TempDir;

use crate::bench::{BOTH, Bench, Parts, Seen, scenario};

const TEXT: &str = r#"
schema = 1
name = "copy"
summary = "a folder and its copy"
[fixture]
command = ["true"]
[[phase]]
name = "copy"
run = ["true"]
[[oracle]]
kind = "isolation"
source = "vm"
fork = "forks/one"
"#;

/// A source of two files, one of them with a second name outside from the start, and a copy. Each look imports the folder
/// anew, in the order of the names; what the tests change leaves the numbers of the source's files as they are.
fn volume() -> TempDir {
    let volume = TempDir::new().expect("a temporary folder");
    let path = |name: &str| volume.path().join(name);
    for dir in ["vm/state", "forks/one"] {
        fs::create_dir_all(path(dir)).expect("a folder");
    }
    fs::write(path("vm/memory"), vec![5; 9_000]).expect("write");
    fs::write(path("vm/state/config"), "cpus = 2").expect("write");
    fs::write(path("forks/one/memory"), vec![5; 9_000]).expect("write");
    fs::hard_link(path("vm/state/config"), path("vm-config")).expect("a link");
    volume
}

fn failed(explain: &str) -> Outcome {
    Outcome::Failed { explain: explain.to_owned() }
}

#[test]
fn what_a_copy_may_not_do_to_its_source_is_found_at_crash_and_end() {
    type Change = fn(&Path);
    let cases: [(Change, &str); 6] = [
        (
            |v| fs::write(v.join("vm/memory"), vec![6; 9_000]).expect("write"),
            "`vm/memory` has another SHA-256 than before",
        ),
        (
            |v| fs::write(v.join("vm/memory"), vec![5; 9_001]).expect("write"),
            "`vm/memory` has another SHA-256 than before",
        ),
        (|v| fs::remove_file(v.join("vm/memory")).expect("remove"), "`vm/memory` is missing"),
        (
            |v| {
                fs::remove_file(v.join("forks/one/memory")).expect("remove");
                fs::hard_link(v.join("vm/memory"), v.join("forks/one/memory")).expect("a link");
            },
            "`forks/one/memory` is a hard link to `vm/memory`",
        ),
        // A copy that is still being made has another name.
        (
            |v| {
                fs::create_dir(v.join("forks/.one.tmp")).expect("a folder");
                fs::hard_link(v.join("vm/memory"), v.join("forks/.one.tmp/memory")).expect("a link");
            },
            "`forks/.one.tmp/memory` is a hard link to `vm/memory`",
        ),
        (
            |v| {
                fs::write(v.join("vm/memory"), "").expect("write");
                fs::hard_link(v.join("vm/state/config"), v.join("forks/one/config")).expect("a link");
            },
            "`vm/memory` has another SHA-256 than before; `forks/one/config` is a hard link to `vm/state/config`",
        ),
    ];
    let start = volume();
    let (_folder, resolved) = scenario(TEXT);
    for seen in BOTH {
        for (change, explain) in cases {
            let mut bench = Bench::new(seen, &resolved, &Parts::still(start.path())).expect("oracles");
            assert_eq!(bench.outcome("isolation"), Outcome::Held, "{seen:?}");
            change(&bench.volume());
            let (crash, end) = bench.ask(Told::default());
            for answers in [crash, end] {
                let answer = answers.into_iter().find(|answer| answer.oracle == "isolation");
                assert_eq!(answer.expect("an answer").outcome, failed(explain), "{seen:?}");
            }
        }
    }
}

#[test]
fn what_happens_to_the_copy_alone_is_no_matter() {
    let start = volume();
    let (_folder, resolved) = scenario(TEXT);
    for seen in BOTH {
        let mut bench = Bench::new(seen, &resolved, &Parts::still(start.path())).expect("oracles");
        fs::write(bench.volume().join("forks/one/memory"), "written to").expect("write");
        fs::hard_link(bench.volume().join("forks/one/memory"), bench.volume().join("forks/second"))
            .expect("a link");
        fs::hard_link(bench.volume().join("vm/memory"), bench.volume().join("vm/also")).expect("a link");
        assert_eq!(bench.outcome("isolation"), Outcome::Held, "{seen:?}");
        fs::remove_dir_all(bench.volume().join("forks/one")).expect("remove");
        assert_eq!(bench.outcome("isolation"), Outcome::Held, "{seen:?}");
    }
}

#[test]
fn it_is_proved_and_says_where_inodes_cannot_be_compared() {
    let start = volume();
    let (_folder, resolved) = scenario(TEXT);
    for seen in BOTH {
        let mut bench = Bench::new(seen, &resolved, &Parts::still(start.path())).expect("oracles");
        assert_eq!(bench.set.prove().expect("each objects"), ["baseline", "isolation"], "{seen:?}");
        assert_eq!(bench.objections(), "", "the proof leaves nothing");
        let named = bench.set.not_tested();
        assert_eq!(named.iter().any(|text| text.contains("inodes")), seen == Seen::OnHost, "{named:?}");
    }
}

#[test]
fn a_source_without_files_is_an_error_at_its_line() {
    let start = volume();
    fs::create_dir(start.path().join("empty")).expect("a folder");
    for source in ["nowhere", "empty", "forks-2"] {
        let (_folder, resolved) = scenario(&TEXT.replace("\"vm\"", &format!("{source:?}")));
        for seen in BOTH {
            let Err(error) = Bench::new(seen, &resolved, &Parts::still(start.path())) else {
                panic!("accepted: {source}")
            };
            assert_eq!(error.exit(), Exit::Usage);
            assert!(error.to_string().contains("scenario.toml:12:"), "{error}");
        }
    }
}

/// The same bytes under the same name, and yet another file: whoever holds the old one open no longer sees the snapshot.
#[test]
fn a_file_that_takes_the_place_of_another_is_found() {
    let (_folder, resolved) = scenario(TEXT);
    let work = TempDir::new().expect("a temporary folder");
    let mut state = Volume::new();
    let start = volume();
    state.graft("volume".as_ref(), &Volume::import(start.path()).expect("import")).expect("graft");
    let mut set = set_in_memory(&resolved, work.path(), &state);
    assert_eq!(outcome(&mut set, work.path(), &state), Outcome::Held);

    let path = Path::new("volume/vm/memory");
    let image = state.file(path).expect("the memory").clone();
    let mut replaced = state.clone();
    replaced.remove_tree(path).expect("remove");
    replaced.insert_file(path, image).expect("insert");
    assert_eq!(replaced.content_id(), state.content_id(), "no content id tells them apart");
    let explain = "`vm/memory` is another file than before";
    assert_eq!(outcome(&mut set, work.path(), &replaced), failed(explain));

    // Moved away and back it is the same file.
    let mut moved = state.clone();
    let dir = moved.resolve("volume/vm".as_ref()).expect("the folder");
    for (name, new_name) in [("memory", "aside"), ("aside", "memory")] {
        let mode = fault_backend::volume::RenameMode::Replace;
        let rename =
            Mutation::Rename { from: dir, from_name: name.into(), to: dir, to_name: new_name.into(), mode };
        moved.apply(&rename, Timestamp::default()).expect("rename");
    }
    assert_eq!(outcome(&mut set, work.path(), &moved), Outcome::Held);
}

fn saved(work: &Path, state: &Volume) -> Saved {
    Saved { id: state.content_id(), path: work.join("nowhere"), memory: Some(state.clone()) }
}

fn outcome(set: &mut OracleSet, work: &Path, state: &Volume) -> Outcome {
    let Saved { id, path, memory } = saved(work, state);
    let look = Look { id, path: &path, hashes: None, memory: memory.as_ref() };
    let answers = set.at_end(&look, &[]);
    answers.into_iter().find(|answer| answer.oracle == "isolation").expect("its answer").outcome
}

fn set_in_memory(resolved: &Resolved, work: &Path, state: &Volume) -> OracleSet {
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
    let baseline = saved(work, state);
    let mask = Mask::measure(&[baseline.clone(), baseline.clone()], &[], 0.001).expect("a mask");
    OracleSet::new(resolved, &resolved.scenario.phase[0], &baseline, &baseline, mask, checkers)
        .expect("oracles")
}
