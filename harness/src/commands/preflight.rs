//! `preflight`: one observed run, and what a sweep of it would be.

use reports::{Exit, Seam, Stream};

use super::print;
use super::run::Loaded;
use super::session::watch_signals;
use super::sweep::{command, spec};
use crate::cli::{Format, PreflightArgs};
use crate::cpus;
use crate::error::Error;
use crate::exec::Spec;
use crate::ground::Setting;
use crate::preflight;
use crate::programs::Programs;
use crate::seam::{self, Wish};
use crate::tools::Needs;

pub(super) fn preflight(args: PreflightArgs) -> Result<Exit, Error> {
    let (loaded, setting, next) = match &args.scenario {
        Some(name) => of_scenario(name, &args)?,
        None => {
            let spec = spec(&args.what, &args.command)?;
            let next = next_of(&spec);
            let (loaded, setting) = command(spec, args.work_dir.clone(), false)?;
            (loaded, setting, next)
        }
    };
    let mut stream = Stream::new(Vec::new());
    let Loaded { resolved, programs, .. } = loaded;
    let found = preflight::preflight(resolved, &programs, &setting, next, &mut stream)?;
    let text = match args.format {
        Format::Human => found.text(),
        Format::Json => serde_json::to_string_pretty(&found).map_err(Error::Json)? + "\n",
    };
    print(&text)?;
    Ok(Exit::Passed)
}

fn of_scenario(name: &str, args: &PreflightArgs) -> Result<(Loaded, Setting, String), Error> {
    let interrupted = watch_signals()?;
    let resolved = scenarios::load(name, args.scale.as_deref())?;
    let chosen = seam::choose(Wish::This(Seam::Fuse), &[&resolved])?;
    let needs = Needs { hook: false, planted: false };
    let programs = Programs::find(&resolved, needs, &mut |line| eprintln!("{line}"))?;
    let setting = Setting {
        seam: chosen.seam,
        private_mounts: chosen.private_mounts,
        gpt_delay: None,
        bug: None,
        real_time: args.what.real_time,
        work_parent: args.work_dir.clone(),
        launcher: std::env::current_exe().map_err(Error::OwnExecutable)?,
        cpus: cpus::allowed()?,
        interrupted,
        layouts: false,
        prove: false,
        exec: None,
    };
    let scale = args.scale.as_ref().map(|scale| format!(" --scale {scale}")).unwrap_or_default();
    Ok((
        Loaded { name: name.to_owned(), resolved, programs },
        setting,
        format!("killpoint sweep {name}{scale}"),
    ))
}

/// The `exec` that sweeps a command.
fn next_of(spec: &Spec) -> String {
    let images = spec.images.iter().map(|path| format!("--image '{}' ", path.display()));
    let volume = spec.volume.iter().map(|path| format!("--volume '{}' ", path.display()));
    let quoted = |line: &String| line.replace('\'', r"'\''");
    let resume = spec.resume.iter().map(|line| format!("--resume '{}' ", quoted(line)));
    let check = spec.check.iter().map(|line| format!("--check '{}' ", quoted(line)));
    let options: String = images.chain(volume).chain(resume).chain(check).collect();
    format!("killpoint exec {options}-- {}", spec.command_line())
}
