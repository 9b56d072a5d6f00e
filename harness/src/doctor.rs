//! What this machine can do for killpoint, found out by doing it: a mount is mounted, a tree of processes is ended, a sleep
//! is skipped. Each answer says what its lack costs and how to mend it. Nothing is left mounted, running or written.

mod machine;
mod packages;
mod places;

use nix::errno::Errno;
use serde::Serialize;

use crate::error::Error;
use crate::namespace;
use crate::workdir::WorkDir;

pub use packages::Ability;

/// Schema number of the JSON form.
const SCHEMA: u32 = 1;

/// The scenario that is killpoint's main job.
pub const MAIN_JOB: &str = "mixed-layout";

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It works.
    Ok,
    /// It is not there.
    Missing,
    /// It is there, and this process may not use it.
    Refused,
}

impl State {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Refused => "refused",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What.
    pub name: String,
    /// How it came out.
    pub state: State,
    /// The main job can't be done without it.
    pub needed: bool,
    /// What was seen, or what lacks.
    pub found: String,
    /// A Debian package or a setting that helps; empty where it works.
    pub mend: String,
}

impl Check {
    /// Something that works.
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, needed: false, found: found.into(), mend: String::new() }
    }

    /// Something that does not.
    fn lacks(
        name: impl Into<String>,
        state: State,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), state, needed: false, found: found.into(), mend: mend.into() }
    }

    /// The same, of something that the main job needs.
    fn needed(self) -> Self {
        Self { needed: true, ..self }
    }

    fn works(&self) -> bool {
        self.state == State::Ok
    }

    fn line(&self) -> String {
        let mend = if self.mend.is_empty() { String::new() } else { format!("; to mend it: {}", self.mend) };
        format!("{:<9}{:<20}{}{mend}\n", self.state.name(), self.name, self.found)
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Doctor {
    schema: u32,
    /// The main job can be done.
    pub ready: bool,
    /// The command that is the main job.
    main_job: String,
    /// All that was looked at.
    pub checks: Vec<Check>,
    /// Each scenario that ships, and what it lacks.
    pub scenarios: Vec<Ability>,
}

/// Looks at this machine. To be called before there are other threads, since it leaves the mount namespace.
pub fn examine() -> Result<Doctor, Error> {
    let private = match namespace::leave() {
        Ok(private) => private,
        Err(Errno::EACCES) => false,
        Err(errno) => return Err(Error::Namespace(errno)),
    };
    // Where no area can be had, that is what is told, and what needs one is looked at without.
    let work = WorkDir::create(None, 0, 0);
    let fuse = machine::fuse(work.as_ref().ok(), private);
    let loops = machine::loops(work.as_ref().ok());
    let launcher = std::env::current_exe().map_err(Error::OwnExecutable)?;
    let mut checks = vec![fuse.clone()];
    checks.extend(machine::processes(&launcher));
    checks.push(loops.clone());
    checks.extend(places::places(&work));
    checks.push(places::cpus());
    let own_tools = packages::own_tools();
    let scenarios = packages::abilities(fuse.works(), private && loops.works(), &own_tools)?;
    checks.extend(packages::packages(&scenarios));
    checks.extend(own_tools);
    checks.push(packages::summary(&scenarios));
    let ready = checks.iter().all(|check| check.works() || !check.needed);
    Ok(Doctor { schema: SCHEMA, ready, main_job: format!("killpoint run {MAIN_JOB}"), checks, scenarios })
}

impl Doctor {
    /// For a person: one line for each check.
    pub fn text(&self) -> String {
        let mut text: String = self.checks.iter().map(Check::line).collect();
        let stops: Vec<&str> = self
            .checks
            .iter()
            .filter(|check| check.needed && !check.works())
            .map(|check| check.name.as_str())
            .collect();
        text.push('\n');
        text.push_str(&match self.ready {
            true => format!("{} can run here\n", self.main_job),
            false => format!("{} can't run here: {}\n", self.main_job, stops.join(", ")),
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit code follows from `ready`, so a lack that stops nothing must not show there, and one that does must.
    #[test]
    fn a_line_names_the_mend_and_only_what_does_not_work_has_one() {
        let fine = Check::ok("fuse", "mounted");
        assert_eq!(fine.line(), "ok       fuse                mounted\n");
        let lacking =
            Check::lacks("ntfs-3g", State::Missing, "no mkntfs", "apt-get install ntfs-3g").needed();
        assert_eq!(
            lacking.line(),
            "missing  ntfs-3g             no mkntfs; to mend it: apt-get install ntfs-3g\n"
        );
        assert!(lacking.needed && !lacking.works() && fine.works());
    }
}
