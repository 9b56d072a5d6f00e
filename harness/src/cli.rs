//! The command line: what can be asked for, in words. What the words lead to is in [`crate::commands`].

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use reports::ColorChoice;

const EXIT_CODES: &str = "\
Exit codes:
    0  all judged states passed
    1  findings
    2  bad usage or scenario
    3  the uninterrupted run failed, so nothing was tested
    4  not measured: a kill did not land, or an oracle could not run
    5  this machine lacks something that was asked for
  130  interrupted; what was done is kept";

const RUN_EXAMPLES: &str = "\
Examples:
  killpoint run mixed-layout                         a quick look
  killpoint run mixed-layout --for 8h                an overnight soak
  killpoint run mixed-layout --gpt-delay 20ms        kills land inside the table's writes
  killpoint run ./mine.toml --iterations 50 --seed 1 a scenario of your own, reproducibly";

/// Crash-tests tools that write disks: kills them, resumes them, and compares every byte with an uninterrupted run.
#[derive(Debug, Parser)]
#[command(name = "killpoint", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Kill a scenario's tool at random times, resume it, and judge what it leaves
    #[command(after_help = format!("{RUN_EXAMPLES}\n\n{EXIT_CODES}"))]
    Run(RunArgs),
    /// Bring one finding back from its token
    #[command(after_help = EXIT_CODES)]
    Repro(ReproArgs),
    /// Check both copies of an image's GPT; exit 1 where something is wrong
    Inspect(InspectArgs),
    /// List the scenarios that ship
    List(ListArgs),
    /// Print a scenario as it is resolved
    Show(ShowArgs),
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
    /// Scale of the scenario, where it has several
    #[arg(long, value_name = "NAME")]
    pub scale: Option<String>,
    /// Planted bug that the tool shall have (tools built with feature `planted` only)
    #[arg(long, value_name = "NAME", env = "RESIZER_BUG")]
    pub bug: Option<String>,
    /// Places.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `repro`.
#[derive(Clone, Debug, Args)]
pub struct ReproArgs {
    /// Token of a finding, `kp1:…`
    pub token: String,
    /// The scenario's file, where it does not ship
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<String>,
    /// Places.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
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
