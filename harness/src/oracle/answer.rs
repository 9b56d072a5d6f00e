//! What oracles are told and what they answer.

/// What one oracle says about one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its kind as in scenario files (`fsck`), or a command oracle's name.
    pub oracle: String,
    /// What it says.
    pub outcome: Outcome,
}

/// What an oracle can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What it guards is as it should be.
    Held,
    /// The volume is what the phase started with, which the scenario accepts.
    RolledBack,
    /// It is not as it should be.
    Failed {
        /// What is wrong, in the terms of the structure that it is wrong in.
        explain: String,
    },
    /// It could not look.
    NotMeasured {
        /// Why not.
        why: String,
    },
    /// Its checker ran past a limit.
    Hung {
        /// Which one, on what, which limit.
        what: String,
    },
}

impl Outcome {
    /// Fails with an explanation.
    pub(super) fn failed(explain: impl Into<String>) -> Self {
        Self::Failed { explain: explain.into() }
    }

    /// All answers about the parts of one question as one: the worst kind, with every text of that kind.
    pub(super) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let (mut failed, mut hung, mut unmeasured) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            match part {
                Self::Held | Self::RolledBack => {}
                Self::Failed { explain } => failed.push(explain),
                Self::Hung { what } => hung.push(what),
                Self::NotMeasured { why } => unmeasured.push(why),
            }
        }
        if !failed.is_empty() {
            Self::failed(failed.join("; "))
        } else if !hung.is_empty() {
            Self::Hung { what: hung.join("; ") }
        } else if !unmeasured.is_empty() {
            Self::NotMeasured { why: unmeasured.join("; ") }
        } else {
            Self::Held
        }
    }
}

/// What command oracles are told besides the volume.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    /// What the tool acknowledged, in order: `{acks}`, a line for each.
    pub acks: &'a [String],
    /// Exit code of the resume: `{exit}`, which is empty at a crash.
    pub exit: Option<i32>,
}

impl<'a> From<&'a [String]> for Told<'a> {
    fn from(acks: &'a [String]) -> Self {
        Self { acks, exit: None }
    }
}

impl<'a> From<&'a Vec<String>> for Told<'a> {
    fn from(acks: &'a Vec<String>) -> Self {
        Self { acks, exit: None }
    }
}

impl<'a, const N: usize> From<&'a [String; N]> for Told<'a> {
    fn from(acks: &'a [String; N]) -> Self {
        Self { acks, exit: None }
    }
}
