//! The exit code that follows from a campaign's events. What no event tells (bad usage, a failed baseline, a lack of
//! this machine) a caller adds with [`Exit::worst`].

use std::collections::BTreeMap;

use super::Tally;
use crate::{Command, Exit, Outcome, Verdict};

/// Verdicts that are failures whatever a scenario allows.
const FAILED: [Verdict; 4] = [Verdict::Crashed, Verdict::Diverged, Verdict::Corrupt, Verdict::Hung];

impl Tally {
    /// The exit code that follows from the events.
    ///
    /// Findings that the scenario expects count as none. A kill of `run` that comes too late is made up for by
    /// another one, so it is not measured only where that did not work out; of `repro` and `shrink` every kill has to land, and a
    /// sweep's live kill has to leave the recorded state. Not measured, too, is a campaign that judged nothing and weighed no flush, and
    /// a sweep that left a state that it reached unjudged.
    pub fn exit(&self) -> Exit {
        self.exit_given(self.outcome.as_ref())
    }

    /// As [`Tally::exit`], for a campaign that is about to end in this way: the last event holds the code.
    pub fn exit_with(&self, outcome: &Outcome) -> Exit {
        self.exit_given(Some(outcome))
    }

    fn exit_given(&self, outcome: Option<&Outcome>) -> Exit {
        let found = self.unexpected() > 0 || self.failed_without_finding();
        let again = [Command::Repro, Command::Shrink];
        let repro = self.campaign.as_ref().is_some_and(|campaign| again.contains(&campaign.command));
        let unmeasured = self.verdict(Verdict::NotMeasured) > 0
            || (self.judged.is_empty() && self.barriers.is_empty())
            || self.shortfall > 0
            || self.live_failed > 0
            || (repro && self.landed < self.attempted)
            || (self.is_sweep() && self.distinct.iter().any(|state| !self.judged.contains_key(state)))
            || matches!(outcome, Some(Outcome::Stopped { .. }));
        let interrupted = matches!(outcome, Some(Outcome::Interrupted { .. }));
        let holding =
            [(found, Exit::Findings), (interrupted, Exit::Interrupted), (unmeasured, Exit::NotMeasured)];
        Exit::worst(holding.into_iter().filter_map(|(holds, exit)| holds.then_some(exit)))
    }

    /// Whether states failed for which there is no finding. A finding names no content, so they are told by number:
    /// in a phase, no more states may have a verdict than findings name it.
    fn failed_without_finding(&self) -> bool {
        let mut owing: BTreeMap<(&str, Verdict), u64> = BTreeMap::new();
        for ((phase, _), verdict) in self.judged.iter().filter(|(_, verdict)| FAILED.contains(verdict)) {
            *owing.entry((phase, *verdict)).or_default() += 1;
        }
        for finding in &self.findings {
            if let Some(states) = owing.get_mut(&(finding.phase.as_str(), finding.verdict)) {
                *states = states.saturating_sub(1);
            }
        }
        owing.values().any(|states| *states > 0)
    }
}
