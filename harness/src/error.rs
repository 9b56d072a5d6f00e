//! Why a campaign could not be made or could not go on, and the exit code that says so.

use std::io;
use std::path::PathBuf;

use reports::Exit;
use scenarios::ScenarioError;

use crate::copies::CopiesError;
use crate::fixtures::CacheError;
use crate::inspect::InspectError;
use crate::mask::MaskError;
use crate::oracle::{OracleError, Unproved};
use crate::process::RunError;
use crate::process::containment::ContainmentError;
use crate::subject::SubjectError;
use crate::token::TokenError;
use crate::tools::ToolError;
use crate::workdir::WorkDirError;

/// Anything that ends a command before its result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The scenario.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// An image.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token does not fit what is here.
    #[error("this token is about {what} `{recorded}`, and here it is `{found}`: {hint}")]
    TokenDigest {
        /// What differs.
        what: &'static str,
        /// In the token.
        recorded: String,
        /// Here.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// The token's phase is not in the scenario.
    #[error("scenario `{scenario}` has no phase `{phase}`")]
    NoSuchPhase {
        /// Scenario.
        scenario: String,
        /// Phase.
        phase: String,
    },
    /// A tool of ours.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Programs that are not installed.
    #[error("not installed: {}", .0.iter().map(Missing::to_string).collect::<Vec<_>>().join(", "))]
    MissingPrograms(Vec<Missing>),
    /// The fixture.
    #[error(transparent)]
    Fixture(#[from] CacheError),
    /// The working area.
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    /// A file of the campaign.
    #[error("`{path}` can't be used")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Where results go.
    #[error(transparent)]
    Store(reports::StoreError),
    /// A disk is full.
    #[error(
        "the disk is full: `{path}` can't be written; what was done is kept, so free some space and run it again"
    )]
    DiskFull {
        /// File that could not be written.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The run directory is taken.
    #[error("the run directory `{0}` exists and is not empty; name another one with --run-dir")]
    RunDirTaken(PathBuf),
    /// Processes.
    #[error(transparent)]
    Containment(#[from] ContainmentError),
    /// A run of the tool.
    #[error(transparent)]
    Subject(SubjectError),
    /// The uninterrupted run failed, so there is nothing to compare with.
    #[error("phase `{phase}`: the uninterrupted run {how}, so nothing was tested\n{output}")]
    Baseline {
        /// Phase.
        phase: String,
        /// What it did.
        how: String,
        /// The end of its output.
        output: String,
    },
    /// Uninterrupted runs differ too much.
    #[error("phase `{phase}`: the uninterrupted runs can't be compared")]
    Mask {
        /// Phase.
        phase: String,
        /// Why.
        source: MaskError,
    },
    /// Oracles could not be made.
    #[error(transparent)]
    Oracle(#[from] OracleError),
    /// Copies can't be sampled.
    #[error(transparent)]
    Copies(#[from] CopiesError),
    /// An oracle does not hold on the baseline, or does not object to damage.
    #[error("phase `{phase}`: {source}")]
    Unproved {
        /// Phase.
        phase: String,
        /// Which, and why.
        source: Unproved,
    },
    /// The working area is full.
    #[error("the working area `{path}` is full ({free} free); free some space or name another place with --work-dir",
        free = bytesize::ByteSize(*free_bytes))]
    WorkDirFull {
        /// Area.
        path: PathBuf,
        /// Bytes left.
        free_bytes: u64,
    },
    /// The run directory is full.
    #[error("the disk under the run directory `{path}` is full ({free} free); what was done is kept",
        free = bytesize::ByteSize(*free_bytes))]
    RunDirFull {
        /// Run directory.
        path: PathBuf,
        /// Bytes left.
        free_bytes: u64,
    },
    /// The scenario can't be printed.
    #[error("the scenario can't be printed")]
    Show(#[source] toml::ser::Error),
    /// The report can't be printed.
    #[error("the report can't be printed")]
    Json(#[source] serde_json::Error),
    /// Signals can't be watched.
    #[error("signals can't be watched")]
    Signals {
        /// Why.
        source: io::Error,
    },
    /// This binary's own path is not known.
    #[error("killpoint's own executable can't be found")]
    OwnExecutable(#[source] io::Error),
    /// A signal asked for the end.
    #[error("interrupted")]
    Interrupted,
}

/// A program that is not installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Program.
    pub program: String,
    /// Debian package that has it, where it is known.
    pub package: Option<&'static str>,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.program)?;
        match self.package {
            Some(package) => write!(f, " (apt-get install {package})"),
            None => Ok(()),
        }
    }
}

impl From<SubjectError> for Error {
    fn from(error: SubjectError) -> Self {
        match error {
            SubjectError::Run(RunError::Interrupted) => Self::Interrupted,
            error => Self::Subject(error),
        }
    }
}

impl Error {
    /// The exit code that it leads to.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Scenario(_)
            | Self::Inspect(_)
            | Self::Token(_)
            | Self::TokenDigest { .. }
            | Self::NoSuchPhase { .. }
            | Self::RunDirTaken(_) => Exit::Usage,
            Self::Tool(_)
            | Self::MissingPrograms(_)
            | Self::Fixture(_)
            | Self::WorkDir(_)
            | Self::Io { .. }
            | Self::Store(_)
            | Self::DiskFull { .. }
            | Self::Containment(_)
            | Self::Subject(_)
            | Self::WorkDirFull { .. }
            | Self::RunDirFull { .. }
            | Self::Show(_)
            | Self::Json(_)
            | Self::Signals { .. }
            | Self::OwnExecutable(_) => Exit::Lacking,
            Self::Baseline { .. } | Self::Mask { .. } => Exit::Baseline,
            Self::Unproved { source, .. } => source.exit(),
            Self::Oracle(_) | Self::Copies(_) => Exit::NotMeasured,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    /// For a closure on a path.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source: io::Error| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
            _ => Self::Io { path, source },
        }
    }
}

impl From<reports::StoreError> for Error {
    fn from(error: reports::StoreError) -> Self {
        match error {
            reports::StoreError::Write { path, source } => Self::io(path)(source),
            error => Self::Store(error),
        }
    }
}
