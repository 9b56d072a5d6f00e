//! Oracle `gpt`: as many valid copies as are asked for, agreeing where both are, with entries that can be.

use std::path::PathBuf;

use scenarios::model::GptNeed;

use crate::gpt::{Copy, Gpt};

use super::subject::Subject;
use super::{OracleError, Outcome};

/// The table of one file.
#[derive(Debug)]
pub(super) struct Table {
    pub file: PathBuf,
    pub need: GptNeed,
}

impl Table {
    pub fn new(file: &str, need: GptNeed) -> Self {
        Self { file: file.into(), need }
    }

    pub fn ask(&self, subject: &Subject<'_>) -> Result<Outcome, OracleError> {
        let disk = subject.disk(&self.file)?;
        Ok(match objections(&disk.gpt, self.need) {
            none if none.is_empty() => Outcome::Held,
            found => Outcome::failed(found.join("; ")),
        })
    }
}

fn objections(gpt: &Gpt, need: GptNeed) -> Vec<String> {
    let faults = || {
        [&gpt.primary, &gpt.backup].into_iter().flat_map(|copy| {
            copy.faults.iter().map(|fault| format!("{} (LBA {}): {fault}", copy.side, copy.lba))
        })
    };
    let mut found: Vec<String> = match (need, gpt.best()) {
        (_, None) => std::iter::once("no GPT copy is valid".to_owned()).chain(faults()).collect(),
        (GptNeed::OneValid, Some(_)) => Vec::new(),
        (GptNeed::BothValid, Some(_)) => faults().chain(gpt.disagreements()).collect(),
    };
    found.extend(gpt.best().into_iter().flat_map(impossible_entries));
    found
}

/// Entries of a valid copy that no partitioning tool means: outside the usable range, overlapping, or with one GUID.
fn impossible_entries(copy: &Copy) -> Vec<String> {
    let mut found = Vec::new();
    let Some(header) = &copy.header else { return found };
    let named = |index: u32, label: &str| format!("entry {index} (`{label}`)");
    let mut partitions: Vec<_> = copy.partitions.iter().collect();
    for p in &partitions {
        let name = named(p.index, &p.label);
        if p.last_lba < p.first_lba {
            found.push(format!("{name} ends at LBA {} before it starts at {}", p.last_lba, p.first_lba));
        } else if p.first_lba < header.first_usable_lba || p.last_lba > header.last_usable_lba {
            found.push(format!(
                "{name} takes LBA {}–{}, outside the usable {}–{}",
                p.first_lba, p.last_lba, header.first_usable_lba, header.last_usable_lba
            ));
        }
    }
    partitions.sort_by_key(|p| p.first_lba);
    for pair in partitions.windows(2).filter(|pair| pair[1].first_lba <= pair[0].last_lba) {
        let (a, b) = (pair[0], pair[1]);
        found.push(format!("{} overlaps {}", named(a.index, &a.label), named(b.index, &b.label)));
    }
    partitions.sort_by_key(|p| p.unique_guid);
    for pair in partitions.windows(2).filter(|pair| pair[0].unique_guid == pair[1].unique_guid) {
        let (a, b) = (pair[0], pair[1]);
        let (a_name, b_name) = (named(a.index, &a.label), named(b.index, &b.label));
        found.push(format!("{a_name} and {b_name} have one GUID, {}", a.unique_guid));
    }
    found
}
