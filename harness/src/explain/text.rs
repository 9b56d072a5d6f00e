//! An explanation as text, for somebody who has never seen the tool: the first line is the whole story in a sentence, the
//! others give the cut, and what differs one by one.

use std::collections::HashSet;
use std::fmt;

use super::difference::{Cut, Difference, Explanation, Found, OpName, Wanted};
use super::files::Files;

/// Fields that a difference tells in a list.
const FIELDS_SHOWN: usize = 4;
const UNRECORDED: &str = "last written by the resume, whose ops were not recorded";

impl Explanation {
    /// The story in one sentence.
    pub fn core(&self) -> String {
        let mut parts: Vec<String> = self.files.first().map(Files::to_string).into_iter().collect();
        match self.differences.first() {
            Some(first) => {
                parts.push(format!("{}{}", first.headline(1), self.beside()));
                parts.extend(first.writers());
            }
            None => parts.push(format!("{} is {}", self.found.name(), self.wanted.name())),
        }
        // Of several cuts the last one that left a change behind is the likely cause.
        let cut = self.cuts.iter().rfind(|cut| cut.is_telling()).or(self.cuts.last());
        parts.extend(cut.map(Cut::brief));
        parts.join("; ")
    }

    fn count(&self) -> u64 {
        self.differences.len() as u64 + self.more.values().sum::<u64>()
    }

    fn beside(&self) -> String {
        match self.count() {
            1 => String::new(),
            2 => " (and 1 more difference)".to_owned(),
            count => format!(" (and {} more differences)", count - 1),
        }
    }
}

impl fmt::Display for Explanation {
    /// With `#`, the bytes are shown, too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.core())?;
        for cut in &self.cuts {
            write!(f, "\n{cut}")?;
        }
        if self.differences.is_empty() {
            return Ok(());
        }
        for files in self.files.iter().skip(1) {
            write!(f, "\n{files}")?;
        }
        let bytes = plural(self.differing_bytes, "byte");
        let differ = if self.differing_bytes == 1 { "differs" } else { "differ" };
        write!(f, "\n{bytes} of {} {differ} from {}:", self.found.name(), self.wanted.name())?;
        let mut told = HashSet::new();
        for difference in &self.differences {
            write!(f, "\n- {}", difference.headline(FIELDS_SHOWN))?;
            // An op is told in full once.
            let mut op = |op: &OpName| match told.insert((op.run, op.number)) {
                true => op.to_string(),
                false => op.brief(),
            };
            match (&difference.last_writer, &difference.wanted_writer) {
                _ if difference.by_unrecorded_resume => write!(f, "; {UNRECORDED}")?,
                (Some(last), None) => write!(f, "; last written by {}", op(last))?,
                (Some(last), Some(wanted)) => {
                    write!(
                        f,
                        "; last written by {}; in an uninterrupted run by {}",
                        op(last),
                        wanted.brief()
                    )?;
                }
                (None, Some(wanted)) => {
                    write!(f, "; not written; in an uninterrupted run by {}", op(wanted))?
                }
                (None, None) => {}
            }
            if f.alternate() {
                for row in &difference.hex {
                    write!(f, "\n    {:#010x}  wanted {}", row.offset, row.wanted)?;
                    write!(f, "\n                 found {}", row.found)?;
                }
            }
        }
        if !self.more.is_empty() {
            let kinds: Vec<String> =
                self.more.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
            write!(f, "\n- and {}", kinds.join(", "))?;
        }
        if self.unplaced_bytes > 0 {
            write!(f, "\n- and {} that were not looked at one by one", plural(self.unplaced_bytes, "byte"))?;
        }
        Ok(())
    }
}

impl Found {
    /// Its name, for a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Result => "what the resume left",
            Self::Crash => "the crash state",
            Self::Disturbed => "what the disturbed run left",
            Self::FurtherRun => "what a further run left",
        }
    }
}

impl Wanted {
    /// Its name, for a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "what an uninterrupted run leaves",
            Self::Start => "what the phase started with",
            Self::Result => "what the resume had left",
        }
    }
}

impl Difference {
    /// Where it is and what it is, with at most so many fields.
    fn headline(&self, fields: usize) -> String {
        let file = format!("`{}`", self.file);
        if let Some(note) = &self.note {
            return format!("{file} {note}");
        }
        let place = format!("{file}, {}", self.place);
        if self.fields.is_empty() {
            let ranges = if self.ranges > 1 { format!(" in {} ranges", self.ranges) } else { String::new() };
            let differ = if self.bytes == 1 { "differs" } else { "differ" };
            return format!("{place}: {} {differ}{ranges}", plural(self.bytes, "byte"));
        }
        // Checksums follow what they cover, unless nothing but they differ.
        let mut list: Vec<_> = self.fields.iter().filter(|field| !field.checksum).collect();
        let covered = self.fields.len() - list.len();
        let alone = list.is_empty();
        if alone {
            list = self.fields.iter().collect();
        }
        let mut told: Vec<String> = list
            .iter()
            .take(fields)
            .map(|field| format!("{} is {}, not {}", field.name, field.found, field.wanted))
            .collect();
        if list.len() > fields {
            told.push(plural((list.len() - fields) as u64, "more field"));
        }
        let note = match (alone, covered) {
            (true, _) => " (only its checksums differ)".to_owned(),
            (false, 0) => String::new(),
            (false, 1) => " (and the checksum over it)".to_owned(),
            (false, _) => " (and the checksums over it)".to_owned(),
        };
        format!("{place}: {}{note}", told.join(", "))
    }
}

impl Difference {
    /// Who wrote it, for the end of a sentence.
    fn writers(&self) -> Option<String> {
        match (&self.last_writer, &self.wanted_writer) {
            _ if self.by_unrecorded_resume => Some(UNRECORDED.to_owned()),
            (Some(op), _) => Some(format!("last written by {}", op.brief())),
            (None, Some(op)) => Some(format!("not written, as an uninterrupted run does by {}", op.brief())),
            (None, None) => None,
        }
    }
}

impl OpName {
    fn which(&self) -> String {
        let number = self.number;
        match self.run {
            None | Some(0) => format!("op {number}"),
            Some(1) => format!("op {number} of the resume"),
            Some(run) => format!("op {number} of resume {run}"),
        }
    }

    /// Number, process and step.
    fn brief(&self) -> String {
        format!("{} ({}, step {})", self.which(), self.process, self.step)
    }

    /// What it is about: the structures, or else what it does.
    fn about(&self) -> String {
        if self.areas.is_empty() { self.action.clone() } else { self.areas.join(", ") }
    }
}

impl fmt::Display for OpName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, step, action, .. } = self;
        write!(f, "{} ({process}, step {step}: {action}", self.which())?;
        if !self.areas.is_empty() {
            write!(f, " = {}", self.areas.join(", "))?;
        }
        if let Some(bytes) = self.torn_bytes {
            write!(f, ", of which {bytes} bytes arrived")?;
        }
        f.write_str(")")
    }
}

impl Cut {
    fn run_name(&self) -> String {
        match self.run {
            0 => "the run".to_owned(),
            1 => "the resume".to_owned(),
            run => format!("resume {run}"),
        }
    }

    /// For the end of a sentence.
    fn brief(&self) -> String {
        let run = self.run_name();
        let about = |op: &OpName| format!("op {} ({}, step {})", op.number, op.about(), op.step);
        if let Some(disturbed) = &self.disturbed {
            return format!("{run} was disturbed at {}", about(disturbed));
        }
        let mut text = match (&self.torn, &self.last, &self.next) {
            (Some(torn), ..) => format!("{run} was cut inside {}", about(torn)),
            (None, Some(last), Some(next)) => {
                format!("{run} was cut after {}, before {}", about(last), about(next))
            }
            (None, Some(last), None) => format!("{run} was cut after {}, its last change", about(last)),
            (None, None, Some(next)) => format!("{run} was cut before its first change, {}", about(next)),
            (None, None, None) => format!("{run} changes nothing"),
        };
        if let Some(first) = self.lost.first() {
            let more = self.lost.len() as u64 - 1 + self.more_lost;
            let more = if more > 0 { format!(" and {}", plural(more, "more op")) } else { String::new() };
            text =
                format!("{text}; the power cut lost {}{more}, which no flush had made durable", about(first));
        }
        text
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = self.run_name();
        if let Some(disturbed) = &self.disturbed {
            return write!(f, "disturbed: {run} at {disturbed}");
        }
        match &self.torn {
            Some(torn) => write!(f, "cut: {run} inside {torn}")?,
            None => match &self.last {
                Some(last) => write!(f, "cut: {run} after {last}")?,
                None => write!(f, "cut: {run} before its first change")?,
            },
        }
        if let Some(next) = &self.next {
            write!(f, "; next would have been {next}")?;
        }
        for lost in &self.lost {
            write!(f, "\nlost: {lost}")?;
        }
        if self.more_lost > 0 {
            write!(f, "\nlost: {}", plural(self.more_lost, "more op"))?;
        }
        Ok(())
    }
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
