//! `repro`: one finding again, live from its token, or from the state that a run directory keeps.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use reports::{Exit, Report, Seam, Verdict};
use scenarios::Expected;

use super::print;
use super::run::{Loaded, load, origin, started};
use super::session::Session;
use super::sweep::command;
use crate::cli::{Format, ReproArgs, SeamChoice, ToolArgs};
use crate::error::Error;
use crate::exec::Spec;
use crate::ground::{Ground, Setting};
use crate::keep::{Keeper, Wish};
use crate::record::{Origin, Recorder};
use crate::repro::{self, Reproduced};
use crate::store::{self, Past};
use crate::token::Token;

/// What is told with a token's finding. What is known of the tool is a failure all the same, for who asks about this one.
pub(super) fn origin_of(token: &Token, loaded: &Loaded, setting: &Setting) -> Origin {
    Origin {
        expected: Expected::default(),
        device: token.device.as_ref().map(|(device, _)| device.clone()),
        durability: token.device.as_ref().map(|(_, durability)| *durability),
        ..origin(loaded, token.seed, setting)
    }
}

pub(super) fn repro(args: ReproArgs) -> Result<Exit, Error> {
    let wish = Wish { keep: args.keep.clone(), pause: args.pause };
    wish.check()?;
    let (token, past) = named(&args.token)?;
    let (loaded, setting) = ready(&token, &args)?;
    let origin = origin_of(&token, &loaded, &setting);
    let Loaded { resolved, programs, .. } = loaded;
    let started = started(&resolved, &programs, reports::Command::Repro, &setting, token.seed);
    let started = reports::CampaignStarted { iterations: Some(1), ..started };
    let mut session =
        Session::begin(args.place.run_dir.as_deref(), &resolved.scenario.name, args.output.clone(), started)?;
    let mut recorder = Recorder::new(origin, session.run_dir());
    let result = repro::prepare_for(&token, resolved, programs, &setting, &mut session.stream).and_then(
        |mut prepared| {
            session.prepared();
            prepared.ground.watch_room(session.run_dir(), args.place.min_free);
            let stream = &mut session.stream;
            prepared.ground.may_go_on()?;
            prepared.ground.warn_of_room(stream)?;
            let mut keeper = Keeper::new(wish);
            let crashed = &mut |ground: &mut Ground| keeper.crashed(ground, &token);
            let reproduced = match &past {
                Some(past) => repro::judge_kept(&token, past, &mut prepared, &mut recorder, crashed, stream),
                None => repro::repro(&token, &mut prepared, &mut recorder, crashed, stream),
            }?;
            if let Reproduced::Judged { judgement, result } = &reproduced {
                let known = repro::last_of(&mut prepared.phases, &token)?.known.clone();
                keeper.finish(&mut prepared.ground, &known, &token, judgement, result.as_ref())?;
            }
            Ok(reproduced)
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

/// What a token is about, on this machine.
pub(super) fn ready(token: &Token, args: &ReproArgs) -> Result<(Loaded, Setting), Error> {
    let (loaded, setting) = match &token.exec {
        Some(word) => of_command(word, args)?,
        None => of_scenario(token, args)?,
    };
    repro::check(token, &loaded.resolved)?;
    // A token's finding was made by oracles that had been proved.
    Ok((loaded, Setting { prove: false, ..setting }))
}

/// The token that was given, or that of the finding that was named, with the way to its state where that was kept.
pub(super) fn named(text: &str) -> Result<(Token, Option<Vec<Past>>), Error> {
    let Some((run_dir, id)) = text.rsplit_once('#').filter(|_| !text.starts_with("kp1:")) else {
        return Ok((text.parse()?, None));
    };
    let run_dir = Path::new(run_dir);
    let report = Report::read(run_dir)?;
    let missing = || Error::NoSuchFinding { run_dir: run_dir.to_owned(), id: id.to_owned() };
    let finding = report.findings.iter().find(|finding| finding.id == id).ok_or_else(missing)?;
    let token = finding.token.parse()?;
    let past = store::is_kept(run_dir, id).then(|| store::read(run_dir, id)).transpose()?;
    Ok((token, past))
}

fn of_scenario(token: &Token, args: &ReproArgs) -> Result<(Loaded, Setting), Error> {
    let name = args.scenario.clone().unwrap_or_else(|| token.scenario.clone());
    let tool = ToolArgs {
        scale: token.scale.clone(),
        bug: token.bug.clone(),
        seam: match token.seam {
            Seam::Fuse => SeamChoice::Fuse,
            Seam::InProcess => SeamChoice::InProcess,
        },
        real_time: false,
    };
    let (mut loaded, setting) = load(&[name], &tool, &args.place, &args.output)?;
    let one = loaded.pop().ok_or(Error::NotRecorded)?;
    Ok((one, setting))
}

/// What a token from elsewhere would run is shown before it is run.
fn of_command(word: &str, args: &ReproArgs) -> Result<(Loaded, Setting), Error> {
    let spec = Spec::from_word(word)?;
    let lines = describe_command(&spec);
    if !args.yes && !confirmed(&lines)? {
        return Err(Error::NotConfirmed { command: lines });
    }
    command(spec, args.place.work_dir.clone(), args.output.verbose)
}

fn describe_command(spec: &Spec) -> String {
    let images =
        spec.images.iter().chain(&spec.volume).map(|path| format!("on a clone of {}", path.display()));
    let resume = spec.resume.iter().map(|line| format!("resume: {line}"));
    let check = spec.check.iter().map(|line| format!("check: {line}"));
    let environment = spec.environment.iter().map(|(name, value)| format!("with {name}={value}"));
    let lines =
        std::iter::once(spec.command_line()).chain(images).chain(resume).chain(check).chain(environment);
    lines.collect::<Vec<_>>().join("\n  ")
}

/// Asks, where there is somebody to ask.
fn confirmed(lines: &str) -> Result<bool, Error> {
    let (stdin, mut stderr) = (io::stdin(), io::stderr());
    if !stdin.is_terminal() {
        return Ok(false);
    }
    let mut answer = String::new();
    write!(stderr, "This token runs a command on this machine:\n  {lines}\nRun it? [y/N] ")
        .and_then(|()| stderr.flush())
        .and_then(|()| stdin.lock().read_line(&mut answer))
        .map_err(Error::io(PathBuf::from("the terminal")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn describe(token: &Token, reproduced: &Reproduced) -> String {
    let points = token.describe_kills();
    let phase = &token.phase;
    let result = match reproduced {
        Reproduced::Judged { judgement, .. } if judgement.verdict == Verdict::Recovered => {
            "now passes: the resume recovered and every oracle holds".to_owned()
        }
        Reproduced::Judged { judgement, .. } if judgement.verdict == Verdict::RolledBack => {
            "now passes: the volume is what it was before".to_owned()
        }
        Reproduced::Judged { judgement, .. } => {
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
