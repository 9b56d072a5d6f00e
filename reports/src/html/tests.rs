//! Goal: the page says what the terminal says, holds each crash state once, and stays one file that a browser can open,
//! whatever names and texts a tool brought in. Method: pages of the sample campaigns and of made ones, read as text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::samples::sweep::{begins, found, point, started, sweep};
use crate::samples::{campaign, ended};
use crate::{Compared, Event, Finding, Outcome, Sector, Stream, Verdict};

const MIB: usize = 1 << 20;

fn stream(events: &[Event]) -> Stream {
    let mut stream = Stream::new(Vec::new());
    events.iter().for_each(|event| stream.emit(event).unwrap());
    stream
}

fn page(events: &[Event]) -> String {
    let stream = stream(events);
    render(&Report::from(stream.tally()), stream.chart(), stream.bytes())
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
    let page = render(&report, stream.chart(), stream.bytes());
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

/// A finding of the sample sweep with a sector of 64 bytes on both sides, which differ in so many places.
fn with_bytes(id: &str, places: &[usize], excused: &[(u16, u16)]) -> Event {
    let wanted = vec![0x41_u8; 64];
    let mut found = wanted.clone();
    places.iter().for_each(|place| found[*place] = 0x3c);
    let text = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Event::Compared(Compared {
        finding: id.to_owned(),
        found: "what the resume left".to_owned(),
        wanted: "what an uninterrupted run leaves".to_owned(),
        sectors: vec![Sector {
            file: "disk.img".to_owned(),
            offset: 0x400,
            place: "primary GPT array".to_owned(),
            wanted: text(&wanted),
            found: text(&found),
            excused: excused.to_vec(),
        }],
        more: 7,
    })
}

#[test]
fn a_finding_has_its_bytes_beside_those_that_were_wanted_with_what_differs_marked() {
    let mut events = sweep();
    let place = events.iter().position(|event| matches!(event, Event::Finding(_))).unwrap();
    events.insert(place + 1, with_bytes("F1", &[1, 2, 9, 15], &[(9, 1)]));
    let page = page(&events);
    let of_wanted = "<td>41 <mark>41 41</mark> 41 41 41 41 41 41 <span class=\"may\">41</span> 41 41 41 41 41 <mark>41</mark></td>\
         <td>A<mark>AA</mark>AAAAAA<span class=\"may\">A</span>AAAAA<mark>A</mark></td>";
    let of_found = of_wanted
        .replace("<mark>41 41</mark>", "<mark>3c 3c</mark>")
        .replace("may\">41<", "may\">3c<")
        .replace("<mark>41</mark>", "<mark>3c</mark>")
        .replace("<mark>AA</mark>", "<mark>&lt;&lt;</mark>")
        .replace("may\">A<", "may\">&lt;<")
        .replace("<mark>A</mark>", "<mark>&lt;</mark>");
    let row = format!("{of_wanted}{of_found}</tr>");
    assert!(page.contains(&row), "{row}\n{page}");
    for text in [
        "Bytes: 1 of 8 sectors that differ",
        "0x400<span class=\"heard\">, bytes that differ: 1 to 2, 15</span>",
        "<th scope=\"row\">0x410</th>",
        "2 rows alike",
        "and 7 sectors more",
        "Wanted is what an uninterrupted run leaves, found is what the resume left.",
        "Bytes are shown of 1 of 4 findings.",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

/// A file that ends inside a sector, or before it, on one side.
#[test]
fn where_a_file_ends_no_byte_is_made_up() {
    let mut events = sweep();
    let Event::Compared(mut bytes) = with_bytes("F1", &[], &[]) else { panic!("bytes") };
    bytes.sectors[0].found.truncate(2 * 20);
    events.push(Event::Compared(bytes));
    let page = page(&events);
    assert!(page.contains("0x410<span class=\"heard\">, bytes that differ: 4 to 15</span>"));
    assert!(page.contains("<td>41 41 41 41</td><td>AAAA</td></tr>"));
    assert_eq!(page.matches("behind the file's end").count(), 2, "rows 2 and 3");
}

/// Whatever an event log holds, the page is one.
#[test]
fn bytes_that_are_no_hexadecimal_are_left_out() {
    let mut events = sweep();
    let Event::Compared(mut bytes) = with_bytes("F1", &[3], &[(60_000, 60_000)]) else { panic!("bytes") };
    bytes.sectors[0].found = "<script>é".to_owned();
    bytes.sectors[0].place = "<script>".to_owned();
    events.push(Event::Compared(bytes));
    assert_eq!(page(&events).matches("<script").count(), 2, "the data's and the script");
}

#[test]
fn what_a_finding_was_shrunk_from_is_told_with_its_token() {
    let mut events = sweep();
    for event in &mut events {
        if let Event::Finding(finding) = event
            && finding.id == "F2"
        {
            finding.shrunk_from = Some("kp1:before".to_owned());
            finding.shrunk_from_point = Some("2 kills: after op 5, then after op 2".to_owned());
        }
    }
    let page = page(&events);
    let told = "shrunk from 2 kills: after op 5, then after op 2; was <code>kp1:before</code>";
    assert_eq!(page.matches(told).count(), 1);
    assert_eq!(page.matches("shrunk from").count(), 1);
}

/// Five hundred findings whose four sectors differ in every other byte: as much markup as bytes can make.
#[test]
fn bytes_of_many_findings_take_no_more_than_their_room() {
    let hex = |byte: &str| byte.repeat(512);
    let sector = |place: u64| Sector {
        file: "disk.img".to_owned(),
        offset: place * 512,
        place: "free".to_owned(),
        wanted: hex("3c"),
        found: "3c26".repeat(256),
        excused: Vec::new(),
    };
    let mut events = large();
    let end = events.pop().unwrap();
    for number in 1..=500 {
        events.push(Event::Compared(Compared {
            finding: format!("F{number}"),
            found: "found".to_owned(),
            wanted: "wanted".to_owned(),
            sectors: (0..4).map(sector).collect(),
            more: 0,
        }));
    }
    events.push(end);
    let page = page(&events);
    assert!(page.len() < 5 * MIB, "{} bytes", page.len());
    let shown = page.matches("class=\"bytes\"").count();
    assert!(shown > 3, "{shown}");
    assert!(
        page.contains(&format!(
            "Bytes are shown of {shown} of 10000 findings; events.jsonl has them of 500."
        ))
    );
}
