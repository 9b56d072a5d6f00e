//! The event log is written by one process that may be killed and read by another: whatever went in comes out, and
//! whatever a kill leaves can be read.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::samples::{campaign, sweep::sweep, tally};
use crate::{
    AskedOf, CampaignStarted, Command, Compared, CopyState, Finding, GptSample, Kill, Lot, Model, Outcome,
    PlannedKill, Point, Seam, Sector, Stream, Verdict,
};
use crate::{EpochClaim, ResumeCuts};

fn record(dir: &Path, events: &[Event]) {
    let mut stream = Stream::new(vec![Box::new(EventLog::create(dir).unwrap())]);
    for event in events {
        stream.emit(event).unwrap();
    }
    stream.finish().unwrap();
}

fn text() -> impl Strategy<Value = String> {
    any::<String>()
}

fn number() -> impl Strategy<Value = f64> {
    prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop::sample::select(Verdict::ALL.to_vec())
}

fn words() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(text(), text(), 0..3)
}

fn started() -> impl Strategy<Value = Event> {
    let names = (text(), text(), prop::option::of(text()), text());
    let lists = (prop::collection::vec(text(), 0..3), prop::collection::vec(text(), 0..3), words());
    let command = prop::sample::select(vec![
        Command::Run,
        Command::Sweep,
        Command::Exec,
        Command::Repro,
        Command::Shrink,
        Command::Barriers,
    ]);
    let seam = prop::sample::select(vec![Seam::Fuse, Seam::InProcess]);
    let bounds = (any::<u64>(), any::<Option<u64>>(), any::<Option<u64>>(), command, seam);
    let sweep = (words(), any::<Option<(u32, u32)>>(), prop::collection::vec(text(), 0..3));
    (names, lists, bounds, sweep).prop_map(|(names, lists, bounds, (options, shard, expected))| {
        Event::CampaignStarted(CampaignStarted {
            schema: SCHEMA,
            killpoint: names.0,
            scenario: names.1,
            scale: names.2,
            scenario_digest: names.3,
            phases: lists.0,
            command: bounds.3,
            seam: bounds.4,
            seed: bounds.0,
            model: lists.1,
            iterations: bounds.1,
            for_s: bounds.2,
            tool_versions: lists.2,
            options,
            shard,
            expected,
        })
    })
}

fn sample() -> impl Strategy<Value = GptSample> {
    any::<[bool; 6]>().prop_map(|[clean, header_crc, torn_primary, torn_backup, mismatch, no_valid_copy]| {
        GptSample { clean, header_crc, torn_primary, torn_backup, mismatch, no_valid_copy }
    })
}

fn kill() -> impl Strategy<Value = Event> {
    let names = (text(), text(), text());
    let numbers = (any::<u64>(), any::<u32>(), any::<u64>(), number(), any::<[bool; 5]>());
    (names, numbers, prop::option::of(sample()), copies()).prop_map(|(names, numbers, gpt, copies)| {
        let [landed, inside_op, distinct, interior, scratch_wiped] = numbers.4;
        Event::Kill(Kill {
            iteration: numbers.0,
            phase: names.0,
            attempt: numbers.1,
            at_ms: numbers.3,
            landed,
            step: names.1,
            op: numbers.2,
            inside_op,
            content_id: names.2,
            distinct,
            interior,
            scratch_wiped,
            gpt,
            copies,
        })
    })
}

fn copies() -> impl Strategy<Value = BTreeMap<String, CopyState>> {
    let state = prop::sample::select(vec![CopyState::Empty, CopyState::Partial, CopyState::Complete]);
    prop::collection::btree_map(text(), state, 0..3)
}

fn model() -> impl Strategy<Value = Model> {
    prop::sample::select(Model::ALL.to_vec())
}

fn epoch() -> impl Strategy<Value = EpochClaim> {
    (any::<u32>(), any::<[u64; 2]>(), any::<bool>(), text(), prop::option::of(text())).prop_map(
        |(epoch, [ops, failed], exhaustive, looked_at, bound)| EpochClaim {
            epoch,
            ops,
            exhaustive,
            looked_at,
            bound,
            failed,
        },
    )
}

fn lot() -> impl Strategy<Value = Lot> {
    (model(), text(), text(), any::<[u64; 2]>()).prop_map(|(model, step, region, [possible, planned])| Lot {
        model,
        step,
        region,
        possible,
        planned,
    })
}

fn point() -> impl Strategy<Value = Event> {
    let names = (text(), text(), text(), text(), text(), model());
    let numbers = (any::<u64>(), any::<Option<u64>>(), any::<u64>(), any::<[bool; 3]>());
    let asked =
        (any::<bool>(), prop::collection::vec(text(), 0..3)).prop_map(|(all, names)| AskedOf { all, names });
    let asked = prop::option::of(asked);
    let numbers = (numbers, any::<u32>(), any::<Option<u64>>(), any::<bool>(), asked);
    let judged = (prop::option::of(sample()), copies(), prop::option::of(verdict()));
    (names, numbers, judged).prop_map(|(names, numbers, (gpt, copies, verdict))| {
        let (numbers, depth, opened, merged, asked) = numbers;
        let [distinct, interior, scratch_wiped] = numbers.3;
        Event::Point(Point {
            phase: names.0,
            model: names.5,
            depth,
            faults: names.3,
            op: numbers.0,
            torn_bytes: numbers.1,
            ordinal: 0,
            acks: 0,
            step: names.1,
            region: names.4,
            content_id: names.2,
            distinct,
            interior,
            scratch_wiped,
            gpt,
            copies,
            merged,
            unread: !merged,
            verdict,
            asked,
            overwrites: opened,
            opened,
            wall_ms: numbers.2,
        })
    })
}

fn finding() -> impl Strategy<Value = Event> {
    let names = (text(), text(), text(), text(), text());
    let shrunk = prop::option::of(text());
    (names, verdict(), model(), text(), text(), text(), any::<bool>(), shrunk).prop_map(|finding| {
        let (names, verdict, model, oracle, explain, repro, expected, shrunk_from) = finding;
        let (id, token, phase, step, point) = names;
        Event::Finding(Finding {
            id,
            token,
            verdict,
            model,
            phase,
            step,
            point,
            oracle,
            explain,
            repro,
            expected,
            shrunk_from_point: shrunk_from.clone(),
            shrunk_from,
        })
    })
}

fn compared() -> impl Strategy<Value = Event> {
    let sector = (text(), any::<u64>(), text(), text(), text(), any::<Vec<(u16, u16)>>()).prop_map(
        |(file, offset, place, wanted, found, excused)| Sector {
            file,
            offset,
            place,
            wanted,
            found,
            excused,
        },
    );
    (text(), text(), text(), prop::collection::vec(sector, 0..3), any::<u64>()).prop_map(
        |(finding, found, wanted, sectors, more)| {
            Event::Compared(Compared { finding, found, wanted, sectors, more })
        },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Completed),
        text().prop_map(|signal| Outcome::Interrupted { signal }),
        text().prop_map(|reason| Outcome::Stopped { reason }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        started(),
        (text(), any::<bool>(), any::<u64>(), any::<u64>()).prop_map(
            |(fixture_id, cached, len_bytes, wall_ms)| Event::FixtureReady {
                fixture_id,
                cached,
                len_bytes,
                wall_ms
            }
        ),
        (text(), any::<u32>(), any::<[u64; 3]>()).prop_map(|(phase, run, [ops, flushes, wall_ms])| {
            Event::BaselineRun { phase, run, ops, flushes, wall_ms }
        }),
        (text(), any::<u64>(), text(), proptest::collection::vec(text(), 0..4)).prop_map(
            |(phase, volatile_bytes, content_id, steps)| Event::BaselineReady {
                phase,
                volatile_bytes,
                content_id,
                steps
            }
        ),
        (text(), text()).prop_map(|(phase, oracle)| Event::OracleProved { phase, oracle }),
        text().prop_map(|what| Event::NotTested { what }),
        text().prop_map(|text| Event::Warning { text }),
        any::<u64>().prop_map(|iteration| Event::IterationStarted { iteration }),
        kill(),
        (any::<u64>(), text(), prop::collection::vec((number(), any::<bool>()), 0..4)).prop_map(
            |(iteration, phase, kills)| Event::Planned {
                iteration,
                phase,
                kills: kills
                    .into_iter()
                    .map(|(fraction, scratch_wiped)| PlannedKill { fraction, scratch_wiped })
                    .collect(),
            }
        ),
        (any::<u64>(), text(), any::<u32>(), text()).prop_map(|(iteration, phase, attempt, step)| {
            Event::Late { iteration, phase, attempt, step }
        }),
        (text(), text(), prop::collection::vec(text(), 0..4))
            .prop_map(|(phase, step, lines)| Event::Layout { phase, step, lines }),
        (any::<[u64; 2]>(), text(), verdict(), any::<u32>()).prop_map(
            |([iteration, wall_ms], phase, verdict, kills)| Event::Judged {
                iteration,
                phase,
                verdict,
                kills,
                wall_ms
            }
        ),
        (text(), any::<u64>(), prop::collection::vec(lot(), 0..3))
            .prop_map(|(phase, ops, lots)| Event::Sweep { phase, ops, lots }),
        (text(), any::<u32>(), any::<[u64; 2]>())
            .prop_map(|(phase, depth, [points, fresh])| Event::Closure { phase, depth, points, fresh }),
        (text(), prop::collection::vec(epoch(), 0..3))
            .prop_map(|(phase, epochs)| Event::PowerClaims { phase, epochs }),
        (text(), any::<[u64; 4]>()).prop_map(|(phase, [resumes, possible, looked_at, failed])| {
            Event::ResumeCuts(ResumeCuts { phase, resumes, possible, looked_at, failed })
        }),
        (text(), any::<bool>()).prop_map(|(phase, complete)| Event::ClosureEnded { phase, complete }),
        point(),
        (text(), text(), any::<[bool; 2]>()).prop_map(|(phase, point, [landed, agreed])| Event::LiveCheck {
            phase,
            point,
            landed,
            agreed
        }),
        finding(),
        compared(),
        text().prop_map(|what| Event::ExpectedVanished { what }),
        (outcome(), any::<u8>(), number(), number()).prop_map(|(outcome, exit_code, wall_s, prepared_s)| {
            Event::CampaignEnded { outcome, exit_code, wall_s, prepared_s }
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn events_come_back_as_they_went_in(events in prop::collection::vec(event(), 0..8)) {
        let dir = tempfile::tempdir().unwrap();
        record(dir.path(), &events);
        let read = EventLog::read(dir.path()).unwrap();
        prop_assert_eq!(read, RecordedEvents { events, torn: None });
    }

    /// Cut anywhere, the log gives all whole events and names the line that is torn.
    #[test]
    fn a_log_cut_anywhere_keeps_its_whole_lines(cut in any::<prop::sample::Index>()) {
        let dir = tempfile::tempdir().unwrap();
        let events = campaign();
        record(dir.path(), &events);
        let path = EventLog::path(dir.path());
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(cut.index(bytes.len() + 1));
        fs::write(&path, &bytes).unwrap();

        let whole = bytes.iter().filter(|byte| **byte == b'\n').count();
        let rest = bytes.iter().rev().take_while(|byte| **byte != b'\n').count();
        let read = EventLog::read(dir.path()).unwrap();
        prop_assert_eq!(read.events, &events[..whole.saturating_sub(1)]);
        let torn = (rest > 0).then_some(TornTail { line: whole + 1, len_bytes: rest });
        prop_assert_eq!(read.torn, torn);
    }
}

/// What is derived from a log that was read back is what was derived as it happened.
#[test]
fn a_report_can_be_made_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), &campaign());
    let read = EventLog::read(dir.path()).unwrap();
    assert_eq!(tally(&read.events), tally(&campaign()));
}

#[test]
fn a_report_of_a_sweep_can_be_made_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), &sweep());
    let read = EventLog::read(dir.path()).unwrap();
    assert_eq!(tally(&read.events), tally(&sweep()));
    assert_eq!(read.events, sweep());
}

#[test]
fn a_log_in_use_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), &campaign());
    let error = EventLog::create(dir.path()).unwrap_err();
    assert_eq!(error.errno(), Some(libc::EEXIST));
    assert_eq!(EventLog::read(dir.path()).unwrap().events, campaign());
}

#[test]
fn what_is_no_event_log_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let header = r#"{"schema":1,"log":"killpoint-events"}"#;
    for (content, said) in [
        (r#"{"schema":2,"log":"killpoint-events"}"#.to_owned(), "does not begin with the header"),
        (r#"{"schema":1,"log":"something"}"#.to_owned(), "does not begin with the header"),
        (format!("{header}\n{}\nnonsense", r#"{"event":"warning","text":"x"}"#), "line 3 of"),
        (format!("{header}\n{}", r#"{"event":"warning","text":"x","more":1}"#), "line 2 of"),
    ] {
        fs::write(EventLog::path(dir.path()), content + "\n").unwrap();
        let error = EventLog::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}
