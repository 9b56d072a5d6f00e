//! What a phase reads from its tool's output: step marks and acknowledgements. A mark is a fixed text before a name, or
//! a regular expression; both answer the same question about one line.

use regex::Regex;

use crate::error::{Fault, Problem};
use crate::locate::key_path;
use crate::model::Phase;

/// Reads names from lines of output.
#[derive(Clone, Debug)]
pub enum LinePattern {
    /// The name is the first word after this text, which stands at the start of the line.
    Prefix(String),
    /// The name is the first group, or the whole match where there is none.
    Regex(Regex),
}

impl LinePattern {
    /// The name on a line (without its newline), trimmed; `None` where the line says nothing.
    #[must_use]
    pub fn name_on<'line>(&self, line: &'line str) -> Option<&'line str> {
        let name = match self {
            Self::Prefix(prefix) => line.strip_prefix(prefix.as_str())?.split_whitespace().next()?,
            Self::Regex(regex) => {
                let found = regex.captures(line)?;
                found.get(1).or(found.get(0))?.as_str()
            }
        };
        let name = name.trim();
        (!name.is_empty()).then_some(name)
    }
}

impl Phase {
    /// How step marks are read; `None` where the phase has none.
    ///
    /// # Errors
    /// Where `step_pattern` is no regular expression with exactly one group, or `step_prefix` is given as well.
    pub fn steps(&self) -> Result<Option<LinePattern>, Problem> {
        match (&self.step_prefix, &self.step_pattern) {
            (None, None) => Ok(None),
            (Some(prefix), None) => Ok(Some(LinePattern::Prefix(prefix.clone()))),
            (None, Some(pattern)) => compile(pattern, 1..=1).map(|regex| Some(LinePattern::Regex(regex))),
            (Some(_), Some(_)) => Err(Problem::TwoStepPatterns),
        }
    }

    /// How acknowledgements are read; `None` where the phase has none.
    ///
    /// # Errors
    /// Where `ack_pattern` is no regular expression with at most one group.
    pub fn acknowledgements(&self) -> Result<Option<LinePattern>, Problem> {
        let regex = self.ack_pattern.as_ref().map(|pattern| compile(pattern, 0..=1)).transpose()?;
        Ok(regex.map(LinePattern::Regex))
    }
}

/// Refuses patterns that can't be used, at their keys.
pub(crate) fn check(phase: &Phase, place: usize) -> Result<(), Fault> {
    phase.steps().map_err(|problem| Fault::new(key_path!["phase", place, "step_pattern"], problem))?;
    phase
        .acknowledgements()
        .map_err(|problem| Fault::new(key_path!["phase", place, "ack_pattern"], problem))?;
    Ok(())
}

fn compile(pattern: &str, groups: std::ops::RangeInclusive<usize>) -> Result<Regex, Problem> {
    let regex = Regex::new(pattern)
        .map_err(|source| Problem::Pattern { pattern: pattern.to_owned(), source: Box::new(source) })?;
    // The whole match counts as a group of its own.
    let found = regex.captures_len() - 1;
    if groups.contains(&found) {
        return Ok(regex);
    }
    let wanted = if *groups.start() == 1 { "exactly one" } else { "at most one" };
    Err(Problem::PatternGroups { pattern: pattern.to_owned(), found, wanted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_stands_at_the_start_and_a_pattern_anywhere() {
        let prefix = LinePattern::Prefix("step: ".to_owned());
        assert_eq!(prefix.name_on("step: moveData 17"), Some("moveData"));
        assert_eq!(prefix.name_on("a step: moveData"), None);
        let pattern = LinePattern::Regex(compile(r"phase (\w+) begins", 1..=1).unwrap());
        assert_eq!(pattern.name_on("12:00 phase copy begins"), Some("copy"));
        assert_eq!(pattern.name_on("12:00 phase copy ends"), None);
    }

    #[test]
    fn an_acknowledgement_without_a_group_is_the_whole_match() {
        let pattern = LinePattern::Regex(compile(r"committed \d+", 0..=1).unwrap());
        assert_eq!(pattern.name_on("committed 17, next"), Some("committed 17"));
    }
}
