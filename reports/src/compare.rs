//! Two campaigns over the same scenario, such as over two versions of a tool: which findings are new, worse, better or gone.
//! Findings are told apart by where they are and what they say, not by their tokens, in which versions and ids differ.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use serde::Serialize;

use crate::{Chart, Exit, Finding, Model, Outcome, Report, SCHEMA, Verdict, Verdicts};

mod text;

pub use text::render;

/// Campaigns that can't be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// They are over different scenarios.
    #[error(
        "`{old}` and `{new}` are different scenarios, so that nothing can be said of what changed: compare two run \
         directories of one scenario"
    )]
    OtherScenario {
        /// The older campaign's.
        old: String,
        /// The newer campaign's.
        new: String,
    },
}

/// A campaign: its result, and where its findings are.
#[derive(Clone, Copy, Debug)]
pub struct Campaign<'a> {
    /// Result.
    pub report: &'a Report,
    /// Crash states.
    pub chart: &'a Chart,
}

/// What changed from an older campaign to a newer one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Scenario of both.
    pub scenario: String,
    /// Exit codes.
    pub exit_codes: Sides<Option<u8>>,
    /// Whether the newer campaign was carried out to its end and could measure every state.
    pub whole: bool,
    /// In what else the campaigns differ.
    pub differences: Vec<Difference>,
    /// Distinct states by verdict.
    pub verdicts: Sides<Verdicts>,
    /// Findings of the newer campaign alone.
    pub new: Vec<Finding>,
    /// Findings at the same place that are worse now.
    pub worse: Vec<Sides<Finding>>,
    /// Findings at the same place that are better now.
    pub better: Vec<Sides<Finding>>,
    /// Findings at the same place that are as bad as before, but that another oracle found.
    pub changed: Vec<Sides<Finding>>,
    /// Findings of the older campaign alone.
    pub gone: Vec<Finding>,
    /// Findings of the older campaign in a phase, or under a model, that the newer one never looked at.
    pub not_looked_at: Vec<Finding>,
    /// Findings that are the same.
    pub unchanged: u64,
}

/// Something of the older campaign and of the newer one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sides<T> {
    /// Of the older.
    pub old: T,
    /// Of the newer.
    pub new: T,
}

/// Something in which two campaigns differ that may explain what changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What.
    pub what: String,
    /// The older campaign's.
    pub old: String,
    /// The newer campaign's.
    pub new: String,
}

/// A finding and what the op there is about.
#[derive(Clone, Copy)]
struct Placed<'a> {
    finding: &'a Finding,
    region: Option<&'a str>,
}

impl Comparison {
    /// Compares two campaigns over the same scenario.
    pub fn of(old: Campaign<'_>, new: Campaign<'_>) -> Result<Self, CompareError> {
        let (before, after) = (old.report, new.report);
        if before.scenario != after.scenario {
            return Err(CompareError::OtherScenario {
                old: before.scenario.clone(),
                new: after.scenario.clone(),
            });
        }
        let (mut left, mut right) = (placed(old), placed(new));
        let same = pairs(&mut left, &mut right, |one| (one.place(), &one.finding.point, one.said()));
        let other = pairs(&mut left, &mut right, |one| (one.place(), &one.finding.point));
        // Another version may do other ops: the same failure is then at another one of the same region.
        let moved = pairs(&mut left, &mut right, |one| (one.place(), one.said()));
        let (mut worse, mut better, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for (old, new) in other {
            let list = match new.finding.verdict.badness().cmp(&old.finding.verdict.badness()) {
                std::cmp::Ordering::Greater => &mut worse,
                std::cmp::Ordering::Less => &mut better,
                std::cmp::Ordering::Equal => &mut changed,
            };
            list.push(Sides { old: old.finding.clone(), new: new.finding.clone() });
        }
        let (gone, not_looked_at) = left
            .into_iter()
            .map(|one| one.finding.clone())
            .partition(|finding| looked_at(new.chart, finding));
        Ok(Self {
            schema: SCHEMA,
            scenario: after.scenario.clone(),
            exit_codes: Sides { old: before.exit_code, new: after.exit_code },
            whole: is_whole(after),
            differences: differences(before, after),
            verdicts: Sides { old: before.verdicts.clone(), new: after.verdicts.clone() },
            new: right.into_iter().map(|one| one.finding.clone()).collect(),
            worse,
            better,
            changed,
            gone,
            not_looked_at,
            unchanged: (same.len() + moved.len()) as u64,
        })
    }

    /// The comparison as indented JSON with a newline at its end.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// [`Exit::Findings`] where anything is new or worse, whether the scenario expects it or not; else
    /// [`Exit::NotMeasured`] where the newer campaign can't tell.
    pub fn exit(&self) -> Exit {
        match (self.new.is_empty() && self.worse.is_empty(), self.whole) {
            (false, _) => Exit::Findings,
            (true, false) => Exit::NotMeasured,
            (true, true) => Exit::Passed,
        }
    }
}

impl<'a> Placed<'a> {
    /// Where it is, but for the op.
    fn place(&self) -> (&'a str, Model, &'a str, Option<&'a str>) {
        (&self.finding.phase, self.finding.model, &self.finding.step, self.region)
    }

    /// What it says.
    fn said(&self) -> (Verdict, &'a str) {
        (self.finding.verdict, &self.finding.oracle)
    }
}

fn placed<'a>(campaign: Campaign<'a>) -> Vec<Placed<'a>> {
    let region = |place| campaign.chart.region_of_finding(place);
    let all = campaign.report.findings.iter().enumerate();
    all.map(|(place, finding)| Placed { finding, region: region(place) }).collect()
}

/// Takes out of both lists what is equal by `key`, in order.
fn pairs<'a, K: Eq + Hash>(
    left: &mut Vec<Placed<'a>>,
    right: &mut Vec<Placed<'a>>,
    key: impl Fn(&Placed<'a>) -> K,
) -> Vec<(Placed<'a>, Placed<'a>)> {
    let mut known: HashMap<K, VecDeque<usize>> = HashMap::new();
    for (place, one) in right.iter().enumerate() {
        known.entry(key(one)).or_default().push_back(place);
    }
    let mut taken = vec![false; right.len()];
    let mut found = Vec::new();
    left.retain(|one| match known.get_mut(&key(one)).and_then(VecDeque::pop_front) {
        Some(place) => {
            taken[place] = true;
            found.push((*one, right[place]));
            false
        }
        None => true,
    });
    let mut taken = taken.into_iter();
    right.retain(|_| !taken.next().unwrap_or(false));
    found
}

fn looked_at(chart: &Chart, finding: &Finding) -> bool {
    let facets = chart.facets().iter().filter(|facet| facet.phase == finding.phase);
    facets.flat_map(|facet| &facet.marks).any(|mark| mark.model == finding.model)
}

fn is_whole(report: &Report) -> bool {
    let measured = matches!(report.exit_code.and_then(Exit::from_code), Some(Exit::Passed | Exit::Findings));
    measured && report.outcome == Some(Outcome::Completed) && report.verdicts.not_measured == 0
}

fn differences(old: &Report, new: &Report) -> Vec<Difference> {
    let or = |text: Option<&String>| text.cloned().unwrap_or_else(|| "none".to_owned());
    let pairs = |report: &Report| {
        let mut all = vec![
            ("killpoint".to_owned(), report.killpoint.clone()),
            ("scale".to_owned(), or(report.scale.as_ref())),
            ("scenario's digest".to_owned(), report.scenario_digest.clone()),
            ("fixture".to_owned(), or(report.fixture_id.as_ref())),
            ("seed".to_owned(), report.seed.to_string()),
            ("models".to_owned(), report.model.join(",")),
            (
                "points looked at".to_owned(),
                format!("{} of {}", report.points.explored, report.points.possible),
            ),
        ];
        all.extend([("how it ended".to_owned(), report.outcome.as_ref().map_or("cut off".to_owned(), how))]);
        all
    };
    let mut differences: Vec<Difference> = pairs(old)
        .into_iter()
        .zip(pairs(new))
        .filter(|((_, old), (_, new))| old != new)
        .map(|((what, old), (_, new))| Difference { what, old, new })
        .collect();
    let mut programs: Vec<&String> = old.tool_versions.keys().chain(new.tool_versions.keys()).collect();
    programs.sort();
    programs.dedup();
    for program in programs {
        let (before, after) = (old.tool_versions.get(program), new.tool_versions.get(program));
        if before != after {
            differences.push(Difference { what: program.clone(), old: or(before), new: or(after) });
        }
    }
    differences
}

fn how(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Completed => "completed".to_owned(),
        Outcome::Interrupted { signal } => format!("interrupted by {signal}"),
        Outcome::Stopped { reason } => format!("stopped: {reason}"),
    }
}

#[cfg(test)]
mod tests;
