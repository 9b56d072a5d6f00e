//! Goal: what shows test results finds each step as a case, failed with what differs and the line to paste where the
//! campaign failed there, and never green where nothing was looked at. Method: the document is parsed back.

use quick_junit::{Report as Document, TestCase, TestCaseStatus};

use super::*;
use crate::samples::sweep::{begins, found, point, started, sweep};
use crate::samples::{campaign, ended};
use crate::{Event, Stream};

fn document(events: &[Event]) -> Document {
    let mut stream = Stream::new(Vec::new());
    events.iter().for_each(|event| stream.emit(event).unwrap());
    let xml = render(&Report::from(stream.tally()), stream.chart()).unwrap();
    Document::deserialize_from_str(&xml).unwrap()
}

/// `suite/case: what became of it`, of all cases.
fn cases(document: &Document) -> Vec<String> {
    let told = |suite: &str, case: &TestCase| {
        let status = match &case.status {
            TestCaseStatus::Success { .. } => "passed".to_owned(),
            TestCaseStatus::Skipped { message, .. } => {
                format!("skipped, {}", message.as_ref().unwrap().as_str())
            }
            TestCaseStatus::NonSuccess { kind, message, .. } => {
                format!("{kind:?}, {}", message.as_ref().unwrap().as_str())
            }
        };
        format!("{suite}/{}: {status}", case.name.as_str())
    };
    let of = |suite: &TestSuite| -> Vec<String> {
        suite.test_cases.iter().map(|case| told(suite.name.as_str(), case)).collect()
    };
    document.test_suites.iter().flat_map(of).collect()
}

#[test]
fn the_sample_sweep_has_a_suite_for_each_phase_and_model_and_a_case_for_each_step() {
    let document = document(&sweep());
    assert_eq!(
        cases(&document),
        [
            "campaign/is carried out to its end: passed",
            "new × kill/start: passed",
            "new × kill/backup: passed",
            "new × kill/primary: Failure, F1 corrupt inside op 3 after 1 sector (gpt), and 2 more",
            "new × torn/backup: passed",
            "new × torn/primary: passed",
        ]
    );
    let failures: Vec<&TestSuite> = document.test_suites.iter().filter(|suite| suite.failures > 0).collect();
    assert_eq!(failures.len(), 1);
    assert_eq!((document.tests, document.failures, document.errors), (6, 1, 0));
}

#[test]
fn a_failed_step_has_what_differs_and_the_line_to_paste_and_names_what_is_expected_apart() {
    let document = document(&sweep());
    let suite = document.test_suites.iter().find(|suite| suite.name.as_str() == "new × kill").unwrap();
    let case = suite.test_cases.iter().find(|case| case.name.as_str() == "primary").unwrap();
    let TestCaseStatus::NonSuccess { description, ty, .. } = &case.status else { panic!("it fails") };
    let description = description.as_ref().unwrap().as_str();
    assert_eq!(ty.as_ref().unwrap().as_str(), "corrupt");
    for id in ["F1", "F2", "F4"] {
        assert!(
            description.contains(&format!("no valid copy\nkillpoint repro kp1:sgdisk-new:{id}")),
            "{description}"
        );
    }
    assert!(!description.contains("F3"), "it is expected");
    let out = case.system_out.as_ref().unwrap().as_str();
    assert!(out.contains("expected:\nF3 refused"), "{out}");
    assert_eq!(case.classname.as_ref().unwrap().as_str(), "sgdisk-new.new.kill");
}

#[test]
fn each_suite_says_what_brings_the_campaign_back() {
    for suite in &document(&sweep()).test_suites {
        let value = |name: &str| {
            let found = suite.properties.iter().find(|property| property.name.as_str() == name);
            found.map(|property| property.value.as_str().to_owned())
        };
        let values = ["seed", "scenario", "killpoint", "version.sgdisk"].map(value);
        assert_eq!(values, ["7", "sgdisk-new", "0.1.0", "1.0.9"].map(|value| Some(value.to_owned())));
    }
}

/// What was not looked at, killed again or not measured is never green; an expected finding is.
#[test]
fn only_a_step_that_was_judged_passes() {
    let at = |op, step, verdict| Event::Point(point("new", op, step, &format!("state {op}"), verdict));
    let known =
        Finding { expected: true, step: "known".to_owned(), ..found("F1", Verdict::Corrupt, "after op 2") };
    let events = [
        started(),
        begins("new", 9),
        at(1, "sound", Some(Verdict::Recovered)),
        at(2, "known", Some(Verdict::Corrupt)),
        Event::Finding(known),
        at(3, "blind", Some(Verdict::NotMeasured)),
        at(4, "open", None),
        at(5, "untold", Some(Verdict::Hung)),
        ended(Outcome::Stopped { reason: "the disk is full".to_owned() }, 4),
    ];
    assert_eq!(
        cases(&document(&events)),
        [
            "campaign/is carried out to its end: Error, stopped: the disk is full",
            "new × kill/sound: passed",
            "new × kill/known: passed",
            "new × kill/blind: Error, 1 state could not be measured",
            "new × kill/open: skipped, 1 state killed again before they were judged",
            "new × kill/untold: Failure, 1 state failed, of which no finding tells",
            "new × kill/primary: skipped, none of 9 points was looked at",
        ]
    );
}

#[test]
fn random_kills_have_their_phases_in_order_and_what_was_not_tested() {
    let cases = cases(&document(&campaign()));
    assert_eq!(
        cases[1],
        "campaign/not tested: fsck of `EFI`: fsck.fat is missing; install dosfstools: skipped, fsck of `EFI`: fsck.fat is missing; install dosfstools"
    );
    let suites: Vec<&str> = cases[2..].iter().map(|case| case.split('/').next().unwrap()).collect();
    assert_eq!(suites, ["shrink × kill", "shrink × kill", "grow × kill", "grow × kill", "grow × torn"]);
}

/// Control characters, which XML can't hold, and markup in a tool's output leave the document whole.
#[test]
fn texts_from_outside_leave_the_document_whole() {
    let evil = "]]></failure><x a=\"\u{1}\u{1b}[31m&amp;'";
    let texts =
        Finding { explain: evil.to_owned(), step: evil.to_owned(), ..found("F1", Verdict::Corrupt, evil) };
    let document = document(&[started(), Event::Finding(texts), ended(Outcome::Completed, 1)]);
    assert_eq!((document.tests, document.failures), (2, 1));
}
