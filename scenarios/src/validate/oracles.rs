//! What the oracles of a scenario must satisfy: the files, partitions and phases that they name exist, as far as that is
//! known before the fixture is built, and every string that selects something can be read.

use std::collections::BTreeSet;
use std::path::Path;

use super::{duration, volume_path};
use crate::error::{Fault, Problem};
use crate::fixture::layout::{self, Layout};
use crate::locate::{Step, key_path};
use crate::model::{ContentSpec, FileSystem, Mask, Oracle, PartitionRef, Scenario, Target, offset, range};

/// Checks all oracles; `layout` is there where a disk is declared.
pub(super) fn check(scenario: &Scenario, layout: Option<&Layout>) -> Result<(), Fault> {
    let mut names = BTreeSet::new();
    for (place, oracle) in scenario.oracle.iter().enumerate() {
        phases(scenario, oracle, place)?;
        strings(oracle, place)?;
        if let Oracle::Command { name, .. } = oracle
            && !names.insert(name.as_str())
        {
            let problem = Problem::DuplicateOracle(name.clone());
            return Err(Fault::new(key_path!["oracle", place, "name"], problem));
        }
    }
    if let Some(known) = scenario.fixture.file_names() {
        let listing = || known.iter().map(|name| (*name).to_owned()).collect();
        files_of_oracles(scenario, &|file| known.contains(&file), &listing)?;
    }
    if let Some(layout) = layout {
        for (place, oracle) in scenario.oracle.iter().enumerate() {
            partitions(scenario, layout, oracle, place)?;
        }
    }
    Ok(())
}

/// Every file that an oracle names is in the volume, as `exists` tells; `known` lists the volume for the message.
pub(crate) fn files_of_oracles(
    scenario: &Scenario,
    exists: &dyn Fn(&str) -> bool,
    known: &dyn Fn() -> Vec<String>,
) -> Result<(), Fault> {
    let look = |file: &str, path: Vec<Step>| {
        if exists(file) {
            return Ok(());
        }
        Err(Fault::new(path, Problem::UnknownFile { file: file.to_owned(), known: known() }))
    };
    for (place, oracle) in scenario.oracle.iter().enumerate() {
        if let Some(file) = oracle.file() {
            look(file, key_path!["oracle", place, "file"])?;
        }
        match oracle {
            Oracle::Untouched { files, .. } => {
                for (item, file) in files.iter().enumerate() {
                    look(file, key_path!["oracle", place, "files", item])?;
                }
            }
            Oracle::Baseline { mask, .. } => {
                for (item, text) in mask.iter().enumerate() {
                    if let Some(Mask::Range { file: Some(file), .. }) = Mask::parse(text) {
                        look(&file, key_path!["oracle", place, "mask", item])?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn phases(scenario: &Scenario, oracle: &Oracle, place: usize) -> Result<(), Fault> {
    for (item, wanted) in oracle.phases().iter().enumerate() {
        if !scenario.phase.iter().any(|phase| phase.name == *wanted) {
            let known = scenario.phase.iter().map(|phase| phase.name.clone()).collect();
            let problem = Problem::UnknownPhase { name: wanted.clone(), known };
            return Err(Fault::new(key_path!["oracle", place, "phases", item], problem));
        }
    }
    Ok(())
}

/// What can be read from an oracle's strings alone.
fn strings(oracle: &Oracle, place: usize) -> Result<(), Fault> {
    let path = |key: &str| key_path!["oracle", place, key];
    let item = |key: &str, item: usize| key_path!["oracle", place, key, item];
    if let Some(file) = oracle.file() {
        volume_path(file, path("file"))?;
    }
    match oracle {
        Oracle::Baseline { accept, mask } => {
            if accept.is_empty() {
                return Err(Fault::new(path("accept"), Problem::NothingAccepted));
            }
            if let Some(at) = mask.iter().position(|text| Mask::parse(text).is_none()) {
                return Err(Fault::new(item("mask", at), Problem::Mask(mask[at].clone())));
            }
        }
        Oracle::Untouched { partitions, ranges, files, .. } => {
            if partitions.is_empty() && ranges.is_empty() && files.is_empty() {
                return Err(Fault::new(path("kind"), Problem::NothingUntouched));
            }
            if let Some(at) = ranges.iter().position(|text| range(text).is_none()) {
                return Err(Fault::new(item("ranges", at), Problem::Range(ranges[at].clone())));
            }
            for (at, file) in files.iter().enumerate() {
                volume_path(file, item("files", at))?;
            }
        }
        Oracle::Fsck { partitions, offset: at, .. } | Oracle::Content { partitions, offset: at, .. } => {
            if Target::parse(partitions, at.as_deref()).is_none() {
                let text = at.clone().unwrap_or_default();
                let unreadable = offset(&text).is_none();
                let problem = if unreadable { Problem::Offset(text) } else { Problem::OffsetAndPartitions };
                return Err(Fault::new(path("offset"), problem));
            }
        }
        Oracle::Command { name, run, pass, not_measured, time_limit, prove, .. } => {
            if name.trim().is_empty() {
                return Err(Fault::new(path("name"), Problem::EmptyName));
            }
            if run.is_empty() {
                return Err(Fault::new(path("run"), Problem::EmptyCommand));
            }
            if prove.as_ref().is_some_and(Vec::is_empty) {
                return Err(Fault::new(path("prove"), Problem::EmptyCommand));
            }
            if pass.is_empty() {
                return Err(Fault::new(path("pass"), Problem::NoExit));
            }
            if let Some(at) = not_measured.iter().position(|code| pass.contains(code)) {
                return Err(Fault::new(item("not_measured", at), Problem::TwoMeanings(not_measured[at])));
            }
            duration(time_limit, path("time_limit"))?;
        }
        Oracle::Isolation { source, fork, .. } => {
            volume_path(source, path("source"))?;
            volume_path(fork, path("fork"))?;
            let (above, below) = (Path::new(source), Path::new(fork));
            if above.starts_with(below) || below.starts_with(above) {
                return Err(Fault::new(path("fork"), Problem::NotApart(source.clone())));
            }
        }
        Oracle::Gpt { .. } | Oracle::Idempotent {} | Oracle::Durable { .. } => {}
    }
    Ok(())
}

/// What a declared disk tells about the partitions that an oracle names.
fn partitions(scenario: &Scenario, layout: &Layout, oracle: &Oracle, place: usize) -> Result<(), Fault> {
    if let Oracle::Fsck { partitions, offset: None, .. } | Oracle::Content { partitions, offset: None, .. } =
        oracle
        && partitions.is_empty()
    {
        // A declared disk is never a bare file system.
        return Err(Fault::new(key_path!["oracle", place, "partitions"], Problem::NoPartitions));
    }
    for (item, text) in oracle.partitions().iter().enumerate() {
        let path = key_path!["oracle", place, "partitions", item];
        let wanted = PartitionRef::parse(text);
        let found = layout.partitions.iter().find(|placed| match &wanted {
            PartitionRef::Label(label) => placed.label == *label,
            PartitionRef::Index(index) => placed.index == *index,
        });
        let Some(placed) = found else {
            let known = layout::labels(layout).into_iter().map(str::to_owned).collect();
            return Err(Fault::new(path, Problem::UnknownPartition { label: text.clone(), known }));
        };
        let content = &scenario.fixture.partition[placed.spec].content;
        if let Oracle::Fsck { fs: None, .. } = oracle
            && checker_of(content).is_none()
        {
            return Err(Fault::new(path, Problem::NoChecker(text.clone())));
        }
    }
    Ok(())
}

/// The file system that a declared partition holds.
fn checker_of(content: &ContentSpec) -> Option<FileSystem> {
    match content {
        ContentSpec::Ext4 { .. } => Some(FileSystem::Ext4),
        ContentSpec::Fat { .. } => Some(FileSystem::Vfat),
        ContentSpec::Raw { .. } | ContentSpec::Squashfs { .. } => None,
    }
}
