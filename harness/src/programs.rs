//! The programs that a scenario runs: found, built where they are the project's own, or named as missing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use scenarios::model::Oracle;
use scenarios::{Resolved, programs};

use crate::error::{Error, Missing};
use crate::tools::{self, Needs};

/// The programs of a scenario.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Paths by the name that the scenario uses.
    pub paths: BTreeMap<String, PathBuf>,
    /// Optional ones that are not here.
    pub missing_optional: Vec<Missing>,
}

impl Programs {
    /// Finds, and where need be builds, everything that a scenario runs. Nothing was made yet when this fails.
    /// `say` is told before something is built.
    pub fn find(resolved: &Resolved, needs: Needs, say: &mut dyn FnMut(&str)) -> Result<Self, Error> {
        let scenario = &resolved.scenario;
        let lacking = missing(&scenario.requires);
        if !lacking.is_empty() {
            return Err(Error::MissingPrograms(lacking));
        }
        let phases = scenario.phase.iter().flat_map(|phase| std::iter::once(&phase.run).chain(&phase.resume));
        let checks = scenario.oracle.iter().filter_map(|oracle| match oracle {
            Oracle::Command { run, .. } => Some(run),
            _ => None,
        });
        let mut paths = BTreeMap::new();
        for name in phases.chain(checks).filter_map(|command| command.first()) {
            if name.contains('/') || name.contains('{') || paths.contains_key(name) {
                continue;
            }
            let path = if name == tools::SELF {
                std::env::current_exe().map_err(Error::OwnExecutable)?
            } else if tools::is_own(name) {
                tools::find_own(name, needs, say)?
            } else {
                tools::find_in_path(name)
                    .ok_or_else(|| Error::MissingPrograms(missing(std::slice::from_ref(name))))?
            };
            paths.insert(name.clone(), path);
        }
        Ok(Self { paths, missing_optional: missing(&scenario.optional) })
    }

    /// Versions by program, of those that tell theirs.
    pub fn versions(&self, resolved: &Resolved) -> BTreeMap<String, String> {
        let scenario = &resolved.scenario;
        let system = scenario.requires.iter().chain(&scenario.optional);
        let system = system.filter_map(|name| Some((name.clone(), tools::find_in_path(name)?)));
        let own = self.paths.clone().into_iter();
        own.chain(system).filter_map(|(name, path)| Some((name, tools::version_of(&path)?))).collect()
    }
}

/// Whether every phase's commands are tools that have the in-process seam linked in.
pub fn all_link_the_hook(resolved: &Resolved) -> bool {
    let phases = &resolved.scenario.phase;
    let mut commands = phases.iter().flat_map(|phase| std::iter::once(&phase.run).chain(&phase.resume));
    commands.all(|command| command.first().is_some_and(|name| tools::links_hook(name)))
}

/// Programs that a scenario names and that are not here.
pub fn missing(names: &[String]) -> Vec<Missing> {
    names
        .iter()
        .filter(|name| {
            !tools::is_own(name) && name.as_str() != tools::SELF && tools::find_in_path(name).is_none()
        })
        .map(|name| Missing { program: name.clone(), package: programs::package_of(name) })
        .collect()
}
