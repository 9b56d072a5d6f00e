//! Goal: the page says what the terminal says, holds each crash state once, and stays one file that a browser can open,
//! whatever names and texts a tool brought in. Method: pages of the sample campaigns and of made ones, read as text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::samples::sweep::{begins, found, point, started, sweep};
use crate::samples::{campaign, ended};
use crate::{Event, Finding, Outcome, Stream, Verdict};

const MIB: usize = 1 << 20;

fn stream(events: &[Event]) -> Stream {
    let mut stream = Stream::new(Vec::new());
    events.iter().for_each(|event| stream.emit(event).unwrap());
    stream
}

fn page(events: &[Event]) -> String {
    let stream = stream(events);
    render(&Report::from(stream.tally()), stream.chart())
}

/// What the page's script draws from.
fn data(page: &str) -> serde_json::Value {
    let (_, rest) = page.split_once(r#"<script id="marks" type="application/json">"#).unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

fn column(map: &serde_json::Value, name: &str) -> Vec<u8> {
    STANDARD.decode(map[name].as_str().unwrap()).unwrap()
}

#[test]
fn each_state_of_the_sample_sweep_is_a_mark_at_its_op_that_leads_to_its_finding() {
    let data = data(&page(&sweep()));
    let map = &data["maps"][0];
    assert_eq!(data["maps"].as_array().unwrap().len(), 1);
    let ops: Vec<u32> =
        column(map, "op").chunks(4).map(|op| u32::from_le_bytes(op.try_into().unwrap())).collect();
    assert_eq!(ops, [0, 0, 1, 1, 2, 2, 3, 3, 4, 5]);
    let torn: Vec<u32> =
        column(map, "torn_bytes").chunks(4).map(|n| u32::from_le_bytes(n.try_into().unwrap())).collect();
    let none = u32::MAX;
    assert_eq!(torn, [none, 4096, none, 100, none, 512, none, 4096, none, none]);
    let name = |place: &u8| data["verdicts"][usize::from(*place)].as_str().unwrap().to_owned();
    let verdicts: Vec<String> = column(map, "verdict").iter().map(name).collect();
    let (passed, failed) = ("recovered", "corrupt");
    assert_eq!(
        verdicts,
        [passed, passed, passed, passed, "rolled-back", failed, failed, "refused", failed, passed]
    );
    let to = |place: &[u8]| match u16::from_le_bytes(place.try_into().unwrap()) {
        0 => String::new(),
        place => data["targets"][usize::from(place) - 1].as_str().unwrap().to_owned(),
    };
    let targets: Vec<String> = column(map, "target").chunks(2).map(to).collect();
    let to = ["", "", "", "", "", "finding-F1", "finding-F2", "finding-F3", "finding-F4", ""];
    assert_eq!(targets, to);
}

#[test]
fn every_place_that_a_mark_leads_to_is_on_the_page() {
    for events in [sweep(), campaign()] {
        let page = page(&events);
        let data = data(&page);
        let targets = data["targets"].as_array().unwrap();
        assert!(!targets.is_empty());
        for target in targets {
            assert!(page.contains(&format!(" id={target}")), "{target}");
        }
    }
}

/// Marks at the same op and row must not hide each other.
#[test]
fn no_two_marks_lie_at_the_same_place() {
    for events in [sweep(), campaign()] {
        let data = data(&page(&events));
        for map in data["maps"].as_array().unwrap() {
            let of = |name| column(map, name);
            let places: std::collections::BTreeSet<_> = of("op")
                .chunks(4)
                .zip(of("row").into_iter().zip(of("lane")).zip(of("shift")))
                .map(|(op, place)| (op.to_vec(), place))
                .collect();
            assert_eq!(places.len(), of("row").len());
        }
    }
}

#[test]
fn the_page_makes_the_claim_of_the_terminal_and_names_what_was_not_tested() {
    let page = page(&campaign());
    let claim = "mixed-layout: 4 of 6 kills landed, 3 distinct states, 1 finding";
    assert!(page.contains(claim), "{page}");
    for text in ["fsck of `EFI`: fsck.fat is missing", "killpoint repro kp1:mixed-layout:F1", "✗ findings"]
    {
        assert!(page.contains(text), "{text}");
    }
}

/// A campaign of kills knows no verdict of a state that was killed again before it was judged.
#[test]
fn a_random_kill_has_its_chains_verdict_and_finding() {
    let stream = stream(&campaign());
    let [shrink, grow] = stream.chart().facets() else { panic!("two phases") };
    let marks = |facet: &crate::Facet| -> Vec<_> {
        facet.marks.iter().map(|mark| (mark.verdict, mark.finding)).collect()
    };
    assert_eq!(marks(shrink), [(Some(Verdict::Recovered), None); 2]);
    assert_eq!(marks(grow), [(Some(Verdict::Diverged), Some(0)), (Some(Verdict::RolledBack), None)]);
    assert_eq!(stream.chart().region_of_finding(0), Some("updatePartitions"));
}

/// Whatever a tool prints or a file is called, it is text.
#[test]
fn names_and_texts_from_outside_are_escaped() {
    let evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&";
    let mut events = vec![started(), begins("new", 2)];
    let mut at = point("new", 1, evil, "a", Some(Verdict::Corrupt));
    at.region = evil.to_owned();
    events.push(Event::Point(at));
    let texts =
        Finding { explain: evil.to_owned(), point: evil.to_owned(), ..found("F1", Verdict::Corrupt, evil) };
    events.push(Event::Finding(Finding { id: evil.to_owned(), step: evil.to_owned(), ..texts }));
    events.push(Event::NotTested { what: evil.to_owned() });
    events.push(Event::Warning { text: evil.to_owned() });
    let page = page(&events);
    assert_eq!(page.matches("<script").count(), 2, "the data's and the script");
    assert!(!page.contains("<img"));
    assert_eq!(data(&page)["maps"][0]["rows"][0], evil);
}

/// A browser that is offline shows all of it, and one that is not asks nobody.
#[test]
fn the_page_refers_to_nothing_outside() {
    let page = page(&sweep());
    assert!(page.contains("default-src 'none'"));
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

/// A hundred thousand states, a finding at every tenth.
fn large() -> Vec<Event> {
    let mut events = vec![started(), begins("new", 100_000)];
    for op in 0..100_000_u64 {
        let verdict = if op % 10 == 0 { Verdict::Corrupt } else { Verdict::Recovered };
        let mut at = point("new", op, &format!("step {}", op / 9000), &format!("{op:016x}"), Some(verdict));
        at.region = format!("`P{}`", op % 40);
        events.push(Event::Point(at));
        if verdict == Verdict::Corrupt {
            let at = found(&format!("F{}", op / 10 + 1), verdict, &format!("after op {op}"));
            events.push(Event::Finding(Finding { explain: "bytes differ ".repeat(20), ..at }));
        }
    }
    events.push(ended(Outcome::Completed, 1));
    events
}

#[test]
fn a_hundred_thousand_states_with_ten_thousand_findings_take_less_than_five_mib() {
    let stream = stream(&large());
    let report = Report::from(stream.tally());
    let before = std::time::Instant::now();
    let page = render(&report, stream.chart());
    println!("{} bytes in {:?}", page.len(), before.elapsed());
    assert!(page.len() < 5 * MIB, "{} bytes", page.len());
    let data = data(&page);
    assert_eq!(column(&data["maps"][0], "row").len(), 100_000);
    assert_eq!(data["maps"][0]["rows"].as_array().unwrap().len(), 25, "24 rows, and one for the others");
}

#[test]
fn a_campaign_that_ended_before_anything_happened_has_a_page() {
    let page = page(&[]);
    assert!(page.contains("No crash state was reached.") && page.contains("! cut short"));
}
