//! Arguments of the commands that exchange recordings with other crash testers.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use scenarios::model::Accept;

use super::{Format, OutputArgs, PlaceArgs, PointArgs, parse_accept};

/// Arguments of `export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Token of a finding, `kp1:…`, or a run directory and a finding's id, `DIR#F1`
    pub token: String,
    /// Directory that is made; it must not exist, or be empty
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Format of the logs
    #[arg(long, value_enum, default_value_t = LogFormat::LogWrites)]
    pub log_format: LogFormat,
    /// The scenario's file, where it does not ship
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<String>,
    /// Run the command that a token carries without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Directory in which the working area is made and removed [default: /dev/shm where there is room]
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// What standard output gets
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Format of an exported log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// That of the kernel's dm-log-writes target, which xfstests' `replay-log` reads.
    LogWrites,
}

/// Arguments of `import`.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// The log: of dm-log-writes, QEMU's blklogwrites, or `killpoint export`
    pub log: PathBuf,
    /// The image as it was when the log began; it is only read
    #[arg(long, value_name = "BASE")]
    pub image: PathBuf,
    /// Shell command that resumes after a crash (repeatable, in order); {image} names the image [default: the log again,
    /// which mends all that it writes]
    #[arg(long, value_name = "CMD")]
    pub resume: Vec<String>,
    /// Shell command that checks what is left: exit 0 passes, 77 could not look (repeatable); {image} is a copy
    #[arg(long, value_name = "CMD")]
    pub check: Vec<String>,
    /// What may be left: what the whole log leaves (new), what was there before (old), or either
    #[arg(long, value_name = "old,new", value_delimiter = ',', default_value = "new", value_parser = parse_accept)]
    pub accept: Vec<Accept>,
    /// Bytes that need not be equal: `unallocated` or `0x1000+512` (repeatable)
    #[arg(long, value_name = "MASK")]
    pub mask: Vec<String>,
    /// Partition, by label or number, that must stay as it is (repeatable)
    #[arg(long, value_name = "PARTITION")]
    pub untouched: Vec<String>,
    /// Exit codes that the commands may have
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "0")]
    pub exit: Vec<i32>,
    /// Limit of one run
    #[arg(long, value_name = "TIME", default_value = "120s")]
    pub time_limit: String,
    /// What is looked at.
    #[command(flatten)]
    pub points: PointArgs,
    /// Places.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `replay-log`.
#[derive(Clone, Debug, Args)]
pub struct ReplayLogArgs {
    /// The log
    pub log: PathBuf,
    /// Image file that is written to
    pub image: PathBuf,
    /// What standard output gets
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}
