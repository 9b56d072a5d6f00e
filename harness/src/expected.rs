//! Writes down the kinds of findings of a campaign, for the `[expect]` of a tool that is not ours to mend.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use reports::{Finding, Model};
use scenarios::expected::EXPECTED_SCHEMA;
use scenarios::{Expected, ExpectedFinding};

use crate::error::Error;

/// What stands where nobody has said yet why a finding is there.
const NO_NOTE: &str = "not explained yet";

/// Writes the kinds of `findings` to a file. Notes of those that are `known` stay.
pub fn write(
    path: &Path,
    known: &Expected,
    tool_versions: BTreeMap<String, String>,
    findings: &[Finding],
) -> Result<(), Error> {
    let text = of(known, tool_versions, findings).to_text().map_err(Error::Json)?;
    fs::write(path, text).map_err(Error::io(path))
}

fn of(known: &Expected, tool_versions: BTreeMap<String, String>, findings: &[Finding]) -> Expected {
    let mut kinds: Vec<ExpectedFinding> = Vec::new();
    for finding in findings {
        let (model, phase) = (finding.model.name(), &finding.phase);
        let (verdict, oracle) = (finding.verdict.name(), &finding.oracle);
        match kinds.iter_mut().find(|kind| kind.matches(model, phase, verdict, oracle)) {
            Some(kind) => kind.count = kind.count.map(|count| count + 1),
            None => kinds.push(ExpectedFinding {
                phase: phase.clone(),
                verdict: verdict.to_owned(),
                oracle: oracle.clone(),
                model: (!matches!(finding.model, Model::Kill | Model::Torn)).then(|| model.to_owned()),
                step: (finding.step != "start").then(|| finding.step.clone()),
                region: None,
                count: Some(1),
                note: known
                    .position(model, phase, verdict, oracle)
                    .and_then(|place| known.findings.get(place))
                    .map_or_else(|| NO_NOTE.to_owned(), |kind| kind.note.clone()),
            }),
        }
    }
    Expected { schema: EXPECTED_SCHEMA, tool_versions, findings: kinds }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::Verdict;

    fn finding(verdict: Verdict, oracle: &str) -> Finding {
        Finding {
            id: "F1".to_owned(),
            token: String::new(),
            verdict,
            model: Model::Kill,
            phase: "new".to_owned(),
            step: "start".to_owned(),
            point: String::new(),
            oracle: oracle.to_owned(),
            explain: String::new(),
            repro: String::new(),
            expected: false,
            shrunk_from: None,
            shrunk_from_point: None,
        }
    }

    #[test]
    fn findings_of_one_kind_are_counted_together_and_notes_stay() {
        let findings = [
            finding(Verdict::Refused, "exit"),
            finding(Verdict::Corrupt, "gpt"),
            finding(Verdict::Refused, "exit"),
        ];
        let first = of(&Expected::default(), BTreeMap::new(), &findings);
        assert_eq!(first.findings.iter().map(|kind| kind.count).collect::<Vec<_>>(), [Some(2), Some(1)]);
        let mut noted = first.clone();
        noted.findings[1].note = "known".to_owned();
        let again = of(&noted, BTreeMap::new(), &findings);
        assert_eq!(again.findings[1].note, "known");
        assert_eq!(again.findings[0].note, NO_NOTE);
    }
}
