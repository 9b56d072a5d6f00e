//! `image-tools gc`: deletes old disk images of a home that no overlay needs.
//!
//! Exit codes: 0 done · 1 a chain or a folder could not be read, and nothing was deleted, or a deletion failed · 2 what was
//! named is no home.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use disk_guard::images::{CollectError, Collected, Collector, GRACE, Image};
use serde::Serialize;

use crate::options::{ERROR_PREFIX, Format, complain, explain, now, print_json};
use crate::planted;

/// Arguments of `gc`.
#[derive(Clone, Debug, Args)]
pub struct GcArgs {
    /// Folder with `images/disk-images` and `boxes`.
    pub home: PathBuf,
    /// List what would be deleted, and delete nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// How ages are told.
    #[command(flatten)]
    pub age: AgeArgs,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How ages are told.
#[derive(Clone, Debug, Args)]
pub struct AgeArgs {
    /// Images that changed within so many seconds stay.
    #[arg(long, value_name = "SECONDS", default_value_t = GRACE.as_secs())]
    pub grace: u64,
    /// Ages count from this time, in seconds since 1970 (default: now).
    #[arg(long, value_name = "SECONDS")]
    pub now: Option<u64>,
}

impl AgeArgs {
    /// The collector for a home.
    pub fn collector(&self, home: PathBuf, dry_run: bool) -> Collector {
        let grace_s = if planted::is_active("grace-0") { 0 } else { self.grace };
        Collector {
            grace: Duration::from_secs(grace_s),
            now: now(self.now),
            dry_run,
            #[cfg(feature = "planted")]
            chain_error_is_end: planted::is_active("chain-error-is-end"),
            ..Collector::new(home)
        }
    }
}

/// The result as JSON.
#[derive(Debug, Serialize)]
pub struct Summary {
    dry_run: bool,
    deleted: Vec<Image>,
    len_bytes: u64,
    allocated_bytes: u64,
    pinned: u64,
    young: u64,
    changed: u64,
    unreadable: Vec<String>,
    error: Option<String>,
}

/// What became of a collection.
#[derive(Debug)]
pub struct Outcome {
    /// What was done.
    pub collected: Collected,
    /// Why it is not all.
    pub error: Option<CollectError>,
}

impl From<Result<Collected, CollectError>> for Outcome {
    fn from(result: Result<Collected, CollectError>) -> Self {
        match result {
            Ok(collected) => Self { collected, error: None },
            Err(CollectError::Delete { path, source, mut before }) => {
                let collected = std::mem::take(&mut *before);
                Self { collected, error: Some(CollectError::Delete { path, source, before }) }
            }
            Err(CollectError::Sync { path, source, mut before }) => {
                let collected = std::mem::take(&mut *before);
                Self { collected, error: Some(CollectError::Sync { path, source, before }) }
            }
            Err(error) => Self { collected: Collected::default(), error: Some(error) },
        }
    }
}

impl Outcome {
    /// The exit code of a collection.
    pub fn exit(&self) -> u8 {
        match &self.error {
            Some(CollectError::NoHome { .. }) => 2,
            Some(_) => 1,
            None => u8::from(!self.collected.unreadable.is_empty()),
        }
    }

    /// As JSON.
    pub fn summary(self, dry_run: bool) -> Summary {
        let Collected { pinned, young, changed, .. } = self.collected;
        Summary {
            dry_run,
            len_bytes: self.collected.len_bytes(),
            allocated_bytes: self.collected.allocated_bytes(),
            pinned,
            young,
            changed,
            unreadable: self.collected.unreadable.iter().map(|error| explain(error)).collect(),
            deleted: self.collected.deleted,
            error: self.error.as_ref().map(|error| explain(error)),
        }
    }

    /// In words: what was done to `out`, what is wrong to `err`.
    pub fn print(&self, dry_run: bool, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
        for error in &self.collected.unreadable {
            writeln!(err, "{ERROR_PREFIX}{}; nothing was deleted", explain(error))?;
        }
        if let Some(error) = &self.error {
            complain(err, error)?;
        }
        let done = if dry_run { "would delete" } else { "deleted" };
        for Image { path, len_bytes, .. } in &self.collected.deleted {
            writeln!(out, "{done} {} ({len_bytes} bytes)", path.display())?;
        }
        let collected = &self.collected;
        writeln!(
            out,
            "{done} {} images: {} bytes long, {} on the disk; kept {} that are needed and {} that are young",
            collected.deleted.len(),
            collected.len_bytes(),
            collected.allocated_bytes(),
            collected.pinned,
            collected.young + collected.changed,
        )
    }
}

/// Runs the command; answers its exit code.
pub fn run(args: &GcArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let outcome = Outcome::from(args.age.collector(args.home.clone(), args.dry_run).collect());
    let exit = outcome.exit();
    match args.format {
        Format::Human => outcome.print(args.dry_run, out, err)?,
        Format::Json => print_json(out, &outcome.summary(args.dry_run))?,
    }
    Ok(exit)
}
