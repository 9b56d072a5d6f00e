//! One state of the power model as data, and as a text for tokens.
//!
//! | text | state |
//! |---|---|
//! | `p12` | all of the first 12 ops |
//! | `p12-3.7` | less ops 3 and 7 |
//! | `p12-3.7t9.2` | and of op 9 only the first 2 of the device's units that it touches |
//! | `p12t9.l2`, `p12t9.o2`, `p12t9.s1` | the last 2, only the 2nd, a choice by the seed |

use std::fmt;
use std::str::FromStr;

use crate::region::digits;

/// What is there after a power cut.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PowerState {
    /// The power fails after this op; 0 is the start.
    pub cut: u64,
    /// Volatile ops up to the cut that are missing whole, in order.
    pub dropped: Vec<u64>,
    /// A write of which a part is there.
    pub torn: Option<Torn>,
}

/// A write of which a part is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Torn {
    /// Number of the op.
    pub op: u64,
    /// The part.
    pub units: Units,
}

/// Which of the device's atomic units that a write touches are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Units {
    /// So many from its first.
    First(u64),
    /// So many up to its last.
    Last(u64),
    /// One, counted from 1.
    Only(u64),
    /// Each or not, drawn from the seed, the op, and this number.
    Sample(u64),
}

impl PowerState {
    /// All of the first so many ops: the state of model `kill`.
    pub fn prefix(cut: u64) -> Self {
        Self { cut, dropped: Vec::new(), torn: None }
    }

    /// Whether it is a state of model `kill`, too.
    pub fn is_prefix(&self) -> bool {
        self.dropped.is_empty() && self.torn.is_none()
    }
}

/// A text that is not a power state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no power state: expected `p12`, `p12-3.7` or `p12-3.7t9.2`")]
pub struct NotAPowerState(String);

impl fmt::Display for PowerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.cut)?;
        for (place, op) in self.dropped.iter().enumerate() {
            write!(f, "{}{op}", if place == 0 { '-' } else { '.' })?;
        }
        self.torn.map_or(Ok(()), |torn| write!(f, "t{}.{}", torn.op, torn.units))
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First(count) => write!(f, "{count}"),
            Self::Last(count) => write!(f, "l{count}"),
            Self::Only(unit) => write!(f, "o{unit}"),
            Self::Sample(number) => write!(f, "s{number}"),
        }
    }
}

impl FromStr for PowerState {
    type Err = NotAPowerState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| NotAPowerState(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<PowerState> {
    let rest = text.strip_prefix('p')?;
    let (rest, torn) = match rest.split_once('t') {
        Some((rest, torn)) => (rest, Some(parse_torn(torn)?)),
        None => (rest, None),
    };
    let (cut, dropped) = match rest.split_once('-') {
        Some((cut, dropped)) => (cut, dropped.split('.').map(digits).collect::<Option<Vec<u64>>>()?),
        None => (rest, Vec::new()),
    };
    let state = PowerState { cut: digits(cut)?, dropped, torn };
    // One state, one text: no leading zeros, ops in order.
    (state.dropped.is_sorted_by(|a, b| a < b) && state.to_string() == text).then_some(state)
}

fn parse_torn(text: &str) -> Option<Torn> {
    let (op, units) = text.split_once('.')?;
    let units = match units.split_at_checked(1)? {
        ("l", count) => Units::Last(digits(count)?),
        ("o", unit) => Units::Only(digits(unit)?),
        ("s", number) => Units::Sample(digits(number)?),
        _ => Units::First(digits(units)?),
    };
    Some(Torn { op: digits(op)?, units })
}
