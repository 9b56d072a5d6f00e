//! Arguments of the commands around killpoint itself: its first experience, what this machine offers it, and the files
//! that are made of its command line.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::{Format, OutputArgs};

/// Arguments of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Directory that is made for the tool, its scenarios and the results; it must not exist, or be empty
    #[arg(long, value_name = "DIR", default_value = "killpoint-demo")]
    pub dir: PathBuf,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// What standard output gets
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Arguments of `completions`.
#[derive(Clone, Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// Directory that the pages go to; it is made where it is not there
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What standard output gets: the paths of the pages
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}
