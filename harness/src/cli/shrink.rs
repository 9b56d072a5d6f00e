//! Arguments about findings that are made smaller: by the command of that name, and by campaigns on their own.

use std::time::Duration;

use clap::Args;

use super::{OutputArgs, PlaceArgs, ReproArgs};
use crate::shrink::Limits;

/// Chains that are tried for one finding of a campaign.
const TRIES_OF_CAMPAIGN: u64 = 400;

/// Arguments of `shrink`.
#[derive(Clone, Debug, Args)]
pub struct ShrinkArgs {
    /// Token of a finding, `kp1:…`, or a run directory and a finding's id, `DIR#F1`
    pub token: String,
    /// Try nothing more after this time; what was found by then is told
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    pub budget: Duration,
    /// The scenario's file, where it does not ship
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<String>,
    /// Run the command that a token carries without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Places.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl ShrinkArgs {
    /// What a reproduction of the finding would be asked.
    pub fn as_repro(&self) -> ReproArgs {
        ReproArgs {
            token: self.token.clone(),
            scenario: self.scenario.clone(),
            yes: self.yes,
            keep: None,
            pause: false,
            place: self.place.clone(),
            output: self.output.clone(),
        }
    }

    /// How long the search goes on.
    pub fn limits(&self) -> Limits {
        Limits { time: self.budget, tries: u64::MAX }
    }
}

/// What campaigns do with findings of several faults.
#[derive(Clone, Debug, Args)]
pub struct ShrinkingArgs {
    /// Leave findings as they are found; else the first ones with several kills, or with ops that a power cut lost, are made
    /// smaller
    #[arg(long)]
    pub no_shrink: bool,
    /// Time to make one finding smaller in
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration,
        conflicts_with = "no_shrink")]
    pub shrink_time: Duration,
}

impl ShrinkingArgs {
    /// How long the search for one finding goes on; none where there is to be none.
    pub fn limits(&self) -> Option<Limits> {
        (!self.no_shrink).then_some(Limits { time: self.shrink_time, tries: TRIES_OF_CAMPAIGN })
    }
}
