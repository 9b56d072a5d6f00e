//! `run`: campaigns of live random kills.

use std::path::{Path, PathBuf};

use rand::Rng;
use reports::{CampaignStarted, Exit, SCHEMA, Seam};
use scenarios::Resolved;

use super::session::{Session, watch_signals};
use crate::campaign::{Campaign, Limits};
use crate::cli::RunArgs;
use crate::error::Error;
use crate::prepare::{Programs, Setting, prepare};
use crate::record::Origin;

/// Iterations where neither a number nor a time is given: a quick look.
const DEFAULT_ITERATIONS: u64 = 5;

pub(super) fn run(args: RunArgs) -> Result<Exit, Error> {
    let interrupted = watch_signals()?;
    // All scenarios are loaded before the first one runs: a misspelt second one must not cost a night.
    let mut loaded = Vec::new();
    for name in &args.scenarios {
        let resolved = scenarios::load(name, args.scale.as_deref())?;
        let programs = Programs::find(&resolved, args.bug.as_deref(), &mut |line| eprintln!("{line}"))?;
        loaded.push((name, resolved, programs));
    }
    let several = loaded.len() > 1;
    let seed = args.seed.unwrap_or_else(|| rand::rng().next_u64());
    let limits = Limits {
        seed,
        iterations: args.iterations.or(if args.time.is_none() { Some(DEFAULT_ITERATIONS) } else { None }),
        time: args.time,
        kills: args.kills.clone(),
        findings: args.max_findings,
    };
    let setting = Setting {
        gpt_delay: args.gpt_delay,
        bug: args.bug.clone(),
        work_parent: args.place.work_dir.clone(),
        launcher: std::env::current_exe().map_err(Error::OwnExecutable)?,
        interrupted,
        layouts: args.output.verbose,
        prove: true,
    };
    let mut exits = Vec::new();
    for (name, resolved, programs) in loaded {
        let dir = args.place.run_dir.as_ref().map(|dir| match several {
            true => dir.join(&resolved.scenario.name),
            false => dir.clone(),
        });
        let exit = run_one(&args, name, resolved, programs, &limits, &setting, dir.as_deref())?;
        exits.push(exit);
        if exit == Exit::Interrupted {
            break;
        }
    }
    Ok(Exit::worst(exits))
}

fn run_one(
    args: &RunArgs,
    name: &str,
    resolved: Resolved,
    programs: Programs,
    limits: &Limits,
    setting: &Setting,
    run_dir: Option<&Path>,
) -> Result<Exit, Error> {
    let started = started(&resolved, &programs, reports::Command::Run, limits);
    let mut session = Session::begin(run_dir, &resolved.scenario.name, args.output.clone(), started)?;
    let file = scenario_file(name, &resolved);
    let dir = session.run_dir().to_owned();
    let result = prepare(resolved, programs, setting, None, &mut session.stream).and_then(|mut prepared| {
        session.prepared();
        let origin = Origin { seed: limits.seed, bug: setting.bug.clone(), scenario_file: file };
        Campaign::new(&mut prepared, limits.clone(), origin, &dir).run(&mut session.stream)
    });
    session.end(result)
}

/// Path to the scenario's file, where it is not one that ships.
fn scenario_file(name: &str, resolved: &Resolved) -> Option<PathBuf> {
    let ships = scenarios::shipped().iter().any(|shipped| shipped.name == name);
    (!ships).then(|| std::fs::canonicalize(&resolved.text_path).unwrap_or_else(|_| PathBuf::from(name)))
}

/// The first event of a campaign.
pub(super) fn started(
    resolved: &Resolved,
    programs: &Programs,
    command: reports::Command,
    limits: &Limits,
) -> CampaignStarted {
    CampaignStarted {
        schema: SCHEMA,
        killpoint: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: resolved.scenario.name.clone(),
        scale: resolved.scale.clone(),
        scenario_digest: resolved.digest(),
        phases: resolved.scenario.phase.iter().map(|phase| phase.name.clone()).collect(),
        command,
        seam: Seam::InProcess,
        seed: limits.seed,
        model: vec!["kill".to_owned()],
        iterations: limits.iterations,
        for_s: limits.time.map(|time| time.as_secs()),
        tool_versions: programs.versions(resolved),
    }
}
