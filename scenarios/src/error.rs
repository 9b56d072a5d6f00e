//! What can be wrong with a scenario, as a person reads it: the place in the file, the problem, and what would be
//! right. [`Fault`] says it by key path, without the text; [`ScenarioError`] adds file, line and caret.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use uuid::Uuid;

use crate::locate::{Place, Step};
use crate::near::{hint, hint_in, question};
use crate::size::SizeError;

/// Why a scenario can't be loaded.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// No scenario of that name ships.
    #[error("there is no scenario `{name}`{}\n  known: {}", question(near), known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// Shipped names that look like it, nearest first.
        near: Vec<&'static str>,
        /// All shipped names.
        known: Vec<&'static str>,
    },
    /// The file can't be read.
    #[error("can't read the scenario file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A helper file of a scenario that ships can't be put where commands find it.
    #[error("can't write `{}`", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The scale that was asked for is not one of this scenario's.
    #[error(
        "`{scenario}` has no scale `{asked}`: it has {}{}",
        list(known, "none at all"),
        meant(asked, known)
    )]
    UnknownScale {
        /// The scenario's name.
        scenario: String,
        /// What was asked for.
        asked: String,
        /// The scales that there are.
        known: Vec<String>,
    },
    /// The file's text is wrong at a place.
    #[error("{problem}\n{place}")]
    Invalid {
        /// Where.
        place: Box<Place>,
        /// What.
        problem: Box<Problem>,
    },
}

/// A problem and the key that it is about.
#[derive(Debug, Error)]
#[error("{problem}")]
pub struct Fault {
    /// From the root of the file to the key.
    pub path: Vec<Step>,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong at a key.
#[derive(Debug, Error)]
pub enum Problem {
    /// Not TOML, an unknown key, or a value of another type.
    #[error("{}{}", .0.message(), hint_in(.0.message()))]
    Toml(toml::de::Error),
    /// The model does not survive filling in placeholders; a fault of this crate.
    #[error("the scenario can't be written out: {0}")]
    Model(serde_json::Error),
    /// Another version's file.
    #[error("schema {found} is not readable: this build reads schema {}", crate::model::SCHEMA)]
    Schema {
        /// The number in the file.
        found: u32,
    },
    /// A name with other characters than names have.
    #[error("`{0}` is no name: use lower-case letters, digits and hyphens")]
    BadName(String),
    /// No `[[phase]]`.
    #[error("there is no phase: write at least one `[[phase]]`")]
    NoPhase,
    /// A second phase of that name.
    #[error("two phases are named `{0}`")]
    DuplicatePhase(String),
    /// A command without a program.
    #[error("the command is empty: it needs at least a program")]
    EmptyCommand,
    /// No exit code would be accepted.
    #[error("no exit code is accepted: write at least one")]
    NoExit,
    /// As many lists of exit codes as there are resume commands, or none.
    #[error("{commands} resume commands, but {exits} lists of accepted exit codes")]
    ResumeExitCount {
        /// Commands under `resume`.
        commands: usize,
        /// Lists under `resume_exit`.
        exits: usize,
    },
    /// A placeholder that nothing sets.
    #[error("nothing sets the placeholder `{{{name}}}` here; known: {}{}", braced(known), meant(name, known))]
    UnknownPlaceholder {
        /// Its name.
        name: String,
        /// The ones that are set here.
        known: Vec<String>,
    },
    /// Scales without a default.
    #[error("`default_scale` is missing: write one of {}", list(.0, "none"))]
    NoDefaultScale(Vec<String>),
    /// A default that is none of the scales.
    #[error(
        "`default_scale` is `{default}`, which is no scale: there is {}{}",
        list(known, "none at all"),
        meant(default, known)
    )]
    BadDefaultScale {
        /// The default as written.
        default: String,
        /// The scales that there are.
        known: Vec<String>,
    },
    /// Scales that don't set the same placeholders.
    #[error("the scale `{scale}` does not set `{placeholder}`, which another scale sets")]
    ScaleLacks {
        /// The scale.
        scale: String,
        /// What it lacks.
        placeholder: String,
    },
    /// A size that can't be read.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// A size of zero.
    #[error("a size of zero")]
    ZeroSize,
    /// A duration that can't be read.
    #[error("`{text}` is not a duration: {source}; write for example `30s` or `5m`")]
    Duration {
        /// As written.
        text: String,
        /// Why.
        source: humantime::DurationError,
    },
    /// Not a GUID.
    #[error("`{text}` is not a GUID: {source}")]
    Guid {
        /// As written.
        text: String,
        /// Why.
        source: uuid::Error,
    },
    /// Two partitions with one GUID.
    #[error("the GUID {0} is used twice")]
    DuplicateGuid(Uuid),
    /// A disk with other sectors than 512 or 4096 bytes.
    #[error("sectors of {0} bytes: only 512 and 4096 are possible")]
    SectorSize(u32),
    /// A length that is no multiple of the sector.
    #[error("{bytes} bytes are no multiple of the sector of {sector}")]
    Unaligned {
        /// The length or position.
        bytes: u64,
        /// The sector size.
        sector: u32,
    },
    /// A disk that has no room for its tables.
    #[error("a disk of {0} bytes has no room for two partition tables")]
    DiskTooSmall(u64),
    /// `grown_to` below `size`.
    #[error("`grown_to` is {grown}, less than the disk's size {size}")]
    GrownBelowSize {
        /// Bytes after.
        grown: u64,
        /// Bytes before.
        size: u64,
    },
    /// An index outside the table.
    #[error("partition index {0} is outside the table's 1 to 128")]
    Index(u64),
    /// Two partitions with one index.
    #[error("two partitions have the index {0}")]
    DuplicateIndex(u32),
    /// Two partitions with one label.
    #[error("two partitions have the label `{0}`")]
    DuplicateLabel(String),
    /// A label that does not fit an entry.
    #[error("the label `{0}` is longer than the 36 UTF-16 units that a GPT entry holds")]
    LabelTooLong(String),
    /// No partition at all in the row.
    #[error("a count of zero makes no partition")]
    ZeroCount,
    /// Two partitions share sectors.
    #[error("`{label}` at bytes {start}..{end} overlaps `{other}`")]
    Overlap {
        /// The later one.
        label: String,
        /// The one that it overlaps.
        other: String,
        /// Its first byte.
        start: u64,
        /// The byte after its last.
        end: u64,
    },
    /// A partition that reaches into the tables or beyond the disk.
    #[error("`{label}` at bytes {start}..{end} is outside the usable {usable_start}..{usable_end}")]
    Outside {
        /// The partition.
        label: String,
        /// Its first byte.
        start: u64,
        /// The byte after its last.
        end: u64,
        /// First usable byte.
        usable_start: u64,
        /// The byte after the last usable one.
        usable_end: u64,
    },
    /// A FAT width that is not built.
    #[error("a FAT of {0} bits: only 16 and 32 are possible")]
    FatBits(u8),
    /// A block or cluster size that the file system does not have.
    #[error("{bytes} bytes are no {what} size here: use {}", allowed.join(", "))]
    BlockSize {
        /// As written.
        bytes: u64,
        /// `block` or `cluster`.
        what: &'static str,
        /// What is possible.
        allowed: Vec<String>,
    },
    /// More content than the partition holds.
    #[error("{used} bytes of files don't fit a partition of {size}")]
    UsedTooLarge {
        /// Bytes of files.
        used: u64,
        /// Bytes of the partition.
        size: u64,
    },
    /// A label that the fixture has not.
    #[error("the fixture has no partition `{label}`: it has {}{}", list(known, "none"), meant(label, known))]
    UnknownPartition {
        /// The label.
        label: String,
        /// The fixture's labels.
        known: Vec<String>,
    },
    /// A file system check on a partition without a file system that has one.
    #[error("`{0}` holds no file system that has a checker")]
    NoChecker(String),
    /// A file that the fixture does not make.
    #[error("the fixture has no file `{file}`: it has {}{}", list(known, "none"), meant(file, known))]
    UnknownFile {
        /// The file.
        file: String,
        /// The fixture's files.
        known: Vec<String>,
    },
    /// A file name that would leave the volume.
    #[error("`{0}` is no plain file name")]
    FileName(String),
    /// A path that would leave the volume, or is written in a way that no listing has.
    #[error("`{0}` is no path inside the volume: write names with `/` between them, without `.` and `..`")]
    VolumePath(String),
    /// A phase that the scenario has not.
    #[error("there is no phase `{name}`: there is {}{}", list(known, "none"), meant(name, known))]
    UnknownPhase {
        /// The phase.
        name: String,
        /// The scenario's phases.
        known: Vec<String>,
    },
    /// An oracle without anything to check.
    #[error("the oracle names no partition")]
    NoPartitions,
    /// An `untouched` oracle without anything to guard.
    #[error("the oracle guards nothing: write `partitions`, `ranges` or `files`")]
    NothingUntouched,
    /// An `isolation` oracle of folders that are one, or in one another.
    #[error("the fork can't be in `{0}`, nor that in the fork: write two folders that lie apart")]
    NotApart(String),
    /// A folder with nothing to guard.
    #[error("`{0}` is no folder with files when the phase starts")]
    NoFolder(String),
    /// A mask of another form.
    #[error(
        "`{0}` is no mask: write `unallocated` or a byte range such as `0x1000+512` or `disk.img:0x1000+512`"
    )]
    Mask(String),
    /// A byte range of another form.
    #[error("`{0}` is no byte range: write `0x1000+512` or `1M+4K`")]
    Range(String),
    /// A place of another form.
    #[error("`{0}` is no place in a file: write `1M` or `0x100000`")]
    Offset(String),
    /// Two ways to say where the file system is.
    #[error("`offset` and `partitions` both say where the file system is: write one of them")]
    OffsetAndPartitions,
    /// None, or several, of the ways to make a volume.
    #[error(
        "{} the volume is made: write exactly one of `[fixture.disk]`, `command`, `files`",
        if found.is_empty() { "nothing says how".to_owned() } else { format!("{} each say how", list(found, "")) }
    )]
    FixtureKinds {
        /// The ways that are given.
        found: Vec<String>,
    },
    /// Partitions without a disk.
    #[error("the partitions have no disk: write `[fixture.disk]`")]
    PartitionsWithoutDisk,
    /// A `files` fixture of nothing.
    #[error("the fixture names no file")]
    NoFiles,
    /// A file of the scenario's folder that is not there or can't be read.
    #[error("the scenario's folder has no readable `{file}`: {source}")]
    HelperFile {
        /// Relative to the scenario file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Both ways to read step marks.
    #[error("`step_pattern` and `step_prefix` both say how a step is read: write one of them")]
    TwoStepPatterns,
    /// Not a regular expression.
    #[error("`{pattern}` is no regular expression: {}", last_line(source))]
    Pattern {
        /// As written.
        pattern: String,
        /// Why.
        source: Box<regex::Error>,
    },
    /// A regular expression with another number of groups than its key reads.
    #[error("`{pattern}` has {found} groups: {wanted} is read; write `(?:…)` for a group that is not")]
    PatternGroups {
        /// As written.
        pattern: String,
        /// Groups in it.
        found: usize,
        /// How many there may be.
        wanted: &'static str,
    },
    /// Nothing would be accepted as the end.
    #[error("nothing is accepted: write \"new\", or \"old\" and \"new\"")]
    NothingAccepted,
    /// An exit code with two meanings.
    #[error("exit code {0} is under `pass` already")]
    TwoMeanings(i32),
    /// A second command oracle of that name.
    #[error("two command oracles are named `{0}`")]
    DuplicateOracle(String),
    /// A command oracle without a name.
    #[error("the name is empty")]
    EmptyName,
    /// A file of expected findings that can't be understood.
    #[error("`{file}` is no list of expected findings: {source}")]
    Expected {
        /// Relative to the scenario file.
        file: String,
        /// Why, with line and column.
        source: serde_json::Error,
    },
    /// A file of expected findings of another version.
    #[error("`{file}` has schema {found}: this build reads schema {}", crate::expected::EXPECTED_SCHEMA)]
    ExpectedSchema {
        /// Relative to the scenario file.
        file: String,
        /// The number in it.
        found: u32,
    },
    /// An expected finding that no campaign can have.
    #[error(
        "`{file}`, finding {number}: there is no {what} `{name}`: there is {}{}",
        list(known, "none"),
        meant(name, known)
    )]
    ExpectedFinding {
        /// Relative to the scenario file.
        file: String,
        /// Its place in the list, from 1.
        number: usize,
        /// `phase` or `verdict`.
        what: &'static str,
        /// As written.
        name: String,
        /// The ones that there are.
        known: Vec<String>,
    },
}

impl Fault {
    pub(crate) fn new(path: Vec<Step>, problem: impl Into<Problem>) -> Self {
        Self { path, problem: problem.into() }
    }
}

fn list(names: &[String], none: &str) -> String {
    if names.is_empty() {
        return none.to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn braced(names: &[String]) -> String {
    names.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
}

/// regex draws the pattern with a caret of its own; the reason is its last line.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next_back().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Asks whether one of the known names was meant.
fn meant(name: &str, known: &[String]) -> String {
    hint(name, known.iter().map(String::as_str))
}
