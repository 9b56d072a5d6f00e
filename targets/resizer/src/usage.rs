//! Errors of the command: something in it, or the disk that it names, is not what the resizer works with.
//!
//! All of them are found before the first write.

use std::path::PathBuf;

/// A command that can't be carried out as it stands (exit code 2).
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// Placeholder of the first build; replaced below.
    #[error("`{}` is neither a regular file nor a block device", .path.display())]
    NotADisk {
        /// The path given.
        path: PathBuf,
    },
}
