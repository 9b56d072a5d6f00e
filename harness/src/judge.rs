//! What the oracles' answers and the resume's own end add up to: one verdict, the oracle that decided it, and an
//! explanation that holds everything that was found.

use std::collections::HashSet;

use reports::Verdict;

use crate::explain::Evidence;
use crate::oracle::{Answer, Outcome};
use crate::process::{End, Run};

/// What a chain came to.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Sum of the answers.
    pub verdict: Verdict,
    /// The oracle that decided it; `exit` where that was the resume's own end.
    pub oracle: String,
    /// In words, for a finding.
    pub explain: String,
    /// Writes of the run that went to the end.
    pub writes: usize,
    /// Duration of resume and oracles.
    pub wall_ms: u64,
    /// What a failure can be explained from.
    pub evidence: Option<Evidence>,
}

impl Judgement {
    /// For a state that could not be judged.
    pub fn not_measured(why: String) -> Self {
        Self {
            verdict: Verdict::NotMeasured,
            oracle: String::new(),
            explain: why,
            writes: 0,
            wall_ms: 0,
            evidence: None,
        }
    }
}

impl Judgement {
    /// Of what a power cut left after the tool had said that it was done, by the oracles that are asked at the end: oracle
    /// `durable`.
    pub fn of_durability(answers: &[Answer]) -> Self {
        let asked: Vec<(Asked, Answer)> =
            answers.iter().map(|answer| (Asked::AtEnd, answer.clone())).collect();
        let sum = judge(None, &asked);
        let (verdict, found) = match sum.verdict {
            Verdict::RolledBack => {
                (Verdict::Diverged, "baseline: the volume is what it was before".to_owned())
            }
            verdict => (verdict, sum.explain),
        };
        let (oracle, explain) = match verdict {
            Verdict::Recovered => Default::default(),
            _ => ("durable".to_owned(), format!("after exit 0 and a power cut, nothing resumed: {found}")),
        };
        Self { verdict, oracle, explain, writes: 0, wall_ms: 0, evidence: None }
    }
}

/// A resume that did not end as accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its verdict, where nothing is worse.
    pub verdict: Verdict,
    /// What it did.
    pub explain: String,
}

impl Failure {
    /// Whether a run ended otherwise than with one of these exit codes.
    pub fn of(run: &Run, accepted: &[i32]) -> Option<Self> {
        let failed = |verdict, text: String| {
            let last = run.stdout.lines().chain(run.stderr.lines()).rfind(|line| !line.trim().is_empty());
            let said = last.map_or(String::new(), |line| format!(": {}", line.trim()));
            Some(Self { verdict, explain: format!("the resume {text}{said}") })
        };
        match run.end {
            End::Exited(code) if accepted.contains(&code) => None,
            End::Exited(code) => failed(Verdict::Refused, format!("exited with {code}")),
            End::Killed => failed(Verdict::Crashed, "was killed".to_owned()),
            End::Signalled(signal) => failed(Verdict::Crashed, format!("died of signal {signal}")),
            End::Hung => failed(Verdict::Hung, "ran past its limit".to_owned()),
        }
    }
}

/// Whom an answer was given about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The crash state.
    AtCrash,
    /// What a disturbed run left that said that it was done.
    AtExit,
    /// What the resume left.
    AtEnd,
}

/// What answers add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The worst of them.
    pub verdict: Verdict,
    /// The oracle that gave it; `exit` where that was the resume's own end, empty where nothing failed.
    pub oracle: String,
    /// Every failure in words, the worst first.
    pub explain: String,
    /// Whom the worst answer was given about.
    pub asked: Asked,
}

/// Adds up the answers, the worst first: a data guard that fails is corruption whatever the exit code; a baseline
/// that differs matters only where the resume claims to be done.
pub fn judge(failure: Option<Failure>, answers: &[(Asked, Answer)]) -> Sum {
    let mut found: Vec<(Verdict, String, String, Asked)> = Vec::new();
    let mut rolled_back = false;
    for (asked, answer) in answers {
        let place = match asked {
            Asked::AtCrash => "at the crash, ",
            Asked::AtExit => "though the disturbed run said that it was done, ",
            Asked::AtEnd => "",
        };
        let (verdict, text) = match &answer.outcome {
            Outcome::Held => continue,
            Outcome::RolledBack if *asked == Asked::AtExit => continue,
            Outcome::RolledBack => {
                rolled_back = true;
                continue;
            }
            Outcome::Failed { explain } if matches!(answer.oracle.as_str(), "baseline" | "idempotent") => {
                if failure.is_some() && *asked == Asked::AtEnd {
                    continue;
                }
                (Verdict::Diverged, explain)
            }
            Outcome::Failed { explain } => (Verdict::Corrupt, explain),
            Outcome::Hung { what } => (Verdict::Hung, what),
            Outcome::NotMeasured { why } => (Verdict::NotMeasured, why),
        };
        found.push((verdict, answer.oracle.clone(), format!("{place}{text}"), *asked));
    }
    if let Some(Failure { verdict, explain }) = failure {
        found.push((verdict, "exit".to_owned(), explain, Asked::AtEnd));
    }
    found.sort_by_key(|(verdict, ..)| std::cmp::Reverse(verdict.badness()));
    let mut seen = HashSet::new();
    let explain: Vec<String> = found
        .iter()
        .map(|(_, oracle, text, _)| format!("{oracle}: {text}"))
        .filter(|text| seen.insert(text.clone()))
        .collect();
    let explain = explain.join("; ");
    match found.into_iter().next() {
        Some((verdict, oracle, _, asked)) => Sum { verdict, oracle, explain, asked },
        None => {
            let verdict = if rolled_back { Verdict::RolledBack } else { Verdict::Recovered };
            Sum { verdict, oracle: String::new(), explain, asked: Asked::AtEnd }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(asked: Asked, oracle: &str, outcome: Outcome) -> (Asked, Answer) {
        (asked, Answer { oracle: oracle.to_owned(), outcome })
    }

    fn failed(text: &str) -> Outcome {
        Outcome::Failed { explain: text.to_owned() }
    }

    fn exit(verdict: Verdict) -> Option<Failure> {
        Some(Failure { verdict, explain: "the resume exited with 4".to_owned() })
    }

    /// Each row is a resume's own failure, the answers, and what they add up to.
    #[test]
    fn answers_add_up_to_the_worst_of_them() {
        let end = |oracle, outcome| answer(Asked::AtEnd, oracle, outcome);
        let held = || end("gpt", Outcome::Held);
        let rolled_back = || end("baseline", Outcome::RolledBack);
        let differs = || end("baseline", failed("3 bytes differ"));
        let corrupt = || answer(Asked::AtCrash, "untouched", failed("P3 changed"));
        let unmeasured = || end("fsck", Outcome::NotMeasured { why: "no e2fsck".to_owned() });
        let hung = || end("fsck", Outcome::Hung { what: "e2fsck".to_owned() });
        for (failure, answers, verdict, oracle) in [
            (None, vec![held()], Verdict::Recovered, ""),
            (None, vec![held(), rolled_back()], Verdict::RolledBack, ""),
            (None, vec![rolled_back(), corrupt()], Verdict::Corrupt, "untouched"),
            (None, vec![held(), differs()], Verdict::Diverged, "baseline"),
            (None, vec![differs(), corrupt()], Verdict::Corrupt, "untouched"),
            (None, vec![held(), unmeasured()], Verdict::NotMeasured, "fsck"),
            (None, vec![unmeasured(), differs()], Verdict::Diverged, "baseline"),
            (None, vec![held(), hung()], Verdict::Hung, "fsck"),
            // A resume that refuses is not expected to have reached the baseline; data must be intact all the same.
            (exit(Verdict::Refused), vec![held(), differs()], Verdict::Refused, "exit"),
            (exit(Verdict::Refused), vec![rolled_back()], Verdict::Refused, "exit"),
            (exit(Verdict::Refused), vec![corrupt(), differs()], Verdict::Corrupt, "untouched"),
            (exit(Verdict::Crashed), vec![differs()], Verdict::Crashed, "exit"),
            (exit(Verdict::Hung), vec![held()], Verdict::Hung, "exit"),
        ] {
            let sum = judge(failure.clone(), &answers);
            assert_eq!((sum.verdict, sum.oracle.as_str()), (verdict, oracle), "{failure:?} {answers:?}");
        }
    }

    #[test]
    fn an_explanation_holds_every_failure_once_and_says_which_was_at_the_crash() {
        let answers = [
            answer(Asked::AtCrash, "gpt", failed("no valid copy")),
            answer(Asked::AtCrash, "gpt", failed("no valid copy")),
            answer(Asked::AtEnd, "baseline", failed("3 bytes differ")),
        ];
        let sum = judge(None, &answers);
        assert_eq!(sum.explain, "gpt: at the crash, no valid copy; baseline: 3 bytes differ");
        assert_eq!(sum.asked, Asked::AtCrash);
    }
}
