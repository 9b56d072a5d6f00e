//! Goal: a mark says of its state what the events say, also where the state was judged at another point. Method: made
//! points, and what the chart has of them.

use super::*;
use crate::samples::sweep::{begins, found, point, started};
use crate::{Stream, Verdict};

fn chart(events: &[Event]) -> Chart {
    let mut stream = Stream::new(Vec::new());
    events.iter().for_each(|event| stream.emit(event).unwrap());
    stream.chart().clone()
}

#[test]
fn a_state_that_is_reached_again_has_the_verdict_and_the_finding_of_the_first() {
    let again = |op, content| Event::Point(point("new", op, "primary", content, None));
    let chart = chart(&[
        started(),
        begins("new", 5),
        Event::Point(point("new", 1, "primary", "bad", Some(Verdict::Corrupt))),
        Event::Finding(found("F1", Verdict::Corrupt, "after op 1")),
        again(2, "bad"),
        Event::Point(point("new", 3, "primary", "good", Some(Verdict::Recovered))),
        again(4, "good"),
    ]);
    let marks: Vec<_> = chart.facets()[0].marks.iter().map(|mark| (mark.verdict, mark.finding)).collect();
    let (bad, good) = ((Some(Verdict::Corrupt), Some(0)), (Some(Verdict::Recovered), None));
    assert_eq!(marks, [bad, bad, good, good]);
}

/// The same bytes left by different errors are different states: the finding of one is not the other's.
#[test]
fn disturbed_runs_that_leave_the_same_bytes_are_told_apart() {
    let by = |faults: &str, verdict| {
        let point = point("new", 1, "primary", "same", Some(verdict));
        Event::Point(Point { model: Model::Error, faults: faults.to_owned(), ..point })
    };
    let chart = chart(&[
        started(),
        by("eio1", Verdict::Corrupt),
        Event::Finding(found("F1", Verdict::Corrupt, "op 1 answers EIO")),
        by("enospc1", Verdict::Recovered),
    ]);
    let marks: Vec<_> = chart.facets()[0].marks.iter().map(|mark| (mark.verdict, mark.finding)).collect();
    assert_eq!(marks, [(Some(Verdict::Corrupt), Some(0)), (Some(Verdict::Recovered), None)]);
}

#[test]
fn crashes_of_resumes_have_an_axis_of_their_own() {
    let deep = Point { depth: 1, ..point("new", 9, "primary", "b", Some(Verdict::Recovered)) };
    let chart = chart(&[
        started(),
        begins("new", 3),
        Event::Point(point("new", 1, "primary", "a", Some(Verdict::Recovered))),
        Event::Point(deep),
    ]);
    let axes: Vec<_> =
        chart.facets().iter().map(|facet| (facet.of_resumes, facet.last_op(), facet.marks.len())).collect();
    assert_eq!(axes, [(false, 2, 1), (true, 9, 1)]);
}

/// A finding that follows no state, as one of a run in which no kill landed, has no mark.
#[test]
fn a_finding_without_a_crash_state_has_no_place() {
    let chart = chart(&[started(), Event::Finding(found("F1", Verdict::Corrupt, "nowhere"))]);
    assert_eq!((chart.region_of_finding(0), chart.region_of_finding(1)), (None, None));
}
