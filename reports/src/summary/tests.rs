//! What a person sees at the end: the whole screen as a snapshot, and that it stays one screen.

use super::*;
use crate::samples::sweep::{found, sweep};
use crate::samples::{campaign, ended, finding, tally};
use crate::{Event, Finding, Outcome, Tally, Verdict};

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
fn summary_of_the_sample_sweep() {
    insta::assert_snapshot!(render(&of(&sweep()), &options()));
}

/// The claim of a sweep whose report is as `change` leaves it.
fn claim(change: impl FnOnce(&mut Report)) -> String {
    let mut report = of(&sweep());
    change(&mut report);
    let text = render(&report, &options());
    let claim: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    claim.join(" ")
}

/// A sweep claims as much as it did: all points or so many of them, judged only where all oracles answered.
#[test]
fn a_sweep_claims_what_it_did() {
    let whole = |report: &mut Report| {
        report.points.explored = 11;
        report.expected.vanished = 0;
        report.findings.truncate(2);
        report.expected.seen = 2;
    };
    let said = "sgdisk-new: all 11 crash points judged, 9 distinct states, 2 findings (2 expected)";
    assert_eq!(claim(whole), said);
    let said = "sgdisk-new: 10 of 11 crash points judged, 9 distinct states, 4 findings (1 expected), \
                1 expected finding vanished";
    assert_eq!(claim(|_| ()), said);
    let unmeasured = claim(|report| {
        whole(report);
        report.verdicts.not_measured = 1;
    });
    assert!(unmeasured.contains("all 11 crash points reached"), "{unmeasured}");
    assert!(unmeasured.ends_with(", 1 not measured"), "{unmeasured}");
    let unjudged = claim(|report| report.states.judged = 8);
    assert!(unjudged.contains("10 of 11 crash points reached"), "{unjudged}");
    let nothing = claim(|report| {
        report.points = crate::Points::default();
        report.states = crate::States::default();
        report.findings.clear();
    });
    assert!(nothing.starts_with("sgdisk-new: 0 of 0 crash points") && nothing.contains("nothing judged"));
    let cut = claim(|report| report.outcome = None);
    assert!(cut.ends_with("cut short after 10 points, its events end before the campaign does"), "{cut}");
}

#[test]
fn a_sweep_says_what_its_live_kills_showed_and_leaves_out_a_gpt_that_is_not_there() {
    let mut report = of(&sweep());
    let live = |report: &Report| {
        let text = render(report, &options());
        text.lines().find(|line| line.starts_with("Live")).unwrap().to_owned()
    };
    assert_eq!(live(&report), "Live      2 of 2 live kills left the recorded state");
    report.points.landed = 1;
    assert_eq!(live(&report), "Live      1 of 2 live kills left the recorded state");
    report.points = crate::Points::default();
    assert_eq!(live(&report), "Live      no live kill to compare with the recorded states");
    assert!(render(&report, &options()).contains("GPT states"));
    report.gpt = crate::Gpt::default();
    assert!(!render(&report, &options()).contains("GPT states"));
}

/// However bad an expected kind is and however many there are of it, one that nobody expected comes first.
#[test]
fn findings_are_told_by_kind_and_unexpected_ones_first() {
    let mut report = of(&sweep());
    report.findings = (1..=300)
        .map(|i| Finding { expected: true, ..found(&format!("F{i}"), Verdict::Corrupt, "after op 1") })
        .chain([found("F301", Verdict::Refused, "after op 2"), found("F302", Verdict::Corrupt, "after op 9")])
        .chain([found("F303", Verdict::Refused, "after op 3")])
        .collect();
    let text = render(&report, &options());
    let heads: Vec<&str> = text.lines().filter(|line| line.starts_with('F')).collect();
    assert_eq!(
        heads,
        [
            "F302 corrupt in new at primary, after op 9 (gpt)",
            "F301 and 1 more: refused in new at primary, after op 2 (gpt)",
            "F1 and 299 more: expected: corrupt in new at primary, after op 1 (gpt)",
        ]
    );
    assert!(!text.contains("more in report.json"), "{text}");

    // Only so many kinds fit: of those that don't, each finding counts.
    let kinds =
        (0..9).map(|i| Finding { step: format!("step{i}"), ..found("G", Verdict::Hung, "after op 4") });
    report.findings.extend(kinds);
    let text = render(&report, &options());
    let shown = text.lines().filter(|line| line.ends_with("(gpt)")).count();
    // The expected ones and those that were refused are left out; each kind that is shown has one.
    let left_out = report.findings.len() - shown;
    assert!(text.contains(&format!("\nand {left_out} more in report.json")), "{text}");
}

/// A command of one's own is swept as a scenario is.
#[test]
fn the_claim_of_an_exec_is_one_of_a_sweep() {
    let exec = claim(|report| report.command = Some(Command::Exec));
    assert_eq!(exec, claim(|_| ()));
    assert!(claim(|report| report.command = Some(Command::Run)).contains("2 of 2 kills landed"));
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

/// Of an explanation of several lines, the first is what the oracles said and the second the story, which is broken
/// between words; what follows is for the report.
#[test]
fn the_story_of_a_finding_is_told_over_at_most_three_lines() {
    for (story, expected) in [
        ("short", vec!["   short"]),
        (
            &*"word ".repeat(20),
            vec![&*format!("  {}", " word".repeat(15)), &*format!("  {}", " word".repeat(5))],
        ),
        (
            &*"word ".repeat(99),
            vec![
                &*format!("  {}", " word".repeat(15)),
                &*format!("  {}", " word".repeat(15)),
                &*format!("  {} w…", " word".repeat(15)),
            ],
        ),
    ] {
        let explain = format!("gpt: no copy\n{story}\ncut: somewhere");
        let mut events = campaign();
        events.retain(|event| !matches!(event, Event::Finding(_)));
        events.push(Event::Finding(Finding { explain, ..finding("F9", Verdict::Corrupt) }));
        let text = render(&of(&events), &SummaryOptions { width: 80, ..options() });
        let lines: Vec<&str> = text.lines().skip_while(|line| *line != "   gpt: no copy").skip(1).collect();
        let told: Vec<&str> =
            lines.iter().copied().take_while(|line| !line.contains("killpoint repro")).collect();
        assert_eq!(told, expected);
    }
}

/// Many findings, steps and gaps, long texts: 40 lines, none wider than the screen but those to paste, and the worst
/// finding among those that are shown though it came last.
#[test]
fn a_bad_campaign_still_fits_on_one_screen() {
    fits_on_one_screen(campaign(), "G19 corrupt");
}

/// The same for a sweep that was cut short, whose claim takes two lines.
#[test]
fn a_bad_sweep_still_fits_on_one_screen() {
    let mut events = sweep();
    events.pop();
    for i in 0..20 {
        let step = format!("step{i}");
        let point = crate::samples::sweep::point("new", 9, &step, "more", Some(Verdict::NotMeasured));
        events.push(Event::Point(point));
    }
    events.push(ended(Outcome::Stopped { reason: "the disk is full".to_owned() }, 4));
    fits_on_one_screen(events, "F1 and 2 more: corrupt");
}

fn fits_on_one_screen(mut events: Vec<Event>, worst: &str) {
    for i in 0..20 {
        events.push(Event::NotTested { what: format!("{i} {}", "because ".repeat(30)) });
        events.push(Event::Kill(crate::samples::kill(3, "grow", &format!("step{i}{}", "x".repeat(40)), "d")));
        let verdict = if i == 19 { Verdict::Corrupt } else { Verdict::Refused };
        events.push(Event::Finding(Finding {
            explain: format!("{0}\n{0}\nmore", "bytes differ ".repeat(30)),
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
        assert!(text.contains(&format!("\n{worst}")), "{text}");
        assert!(text.contains("more in report.json"));
        if width >= 80 {
            let height: usize =
                text.lines().map(|line| measure_text_width(line).div_ceil(screen).max(1)).sum();
            assert!(height <= SCREEN_LINES, "{height} lines:\n{text}");
        }
    }
}

/// Rows of a screen that a text takes.
fn rows_of(text: &str, width: usize) -> usize {
    text.lines().map(|line| measure_text_width(line).div_ceil(width).max(1)).sum()
}

/// A prompt needs the last row.
#[test]
fn a_low_screen_has_the_claim_and_a_whole_finding_and_is_one_screen() {
    let screen = SummaryOptions { rows: Some(24), ..options() };
    for events in [campaign(), sweep()] {
        let report = of(&events);
        let text = render(&report, &screen);
        assert!(rows_of(&text, 80) < 24, "{text}");
        assert!(text.starts_with(&render(&report, &options()).lines().next().unwrap().to_owned()), "{text}");
        let repro = &report.findings.iter().find(|finding| !finding.expected).unwrap().repro;
        assert!(text.contains(repro.as_str()), "{text}");
    }
}

#[test]
fn what_a_finding_was_shrunk_from_is_a_line_of_it() {
    let shrunk = Finding {
        shrunk_from: Some("kp1:before".to_owned()),
        shrunk_from_point: Some("2 kills: after op 5, then after op 2".to_owned()),
        ..found("F1", Verdict::Corrupt, "after op 2")
    };
    let mut events = sweep();
    events.retain(|event| !matches!(event, Event::Finding(_)));
    events.push(Event::Finding(shrunk));
    let text = render(&of(&events), &options());
    assert!(text.contains("\n   shrunk from 2 kills: after op 5, then after op 2\n"), "{text}");
}

#[test]
fn a_table_of_flushes_is_no_wider_than_its_screen() {
    let barrier = crate::Barrier {
        phase: "replace".to_owned(),
        op: 3,
        step: "start".to_owned(),
        process: "sync".to_owned(),
        what: "fsync of volume/config.tmp".to_owned(),
        before: vec!["config.tmp".to_owned()],
        after: vec!["config".to_owned()],
        possible: 9,
        judged: 9,
        failure: Some(crate::BarrierFailure {
            verdict: Verdict::Corrupt,
            oracle: "durable".to_owned(),
            explain: "empty".to_owned(),
            point: "power cut after op 5, without op 2 (after the run's end)".to_owned(),
        }),
    };
    let mut report = of(&sweep());
    report.command = Some(Command::Barriers);
    report.barriers = vec![barrier];
    let widest = |options: &SummaryOptions| {
        render(&report, options).lines().map(measure_text_width).max().unwrap_or(0)
    };
    assert!(widest(&SummaryOptions { rows: Some(24), ..options() }) <= 80);
    assert!(widest(&options()) > 80, "what goes to no screen is one line a flush");
}
