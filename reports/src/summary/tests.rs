//! What a person sees at the end: the whole screen as a snapshot, and that it stays one screen.

use super::*;
use crate::samples::{campaign, ended, finding, tally};
use crate::{Event, Tally};

fn options() -> SummaryOptions {
    SummaryOptions { run_dir: Some(PathBuf::from("runs/mixed-layout-1")), ..SummaryOptions::default() }
}

fn of(events: &[Event]) -> Report {
    Report::from(&tally(events))
}

#[test]
fn summary_of_the_sample_campaign() {
    insta::assert_snapshot!(render(&of(&campaign()), &options()));
}

#[test]
fn summary_in_ascii_and_colour_of_an_interrupted_campaign() {
    let mut events = campaign();
    events.pop();
    events.retain(|event| !matches!(event, Event::Finding(_)));
    for event in &mut events {
        if let Event::Judged { verdict, .. } = event {
            *verdict = Verdict::Recovered;
        }
    }
    events.push(ended(Outcome::Interrupted { signal: "SIGINT".to_owned() }, 130));
    let plain = render(&of(&events), &SummaryOptions { ascii: true, ..options() });
    assert!(plain.is_ascii());
    insta::assert_snapshot!(plain);
    let coloured = render(&of(&events), &SummaryOptions { ascii: true, color: true, ..options() });
    assert_ne!(coloured, plain);
    assert_eq!(console::strip_ansi_codes(&coloured), plain);
}

#[test]
fn a_campaign_that_judged_nothing_does_not_say_no_finding() {
    let text = render(&Report::from(&Tally::default()), &SummaryOptions::default());
    let claim = text.lines().next().unwrap();
    assert!(claim.ends_with("nothing judged"), "{claim}");
}

/// Many findings, steps and gaps, long texts: 40 lines, none wider than the screen but those to paste, and the worst
/// finding among those that are shown though it came last.
#[test]
fn a_bad_campaign_still_fits_on_one_screen() {
    let mut events = campaign();
    for i in 0..20 {
        events.push(Event::NotTested { what: format!("{i} {}", "because ".repeat(30)) });
        events.push(Event::Kill(crate::samples::kill(3, "grow", &format!("step{i}{}", "x".repeat(40)), "d")));
        let verdict = if i == 19 { Verdict::Corrupt } else { Verdict::Refused };
        events.push(Event::Finding(Finding {
            explain: "bytes differ ".repeat(30),
            repro: format!("killpoint repro kp1:{}", "t".repeat(200)),
            ..finding(&format!("G{i}"), verdict)
        }));
    }
    for width in [20, 40, 60, 80, 200] {
        let text = render(&of(&events), &SummaryOptions { width, ..options() });
        let screen = width.max(MIN_WIDTH);
        for line in text.lines() {
            let paste = line.starts_with("   killpoint repro") || line.starts_with("Run directory");
            assert!(paste || measure_text_width(line) <= screen, "at {width}: {line}");
        }
        assert!(text.contains("\nG19 corrupt"), "{text}");
        assert!(text.contains("more in report.json"));
        if width >= 80 {
            let height: usize =
                text.lines().map(|line| measure_text_width(line).div_ceil(screen).max(1)).sum();
            assert!(height <= SCREEN_LINES, "{height} lines:\n{text}");
        }
    }
}
