//! `shrink`: one finding with as few faults, and as early ones, as still fail alike.

use reports::{CampaignStarted, Event, Exit, Model, Stream, Verdict};

use super::print;
use super::repro::{named, origin_of, ready};
use super::run::{Loaded, started};
use super::session::Session;
use crate::cli::{Format, ShrinkArgs};
use crate::error::Error;
use crate::judge::Judgement;
use crate::prepare::Prepared;
use crate::record::{Place, Recorder, Trace};
use crate::repro::{self, outage_of};
use crate::shrink::{self, Case, Failure, Limits, Outcome, Shrunk};
use crate::token::{self, Token, TokenKill};

/// What became of a token.
enum Done {
    /// It fails, and so does this.
    Smaller(Box<Shrunk>),
    /// It does not fail.
    Passes,
    /// It could not be told.
    NotMeasured(&'static str),
}

pub(super) fn shrink(args: ShrinkArgs) -> Result<Exit, Error> {
    let (token, _) = named(&args.token)?;
    let (loaded, setting) = ready(&token, &args.as_repro())?;
    let origin = origin_of(&token, &loaded, &setting);
    let Loaded { resolved, programs, .. } = loaded;
    let started = started(&resolved, &programs, reports::Command::Shrink, &setting, token.seed);
    let started = CampaignStarted { iterations: Some(1), ..started };
    let mut session =
        Session::begin(args.place.run_dir.as_deref(), &resolved.scenario.name, args.output.clone(), started)?;
    let mut recorder = Recorder::new(origin, session.run_dir());
    let prepared = repro::prepare_for(&token, resolved, programs, &setting, &mut session.stream);
    let result = prepared.and_then(|mut prepared| {
        session.prepared();
        prepared.ground.watch_room(session.run_dir(), args.place.min_free);
        smaller(&token, &mut prepared, args.limits(), &mut recorder, &mut session.stream)
    });
    let result = match result {
        Ok(done) => {
            if args.output.format == Format::Human {
                print(&describe(&token, &done))?;
            }
            Ok(())
        }
        Err(error) => Err(error),
    };
    session.end(result)
}

/// Brings a token back, makes it smaller, and reports what it became.
fn smaller(
    token: &Token,
    prepared: &mut Prepared,
    limits: Limits,
    recorder: &mut Recorder,
    stream: &mut Stream,
) -> Result<Done, Error> {
    prepared.ground.may_go_on()?;
    prepared.ground.warn_of_room(stream)?;
    stream.emit(&Event::IterationStarted { iteration: 1 })?;
    let place = Place::new(1, repro::last_of(&mut prepared.phases, token)?);
    let phase = prepared.phases.len() - 1;
    let outage = outage_of(token);
    let Some((crashes, judgement)) = shrink::once(prepared, phase, &token.kills, outage.as_ref())? else {
        let why = "a kill did not land, since the tool was at its end before";
        return unmeasured(token, why, &place, recorder, prepared, stream);
    };
    let trace = Trace::of(&crashes, &place);
    if trace.crash != token.crash {
        let why = "the crash state is not the token's";
        return unmeasured(token, why, &place, recorder, prepared, stream);
    }
    if judgement.verdict.is_pass() || judgement.verdict == Verdict::NotMeasured {
        let passes = judgement.verdict.is_pass();
        recorder.kills(&place, &crashes, usize::MAX / 2, &mut 0, stream)?;
        recorder.judged(&mut prepared.ground, &place, &crashes, judgement, stream)?;
        return Ok(if passes { Done::Passes } else { Done::NotMeasured("an oracle could not run") });
    }
    let failure = Failure { verdict: judgement.verdict, oracle: judgement.oracle };
    let case = Case { kills: token.kills.clone(), failure, outage };
    let shrunk = match shrink::shrink(prepared, phase, &case, limits)? {
        Outcome::Shrunk(shrunk) => shrunk,
        Outcome::NotAgain => {
            let why = "it failed, but not again in the same way";
            return unmeasured(token, why, &place, recorder, prepared, stream);
        }
        Outcome::NotLive => {
            let why = "what fails from the recorded run does not when it is done live";
            return unmeasured(token, why, &place, recorder, prepared, stream);
        }
    };
    recorder.kills(&place, &shrunk.crashes, usize::MAX / 2, &mut 0, stream)?;
    recorder.verdict(&place, shrunk.crashes.len(), &shrunk.judgement, stream)?;
    let model = if token.device.is_some() { Model::Power } else { trace.model };
    let trace = Trace { model, kills: token.kills.clone(), ..trace }.shrunk_to(&shrunk, &place);
    recorder.follow_up(&mut prepared.ground, &place, &trace, shrunk.judgement.clone(), stream)?;
    Ok(Done::Smaller(shrunk))
}

/// Reports that nothing can be said.
fn unmeasured(
    token: &Token,
    why: &'static str,
    place: &Place,
    recorder: &mut Recorder,
    prepared: &mut Prepared,
    stream: &mut Stream,
) -> Result<Done, Error> {
    let judgement = Judgement::not_measured(format!("{why} (`{}`)", token::faults_text(&token.kills)));
    recorder.judged(&mut prepared.ground, place, &[], judgement, stream)?;
    Ok(Done::NotMeasured(why))
}

fn describe(token: &Token, done: &Done) -> String {
    let before = token.describe_kills();
    let result = match done {
        Done::Passes => "now passes, so that there is nothing to make smaller".to_owned(),
        Done::NotMeasured(why) => format!("not measured: {why}"),
        Done::Smaller(shrunk) => describe_smaller(token, shrunk),
    };
    format!("phase {}, killed: {before}\n{result}\n\n", token.phase)
}

fn describe_smaller(token: &Token, shrunk: &Shrunk) -> String {
    let Shrunk { kills, judgement, complete, tries, wall, .. } = shrunk;
    let fails = format!("{} ({})", judgement.verdict.name(), judgement.oracle);
    let effort = format!("{tries} chains in {:.1} s", wall.as_secs_f64());
    let bound = match complete {
        true => format!("minimal: nothing in it can be left out or come earlier in its step; {effort}"),
        false => format!("not known to be minimal: time was up after {effort}; give more with --budget"),
    };
    let words = || kills.iter().map(TokenKill::describe).collect::<Vec<_>>().join(", then ");
    match *kills == token.kills {
        true => format!("fails: {fails}, and stays as it is\n  {bound}"),
        false => format!("fails in the same way, {fails}: {}\n  {bound}", words()),
    }
}
