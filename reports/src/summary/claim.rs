//! The claim of a campaign in one sentence, and the figures below it.

use console::{Style, measure_text_width};

use super::{NAME_COLUMNS, Screen};
use crate::status::{findings, many, one_line};
use crate::{Covered, Exit, Outcome, PhaseClaims, Report, Seam, States, Verdict};

impl Screen<'_> {
    /// What was done and found, and what cut it short.
    pub fn claim(&self, report: &Report) -> Vec<String> {
        let mut parts = if self.is_sweep { swept(report) } else { killed(report) };
        parts.push(match (report.findings.len() as u64, report.states.judged) {
            (0, 0) => "nothing judged".to_owned(),
            (n, _) => findings(n, report.expected.seen),
        });
        if report.expected.vanished > 0 {
            parts.push(format!("{} vanished", many(report.expected.vanished, "expected finding")));
        }
        if report.verdicts.not_measured > 0 {
            parts.push(format!("{} not measured", report.verdicts.not_measured));
        }
        let style = match report.exit_code.and_then(Exit::from_code) {
            Some(Exit::Passed) => Style::new().green().bold(),
            Some(Exit::Findings | Exit::Baseline) => Style::new().red().bold(),
            _ => Style::new().yellow().bold(),
        };
        let cut_short = match &report.outcome {
            Some(Outcome::Completed) => None,
            Some(Outcome::Interrupted { signal }) => Some(format!("interrupted by {}", one_line(signal))),
            Some(Outcome::Stopped { reason }) => Some(format!("stopped: {}", one_line(reason))),
            None => Some("its events end before the campaign does".to_owned()),
        };
        let cut_short = cut_short.map(|why| {
            let done = match self.is_sweep {
                true => many(report.points.explored, "point"),
                false => many(report.iterations, "iteration"),
            };
            self.paint(Style::new().yellow(), &self.cut(&format!("cut short after {done}, {why}")))
        });
        let claim = self.broken(&one_line(&report.scenario), &parts);
        claim.iter().map(|line| self.paint(style.clone(), line)).chain(cut_short).collect()
    }

    /// `name: part, part`, on a second line from the part that no longer fits: the last ones say most.
    fn broken(&self, name: &str, parts: &[String]) -> Vec<String> {
        let mut lines = vec![format!("{name}:")];
        for (i, part) in parts.iter().enumerate() {
            let part = if i + 1 < parts.len() { format!("{part},") } else { part.clone() };
            let (last, is_first) = (lines.len() - 1, lines.len() == 1);
            let together = format!("{} {part}", lines[last]);
            if is_first && i > 0 && measure_text_width(&together) > self.width {
                lines.push(format!("  {part}"));
            } else {
                lines[last] = together;
            }
        }
        lines.iter().map(|line| self.cut(line)).collect()
    }

    /// The figures that need no table.
    pub fn figures(&self, report: &Report) -> Vec<String> {
        let verdicts = list(Verdict::ALL.map(|verdict| (verdict.name(), report.verdicts.get(verdict))));
        let copies = &report.copy_states;
        let copies =
            list([("empty", copies.empty), ("partial", copies.partial), ("complete", copies.complete)]);
        let throughput = &report.throughput;
        let took = match throughput.wall_s.zip(throughput.prepared_s) {
            Some((wall_s, prepared_s)) => {
                let rate = throughput.judged_states_per_s;
                format!("{wall_s:.1} s, of which {prepared_s:.1} s to prepare; then {rate:.1} states/s")
            }
            None => "unknown".to_owned(),
        };
        let reached = if self.is_sweep { "crash point" } else { "landed kill" };
        let interior = format!(
            "{} of {} ({}) lie between start and baseline",
            report.interior.kills,
            many(report.states.raw, reached),
            percent(report.interior.share)
        );
        let figures = [
            Some(("Campaign", self.campaign(report))),
            Some(("Time", took)),
            Some(("Verdicts", verdicts)),
            self.is_sweep.then(|| ("Live", live(report))),
            covered(&report.coverage.by_model).map(|text| ("Covered", text)),
            covered(&report.coverage.by_region).map(|text| ("Regions", text)),
            merged(report).map(|text| ("Merged", text)),
            unread(report).map(|text| ("Unread", text)),
            judged_once(report).filter(|_| self.is_sweep).map(|text| ("Once", text)),
            closure(report).map(|text| ("Closure", text)),
            Some(("Interior", interior)),
            Some(("Copies", copies)),
        ];
        let power = power(report).into_iter().map(|text| ("Power", text));
        let figures = figures.into_iter().flatten().chain(power);
        figures.map(|(name, text)| self.cut(&format!("{name:<NAME_COLUMNS$}{text}"))).collect()
    }

    fn campaign(&self, report: &Report) -> String {
        let iterations = (!self.is_sweep).then(|| many(report.iterations, "iteration"));
        let seam = report.seam.map(|seam| match seam {
            Seam::Fuse => "seam fuse".to_owned(),
            Seam::InProcess => "seam in-process".to_owned(),
        });
        let scale = report.scale.as_ref().map(|scale| format!("scale {}", one_line(scale)));
        let all = [iterations, Some(format!("seed {}", report.seed)), seam, scale];
        all.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

fn killed(report: &Report) -> Vec<String> {
    let kills = format!("{} of {} landed", report.points.landed, many(report.points.attempted, "kill"));
    vec![kills, many(report.states.distinct, "distinct state")]
}

fn swept(report: &Report) -> Vec<String> {
    let points = &report.points;
    let number = match points.possible {
        possible if possible > 0 && points.explored >= possible => {
            format!("all {}", many(points.explored, "crash point"))
        }
        possible => format!("{} of {}", points.explored, many(possible, "crash point")),
    };
    // A state whose oracles could not run was reached, but not judged.
    let all_judged = report.verdicts.not_measured == 0 && report.states.judged >= report.states.distinct;
    let done = if all_judged { "judged" } else { "reached" };
    vec![format!("{number} {done}"), many(report.states.distinct, "distinct state")]
}

/// What was looked at of what there is: `kill 8 of 8, torn 4 of 30`, what was not looked at whole first.
fn covered(rows: &[Covered]) -> Option<String> {
    let mut rows: Vec<&Covered> = rows.iter().collect();
    rows.sort_by_key(|row| row.explored >= row.possible);
    let of = |row: &&Covered| format!("{} {} of {}", one_line(&row.name), row.explored, row.possible);
    let text = rows.iter().map(of).collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

/// What was judged together, and by how much that is less.
fn merged(report: &Report) -> Option<String> {
    let States { merged, distinct, .. } = report.states;
    let factor = (merged + distinct) as f64 / distinct.max(1) as f64;
    (merged > 0).then(|| {
        format!("{} judged with another one, since the resume can't tell their scratch files apart: up to {factor:.1} × fewer states", many(merged, "point"))
    })
}

/// What need not be resumed, and by how much that is less.
fn unread(report: &Report) -> Option<String> {
    let States { unread, judged, .. } = report.states;
    let factor = judged as f64 / judged.saturating_sub(unread).max(1) as f64;
    (unread > 0).then(|| {
        let states = many(unread, "state");
        format!(
            "{states} proven, not resumed (what differs is overwritten unread): {factor:.1} × fewer resumes"
        )
    })
}

/// By how much judging each content once makes a sweep shorter.
fn judged_once(report: &Report) -> Option<String> {
    let (raw, judged) =
        (report.states.raw - report.states.merged.min(report.states.raw), report.states.judged);
    (report.points.explored > 0 && judged > 0 && raw > judged).then(|| {
        format!(
            "{} of equal content judged once: {:.1} × fewer",
            many(raw, "state"),
            raw as f64 / judged as f64
        )
    })
}

/// What was looked at under the power model: the epochs that are exhausted in one line, and a few of the others.
fn power(report: &Report) -> Vec<String> {
    const SHOWN: usize = 3;
    let mut lines = Vec::new();
    for PhaseClaims { phase, epochs } in &report.power {
        let (bounded, exhausted): (Vec<_>, Vec<_>) = epochs.iter().partition(|epoch| !epoch.exhaustive);
        let failed: u64 = exhausted.iter().map(|epoch| epoch.failed).sum();
        if !exhausted.is_empty() {
            let how = if failed == 0 { "no failure".to_owned() } else { fail(failed) };
            let epochs = many(exhausted.len() as u64, "epoch");
            lines.push(format!("{phase}: {epochs}: every subset at every cut, {how}"));
        }
        for epoch in bounded.iter().take(SHOWN) {
            let claim = match (epoch.failed, &epoch.bound) {
                (0, None) => ": no failure".to_owned(),
                (0, Some(bound)) => format!(": no failure, so {bound}"),
                (failed, _) => format!(": {}", fail(failed)),
            };
            let ops = many(epoch.ops, "op");
            lines.push(format!("{phase}: epoch {} ({ops}): {}{claim}", epoch.epoch, epoch.looked_at));
        }
        if bounded.len() > SHOWN {
            let failed: u64 = bounded[SHOWN..].iter().map(|epoch| epoch.failed).sum();
            let more = many((bounded.len() - SHOWN) as u64, "more epoch");
            lines.push(format!("{phase}: {more} like that, {}", fail(failed)));
        }
    }
    for cuts in &report.resume_cuts {
        let (resumes, of) = (many(cuts.resumes, "resume"), many(cuts.possible, "power cut"));
        let claim = fail(cuts.failed);
        lines.push(format!("{}: {resumes}: {} of {of} in them: {claim}", cuts.phase, cuts.looked_at));
    }
    lines
}

/// `no failure`, `1 state fails`.
fn fail(states: u64) -> String {
    match states {
        0 => "no failure".to_owned(),
        1 => "1 state fails".to_owned(),
        n => format!("{n} states fail"),
    }
}

/// The claim that the resume closure makes, or how far it got.
fn closure(report: &Report) -> Option<String> {
    let closure = report.states.closure.as_ref()?;
    let states = many(closure.states, "state");
    let levels = many(u64::from(closure.depth), "level");
    Some(match (report.states.closure_complete, report.findings.is_empty()) {
        (true, true) => format!(
            "no sequence of SIGKILLs at op boundaries breaks this run ({} beyond the run's own, {levels})",
            states
        ),
        (true, false) => format!("complete: {states} beyond the run's own, {levels}"),
        (false, _) => format!("not followed to its end: {states} beyond the run's own so far, {levels}"),
    })
}

/// Whether recorded states are what a live kill leaves.
fn live(report: &Report) -> String {
    let points = &report.points;
    match points.attempted {
        0 => "no live kill to compare with the recorded states".to_owned(),
        n => format!("{} of {} left the recorded state", points.landed, many(n, "live kill")),
    }
}

/// `recovered 120, diverged 1`: what is not 0, or `none`.
fn list<const N: usize>(counts: [(&str, u64); N]) -> String {
    let there: Vec<String> =
        counts.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")).collect();
    if there.is_empty() { "none".to_owned() } else { there.join(", ") }
}

/// A share as a person reads it.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
