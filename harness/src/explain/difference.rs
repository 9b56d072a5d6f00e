//! What an explanation is made of, as data: the differences with their places, fields and bytes, the op that wrote each
//! last, and where the run was cut. It can be kept as JSON for whoever shows it.

use std::collections::BTreeMap;

use reports::{Compared, Sector};
use serde::{Deserialize, Serialize};

use super::fields::FieldChange;
use super::files::Files;
use super::place::Place;

/// Why a finding is one: what differs from what was wanted, and what led to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// Version of this form.
    pub schema: u32,
    /// The state that is explained.
    pub found: Found,
    /// What it is compared with.
    pub wanted: Wanted,
    /// File systems of which files are missing or hold something else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Files>,
    /// The differences, the most telling first, at most [`super::MAX_DIFFERENCES`].
    pub differences: Vec<Difference>,
    /// Number of differences that are not listed, by the kind of structure.
    pub more: BTreeMap<String, u64>,
    /// Bytes that differ in all, but for those that are excused.
    pub differing_bytes: u64,
    /// Of these, bytes that were not looked at one by one, since too much differs.
    pub unplaced_bytes: u64,
    /// Where the runs that led here were cut, as far as that is known.
    pub cuts: Vec<Cut>,
    /// The first sectors that differ, of the most telling differences first, at most [`super::MAX_SECTORS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sectors: Vec<Sector>,
    /// Sectors that differ, these included.
    #[serde(default)]
    pub differing_sectors: u64,
}

/// The state that is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// What the resume left.
    Result,
    /// The crash state, before any resume.
    Crash,
    /// What a disturbed run left that said that it was done.
    Disturbed,
    /// What a further run left.
    FurtherRun,
}

/// What a state is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// What an uninterrupted run leaves.
    Baseline,
    /// What the phase started with.
    Start,
    /// What the resume left, before a further run.
    Result,
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// File of the volume.
    pub file: String,
    /// First byte that differs, in the file.
    pub offset: u64,
    /// From there to behind the last byte that differs.
    pub len: u64,
    /// Bytes that differ within.
    pub bytes: u64,
    /// Stretches of them.
    pub ranges: u64,
    /// Where it lies.
    pub place: Place,
    /// Of a file as a whole: what is wrong with it, as what follows its name in a sentence.
    pub note: Option<String>,
    /// The fields that differ, where the structure has fields.
    pub fields: Vec<FieldChange>,
    /// The op that wrote its first byte last; none where no recorded op did.
    pub last_writer: Option<OpName>,
    /// It was written by a resume whose ops were not recorded.
    pub by_unrecorded_resume: bool,
    /// The op that wrote it last in the uninterrupted run.
    pub wanted_writer: Option<OpName>,
    /// The first bytes that differ.
    pub hex: Vec<HexRow>,
}

/// An op, as a person needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpName {
    /// The run that it belongs to: 0 is the first, 1 what resumed it, and so on; none for the uninterrupted run.
    pub run: Option<u32>,
    /// Number in its run, from 1.
    pub number: u64,
    /// Process.
    pub process: String,
    /// Step.
    pub step: String,
    /// What it does, with range and file.
    pub action: String,
    /// The structures that it touches, as far as that is known.
    pub areas: Vec<String>,
    /// Bytes of its payload that arrived, where those are not all.
    pub torn_bytes: Option<u64>,
}

/// Where a run was cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// The run that was cut.
    pub run: u32,
    /// The op that was disturbed, where the run was not cut but went on.
    pub disturbed: Option<OpName>,
    /// The last op that is there whole; none where the run was cut before its first.
    pub last: Option<OpName>,
    /// The op that the cut fell into.
    pub torn: Option<OpName>,
    /// The op that would have come next.
    pub next: Option<OpName>,
    /// Ops before the cut that did not survive it (power), at most [`super::MAX_LOST`].
    pub lost: Vec<OpName>,
    /// How many more of them there are.
    pub more_lost: u64,
}

/// Sixteen bytes of both states.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HexRow {
    /// Offset in the file, a multiple of 16.
    pub offset: u64,
    /// The bytes that are wanted, in hexadecimal.
    pub wanted: String,
    /// The bytes that were found.
    pub found: String,
}

impl Explanation {
    /// The bytes of a finding, as they are told of; none where the states differ in no bytes of a file that both have.
    pub fn compared(&self, finding: &str) -> Option<Compared> {
        let shown = self.sectors.len() as u64;
        (shown > 0).then(|| Compared {
            finding: finding.to_owned(),
            found: self.found.name().to_owned(),
            wanted: self.wanted.name().to_owned(),
            sectors: self.sectors.clone(),
            more: self.differing_sectors.saturating_sub(shown),
        })
    }
}

impl Cut {
    /// Whether the run had changed the volume before it was cut, as far as is known.
    pub fn is_telling(&self) -> bool {
        let changes = |op: &Option<OpName>| op.as_ref().is_some_and(|op| !op.areas.is_empty());
        changes(&self.last) || changes(&self.torn) || changes(&self.disturbed)
    }
}

impl Difference {
    /// Whether nothing but checksums differs.
    pub fn is_checksum_only(&self) -> bool {
        !self.fields.is_empty() && self.fields.iter().all(|field| field.checksum)
    }
}
