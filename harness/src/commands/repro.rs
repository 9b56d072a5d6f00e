//! `repro`: one finding again, from its token.

use std::path::PathBuf;

use reports::{Exit, Verdict};

use super::print;
use super::run::started;
use super::session::{Session, watch_signals};
use crate::campaign::Limits;
use crate::cli::{Format, ReproArgs};
use crate::error::Error;
use crate::prepare::{Programs, Setting};
use crate::record::Origin;
use crate::repro::{self, Reproduced};
use crate::token::Token;

pub(super) fn repro(args: ReproArgs) -> Result<Exit, Error> {
    let interrupted = watch_signals()?;
    let token: Token = args.token.parse()?;
    let name = args.scenario.as_deref().unwrap_or(&token.scenario);
    let resolved = scenarios::load(name, token.scale.as_deref())?;
    repro::check(&token, &resolved)?;
    let programs = Programs::find(&resolved, token.bug.as_deref(), &mut |line| eprintln!("{line}"))?;
    let setting = Setting {
        gpt_delay: None,
        bug: token.bug.clone(),
        work_parent: args.place.work_dir.clone(),
        launcher: std::env::current_exe().map_err(Error::OwnExecutable)?,
        interrupted,
        layouts: args.output.verbose,
        // A token's finding was made by oracles that had been proved.
        prove: false,
    };
    let limits = Limits { seed: token.seed, iterations: Some(1), time: None, kills: 1..=1, findings: None };
    let started = started(&resolved, &programs, reports::Command::Repro, &limits);
    let mut session =
        Session::begin(args.place.run_dir.as_deref(), &resolved.scenario.name, args.output.clone(), started)?;
    let result = repro::prepare_for(&token, resolved, programs, &setting, &mut session.stream).and_then(
        |mut prepared| {
            session.prepared();
            let origin = Origin {
                seed: token.seed,
                bug: token.bug.clone(),
                scenario_file: args.scenario.as_deref().map(PathBuf::from),
            };
            repro::repro(&token, &mut prepared, origin, &mut session.stream)
        },
    );
    let (result, reproduced) = match result {
        Ok(reproduced) => (Ok(()), Some(reproduced)),
        Err(error) => (Err(error), None),
    };
    if let (Some(reproduced), Format::Human) = (&reproduced, args.output.format) {
        print(&describe(&token, reproduced))?;
    }
    session.end(result)
}

fn describe(token: &Token, reproduced: &Reproduced) -> String {
    let points = token.describe_kills();
    let phase = &token.phase;
    let result = match reproduced {
        Reproduced::Judged(judgement) if judgement.verdict == Verdict::Recovered => {
            "now passes: the resume recovered and every oracle holds".to_owned()
        }
        Reproduced::Judged(judgement) => {
            format!("fails again: {}\n  {}", judgement.verdict.name(), judgement.explain)
        }
        Reproduced::NotLanded { kill, point } => {
            format!("not measured: kill {kill} ({point}) did not land, since the tool was at its end before")
        }
        Reproduced::OtherState { recorded, found } => {
            format!("not measured: the crash state is `{found}`, and the token's is `{recorded}`")
        }
    };
    format!("phase {phase}, killed: {points}\n{result}\n\n")
}
