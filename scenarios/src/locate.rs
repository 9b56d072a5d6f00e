//! Where in a scenario file something stands: paths of keys (`fixture.partition[2].size`) and the excerpt with line and
//! caret that an error shows. Spans come from toml's own parser; a key that is absent is shown at its nearest ancestor.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One step down a scenario file: a key of a table or a place in an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Key of a table.
    Key(String),
    /// Place in an array, from 0.
    Item(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(item: usize) -> Self {
        Self::Item(item)
    }
}

/// A path of keys, built from strings and indices: `key_path!["phase", 0, "run"]`.
macro_rules! key_path {
    ($($step:expr),* $(,)?) => { vec![$($crate::locate::Step::from($step)),*] };
}
pub(crate) use key_path;

/// The bytes that `path` covers in `text`, or those of the longest part of it that exists.
pub(crate) fn span_of(text: &str, path: &[Step]) -> Option<Range<usize>> {
    let root = DeTable::parse(text).ok()?;
    let mut found: Option<&Spanned<DeValue<'_>>> = None;
    for step in path {
        let next = match (step, found) {
            (Step::Key(key), None) => {
                root.get_ref().iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
            }
            (Step::Key(key), Some(value)) => value.get_ref().get(key.as_str()),
            (Step::Item(item), Some(value)) => value.get_ref().get(*item),
            (Step::Item(_), None) => None,
        };
        match next {
            Some(value) => found = Some(value),
            None => break,
        }
    }
    found.map(Spanned::span)
}

/// A place in a file, with the line that it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line's text.
    text: String,
    /// Characters underlined.
    width: usize,
}

impl Place {
    /// The place of `span` in `text`; without a span, the start of the file.
    pub(crate) fn new(file: &str, text: &str, span: Option<Range<usize>>) -> Self {
        let span = span.unwrap_or(0..0);
        let start = floor_char_boundary(text, span.start);
        let end = floor_char_boundary(text, span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        Self {
            file: file.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            text: text[line_start..line_end].trim_end().to_owned(),
            width: text[start..end.min(line_end)].chars().count().max(1),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let margin = " ".repeat(self.line.to_string().len());
        writeln!(f, "{margin}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{} | {}", self.line, self.text)?;
        write!(f, "{margin} | {}{}", " ".repeat(self.column - 1), "^".repeat(self.width))
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
