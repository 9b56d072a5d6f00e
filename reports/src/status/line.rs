//! How a status line looks: a right-aligned verb, a fixed-width duration, a counter, then what it is about. What the
//! lines say is not decided here.

use std::time::Duration;

use console::{Style, truncate_str};

use crate::Verdict;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Always shown.
    Alert,
    /// Shown unless quiet.
    Milestone,
    /// An iteration is done: progress, so it may be left out where there is much of it.
    Progress,
    /// Sums up what single lines tell where everything is shown: left out there, and now and then elsewhere.
    Interim,
    /// Shown where everything is.
    Detail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Neutral,
    Warn,
    Bad,
}

/// One status line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub weight: Weight,
    verb: &'static str,
    tone: Tone,
    pub(super) took: Option<Duration>,
    counter: Option<String>,
    text: String,
    /// More about it, each on a line of its own.
    pub(super) details: Vec<String>,
    /// A command to paste, below the line and never cut.
    pub(super) paste: Option<String>,
}

impl Line {
    pub(super) fn new(weight: Weight, verb: &'static str, tone: Tone, text: impl AsRef<str>) -> Self {
        let text = one_line(text.as_ref());
        Self { weight, verb, tone, took: None, counter: None, text, details: Vec::new(), paste: None }
    }

    pub(super) fn took_ms(mut self, ms: u64) -> Self {
        self.took = Some(Duration::from_millis(ms));
        self
    }

    pub(super) fn counted(mut self, counter: String) -> Self {
        self.counter = Some(counter);
        self
    }

    /// The line, cut to `width` columns where there is one; a command to paste follows whole, on its own line.
    pub fn render(&self, width: Option<usize>, color: bool) -> String {
        let mut line =
            self.tone.style().force_styling(color).apply_to(format!("{:>12}", self.verb)).to_string();
        if let Some(took) = self.took {
            line += &format!(" [{:>9.3}s]", took.as_secs_f64());
        }
        if let Some(counter) = &self.counter {
            line += &format!(" {counter}");
        }
        line += " ";
        line += &self.text;
        let cut = |line: &str| match width {
            Some(width) => truncate_str(line, width, "…").into_owned(),
            None => line.to_owned(),
        };
        let mut line = cut(&line);
        for detail in &self.details {
            line += "\n";
            line += &cut(&format!("{:>13}{detail}", ""));
        }
        if let Some(paste) = &self.paste {
            line += &format!("\n{:>13}{paste}", "");
        }
        line
    }
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Good => Style::new().green().bold(),
            Self::Neutral => Style::new().cyan().bold(),
            Self::Warn => Style::new().yellow().bold(),
            Self::Bad => Style::new().red().bold(),
        }
    }
}

pub(super) fn verb(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Recovered => "Recovered",
        Verdict::RolledBack => "Rolled back",
        Verdict::Refused => "Refused",
        Verdict::Crashed => "CRASHED",
        Verdict::Diverged => "DIVERGED",
        Verdict::Corrupt => "CORRUPT",
        Verdict::Hung => "HUNG",
        Verdict::NotMeasured => "Not measured",
    }
}

pub(super) fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Recovered | Verdict::RolledBack => Tone::Good,
        Verdict::Refused | Verdict::NotMeasured => Tone::Warn,
        Verdict::Crashed | Verdict::Diverged | Verdict::Corrupt | Verdict::Hung => Tone::Bad,
    }
}

/// `text` on one line: whatever would move the cursor becomes a space.
pub(crate) fn one_line(text: &str) -> String {
    line_of_table(text.trim())
}

/// The same for a line whose indentation counts.
pub(super) fn line_of_table(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
