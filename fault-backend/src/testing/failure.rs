//! What a sweep says where it fails: what was violated, at which crash, after which ops, and how to get there again.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Range;

use super::crash::{Crash, NotAToken, Token};
use crate::oplog::{Op, OpKind};
use crate::power::PowerError;
use crate::replay::ReplayError;

/// Ops that a message lists at most.
const LISTED_OPS: usize = 40;

/// An error of the code under test.
pub(super) type AnyError = Box<dyn Error + Send + Sync>;

/// What a state violates.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// What must hold at every crash does not.
    #[error("the crash state fails the check at the crash: {0}")]
    AtCrash(#[source] AnyError),
    /// The resume failed.
    #[error("the resume fails: {0}")]
    Resume(#[source] AnyError),
    /// What must hold after a resume does not.
    #[error("the result of the resume fails the check: {0}")]
    Check(#[source] AnyError),
    /// The resume left other bytes.
    #[error("the resume leaves other bytes than the uninterrupted run, at {}", Ranges(.0))]
    OtherBytes(Vec<Range<u64>>),
    /// After success, a power cut took something away.
    #[error("the run had succeeded, and after a power cut its result is gone, at {}", Ranges(.0))]
    NotDurable(Vec<Range<u64>>),
    /// After success, a power cut left what fails the check.
    #[error("the run had succeeded, and after a power cut the disk fails the check: {0}")]
    EndCheck(#[source] AnyError),
}

/// A sweep that did not pass. `Debug` prints it for a person, as `unwrap` in a test does.
#[derive(thiserror::Error)]
pub enum SweepError {
    /// The uninterrupted run failed, so nothing was tested.
    #[error("the uninterrupted run fails, so nothing was tested: {0}")]
    Run(#[source] AnyError),
    /// The uninterrupted run's result fails the check, so nothing was tested.
    #[error("the result of the uninterrupted run fails the check, so nothing was tested: {0}")]
    Baseline(#[source] AnyError),
    /// A crash state violates something.
    #[error("{}", Report(token, violation, ops, *states))]
    Failed {
        /// Leads back to it.
        token: Box<Token>,
        /// What it violates.
        #[source]
        violation: Violation,
        /// What was done before the last crash.
        ops: Vec<Op>,
        /// States that were looked at before.
        states: u64,
    },
    /// A run that was killed in the device left another state than the recorded one.
    #[error(
        "killed after op {0}, the run leaves other bytes than when it was recorded: \
         it has to do the same on the same disk"
    )]
    NotDeterministic(u64),
    /// The token leads to another state.
    #[error(
        "the token `{token}` leads to another state here, `{found}`: the run, the disk or the options changed"
    )]
    OtherState {
        /// The token.
        token: Token,
        /// What it leads to.
        found: crate::ContentId,
    },
    /// The token leads nowhere.
    #[error("the token `{token}` leads nowhere: there is no crash `{crash}` in this run")]
    NoSuchCrash {
        /// The token.
        token: Token,
        /// The crash.
        crash: Crash,
    },
    /// It is no token.
    #[error(transparent)]
    Token(#[from] NotAToken),
    /// A state could not be made.
    #[error(transparent)]
    Power(#[from] PowerError),
    /// The image could not be read.
    #[error("can't read the initial image")]
    Io(#[from] io::Error),
}

impl From<ReplayError> for SweepError {
    fn from(error: ReplayError) -> Self {
        Self::Power(error.into())
    }
}

impl fmt::Debug for SweepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

struct Ranges<'a>(&'a [Range<u64>]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        for (place, range) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{}..{}", if place == 0 { "" } else { ", " }, range.start, range.end)?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more places"),
        }
    }
}

struct Report<'a>(&'a Token, &'a Violation, &'a [Op], u64);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(token, violation, ops, states) = self;
        writeln!(f, "{violation}")?;
        for crash in &token.crashes {
            writeln!(f, "  crash: {}", Told(crash))?;
        }
        for op in ops.iter().take(LISTED_OPS) {
            writeln!(f, "  {}", Line(op, token.crashes.last()))?;
        }
        if ops.len() > LISTED_OPS {
            writeln!(f, "  … and {} more ops", ops.len() - LISTED_OPS)?;
        }
        writeln!(f, "  looked at {states} states before")?;
        write!(f, "  again: Sweep::new(…).replay(\"{token}\")")
    }
}

/// A crash in words.
struct Told<'a>(&'a Crash);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.0 {
            Crash::Killed(0) => return f.write_str("killed before the first op"),
            Crash::Killed(ops) => return write!(f, "killed after op {ops}"),
            Crash::Torn { op, sectors } => {
                return write!(f, "killed inside op {op}, after {sectors} sectors");
            }
            Crash::Power(state) => {
                write!(f, "power cut after op {}", state.cut)?;
                state
            }
            Crash::AtEnd(state) => {
                write!(f, "power cut after success, {} ops", state.cut)?;
                state
            }
        };
        for (place, op) in state.dropped.iter().enumerate() {
            write!(f, "{}{op}", if place == 0 { ", without op " } else { ", " })?;
        }
        state.torn.map_or(Ok(()), |torn| write!(f, ", of op {} only units {}", torn.op, torn.units))
    }
}

struct Line<'a>(&'a Op, Option<&'a Crash>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = self.0;
        let mark = match self.1 {
            Some(Crash::Power(state) | Crash::AtEnd(state)) if state.dropped.contains(&op.number) => {
                "  missing"
            }
            Some(Crash::Power(state) | Crash::AtEnd(state))
                if state.torn.is_some_and(|torn| torn.op == op.number) =>
            {
                "  torn"
            }
            Some(Crash::Torn { op: torn, .. }) if *torn == op.number => "  torn",
            _ => "",
        };
        match (&op.kind, op.range()) {
            (OpKind::Mutation(_), Some(range)) => {
                write!(f, "{:>4} write {}..{}{mark}", op.number, range.start, range.end)
            }
            _ => write!(f, "{:>4} flush", op.number),
        }
    }
}
