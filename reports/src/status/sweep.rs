//! What is said of a sweep: its beginning, each crash point, how far it is, and its live kills.

use std::time::Duration;

use super::line::{Line, Tone, Weight, tone, verb};
use super::{counted, findings_of, many};
use crate::{Barrier, EpochClaim, Lot, Model, Overwritten, Point, ResumeCuts, Tally};

/// Bytes of a sector, the unit in which a point inside a write is told where it fits.
const SECTOR_BYTES: u64 = 512;

/// What is going to be looked at.
pub(super) fn begins(phase: &str, ops: u64, lots: &[Lot]) -> Line {
    let mut text = format!("{phase}: {}", many(ops, "op"));
    for model in Model::ALL {
        let of_model = || lots.iter().filter(|lot| lot.model == model);
        let (planned, possible) = of_model().fold((0u64, 0u64), |(planned, possible), lot| {
            (planned.saturating_add(lot.planned), possible.saturating_add(lot.possible))
        });
        let points = format!("{} point", model.name());
        match possible {
            0 => {}
            _ if planned == possible => text += &format!(", {}", many(planned, &points)),
            _ => text += &format!(", {planned} of {}", many(possible, &points)),
        }
    }
    Line::new(Weight::Milestone, "Sweeping", Tone::Neutral, text)
}

/// A level of the resume closure that is going to be looked at.
pub(super) fn level(phase: &str, depth: u32, points: u64, fresh: u64) -> Line {
    let text = format!(
        "{phase}, crashes of resumes, level {depth}: {}, {}",
        many(points, "point"),
        many(fresh, "new state")
    );
    Line::new(Weight::Milestone, "Following", Tone::Neutral, text)
}

/// What following the resumes of a phase came to.
pub(super) fn closed(phase: &str, complete: bool, tally: &Tally) -> Line {
    let states = tally.closures.get(phase).map_or(0, |closure| closure.states);
    let (tone, how) = match complete {
        true => (Tone::Good, "nothing new appears any more"),
        false => (Tone::Warn, "not followed to its end"),
    };
    let text = format!("{phase}: {how}, {} beyond the run's own", many(states, "state"));
    Line::new(Weight::Milestone, "Closure", tone, text)
}

/// `1 state fails`.
fn fail(states: u64) -> String {
    match states {
        1 => "1 state fails".to_owned(),
        n => format!("{n} states fail"),
    }
}

/// Power was cut in resumes.
pub(super) fn resume_cuts(cuts: &ResumeCuts) -> Line {
    let ResumeCuts { phase, resumes, looked_at, failed, .. } = cuts;
    let (tone, how) = match failed {
        0 => (Tone::Good, "no state fails".to_owned()),
        n => (Tone::Bad, fail(*n)),
    };
    let text = format!("{phase}, {} in {}: {how}", many(*looked_at, "power cut"), many(*resumes, "resume"));
    Line::new(Weight::Milestone, "Claim", tone, text)
}

/// All that the power model names of a phase was looked at.
pub(super) fn claimed(phase: &str, epochs: &[EpochClaim]) -> Line {
    let failed: u64 = epochs.iter().map(|epoch| epoch.failed).sum();
    let (tone, how) = match failed {
        0 => (Tone::Good, "no state fails".to_owned()),
        n => (Tone::Bad, fail(n)),
    };
    let text = format!("{phase}, power cuts in {}: {how}", many(epochs.len() as u64, "epoch"));
    Line::new(Weight::Milestone, "Claim", tone, text)
}

/// A flush, and what its absence leads to.
pub(super) fn barrier(barrier: &Barrier) -> Line {
    let Barrier { phase, op, step, what, judged, failure, .. } = barrier;
    let (tone, weight) = match failure {
        Some(failure) => {
            (Tone::Good, format!("carries weight ({} by {})", failure.verdict.name(), failure.oracle))
        }
        None => (Tone::Warn, format!("no failure without it in {}", many(*judged, "state"))),
    };
    Line::new(Weight::Milestone, "Flush", tone, format!("{phase} {step}, op {op}, {what}: {weight}"))
}

/// What resumes overwrite before they read it.
pub(super) fn overwritten(overwritten: &Overwritten) -> Line {
    let of = |(file, ranges): (&String, &Vec<(u64, u64)>)| {
        format!("{} of `{file}`", many(ranges.iter().map(|(_, len)| len).sum(), "byte"))
    };
    let files = overwritten.files.iter().map(of).collect::<Vec<_>>().join(", ");
    let text = format!("{}: a resume overwrites {files} before it reads them", overwritten.phase);
    Line::new(Weight::Detail, "Overwrites", Tone::Neutral, text)
}

/// One crash point and what became of it.
pub(super) fn point(point: &Point, tally: &Tally) -> Line {
    let fresh = if point.distinct { ", new state" } else { "" };
    let resumes = match point.depth {
        0 => String::new(),
        n => format!(" of resume {n}"),
    };
    let text = format!("{} {}, {}{resumes}{fresh}", point.phase, point.step, place(point));
    let line = match point.verdict {
        Some(_) if point.unread => Line::new(Weight::Detail, "Unread", Tone::Neutral, text),
        Some(verdict) => Line::new(Weight::Detail, verb(verdict), tone(verdict), text).took_ms(point.wall_ms),
        None if point.merged => Line::new(Weight::Detail, "Merged", Tone::Neutral, text),
        None => Line::new(Weight::Detail, "Same state", Tone::Neutral, text),
    };
    // One point that is looked at again is none of a number.
    if tally.is_sweep() { line.counted(counted(tally.explored, tally.planned_points())) } else { line }
}

fn place(point: &Point) -> String {
    if matches!(point.model, Model::Error | Model::Signal | Model::Power) {
        return point.faults.clone();
    }
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

/// What became of the flushes that were ignored: `2 flushes ignored, 1 carries weight`.
pub(super) fn flushes(tally: &Tally) -> String {
    let carry = tally.barriers.iter().filter(|barrier| barrier.failure.is_some()).count();
    let verb = if carry == 1 { "carries" } else { "carry" };
    format!("{} ignored, {carry} {verb} weight", many(tally.barriers.len() as u64, "flush"))
}
