//! Oracle `gpt`: as many valid copies as are asked for, agreeing where both are, with entries that can be.

use std::path::PathBuf;

use scenarios::model::GptNeed;

use crate::gpt::Gpt;
use crate::gpt::check::{faults, impossible_entries};

use super::subject::Subject;
use super::{Halt, OracleError, Outcome, Setup};

/// The table of one file.
#[derive(Debug)]
pub(super) struct Table {
    pub file: PathBuf,
    pub need: GptNeed,
}

impl Table {
    pub fn new(setup: &Setup<'_>, file: &str, need: GptNeed) -> Result<Self, OracleError> {
        setup.disk(file)?;
        Ok(Self { file: file.into(), need })
    }

    pub fn ask(&self, subject: &Subject<'_>) -> Result<Outcome, Halt> {
        let disk = subject.disk(&self.file)?;
        Ok(match objections(disk.gpt()?, self.need) {
            none if none.is_empty() => Outcome::Held,
            found => Outcome::failed(found.join("; ")),
        })
    }
}

fn objections(gpt: &Gpt, need: GptNeed) -> Vec<String> {
    let mut found: Vec<String> = match (need, gpt.best()) {
        (_, None) => std::iter::once("no GPT copy is valid".to_owned()).chain(faults(gpt)).collect(),
        (GptNeed::OneValid, Some(_)) => Vec::new(),
        (GptNeed::BothValid, Some(_)) => [faults(gpt), gpt.disagreements()].concat(),
    };
    found.extend(impossible_entries(gpt));
    found
}
