//! The bytes that a finding is about: sectors of the state that failed beside those of the state that was wanted. The event
//! log has them of the first findings; `report.json` leaves them out, and the page shows them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::Event;

/// Length of a whole sector in bytes; the last one of a file may be shorter.
pub const SECTOR_BYTES: u64 = 512;

/// The first sectors in which the states of a finding differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// Id of the finding, which was told before.
    pub finding: String,
    /// What the failed state is, for a sentence: `what the resume left`.
    pub found: String,
    /// What it is compared with: `what an uninterrupted run leaves`.
    pub wanted: String,
    /// The sectors, the most telling first.
    pub sectors: Vec<Sector>,
    /// Sectors that differ beyond these.
    pub more: u64,
}

/// A sector on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sector {
    /// File of the volume.
    pub file: String,
    /// Its first byte in the file, a multiple of [`SECTOR_BYTES`].
    pub offset: u64,
    /// What it is shown for, in words: the structure in which it differs.
    pub place: String,
    /// The wanted bytes in hexadecimal, two digits each; fewer where the file ends.
    pub wanted: String,
    /// The bytes that were found.
    pub found: String,
    /// Bytes that may differ: pairs of the first one and how many, from the sector's start.
    pub excused: Vec<(u16, u16)>,
}

/// What was told of bytes, by finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    by_finding: HashMap<String, Compared>,
}

impl Bytes {
    /// Takes in an event.
    pub fn event(&mut self, event: &Event) {
        if let Event::Compared(compared) = event {
            self.by_finding.insert(compared.finding.clone(), compared.clone());
        }
    }

    /// Of a finding.
    pub fn of(&self, finding: &str) -> Option<&Compared> {
        self.by_finding.get(finding)
    }

    /// How many findings they are of.
    pub fn len(&self) -> usize {
        self.by_finding.len()
    }

    /// Nothing was told.
    pub fn is_empty(&self) -> bool {
        self.by_finding.is_empty()
    }
}
