//! Why oracles can't be set up, or one can't look.

use std::io;
use std::path::{Path, PathBuf};

use reports::Exit;
use scenarios::ScenarioError;

use crate::content::TreeError;

use super::Outcome;

/// Why a scenario's oracles can't be set up, or one can't look.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    /// Reading or writing failed.
    #[error("cannot access `{}`", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key of the scenario names what is not there when the phase starts.
    #[error(transparent)]
    Scenario(Box<ScenarioError>),
    /// Several partitions have the label that an oracle names when the phase starts.
    #[error("several partitions are named {name} when the phase starts")]
    Ambiguous {
        /// As explanations name it.
        name: String,
    },
    /// The tree of a file system can't be read.
    #[error("cannot read the content of {name}")]
    Tree {
        /// Partition or file.
        name: String,
        /// Why.
        source: TreeError,
    },
}

impl OracleError {
    /// The exit code that it leads to: a scenario that names what is not there is wrong.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Scenario(_) | Self::Ambiguous { .. } => Exit::Usage,
            Self::Io { .. } | Self::Tree { .. } => Exit::NotMeasured,
        }
    }
}

/// Why an oracle stops looking: it knows its answer already, or it can't look.
#[derive(Debug)]
pub(super) enum Halt {
    /// Its answer.
    Says(Outcome),
    /// What failed.
    Fails(OracleError),
}

impl From<OracleError> for Halt {
    fn from(error: OracleError) -> Self {
        Self::Fails(error)
    }
}

/// An error with its causes, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    text
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> OracleError {
    let path = path.to_owned();
    move |source| OracleError::Io { path, source }
}
