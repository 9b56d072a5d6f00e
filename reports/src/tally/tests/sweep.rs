//! The figures of a sweep, by hand; what its live kills and its expected findings do to the exit code.

use super::*;
use crate::samples::sweep::{begins, found, live, point, started, sweep};

#[test]
fn the_sample_sweep_counts_as_by_hand() {
    let tally = tally(&sweep());
    assert_eq!((tally.possible_points(), tally.planned_points(), tally.explored), (6 + 5, 6 + 4, 10));
    assert_eq!(tally.sweeps["new"], SweepTally { possible: 11, planned: 10, explored: 10 });
    // Two live kills; they are no crash states.
    assert_eq!((tally.attempted, tally.landed, tally.live_failed), (2, 2, 0));
    assert_eq!((tally.raw, tally.interior, tally.inside_op), (10, 8, 4));
    assert_eq!(tally.interior_share(), 0.8);
    // `n2` was reached twice.
    assert_eq!((tally.distinct_states(), tally.judged_states()), (9, 9));
    let verdicts = [Verdict::Recovered, Verdict::RolledBack, Verdict::Refused, Verdict::Corrupt];
    assert_eq!(verdicts.map(|verdict| tally.verdict(verdict)), [4, 1, 1, 3]);
    assert_eq!(tally.judged_states_per_s(), 9.0 / (8.0 - 2.0));
    let steps: Vec<_> = tally.kills_by_step.iter().collect();
    assert_eq!(steps, [("start", 1), ("backup", 4), ("primary", 5)]);
    let gpt = GptCounts {
        clean: 8,
        header_crc: 1,
        torn_primary: 1,
        mismatch: 1,
        no_valid_copy: 1,
        ..GptCounts::default()
    };
    assert_eq!((tally.gpt_samples, tally.gpt), (10, gpt));
    assert_eq!((tally.findings.len(), tally.expected_seen, tally.expected_vanished), (4, 1, 1));
    assert_eq!(tally.unexpected(), 3);
    assert_eq!(tally.warnings, ["expected, but did not appear: diverged in new (baseline)"]);
    assert_eq!(
        (tally.iterations_started, tally.iterations_done, tally.planned, tally.shortfall),
        (0, 0, 0, 0)
    );
    assert_eq!(tally.exit(), Exit::Findings);
}

/// Points that were seen alone tell the state of a copy, as kills do.
#[test]
fn copies_of_a_point_count_by_state() {
    let copies = BTreeMap::from([
        ("EFI".to_owned(), CopyState::Complete),
        ("IMGA".to_owned(), CopyState::Partial),
        ("IMGB".to_owned(), CopyState::Partial),
    ]);
    let points = [Event::Point(Point { copies, ..point("new", 1, "start", "a", Some(Verdict::Recovered)) })];
    let expected = BTreeMap::from([(CopyState::Partial, 2), (CopyState::Complete, 1)]);
    assert_eq!(tally(&points).copy_states, expected);
}

/// The same bytes in another phase are another point's state, and each phase is as long as it is.
#[test]
fn phases_of_a_sweep_add_up() {
    let of = |phase: &str, op| Event::Point(point(phase, op, "start", "same", Some(Verdict::Recovered)));
    let tally = tally(&[started(), begins("new", 3), begins("old", 2), of("new", 0), of("old", 1)]);
    assert_eq!((tally.possible_points(), tally.planned_points(), tally.explored), (5, 5, 2));
    assert_eq!((tally.distinct_states(), tally.judged_states()), (2, 2));
    assert_eq!([&tally.sweeps["new"], &tally.sweeps["old"]].map(|sweep| sweep.explored), [1, 1]);
    assert_eq!(tally.exit(), Exit::Passed);
}

/// With every finding expected the sweep passes. One more failure, of another phase, of another verdict or without a
/// finding of its own, is one that nobody expected.
#[test]
fn expected_findings_are_no_findings_but_every_failure_needs_one() {
    let corrupt =
        |phase: &str, id: &str| Event::Point(point(phase, 1, "primary", id, Some(Verdict::Corrupt)));
    let found = |id: &str| Finding { expected: true, ..found(id, Verdict::Corrupt, "after op 1") };
    let begin = [started(), begins("new", 9)];
    let exit = |events: &[Event]| tally(&[&begin[..], events].concat()).exit();
    let known = [corrupt("new", "a"), Event::Finding(found("F1"))];
    let with = |more: &[Event]| exit(&[&known[..], more].concat());

    assert_eq!(exit(&known), Exit::Passed);
    assert_eq!(exit(&known[..1]), Exit::Findings, "a failure without any finding");
    assert_eq!(with(&[corrupt("new", "b")]), Exit::Findings, "another state without a finding");
    assert_eq!(with(&[corrupt("new", "b"), Event::Finding(found("F2"))]), Exit::Passed);
    assert_eq!(with(&[corrupt("old", "a"), Event::Finding(found("F2"))]), Exit::Findings, "another phase");
    let hung = Event::Point(point("new", 2, "primary", "b", Some(Verdict::Hung)));
    assert_eq!(with(&[hung, Event::Finding(found("F2"))]), Exit::Findings, "another verdict");
    let new = Finding { expected: false, ..found("F2") };
    assert_eq!(with(&[corrupt("new", "b"), Event::Finding(new)]), Exit::Findings);
    let gone = Event::ExpectedVanished { what: "hung in new (fsck)".to_owned() };
    assert_eq!(with(&[gone]), Exit::Passed, "what no longer fails is a warning");
}

/// A recorded state that no live kill leaves is not the tool's.
#[test]
fn a_live_kill_that_shows_nothing_leaves_the_sweep_unmeasured() {
    let good = [
        started(),
        begins("new", 1),
        Event::Point(point("new", 0, "start", "a", Some(Verdict::Recovered))),
        live("after op 0", true, true),
    ];
    let with = |event| tally(&[&good[..], &[event]].concat());
    assert_eq!(tally(&good).exit(), Exit::Passed);
    for (landed, agreed) in [(false, false), (false, true), (true, false)] {
        let tally = with(live("after op 0", landed, agreed));
        assert_eq!((tally.attempted, tally.landed, tally.live_failed), (2, 1, 1));
        assert_eq!(tally.exit(), Exit::NotMeasured, "landed {landed}, agreed {agreed}");
    }
}

#[test]
fn a_sweep_that_judged_nothing_or_left_a_state_unjudged_is_not_measured() {
    let judged = Event::Point(point("new", 0, "start", "a", Some(Verdict::Recovered)));
    let of = |content_id| Event::Point(point("new", 1, "start", content_id, None));
    let exit = |events: &[Event]| tally(&[&[started(), begins("new", 2)], events].concat()).exit();
    assert_eq!(exit(&[]), Exit::NotMeasured);
    assert_eq!(exit(&[judged.clone(), of("a")]), Exit::Passed);
    assert_eq!(exit(&[of("a"), judged.clone()]), Exit::Passed);
    assert_eq!(exit(&[judged, of("b")]), Exit::NotMeasured);
    let unmeasured = Event::Point(point("new", 0, "start", "a", Some(Verdict::NotMeasured)));
    assert_eq!(exit(&[unmeasured]), Exit::NotMeasured);
}
