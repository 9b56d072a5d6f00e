//! One finding again: the kills of a token, by op, live on a fresh copy of the fixture, then the resume and the
//! oracles.

use std::sync::Arc;

use fault_backend::replay::Point;
use fault_backend::volume::Volume;
use reports::{Event, Stream};
use scenarios::Resolved;

use crate::chain::{Chain, CrashState, Finished, Step, sample};
use crate::error::Error;
use crate::ground::{Ground, Setting};
use crate::judge::Judgement;
use crate::outage::Outage;
use crate::prepare::{Known, Prepared, PreparedPhase, place_of, prepare};
use crate::programs::Programs;
use crate::record::{Place, Recorder};
use crate::stage::Cut;
use crate::store::{self, Past, Reached};
use crate::token::{self, Token, TokenKill};

/// Sees the crash state before anything is resumed.
pub type Crashed<'a> = &'a mut dyn FnMut(&mut Ground) -> Result<(), Error>;

/// What a reproduction came to.
#[derive(Clone, Debug)]
pub enum Reproduced {
    /// The crash state was brought back, and this is what the resume made of it.
    Judged {
        /// What it is.
        judgement: Judgement,
        /// What the resume left, on a seam that has that in memory.
        result: Option<Volume>,
    },
    /// A kill did not land: the run was at its end before it.
    NotLanded {
        /// Which, from 1.
        kill: usize,
        /// The kill in words.
        point: String,
    },
    /// The kills landed, but the crash state is another one.
    OtherState {
        /// Recorded id, 16 digits.
        recorded: String,
        /// Id of the state that was found, 16 digits.
        found: String,
    },
}

/// Checks that a token fits a scenario as it is now, and gives the index of its phase.
pub fn check(token: &Token, resolved: &Resolved) -> Result<usize, Error> {
    let digest = resolved.digest();
    if digest != token.digest {
        return Err(Error::TokenDigest {
            what: "a scenario with the digest",
            recorded: token.digest.clone(),
            found: digest,
            hint: "the scenario was changed since; use the version that the token was made with",
        });
    }
    place_of(&token.phase, resolved)
}

/// Makes ready what a token needs: its phase and the ones before it.
pub fn prepare_for(
    token: &Token,
    resolved: Resolved,
    programs: Programs,
    setting: &Setting,
    stream: &mut Stream,
) -> Result<Prepared, Error> {
    let phase = check(token, &resolved)?;
    let prepared = prepare(resolved, programs, setting, Some(phase), stream)?;
    let fixture = token::short(prepared.ground.fixture_id);
    if fixture != token.fixture {
        return Err(Error::TokenDigest {
            what: "a fixture with the content id",
            recorded: token.fixture.clone(),
            found: fixture,
            hint: "the programs that build it differ from those of the machine that the token is from",
        });
    }
    Ok(prepared)
}

/// Does again what the token says. `crashed` sees the crash state before anything is resumed.
pub fn repro(
    token: &Token,
    prepared: &mut Prepared,
    recorder: &mut Recorder,
    crashed: Crashed<'_>,
    stream: &mut Stream,
) -> Result<Reproduced, Error> {
    let Prepared { phases, ground } = prepared;
    let phase = last_of(phases, token)?;
    stream.emit(&Event::IterationStarted { iteration: 1 })?;
    let place = Place::new(1, phase);
    let mut attempt = 0;

    let mut chain = Chain::begin(ground, phase)?;
    let walked = walk(&mut chain, &token.kills, outage_of(token).as_ref(), Begin::Live)?;
    let found = chain.crashes.last().map_or(place.start_id, |crash| crash.sample.volume_id);
    let found = token::short(found);
    // A kill that the seam made is before the end of its run, whatever there was left to write.
    let writes_after = usize::MAX / 2;
    if let Walked::NotLanded { place: at } = walked {
        recorder.kills(&place, &chain.crashes, writes_after, &mut attempt, stream)?;
        stream.emit(&Event::Late {
            iteration: 1,
            phase: token.phase.clone(),
            attempt: attempt + 1,
            step: "start".to_owned(),
        })?;
        return Ok(Reproduced::NotLanded { kill: at + 1, point: token.kills[at].describe() });
    }
    if found != token.crash {
        let crashes = chain.crashes;
        recorder.kills(&place, &crashes, writes_after, &mut attempt, stream)?;
        let why = format!("the crash state is `{found}`, and the token's is `{}`", token.crash);
        let judgement = Judgement::not_measured(why);
        recorder.judged(ground, &place, &crashes, judgement, stream)?;
        return Ok(Reproduced::OtherState { recorded: token.crash.clone(), found });
    }
    crashed(chain.ground())?;
    let Finished { crashes, judgement, result, .. } =
        if ends_done(&token.kills) { chain.finish_durable() } else { chain.finish(None) }?;
    recorder.kills(&place, &crashes, writes_after, &mut attempt, stream)?;
    recorder.judged(ground, &place, &crashes, judgement.clone(), stream)?;
    Ok(Reproduced::Judged { judgement, result })
}

/// The phase that was made ready for a token.
pub fn last_of<'a>(phases: &'a mut [PreparedPhase], token: &Token) -> Result<&'a mut PreparedPhase, Error> {
    phases.last_mut().ok_or_else(|| Error::NoSuchPhase {
        scenario: token.scenario.clone(),
        phase: token.phase.clone(),
        phases: "none that was made ready".to_owned(),
    })
}

/// How a token's power fails.
pub fn outage_of(token: &Token) -> Option<Arc<Outage>> {
    let device = token.device.clone();
    device.map(|(device, durability)| Arc::new(Outage { device, durability, seed: token.seed }))
}

/// Whether nothing is resumed after the last kill.
pub fn ends_done(kills: &[TokenKill]) -> bool {
    kills.last().is_some_and(|kill| kill.done)
}

/// How a chain comes to its first crash state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// By running the tool up to there.
    Live,
    /// From the recorded run, where there is one.
    Recorded,
}

/// How far faults led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walked {
    /// All of them happened.
    Landed,
    /// The run was at its end before one of them.
    NotLanded {
        /// Which, from 0.
        place: usize,
    },
}

/// Makes the faults happen, one after the other.
pub fn walk(
    chain: &mut Chain<'_>,
    kills: &[TokenKill],
    outage: Option<&Arc<Outage>>,
    begin: Begin,
) -> Result<Walked, Error> {
    for (place, kill) in kills.iter().enumerate() {
        if kill.power.is_some() {
            chain.lose_power(kill, outage.ok_or(Error::NotRecorded)?)?;
        } else if !kill.fault.is_kill() {
            chain.disturb(kill.fault.clone())?;
        } else if place == 0 && begin == Begin::Recorded && chain.leap(kill)? {
            // It is there without a run.
        } else if let Step::Finished(_) = chain.cut(&Cut::Op(kill.fault.clone()), kill.wipe)? {
            return Ok(Walked::NotLanded { place });
        }
    }
    Ok(Walked::Landed)
}

/// What the tool had acknowledged before the first kill that led to a kept state.
fn acknowledged(known: &Known, past: &[Past]) -> Vec<String> {
    let Some(leg) = past.first() else { return Vec::new() };
    let cut = match &leg.at {
        Reached::Point(Point::After(op)) => *op,
        Reached::Point(Point::Torn { op, .. }) => op - 1,
        Reached::Power(cut) => cut.state.cut,
    };
    let told = leg.log.acks_after(cut, u32::try_from(known.acks.len()).unwrap_or(u32::MAX));
    known.acks.iter().take(told as usize).cloned().collect()
}

/// What recorded runs lead to.
#[derive(Debug)]
pub enum Followed {
    /// The token's crash state, and this is what the resume made of it.
    Judged(Box<Finished>),
    /// Another state, of this id (16 digits).
    OtherState(String),
}

/// Judges the crash state that recorded runs lead to from the phase's start, without running the tool up to it.
pub fn follow(
    token: &Token,
    past: &[Past],
    prepared: &mut Prepared,
    crashed: Crashed<'_>,
) -> Result<Followed, Error> {
    let Prepared { phases, ground } = prepared;
    let phase = last_of(phases, token)?;
    ground.stage.enter(&mut phase.known.start, &mut phase.known.baseline)?;
    let start = phase.known.start.memory.clone().ok_or(Error::NotRecorded)?;
    let fuse = ground.stage.fuse()?;
    let state = store::follow(start, past, |state| fuse.without_scratch(state).map(drop))?;
    fuse.place_volume(state);
    let acks = acknowledged(&phase.known, past);
    let sample = sample(ground, phase, &acks)?;
    let found = token::short(sample.volume_id);
    let kill = token.kills.last().cloned();
    let crashes: Vec<CrashState> =
        kill.into_iter().map(|kill| CrashState::of_point(kill, sample.clone())).collect();
    if found != token.crash {
        return Ok(Followed::OtherState(found));
    }
    let mut chain = Chain::begin_with(ground, phase, crashes, acks);
    crashed(chain.ground())?;
    let finished = if ends_done(&token.kills) { chain.finish_durable() } else { chain.finish(None) }?;
    Ok(Followed::Judged(Box::new(finished)))
}

/// Judges the crash state that a run directory keeps, and reports it.
pub fn judge_kept(
    token: &Token,
    past: &[Past],
    prepared: &mut Prepared,
    recorder: &mut Recorder,
    crashed: Crashed<'_>,
    stream: &mut Stream,
) -> Result<Reproduced, Error> {
    stream.emit(&Event::IterationStarted { iteration: 1 })?;
    let place = Place::new(1, last_of(&mut prepared.phases, token)?);
    let Finished { crashes, judgement, result, .. } = match follow(token, past, prepared, crashed)? {
        Followed::Judged(finished) => *finished,
        Followed::OtherState(found) => {
            return Ok(Reproduced::OtherState { recorded: token.crash.clone(), found });
        }
    };
    let ground = &mut prepared.ground;
    recorder.kills(&place, &crashes, usize::MAX / 2, &mut 0, stream)?;
    recorder.judged(ground, &place, &crashes, judgement.clone(), stream)?;
    Ok(Reproduced::Judged { judgement, result })
}
