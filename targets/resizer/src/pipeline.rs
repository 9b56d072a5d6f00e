//! The six steps that carry out a plan.
//!
//! Each looks at the disk and does only what is missing there, so a run that was killed anywhere is completed by
//! the same command. Every table change is one write of the table, and what it relies on is made durable before,
//! whichever run wrote it ([`Barrier`]).

use std::io::Write;

use ::gpt::disk::LogicalBlockSize;

use crate::barrier::Barrier;
use crate::content::Content;
use crate::disk::{Disk, Extent};
use crate::error::{Error, Result};
use crate::fstools::{self, Tools};
use crate::gpt::{self, Table};
use crate::plan::{Move, Plan, Shrink};
use crate::size::MIB;
use crate::usage::UsageError;
use crate::view::View;
use crate::{ext4, fat, patch, planted, raw};

/// How the steps are carried out.
pub struct Settings {
    /// Whether damaged file systems are repaired.
    pub fix_errors: bool,
    /// Whether the table is shown at each step's boundary.
    pub verbose: bool,
    /// What the file-system programs need.
    pub tools: Tools,
}

/// A run of the pipeline on one disk.
pub struct Pipeline<'a> {
    disk: Barrier<'a>,
    sector_size: LogicalBlockSize,
    plan: &'a Plan,
    settings: &'a Settings,
    out: &'a mut dyn Write,
}

impl<'a> Pipeline<'a> {
    /// Prepares a run of `plan`, which was made from the table that is on `disk`. Step marks go to `out`.
    pub fn new(
        disk: &'a dyn Disk,
        sector_size: LogicalBlockSize,
        plan: &'a Plan,
        settings: &'a Settings,
        out: &'a mut dyn Write,
    ) -> Pipeline<'a> {
        Pipeline { disk: Barrier::new(disk), sector_size, plan, settings, out }
    }

    /// Carries out all steps. Everything is durable on return.
    pub fn run(mut self) -> Result<()> {
        self.mark("preflight")?;
        self.preflight()?;
        self.mark("shrinkFilesystems")?;
        self.shrink_filesystems()?;
        self.mark("shrinkPartitions")?;
        self.put_table(&self.plan.shrunk)?;
        self.mark("createPartitions")?;
        self.put_table(&self.plan.created)?;
        self.mark("copyFilesystems")?;
        self.copy_filesystems()?;
        self.mark("updatePartitions")?;
        self.put_table(&self.final_table()?)?;
        self.show_table()?;
        if planted::active() == Some(planted::Bug::NoFlushPrimary) {
            return Ok(());
        }
        // The last table's; and where all was done already, the run that did it may have been killed before its flush.
        patch::flush(&self.disk)
    }

    /// Announces a step. A reader that went away must not stop the work half way, so errors are of no account.
    fn mark(&mut self, step: &str) -> Result<()> {
        self.show_table()?;
        let _ = writeln!(self.out, "step: {step}").and_then(|()| self.out.flush());
        Ok(())
    }

    fn show_table(&mut self) -> Result<()> {
        if self.settings.verbose {
            let found = gpt::read(&self.disk, self.sector_size)?;
            let _ = write!(self.out, "{}", View(&found.table)).and_then(|()| self.out.flush());
        }
        Ok(())
    }

    /// Makes `table` the disk's, and durable what was done so far, since the new table relies on it.
    fn put_table(&self, table: &Table) -> Result<()> {
        if gpt::read(&self.disk, self.sector_size)?.table != *table {
            gpt::write(&self.disk, table)?;
        }
        Ok(())
    }

    fn extent(&self, span: gpt::Span) -> Extent {
        self.plan.updated.extent(span)
    }

    /// Everything that may be refused is looked at before anything is changed, but for what a killed run has left
    /// half done: that is completed first, as neither size nor soundness of such a file system can be judged.
    fn preflight(&self) -> Result<()> {
        let plan = self.plan;
        let shrunk = plan.shrinks.iter().map(|step| (step.index, step.from));
        let moved = plan.moves.iter().map(|step| (step.index, step.from));
        for (index, span) in shrunk.chain(moved) {
            if let Some(entry) = plan.shrunk.entry(index) {
                ext4::recover(&self.disk, self.extent(span), entry.guid().as_bytes())?;
            }
        }
        let judged = self.judge();
        match judged {
            // Damage may be why it can't be judged, and was allowed to be repaired.
            Err(Error::BadContent { .. }) if self.settings.fix_errors => {
                self.check_filesystems()?;
                self.judge()?;
            }
            other => {
                other?;
                self.check_filesystems()?;
                if self.settings.fix_errors {
                    self.judge()?;
                }
            }
        }
        gpt::heal(&self.disk, self.sector_size).map(drop)
    }

    fn judge(&self) -> Result<()> {
        judge(&self.disk, self.plan)
    }

    fn check_filesystems(&self) -> Result<()> {
        let Settings { fix_errors: fix, tools, .. } = self.settings;
        let shrunk = self.plan.shrinks.iter().map(|step| step.from);
        let moved = self.plan.moves.iter().map(|step| step.from);
        for span in shrunk.chain(moved) {
            let at = self.extent(span);
            match Content::probe(&self.disk, at)? {
                Content::Ext4 => fstools::check_ext4(&self.disk, at, *fix, tools)?,
                Content::Fat => fstools::check_fat(&self.disk, at, *fix, tools)?,
                Content::Squashfs | Content::Unknown => {}
            }
        }
        // Later steps take blocks that a repair has freed, perhaps one that a killed run made.
        if *fix { patch::flush(&self.disk) } else { Ok(()) }
    }

    fn shrink_filesystems(&self) -> Result<()> {
        for Shrink { index, from, to } in &self.plan.shrinks {
            if let Some(entry) = self.plan.shrunk.entry(*index) {
                let wanted = filesystem_len(self.extent(*to));
                let at = self.extent(*from);
                ext4::shrink(&self.disk, at, entry.guid().as_bytes(), wanted, &self.settings.tools)?;
            }
        }
        Ok(())
    }

    fn copy_filesystems(&self) -> Result<()> {
        for Move { from, to, .. } in &self.plan.moves {
            let (source, target) = (self.extent(*from), self.extent(*to));
            match Content::probe(&self.disk, source)? {
                Content::Fat => fat::relocate(&self.disk, source, target)?,
                Content::Ext4 => ext4::relocate(&self.disk, source, target, &self.settings.tools)?,
                Content::Squashfs | Content::Unknown => raw::relocate(&self.disk, source, target)?,
            }
        }
        Ok(())
    }

    /// The table of the last step, which is the plan's but for the deliberate bug.
    fn final_table(&self) -> Result<Table> {
        let mut table = self.plan.updated.clone();
        if planted::active() == Some(planted::Bug::RandomGuid) {
            for step in self.plan.moves.iter().filter(|step| step.begun) {
                if let Some(entry) = self.plan.updated.entry(step.final_index) {
                    let guid = planted::random_guid(entry.guid());
                    table.set(step.final_index, entry.renamed(entry.name().to_owned(), guid)?);
                }
            }
        }
        Ok(table)
    }
}

/// The size of a shrunk file system in a partition: whole MiB.
fn filesystem_len(partition: Extent) -> u64 {
    partition.len_bytes / MIB * MIB
}

/// Refuses what can't be carried out because of what the partitions hold. Only reads.
pub fn judge(disk: &dyn Disk, plan: &Plan) -> Result<()> {
    for Shrink { index, from, to } in &plan.shrinks {
        let (at, to) = (plan.updated.extent(*from), plan.updated.extent(*to));
        let content = Content::probe(disk, at)?;
        if content != Content::Ext4 {
            let (present_bytes, wanted_bytes) = (at.len_bytes, to.len_bytes);
            let content = content.name();
            return Err(
                UsageError::NotShrinkable { index: *index, content, present_bytes, wanted_bytes }.into()
            );
        }
        ext4::check_shrink(disk, at, filesystem_len(to))?;
    }
    for Move { from, to, .. } in &plan.moves {
        let (source, target) = (plan.updated.extent(*from), plan.updated.extent(*to));
        match Content::probe(disk, source)? {
            Content::Fat => fat::check_growable(disk, source, target.len_bytes)?,
            Content::Ext4 => ext4::check_relocation(disk, source)?,
            Content::Squashfs | Content::Unknown => {}
        }
    }
    Ok(())
}
