//! Command oracles: what they are told, what their exit codes mean, and that they can't change what is judged.

use std::fs;
use std::path::PathBuf;

use killpoint::oracle::{Outcome, Told, Unproved};
use tempfile::TempDir;

use crate::bench::{BOTH, Bench, Parts, Seen, scenario};

/// A volume of one file, `data`, with the line `sound`, and a check that runs as a script of `sh`.
struct Checked {
    _volume: TempDir,
    _scenario: TempDir,
    bench: Bench,
}

fn checked(seen: Seen, script: &str, keys: &str) -> Checked {
    let volume = TempDir::new().expect("a temporary folder");
    fs::write(volume.path().join("data"), "sound\n").expect("write");
    let arguments =
        r#""{volume}", "{baseline}", "{start}", "{acks}", "{exit}", "{scratch}", "{scenario_dir}""#;
    let (folder, resolved) = scenario(&format!(
        r#"
schema = 1
name = "checked"
summary = "a check of one's own"
[fixture]
command = ["true"]
[environment]
PLACE = "{{scratch}}"
[[phase]]
name = "nothing"
run = ["true"]
[[oracle]]
kind = "command"
name = "my check"
run = ["sh", "-c", '''{script}''', "sh", {arguments}]
{keys}
"#
    ));
    let parts = Parts { acks: &["first", "last"], ..Parts::still(volume.path()) };
    let bench = Bench::new(seen, &resolved, &parts).expect("oracles");
    Checked { _volume: volume, _scenario: folder, bench }
}

fn outcome(seen: Seen, script: &str, keys: &str) -> Outcome {
    checked(seen, script, keys).bench.outcome("my check")
}

fn failed(explain: &str) -> Outcome {
    Outcome::Failed { explain: explain.to_owned() }
}

#[test]
fn exit_codes_say_what_is_found_and_the_last_lines_why() {
    for seen in BOTH {
        for (script, keys, answer) in [
            ("exit 0", "", Outcome::Held),
            ("exit 3", "pass = [3]", Outcome::Held),
            ("exit 0", "pass = [3]", failed("exits 0")),
            (
                "seq 9; echo bad $1/data >&2; exit 1",
                "",
                failed("exits 1: 5 | 6 | 7 | 8 | 9 | bad {volume}/data"),
            ),
            ("echo no reader; exit 77", "", Outcome::NotMeasured { why: "exits 77: no reader".to_owned() }),
            ("kill -ABRT $$", "", Outcome::NotMeasured { why: "dies of signal 6".to_owned() }),
            ("sleep 60", "time_limit = \"50ms\"", Outcome::Hung { what: "runs longer than 50ms".to_owned() }),
            (
                "while :; do echo endless; done",
                "",
                Outcome::Hung { what: "prints more than 1048576 bytes".to_owned() },
            ),
        ] {
            assert_eq!(outcome(seen, script, keys), answer, "{seen:?}: {script}");
        }
    }
}

#[test]
fn a_check_is_told_everything_and_inherits_nothing() {
    for seen in BOTH {
        let script = r#"test "$(cat $1/data $2/data $3/data)" = "$(printf "sound\nsound\nsound")" || exit 10
            test "$4" = "$(printf "a\n{%s}" volume)" || exit 11
            test "$5" = 4 || exit 12
            test -d "$6" && test "$PLACE" = "$6" || exit 13
            test -e "$7/scenario.toml" || exit 14
            test "$PWD" = "$(realpath $1)" && test -d "$TMPDIR" && test "$LC_ALL" = C || exit 15
            test -z "$CARGO" || exit 16"#;
        let mut checked = checked(seen, script, "");
        let acks = ["a".to_owned(), "{volume}".to_owned()];
        let (_, end) = checked.bench.ask(Told { acks: &acks, exit: Some(4) });
        assert_eq!(end[1].outcome, Outcome::Held, "{seen:?}");
        // Another list of acknowledgements is another question about the same volume.
        let (_, end) = checked.bench.ask(Told { acks: &acks[..1], exit: Some(4) });
        assert_eq!(end[1].outcome, failed("exits 11"), "{seen:?}");
    }
}

/// The first check writes into its copy, its scratch directory and its folder for temporary files; neither the second
/// check nor another oracle sees it.
#[test]
fn what_a_check_writes_is_gone_with_it() {
    for seen in BOTH {
        let script =
            r#"echo spoilt > "$1/data"; echo more > "$1/more"; echo x > "$6/left"; echo x > "$TMPDIR/t""#;
        let second = r#"[[oracle]]
kind = "command"
name = "second"
run = ["sh", "-c", 'grep -q sound "$1/data" && test ! -e "$1/more" && test ! -e "$2/left"', "sh", "{volume}", "{scratch}"]
"#;
        let mut checked = checked(seen, script, second);
        for _ in 0..2 {
            let end = checked.bench.at_end();
            assert!(end.iter().all(|answer| answer.outcome == Outcome::Held), "{seen:?}: {end:?}");
        }
        let work = checked.bench.folder.path().join("work");
        assert_eq!(fs::read_dir(work).expect("the work folder").count(), 0, "{seen:?}");
        let data = fs::read_to_string(checked.bench.volume().join("data")).expect("read");
        assert_eq!(data, "sound\n", "{seen:?}");
    }
}

/// A check that is not shown to object is named, one that does not object to its own damage is no check.
#[test]
fn a_check_is_proved_by_the_damage_that_its_scenario_knows() {
    let prove = r#"prove = ["sh", "-c", 'echo spoilt > "$1/data"', "sh", "{volume}"]"#;
    for seen in BOTH {
        let mut sound = checked(seen, r#"grep -q sound "$1/data""#, prove);
        assert_eq!(sound.bench.set.prove().expect("it objects"), ["baseline", "my check"]);
        assert!(sound.bench.set.not_tested().is_empty());
        assert_eq!(sound.bench.objections(), "");

        let mut blind = checked(seen, "true", prove);
        let silent = blind.bench.set.prove();
        assert!(
            matches!(&silent, Err(Unproved::Silent { oracle, .. }) if oracle == "my check"),
            "{silent:?}"
        );

        let mut unproved = checked(seen, "true", "");
        assert_eq!(unproved.bench.set.prove().expect("the others"), ["baseline"]);
        let left_out = unproved.bench.set.not_tested();
        assert_eq!(left_out, ["command oracle my check was not proved: the scenario names no `prove`"]);

        // The acknowledgements of the uninterrupted run are those of the proof.
        let mut acks =
            checked(seen, r#"test "$4" = "$(printf "first\nlast")" && grep -q sound "$1/data""#, prove);
        assert_eq!(acks.bench.set.prove().expect("it objects"), ["baseline", "my check"]);

        let mut fails = checked(seen, "echo always; exit 1", prove);
        let fails = fails.bench.set.prove();
        assert!(
            matches!(&fails, Err(Unproved::BaselineFails { explain, .. }) if explain == "exits 1: always")
        );
    }
}

/// What a check leaves running ends with it.
#[test]
fn nothing_that_a_check_started_goes_on() {
    let left = TempDir::new().expect("a temporary folder");
    let mark: PathBuf = left.path().join("mark");
    let script = format!("(sleep 0.3; echo late > {}) & exit 0", mark.display());
    assert_eq!(outcome(Seen::OnHost, &script, ""), Outcome::Held);
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert!(!mark.exists());
}
