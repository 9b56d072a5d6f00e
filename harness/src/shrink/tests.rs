//! Goal: a search gives faults that still fail, that nothing simpler by one does, and it stops when it is told to. Method:
//! an artificial bug that needs some kills in their order, each at certain ops, and the loss of certain ops, stands for the
//! tool; what is simpler by one is made here from the faults' own texts, and tried on the bug.

use std::convert::Infallible;

use fault_backend::power::{PowerState, Torn, Units};
use fault_backend::{Action, Fault};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::search::{Earlier, Found, Subject, search};
use super::simpler;
use crate::token::{TokenKill, faults_text};

/// Kills that are needed, in this order: each at an op from `from` on of which the remainder by `by` is `rest`.
#[derive(Clone, Debug)]
struct Needed {
    from: u64,
    by: u64,
    rest: u64,
}

impl Needed {
    fn is_met(&self, kill: &TokenKill) -> bool {
        matches!(kill.fault, Fault::AtOp(op, _) if op >= self.from && op % self.by == self.rest)
    }
}

/// A bug, and how often it was asked.
#[derive(Clone, Debug)]
struct Bug {
    kills: Vec<Needed>,
    /// Ops that have to be lost in the last power cut.
    lost: Vec<u64>,
    tries: u64,
    limit: u64,
}

impl Bug {
    fn of_kills(kills: Vec<Needed>) -> Self {
        Self { kills, lost: Vec::new(), tries: 0, limit: u64::MAX }
    }

    fn of_losses(lost: &[u64]) -> Self {
        Self { lost: lost.to_vec(), ..Self::of_kills(Vec::new()) }
    }

    fn shows(&self, kills: &[TokenKill]) -> bool {
        let mut needed = self.kills.iter().peekable();
        for kill in kills {
            needed.next_if(|needed| needed.is_met(kill));
        }
        let lost = kills.last().and_then(|kill| kill.power.as_ref()).map_or(&[][..], |state| &state.dropped);
        needed.peek().is_none() && self.lost.iter().all(|op| lost.contains(op))
    }
}

impl Subject for Bug {
    type Error = Infallible;

    fn fails(&mut self, kills: &[TokenKill]) -> Result<Option<Earlier>, Infallible> {
        self.tries += 1;
        let earlier = || kills.iter().map(|kill| simpler::earlier(kill, None)).collect();
        Ok(self.shows(kills).then(earlier))
    }

    fn is_over(&self) -> bool {
        self.tries >= self.limit
    }

    fn may_keep_scratch(&self) -> bool {
        true
    }
}

fn found(bug: &mut Bug, kills: &[TokenKill]) -> Option<Found> {
    search(bug, kills).unwrap_or_else(|never| match never {})
}

fn kills(text: &str) -> Vec<TokenKill> {
    let token = format!("kp1:x:fuse:0123456789abcdef:s1:p:{text}:0123456789abcdef:0123456789abcdef");
    token.parse::<crate::token::Token>().unwrap().kills
}

/// Everything that is simpler by one, without the search's own list of it.
fn simpler_by_one(best: &[TokenKill]) -> Vec<Vec<TokenKill>> {
    let mut all = Vec::new();
    for place in 0..best.len() {
        if best.len() > 1 {
            let mut fewer = best.to_vec();
            fewer.remove(place);
            all.push(fewer);
        }
        let mut others = Vec::new();
        let kill = &best[place];
        if kill.wipe {
            others.push(TokenKill { wipe: false, ..kill.clone() });
        }
        match &kill.power {
            None => {
                let Fault::AtOp(op, _) = kill.fault else { unreachable!("the bugs here are of kills") };
                let at = |op| TokenKill::new(Fault::AtOp(op, Action::KillAfter), kill.wipe);
                others.extend((0..op).map(at));
            }
            Some(state) => {
                for op in &state.dropped {
                    let dropped = state.dropped.iter().copied().filter(|other| other != op).collect();
                    others.push(TokenKill {
                        power: Some(PowerState { dropped, ..state.clone() }),
                        ..kill.clone()
                    });
                }
                let last = state.dropped.last().copied().unwrap_or(0);
                for cut in last..state.cut {
                    others.push(TokenKill::power(PowerState { cut, ..state.clone() }, kill.wipe));
                }
            }
        }
        for other in others {
            let mut changed = best.to_vec();
            changed[place] = other;
            all.push(changed);
        }
    }
    all
}

fn any_needed() -> impl Strategy<Value = Needed> {
    (0..30u64, 1..5u64, any::<u64>()).prop_map(|(from, by, rest)| Needed { from, by, rest: rest % by })
}

fn any_kill() -> impl Strategy<Value = TokenKill> {
    (0..60u64, any::<bool>()).prop_map(|(op, wipe)| TokenKill::new(Fault::AtOp(op, Action::KillAfter), wipe))
}

proptest! {
    #[test]
    fn nothing_simpler_by_one_than_what_is_found_fails(
        needed in vec(any_needed(), 1..4), given in vec(any_kill(), 1..7))
    {
        let mut bug = Bug::of_kills(needed);
        let found = found(&mut bug, &given);
        prop_assert_eq!(found.is_some(), bug.shows(&given));
        if let Some(Found { kills, complete }) = found {
            prop_assert!(complete);
            prop_assert!(bug.shows(&kills), "{}", faults_text(&kills));
            prop_assert_eq!(kills.len(), bug.kills.len(), "a kill for each that is needed");
            for simpler in simpler_by_one(&kills) {
                prop_assert!(!bug.shows(&simpler), "{} too", faults_text(&simpler));
            }
        }
    }

    #[test]
    fn of_the_ops_that_a_power_cut_lost_those_that_matter_are_left(
        lost in btree_set(1..50u64, 0..20), matter in btree_set(1..50u64, 0..4), more in 0..20u64)
    {
        let dropped: Vec<u64> = lost.union(&matter).copied().collect();
        let cut = dropped.last().copied().unwrap_or(0) + more;
        let state = PowerState { cut, dropped, torn: None };
        let matter: Vec<u64> = matter.into_iter().collect();
        let mut bug = Bug::of_losses(&matter);
        let found = found(&mut bug, &[TokenKill::power(state, true)]).expect("all that matters is lost");
        let earliest = matter.last().copied().unwrap_or(0);
        let wanted = TokenKill::power(PowerState { cut: earliest, dropped: matter, torn: None }, false);
        prop_assert_eq!(found, Found { kills: vec![wanted], complete: true });
    }

    #[test]
    fn a_search_that_is_stopped_gives_faults_that_fail_and_does_not_call_them_minimal(
        needed in vec(any_needed(), 1..3), given in vec(any_kill(), 1..6), limit in 1..40u64)
    {
        let mut whole = Bug::of_kills(needed);
        let mut stopped = Bug { limit, ..whole.clone() };
        let (all, part) = (found(&mut whole, &given), found(&mut stopped, &given));
        prop_assert!(stopped.tries <= limit.max(1));
        if let (Some(all), Some(part)) = (all, part) {
            prop_assert!(whole.shows(&part.kills));
            // What was stopped behind its last try may not know that it was the last.
            prop_assert!(!part.complete || part == all);
        }
    }

    #[test]
    fn what_is_minimal_stays_as_it_is(needed in vec(any_needed(), 1..3), given in vec(any_kill(), 1..6)) {
        let mut bug = Bug::of_kills(needed);
        if let Some(first) = found(&mut bug, &given) {
            prop_assert_eq!(found(&mut bug, &first.kills), Some(first));
        }
    }
}

/// Each row is a bug, faults, what they become, and the most chains that may be tried for it.
#[test]
fn examples_become_as_small_as_a_person_would_make_them() {
    let at = |from, by, rest| Needed { from, by, rest };
    for (bug, given, wanted, most) in [
        (Bug::of_kills(vec![at(7, 1, 0)]), "a23w,a16w,a40k", "a7k", 30),
        (Bug::of_kills(vec![at(7, 1, 0), at(3, 2, 1)]), "a23w,a16w,a41k", "a7k,a3k", 60),
        (Bug::of_kills(vec![at(5, 5, 0)]), "t40.3w", "a5k", 60),
        (Bug::of_losses(&[3, 9]), "p20-3.4.5.9.11t12.l2w", "p9-3.9k", 40),
        (Bug::of_losses(&[3]), "p20-3.4d", "p20-3d", 20),
        (Bug::of_losses(&[]), "p20-3.4d", "p20d", 20),
    ] {
        let mut bug = bug;
        let found = found(&mut bug, &kills(given)).expect("the bug shows");
        assert_eq!(faults_text(&found.kills), wanted, "{given}");
        assert!(bug.tries <= most, "{given}: {} tries", bug.tries);
    }
}

#[test]
fn a_kill_inside_a_write_comes_after_all_that_are_before_it() {
    let earlier = simpler::earlier(&kills("t2.9k")[0], None);
    assert_eq!(faults_text(&earlier), "a0k,a1k");
    let torn = PowerState { cut: 3, dropped: vec![1], torn: Some(Torn { op: 2, units: Units::First(1) }) };
    let milder = simpler::milder(&TokenKill::power(torn, true), true);
    assert_eq!(faults_text(&milder), "p3-1t2.1k,p3-1w");
}
