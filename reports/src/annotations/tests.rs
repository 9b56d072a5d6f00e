//! Goal: GitHub shows each kind of finding, whole and as it is, and never more than it would keep. Method: the lines of
//! made reports.

use super::*;
use crate::samples::sweep::{begins, found, started, sweep};
use crate::samples::{campaign, ended, tally};
use crate::{Event, Finding, Outcome, Verdict};

fn lines(events: &[Event]) -> Vec<String> {
    github(&Report::from(&tally(events))).lines().map(str::to_owned).collect()
}

#[test]
fn kinds_of_findings_are_errors_and_what_is_gone_or_not_tested_are_warnings() {
    assert_eq!(
        lines(&sweep()),
        [
            "::error title=killpoint sgdisk-new%3A corrupt in new at primary (gpt)::F1 and 2 more: inside op 3 after 1 \
             sector%0Ano valid copy%0Akillpoint repro kp1:sgdisk-new:F1",
            "::warning title=killpoint sgdisk-new::expected, but did not appear: diverged in new (baseline)",
        ]
    );
    let of_run = lines(&campaign());
    assert!(of_run[0].starts_with("::error title=killpoint mixed-layout%3A diverged in grow"), "{of_run:?}");
    assert_eq!(
        of_run[1..],
        [
            "::warning title=killpoint mixed-layout%3A not tested::fsck of `EFI`: fsck.fat is missing; install dosfstools"
        ]
    );
}

/// A tool's output must not become a command of GitHub's.
#[test]
fn no_text_begins_a_command_of_its_own() {
    let evil = "100%, a:b\r\n::stop-commands::x";
    let events = [
        started(),
        begins("new", 2),
        Event::Finding(Finding {
            step: evil.to_owned(),
            explain: evil.to_owned(),
            ..found("F1", Verdict::Corrupt, evil)
        }),
        Event::NotTested { what: evil.to_owned() },
        ended(Outcome::Completed, 1),
    ];
    let lines = lines(&events);
    assert_eq!(lines.len(), 2);
    let title =
        "killpoint sgdisk-new%3A corrupt in new at 100%25%2C a%3Ab%0D%0A%3A%3Astop-commands%3A%3Ax (gpt)";
    assert!(
        lines[0].starts_with(&format!("::error title={title}::F1: 100%25, a:b%0D%0A::stop")),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].starts_with("::warning title=killpoint sgdisk-new%3A not tested::100%25, a:b%0D%0A::stop")
    );
}

#[test]
fn a_campaign_that_passed_has_none_and_one_that_was_not_measured_has_one() {
    let end = |code| [started(), begins("new", 2), ended(Outcome::Completed, code)];
    assert_eq!(lines(&end(0)), Vec::<String>::new());
    let not_measured = lines(&end(4));
    assert_eq!(
        not_measured,
        [
            "::error title=killpoint sgdisk-new::sgdisk-new: 0 of 2 crash points judged, 0 distinct states, nothing judged"
        ]
    );
}

#[test]
fn of_very_many_the_tenth_says_how_many_are_left_out() {
    let mut events = vec![started()];
    for i in 0..25 {
        let finding = found(&format!("F{i}"), Verdict::Corrupt, "x");
        events.push(Event::Finding(Finding { step: format!("step {i}"), ..finding }));
    }
    let lines = lines(&events);
    assert_eq!(lines.len(), 10);
    assert!(lines[9].ends_with("::and 16 more in report.json"), "{}", lines[9]);
}
