//! Crash points of a sweep, and the token that leads back to one.
//!
//! A token is `sweep1:SEED:CRASHES:ID`: the crashes one after the other, separated by commas, and the content id of
//! the state that the last one leaves. A crash is `a7` (killed after op 7), `t7.3` (killed inside op 7, after 3
//! sectors of 512 bytes) or a [`PowerState`] such as `p7-3`; `end.p7-3` is a power cut after the run had succeeded.
//! Ops are counted from 1, on through a kill, and anew after a power cut.

use std::fmt;
use std::str::FromStr;

use crate::content_id::ContentId;
use crate::power::PowerState;
use crate::region::digits;

/// One crash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Crash {
    /// A kill after so many ops; 0 is the start.
    Killed(u64),
    /// A kill inside a write.
    Torn {
        /// Number of the op.
        op: u64,
        /// Sectors of 512 bytes that arrived, of those that it touches.
        sectors: u64,
    },
    /// A power cut.
    Power(PowerState),
    /// A power cut after the run had succeeded: nothing is resumed.
    AtEnd(PowerState),
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed(ops) => write!(f, "a{ops}"),
            Self::Torn { op, sectors } => write!(f, "t{op}.{sectors}"),
            Self::Power(state) => state.fmt(f),
            Self::AtEnd(state) => write!(f, "end.{state}"),
        }
    }
}

/// What leads back to a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Seed of the sweep.
    pub seed: u64,
    /// The crashes, one after the other; at least one.
    pub crashes: Vec<Crash>,
    /// What the last one leaves.
    pub id: ContentId,
}

/// A text that is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no token of a sweep: expected one such as `sweep1:0:a7:…` as a failure prints it")]
pub struct NotAToken(String);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sweep1:{}:", self.seed)?;
        for (place, crash) in self.crashes.iter().enumerate() {
            write!(f, "{}{crash}", if place == 0 { "" } else { "," })?;
        }
        write!(f, ":{}", self.id)
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| NotAToken(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Token> {
    let mut parts = text.strip_prefix("sweep1:")?.splitn(3, ':');
    let seed = digits(parts.next()?)?;
    let crashes = parts.next()?.split(',').map(parse_crash).collect::<Option<Vec<Crash>>>()?;
    Some(Token { seed, crashes, id: parts.next()?.parse().ok()? })
}

fn parse_crash(text: &str) -> Option<Crash> {
    if let Some(state) = text.strip_prefix("end.") {
        return Some(Crash::AtEnd(state.parse().ok()?));
    }
    match text.split_at_checked(1)? {
        ("a", ops) => Some(Crash::Killed(digits(ops)?)),
        ("t", place) => {
            let (op, sectors) = place.split_once('.')?;
            Some(Crash::Torn { op: digits(op)?, sectors: digits(sectors)? })
        }
        _ => Some(Crash::Power(text.parse().ok()?)),
    }
}
