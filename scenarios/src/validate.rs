//! What a scenario must satisfy beyond its types: names that refer to each other, numbers in range, a fixture that is a
//! possible disk. Each check answers with the path of the key that is wrong; the caller shows the line.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::DeTable;

use crate::error::{Fault, Problem};
use crate::fixture::layout::{self, Layout};
use crate::locate::{Step, key_path};
use crate::model::{ContentSpec, Oracle, Phase, SCHEMA, Scenario};
use crate::size;

/// Checks that need no placeholder filled in.
pub(crate) fn as_written(scenario: &Scenario) -> Result<(), Fault> {
    if scenario.schema != SCHEMA {
        return Err(Fault::new(key_path!["schema"], Problem::Schema { found: scenario.schema }));
    }
    name(&scenario.name, key_path!["name"])?;
    scales(scenario)?;
    if scenario.phase.is_empty() {
        return Err(Fault::new(key_path!["phase"], Problem::NoPhase));
    }
    let mut seen = BTreeSet::new();
    for (place, phase) in scenario.phase.iter().enumerate() {
        name(&phase.name, key_path!["phase", place, "name"])?;
        if !seen.insert(&phase.name) {
            let problem = Problem::DuplicatePhase(phase.name.clone());
            return Err(Fault::new(key_path!["phase", place, "name"], problem));
        }
        commands(phase, place)?;
    }
    Ok(())
}

/// Checks of the scenario as it will be run.
pub(crate) fn as_resolved(scenario: &Scenario) -> Result<(), Fault> {
    let file = &scenario.fixture.disk.file;
    if file.is_empty() || file.contains('/') || file == "." || file == ".." {
        return Err(Fault::new(key_path!["fixture", "disk", "file"], Problem::FileName(file.clone())));
    }
    let layout = layout::place(&scenario.fixture)?;
    for (place, phase) in scenario.phase.iter().enumerate() {
        if let Err(source) = humantime::parse_duration(&phase.time_limit) {
            let problem = Problem::Duration { text: phase.time_limit.clone(), source };
            return Err(Fault::new(key_path!["phase", place, "time_limit"], problem));
        }
        labels(&phase.copies, &layout, |item| key_path!["phase", place, "copies", item])?;
    }
    for (place, oracle) in scenario.oracle.iter().enumerate() {
        check_oracle(scenario, &layout, oracle, place)?;
    }
    Ok(())
}

fn name(text: &str, path: Vec<Step>) -> Result<(), Fault> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !text.is_empty() && text.bytes().all(fits) && !text.starts_with('-') {
        return Ok(());
    }
    Err(Fault::new(path, Problem::BadName(text.to_owned())))
}

fn scales(scenario: &Scenario) -> Result<(), Fault> {
    let known: Vec<String> = scenario.scale.keys().cloned().collect();
    match &scenario.default_scale {
        None if known.is_empty() => {}
        None => return Err(Fault::new(key_path!["scale"], Problem::NoDefaultScale(known))),
        Some(default) if known.contains(default) => {}
        Some(default) => {
            let problem = Problem::BadDefaultScale { default: default.clone(), known };
            return Err(Fault::new(key_path!["default_scale"], problem));
        }
    }
    let all: BTreeSet<&String> = scenario.scale.values().flat_map(|values| values.keys()).collect();
    for (scale, values) in &scenario.scale {
        if let Some(lacking) = all.iter().find(|placeholder| !values.contains_key(**placeholder)) {
            let problem = Problem::ScaleLacks { scale: scale.clone(), placeholder: (*lacking).clone() };
            return Err(Fault::new(key_path!["scale", scale.as_str()], problem));
        }
    }
    Ok(())
}

fn commands(phase: &Phase, place: usize) -> Result<(), Fault> {
    if phase.run.is_empty() {
        return Err(Fault::new(key_path!["phase", place, "run"], Problem::EmptyCommand));
    }
    if phase.run_exit.is_empty() {
        return Err(Fault::new(key_path!["phase", place, "run_exit"], Problem::NoExit));
    }
    if let Some(item) = phase.resume.iter().position(Vec::is_empty) {
        return Err(Fault::new(key_path!["phase", place, "resume", item], Problem::EmptyCommand));
    }
    if let Some(item) = phase.resume_exit.iter().position(Vec::is_empty) {
        return Err(Fault::new(key_path!["phase", place, "resume_exit", item], Problem::NoExit));
    }
    // Without `resume` the run itself resumes, and may have one list.
    let commands = phase.resume.len().max(1);
    if !phase.resume_exit.is_empty() && phase.resume_exit.len() != commands {
        let problem = Problem::ResumeExitCount { commands, exits: phase.resume_exit.len() };
        return Err(Fault::new(key_path!["phase", place, "resume_exit"], problem));
    }
    Ok(())
}

fn labels(names: &[String], layout: &Layout, path: impl Fn(usize) -> Vec<Step>) -> Result<(), Fault> {
    let known = layout::labels(layout);
    for (item, label) in names.iter().enumerate() {
        if !known.contains(label.as_str()) {
            let known = known.iter().map(|label| (*label).to_owned()).collect();
            let problem = Problem::UnknownPartition { label: label.clone(), known };
            return Err(Fault::new(path(item), problem));
        }
    }
    Ok(())
}

fn check_oracle(scenario: &Scenario, layout: &Layout, oracle: &Oracle, place: usize) -> Result<(), Fault> {
    let path = |key: &str| key_path!["oracle", place, key];
    let (file, partitions) = match oracle {
        Oracle::Baseline { mask: masks } => {
            for (item, text) in masks.iter().enumerate() {
                mask(text, key_path!["oracle", place, "mask", item])?;
            }
            return Ok(());
        }
        Oracle::Gpt { file, .. } => (file, None),
        Oracle::Untouched { file, partitions, .. }
        | Oracle::Fsck { file, partitions, .. }
        | Oracle::Content { file, partitions, .. } => (file, Some(partitions)),
    };
    if *file != scenario.fixture.disk.file {
        let known = scenario.fixture.disk.file.clone();
        return Err(Fault::new(path("file"), Problem::UnknownFile { file: file.clone(), known }));
    }
    if let Some(partitions) = partitions {
        if partitions.is_empty() {
            return Err(Fault::new(path("partitions"), Problem::NoPartitions));
        }
        labels(partitions, layout, |item| key_path!["oracle", place, "partitions", item])?;
    }
    match oracle {
        Oracle::Untouched { phases, .. } => check_phases(scenario, phases, place),
        Oracle::Fsck { partitions, .. } => check_checkers(scenario, layout, partitions, place),
        Oracle::Baseline { .. } | Oracle::Gpt { .. } | Oracle::Content { .. } => Ok(()),
    }
}

fn check_phases(scenario: &Scenario, phases: &[String], place: usize) -> Result<(), Fault> {
    for (item, wanted) in phases.iter().enumerate() {
        if !scenario.phase.iter().any(|phase| phase.name == *wanted) {
            let known = scenario.phase.iter().map(|phase| phase.name.clone()).collect();
            let problem = Problem::UnknownPhase { name: wanted.clone(), known };
            return Err(Fault::new(key_path!["oracle", place, "phases", item], problem));
        }
    }
    Ok(())
}

fn check_checkers(
    scenario: &Scenario,
    layout: &Layout,
    labels: &[String],
    place: usize,
) -> Result<(), Fault> {
    for (item, label) in labels.iter().enumerate() {
        let placed = layout.partitions.iter().find(|placed| placed.label == *label);
        let content = placed.map(|placed| &scenario.fixture.partition[placed.spec].content);
        if !matches!(content, Some(ContentSpec::Fat { .. } | ContentSpec::Ext4 { .. })) {
            let path = key_path!["oracle", place, "partitions", item];
            return Err(Fault::new(path, Problem::NoChecker(label.clone())));
        }
    }
    Ok(())
}

fn mask(text: &str, path: Vec<Step>) -> Result<(), Fault> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => size::parse(text).ok(),
    };
    let range = text.split_once('+').and_then(|(start, len)| number(start)?.checked_add(number(len)?));
    if text == "unallocated" || range.is_some() {
        return Ok(());
    }
    Err(Fault::new(path, Problem::Mask(text.to_owned())))
}

/// Where a toml error stands. Tables that are chosen by their `kind` lose the place of what is inside them, so that an
/// unknown key's error points at the whole table: the key is the first of that name from there on.
pub(crate) fn span_of_toml_error(text: &str, error: &toml::de::Error) -> Option<Range<usize>> {
    let span = error.span()?;
    let unknown = error.message().strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
    let (Some((name, _)), Ok(root)) = (unknown, DeTable::parse(text)) else {
        return Some(span);
    };
    let mut keys = Vec::new();
    keys_named(name, root.get_ref(), &mut keys);
    keys.into_iter().filter(|key| key.start >= span.start).min_by_key(|key| key.start).or(Some(span))
}

fn keys_named(name: &str, table: &DeTable<'_>, found: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        if key.get_ref() == name {
            found.push(key.span());
        }
        let single = value.get_ref().as_table();
        let several = value.get_ref().as_array().into_iter().flatten();
        for inner in single.into_iter().chain(several.filter_map(|item| item.get_ref().as_table())) {
            keys_named(name, inner, found);
        }
    }
}
