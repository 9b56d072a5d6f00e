//! Goal: a change of a tool that makes anything worse is told and fails, one that makes it better passes, and neither is
//! made up where the newer campaign did not look. Method: sweeps whose findings differ in one thing each.

use super::*;
use crate::samples::sweep::{begins, found, point, started, sweep};
use crate::samples::{campaign, ended};
use crate::{CampaignStarted, Event, Point, Stream};

/// What became of an op's state, and the oracle that said so.
type Fate = (u64, Verdict, &'static str);

/// A name, the older and the newer fates, and what a comparison then counts and exits with.
type Case = (&'static str, &'static [Fate], &'static [Fate], [usize; 6], Exit);

fn events(fates: &[Fate]) -> Vec<Event> {
    let mut events = vec![started(), begins("new", 10)];
    for (place, (op, verdict, oracle)) in fates.iter().enumerate() {
        let content = format!("state {op}");
        events.push(Event::Point(point("new", *op, "primary", &content, Some(*verdict))));
        if is_finding(*verdict) {
            let at = found(&format!("F{}", place + 1), *verdict, &format!("after op {op}"));
            events.push(Event::Finding(Finding { oracle: (*oracle).to_owned(), ..at }));
        }
    }
    let exit = match fates.iter().any(|(_, verdict, _)| is_finding(*verdict)) {
        true => 1,
        false if fates.iter().any(|(_, verdict, _)| *verdict == Verdict::NotMeasured) => 4,
        false => 0,
    };
    events.push(ended(Outcome::Completed, exit));
    events
}

fn is_finding(verdict: Verdict) -> bool {
    !verdict.is_pass() && verdict != Verdict::NotMeasured
}

fn stream(events: &[Event]) -> Stream {
    let mut stream = Stream::new(Vec::new());
    events.iter().for_each(|event| stream.emit(event).unwrap());
    stream
}

fn compared(old: &[Event], new: &[Event]) -> Result<Comparison, CompareError> {
    let [old, new] = [old, new].map(stream);
    let [before, after] = [&old, &new].map(|stream| Report::from(stream.tally()));
    Comparison::of(
        Campaign { report: &before, chart: old.chart() },
        Campaign { report: &after, chart: new.chart() },
    )
}

/// New, worse, changed, better, gone, unchanged.
fn counts(comparison: &Comparison) -> [usize; 6] {
    let Comparison { new, worse, changed, better, gone, unchanged, .. } = comparison;
    [new.len(), worse.len(), changed.len(), better.len(), gone.len(), *unchanged as usize]
}

#[test]
fn each_change_of_a_finding_is_told_as_what_it_is() {
    use Verdict::{Corrupt, Refused};
    const SOUND: Fate = (3, Verdict::Recovered, "gpt");
    let cases: [Case; 8] = [
        ("nothing", &[(3, Corrupt, "gpt")], &[(3, Corrupt, "gpt")], [0, 0, 0, 0, 0, 1], Exit::Passed),
        ("new", &[SOUND], &[(3, Corrupt, "gpt")], [1, 0, 0, 0, 0, 0], Exit::Findings),
        ("gone", &[(3, Corrupt, "gpt")], &[SOUND], [0, 0, 0, 0, 1, 0], Exit::Passed),
        ("worse", &[(3, Refused, "exit")], &[(3, Corrupt, "gpt")], [0, 1, 0, 0, 0, 0], Exit::Findings),
        ("better", &[(3, Corrupt, "gpt")], &[(3, Refused, "exit")], [0, 0, 0, 1, 0, 0], Exit::Passed),
        ("another oracle", &[(3, Corrupt, "gpt")], &[(3, Corrupt, "fsck")], [0, 0, 1, 0, 0, 0], Exit::Passed),
        ("another op", &[(3, Corrupt, "gpt")], &[(4, Corrupt, "gpt")], [0, 0, 0, 0, 0, 1], Exit::Passed),
        (
            "one more of a kind",
            &[(3, Corrupt, "gpt")],
            &[(3, Corrupt, "gpt"), (4, Corrupt, "gpt")],
            [1, 0, 0, 0, 0, 1],
            Exit::Findings,
        ),
    ];
    for (what, old, new, expected, exit) in cases {
        let comparison = compared(&events(old), &events(new)).unwrap();
        assert_eq!((counts(&comparison), comparison.exit()), (expected, exit), "{what}");
    }
}

#[test]
fn a_campaign_compared_with_itself_has_no_change() {
    for events in [sweep(), campaign(), events(&[])] {
        let comparison = compared(&events, &events).unwrap();
        let unchanged = comparison.unchanged as usize;
        assert_eq!(counts(&comparison), [0, 0, 0, 0, 0, unchanged]);
        assert_eq!(comparison.differences, []);
    }
}

#[test]
fn different_scenarios_are_refused_by_name() {
    let error = compared(&sweep(), &campaign()).unwrap_err();
    assert!(
        error.to_string().starts_with("`sgdisk-new` and `mixed-layout` are different scenarios"),
        "{error}"
    );
}

/// What was not looked at is not mended.
#[test]
fn findings_of_a_model_that_the_newer_campaign_leaves_out_are_not_gone() {
    let torn = Point { model: Model::Torn, ..point("new", 3, "primary", "half", Some(Verdict::Corrupt)) };
    let mut old = events(&[(2, Verdict::Recovered, "gpt")]);
    let finding = Finding { model: Model::Torn, ..found("F1", Verdict::Corrupt, "inside op 4") };
    old.splice(2..2, [Event::Point(torn), Event::Finding(finding)]);
    let comparison = compared(&old, &events(&[(2, Verdict::Recovered, "gpt")])).unwrap();
    assert_eq!((comparison.gone.len(), comparison.not_looked_at.len()), (0, 1));
}

#[test]
fn a_newer_campaign_that_could_not_measure_is_no_pass() {
    let old = events(&[(3, Verdict::Recovered, "gpt")]);
    let mut cut_short = old.clone();
    cut_short.pop();
    let mut stopped = cut_short.clone();
    stopped.push(ended(Outcome::Stopped { reason: "the disk is full".to_owned() }, 4));
    let unmeasured = events(&[(3, Verdict::NotMeasured, "gpt")]);
    for new in [cut_short, stopped, unmeasured] {
        let comparison = compared(&old, &new).unwrap();
        assert_eq!((comparison.whole, comparison.exit()), (false, Exit::NotMeasured), "{comparison:?}");
    }
}

#[test]
fn text_of_a_comparison_of_two_versions() {
    use Verdict::{Corrupt, Hung, Recovered, Refused};
    let old = events(&[
        (1, Recovered, ""),
        (2, Corrupt, "gpt"),
        (3, Refused, "exit"),
        (4, Corrupt, "fsck"),
        (5, Hung, "exit"),
    ]);
    let mut new = events(&[
        (1, Corrupt, "content"),
        (2, Recovered, ""),
        (3, Corrupt, "gpt"),
        (4, Refused, "exit"),
        (5, Hung, "exit"),
        (6, Recovered, ""),
    ]);
    let Event::CampaignStarted(first) = new.remove(0) else { panic!("a sweep starts") };
    let tool_versions = [("sgdisk".to_owned(), "1.0.10".to_owned())].into();
    new.insert(0, Event::CampaignStarted(CampaignStarted { tool_versions, ..first }));
    insta::assert_snapshot!(render(&compared(&old, &new).unwrap()));
}

/// Whatever the findings, each is told once: of both lists nothing is lost and nothing is counted twice.
#[test]
fn every_finding_is_told_once() {
    use proptest::prelude::*;
    let verdict =
        prop::sample::select(vec![Verdict::Corrupt, Verdict::Refused, Verdict::Hung, Verdict::Recovered]);
    let fates = prop::collection::vec((0_u64..6, verdict, prop::sample::select(vec!["gpt", "exit"])), 0..12);
    proptest!(|(old in fates.clone(), new in fates)| {
        let [before, after] = [&old, &new].map(|fates| fates.iter().filter(|fate| !fate.1.is_pass()).count());
        let comparison = compared(&events(&old), &events(&new)).unwrap();
        let [new, worse, changed, better, gone, unchanged] = counts(&comparison);
        let paired = worse + changed + better + unchanged;
        prop_assert_eq!(paired + gone + comparison.not_looked_at.len(), before);
        prop_assert_eq!(paired + new, after);
    });
}
