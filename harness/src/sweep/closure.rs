//! Follows crashes of resumes: what a crash of one leaves is a state like any other, and its resume can be crashed again. When
//! nothing new appears any more, no sequence of kills leads anywhere else.
//!
//! Most of what a resume leaves on its way is known already, or differs from what is known only in scratch files. Whether
//! that is so often shows later; only what is needed to decide it is kept till then, since recordings take much memory. A
//! resume whose crash points turn out to matter is recorded once more.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use fault_backend::oplog::OpLog;
use fault_backend::replay::Replay;
use fault_backend::volume::Volume;
use fault_backend::{Action, ContentId, Fault};
use reports::{Event, Model};

use super::explore::{Candidate, Explorer, Follow, Key, Label};
use super::judge::{Followed, Judged};
use super::merge::Aspect;
use crate::error::Error;
use crate::token::TokenKill;
use crate::workers::Ticket;

/// What is going to be followed.
#[derive(Default)]
pub(super) struct Frontier {
    /// States of the next level.
    next: Vec<Candidate>,
    /// Their content ids, and those of all levels before.
    known: HashSet<Key>,
    /// Contents of the volume of which a state was or will be judged.
    awaited: HashSet<ContentId>,
    /// What the states of the next level are like: of those that may be judged together one goes first.
    queued: HashSet<Aspect>,
    /// Judged states, and what crashes of their resumes lead to of which it is not known yet whether it is judged with
    /// something else.
    doubts: Vec<(Candidate, HashSet<Aspect>)>,
    /// Crash points of resumes since the last level.
    points: u64,
    /// Some resume could not be recorded again.
    unsettled: bool,
}

impl Frontier {
    /// A state with this content of the volume will be judged.
    pub(super) fn await_volume(&mut self, volume: ContentId) {
        self.awaited.insert(volume);
    }
}

impl Explorer<'_> {
    /// Follows crashes of resumes until nothing new appears, or as deep as was asked for.
    pub(super) fn closure(&mut self) -> Result<(), Error> {
        let Some(deepest) = self.plan.closure else { return Ok(()) };
        let phase = self.place.phase.clone();
        for depth in 1..=deepest {
            self.settle_doubts()?;
            let level = std::mem::take(&mut self.frontier.next);
            let (fresh, points) = (level.len() as u64, std::mem::take(&mut self.frontier.points));
            self.stream.emit(&Event::Closure { phase: phase.clone(), depth, points, fresh })?;
            if level.is_empty() {
                break;
            }
            for (done, candidate) in level.into_iter().enumerate() {
                if self.is_over() {
                    self.left += fresh - done as u64;
                    break;
                }
                self.offer(candidate, Follow::Resumes)?;
            }
            self.settle_all()?;
            self.frontier.queued.clear();
        }
        self.settle_doubts()?;
        let beyond = std::mem::take(&mut self.frontier.next).len();
        let told_apart = !self.merges.hold_for_resumes();
        if told_apart || self.frontier.unsettled {
            let what = format!(
                "phase `{phase}`: the closure to its end: {}",
                match told_apart {
                    true =>
                        "a later resume asks for scratch files by which states differ that were judged together",
                    false => "the kills of some resumes, made again, leave other states than before",
                }
            );
            self.stream.emit(&Event::NotTested { what })?;
        }
        let followed = beyond == 0 && self.left == 0 && !self.is_partial();
        let complete = followed && !told_apart && !self.frontier.unsettled;
        if beyond > 0 {
            let what = format!(
                "phase `{phase}`: {beyond} states that more than {deepest} crashes of resumes lead to"
            );
            self.stream.emit(&Event::NotTested { what })?;
        }
        Ok(self.stream.emit(&Event::ClosureEnded { phase, complete })?)
    }

    /// Notes the states that crashes of a resume lead to and that were not met before; how many there are, those of which
    /// it is not known yet included.
    pub(super) fn open(&mut self, parent: &Candidate, state: &Volume, log: &OpLog) -> Result<u64, Error> {
        self.frontier.known.insert(parent.key());
        self.frontier.awaited.insert(parent.aspect.volume);
        let before = self.frontier.next.len();
        let mut doubts: HashSet<Aspect> = HashSet::new();
        let mut replay = Replay::new(state.clone(), log);
        for op in 0..=log.len() {
            for (state, wiped) in self.variants(replay.state_after(op)?)? {
                self.frontier.points += 1;
                let id = state.content_id();
                let aspect = Aspect::of(&state, id, parent.acks);
                if self.frontier.known.contains(&(id, parent.acks))
                    || self.merges.stands_for(&aspect, true).is_some()
                {
                    continue;
                }
                if self.frontier.awaited.contains(&aspect.volume) {
                    doubts.insert(aspect);
                    continue;
                }
                let child = self.child(parent, log, (op, wiped), (id, aspect));
                self.take(child);
            }
        }
        let doubtful = doubts.len();
        if !doubts.is_empty() {
            self.frontier.doubts.push((parent.clone(), doubts));
        }
        Ok((self.frontier.next.len() - before + doubtful) as u64)
    }

    /// Finds out which doubts were right, now that more is known: those resumes are recorded again.
    fn settle_doubts(&mut self) -> Result<(), Error> {
        let mut recordings = VecDeque::new();
        for (parent, mut doubts) in std::mem::take(&mut self.frontier.doubts) {
            doubts.retain(|aspect| self.merges.stands_for(aspect, true).is_none());
            if doubts.is_empty() {
                continue;
            }
            let ticket = self.judgement_of(&parent, true)?;
            recordings.push_back((parent, ticket));
            if recordings.len() >= self.workers.narrow_window() {
                self.settle_doubt(recordings.pop_front())?;
            }
        }
        while !recordings.is_empty() {
            self.settle_doubt(recordings.pop_front())?;
        }
        Ok(())
    }

    fn settle_doubt(&mut self, recording: Option<(Candidate, Ticket<Judged>)>) -> Result<(), Error> {
        let Some((parent, ticket)) = recording else { return Ok(()) };
        let Some(Followed { state, log, .. }) = ticket.wait()?.followed else {
            self.frontier.unsettled = true;
            return Ok(());
        };
        let mut doubts = HashSet::new();
        let mut replay = Replay::new(state, &log);
        for op in 0..=log.len() {
            for (state, wiped) in self.variants(replay.state_after(op)?)? {
                let id = state.content_id();
                let aspect = Aspect::of(&state, id, parent.acks);
                if self.frontier.known.contains(&(id, parent.acks))
                    || self.merges.stands_for(&aspect, true).is_some()
                {
                    continue;
                }
                if self.frontier.queued.contains(&aspect) {
                    doubts.insert(aspect);
                    continue;
                }
                let child = self.child(&parent, &log, (op, wiped), (id, aspect));
                self.take(child);
            }
        }
        if !doubts.is_empty() {
            self.frontier.doubts.push((parent, doubts));
        }
        Ok(())
    }

    fn take(&mut self, child: Candidate) {
        self.frontier.known.insert(child.key());
        self.frontier.awaited.insert(child.aspect.volume);
        self.frontier.queued.insert(child.aspect.clone());
        self.frontier.next.push(child);
    }

    /// The state that a crash of a resume leads to.
    fn child(
        &self,
        parent: &Candidate,
        log: &OpLog,
        (op, wiped): (u64, bool),
        (id, aspect): (ContentId, Aspect),
    ) -> Candidate {
        let done = log.op(op);
        let kill = TokenKill::new(Fault::AtOp(op, Action::KillAfter), wiped);
        let label = Label {
            model: Model::Kill,
            depth: parent.label.depth + 1,
            op,
            torn_bytes: None,
            ordinal: 0,
            step: done.map_or_else(|| Arc::clone(&parent.label.step), |op| Arc::clone(&op.step)),
            region: done.map_or_else(|| "start".into(), |op| self.course.regions.of(op)).name,
            kills: parent.label.kills.iter().cloned().chain([kill]).collect(),
        };
        Candidate {
            id,
            acks: parent.acks,
            aspect,
            label,
            root: parent.root.clone(),
            pasts: parent.pasts.clone(),
            led: parent.led,
            resume_acks: Vec::new(),
        }
    }
}
