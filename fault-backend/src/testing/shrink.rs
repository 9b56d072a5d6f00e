//! Makes a failing crash state smaller: fewer missing ops, nothing torn, an earlier cut.
//!
//! The search already comes to fewer crashes before more, to kills before power cuts, and to early ops before later
//! ones; what is left is the set of ops that a power cut took away.

use super::crash::Crash;
use super::explore::{Explorer, Node};
use super::failure::{SweepError, Violation};
use super::states::{Recorded, State};
use crate::power::PowerState;

/// States that are tried at most.
const TRIES: u32 = 10_000;

impl Explorer<'_> {
    /// The smallest failing state near this one.
    pub(super) fn smallest(
        &mut self,
        node: &Node,
        recorded: &Recorded,
        state: State,
        violation: Violation,
    ) -> SweepError {
        let (mut best, mut why) = (state, violation);
        let mut tries = 0;
        'smaller: loop {
            for crash in simpler(&best.crash, recorded.past) {
                tries += 1;
                if tries > TRIES {
                    break 'smaller;
                }
                let Ok(Some(state)) = recorded.state(&crash, &self.sweep) else { continue };
                if let Err(violation) = self.judge(&state) {
                    (best, why) = (state, violation);
                    continue 'smaller;
                }
            }
            break;
        }
        self.failed(node, recorded, &best, why)
    }
}

/// Crashes with less to them, the least first.
fn simpler(crash: &Crash, past: u64) -> Vec<Crash> {
    match crash {
        Crash::Power(state) => {
            let kill = (!state.is_prefix()).then_some(Crash::Killed(state.cut));
            let earlier = earlier(state).filter(|state| state.cut > past);
            kill.into_iter().chain(fewer(state).chain(earlier).map(Crash::Power)).collect()
        }
        // The cut is at the run's end, whatever is missing.
        Crash::AtEnd(state) => fewer(state).map(Crash::AtEnd).collect(),
        Crash::Killed(_) | Crash::Torn { .. } => Vec::new(),
    }
}

/// The same cut with one op more there, or nothing torn.
fn fewer(state: &PowerState) -> impl Iterator<Item = PowerState> + '_ {
    let whole = state.torn.map(|_| PowerState { torn: None, ..state.clone() });
    let missing = state.torn.map(|torn| {
        let mut dropped = [state.dropped.as_slice(), &[torn.op]].concat();
        dropped.sort_unstable();
        PowerState { cut: state.cut, dropped, torn: None }
    });
    let less = (0..state.dropped.len()).map(|at| {
        let mut less = state.clone();
        less.dropped.remove(at);
        less
    });
    whole.into_iter().chain(less).chain(missing)
}

/// The power failing one op earlier.
fn earlier(state: &PowerState) -> impl Iterator<Item = PowerState> {
    let cut = state.cut.saturating_sub(1);
    let dropped = state.dropped.iter().copied().filter(|op| *op <= cut).collect();
    let torn = state.torn.filter(|torn| torn.op <= cut);
    (state.cut > 0).then_some(PowerState { cut, dropped, torn }).into_iter()
}
