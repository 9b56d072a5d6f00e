//! Scenario files: what they mean, the ones that ship, and the builders of the fixtures that they name. A scenario is
//! declared, never programmed: loading one runs nothing, and a wrong file is refused with its line.

#![forbid(unsafe_code)]

mod assets;
pub mod error;
pub mod expected;
pub mod fixture;
mod locate;
pub mod model;
mod near;
pub mod patterns;
pub mod placeholder;
pub mod programs;
mod shipped;
pub mod size;
mod validate;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use assets::Assets;
use assets::Source;
pub use error::{Fault, Problem, ScenarioError};
pub use expected::{Expected, ExpectedFinding};
pub use fixture::FixtureError;
pub use locate::{Place, Step};
use locate::{key_path, span_of};
pub use model::Scenario;
pub use patterns::LinePattern;
pub use shipped::{Shipped, shipped};

/// A scenario with its placeholders filled in, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The scenario; of the placeholders only those of the run (`{volume}`) are left.
    pub scenario: Scenario,
    /// The scale that was filled in, where the scenario has any.
    pub scale: Option<String>,
    /// Where the file lies, for `{scenario_dir}`; the current folder for one that ships (see `assets`).
    pub dir: PathBuf,
    /// The file as messages name it.
    pub text_path: String,
    /// The file's text, for errors that are found later.
    pub text: String,
    /// Helper files of a scenario that ships, by their path relative to it; empty for a file.
    pub assets: Assets,
    /// The files of its folder that the scenario names, each with a digest of its content (64 hexadecimal digits).
    pub named: BTreeMap<String, String>,
    /// The findings that `[expect]` lists; none where there is no such table.
    pub expected: Expected,
}

impl Resolved {
    /// Sixteen hexadecimal digits that change with anything that decides what the scenario does: all but its summary,
    /// what it is expected to find, and the scales that it was not resolved with.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut scenario = self.scenario.clone();
        scenario.summary.clear();
        scenario.scale.clear();
        scenario.default_scale = None;
        scenario.expect = None;
        // Canonical: fields in the order of their declaration, maps sorted, no spaces.
        let canonical = serde_json::to_vec(&(scenario, &self.named)).unwrap_or_default();
        short_hex(&blake3::hash(&canonical))
    }

    /// An error about a key of this scenario, with line and caret: for what shows only once the fixture is built.
    #[must_use]
    pub fn error_at(&self, path: &[Step], problem: Problem) -> ScenarioError {
        located(&self.text_path, &self.text, path, problem)
    }

    /// Writes the helper files of a scenario that ships below `dir`, which then is its `{scenario_dir}`.
    ///
    /// # Errors
    /// Where a file or folder can't be written.
    pub fn write_assets(&self, dir: &Path) -> Result<(), ScenarioError> {
        for (name, text) in &self.assets {
            let path = dir.join(name);
            let write = |source| ScenarioError::Write { path: path.clone(), source };
            fs::create_dir_all(path.parent().unwrap_or(dir)).map_err(write)?;
            fs::write(&path, text).map_err(write)?;
        }
        Ok(())
    }

    /// Checks a volume that a command has made: every file that an oracle names has to be there.
    ///
    /// # Errors
    /// At the key that names a file that is not there.
    pub fn check_volume(&self, volume: &Path) -> Result<(), ScenarioError> {
        validate::files_of_oracles(&self.scenario, &|file| volume.join(file).is_file(), &|| listing(volume))
            .map_err(|fault| self.error_at(&fault.path, fault.problem))
    }
}

/// Loads a scenario that ships, by name, or a file: whatever ends in `.toml` or has a slash in it.
///
/// # Errors
/// Where there is no such scenario, file or scale, or the file is wrong; the error names the place.
pub fn load(name_or_path: &str, scale: Option<&str>) -> Result<Resolved, ScenarioError> {
    if !name_or_path.ends_with(".toml") && !name_or_path.contains('/') {
        let found = shipped::find(name_or_path)?;
        let assets = found.assets.iter().map(|(name, text)| ((*name).to_owned(), *text)).collect();
        let source = Source::Embedded(&assets);
        let loaded = resolve(found.text, found.path, PathBuf::from("."), scale, &source)?;
        return Ok(Resolved { assets, ..loaded });
    }
    let path = Path::new(name_or_path);
    let read = |source| ScenarioError::Read { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(read)?;
    let dir = std::path::absolute(path).map_err(read)?.parent().unwrap_or(Path::new("/")).to_owned();
    resolve(&text, name_or_path, dir.clone(), scale, &Source::Folder(&dir))
}

/// Parses, fills in and checks the text of a scenario file; `file` is its name in messages.
fn resolve(
    text: &str,
    file: &str,
    dir: PathBuf,
    scale: Option<&str>,
    source: &Source<'_>,
) -> Result<Resolved, ScenarioError> {
    let at = |fault: Fault| located(file, text, &fault.path, fault.problem);
    let written: Scenario = toml::from_str(text).map_err(|error| ScenarioError::Invalid {
        place: Box::new(Place::new(file, text, validate::span_of_toml_error(text, &error))),
        problem: Box::new(Problem::Toml(error)),
    })?;
    validate::as_written(&written).map_err(at)?;
    let scale = scale.map(str::to_owned).or_else(|| written.default_scale.clone());
    let values = match &scale {
        None => BTreeMap::new(),
        Some(asked) => written.scale.get(asked).cloned().ok_or_else(|| ScenarioError::UnknownScale {
            scenario: written.name.clone(),
            asked: asked.clone(),
            known: written.scale.keys().cloned().collect(),
        })?,
    };
    let scenario = fill_in(&written, &values).map_err(at)?;
    validate::as_resolved(&scenario).map_err(at)?;
    let named = assets::hash_all(&scenario, source).map_err(at)?;
    let expected = validate::expected(&scenario, source).map_err(at)?;
    Ok(Resolved {
        scenario,
        scale,
        dir,
        text_path: file.to_owned(),
        text: text.to_owned(),
        assets: Assets::new(),
        named,
        expected,
    })
}

fn located(file: &str, text: &str, path: &[Step], problem: Problem) -> ScenarioError {
    let place = Box::new(Place::new(file, text, span_of(text, path)));
    ScenarioError::Invalid { place, problem: Box::new(problem) }
}

fn fill_in(written: &Scenario, values: &BTreeMap<String, String>) -> Result<Scenario, Fault> {
    let model = |error| Fault::new(key_path![], Problem::Model(error));
    let mut tree: Value = serde_json::to_value(written).map_err(model)?;
    placeholder::substitute(&mut tree, &mut Vec::new(), values)?;
    serde_json::from_value(tree).map_err(model)
}

/// Paths of the files below a folder, sorted; unreadable folders count as empty, since this only fills a message.
fn listing(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                _ => names.extend(entry.path().strip_prefix(folder).map(|path| path.display().to_string())),
            }
        }
    }
    names.sort();
    names
}

/// The first sixteen hexadecimal digits of a hash.
fn short_hex(hash: &blake3::Hash) -> String {
    let mut hex = hash.to_hex().to_string();
    hex.truncate(16);
    hex
}
