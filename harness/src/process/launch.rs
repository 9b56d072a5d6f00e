//! The step between spawn and exec: this binary, started again under another name, puts itself where the tool's
//! processes are kept together, asks to be killed with killpoint, and becomes the tool.
//!
//! Doing it here keeps the spawn a `posix_spawn`, which costs the same whatever killpoint's own size is.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Context;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// First argument that makes the binary a launcher.
pub const ARGUMENT: &str = "__launch";

/// Stands for "no file" in the launcher's arguments.
const NONE: &str = "-";

/// Arguments that make the binary launch a command.
pub fn arguments(membership_file: Option<&std::path::Path>, parent: Pid) -> Vec<OsString> {
    let file = membership_file.map_or_else(|| NONE.into(), |path| path.as_os_str().to_owned());
    vec![ARGUMENT.into(), parent.to_string().into(), file]
}

/// Becomes the command, or says why not.
pub fn launch(mut arguments: impl Iterator<Item = OsString>) -> anyhow::Result<Infallible> {
    let mut next = |what: &'static str| arguments.next().context(what);
    let parent = next("parent's process id is missing")?;
    let file = next("membership file is missing")?;
    let program = next("program is missing")?;
    // The parent's death kills the tool, so that a killpoint that is killed itself leaves nothing running; it may
    // have died before this was asked for.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    anyhow::ensure!(parent.to_str() == Some(&getppid().to_string()), "killpoint is gone");
    if file != NONE {
        fs::write(&file, Pid::this().to_string())
            .with_context(|| format!("can't join the cgroup through `{}`", file.display()))?;
    }
    let error = Command::new(&program).args(arguments).exec();
    Err(error).with_context(|| format!("can't execute `{}`", program.display()))
}
