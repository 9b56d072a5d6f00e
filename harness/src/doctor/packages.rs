//! The programs that the scenarios run: which are here, which Debian package has the others, and which scenarios can't run
//! without them.

use std::collections::{BTreeMap, BTreeSet};

use scenarios::model::Scenario;
use scenarios::{programs, shipped};
use serde::Serialize;

use super::{Check, MAIN_JOB, State};
use crate::error::{Error, Missing};
use crate::programs::{all_link_the_hook, missing};
use crate::tools::{self, Needs, Place};

/// The word of a scenario's command that has killpoint mount a file system.
const ON_MOUNT: &str = "on-mount";

/// Whether a scenario can run here.
#[derive(Clone, Debug, Serialize)]
pub struct Ability {
    /// Scenario.
    pub name: &'static str,
    /// It can run.
    pub runs: bool,
    /// What it can't run without, and what it has to have.
    pub requires: Vec<String>,
    /// What some of its checks need.
    pub optional: Vec<String>,
    /// What lacks, with the Debian package where it is known.
    pub lacks: Vec<String>,
    /// Checks that are left out for the lack of these.
    pub left_out: Vec<String>,
}

/// Each scenario that ships. `fuse` and `mounts` say whether the seam and mounts of images can be had, `own_tools` how the
/// project's own tools are.
pub(super) fn abilities(fuse: bool, mounts: bool, own_tools: &[Check]) -> Result<Vec<Ability>, Error> {
    let ability = |shipped: &scenarios::Shipped| {
        let resolved = scenarios::load(shipped.name, None)?;
        let scenario = &resolved.scenario;
        let mut lacks: Vec<String> = missing(&scenario.requires).iter().map(Missing::to_string).collect();
        for tool in own_tools.iter().filter(|tool| !tool.works()) {
            if commands(scenario).any(|command| command.first() == Some(&tool.name)) {
                lacks.push(tool.name.clone());
            }
        }
        if !fuse && !all_link_the_hook(&resolved) {
            lacks.push("fuse".to_owned());
        }
        if !mounts && mounts_an_image(scenario) {
            lacks.push("loop devices and mounts of its own".to_owned());
        }
        Ok(Ability {
            name: shipped.name,
            runs: lacks.is_empty(),
            lacks,
            left_out: missing(&scenario.optional).iter().map(Missing::to_string).collect(),
            requires: scenario.requires.clone(),
            optional: scenario.optional.clone(),
        })
    };
    shipped().iter().map(ability).collect()
}

fn mounts_an_image(scenario: &Scenario) -> bool {
    commands(scenario).any(|command| command.iter().any(|word| word == ON_MOUNT))
}

/// The commands that are run and killed.
fn commands(scenario: &Scenario) -> impl Iterator<Item = &Vec<String>> {
    scenario.phase.iter().flat_map(|phase| std::iter::once(&phase.run).chain(&phase.resume))
}

/// One check for each Debian package that a scenario needs something of.
pub(super) fn packages(abilities: &[Ability]) -> Vec<Check> {
    let mut by_package: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for program in abilities.iter().flat_map(|one| one.requires.iter().chain(&one.optional)) {
        if tools::is_own(program) || program == tools::SELF {
            continue;
        }
        by_package.entry(programs::package_of(program).unwrap_or(program)).or_default().insert(program);
    }
    by_package.iter().map(|(package, wanted)| of_package(package, wanted, abilities)).collect()
}

fn of_package(package: &str, wanted: &BTreeSet<&str>, abilities: &[Ability]) -> Check {
    let lacking: Vec<&str> =
        wanted.iter().copied().filter(|program| tools::find_in_path(program).is_none()).collect();
    let without = |list: fn(&Ability) -> &[String]| {
        let needs = |one: &&Ability| list(one).iter().any(|program| lacking.contains(&program.as_str()));
        abilities.iter().filter(needs).map(|one| one.name).collect::<Vec<_>>()
    };
    let needed = abilities
        .iter()
        .filter(|one| one.name == MAIN_JOB)
        .any(|one| one.requires.iter().any(|program| wanted.contains(program.as_str())));
    let check = if lacking.is_empty() {
        Check::ok(package, wanted.iter().copied().collect::<Vec<_>>().join(", "))
    } else {
        let stopped = without(|one| &one.requires);
        let weaker = without(|one| &one.optional);
        let mut found = format!("no {}", lacking.join(", "));
        if !stopped.is_empty() {
            found.push_str(&format!(": {} can't run", stopped.join(", ")));
        }
        if !weaker.is_empty() {
            found.push_str(&format!("; checks are left out of {}", weaker.join(", ")));
        }
        Check::lacks(package, State::Missing, found, format!("apt-get install {package}"))
    };
    Check { needed, ..check }
}

/// The project's own tools, of which the main job is about the first.
pub(super) fn own_tools() -> Vec<Check> {
    let check = |(tool, needed): (&str, bool)| {
        let check = match tools::place_of(tool, Needs { hook: false, planted: false }) {
            Ok(Place::There(path)) => Check::ok(tool, path.display().to_string()),
            Ok(Place::Checkout(_)) if tools::cargo().is_some() => {
                Check::ok(tool, "is built from this checkout when it is first needed")
            }
            Ok(Place::Checkout(_)) => Check::lacks(
                tool,
                State::Missing,
                "not built, and there is no cargo",
                format!("put {tool} beside killpoint, or its folder in {}", tools::TOOLS_VARIABLE),
            ),
            Err(error) => Check::lacks(tool, State::Missing, error.to_string(), "see there"),
        };
        Check { needed, ..check }
    };
    [("resizer", true), ("image-tools", false)].map(check).to_vec()
}

/// How many scenarios can run, and which can't.
pub(super) fn summary(abilities: &[Ability]) -> Check {
    let able = abilities.iter().filter(|one| one.runs).count();
    let found = format!("{able} of {} that ship can run", abilities.len());
    if able == abilities.len() {
        return Check::ok("scenarios", found);
    }
    let unable: Vec<String> = abilities
        .iter()
        .filter(|one| !one.runs)
        .map(|one| format!("{} (lacks {})", one.name, one.lacks.join(", ")))
        .collect();
    Check::lacks("scenarios", State::Missing, format!("{found}; not {}", unable.join(", ")), "as said above")
}
