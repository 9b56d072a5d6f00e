//! The search for fewer and earlier faults, whatever they are tried on: it knows faults and their order alone. What it comes
//! to is one-minimal, where it is not stopped before.

use std::collections::HashSet;

use fault_backend::power::PowerState;

use super::simpler;
use crate::token::{TokenKill, faults_text};

/// What faults are tried on.
pub trait Subject {
    /// Why nothing can be tried any more.
    type Error;

    /// Tries faults, one per run. Where they fail alike, what could stand in the place of each: earlier points of its step,
    /// the earliest first.
    fn fails(&mut self, kills: &[TokenKill]) -> Result<Option<Earlier>, Self::Error>;

    /// Whether time or tries are used up.
    fn is_over(&self) -> bool;

    /// Whether it is no other question what happens with scratch files that stay.
    fn may_keep_scratch(&self) -> bool;
}

/// For each fault, what could stand in its place, the earliest first.
pub type Earlier = Vec<Vec<TokenKill>>;

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The faults; they fail alike.
    pub kills: Vec<TokenKill>,
    /// Everything that is simpler by one was tried.
    pub complete: bool,
}

/// Looks for the fewest faults, and the earliest, that fail as these do; none where these don't.
pub fn search<S: Subject>(subject: &mut S, kills: &[TokenKill]) -> Result<Option<Found>, S::Error> {
    let Some(earlier) = subject.fails(kills)? else { return Ok(None) };
    let tried = HashSet::from([faults_text(kills)]);
    let mut search = Search { subject, tried, best: kills.to_vec(), earlier, over: false };
    loop {
        let before = search.best.clone();
        search.fewer_kills()?;
        for place in 0..search.best.len() {
            search.milder(place)?;
            search.fewer_losses(place)?;
            search.earliest(place)?;
        }
        if search.over || search.best == before {
            return Ok(Some(Found { kills: search.best, complete: !search.over }));
        }
    }
}

struct Search<'a, S: Subject> {
    subject: &'a mut S,
    /// What was tried, as text. Whatever is simpler than the best and was tried before did not fail alike.
    tried: HashSet<String>,
    best: Vec<TokenKill>,
    /// What could stand in the place of the best's faults.
    earlier: Earlier,
    over: bool,
}

impl<S: Subject> Search<'_, S> {
    /// Tries faults that are simpler than the best, and takes them for it where they fail alike.
    fn better(&mut self, kills: Vec<TokenKill>) -> Result<bool, S::Error> {
        if self.tried.contains(&faults_text(&kills)) {
            return Ok(false);
        }
        self.over |= self.subject.is_over();
        if self.over {
            return Ok(false);
        }
        self.tried.insert(faults_text(&kills));
        let Some(earlier) = self.subject.fails(&kills)? else { return Ok(false) };
        (self.best, self.earlier) = (kills, earlier);
        Ok(true)
    }

    /// The best with another fault in one place.
    fn with(&self, place: usize, kill: TokenKill) -> Vec<TokenKill> {
        let mut kills = self.best.clone();
        kills[place] = kill;
        kills
    }

    /// Leaves out kills: halves first, then smaller parts, then single ones.
    fn fewer_kills(&mut self) -> Result<(), S::Error> {
        // A run that nothing happens to is no crash.
        let mut part = self.best.len() / 2;
        while part > 0 {
            let mut at = 0;
            while at < self.best.len() && self.best.len() > part {
                let mut fewer = self.best.clone();
                fewer.drain(at..self.best.len().min(at + part));
                if !self.better(fewer)? {
                    at += part;
                }
            }
            part /= 2;
        }
        Ok(())
    }

    /// What a fault does besides: scratch files wiped, a torn write, an error that stays.
    fn milder(&mut self, place: usize) -> Result<(), S::Error> {
        let keep = self.subject.may_keep_scratch();
        for milder in simpler::milder(&self.best[place], keep) {
            if self.better(self.with(place, milder))? {
                return self.milder(place);
            }
        }
        Ok(())
    }

    /// Gives ops back that a power cut lost: all of them first, then parts, then single ones.
    fn fewer_losses(&mut self, place: usize) -> Result<(), S::Error> {
        let lost = |kill: &TokenKill| kill.power.as_ref().map_or(0, |state| state.dropped.len());
        let mut part = lost(&self.best[place]);
        while part > 0 {
            let mut at = 0;
            while at < lost(&self.best[place]) {
                let kill = &self.best[place];
                let Some(state) = &kill.power else { return Ok(()) };
                let mut dropped = state.dropped.clone();
                dropped.drain(at..dropped.len().min(at + part));
                let fewer =
                    TokenKill { power: Some(PowerState { dropped, ..state.clone() }), ..kill.clone() };
                if !self.better(self.with(place, fewer))? {
                    at += part;
                }
            }
            part /= 2;
        }
        Ok(())
    }

    /// Moves a fault to the earliest point. By halves first, which is quick where all later points fail as well; then from
    /// the front, which is right wherever they are.
    fn earliest(&mut self, place: usize) -> Result<(), S::Error> {
        let Some(points) = self.earlier.get(place).cloned() else { return Ok(()) };
        let (mut low, mut end) = (0, points.len());
        while low < end {
            let middle = low.midpoint(end);
            match self.better(self.with(place, points[middle].clone()))? {
                true => end = middle,
                false => low = middle + 1,
            }
        }
        for point in &points[..end] {
            if self.over || self.better(self.with(place, point.clone()))? {
                break;
            }
        }
        Ok(())
    }
}
