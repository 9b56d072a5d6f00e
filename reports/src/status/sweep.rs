//! What is said of a sweep: its beginning, each crash point, how far it is, and its live kills.

use std::time::Duration;

use super::line::{Line, Tone, Weight, tone, verb};
use super::{counted, findings_of, many};
use crate::{Point, Tally};

/// Bytes of a sector, the unit in which a point inside a write is told where it fits.
const SECTOR_BYTES: u64 = 512;

/// What is going to be looked at.
pub(super) fn begins(phase: &str, ops: u64, kill_points: u64, [torn, torn_possible]: [u64; 2]) -> Line {
    let torn = match torn_possible {
        0 => String::new(),
        possible => format!(", {torn} of {}", many(possible, "torn point")),
    };
    let text = format!("{phase}: {}, {}{torn}", many(ops, "op"), many(kill_points, "kill point"));
    Line::new(Weight::Milestone, "Sweeping", Tone::Neutral, text)
}

/// One crash point and what became of it.
pub(super) fn point(point: &Point, tally: &Tally) -> Line {
    let fresh = if point.distinct { ", new state" } else { "" };
    let text = format!("{} {}, {}{fresh}", point.phase, point.step, place(point));
    let line = match point.verdict {
        Some(verdict) => Line::new(Weight::Detail, verb(verdict), tone(verdict), text).took_ms(point.wall_ms),
        None => Line::new(Weight::Detail, "Same state", Tone::Neutral, text),
    };
    // One point that is looked at again is none of a number.
    if tally.is_sweep() { line.counted(counted(tally.explored, tally.planned_points())) } else { line }
}

fn place(point: &Point) -> String {
    match point.torn_bytes {
        None if point.op == 0 => "before op 1".to_owned(),
        None => format!("after op {}", point.op),
        Some(bytes) => {
            let inside = point.op + 1;
            let part = match bytes % SECTOR_BYTES {
                0 => many(bytes / SECTOR_BYTES, "sector"),
                _ => many(bytes, "byte"),
            };
            format!("inside op {inside} after {part}")
        }
    }
}

/// How far the sweep is.
pub(super) fn so_far(tally: &Tally, took: Duration) -> Line {
    let text = format!("{}, {}", many(tally.distinct_states(), "distinct state"), findings_of(tally));
    let tone = if tally.unexpected() == 0 { Tone::Neutral } else { Tone::Bad };
    let line = Line::new(Weight::Interim, "Checked", tone, text);
    let mut line = line.counted(counted(tally.explored, tally.planned_points()));
    line.took = Some(took);
    line
}

/// A live kill beside the recorded state. One that shows nothing makes the recorded states worth nothing.
pub(super) fn live_check(phase: &str, point: &str, landed: bool, agreed: bool) -> Line {
    let (weight, verb, tone, said) = match (landed, agreed) {
        (true, true) => (Weight::Detail, "Live kill", Tone::Good, "left the recorded state"),
        (true, false) => {
            (Weight::Alert, "DIFFERS", Tone::Bad, "a live kill left another state than recorded")
        }
        (false, _) => (Weight::Alert, "Missed", Tone::Warn, "the tool had ended before the live kill"),
    };
    Line::new(weight, verb, tone, format!("{phase}, {point}: {said}"))
}

/// What a sweep came to, short enough for the line that ends a campaign.
pub(super) fn figures(tally: &Tally) -> String {
    format!(
        "{} of {}, {}, {}",
        tally.explored,
        many(tally.possible_points(), "point"),
        many(tally.distinct_states(), "state"),
        findings_of(tally)
    )
}
