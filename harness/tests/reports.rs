//! Goal: a person or a CI job gets a campaign's result in the form that they ask for, with the exit code that says what
//! came of it. Method: the binary reads run directories that are made here, event by event.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use reports::{
    CampaignStarted, Event, EventLog, Finding, Model, Outcome, Point, SCHEMA, Seam, Stream, Verdict,
};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A sweep whose states after ops 1, 2, … have these verdicts.
    fn campaign(&self, name: &str, scenario: &str, verdicts: &[Verdict]) {
        let dir = self.path(name);
        fs::create_dir(&dir).unwrap();
        let mut stream = Stream::new(vec![Box::new(EventLog::create(&dir).unwrap())]);
        let mut tell = |event| stream.emit(&event).unwrap();
        tell(Event::CampaignStarted(CampaignStarted {
            schema: SCHEMA,
            killpoint: "0.1.0".to_owned(),
            scenario: scenario.to_owned(),
            scale: None,
            scenario_digest: "5d1c".to_owned(),
            phases: vec!["new".to_owned()],
            command: reports::Command::Sweep,
            seam: Seam::Fuse,
            seed: 7,
            model: vec!["kill".to_owned()],
            iterations: None,
            for_s: None,
            tool_versions: BTreeMap::new(),
            options: BTreeMap::new(),
            shard: None,
            expected: Vec::new(),
        }));
        for (place, verdict) in verdicts.iter().enumerate() {
            let op = place as u64 + 1;
            tell(Event::Point(point(op, *verdict)));
            if !verdict.is_pass() {
                tell(Event::Finding(finding(op, *verdict)));
            }
        }
        let exit_code = u8::from(verdicts.iter().any(|verdict| !verdict.is_pass()));
        tell(Event::CampaignEnded { outcome: Outcome::Completed, exit_code, wall_s: 1.0, prepared_s: 0.5 });
    }

    fn report(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_killpoint"));
        command.arg("report").args(arguments).current_dir(self.0.path()).env_remove("GITHUB_ACTIONS");
        command.output().unwrap()
    }
}

fn point(op: u64, verdict: Verdict) -> Point {
    Point {
        phase: "new".to_owned(),
        model: Model::Kill,
        depth: 0,
        faults: format!("a{op}k"),
        op,
        torn_bytes: None,
        ordinal: 0,
        acks: 0,
        step: "write".to_owned(),
        region: "disk.img".to_owned(),
        content_id: format!("{op:032x}"),
        distinct: true,
        interior: true,
        scratch_wiped: false,
        gpt: None,
        copies: BTreeMap::new(),
        merged: false,
        unread: false,
        verdict: Some(verdict),
        asked: None,
        overwrites: None,
        opened: None,
        wall_ms: 1,
    }
}

fn finding(op: u64, verdict: Verdict) -> Finding {
    Finding {
        id: format!("F{op}"),
        token: format!("kp1:made:{op}"),
        verdict,
        model: Model::Kill,
        phase: "new".to_owned(),
        step: "write".to_owned(),
        point: format!("after op {op}"),
        oracle: "baseline".to_owned(),
        explain: "bytes differ\nin two places".to_owned(),
        repro: format!("killpoint repro kp1:made:{op}"),
        expected: false,
        shrunk_from: None,
        shrunk_from_point: None,
    }
}

fn told(output: &Output) -> (Option<i32>, String) {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_campaign_is_written_as_a_page_and_as_junit_and_keeps_its_exit_code() {
    let place = Place::new();
    place.campaign("run", "made", &[Verdict::Recovered, Verdict::Corrupt]);
    let (code, text) = told(&place.report(&["run", "--html", "page.html", "--junit", "junit.xml"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("made: "), "{text}");
    assert!(!text.contains("::error"), "nobody asked for annotations: {text}");
    let page = fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("data-marks=\"2\"") && page.contains("killpoint repro kp1:made:2"));
    let xml = fs::read_to_string(place.path("junit.xml")).unwrap();
    assert!(xml.contains("new × kill") && xml.contains("killpoint repro kp1:made:2"), "{xml}");
}

#[test]
fn on_github_the_result_ends_with_annotations() {
    let place = Place::new();
    place.campaign("run", "made", &[Verdict::Corrupt]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_killpoint"));
    command.args(["report", "run"]).current_dir(place.0.path()).env("GITHUB_ACTIONS", "true");
    let (code, text) = told(&command.output().unwrap());
    let expected = "::error title=killpoint made%3A corrupt in new at write (baseline)::F1: after op 1%0Abytes \
                    differ%0Ain two places%0Akillpoint repro kp1:made:1";
    assert_eq!((code, text.lines().last()), (Some(1), Some(expected)));
}

#[test]
fn a_comparison_exits_by_what_changed() {
    let place = Place::new();
    let (sound, refused, corrupt) = (Verdict::Recovered, Verdict::Refused, Verdict::Corrupt);
    place.campaign("old", "made", &[sound, refused, corrupt]);
    for (name, verdicts, code, said) in [
        ("same", [sound, refused, corrupt], 0, "made: 2 findings unchanged\n"),
        ("better", [sound, sound, refused], 0, "made: 1 better, 1 gone, 0 findings unchanged\n"),
        ("worse", [sound, corrupt, corrupt], 1, "made: 1 worse, 1 finding unchanged\n"),
        ("new", [corrupt, refused, corrupt], 1, "made: 1 new, 2 findings unchanged\n"),
    ] {
        place.campaign(name, "made", &verdicts);
        let (found, text) = told(&place.report(&["--compare", "old", name]));
        assert_eq!(found, Some(code), "{name}: {text}");
        assert!(text.starts_with(said), "{name}: {text}");
        let (found, json) = told(&place.report(&["--compare", "old", name, "--format", "json"]));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((found, &json["scenario"]), (Some(code), &"made".into()), "{name}");
    }
}

#[test]
fn what_cannot_be_compared_is_one_line_and_exit_2() {
    let place = Place::new();
    place.campaign("old", "made", &[]);
    place.campaign("other", "another", &[]);
    let output = place.report(&["--compare", "old", "other"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
    assert!(stderr.starts_with("killpoint: error: `made` and `another` are different scenarios"), "{stderr}");
    for arguments in [&["--compare", "old"][..], &["old", "--compare", "old", "other"], &[]] {
        assert_eq!(place.report(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
