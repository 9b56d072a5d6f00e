//! What is simpler than a fault: a milder one at the same op, and the same one at an earlier op of its step.

use fault_backend::oplog::OpLog;
use fault_backend::power::PowerState;
use fault_backend::{Action, Fault};

use crate::token::TokenKill;

/// The same fault with one thing less to it. `keep` says that scratch files may stay.
pub(super) fn milder(kill: &TokenKill, keep: bool) -> Vec<TokenKill> {
    let kept = (keep && kill.wipe && !kill.done).then(|| TokenKill { wipe: false, ..kill.clone() });
    let whole = kill.power.as_ref().filter(|state| state.torn.is_some());
    let whole = whole
        .map(|state| TokenKill { power: Some(PowerState { torn: None, ..state.clone() }), ..kill.clone() });
    let once = match kill.fault {
        Fault::FromOp(op, action) => Some(TokenKill { fault: Fault::AtOp(op, action), ..kill.clone() }),
        _ => None,
    };
    kept.into_iter().chain(whole).chain(once).collect()
}

/// The same fault at earlier points of its step, the earliest first. Without a recording of the run it is not known where
/// the step begins, so they are those of the whole run.
pub(super) fn earlier(kill: &TokenKill, log: Option<&OpLog>) -> Vec<TokenKill> {
    if kill.done {
        return Vec::new();
    }
    if let Some(state) = &kill.power {
        return earlier_cuts(kill, state, log);
    }
    let (op, action) = match kill.fault {
        Fault::AtOp(op, action) | Fault::FromOp(op, action) => (op, action),
        _ => return Vec::new(),
    };
    let at = |fault| TokenKill { fault, ..kill.clone() };
    if !kill.fault.is_kill() {
        let once = |op| match kill.fault {
            Fault::FromOp(..) => at(Fault::FromOp(op, action)),
            _ => at(Fault::AtOp(op, action)),
        };
        return (first_of_step(op, log).max(1)..op).map(once).collect();
    }
    let first = first_of_step(op, log);
    let before = (first > 0).then(|| at(Fault::AtOp(first, Action::KillBefore)));
    let before = before.filter(|before| *before != *kill);
    let after = (first..op).map(|op| at(Fault::AtOp(op, Action::KillAfter)));
    // The state before an op is the one after the op before it.
    let last = op.saturating_sub(u64::from(action == Action::KillBefore));
    let after = after.filter(move |point| point.fault != Fault::AtOp(last, Action::KillAfter));
    before.into_iter().chain(after).chain(less_of(kill, op, action, log)).collect()
}

/// A kill inside a write, at the pages before that.
fn less_of(kill: &TokenKill, op: u64, action: Action, log: Option<&OpLog>) -> Vec<TokenKill> {
    let (Action::KillTorn(sectors), Some(write)) = (action, log.and_then(|log| log.op(op))) else {
        return Vec::new();
    };
    let pages = (1..write.pages()).map(|page| write.torn_sectors(page));
    let fewer =
        pages.take_while(|less| *less < u64::from(sectors)).filter_map(|less| u32::try_from(less).ok());
    fewer.map(|less| TokenKill { fault: Fault::AtOp(op, Action::KillTorn(less)), ..kill.clone() }).collect()
}

/// Power cuts after which the same ops are lost.
fn earlier_cuts(kill: &TokenKill, state: &PowerState, log: Option<&OpLog>) -> Vec<TokenKill> {
    let torn = state.torn.map_or(0, |torn| torn.op);
    let lost = state.dropped.last().copied().unwrap_or(0).max(torn);
    let first = first_of_step(state.cut, log).max(lost);
    let cut = |cut| TokenKill {
        fault: Fault::AtOp(cut, Action::KillAfter),
        power: Some(PowerState { cut, ..state.clone() }),
        ..kill.clone()
    };
    (first..state.cut).map(cut).collect()
}

/// The first of the ops without a break that belong to an op's step; 0 where nothing is known.
fn first_of_step(op: u64, log: Option<&OpLog>) -> u64 {
    let Some(log) = log else { return 0 };
    let Some(step) = log.op(op).map(|op| &op.step) else { return op };
    (1..op)
        .rev()
        .take_while(|earlier| log.op(*earlier).is_some_and(|op| op.step == *step))
        .last()
        .unwrap_or(op)
}
