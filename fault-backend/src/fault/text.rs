//! The text of faults and plans, as the module's documentation says it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use nix::sys::signal::Signal;

use super::{Action, Condition, Failure, Fault, FaultPlan, Trigger};
use crate::region::digits;

/// A text that is not a fault or a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a fault: expected `b7`, `a7`, `t7.3`, `dgpt.5000` or `ACTION@TRIGGER`, such as `eio@flush/2`"
)]
pub struct PlanError(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtOp(n, Action::KillBefore) => write!(f, "b{n}"),
            Self::AtOp(n, Action::KillAfter) => write!(f, "a{n}"),
            Self::AtOp(n, Action::KillTorn(sectors)) => write!(f, "t{n}.{sectors}"),
            Self::AtOp(n, action) => write!(f, "{action}@{n}"),
            Self::FromOp(n, action) => write!(f, "{action}@{n}+"),
            Self::Delay(region, ms) => write!(f, "d{region}.{ms}"),
            Self::On(trigger, action) => write!(f, "{action}@{trigger}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillBefore => f.write_str("b"),
            Self::KillAfter => f.write_str("a"),
            Self::KillTorn(sectors) => write!(f, "t{sectors}"),
            Self::Delay(ms) => write!(f, "d{ms}"),
            Self::Fail(Failure::Io) => f.write_str("eio"),
            Self::Fail(Failure::NoSpace) => f.write_str("enospc"),
            Self::Short(bytes) => write!(f, "short{bytes}"),
            Self::DropFlush => f.write_str("drop"),
            Self::Signal(signal) => write!(f, "sig{}", signal.as_str().trim_start_matches("SIG")),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.condition {
            Condition::Region(region) => write!(f, "{region}/")?,
            Condition::Flush => f.write_str("flush/")?,
            Condition::Step(name) => write!(f, "step/{}/", escaped(name))?,
            Condition::File(glob) => write!(f, "file/{}/", escaped(glob))?,
        }
        write!(f, "{}{}", self.nth, if self.onward { "+" } else { "" })
    }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for FaultPlan {
    type Err = PlanError;
    fn from_str(text: &str) -> Result<Self, PlanError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(Fault::from_str).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Fault {
    type Err = PlanError;
    fn from_str(text: &str) -> Result<Self, PlanError> {
        let fault = match text.split_once('@') {
            Some((action, trigger)) => general(action, trigger),
            None => short(text),
        };
        fault.ok_or_else(|| PlanError(text.to_owned()))
    }
}

/// The spellings without `@`.
fn short(text: &str) -> Option<Fault> {
    let (letter, rest) = text.split_at_checked(1)?;
    let fault = match letter {
        "b" => Fault::AtOp(digits(rest)?, Action::KillBefore),
        "a" => Fault::AtOp(digits(rest)?, Action::KillAfter),
        "t" => {
            let (number, sectors) = rest.split_once('.')?;
            Fault::AtOp(digits(number)?, Action::KillTorn(digits_32(sectors)?))
        }
        "d" => {
            let (region, ms) = rest.split_once('.')?;
            Fault::Delay(region.parse().ok()?, digits(ms)?)
        }
        _ => return None,
    };
    // Only "after op 0", the start, exists before the first op.
    (!matches!(fault, Fault::AtOp(0, Action::KillBefore | Action::KillTorn(_)))).then_some(fault)
}

/// `ACTION@TRIGGER`.
fn general(action: &str, trigger: &str) -> Option<Fault> {
    let action = parse_action(action)?;
    let (trigger, onward) = match trigger.strip_suffix('+') {
        Some(trigger) => (trigger, true),
        None => (trigger, false),
    };
    let (condition, nth) = match trigger.rsplit_once('/') {
        Some((condition, nth)) => (Some(condition), digits(nth)?),
        None => (None, digits(trigger)?),
    };
    let fault = match condition {
        _ if nth == 0 => return None,
        None if onward => Fault::FromOp(nth, action),
        None => Fault::AtOp(nth, action),
        Some(condition) => Fault::On(Trigger { condition: parse_condition(condition)?, nth, onward }, action),
    };
    // A kill at an op has a spelling of its own.
    (!(matches!(fault, Fault::AtOp(..)) && fault.is_kill())).then_some(fault)
}

fn parse_action(text: &str) -> Option<Action> {
    match text {
        "b" => return Some(Action::KillBefore),
        "a" => return Some(Action::KillAfter),
        "eio" => return Some(Action::Fail(Failure::Io)),
        "enospc" => return Some(Action::Fail(Failure::NoSpace)),
        "drop" => return Some(Action::DropFlush),
        _ => {}
    }
    if let Some(bytes) = text.strip_prefix("short") {
        // A write of no bytes that says so makes a tool try for ever.
        return digits_32(bytes).filter(|bytes| *bytes > 0).map(Action::Short);
    }
    if let Some(name) = text.strip_prefix("sig") {
        let signal = Signal::from_str(&format!("SIG{name}")).ok()?;
        return (signal != Signal::SIGKILL).then_some(Action::Signal(signal));
    }
    match text.split_at_checked(1)? {
        ("t", sectors) => digits_32(sectors).map(Action::KillTorn),
        ("d", ms) => digits(ms).map(Action::Delay),
        _ => None,
    }
}

fn parse_condition(text: &str) -> Option<Condition> {
    if text == "flush" {
        Some(Condition::Flush)
    } else if let Some(name) = text.strip_prefix("step/") {
        unescaped(name).map(Condition::Step)
    } else if let Some(glob) = text.strip_prefix("file/") {
        unescaped(glob).map(Condition::File)
    } else {
        text.parse().ok().map(Condition::Region)
    }
}

fn digits_32(text: &str) -> Option<u32> {
    digits(text)?.try_into().ok()
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._/*?".contains(&byte)
}

/// A name as a text holds it, free of the characters that plans and tokens are split at.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if is_plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn unescaped(text: &str) -> Option<Arc<str>> {
    let mut name = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digits =
                std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            name.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        } else if is_plain(*byte) {
            name.push(*byte);
        } else {
            return None;
        }
    }
    String::from_utf8(name).ok().filter(|name| !name.is_empty()).map(Arc::from)
}
