//! Findings of a kind: those of a sweep are as many as its crash points, and most of them say the same. The first of
//! a kind is told, the rest are counted.

use super::line::{Line, Tone, Weight};
use crate::{Finding, Verdict};

/// What findings of a kind have in common: phase, verdict, oracle, step.
type Kind<T> = (T, Verdict, T, T);

/// The kind of a finding.
pub(crate) fn kind(finding: &Finding) -> Kind<&str> {
    (&finding.phase, finding.verdict, &finding.oracle, &finding.step)
}

/// The kinds so far, in order of appearance.
#[derive(Debug, Default)]
pub(super) struct Kinds(Vec<Group>);

#[derive(Debug)]
struct Group {
    kind: Kind<String>,
    /// Id of the one that was told.
    first: String,
    /// How many more there are.
    more: u64,
}

impl Kinds {
    /// Counts `finding` and says whether it is the first of its kind.
    pub fn is_first(&mut self, finding: &Finding) -> bool {
        let (phase, verdict, oracle, step) = kind(finding);
        let known = self.0.iter_mut().find(|group| {
            let (known_phase, known_verdict, known_oracle, known_step) = &group.kind;
            (known_phase.as_str(), *known_verdict, known_oracle.as_str(), known_step.as_str())
                == (phase, verdict, oracle, step)
        });
        match known {
            Some(group) => {
                group.more += 1;
                false
            }
            None => {
                let kind = (phase.to_owned(), verdict, oracle.to_owned(), step.to_owned());
                self.0.push(Group { kind, first: finding.id.clone(), more: 0 });
                true
            }
        }
    }

    /// A line for each kind of a phase that has ended and of which there was more than one. What comes after it is
    /// counted anew.
    pub fn ended(&mut self, has_ended: impl Fn(&str) -> bool) -> Vec<Line> {
        let mut lines = Vec::new();
        for Group { kind: (phase, verdict, oracle, step), first, more } in &mut self.0 {
            if *more > 0 && has_ended(phase) {
                let like = format!("{} in {phase} at {step} ({oracle})", verdict.name());
                let text = format!("and {more} more like {first}: {like}");
                lines.push(Line::new(Weight::Alert, "FINDING", Tone::Bad, text));
                *more = 0;
            }
        }
        lines
    }
}
