//! A small sweep that every test of this crate can read: points at op boundaries and inside writes, a state reached
//! twice, findings of which three are alike and one is expected, live kills, and an expected finding that is gone.

use std::collections::BTreeMap;

use super::{ended, finding};
use crate::{
    CampaignStarted, Command, Event, Finding, GptSample, Lot, Model, Outcome, Point, SCHEMA, Seam, Verdict,
};

const PHASE: &str = "new";

/// The sweep's first event.
pub(crate) fn started() -> Event {
    Event::CampaignStarted(CampaignStarted {
        schema: SCHEMA,
        killpoint: "0.1.0".to_owned(),
        scenario: "sgdisk-new".to_owned(),
        scale: None,
        scenario_digest: "5d1c".to_owned(),
        phases: vec![PHASE.to_owned()],
        command: Command::Sweep,
        seam: Seam::Fuse,
        seed: 7,
        model: vec!["kill".to_owned(), "torn".to_owned()],
        iterations: None,
        for_s: None,
        tool_versions: BTreeMap::from([("sgdisk".to_owned(), "1.0.9".to_owned())]),
        options: BTreeMap::new(),
        shard: None,
        expected: Vec::new(),
    })
}

/// So many points, and how many of them are going to be looked at.
fn lot(model: Model, possible: u64, planned: u64) -> Lot {
    Lot { model, step: "primary".to_owned(), region: "primary GPT array".to_owned(), possible, planned }
}

/// What is going to be looked at: so many points, and none inside writes.
pub(crate) fn begins(phase: &str, kill_points: u64) -> Event {
    Event::Sweep {
        phase: phase.to_owned(),
        ops: kill_points - 1,
        lots: vec![lot(Model::Kill, kill_points, kill_points)],
    }
}

/// A point after an op of a clean disk, between start and baseline, and judged unless the same content was.
pub(crate) fn point(phase: &str, op: u64, step: &str, content_id: &str, verdict: Option<Verdict>) -> Point {
    Point {
        phase: phase.to_owned(),
        model: Model::Kill,
        depth: 0,
        faults: format!("a{op}k"),
        op,
        torn_bytes: None,
        ordinal: 0,
        acks: 0,
        step: step.to_owned(),
        region: "primary GPT array".to_owned(),
        content_id: content_id.to_owned(),
        distinct: verdict.is_some(),
        interior: true,
        scratch_wiped: false,
        gpt: Some(GptSample { clean: true, ..GptSample::default() }),
        copies: BTreeMap::new(),
        merged: false,
        unread: false,
        verdict,
        asked: None,
        overwrites: None,
        opened: None,
        wall_ms: 14,
    }
}

/// A finding at a crash point.
pub(crate) fn found(id: &str, verdict: Verdict, at: &str) -> Finding {
    Finding {
        token: format!("kp1:sgdisk-new:{id}"),
        phase: PHASE.to_owned(),
        step: "primary".to_owned(),
        point: at.to_owned(),
        oracle: "gpt".to_owned(),
        explain: "no valid copy".to_owned(),
        repro: format!("killpoint repro kp1:sgdisk-new:{id}"),
        ..finding(id, verdict)
    }
}

/// A live kill.
pub(crate) fn live(at: &str, landed: bool, agreed: bool) -> Event {
    Event::LiveCheck { phase: PHASE.to_owned(), point: at.to_owned(), landed, agreed }
}

/// The whole sweep: 10 of 11 points, nine states, four findings of which one is expected.
pub(crate) fn sweep() -> Vec<Event> {
    let at = |op, step, id, verdict| point(PHASE, op, step, id, verdict);
    let torn = |torn_bytes, op, step, id, verdict| Point {
        model: Model::Torn,
        torn_bytes: Some(torn_bytes),
        ordinal: 0,
        acks: 0,
        ..at(op, step, id, verdict)
    };
    let (recovered, corrupt) = (Some(Verdict::Recovered), Some(Verdict::Corrupt));
    let invalid = GptSample { header_crc: true, no_valid_copy: true, ..GptSample::default() };
    let half = GptSample { torn_primary: true, mismatch: true, ..GptSample::default() };
    let baseline = |run| Event::BaselineRun { phase: PHASE.to_owned(), run, ops: 5, flushes: 1, wall_ms: 6 };
    vec![
        started(),
        Event::FixtureReady { fixture_id: "f7".to_owned(), cached: false, len_bytes: 64 << 20, wall_ms: 90 },
        baseline(1),
        baseline(2),
        Event::BaselineReady {
            phase: PHASE.to_owned(),
            volatile_bytes: 0,
            content_id: "end".to_owned(),
            steps: vec!["backup".to_owned(), "primary".to_owned()],
        },
        Event::Sweep {
            phase: PHASE.to_owned(),
            ops: 5,
            lots: vec![lot(Model::Kill, 6, 6), lot(Model::Torn, 5, 4)],
        },
        Event::Point(Point { interior: false, ..at(0, "start", "n0", recovered) }),
        Event::Point(torn(4096, 0, "backup", "n1", recovered)),
        Event::Point(at(1, "backup", "n2", recovered)),
        Event::Point(torn(100, 1, "backup", "n2", None)),
        Event::Point(at(2, "backup", "n3", Some(Verdict::RolledBack))),
        Event::Point(Point { gpt: Some(half), ..torn(512, 2, "primary", "n4", corrupt) }),
        Event::Finding(found("F1", Verdict::Corrupt, "inside op 3 after 1 sector")),
        Event::Point(Point { gpt: Some(invalid), ..at(3, "primary", "n5", corrupt) }),
        Event::Finding(found("F2", Verdict::Corrupt, "after op 3")),
        Event::Point(torn(4096, 3, "primary", "n6", Some(Verdict::Refused))),
        Event::Finding(Finding {
            expected: true,
            ..found("F3", Verdict::Refused, "inside op 4 after 8 sectors")
        }),
        Event::Point(at(4, "primary", "n7", corrupt)),
        Event::Finding(found("F4", Verdict::Corrupt, "after op 4")),
        Event::Point(Point { interior: false, ..at(5, "primary", "end", recovered) }),
        live("after op 1", true, true),
        live("after op 4", true, true),
        Event::ExpectedVanished { what: "diverged in new (baseline)".to_owned() },
        ended(Outcome::Completed, 1),
    ]
}
