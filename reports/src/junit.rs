//! A campaign as JUnit XML, for what shows test results (GitLab, Jenkins, GitHub actions): a suite for each phase and crash
//! model, a case in it for each step. Format: <https://github.com/testmoapp/junitxml>.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::status::many;
use crate::{Chart, Facet, Finding, Mark, Model, Outcome, Report, Verdict, summary};

/// Findings that one case tells of.
const MAX_FINDINGS: usize = 20;

/// The result can't be written as XML.
#[derive(Debug, thiserror::Error)]
#[error("the result can't be written as JUnit XML")]
pub struct JUnitError(#[from] SerializeError);

/// The crash states of a phase, model and step, and what became of them.
#[derive(Default)]
struct Case<'a> {
    /// Points that there are; 0 where that is not known.
    possible: u64,
    verdicts: BTreeMap<Verdict, u64>,
    /// States that were killed again before they were judged.
    not_judged: u64,
    /// States that failed and that no finding tells of.
    untold: u64,
    findings: Vec<&'a Finding>,
}

/// A suite's cases by step, in order of appearance.
type Suite<'a> = Vec<(String, Case<'a>)>;

/// The document. A step fails where it has a finding that the scenario does not expect; it is an error where a state of it
/// could not be measured, and skipped where none was looked at. What was not tested is skipped by name.
pub fn render(report: &Report, chart: &Chart) -> Result<String, JUnitError> {
    let mut document = quick_junit::Report::new(format!("killpoint {}", report.scenario));
    if let Some(time) = report.throughput.wall_s.and_then(|wall_s| Duration::try_from_secs_f64(wall_s).ok()) {
        document.set_time(time);
    }
    document.add_test_suite(campaign(report));
    for ((phase, model), cases) in suites(report, chart) {
        let mut suite = TestSuite::new(format!("{phase} × {}", model.name()));
        suite.add_properties(properties(report));
        let class = format!("{}.{phase}.{}", report.scenario, model.name());
        suite.add_test_cases(cases.iter().map(|(step, case)| case.test(step, &class)));
        document.add_test_suite(suite);
    }
    Ok(document.to_string()?)
}

/// Whether the campaign could be carried out, and what it left out.
fn campaign(report: &Report) -> TestSuite {
    let mut suite = TestSuite::new("campaign");
    suite.add_properties(properties(report));
    let class = format!("{}.campaign", report.scenario);
    let why = match &report.outcome {
        Some(Outcome::Completed) => None,
        Some(Outcome::Interrupted { signal }) => Some(format!("interrupted by {signal}")),
        Some(Outcome::Stopped { reason }) => Some(format!("stopped: {reason}")),
        None => Some("its events end before it does".to_owned()),
    };
    let mut status = why.as_ref().map_or_else(TestCaseStatus::success, |why| {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type("cut-short").set_message(why.as_str());
        status
    });
    if why.is_some() {
        status.set_description(summary::claim(report));
    }
    let mut whole = TestCase::new("is carried out to its end", status);
    whole.set_classname(&class).set_system_out(summary::claim(report));
    suite.add_test_case(whole);
    for what in &report.not_tested {
        let mut status = TestCaseStatus::skipped();
        status.set_message(what.as_str());
        let mut case = TestCase::new(format!("not tested: {what}"), status);
        case.set_classname(&class);
        suite.add_test_case(case);
    }
    if !report.warnings.is_empty() {
        suite.set_system_out(report.warnings.join("\n"));
    }
    suite
}

fn properties(report: &Report) -> Vec<Property> {
    let mut all = vec![
        ("killpoint".to_owned(), report.killpoint.clone()),
        ("scenario".to_owned(), report.scenario.clone()),
        ("scenario-digest".to_owned(), report.scenario_digest.clone()),
        ("seed".to_owned(), report.seed.to_string()),
        ("models".to_owned(), report.model.join(",")),
    ];
    all.extend(report.scale.clone().map(|scale| ("scale".to_owned(), scale)));
    let version = |(program, version): (&String, &String)| (format!("version.{program}"), version.clone());
    all.extend(report.tool_versions.iter().map(version));
    all.into_iter().map(|(name, value)| Property::new(name, value)).collect()
}

/// The suites by phase and model, phases in the campaign's order.
fn suites<'a>(report: &'a Report, chart: &Chart) -> Vec<((String, Model), Suite<'a>)> {
    let mut suites: Vec<((String, Model), Suite<'a>)> = Vec::new();
    for facet in chart.facets() {
        for (model, step, possible) in &facet.possible {
            case(&mut suites, &facet.phase, *model, &step_of(facet, *step)).possible += possible;
        }
        for mark in &facet.marks {
            case(&mut suites, &facet.phase, mark.model, &step_of(facet, mark.step)).state(mark);
        }
    }
    let mut findings: Vec<Option<String>> = vec![None; report.findings.len()];
    // A finding is a case of the resumes where its state is one of theirs.
    for facet in chart.facets().iter().filter(|facet| facet.of_resumes) {
        for mark in &facet.marks {
            if let Some(step) = mark.finding.and_then(|finding| findings.get_mut(finding as usize)) {
                *step = Some(step_of(facet, mark.step));
            }
        }
    }
    for (finding, step) in report.findings.iter().zip(findings) {
        let step = step.unwrap_or_else(|| finding.step.clone());
        case(&mut suites, &finding.phase, finding.model, &step).findings.push(finding);
    }
    let phase_at = |phase: &String| report.phases.iter().position(|known| known == phase);
    suites.sort_by_key(|((phase, model), _)| (phase_at(phase), *model));
    let step_at = |step: &String| report.kills_by_step.iter().position(|(known, _)| known == step);
    for (_, cases) in &mut suites {
        // Those that no state was in, and those of resumes, come last.
        cases.sort_by_key(|(step, _)| step_at(step).unwrap_or(usize::MAX));
    }
    suites
}

fn case<'s, 'a>(
    suites: &'s mut Vec<((String, Model), Suite<'a>)>,
    phase: &str,
    model: Model,
    step: &str,
) -> &'s mut Case<'a> {
    let place =
        suites.iter().position(|((known, of), _)| known == phase && *of == model).unwrap_or_else(|| {
            suites.push(((phase.to_owned(), model), Vec::new()));
            suites.len() - 1
        });
    let cases = &mut suites[place].1;
    let place = cases.iter().position(|(known, _)| known == step).unwrap_or_else(|| {
        cases.push((step.to_owned(), Case::default()));
        cases.len() - 1
    });
    &mut cases[place].1
}

fn step_of(facet: &Facet, step: u16) -> String {
    let name = facet.steps.get(usize::from(step)).map_or("", String::as_str);
    if facet.of_resumes { format!("{name}, crashes of resumes") } else { name.to_owned() }
}

impl Case<'_> {
    fn state(&mut self, mark: &Mark) {
        match mark.verdict {
            Some(verdict) => *self.verdicts.entry(verdict).or_default() += 1,
            None => self.not_judged += 1,
        }
        let failed = mark.verdict.is_some_and(|verdict| {
            !verdict.is_pass() && !matches!(verdict, Verdict::Refused | Verdict::NotMeasured)
        });
        self.untold += u64::from(failed && mark.finding.is_none());
    }

    fn test(&self, step: &str, class: &str) -> TestCase {
        let mut case = TestCase::new(step, self.status());
        case.set_classname(class).set_assertions(self.verdicts.values().sum::<u64>() as usize);
        case.set_system_out(self.told());
        case
    }

    fn status(&self) -> TestCaseStatus {
        let unexpected: Vec<&Finding> =
            self.findings.iter().filter(|finding| !finding.expected).copied().collect();
        let not_measured = self.verdicts.get(&Verdict::NotMeasured).copied().unwrap_or(0);
        let with = |kind, name: &str, message: String| {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_type(name).set_message(message);
            status
        };
        if let Some(worst) = unexpected.iter().min_by_key(|finding| Reverse(finding.verdict.badness())) {
            let more = unexpected.len() - 1;
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            let message =
                format!("{} {} {} ({}){more}", worst.id, worst.verdict.name(), worst.point, worst.oracle);
            let mut status = with(NonSuccessKind::Failure, worst.verdict.name(), message);
            status.set_description(told(&unexpected));
            return status;
        }
        if self.untold > 0 {
            let message = format!("{} failed, of which no finding tells", many(self.untold, "state"));
            return with(NonSuccessKind::Failure, "untold", message);
        }
        if not_measured > 0 {
            let message = format!("{} could not be measured", many(not_measured, "state"));
            return with(NonSuccessKind::Error, Verdict::NotMeasured.name(), message);
        }
        if self.verdicts.is_empty() {
            let mut status = TestCaseStatus::skipped();
            status.set_message(match self.not_judged {
                0 => format!("none of {} was looked at", many(self.possible, "point")),
                n => format!("{} killed again before they were judged", many(n, "state")),
            });
            return status;
        }
        TestCaseStatus::success()
    }

    /// What became of the states, and the findings that are expected.
    fn told(&self) -> String {
        let count = |(verdict, n): (&Verdict, &u64)| format!("{} {n}", verdict.name());
        let mut parts: Vec<String> = self.verdicts.iter().map(count).collect();
        if self.not_judged > 0 {
            parts.push(format!("not judged {}", self.not_judged));
        }
        if self.possible > 0 {
            parts.push(format!("of {}", many(self.possible, "point")));
        }
        let expected: Vec<&Finding> =
            self.findings.iter().filter(|finding| finding.expected).copied().collect();
        let heading = if expected.is_empty() { String::new() } else { "\n\nexpected:\n".to_owned() };
        format!("states: {}{heading}{}", parts.join(", "), told(&expected))
    }
}

/// Findings with what differs and the line that brings each back.
fn told(findings: &[&Finding]) -> String {
    let one = |finding: &&Finding| {
        let Finding { id, verdict, point, oracle, explain, repro, .. } = finding;
        let shrunk = finding.shrunk_whole().map_or_else(String::new, |words| format!("{words}\n"));
        format!("{id} {} {point} ({oracle})\n{explain}\n{shrunk}{repro}", verdict.name())
    };
    let mut parts: Vec<String> = findings.iter().take(MAX_FINDINGS).map(one).collect();
    if findings.len() > MAX_FINDINGS {
        parts.push(format!("and {} more in report.json", findings.len() - MAX_FINDINGS));
    }
    parts.join("\n\n")
}

#[cfg(test)]
mod tests;
