//! One finding again: the kills of a token, by op, live on a fresh copy of the fixture, then the resume and the
//! oracles.

use reports::{Event, Stream, Verdict};
use scenarios::Resolved;

use crate::chain::{Chain, Cut, Judgement, Step};
use crate::error::Error;
use crate::prepare::{Prepared, Programs, Setting, prepare};
use crate::token::{self, Token};

/// What a reproduction came to.
#[derive(Clone, Debug)]
pub enum Reproduced {
    /// The crash state was brought back, and this is what the resume made of it.
    Judged(Judgement),
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

impl Reproduced {
    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Judged(judgement) => judgement.verdict,
            Self::NotLanded { .. } | Self::OtherState { .. } => Verdict::NotMeasured,
        }
    }
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
    let phases = &resolved.scenario.phase;
    phases.iter().position(|phase| phase.name == token.phase).ok_or_else(|| Error::NoSuchPhase {
        scenario: resolved.scenario.name.clone(),
        phase: token.phase.clone(),
    })
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
    let fixture = token::short(prepared.fixture_id);
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

/// Does again what the token says.
pub fn repro(token: &Token, prepared: &mut Prepared, stream: &mut Stream) -> Result<Reproduced, Error> {
    let Some(mut phase) = prepared.phases.pop() else {
        return Err(Error::NoSuchPhase { scenario: token.scenario.clone(), phase: token.phase.clone() });
    };
    let result = chain(token, prepared, &mut phase);
    prepared.phases.push(phase);
    let reproduced = result?;
    stream.emit(&Event::Judged {
        iteration: 1,
        phase: token.phase.clone(),
        verdict: reproduced.verdict(),
        kills: token.kills.len() as u32,
        wall_ms: match &reproduced {
            Reproduced::Judged(judgement) => judgement.wall_ms,
            _ => 0,
        },
    })?;
    Ok(reproduced)
}

fn chain(
    token: &Token,
    prepared: &Prepared,
    phase: &mut crate::prepare::PreparedPhase,
) -> Result<Reproduced, Error> {
    let mut chain = Chain::begin(prepared, phase)?;
    for (index, kill) in token.kills.iter().enumerate() {
        if let Step::Finished(_) = chain.cut(&Cut::Op(kill.fault), kill.wipe)? {
            return Ok(Reproduced::NotLanded { kill: index + 1, point: kill.describe() });
        }
    }
    let found = chain.crashes.last().map(|crash| token::short(crash.content_id)).unwrap_or_default();
    if found != token.crash {
        return Ok(Reproduced::OtherState { recorded: token.crash.clone(), found });
    }
    let (_, judgement) = chain.finish(None)?;
    Ok(Reproduced::Judged(judgement))
}
