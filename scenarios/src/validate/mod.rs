//! What a scenario must satisfy beyond its types: names that refer to each other, numbers in range, a fixture that is
//! possible. Each check answers with the path of the key that is wrong; the caller shows the line.

mod oracles;

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(crate) use oracles::files_of_oracles;

use crate::assets::Source;
use crate::error::{Fault, Problem};
use crate::expected::{EXPECTED_SCHEMA, Expected, FINDING_VERDICTS};
use crate::fixture::layout::{self, Layout};
use crate::locate::{Step, key_path};
use crate::model::{Fixture, FixtureKind, Phase, SCHEMA, Scenario};
use crate::patterns;

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
        patterns::check(phase, place)?;
    }
    Ok(())
}

/// Checks of the scenario as it will be run.
pub(crate) fn as_resolved(scenario: &Scenario) -> Result<(), Fault> {
    let layout = fixture(&scenario.fixture)?;
    for (place, phase) in scenario.phase.iter().enumerate() {
        duration(&phase.time_limit, key_path!["phase", place, "time_limit"])?;
        if let Some(layout) = &layout {
            labels(&phase.copies, layout, |item| key_path!["phase", place, "copies", item])?;
        }
    }
    oracles::check(scenario, layout.as_ref())
}

/// Reads the expected findings that a scenario names.
pub(crate) fn expected(scenario: &Scenario, source: &Source<'_>) -> Result<Expected, Fault> {
    let Some(expect) = &scenario.expect else { return Ok(Expected::default()) };
    let file = &expect.findings;
    let fault = |problem| Fault::new(key_path!["expect", "findings"], problem);
    let read = |source| fault(Problem::HelperFile { file: file.clone(), source });
    let text = source.text(file).map_err(read)?;
    let unreadable = |source| fault(Problem::Expected { file: file.clone(), source });
    let expected = Expected::parse(&text).map_err(unreadable)?;
    if expected.schema != EXPECTED_SCHEMA {
        return Err(fault(Problem::ExpectedSchema { file: file.clone(), found: expected.schema }));
    }
    let phases: Vec<&str> = scenario.phase.iter().map(|phase| phase.name.as_str()).collect();
    for (place, finding) in expected.findings.iter().enumerate() {
        for (what, name, known) in [
            ("phase", &finding.phase, phases.as_slice()),
            ("finding's verdict", &finding.verdict, FINDING_VERDICTS.as_slice()),
        ] {
            if !known.contains(&name.as_str()) {
                let known = known.iter().map(|name| (*name).to_owned()).collect();
                let (file, name, number) = (file.clone(), name.clone(), place + 1);
                return Err(fault(Problem::ExpectedFinding { file, number, what, name, known }));
            }
        }
    }
    Ok(expected)
}

/// Exactly one way to make the volume, and a possible one; the layout where a disk is declared.
fn fixture(fixture: &Fixture) -> Result<Option<Layout>, Fault> {
    let ways = [
        ("disk", fixture.disk.is_some()),
        ("command", fixture.command.is_some()),
        ("files", fixture.files.is_some()),
    ];
    let given: Vec<&str> = ways.into_iter().filter_map(|(way, given)| given.then_some(way)).collect();
    if given.len() != 1 {
        let found: Vec<String> = given.iter().map(|way| (*way).to_owned()).collect();
        let problem = match given.is_empty() && !fixture.partition.is_empty() {
            true => Problem::PartitionsWithoutDisk,
            false => Problem::FixtureKinds { found },
        };
        // The last one is the one too many; where none is given, the table itself is shown.
        let path = key_path!["fixture"].into_iter().chain(given.last().map(|way| Step::from(*way)));
        return Err(Fault::new(path.collect(), problem));
    }
    if fixture.kind() != FixtureKind::Builder && !fixture.partition.is_empty() {
        return Err(Fault::new(key_path!["fixture", "partition", 0], Problem::PartitionsWithoutDisk));
    }
    if fixture.command.as_ref().is_some_and(Vec::is_empty) {
        return Err(Fault::new(key_path!["fixture", "command"], Problem::EmptyCommand));
    }
    if let Some(files) = &fixture.files {
        if files.is_empty() {
            return Err(Fault::new(key_path!["fixture", "files"], Problem::NoFiles));
        }
        for name in files.keys() {
            volume_path(name, key_path!["fixture", "files", name.as_str()])?;
        }
    }
    let Some(disk) = fixture.disk() else { return Ok(None) };
    let file = &disk.file;
    if file.is_empty() || file.contains('/') || file == "." || file == ".." {
        return Err(Fault::new(key_path!["fixture", "disk", "file"], Problem::FileName(file.clone())));
    }
    layout::place(disk, &fixture.partition).map(Some)
}

/// A relative path that stays inside the volume, spelt as a listing of it would.
fn volume_path(text: &str, path: Vec<Step>) -> Result<(), Fault> {
    if text.split('/').all(|name| !["", ".", ".."].contains(&name)) {
        return Ok(());
    }
    Err(Fault::new(path, Problem::VolumePath(text.to_owned())))
}

fn duration(text: &str, path: Vec<Step>) -> Result<(), Fault> {
    match humantime::parse_duration(text) {
        Ok(_) => Ok(()),
        Err(source) => Err(Fault::new(path, Problem::Duration { text: text.to_owned(), source })),
    }
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

/// Where a toml error stands. Tables that are chosen by their `kind` lose the place of what is inside them, so that the
/// error of an unknown key or word points at the whole table: it is the first such key or word from there on.
pub(crate) fn span_of_toml_error(text: &str, error: &toml::de::Error) -> Option<Range<usize>> {
    let span = error.span()?;
    let named = |what: &str| Some(error.message().strip_prefix(what)?.split_once('`')?.0.to_owned());
    let wanted = match (named("unknown field `"), named("unknown variant `")) {
        (Some(key), _) => Wanted::Key(key),
        (None, Some(word)) => Wanted::Word(word),
        (None, None) => return Some(span),
    };
    let root = DeTable::parse(text).ok()?;
    let mut found = Vec::new();
    places_in(root.get_ref(), &wanted, &mut found);
    found.into_iter().filter(|place| place.start >= span.start).min_by_key(|place| place.start).or(Some(span))
}

/// What an error is about.
enum Wanted {
    /// A key.
    Key(String),
    /// A value that is this text.
    Word(String),
}

fn places_in(table: &DeTable<'_>, wanted: &Wanted, found: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        if matches!(wanted, Wanted::Key(name) if key.get_ref() == name) {
            found.push(key.span());
        }
        places_in_value(value, wanted, found);
    }
}

fn places_in_value(value: &Spanned<DeValue<'_>>, wanted: &Wanted, found: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => places_in(table, wanted, found),
        DeValue::Array(items) => items.iter().for_each(|item| places_in_value(item, wanted, found)),
        DeValue::String(text) if matches!(wanted, Wanted::Word(word) if text == word) => {
            found.push(value.span());
        }
        _ => {}
    }
}
