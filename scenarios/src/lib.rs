//! Scenario files: what they mean, the ones that ship, and the builders of the fixtures that they name. A scenario is
//! declared, never programmed: loading one runs nothing, and a wrong file is refused with its line.

#![forbid(unsafe_code)]

pub mod error;
pub mod fixture;
mod locate;
pub mod model;
pub mod placeholder;
pub mod programs;
mod shipped;
pub mod size;
mod validate;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use error::{Fault, Problem, ScenarioError};
pub use fixture::FixtureError;
pub use locate::{Place, Step};
use locate::{key_path, span_of};
pub use model::Scenario;
pub use shipped::{Shipped, shipped};

/// A scenario with its placeholders filled in, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The scenario; of the placeholders only those of the run (`{volume}`) are left.
    pub scenario: Scenario,
    /// The scale that was filled in, where the scenario has any.
    pub scale: Option<String>,
    /// Where the file lies, for `{scenario_dir}`; the current folder for one that ships.
    pub dir: PathBuf,
    /// The file as messages name it.
    pub text_path: String,
}

impl Resolved {
    /// Sixteen hexadecimal digits that change with anything that decides what the scenario does: all but its summary
    /// and the scales that it was not resolved with.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut scenario = self.scenario.clone();
        scenario.summary.clear();
        scenario.scale.clear();
        scenario.default_scale = None;
        // Canonical: fields in the order of their declaration, maps sorted, no spaces.
        let canonical = serde_json::to_vec(&scenario).unwrap_or_default();
        short_hex(&blake3::hash(&canonical))
    }
}

/// Loads a scenario that ships, by name, or a file: whatever ends in `.toml` or has a slash in it.
///
/// # Errors
/// Where there is no such scenario, file or scale, or the file is wrong; the error names the place.
pub fn load(name_or_path: &str, scale: Option<&str>) -> Result<Resolved, ScenarioError> {
    if !name_or_path.ends_with(".toml") && !name_or_path.contains('/') {
        let found = shipped::find(name_or_path)?;
        return resolve(found.text, &format!("{}.toml", found.name), PathBuf::from("."), scale);
    }
    let path = Path::new(name_or_path);
    let read = |source| ScenarioError::Read { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(read)?;
    let dir = std::path::absolute(path).map_err(read)?.parent().unwrap_or(Path::new("/")).to_owned();
    resolve(&text, name_or_path, dir, scale)
}

/// Parses, fills in and checks the text of a scenario file; `file` is its name in messages.
fn resolve(text: &str, file: &str, dir: PathBuf, scale: Option<&str>) -> Result<Resolved, ScenarioError> {
    let at = |fault: Fault| ScenarioError::Invalid {
        place: Box::new(Place::new(file, text, span_of(text, &fault.path))),
        problem: Box::new(fault.problem),
    };
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
    Ok(Resolved { scenario, scale, dir, text_path: file.to_owned() })
}

fn fill_in(written: &Scenario, values: &BTreeMap<String, String>) -> Result<Scenario, Fault> {
    let model = |error| Fault::new(key_path![], Problem::Model(error));
    let mut tree: Value = serde_json::to_value(written).map_err(model)?;
    placeholder::substitute(&mut tree, &mut Vec::new(), values)?;
    serde_json::from_value(tree).map_err(model)
}

/// The first sixteen hexadecimal digits of a hash.
fn short_hex(hash: &blake3::Hash) -> String {
    let mut hex = hash.to_hex().to_string();
    hex.truncate(16);
    hex
}
