//! `barriers`: what each flush of a scenario's run is good for.

use rand::Rng;
use reports::Exit;

use super::run::{Loaded, load, started};
use super::session::Session;
use super::sweep::power_plan;
use crate::cli::{BarriersArgs, SeamChoice, ToolArgs};
use crate::error::Error;
use crate::prepare::{place_of, prepare, tell_of_others};
use crate::sweep::barriers;

pub(super) fn barriers(args: BarriersArgs) -> Result<Exit, Error> {
    let tool = match args.tool.seam {
        SeamChoice::InProcess => return Err(Error::NotRecorded),
        _ => ToolArgs { seam: SeamChoice::Fuse, ..args.tool.clone() },
    };
    let (mut loaded, setting) = load(std::slice::from_ref(&args.scenario), &tool, &args.place, &args.output)?;
    let Loaded { resolved, programs, .. } = loaded.pop().ok_or(Error::NotRecorded)?;
    let only = args.phase.as_deref().map(|phase| place_of(phase, &resolved)).transpose()?;
    let seed = args.seed.unwrap_or_else(|| rand::rng().next_u64());
    let jobs = args.jobs.map_or(setting.cpus.len(), |jobs| jobs as usize);
    let plan = barriers::plan(power_plan(&args.power), seed, jobs);
    let started = started(&resolved, &programs, reports::Command::Barriers, &setting, seed);
    let mut session =
        Session::begin(args.place.run_dir.as_deref(), &resolved.scenario.name, args.output.clone(), started)?;
    let result = prepare(resolved, programs, &setting, only, &mut session.stream).and_then(|mut prepared| {
        session.prepared();
        tell_of_others(only, &prepared.ground, &mut session.stream)?;
        prepared.ground.watch_room(session.run_dir(), args.place.min_free);
        barriers::barriers(&mut prepared, &plan, &setting.cpus, args.states, &mut session.stream)
    });
    session.end(result)
}
