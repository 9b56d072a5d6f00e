//! What standard error shows of a sweep: every line once, then how many of them.

use super::*;
use crate::samples::sweep::{begins, found, live, point, started, sweep};
use crate::{Overwritten, Point, ResumeCuts};

/// Points of a phase, each with a state of its own, as they come.
fn points(phase: &str, ops: std::ops::Range<u64>) -> Vec<Event> {
    let at = |op| point(phase, op, "start", &format!("{phase}{op}"), Some(Verdict::Recovered));
    ops.map(|op| Event::Point(at(op))).collect()
}

/// Every verdict at a point, and the live kills and endings that the sample does not have.
#[test]
fn every_status_line_of_a_sweep() {
    let mut events = sweep();
    let ended = events.split_off(events.len() - 1);
    events.push(begins("delete", 11));
    for (op, verdict) in (0..).zip(Verdict::ALL) {
        events.push(Event::Point(point("delete", op, "start", &format!("d{op}"), Some(verdict))));
    }
    events.push(Event::Overwritten(Overwritten {
        phase: "delete".to_owned(),
        number: 0,
        files: [("disk".to_owned(), vec![(0, 512), (8192, 4096)])].into(),
    }));
    events.push(Event::Point(Point {
        unread: true,
        ..point("delete", 8, "start", "u", Some(Verdict::Recovered))
    }));
    events.push(Event::Point(Point { merged: true, ..point("delete", 9, "start", "m", None) }));
    for failed in [0, 2] {
        let phase = "delete".to_owned();
        events.push(Event::ResumeCuts(ResumeCuts {
            phase,
            resumes: 3,
            possible: 900,
            looked_at: 600,
            failed,
        }));
    }
    events.push(live("after op 2", false, false));
    events.push(live("after op 3", true, false));
    events.extend(ended);
    events.push(super::ended(Outcome::Interrupted { signal: "SIGTERM".to_owned() }, 130));
    events.push(super::ended(Outcome::Stopped { reason: "the disk is full".to_owned() }, 4));
    insta::assert_snapshot!(shown(&events, level(Level::Verbose), false, None, 100));
}

#[test]
fn normal_shows_one_finding_of_a_kind_and_no_points() {
    insta::assert_snapshot!(shown(&sweep(), level(Level::Normal), false, Some(80), 100));
}

#[test]
fn quiet_shows_only_what_must_not_be_missed_of_a_sweep() {
    let mut events = sweep();
    events.extend([live("after op 2", false, false), live("after op 3", true, false)]);
    let text = shown(&events, level(Level::Quiet), false, Some(80), 100);
    let verbs: Vec<&str> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(verbs, ["FINDING", "no", "killpoint", "FINDING", "Warning", "Missed", "DIFFERS"], "{text}");
}

/// 200 points of 0.1 s each: a line in 2 s and the last one; of 200 findings alike one is told, the rest counted when
/// their phase is at its end, those of the next phase anew.
#[test]
fn points_and_findings_alike_are_rationed() {
    let mut events = vec![started(), begins("new", 100), begins("old", 100)];
    for phase in ["new", "old"] {
        for (op, at) in (0..).zip(points(phase, 0..100)) {
            events.push(at);
            let finding = found(&format!("{phase}{op}"), Verdict::Corrupt, "after an op");
            events.push(Event::Finding(crate::Finding { phase: phase.to_owned(), ..finding }));
        }
    }
    events.push(ended(Outcome::Completed, 1));
    let text = shown(&events, level(Level::Normal), false, None, 50);
    let all = |verb: &str| -> Vec<usize> {
        let is_it = |(_, line): &(usize, &str)| line.trim_start().starts_with(verb);
        text.lines().enumerate().filter(is_it).map(|(at, _)| at).collect()
    };
    let checked = all("Checked");
    assert!((9..=11).contains(&checked.len()), "{text}");
    let last = text.lines().nth(checked[checked.len() - 1]).unwrap();
    assert!(last.contains("(200/200) 200 distinct states, 199 findings"), "{text}");
    assert_eq!(all("FINDING").len(), 4, "{text}");
    let told: Vec<&str> = text.lines().filter(|line| line.contains(" more like ")).map(str::trim).collect();
    assert_eq!(
        told,
        [
            "FINDING and 99 more like new0: corrupt in new at primary (gpt)",
            "FINDING and 99 more like old0: corrupt in old at primary (gpt)"
        ]
    );
    // The first phase's rest is told before the next phase has a finding.
    let at = |what: &str| text.find(what).unwrap();
    assert!(at("more like new0") < at("FINDING old0"), "{text}");

    let verbose = shown(&events, level(Level::Verbose), false, None, 50);
    assert!(verbose.contains("FINDING new57 corrupt") && !verbose.contains("Checked"), "{verbose}");
    let none = TerminalOptions { progress: false, ..TerminalOptions::default() };
    assert!(!shown(&events, none, false, None, 50).contains("Checked"));
}

/// Phases whose points come in turn: the rest of each is told once.
#[test]
fn findings_alike_are_told_once_a_phase_however_points_come() {
    let mut events = vec![started(), begins("new", 20), begins("old", 20)];
    let turns = points("new", 0..20).into_iter().zip(points("old", 0..20));
    for (at, phase) in turns.flat_map(|(new, old)| [(new, "new"), (old, "old")]) {
        events.push(at);
        let phase = phase.to_owned();
        events.push(Event::Finding(crate::Finding { phase, ..found("F", Verdict::Corrupt, "after an op") }));
    }
    events.push(ended(Outcome::Completed, 1));
    let text = shown(&events, level(Level::Normal), false, None, 0);
    assert_eq!(text.matches("and 19 more like F").count(), 2, "{text}");
    assert_eq!(text.matches(" more like ").count(), 2, "{text}");
}

/// What an interrupt cut short still says how many findings there were.
#[test]
fn findings_alike_are_counted_where_the_sweep_was_cut_short() {
    let mut events = vec![started(), begins("new", 100)];
    events.extend(points("new", 0..3));
    events.extend(["F1", "F2", "F3"].map(|id| Event::Finding(found(id, Verdict::Corrupt, "after op 1"))));
    events.push(ended(Outcome::Interrupted { signal: "SIGINT".to_owned() }, 130));
    let text = shown(&events, level(Level::Normal), false, None, 100);
    let rest: Vec<&str> = text.lines().rev().take(2).collect();
    assert!(rest[1].contains("and 2 more like F1") && rest[0].contains("after 3 of 100 points"), "{text}");
}

/// A point that is looked at again has no sweep about it: it is none of a number.
#[test]
fn a_point_without_a_sweep_has_no_counter() {
    let at = Point { torn_bytes: Some(1024), ..point("grow", 3, "start", "a", Some(Verdict::Recovered)) };
    let text =
        shown(&[super::started(Some(1), None), Event::Point(at)], level(Level::Verbose), false, None, 0);
    let line = text.lines().last().unwrap();
    assert_eq!(line, "   Recovered [    0.014s] grow start, inside op 4 after 2 sectors, new state");
}

/// 30 of 60 points, 2 s each, and one more sweep begun: half of the bar, and the rest takes as long.
#[test]
fn the_bar_of_a_sweep_counts_points() {
    let mut events = vec![started(), begins("new", 40), begins("old", 20)];
    events.extend(points("new", 0..30));
    let screen = on_terminal(&events, 2000);
    let bar = screen.lines().last().unwrap();
    assert!(bar.contains("[========>       ]"), "{screen}");
    assert!(bar.ends_with("30/60, 30 states, 0.5/s, 1m 2s left, no finding"), "{screen}");
    assert!(!screen.contains("Checked"), "{screen}");
}

/// Crashes of resumes are none of the points that are counted: the line that says that all are explored comes once.
#[test]
fn that_all_points_are_explored_is_said_once() {
    let mut events = vec![started(), begins("new", 10)];
    events.extend(points("new", 0..10));
    events.extend(points("new", 0..50).into_iter().map(|event| match event {
        Event::Point(at) => Event::Point(Point { depth: 1, content_id: format!("r{}", at.op), ..at }),
        other => other,
    }));
    let text = shown(&events, level(Level::Normal), false, None, 10);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("(10/10)")).collect();
    assert_eq!(lines.len(), 1, "{text}");
}
