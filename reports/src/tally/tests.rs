//! The figures of a campaign that can be counted by hand, and what must not change them.

use proptest::prelude::*;

mod sweep;

use super::*;
use crate::Exit;
use crate::samples::{campaign, ended, finding, judged, kill, late, planned, started, tally};

#[test]
fn the_sample_campaign_counts_as_by_hand() {
    let tally = tally(&campaign());
    assert_eq!((tally.attempted, tally.landed, tally.interior, tally.inside_op), (6, 4, 3, 1));
    assert_eq!((tally.iterations_started, tally.iterations_done), (2, 2));
    assert_eq!((tally.planned, tally.shortfall), (4, 0));
    // `a` was reached twice; the missed kill's content is no crash state.
    assert_eq!((tally.distinct_states(), tally.judged_states()), (3, 3));
    assert_eq!(tally.verdict(Verdict::Recovered), 1);
    assert_eq!(tally.verdict(Verdict::Diverged), 1);
    assert_eq!(tally.verdict(Verdict::RolledBack), 1);
    assert_eq!(tally.possible_points(), 91 + 221);
    assert_eq!(tally.interior_share(), 0.75);
    assert_eq!(tally.judged_states_per_s(), 3.0 / (8.0 - 2.0));
    assert_eq!(tally.gpt_samples, 4);
    let gpt =
        GptCounts { clean: 2, header_crc: 1, torn_primary: 2, torn_backup: 1, mismatch: 2, no_valid_copy: 1 };
    assert_eq!(tally.gpt, gpt);
    let steps: Vec<_> = tally.kills_by_step.iter().collect();
    // In the order of the uninterrupted runs, with the one that no kill hit.
    let expected = [
        ("start", 1),
        ("preflight", 0),
        ("shrinkFilesystems", 1),
        ("copyFilesystems", 1),
        ("updatePartitions", 1),
    ];
    assert_eq!(steps, expected);
    assert_eq!(tally.exit(), Exit::Findings);
}

/// Where preparation took all the time, no state was judged in no time.
#[test]
fn a_campaign_that_ended_while_it_was_prepared_has_no_speed() {
    let stopped = Event::CampaignEnded {
        outcome: Outcome::Stopped { reason: "the oracles were not proved".to_owned() },
        exit_code: 4,
        wall_s: 8.0,
        prepared_s: 8.0,
    };
    let tally = tally(&[started(Some(2), None), stopped]);
    assert_eq!((tally.wall_s, tally.prepared_s), (Some(8.0), Some(8.0)));
    assert_eq!(tally.judged_states_per_s(), 0.0);
}

/// The same bytes in another phase are another state; judged twice, the worse verdict stands whichever came first.
#[test]
fn a_state_judged_twice_counts_once_under_its_worst_verdict() {
    for verdicts in [[Verdict::Recovered, Verdict::Corrupt], [Verdict::Corrupt, Verdict::Recovered]] {
        let mut events = vec![started(Some(2), None)];
        for (i, verdict) in (1..).zip(verdicts) {
            events.push(Event::Kill(kill(i, "grow", "start", "same")));
            events.push(judged(i, "grow", verdict));
        }
        events.push(Event::Kill(kill(2, "shrink", "start", "same")));
        events.push(judged(2, "shrink", Verdict::Recovered));
        let tally = tally(&events);
        assert_eq!((tally.distinct_states(), tally.judged_states()), (2, 2));
        assert_eq!((tally.verdict(Verdict::Corrupt), tally.verdict(Verdict::Recovered)), (1, 1));
        assert_eq!(tally.exit(), Exit::Findings);
    }
}

/// A fault that did not fire is not a fault survived.
#[test]
fn an_iteration_whose_kills_all_missed_survived_nothing() {
    let missed = Kill { landed: false, ..kill(1, "grow", "copyFilesystems", "end") };
    let mut events = vec![started(Some(1), None), late(1, "grow"), Event::Kill(missed)];
    events.push(judged(1, "grow", Verdict::Recovered));
    events.push(ended(Outcome::Completed, 4));
    let passed = tally(&events);
    assert_eq!((passed.judged_states(), passed.distinct_states(), passed.gpt_samples), (0, 0, 0));
    assert_eq!(passed.exit(), Exit::NotMeasured);

    events[3] = judged(1, "grow", Verdict::Diverged);
    assert_eq!(tally(&events).exit(), Exit::Findings, "a failure shows though no kill landed");
}

/// Two kills are planned. A late one that another makes up for is only counted; one that nothing makes up for is not
/// measured, but only once its iteration has run to its end.
#[test]
fn a_late_kill_must_be_made_up_for() {
    let chain = |id| [Event::Kill(kill(1, "grow", "start", id)), judged(1, "grow", Verdict::Recovered)];
    let begin = [started(Some(1), None), Event::IterationStarted { iteration: 1 }, planned(1, "grow", 2)];
    let completed = [ended(Outcome::Completed, 0)];
    let late = [late(1, "grow")];
    let (first, second) = (chain("a"), chain("b"));

    let made_up = tally(&[&begin[..], &late, &first, &second, &completed].concat());
    assert_eq!((made_up.planned, made_up.attempted, made_up.landed, made_up.shortfall), (2, 3, 2, 0));
    assert_eq!((made_up.iterations_done, made_up.exit()), (1, Exit::Passed));

    let short = tally(&[&begin[..], &late, &first, &completed].concat());
    assert_eq!((short.shortfall, short.exit()), (1, Exit::NotMeasured));

    let interrupted = [ended(Outcome::Interrupted { signal: "SIGINT".to_owned() }, 130)];
    let cut = tally(&[&begin[..], &late, &first, &interrupted].concat());
    assert_eq!((cut.iterations_done, cut.shortfall, cut.exit()), (0, 0, Exit::Interrupted));
}

#[test]
fn the_exit_follows_from_what_happened() {
    let good = [
        started(Some(1), None),
        Event::Kill(kill(1, "grow", "start", "a")),
        judged(1, "grow", Verdict::Recovered),
    ];
    let with = |more: &[Event]| tally(&[&good[..], more].concat()).exit();
    let interrupted = ended(Outcome::Interrupted { signal: "SIGINT".to_owned() }, 130);
    let stopped = ended(Outcome::Stopped { reason: "the disk is full".to_owned() }, 4);
    let found = Event::Finding(finding("F1", Verdict::Refused));
    let unmeasured = [Event::Kill(kill(2, "grow", "start", "b")), judged(2, "grow", Verdict::NotMeasured)];
    let refused = [Event::Kill(kill(2, "grow", "start", "b")), judged(2, "grow", Verdict::Refused)];
    let missed = [late(1, "grow"), Event::Kill(Kill { landed: false, ..kill(2, "grow", "start", "b") })];
    assert_eq!(with(&[]), Exit::Passed);
    assert_eq!(with(&refused), Exit::Passed, "a refusal without a finding is one that was allowed");
    assert_eq!(with(&missed), Exit::Passed);
    assert_eq!(with(&unmeasured), Exit::NotMeasured);
    assert_eq!(with(std::slice::from_ref(&stopped)), Exit::NotMeasured);
    assert_eq!(with(std::slice::from_ref(&interrupted)), Exit::Interrupted);
    assert_eq!(with(std::slice::from_ref(&found)), Exit::Findings);
    assert_eq!(with(&[found, interrupted]), Exit::Findings);

    let Event::CampaignStarted(mut repro) = started(Some(1), None) else { panic!("not a start") };
    repro.command = Command::Repro;
    let again = [&[Event::CampaignStarted(repro)], &good[1..], &missed].concat();
    assert_eq!(tally(&again).exit(), Exit::NotMeasured, "a reproduction that missed proves nothing");
}

proptest! {
    /// Words for people change no figure, wherever they fall.
    #[test]
    fn words_change_no_figure(places in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..20)) {
        let mut events = campaign();
        for (place, warn) in places {
            let text = "by the way".to_owned();
            let event = if warn { Event::Warning { text } } else { Event::NotTested { what: text } };
            events.insert(place.index(events.len() + 1), event);
        }
        let plain = tally(&campaign());
        let mut wordy = tally(&events);
        wordy.warnings.clone_from(&plain.warnings);
        wordy.not_tested.clone_from(&plain.not_tested);
        prop_assert_eq!(wordy, plain);
    }
}
