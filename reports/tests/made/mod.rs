//! A made sweep of any size, for what opens or measures its page.

use std::collections::BTreeMap;

use reports::{
    CampaignStarted, Compared, Event, Finding, Lot, Model, Outcome, Point, SCHEMA, SECTOR_BYTES, Seam,
    Sector, Stream, Verdict,
};

/// A sweep with so many points; every hundredth is a finding, every third is inside a write. The first 50 findings tell
/// their bytes, as many as a finding tells.
pub fn sweep(points: u64) -> Stream {
    let mut stream = Stream::new(Vec::new());
    let mut tell = |event| stream.emit(&event).unwrap();
    let [phase, step, region] = ["new", "primary", "primary GPT array"].map(str::to_owned);
    tell(Event::CampaignStarted(CampaignStarted {
        schema: SCHEMA,
        killpoint: "0.1.0".to_owned(),
        scenario: "made".to_owned(),
        scale: None,
        scenario_digest: "5d1c".to_owned(),
        phases: vec![phase.clone()],
        command: reports::Command::Sweep,
        seam: Seam::Fuse,
        seed: 7,
        model: vec!["kill".to_owned()],
        iterations: None,
        for_s: None,
        tool_versions: BTreeMap::new(),
        options: BTreeMap::new(),
        shard: None,
        expected: Vec::new(),
    }));
    let lot = Lot {
        model: Model::Kill,
        step: step.clone(),
        region: region.clone(),
        possible: points,
        planned: points,
    };
    tell(Event::Sweep { phase: phase.clone(), ops: points, lots: vec![lot] });
    for op in 0..points {
        let is_torn = op % 3 == 2;
        let model = if is_torn { Model::Torn } else { Model::Kill };
        let verdict = if op % 100 == 50 { Verdict::Corrupt } else { Verdict::Recovered };
        tell(Event::Point(Point {
            phase: phase.clone(),
            model,
            depth: 0,
            faults: format!("a{op}k"),
            op,
            torn_bytes: is_torn.then_some(4096),
            ordinal: 0,
            acks: 0,
            step: step.clone(),
            region: if op % 7 == 0 { "flush".to_owned() } else { region.clone() },
            content_id: format!("{op:032x}"),
            distinct: true,
            unread: false,
            overwrites: None,
            interior: true,
            scratch_wiped: false,
            gpt: None,
            copies: BTreeMap::new(),
            merged: false,
            verdict: Some(verdict),
            asked: None,
            opened: None,
            wall_ms: 1,
        }));
        if verdict == Verdict::Corrupt {
            tell(Event::Finding(Finding {
                id: format!("F{op}"),
                token: format!("kp1:made:{op}"),
                verdict,
                model,
                phase: phase.clone(),
                step: step.clone(),
                point: format!("after op {op}"),
                oracle: "gpt".to_owned(),
                explain: "no valid copy".to_owned(),
                repro: format!("killpoint repro kp1:made:{op}"),
                expected: false,
                shrunk_from: None,
                shrunk_from_point: None,
            }));
            if op < 5000 {
                tell(Event::Compared(compared(op)));
            }
        }
    }
    tell(Event::CampaignEnded { outcome: Outcome::Completed, exit_code: 1, wall_s: 1.0, prepared_s: 0.5 });
    stream
}

/// Four sectors that differ in a stretch of each row.
fn compared(op: u64) -> Compared {
    let sector = |place: u64| Sector {
        file: "disk.img".to_owned(),
        offset: (op + place) * SECTOR_BYTES,
        place: "primary GPT array".to_owned(),
        wanted: "41".repeat(512),
        found: "41414142424341413c26414141414141".repeat(32),
        excused: vec![(8, 1)],
    };
    Compared {
        finding: format!("F{op}"),
        found: "what the resume left".to_owned(),
        wanted: "what an uninterrupted run leaves".to_owned(),
        sectors: (0..4).map(sector).collect(),
        more: 3,
    }
}
