//! `sweep` and `exec`: every crash point of a scenario, or of a command that stands for one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand::Rng;
use reports::{CampaignStarted, Exit, Model, Seam};
use scenarios::Expected;

use super::run::{Loaded, load, origin, run_dir_of, started};
use super::session::{Session, watch_signals};
use crate::cli::{
    CommandArgs, ExecArgs, OutputArgs, PlaceArgs, PointArgs, PowerArgs, SeamChoice, SweepArgs, ToolArgs,
};
use crate::cpus;
use crate::error::Error;
use crate::exec::{ExecError, Spec, Stamp};
use crate::expected;
use crate::ground::Setting;
use crate::prepare::{place_of, prepare, tell_of_others};
use crate::programs::Programs;
use crate::record::{Origin, Recorder};
use crate::rundir;
use crate::seam::{self, Wish};
use crate::sweep::earlier::Earlier;
use crate::sweep::points::{Torn, TornUnit};
use crate::sweep::power::PowerPlan;
use crate::sweep::{self, Plan};
use crate::tools;

pub(super) fn sweep(args: SweepArgs) -> Result<Exit, Error> {
    // States come from a recording, which only this seam makes.
    let tool = match args.tool.seam {
        SeamChoice::InProcess => return Err(Error::NotRecorded),
        _ => ToolArgs { seam: SeamChoice::Fuse, ..args.tool.clone() },
    };
    let (loaded, setting) = load(&args.scenarios, &tool, &args.place, &args.output)?;
    let several = loaded.len() > 1;
    let mut exits = Vec::new();
    if let Some(phase) = &args.phase {
        loaded.iter().try_for_each(|one| place_of(phase, &one.resolved).map(drop))?;
    }
    for one in loaded {
        let run_dir = run_dir_of(&args.place, &one.resolved, several);
        let place = PlaceArgs { run_dir, ..args.place.clone() };
        let asked = Asked {
            points: &args.points,
            phase: args.phase.as_deref(),
            record_expected: args.record_expected.as_deref(),
            command: reports::Command::Sweep,
        };
        let exit = sweep_one(one, &asked, &setting, &place, &args.output)?;
        exits.push(exit);
        if exit == Exit::Interrupted {
            break;
        }
    }
    Ok(Exit::worst(exits))
}

pub(super) fn exec(args: ExecArgs) -> Result<Exit, Error> {
    let spec = spec(&args.what, &args.command)?;
    let (loaded, setting) = command(spec, args.place.work_dir.clone(), args.output.verbose)?;
    let asked =
        Asked { points: &args.points, phase: None, record_expected: None, command: reports::Command::Exec };
    sweep_one(loaded, &asked, &setting, &args.place, &args.output)
}

/// What a command line asks for.
pub(super) fn spec(what: &CommandArgs, command: &[String]) -> Result<Spec, Error> {
    let absolute = |path: &PathBuf| std::fs::canonicalize(path).map_err(Error::io(path));
    let images = what
        .images
        .iter()
        .map(|path| {
            let read = |source| ExecError::Read { path: path.clone(), source };
            std::fs::canonicalize(path).map_err(read)
        })
        .collect::<Result<_, _>>()?;
    Ok(Spec {
        images,
        volume: what.volume.as_ref().map(absolute).transpose()?,
        directory: std::env::current_dir().map_err(Error::io("."))?,
        command: command.to_vec(),
        exit: what.exit.clone(),
        resume: what.resume.clone(),
        check: what.check.clone(),
        accept: what.accept.clone(),
        mask: what.mask.clone(),
        untouched: what.untouched.clone(),
        environment: what.env.iter().cloned().collect(),
        step_pattern: what.step_pattern.clone(),
        real_time: what.real_time,
        time_limit: what.time_limit.clone(),
    })
}

/// A command as if it were a scenario.
pub(super) fn command(
    spec: Spec,
    work_parent: Option<PathBuf>,
    layouts: bool,
) -> Result<(Loaded, Setting), Error> {
    let interrupted = watch_signals()?;
    spec.check()?;
    let resolved = spec.scenario()?;
    let chosen = seam::choose(Wish::This(Seam::Fuse), &[&resolved])?;
    if !chosen.private_mounts {
        let path = spec.images.first().or(spec.volume.as_ref()).cloned().unwrap_or_default();
        return Err(ExecError::NoMounts { path }.into());
    }
    let mut programs = Programs { paths: Default::default(), missing_optional: Vec::new() };
    if let Some(name) = spec.command.first() {
        let path =
            tools::find_for_user(name, &spec.directory).ok_or_else(|| ExecError::NoProgram(name.clone()))?;
        programs.paths.insert(name.clone(), path);
    }
    let setting = Setting {
        seam: Seam::Fuse,
        private_mounts: true,
        gpt_delay: None,
        bug: None,
        real_time: spec.real_time,
        work_parent,
        launcher: std::env::current_exe().map_err(Error::OwnExecutable)?,
        cpus: cpus::allowed()?,
        interrupted,
        layouts,
        prove: true,
        exec: Some(spec),
    };
    Ok((Loaded { name: resolved.scenario.name.clone(), resolved, programs }, setting))
}

/// What is asked of a sweep.
struct Asked<'a> {
    points: &'a PointArgs,
    phase: Option<&'a str>,
    record_expected: Option<&'a Path>,
    command: reports::Command,
}

/// What is asked for; `seed` is that of a sweep that goes on.
fn plan(args: &PointArgs, setting: &Setting, seed: Option<u64>) -> Plan {
    let mut models: BTreeSet<Model> = args.model.iter().map(|model| Model::from(*model)).collect();
    if args.torn == Torn::None {
        models.remove(&Model::Torn);
    }
    // A power cut that loses nothing leaves what a kill leaves.
    if models.contains(&Model::Power) {
        models.insert(Model::Kill);
    }
    Plan {
        seed: args.seed.or(seed).unwrap_or_else(|| rand::rng().next_u64()),
        models,
        torn: args.torn,
        unit: if args.torn_sectors { TornUnit::Sector } else { TornUnit::Page },
        live_checks: args.live_checks,
        closure: args.closure.then(|| args.depth.unwrap_or(u32::MAX)),
        nested: args.nested,
        budget: args.budget,
        power: power_plan(&args.power),
        scratch: args.scratch,
        merge: !args.no_merge,
        jobs: args.jobs.map_or(setting.cpus.len(), |jobs| jobs as usize),
        shard: args.shard,
    }
}

/// What is asked of the power model.
pub(super) fn power_plan(args: &PowerArgs) -> PowerPlan {
    let unit = args.atomic_unit.unwrap_or(args.device.atomic_unit);
    PowerPlan {
        device: args.device.clone().with_unit(unit),
        durability: args.durability,
        max_drops: args.max_drops,
        samples: args.power_samples,
    }
}

/// The campaign that a plan is. What decides which points are looked at is told, so that one that is to go on or to be
/// merged is known to be the same.
fn campaign(
    asked: &Asked<'_>,
    plan: &Plan,
    expected: &Expected,
    setting: &Setting,
    started: CampaignStarted,
) -> CampaignStarted {
    let mut options = BTreeMap::new();
    let mut option = |name: &str, value: String| options.insert(name.to_owned(), value);
    if plan.models.contains(&Model::Torn) {
        option("torn", format!("{:?} by {:?}", plan.torn, plan.unit));
    }
    if plan.models.contains(&Model::Power) {
        let PowerPlan { device, durability, max_drops, samples } = &plan.power;
        let rule = durability.map_or_else(String::new, |rule| format!(" by rule {rule}"));
        option("power", format!("{}{rule}, at most {max_drops} lost, {samples} samples", device.word()));
    }
    if let Some(phase) = asked.phase {
        option("phase", phase.to_owned());
    }
    if !asked.points.known.is_empty() {
        option(
            "known",
            asked.points.known.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", "),
        );
    }
    option("live-checks", plan.live_checks.to_string());
    if let Some(depth) = plan.closure {
        option("closure", if depth == u32::MAX { "to its end".to_owned() } else { depth.to_string() });
    }
    if plan.nested > 0 {
        option("nested", plan.nested.to_string());
    }
    if let Some(policy) = plan.scratch {
        option("scratch", format!("{policy:?}").to_lowercase());
    }
    if !plan.merge {
        option("merge", "no".to_owned());
    }
    if let Some(bug) = &setting.bug {
        option("bug", bug.clone());
    }
    let kinds =
        expected.findings.iter().filter(|kind| plan.models.iter().any(|model| kind.is_of(model.name())));
    CampaignStarted {
        model: plan.models.iter().map(|model| model.name().to_owned()).collect(),
        options,
        shard: plan.shard.map(|shard| (shard.index, shard.of)),
        expected: kinds.map(|kind| reports::event::kind(&kind.phase, &kind.verdict, &kind.oracle)).collect(),
        ..started
    }
}

fn sweep_one(
    loaded: Loaded,
    asked: &Asked<'_>,
    setting: &Setting,
    place: &PlaceArgs,
    output: &OutputArgs,
) -> Result<Exit, Error> {
    let Asked { points: args, phase, record_expected, command } = *asked;
    let run_dir = place.run_dir.as_deref();
    let tries = rundir::tries(run_dir)?;
    let plan = &plan(args, setting, rundir::campaign_of(&tries).map(|before| before.seed));
    let origin = Origin {
        device: Some(plan.power.device.clone()),
        durability: plan.power.durability,
        ..origin(&loaded, plan.seed, setting)
    };
    let Loaded { resolved, programs, .. } = loaded;
    let expected = resolved.expected.clone();
    let only = phase.map(|phase| place_of(phase, &resolved)).transpose()?;
    let started =
        campaign(asked, plan, &expected, setting, started(&resolved, &programs, command, setting, plan.seed));
    let versions = started.tool_versions.clone();
    let mut known_elsewhere = Earlier::default();
    for dir in &args.known {
        rundir::take_over(dir, &started, &mut known_elsewhere)?;
    }
    let (run_dir, earlier) = match run_dir.filter(|_| !tries.is_empty()) {
        Some(dir) => (dir.to_owned(), rundir::go_on(dir, tries, &started, known_elsewhere)?),
        None => (rundir::make(run_dir, &resolved.scenario.name)?, known_elsewhere),
    };
    let mut session = Session::begin_in(run_dir, output.clone(), started)?;
    let mut recorder = Recorder::new(origin, session.run_dir()).shrinking(args.shrinking.limits());
    let stamps = setting.exec.as_ref().map(Spec::stamps).transpose()?;
    let result = prepare(resolved, programs, setting, only, &mut session.stream).and_then(|mut prepared| {
        session.prepared();
        tell_of_others(only, &prepared.ground, &mut session.stream)?;
        let fixture = prepared.ground.fixture_id;
        if let Some(recorded) = earlier.is_about_another(fixture) {
            return Err(Error::OtherCampaign {
                run_dir: session.run_dir().to_owned(),
                what: "fixture's content id",
                recorded: recorded.to_owned(),
                found: fixture.to_string(),
            });
        }
        if let Some((run_dir, recorded)) = earlier.has_of_another(fixture) {
            return Err(Error::NotKnown {
                run_dir: run_dir.to_owned(),
                what: "fixture's content id",
                recorded: recorded.to_owned(),
                found: fixture.to_string(),
            });
        }
        prepared.ground.watch_room(session.run_dir(), place.min_free);
        let stream = &mut session.stream;
        sweep::sweep(&mut prepared, plan, &setting.cpus, &earlier, &mut recorder, stream)?;
        match record_expected {
            Some(path) => expected::write(path, &expected, versions, &session.stream.tally().findings),
            None => Ok(()),
        }
    });
    // By now nothing stands in the images' place any more.
    let result = match (stamps, &setting.exec) {
        (Some(before), Some(spec)) => result.and_then(|()| Ok(Stamp::compare(&before, &spec.stamps()?)?)),
        _ => result,
    };
    session.end(result)
}
