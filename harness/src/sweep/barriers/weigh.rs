//! What a flush weighs: states that are possible only without it are judged until one fails.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use fault_backend::ContentId;
use fault_backend::fault::{Action, Fault};
use fault_backend::oplog::OpLog;
use fault_backend::power::{Power, PowerState};
use fault_backend::replay::{Point, Replay};
use reports::{Barrier, BarrierFailure};

use super::is_barrier;
use crate::error::Error;
use crate::explain::Run;
use crate::ground::Ground;
use crate::outage::PowerCut;
use crate::stage::recorded::volume_id;
use crate::store::{Past, Reached};
use crate::sweep::judge::{self, Followed, Judged, Source};
use crate::sweep::priority::{self, is_name};
use crate::sweep::{Course, Plan, power};
use crate::token::TokenKill;
use crate::workers::{Ticket, Workers};

/// Resumes in which a flush is ignored, at most.
const RESUMES_MAX: usize = 64;

/// What tells states apart: the same content has to hold more once the tool has acknowledged more, or said that it was done.
type Key = (ContentId, usize, bool);

/// Weighs the flushes of one phase.
pub(super) struct Scales<'a> {
    workers: &'a Workers,
    course: &'a Course,
    plan: &'a Plan,
    most: usize,
    /// States that pass, whichever flush is ignored.
    passed: HashSet<Key>,
}

/// A run whose flushes are ignored in turn.
struct History {
    log: Arc<OpLog>,
    /// The kill after which the rest of it is a resume, where there is one.
    kill: Option<TokenKill>,
    /// What it acknowledged.
    acks: Vec<String>,
}

/// States that may fail without a flush, and how many there are.
struct Suspects {
    states: Vec<Suspect>,
    possible: u64,
}

#[derive(Clone)]
struct Suspect {
    state: PowerState,
    /// The tool had said that it was done.
    done: bool,
}

impl<'a> Scales<'a> {
    pub(super) fn new(workers: &'a Workers, course: &'a Course, plan: &'a Plan, most: usize) -> Self {
        Self { workers, course, plan, most, passed: HashSet::new() }
    }

    /// Ignores a flush of the phase's run.
    pub(super) fn weigh(
        &mut self,
        ground: &mut Ground,
        flush: u64,
        barrier: &mut Barrier,
    ) -> Result<(), Error> {
        let (log, acks) = (Arc::clone(&self.course.log), self.course.known.acks.clone());
        self.weigh_in(ground, &History { log, kill: None, acks }, flush, barrier)
    }

    /// Ignores the first flush of resumes, which makes durable what the killed run left in the page cache.
    pub(super) fn weigh_in_resumes(
        &mut self,
        ground: &mut Ground,
        barrier: &mut Barrier,
    ) -> Result<(), Error> {
        for op in self.kills() {
            if barrier.failure.is_some() || barrier.judged >= self.most as u64 {
                break;
            }
            let Some(history) = self.killed_after(op)? else { continue };
            let first = history.log.ops.iter().find(|one| one.number > op && is_barrier(one));
            if let Some(flush) = first.map(|flush| flush.number) {
                self.weigh_in(ground, &history, flush, barrier)?;
            }
        }
        Ok(())
    }

    /// Ops after which a run is killed, the most telling ones first: those that leave all of an epoch in the cache.
    fn kills(&self) -> Vec<u64> {
        let ops = &self.course.log.ops;
        let mut kills: Vec<(bool, bool, u64)> = ops
            .iter()
            .filter(|op| op.mutation().is_some())
            .map(|op| {
                let next = ops.get(op.number as usize);
                (!next.is_none_or(is_barrier), !self.course.tells(op.number), op.number)
            })
            .collect();
        kills.sort_unstable();
        kills.into_iter().take(RESUMES_MAX).map(|(_, _, op)| op).collect()
    }

    /// The run up to an op and the resume after it; none where it could not be recorded.
    fn killed_after(&self, op: u64) -> Result<Option<History>, Error> {
        let start = self.course.known.start.memory.clone().ok_or(Error::NotRecorded)?;
        let root = Replay::new(start, &self.course.log).state(Point::After(op))?;
        let acks = self.course.acks_after(op);
        let kill = TokenKill::new(Fault::AtOp(op, Action::KillAfter), false);
        let source = Source {
            volume: volume_id(&root).unwrap_or_else(|| root.content_id()),
            root,
            kill: kill.clone(),
            runs: Vec::new(),
            further: Vec::new(),
            acks: self.course.known.acks.iter().take(acks as usize).cloned().collect(),
        };
        let index = self.course.index;
        let judged =
            self.workers.submit(move |prepared| judge::judge(prepared, index, source, true)).wait()?;
        Ok(judged.followed.map(|Followed { log, acks: told, .. }| History {
            log: Arc::new(self.course.log.until(op).then(&log, acks)),
            kill: Some(kill),
            acks: told,
        }))
    }

    /// Judges states that are possible only without a flush, until one fails.
    fn weigh_in(
        &mut self,
        ground: &mut Ground,
        history: &History,
        flush: u64,
        barrier: &mut Barrier,
    ) -> Result<(), Error> {
        let without = history.log.without_flush(flush);
        let plain = power::model(self.course, &history.log, self.plan)?;
        let power = power::model(self.course, &without, self.plan)?;
        let most = self.most.saturating_sub(usize::try_from(barrier.judged).unwrap_or(usize::MAX));
        let suspects = self.suspects(&plain, &power, &without, flush, most);
        barrier.possible += suspects.possible;
        let mut builder = power.builder();
        let mut waiting: VecDeque<(Suspect, Key, Ticket<Judged>)> = VecDeque::new();
        let mut states = suspects.states.into_iter();
        loop {
            while waiting.len() < self.workers.narrow_window() {
                let Some(suspect) = states.next() else { break };
                let mut volume = builder.materialise(&suspect.state)?;
                if suspect.done {
                    ground.stage.fuse()?.without_scratch(&mut volume)?;
                }
                let id = volume.content_id();
                let source = self.source(history, &suspect, volume, id);
                let key = (id, source.acks.len(), suspect.done);
                if self.passed.contains(&key) {
                    barrier.judged += 1;
                    continue;
                }
                let (index, done) = (self.course.index, suspect.done);
                let ticket = self.workers.submit(move |prepared| match done {
                    true => judge::judge_done(prepared, index, source),
                    false => judge::judge(prepared, index, source, false),
                });
                waiting.push_back((suspect, key, ticket));
            }
            let Some((suspect, key, ticket)) = waiting.pop_front() else { return Ok(()) };
            let judgement = ticket.wait()?.judgement;
            barrier.judged += 1;
            if judgement.verdict.is_pass() {
                self.passed.insert(key);
                continue;
            }
            let kills = history.kill.iter().cloned().chain([suspect.kill()]);
            barrier.failure = Some(BarrierFailure {
                verdict: judgement.verdict,
                oracle: judgement.oracle,
                point: kills.map(|kill| kill.describe()).collect::<Vec<_>>().join(", then "),
                explain: judgement.explain,
            });
            return Ok(());
        }
    }

    /// How a worker makes a state. Of a history that is not the phase's run alone it is told, since ops are explained by it.
    fn source(
        &self,
        history: &History,
        suspect: &Suspect,
        root: fault_backend::volume::Volume,
        id: ContentId,
    ) -> Source {
        let all = u32::try_from(history.acks.len()).unwrap_or(u32::MAX);
        let acks = history.log.acks_after(suspect.state.cut, all) as usize;
        let cut = || PowerCut {
            state: suspect.state.clone(),
            outage: Arc::new(power::outage(self.course, self.plan)),
        };
        let run = history.kill.is_some().then(|| {
            Run::from(&Past { log: Arc::clone(&history.log), at: Reached::Power(cut()), wiped: suspect.done })
        });
        Source {
            volume: volume_id(&root).unwrap_or(id),
            root,
            kill: suspect.kill(),
            runs: run.into_iter().collect(),
            further: Vec::new(),
            acks: history.acks.iter().take(acks).cloned().collect(),
        }
    }

    /// States that are possible without a flush and not with it. What was promised is broken soonest; then come those that
    /// lose least.
    fn suspects(
        &self,
        plain: &Power<'_>,
        power: &Power<'_>,
        log: &OpLog,
        flush: u64,
        most: usize,
    ) -> Suspects {
        let only_now = |state: &PowerState| !state.is_prefix() && !plain.has(state);
        let states: Vec<(u64, PowerState)> = (0..).zip(power.states_from(flush).filter(only_now)).collect();
        let mut at_end: Vec<PowerState> = match self.course.durable {
            true => power.states_at(log.len()).filter(|state| !plain.has(state)).collect(),
            false => Vec::new(),
        };
        let possible = (states.len() + at_end.len()) as u64;
        at_end.truncate(most);
        let tells = |number: u64| {
            log.op(number).is_some_and(|op| self.course.regions.of(op).is_structure || is_name(op))
        };
        let states = priority::sort_power(states, log.len(), tells).into_iter().take(most);
        let at_end = at_end.into_iter().map(|state| Suspect { state, done: true });
        let states = at_end.chain(states.map(|(_, state)| Suspect { state, done: false })).collect();
        Suspects { states, possible }
    }
}

impl Suspect {
    fn kill(&self) -> TokenKill {
        match self.done {
            true => TokenKill::power_at_end(self.state.clone()),
            false => TokenKill::power(self.state.clone(), false),
        }
    }
}
