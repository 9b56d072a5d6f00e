//! One small campaign of random kills that every test of this crate can read: each kind of GPT damage, a miss, and a
//! finding. A sweep is below.

use std::collections::BTreeMap;

use crate::{
    CampaignStarted, Command, CopyState, Event, Finding, GptSample, Kill, Model, Outcome, PlannedKill,
    SCHEMA, Seam, Tally, Verdict,
};

pub(crate) mod sweep;

/// The campaign's first event.
pub(crate) fn started(iterations: Option<u64>, for_s: Option<u64>) -> Event {
    Event::CampaignStarted(CampaignStarted {
        schema: SCHEMA,
        killpoint: "0.1.0".to_owned(),
        scenario: "mixed-layout".to_owned(),
        scale: Some("small".to_owned()),
        scenario_digest: "5d1c".to_owned(),
        phases: vec!["shrink".to_owned(), "grow".to_owned()],
        command: Command::Run,
        seam: Seam::InProcess,
        seed: 42,
        model: vec!["kill".to_owned()],
        iterations,
        for_s,
        tool_versions: BTreeMap::from([("resizer".to_owned(), "0.1.0".to_owned())]),
        options: BTreeMap::new(),
        shard: None,
        expected: Vec::new(),
    })
}

/// A landed kill in a clean disk that left `content_id`.
pub(crate) fn kill(iteration: u64, phase: &str, step: &str, content_id: &str) -> Kill {
    Kill {
        iteration,
        phase: phase.to_owned(),
        attempt: 1,
        at_ms: 41.5,
        landed: true,
        step: step.to_owned(),
        op: 12,
        inside_op: false,
        content_id: content_id.to_owned(),
        distinct: true,
        interior: true,
        scratch_wiped: false,
        gpt: Some(GptSample { clean: true, ..GptSample::default() }),
        copies: BTreeMap::new(),
    }
}

pub(crate) fn judged(iteration: u64, phase: &str, verdict: Verdict) -> Event {
    Event::Judged { iteration, phase: phase.to_owned(), verdict, kills: 1, wall_ms: 230 }
}

pub(crate) fn finding(id: &str, verdict: Verdict) -> Finding {
    Finding {
        id: id.to_owned(),
        token: format!("kp1:mixed-layout:{id}"),
        verdict,
        model: Model::Kill,
        phase: "grow".to_owned(),
        step: "updatePartitions".to_owned(),
        point: "after op 12, then inside op 3 after 8 sectors".to_owned(),
        oracle: "baseline".to_owned(),
        explain: "partition `IMGA`: 16 bytes at offset 56 of entry 2 differ (unique GUID)".to_owned(),
        repro: format!("killpoint repro kp1:mixed-layout:{id}"),
        expected: false,
        shrunk_from: None,
        shrunk_from_point: None,
    }
}

pub(crate) fn ended(outcome: Outcome, exit_code: u8) -> Event {
    Event::CampaignEnded { outcome, exit_code, wall_s: 8.0, prepared_s: 2.0 }
}

/// The kills that the seed gave: so many, spread evenly.
pub(crate) fn planned(iteration: u64, phase: &str, kills: u32) -> Event {
    let kills = (1..=kills)
        .map(|i| PlannedKill { fraction: f64::from(i) / f64::from(kills + 1), scratch_wiped: false })
        .collect();
    Event::Planned { iteration, phase: phase.to_owned(), kills }
}

/// A kill that came too late.
pub(crate) fn late(iteration: u64, phase: &str) -> Event {
    Event::Late { iteration, phase: phase.to_owned(), attempt: 1, step: "updatePartitions".to_owned() }
}

/// The whole campaign: two iterations over two phases, six kills of which four land, one finding.
pub(crate) fn campaign() -> Vec<Event> {
    let torn = GptSample { torn_primary: true, mismatch: true, ..GptSample::default() };
    let broken = GptSample {
        header_crc: true,
        torn_primary: true,
        torn_backup: true,
        mismatch: true,
        no_valid_copy: true,
        clean: false,
    };
    let copies = BTreeMap::from([
        ("EFI".to_owned(), CopyState::Complete),
        ("IMGA".to_owned(), CopyState::Partial),
        ("IMGB".to_owned(), CopyState::Empty),
    ]);
    let baseline = |phase: &str, run| Event::BaselineRun {
        phase: phase.to_owned(),
        run,
        ops: if phase == "shrink" { 90 } else { 220 },
        flushes: 12,
        wall_ms: 210,
    };
    let ready = |phase: &str, volatile_bytes| Event::BaselineReady {
        phase: phase.to_owned(),
        volatile_bytes,
        content_id: format!("end-of-{phase}"),
        steps: match phase {
            "shrink" => &["preflight", "shrinkFilesystems"][..],
            _ => &["preflight", "copyFilesystems", "updatePartitions"][..],
        }
        .iter()
        .map(|step| (*step).to_owned())
        .collect(),
    };
    vec![
        started(Some(2), None),
        Event::FixtureReady {
            fixture_id: "f1x".to_owned(),
            cached: true,
            len_bytes: 96 << 20,
            wall_ms: 1203,
        },
        baseline("shrink", 1),
        baseline("shrink", 2),
        baseline("shrink", 3),
        ready("shrink", 0),
        baseline("grow", 1),
        baseline("grow", 2),
        baseline("grow", 3),
        ready("grow", 4),
        Event::Layout {
            phase: "grow".to_owned(),
            step: "preflight".to_owned(),
            lines: vec!["1  EFI   1 MiB  48 MiB".to_owned(), "   free 49 MiB   2 MiB".to_owned()],
        },
        Event::OracleProved { phase: "grow".to_owned(), oracle: "gpt".to_owned() },
        Event::NotTested { what: "fsck of `EFI`: fsck.fat is missing; install dosfstools".to_owned() },
        Event::Warning { text: "the clock\nwent backwards".to_owned() },
        Event::IterationStarted { iteration: 1 },
        planned(1, "shrink", 1),
        Event::Kill(kill(1, "shrink", "shrinkFilesystems", "a")),
        judged(1, "shrink", Verdict::Recovered),
        planned(1, "grow", 1),
        Event::Kill(Kill { gpt: Some(torn), inside_op: true, ..kill(1, "grow", "updatePartitions", "b") }),
        Event::Kill(Kill {
            landed: false,
            attempt: 2,
            interior: false,
            distinct: false,
            ..kill(1, "grow", "updatePartitions", "end-of-grow")
        }),
        judged(1, "grow", Verdict::Diverged),
        Event::Finding(finding("F1", Verdict::Diverged)),
        Event::IterationStarted { iteration: 2 },
        planned(2, "shrink", 1),
        Event::Kill(Kill {
            distinct: false,
            interior: false,
            scratch_wiped: true,
            ..kill(2, "shrink", "start", "a")
        }),
        judged(2, "shrink", Verdict::Recovered),
        planned(2, "grow", 1),
        late(2, "grow"),
        Event::Kill(Kill { gpt: Some(broken), copies, ..kill(2, "grow", "copyFilesystems", "c") }),
        judged(2, "grow", Verdict::RolledBack),
        ended(Outcome::Completed, 1),
    ]
}

/// The figures of `events`.
pub(crate) fn tally(events: &[Event]) -> Tally {
    let mut tally = Tally::default();
    for event in events {
        tally.event(event);
    }
    tally
}
