//! The command line: its arguments, and what they come to.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Parser;

use crate::disk::Disk;
use crate::error::Result;
use crate::file_disk::{Access, FileDisk};
use crate::fstools::Tools;
use crate::gpt::{self, Table};
use crate::kernel;
use crate::pipeline::{self, Pipeline, Settings};
use crate::plan::{self, Goal, Plan, Request, Reserve};
use crate::select::{GrowArg, Identifier, ShrinkArg};
use crate::usage::UsageError;
use crate::view::View;

/// Resizes partitions of a GPT disk: grows them by relocation into free space, shrinks ext4 in place.
///
/// Interrupted at any moment, it is completed by running the same command again.
#[derive(Debug, Parser)]
#[command(version, after_help = HELP_TAIL)]
pub struct Args {
    /// Give a partition at least SIZE; ext4 is shrunk in place if SIZE is below its present size
    #[arg(long, value_name = "BY:VALUE:SIZE")]
    pub grow_partition: Vec<GrowArg>,

    /// An ext4 partition that may be shrunk if the grows don't fit otherwise; without SIZE, by as many whole GiB
    /// as are missing
    #[arg(long, value_name = "BY:VALUE[:SIZE]")]
    pub shrink_partition: Option<ShrinkArg>,

    /// Let the first step repair damaged file systems
    #[arg(long)]
    pub fix_errors: bool,

    /// Print the plan and stop before any write
    #[arg(long)]
    pub dry_run: bool,

    /// Give a relocated partition its old index back
    #[arg(long)]
    pub preserve_numbers: bool,

    /// Where temporary copies go [default: TMPDIR]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,

    /// Print the table, sorted by start with its gaps, at each step's boundary
    #[arg(short, long)]
    pub verbose: bool,

    /// The disk image or block device
    pub disk: PathBuf,
}

const HELP_TAIL: &str = "\
BY is label, name (as Linux shows it), uuid (of the partition) or index.
SIZE is a whole number with B, K, M, G or T (1024-based, any case).

Example: shrink P3 to 300 MiB, then give its space to two others
  resizer --grow-partition label:P3:300M disk.img
  resizer --preserve-numbers --grow-partition label:IMGA:200M --grow-partition index:1:96M disk.img

Exit codes: 0 done and durable, 1 not enough space or an I/O error, 2 bad input (disk not touched),
3 reboot needed for the kernel to see the table, 4 a file-system program failed";

/// Carries out a command. Step marks and tables go to `out`.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let access = if args.dry_run { Access::Read } else { Access::Write };
    let disk = FileDisk::open(&args.disk, access)?;
    let sector_size = disk.sector_size()?;
    let table = gpt::read(&disk, sector_size)?.table;
    let request = resolve(args, &table)?;
    let plan = plan::plan(&table, &request)?;
    refuse_unresumable(args, &request, &plan)?;
    if args.dry_run {
        pipeline::judge(&disk, &plan)?;
        return show_plan(&table, &plan, out).or_else(ignore_closed_output);
    }
    kernel::refuse_busy(&disk, &touched(&plan))?;
    let settings = Settings {
        fix_errors: args.fix_errors,
        verbose: args.verbose,
        tools: Tools::new(args.scratch.clone().unwrap_or_else(std::env::temp_dir), table.disk_guid()),
    };
    with_hook(&disk, sector_size.as_u64() as u32, |disk| {
        Pipeline::new(disk, sector_size, &plan, &settings, out).run()
    })?;
    kernel::tell(&disk, &plan.updated)
}

#[cfg(feature = "chaos")]
fn with_hook(disk: &FileDisk, sector_bytes: u32, work: impl FnOnce(&dyn Disk) -> Result<()>) -> Result<()> {
    let hooked = crate::chaos::HookedDisk::new(disk, sector_bytes)?;
    work(&hooked)
}

#[cfg(not(feature = "chaos"))]
fn with_hook(disk: &FileDisk, _sector_bytes: u32, work: impl FnOnce(&dyn Disk) -> Result<()>) -> Result<()> {
    work(disk)
}

fn resolve(args: &Args, table: &Table) -> Result<Request> {
    let mut request = Request { preserve_numbers: args.preserve_numbers, ..Request::default() };
    for GrowArg { partition, len_bytes } in &args.grow_partition {
        request.goals.push(Goal { index: partition.resolve(table)?, len_bytes: *len_bytes });
    }
    if let Some(ShrinkArg { partition, len_bytes }) = &args.shrink_partition {
        request.reserve = Some(Reserve { index: partition.resolve(table)?, len_bytes: *len_bytes });
    }
    Ok(request)
}

/// Once a relocated partition has left its index, a command that names it by index would not find it again, and
/// one that was killed in between could not be completed.
fn refuse_unresumable(args: &Args, request: &Request, plan: &Plan) -> Result<()> {
    for (arg, goal) in args.grow_partition.iter().zip(&request.goals) {
        let leaves = plan.moves.iter().any(|step| step.index == goal.index && step.final_index != goal.index);
        if leaves && matches!(arg.partition, Identifier::Index(_)) {
            return Err(UsageError::IndexChanges { index: goal.index }.into());
        }
    }
    Ok(())
}

fn touched(plan: &Plan) -> Vec<u32> {
    let shrunk = plan.shrinks.iter().map(|step| step.index);
    let moved = plan.moves.iter().flat_map(|step| [step.index, step.new_index]);
    shrunk.chain(moved).collect()
}

fn show_plan(table: &Table, plan: &Plan, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "before:\n{}", View(table))?;
    writeln!(out, "after:\n{}", View(&plan.updated))?;
    out.flush()
}

/// A reader that has seen enough is no failure.
fn ignore_closed_output(error: io::Error) -> Result<()> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(crate::error::Error::Io { what: "write to", path: "standard output".into(), source: error }),
    }
}
