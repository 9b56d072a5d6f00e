//! The command line: what can be asked for, in words. What the words lead to is in [`crate::commands`].

mod generate;
mod help;
mod interchange;
mod power;
mod shrink;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use reports::{ColorChoice, Model};
use scenarios::model::{Accept, ScratchPolicy};

pub use generate::{CompletionsArgs, DemoArgs, DoctorArgs, ManArgs};
pub use interchange::{ExportArgs, ImportArgs, LogFormat, ReplayLogArgs};
pub use power::{BarriersArgs, OnMountArgs, PowerArgs};
pub use shrink::{ShrinkArgs, ShrinkingArgs};

use crate::sweep::points::Torn;
use crate::sweep::shard::Shard;

/// Crash-tests tools that write disks: kills them, resumes them, and compares every byte with an uninterrupted run.
#[derive(Debug, Parser)]
#[command(name = "killpoint", version, after_help = help::KILLPOINT)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Kill a scenario's tool at random times, resume it, and judge what it leaves
    #[command(after_help = help::RUN)]
    Run(RunArgs),
    /// Judge every crash point of a scenario, each content once
    #[command(after_help = help::SWEEP)]
    Sweep(SweepArgs),
    /// Judge every crash point of a command, without a scenario file
    #[command(after_help = help::EXEC)]
    Exec(ExecArgs),
    /// Ignore each flush of a scenario's run in turn, and say which ones carry weight when the power fails
    #[command(after_help = help::BARRIERS)]
    Barriers(BarriersArgs),
    /// Watch one run of a scenario or command, and say what can be judged of it and at what cost
    #[command(after_help = help::PREFLIGHT)]
    Preflight(PreflightArgs),
    /// Print the result of a run directory, or merge those of a sweep's shards
    #[command(after_help = help::REPORT)]
    Report(ReportArgs),
    /// Bring one finding back from its token, or from a run directory
    #[command(after_help = help::REPRO)]
    Repro(ReproArgs),
    /// Reduce one finding to the fewest faults, and the earliest, that still fail in the same way
    #[command(after_help = help::SHRINK)]
    Shrink(ShrinkArgs),
    /// Write one finding into a directory, to be replayed without killpoint
    #[command(after_help = help::EXPORT)]
    Export(ExportArgs),
    /// Judge every crash point of a run that was recorded elsewhere, as a dm-log-writes log
    #[command(after_help = help::IMPORT)]
    Import(ImportArgs),
    /// Do to an image what a dm-log-writes log says, and print its marks
    #[command(after_help = help::REPLAY_LOG)]
    ReplayLog(ReplayLogArgs),
    /// Check both copies of an image's GPT; exit 1 where something is wrong
    #[command(after_help = help::INSPECT)]
    Inspect(InspectArgs),
    /// Run a command in a file system that the kernel mounts from an image, for scenarios of what happens on files
    #[command(after_help = help::ON_MOUNT)]
    OnMount(OnMountArgs),
    /// List the scenarios that ship
    #[command(after_help = help::LIST)]
    List(ListArgs),
    /// Print a scenario as it is resolved
    #[command(after_help = help::SHOW)]
    Show(ShowArgs),
    /// Find the mistake in a small tool that changes a file in place, and see its mended version pass
    #[command(after_help = help::DEMO)]
    Demo(DemoArgs),
    /// Say what this machine can do for killpoint, and how to mend what it can't
    #[command(after_help = help::DOCTOR)]
    Doctor(DoctorArgs),
    /// Print the completions of a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Write a manual page of each command
    #[command(after_help = help::MAN)]
    Man(ManArgs),
}

/// Output that the commands share.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// What standard output gets
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Only findings and warnings on standard error
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// More on standard error: each kill, and the partition table at each step's boundary
    #[arg(short, long)]
    pub verbose: bool,
    /// Colour: auto, always, never
    #[arg(long, default_value = "auto", value_parser = |text: &str| text.parse::<ColorChoice>())]
    pub color: ColorChoice,
    /// No progress bar or progress lines
    #[arg(long)]
    pub no_progress: bool,
}

/// Form of the result on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for a person.
    Human,
    /// JSON for a program.
    Json,
}

/// Where a campaign works.
#[derive(Clone, Debug, Args)]
pub struct PlaceArgs {
    /// Directory for the results [default: runs/SCENARIO-TIME]
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Directory in which the working area is made and removed [default: /dev/shm where there is room]
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// End with less than this free on the disks that the campaign uses, such as 1GiB [default: 64 MiB, or a sixteenth of
    /// a disk below 1 GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub min_free: Option<u64>,
}

/// Arguments of `run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Scenarios: names that ship, or paths to `.toml` files
    #[arg(required = true, value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// Number of iterations; each kills and resumes every phase [default: 5, or none with --for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub iterations: Option<u64>,
    /// Begin no iteration after this time, such as 90s or 8h
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub time: Option<Duration>,
    /// Seed of everything that is drawn [default: random, and printed]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Kills per phase and iteration, as N or MIN-MAX
    #[arg(long, value_name = "N-M", default_value = "1-4", value_parser = parse_kills)]
    pub kills: RangeInclusive<u32>,
    /// Begin no iteration after so many findings
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_findings: Option<u64>,
    /// Wait before and after each write that touches the GPT, so that kills land inside table writes
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub gpt_delay: Option<Duration>,
    /// What becomes of findings.
    #[command(flatten)]
    pub shrinking: ShrinkingArgs,
    /// How the scenario's tools are run.
    #[command(flatten)]
    pub tool: ToolArgs,
    /// Places.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How a scenario's tools are run.
#[derive(Clone, Debug, Args)]
pub struct ToolArgs {
    /// Scale of the scenario, where it has several
    #[arg(long, value_name = "NAME")]
    pub scale: Option<String>,
    /// Planted bug that the tool shall have (tools built with feature `planted` only)
    #[arg(long, value_name = "NAME", env = "RESIZER_BUG")]
    pub bug: Option<String>,
    /// Where the tool's I/O is seen
    #[arg(long, value_enum, default_value_t = SeamChoice::Auto)]
    pub seam: SeamChoice,
    /// Let the tool's sleeps last; else those of 50 ms and more are skipped
    #[arg(long)]
    pub real_time: bool,
}

/// Where the tool's I/O is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SeamChoice {
    /// FUSE where this machine has it, else the hook in tools that link it.
    Auto,
    /// A file system of killpoint's: any tool, unmodified.
    Fuse,
    /// The hook inside tools that link it; needs no privileges.
    InProcess,
}

/// What a sweep looks at.
#[derive(Clone, Debug, Args)]
pub struct PointArgs {
    /// What the runs are met by: `kill` (SIGKILL after each op), `torn` (SIGKILL inside a write), `power` (loss of what was
    /// not flushed; with `kill`), `error` (an op fails, or writes less), `signal` (SIGTERM, SIGINT)
    #[arg(long, value_name = "MODEL,…", value_delimiter = ',', default_value = "kill,torn")]
    pub model: Vec<ModelChoice>,
    /// Points inside each write, at pages of the file: a number (first, last, middle, then drawn), `all` or `none`
    #[arg(long = "torn-per-write", alias = "torn", value_name = "N|all|none", default_value = "4",
        value_parser = parse_torn)]
    pub torn: Torn,
    /// Cut writes at 512-byte sectors: more than a SIGKILL does to a buffered write (conservative)
    #[arg(long)]
    pub torn_sectors: bool,
    /// Follow crashes of the resume too, and of its resumes, until no new state appears (model kill)
    #[arg(long, conflicts_with = "shard")]
    pub closure: bool,
    /// Follow at most so many crashes of resumes one after the other
    #[arg(long, value_name = "N", requires = "closure", value_parser = clap::value_parser!(u32).range(1..))]
    pub depth: Option<u32>,
    /// Cut the power also in the resumes of so many states per phase, drawn by their content (model power)
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "shard")]
    pub nested: u32,
    /// How the power fails.
    #[command(flatten)]
    pub power: PowerArgs,
    /// What becomes of the scratch directory after a crash, in place of what the scenario says: `kept`, `wiped` (as after a
    /// reboot) or `both`
    #[arg(long, value_name = "POLICY", value_parser = parse_scratch)]
    pub scratch: Option<ScratchPolicy>,
    /// Judge also states that are proven to be like a judged one (they differ in scratch files that no resume asks for)
    #[arg(long)]
    pub no_merge: bool,
    /// Run directory of another sweep of the same scenario with the same tools: what recovered there is not judged again
    /// (repeatable)
    #[arg(long = "known", value_name = "RUN_DIR")]
    pub known: Vec<PathBuf>,
    /// Begin no state after this time; the most telling ones come first
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub budget: Option<Duration>,
    /// Threads that judge states, each on a CPU of its own [default: as many as there are CPUs]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: Option<u32>,
    /// Judge one of N parts of the states; all of them, merged by `killpoint report`, are the whole
    #[arg(long, value_name = "I/N", requires = "seed")]
    pub shard: Option<Shard>,
    /// Live kills per phase that show that the recorded states are right
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub live_checks: u32,
    /// What becomes of findings.
    #[command(flatten)]
    pub shrinking: ShrinkingArgs,
    /// Seed of what is drawn [default: random, and printed]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
}

/// Arguments of `sweep`.
#[derive(Clone, Debug, Args)]
pub struct SweepArgs {
    /// Scenarios: names that ship, or paths to `.toml` files
    #[arg(required = true, value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// What is looked at.
    #[command(flatten)]
    pub points: PointArgs,
    /// Judge this phase alone; those before it only run, and those after it do not
    #[arg(long, value_name = "NAME")]
    pub phase: Option<String>,
    /// Write the kinds of findings to a file, for the scenario's `[expect]`
    #[arg(long, value_name = "FILE")]
    pub record_expected: Option<PathBuf>,
    /// How the scenario's tools are run.
    #[command(flatten)]
    pub tool: ToolArgs,
    /// Places.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A command in place of a scenario.
#[derive(Clone, Debug, Args)]
pub struct CommandArgs {
    /// Image that the command works on; a clone takes its place (repeatable)
    #[arg(long = "image", value_name = "FILE")]
    pub images: Vec<PathBuf>,
    /// Folder that the command works on, in place of images
    #[arg(long, value_name = "DIR", conflicts_with = "images")]
    pub volume: Option<PathBuf>,
    /// Shell command that resumes after a crash (repeatable, in order) [default: the command again]
    #[arg(long, value_name = "CMD")]
    pub resume: Vec<String>,
    /// Shell command that checks what is left: exit 0 passes, 77 could not look (repeatable); {volume}, {image},
    /// {baseline} and {start} are copies
    #[arg(long, value_name = "CMD")]
    pub check: Vec<String>,
    /// What may be left: what an uninterrupted run leaves (new), what was there before (old), or either
    #[arg(long, value_name = "old,new", value_delimiter = ',', default_value = "new", value_parser = parse_accept)]
    pub accept: Vec<Accept>,
    /// Bytes that need not be equal: `unallocated`, `0x1000+512` or `FILE:0x1000+512` (repeatable)
    #[arg(long, value_name = "MASK")]
    pub mask: Vec<String>,
    /// Partition, by label or number, that must stay as it is (repeatable)
    #[arg(long, value_name = "PARTITION")]
    pub untouched: Vec<String>,
    /// Environment variable of the command, as NAME=VALUE (repeatable); nothing else is handed on
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub env: Vec<(String, String)>,
    /// Regular expression of a step mark on a line of the command's output; its group is the step's name
    #[arg(long, value_name = "REGEX")]
    pub step_pattern: Option<String>,
    /// Exit codes that the command may have
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "0")]
    pub exit: Vec<i32>,
    /// Limit of one run
    #[arg(long, value_name = "TIME", default_value = "120s")]
    pub time_limit: String,
    /// Let the command's sleeps last; else those of 50 ms and more are skipped
    #[arg(long)]
    pub real_time: bool,
}

/// Arguments of `exec`.
#[derive(Clone, Debug, Args)]
pub struct ExecArgs {
    /// What to do.
    #[command(flatten)]
    pub what: CommandArgs,
    /// What is looked at.
    #[command(flatten)]
    pub points: PointArgs,
    /// Places.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// The command; `{image}` or the image's own path names the image
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Arguments of `preflight`.
#[derive(Clone, Debug, Args)]
pub struct PreflightArgs {
    /// Scenario: a name that ships, or a path to a `.toml` file
    #[arg(value_name = "SCENARIO", required_unless_present = "command", conflicts_with = "command")]
    pub scenario: Option<String>,
    /// Scale of the scenario, where it has several
    #[arg(long, value_name = "NAME")]
    pub scale: Option<String>,
    /// What to do.
    #[command(flatten)]
    pub what: CommandArgs,
    /// Directory in which the working area is made and removed [default: /dev/shm where there is room]
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// What standard output gets
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// The command; `{image}` or the image's own path names the image
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Arguments of `repro`.
#[derive(Clone, Debug, Args)]
pub struct ReproArgs {
    /// Token of a finding, `kp1:…`, or a run directory and a finding's id, `DIR#F1`
    pub token: String,
    /// The scenario's file, where it does not ship
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<String>,
    /// Run the command that a token carries without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Leave the crash state, what the resume made of it, and what an uninterrupted run leaves, as folders in a directory that
    /// does not exist or is empty
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Stop at the crash state, say how to look at it, and go on after a line on standard input
    #[arg(long)]
    pub pause: bool,
    /// Places.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Run directories: one, or all shards of a sweep
    #[arg(required_unless_present = "compare", value_name = "RUN_DIR")]
    pub run_dirs: Vec<PathBuf>,
    /// Compare two campaigns over one scenario, such as over two versions of a tool: exit 1 where the newer one has findings
    /// that are new or worse, 4 where it can't tell
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"],
        conflicts_with_all = ["run_dirs", "run_dir", "html", "junit"])]
    pub compare: Vec<PathBuf>,
    /// Directory for the merged campaign
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Write the result as a page for a browser: one file, which fetches nothing
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the result as JUnit XML, for what shows test results
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// What standard output gets
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Colour: auto, always, never
    #[arg(long, default_value = "auto", value_parser = |text: &str| text.parse::<ColorChoice>())]
    pub color: ColorChoice,
}

/// Arguments of `inspect`.
#[derive(Clone, Debug, Args)]
pub struct InspectArgs {
    /// Disk image, with sectors of 512 or 4096 bytes; it is only read
    pub image: PathBuf,
    /// What standard output gets
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Arguments of `list`.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// What standard output gets
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Arguments of `show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Scenario: a name that ships, or a path to a `.toml` file
    pub scenario: String,
    /// Scale of the scenario, where it has several
    #[arg(long, value_name = "NAME")]
    pub scale: Option<String>,
    /// What standard output gets
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// What runs are met by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModelChoice {
    /// SIGKILL at op boundaries.
    Kill,
    /// SIGKILL inside a write.
    Torn,
    /// Loss of power.
    Power,
    /// An op that answers an error.
    Error,
    /// A signal other than SIGKILL.
    Signal,
}

impl From<ModelChoice> for Model {
    fn from(choice: ModelChoice) -> Self {
        match choice {
            ModelChoice::Kill => Self::Kill,
            ModelChoice::Torn => Self::Torn,
            ModelChoice::Power => Self::Power,
            ModelChoice::Error => Self::Error,
            ModelChoice::Signal => Self::Signal,
        }
    }
}

fn parse_scratch(text: &str) -> Result<ScratchPolicy, String> {
    match text {
        "kept" => Ok(ScratchPolicy::Kept),
        "wiped" => Ok(ScratchPolicy::Wiped),
        "both" => Ok(ScratchPolicy::Both),
        _ => Err("expected `kept`, `wiped` or `both`".to_owned()),
    }
}

fn parse_torn(text: &str) -> Result<Torn, String> {
    match text {
        "all" => Ok(Torn::All),
        "none" | "0" => Ok(Torn::None),
        _ => text.parse().map(Torn::PerWrite).map_err(|_| "expected a number, `all` or `none`".to_owned()),
    }
}

fn parse_accept(text: &str) -> Result<Accept, String> {
    match text {
        "old" => Ok(Accept::Old),
        "new" => Ok(Accept::New),
        _ => Err("expected `old`, `new` or `old,new`".to_owned()),
    }
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// More kills in a row than this say nothing that fewer don't.
const MAX_KILLS: u32 = 1000;

fn parse_kills(text: &str) -> Result<RangeInclusive<u32>, String> {
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|n| (1..=MAX_KILLS).contains(n));
    let range = match text.split_once('-') {
        Some((min, max)) => number(min).zip(number(max)),
        None => number(text).map(|n| (n, n)),
    };
    match range {
        Some((min, max)) if min <= max => Ok(min..=max),
        _ => Err(format!("expected N or MIN-MAX between 1 and {MAX_KILLS}, such as 1-4")),
    }
}

/// A size as `bytesize` reads it.
fn parse_bytes(text: &str) -> Result<u64, String> {
    text.parse::<bytesize::ByteSize>().map(|size| size.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn kills_are_a_number_or_a_range() {
        assert_eq!(parse_kills("3"), Ok(3..=3));
        assert_eq!(parse_kills("1-4"), Ok(1..=4));
        for text in ["0", "4-1", "", "a", "1-", "0-3", "1-2-3", "1001"] {
            assert!(parse_kills(text).is_err(), "{text}");
        }
    }
}
