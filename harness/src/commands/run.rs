//! `run`: campaigns of live random kills.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::Rng;
use reports::{CampaignStarted, Exit, SCHEMA};
use scenarios::Resolved;

use super::session::{Session, watch_signals};
use crate::campaign::{Campaign, Limits};
use crate::cli::{OutputArgs, PlaceArgs, RunArgs, SeamChoice, ToolArgs};
use crate::cpus;
use crate::error::Error;
use crate::ground::Setting;
use crate::prepare::prepare;
use crate::programs::Programs;
use crate::record::Origin;
use crate::seam::{self, Wish};
use crate::tools::Needs;

/// Iterations where neither a number nor a time is given: a quick look.
const DEFAULT_ITERATIONS: u64 = 5;

/// A scenario that can be prepared.
pub(super) struct Loaded {
    /// As it was named.
    pub name: String,
    pub resolved: Resolved,
    pub programs: Programs,
}

/// Loads all scenarios before the first one runs, since a misspelt second one must not cost a night, and chooses the
/// seam that all of them get.
pub(super) fn load(
    names: &[String],
    tool: &ToolArgs,
    place: &PlaceArgs,
    output: &OutputArgs,
) -> Result<(Vec<Loaded>, Setting), Error> {
    let interrupted = watch_signals()?;
    let load = |name: &String| Ok((name.clone(), scenarios::load(name, tool.scale.as_deref())?));
    let resolved: Vec<(String, Resolved)> = names.iter().map(load).collect::<Result<_, Error>>()?;
    let wish = match tool.seam {
        SeamChoice::Auto => Wish::Any,
        SeamChoice::Fuse => Wish::This(reports::Seam::Fuse),
        SeamChoice::InProcess => Wish::This(reports::Seam::InProcess),
    };
    let chosen = seam::choose(wish, &resolved.iter().map(|(_, resolved)| resolved).collect::<Vec<_>>())?;
    let needs = Needs { hook: chosen.seam == reports::Seam::InProcess, planted: tool.bug.is_some() };
    let mut loaded = Vec::new();
    for (name, resolved) in resolved {
        let programs = Programs::find(&resolved, needs, &mut |line| eprintln!("{line}"))?;
        loaded.push(Loaded { name, resolved, programs });
    }
    let setting = Setting {
        seam: chosen.seam,
        private_mounts: chosen.private_mounts,
        gpt_delay: None,
        bug: tool.bug.clone(),
        real_time: tool.real_time,
        work_parent: place.work_dir.clone(),
        launcher: std::env::current_exe().map_err(Error::OwnExecutable)?,
        cpus: cpus::allowed()?,
        interrupted,
        layouts: output.verbose,
        prove: true,
        exec: None,
    };
    Ok((loaded, setting))
}

/// The run directory of one of several campaigns.
pub(super) fn run_dir_of(place: &PlaceArgs, resolved: &Resolved, several: bool) -> Option<PathBuf> {
    place.run_dir.as_ref().map(|dir| match several {
        true => dir.join(&resolved.scenario.name),
        false => dir.clone(),
    })
}

pub(super) fn run(args: RunArgs) -> Result<Exit, Error> {
    let (loaded, setting) = load(&args.scenarios, &args.tool, &args.place, &args.output)?;
    let setting = Setting { gpt_delay: args.gpt_delay, ..setting };
    let several = loaded.len() > 1;
    let seed = args.seed.unwrap_or_else(|| rand::rng().next_u64());
    let limits = Limits {
        seed,
        iterations: args.iterations.or(if args.time.is_none() { Some(DEFAULT_ITERATIONS) } else { None }),
        time: args.time,
        kills: args.kills.clone(),
        findings: args.max_findings,
        min_free_bytes: args.place.min_free,
        shrinking: args.shrinking.limits(),
    };
    let mut exits = Vec::new();
    for one in loaded {
        let dir = run_dir_of(&args.place, &one.resolved, several);
        let exit = run_one(&args, one, &limits, &setting, dir.as_deref())?;
        exits.push(exit);
        if exit == Exit::Interrupted {
            break;
        }
    }
    Ok(Exit::worst(exits))
}

fn run_one(
    args: &RunArgs,
    loaded: Loaded,
    limits: &Limits,
    setting: &Setting,
    run_dir: Option<&Path>,
) -> Result<Exit, Error> {
    let origin = origin(&loaded, limits.seed, setting);
    let Loaded { resolved, programs, .. } = loaded;
    let started = CampaignStarted {
        iterations: limits.iterations,
        for_s: limits.time.map(|time| time.as_secs()),
        ..started(&resolved, &programs, reports::Command::Run, setting, limits.seed)
    };
    let mut session = Session::begin(run_dir, &resolved.scenario.name, args.output.clone(), started)?;
    let dir = session.run_dir().to_owned();
    let result = prepare(resolved, programs, setting, None, &mut session.stream).and_then(|mut prepared| {
        session.prepared();
        Campaign::new(&mut prepared, limits.clone(), origin, &dir).run(&mut session.stream)
    });
    session.end(result)
}

/// What the findings of a campaign over a scenario have in common.
pub(super) fn origin(loaded: &Loaded, seed: u64, setting: &Setting) -> Origin {
    Origin {
        seed,
        bug: setting.bug.clone(),
        device: None,
        durability: None,
        scenario_file: match setting.exec {
            Some(_) => None,
            None => scenario_file(&loaded.name, &loaded.resolved),
        },
        exec: setting.exec.as_ref().map(|spec| spec.to_word()),
        expected: loaded.resolved.expected.clone(),
    }
}

/// Path of the scenario's file, where it is not one that ships.
fn scenario_file(name: &str, resolved: &Resolved) -> Option<PathBuf> {
    let ships = scenarios::shipped().iter().any(|shipped| shipped.name == name);
    (!ships).then(|| std::fs::canonicalize(&resolved.text_path).unwrap_or_else(|_| PathBuf::from(name)))
}

/// The first event of a campaign that is bounded neither by iterations nor by time.
pub(super) fn started(
    resolved: &Resolved,
    programs: &Programs,
    command: reports::Command,
    setting: &Setting,
    seed: u64,
) -> CampaignStarted {
    CampaignStarted {
        schema: SCHEMA,
        killpoint: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: resolved.scenario.name.clone(),
        scale: resolved.scale.clone(),
        scenario_digest: resolved.digest(),
        phases: resolved.scenario.phase.iter().map(|phase| phase.name.clone()).collect(),
        command,
        seam: setting.seam,
        seed,
        model: vec!["kill".to_owned()],
        iterations: None,
        for_s: None,
        tool_versions: programs.versions(resolved),
        options: BTreeMap::new(),
        shard: None,
        expected: Vec::new(),
    }
}
