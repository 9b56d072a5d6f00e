//! Goal: what is looked at between a kill and the resume really is, whatever the tool. Method: the tools are shell
//! scripts that tell, or do, something that only shows at that moment; they don't link the hook, and on the in-process
//! seam their kills are by time alone.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Bench, text_of};
use serde_json::Value;

/// A scenario of one phase that runs a script on a small disk with one partition.
fn scenario(bench: &Bench, scratch: &str, script: &str, oracles: &str) -> PathBuf {
    let path = bench.dir.path().join("own.toml");
    let text = format!(
        r#"
schema = 1
name = "own"
summary = "a script"

[fixture.disk]
size = "4M"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b01"

[[fixture.partition]]
index = 1
label = "DATA"
type = "linux"
guid = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6b11"
size = "1M"
content = {{ kind = "raw", seed = 1 }}

[[phase]]
name = "only"
run = ["sh", "-c", """{script}"""]
step_prefix = "step: "
scratch = "{scratch}"
{oracles}
"#
    );
    fs::write(&path, text).unwrap();
    path
}

fn run(bench: &Bench, scenario: &Path, code: i32) -> Value {
    let arguments = [
        scenario.to_str().unwrap(),
        "--iterations",
        "3",
        "--kills",
        "3",
        "--seed",
        "1",
        "--seam",
        "in-process",
    ];
    let output = bench.killpoint("run", &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", text_of(&output));
    bench.report()
}

#[test]
fn the_scratch_directory_is_kept_or_wiped_as_the_scenario_says() {
    let script = "if [ -e {scratch}/mark ]; then echo 'step: kept'; else echo 'step: fresh'; fi
        touch {scratch}/mark; sleep 0.2";
    for (policy, kept) in [("kept", 6), ("wiped", 0)] {
        let bench = Bench::new();
        let path = scenario(&bench, policy, script, "");
        run(&bench, &path, 0);
        let at = |step: &str| bench.events("kill").iter().filter(|kill| kill["step"] == step).count();
        // A kill may fall before the script has looked, at which point nothing is marked.
        let (fresh, start) = (at("fresh"), at("start"));
        assert_eq!(at("kept") + fresh + start, 9, "{policy}");
        assert!(at("kept") <= kept && (policy == "wiped" || at("kept") > 0), "{policy}: {} kept", at("kept"));
    }
    // Drawn by seed, both occur.
    let bench = Bench::new();
    let path = scenario(&bench, "both", script, "");
    run(&bench, &path, 0);
    let wiped = |wiped: bool| bench.events("kill").iter().filter(|k| k["scratch_wiped"] == wiped).count();
    assert!(wiped(true) > 0 && wiped(false) > 0);
}

/// Both headers are gone for a while, and back before the end.
#[test]
fn a_disk_without_a_valid_table_at_the_crash_is_a_finding_though_the_resume_heals_it() {
    let script = "d={volume}/disk.img; g={scratch}/good; [ -e $g ] || cp $d $g
        dd if=/dev/zero of=$d bs=512 seek=1 count=1 conv=notrunc 2>/dev/null
        dd if=/dev/zero of=$d bs=512 seek=8191 count=1 conv=notrunc 2>/dev/null
        echo 'step: broken'; sleep 0.3
        cat $g > $d";
    let oracle = "[[oracle]]\nkind = \"gpt\"\nat = \"crash\"\nneed = \"one-valid\"";
    let bench = Bench::new();
    let path = scenario(&bench, "kept", script, oracle);
    let report = run(&bench, &path, 1);
    let finding = &report["findings"][0];
    assert_eq!((&finding["verdict"], &finding["oracle"]), (&"corrupt".into(), &"gpt".into()), "{report}");
    assert!(finding["explain"].as_str().unwrap().contains("at the crash, no GPT copy is valid"), "{finding}");
    assert!(report["gpt"]["no_valid_copy"].as_u64() > Some(0));

    // The same tool without that oracle heals everything.
    let bench = Bench::new();
    let path = scenario(&bench, "kept", script, "");
    assert_eq!(run(&bench, &path, 0)["findings"].as_array().unwrap().len(), 0);
}

#[test]
fn a_resume_that_crashes_hangs_or_refuses_is_told_apart() {
    for (after_kill, verdict) in [
        ("kill -SEGV $$", "crashed"),
        ("exit 9", "refused"),
        ("sleep 100", "hung"),
        ("printf x | dd of={volume}/disk.img bs=1 seek=2000000 conv=notrunc 2>/dev/null", "diverged"),
    ] {
        let script = format!(
            "if [ -e {{scratch}}/mark ]; then {after_kill}; exit 0; fi
            touch {{scratch}}/mark; echo 'step: up'; sleep 0.2; rm {{scratch}}/mark"
        );
        let bench = Bench::new();
        let path = scenario(&bench, "kept", &script, "");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("step_prefix", "time_limit = \"3s\"\nstep_prefix")).unwrap();
        let arguments = [
            path.to_str().unwrap(),
            "--iterations",
            "6",
            "--kills",
            "1",
            "--seed",
            "1",
            "--max-findings",
            "1",
            "--seam",
            "in-process",
        ];
        let output = bench.killpoint("run", &arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{verdict}: {}", text_of(&output));
        assert_eq!(bench.report()["findings"][0]["verdict"], verdict, "{}", text_of(&output));
    }
}
