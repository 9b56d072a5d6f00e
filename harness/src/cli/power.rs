//! Arguments of what is about loss of power: how it fails, which flushes carry weight, and what happens in a mount.

use std::path::PathBuf;

use clap::Args;
use fault_backend::power::{
    AtomicUnit, DeviceProfile, Durability, NoSuchUnit, ProfileError, UnknownDurability,
};

use super::{Format, OutputArgs, PlaceArgs, ToolArgs};

/// How the power fails.
#[derive(Clone, Debug, Args)]
pub struct PowerArgs {
    /// Device that loses its power: `nvme-4k`, `sata-512`, `eatmydata` (ignores flushes), or the path of a `.toml`
    /// (model power)
    #[arg(long, value_name = "PROFILE", default_value = "nvme-4k", value_parser = parse_device)]
    pub device: DeviceProfile,
    /// What the device writes whole or not at all, in place of its profile's: `write`, `512` or `4096` (model power)
    #[arg(long, value_name = "UNIT", value_parser = parse_unit)]
    pub atomic_unit: Option<AtomicUnit>,
    /// What a flush covers, in place of what the scenario says: `disk` (all before it), `ordered` (as ext4) or `posix`
    /// (model power)
    #[arg(long, value_name = "RULE", value_parser = parse_durability)]
    pub durability: Option<Durability>,
    /// Ops among the last 16 of an epoch that are lost together, at most (model power)
    #[arg(long, value_name = "K", default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=8))]
    pub max_drops: u32,
    /// Drawn sets of lost ops per epoch, beyond those that are enumerated (model power)
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub power_samples: u32,
}

/// Arguments of `barriers`.
#[derive(Clone, Debug, Args)]
pub struct BarriersArgs {
    /// Scenario: a name that ships, or a path to a `.toml` file
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// Weigh the flushes of this phase alone; those before it only run, and those after it do not
    #[arg(long, value_name = "NAME")]
    pub phase: Option<String>,
    /// The device and the bounds.
    #[command(flatten)]
    pub power: PowerArgs,
    /// States to judge for each flush, at most; those that lose least come first
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub states: usize,
    /// Threads that judge states, each on a CPU of its own [default: as many as there are CPUs]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub jobs: Option<u32>,
    /// Seed of what is drawn [default: random, and printed]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
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

/// Arguments of `on-mount`.
#[derive(Clone, Debug, Args)]
pub struct OnMountArgs {
    /// Image
    #[arg(value_name = "IMAGE")]
    pub image: PathBuf,
    /// Its file system: ext4, xfs, btrfs, …
    #[arg(long, value_name = "TYPE")]
    pub fs: String,
    /// Where the file system begins in the image, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub offset: u64,
    /// Write nothing
    #[arg(long)]
    pub read_only: bool,
    /// A further mount option (repeatable)
    #[arg(long = "option", value_name = "OPTION")]
    pub options: Vec<String>,
    /// What standard output gets; with `json`, that of the command goes to standard error
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// The command, run in the mount; `{mnt}` in its arguments names the mount point. Without one: mount and unmount
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

fn parse_device(name: &str) -> Result<DeviceProfile, ProfileError> {
    DeviceProfile::load(name)
}

fn parse_unit(text: &str) -> Result<AtomicUnit, NoSuchUnit> {
    text.parse()
}

fn parse_durability(text: &str) -> Result<Durability, UnknownDurability> {
    text.parse()
}
