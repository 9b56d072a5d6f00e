//! Goes through the states of one phase: each content is judged once, by whichever worker is free, and told of in the order
//! in which it was met. Where resumes are followed, what a crash of one leaves is a state like any other.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use fault_backend::ContentId;
use fault_backend::oplog::OpLog;
use fault_backend::replay::{Point as Place, Replay};
use fault_backend::volume::Volume;
use fault_backend::{Action, Fault};
use reports::{Event, Model, Point, Stream};
use scenarios::model::ScratchPolicy;

use super::disturb::{self, Disturbance};
use super::earlier::{Earlier, Known};
use super::judge::{self, Judged};
use super::points::CrashPoint;
use super::{Course, Plan};
use crate::chain::Sample;
use crate::error::Error;
use crate::ground::Ground;
use crate::record::{self, Recorder, Trace};
use crate::stage::recorded::volume_id;
use crate::store::Past;
use crate::token::{self, TokenKill, faults_text};
use crate::workers::{Ticket, Workers};

/// What becomes of the resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Nothing.
    Nothing,
    /// Their own crash points are states to be judged.
    Resumes,
}

/// A state to be looked at, and the way to it.
struct Candidate {
    state: Volume,
    id: ContentId,
    label: Label,
    past: Vec<Past>,
}

/// What is told of a state besides what it is found to be.
struct Label {
    model: Model,
    depth: u32,
    op: u64,
    torn_bytes: Option<u64>,
    step: Arc<str>,
    region: Arc<str>,
    kills: Vec<TokenKill>,
}

/// What was met and not yet told of.
enum Pending {
    /// Content that is judged.
    New(Box<Candidate>, Follow, Verdict),
    /// Content that was met before.
    Same(Label, ContentId),
    /// A disturbed run.
    Disturbed(Label, Verdict),
}

/// Where a verdict comes from.
enum Verdict {
    /// A worker.
    Ticket(Ticket<Judged>),
    /// An earlier try of this campaign.
    Earlier(Box<Known>),
}

/// One phase's exploration.
pub(super) struct Explorer<'a> {
    ground: &'a mut Ground,
    workers: &'a Workers,
    pub(super) course: &'a Course,
    pub(super) plan: &'a Plan,
    deadline: Option<Instant>,
    earlier: &'a Earlier,
    recorder: &'a mut Recorder,
    stream: &'a mut Stream,
    place: record::Place,
    pending: VecDeque<Pending>,
    /// What the states were found to be that were told of.
    known: HashMap<ContentId, Sample>,
    /// States whose resumes are followed.
    followed: HashSet<ContentId>,
    /// What crashes of the resumes that were told of lead to.
    next: Vec<Candidate>,
    /// Crash points of those resumes.
    next_points: u64,
    left: u64,
}

impl<'a> Explorer<'a> {
    #[allow(clippy::too_many_arguments)] // Each is another part of the campaign, borrowed for a phase.
    pub(super) fn new(
        ground: &'a mut Ground,
        workers: &'a Workers,
        course: &'a Course,
        plan: &'a Plan,
        deadline: Option<Instant>,
        earlier: &'a Earlier,
        recorder: &'a mut Recorder,
        stream: &'a mut Stream,
    ) -> Self {
        Self {
            ground,
            workers,
            course,
            plan,
            deadline,
            earlier,
            recorder,
            stream,
            place: record::Place::of_known(0, &course.known),
            pending: VecDeque::new(),
            known: HashMap::new(),
            followed: HashSet::new(),
            next: Vec::new(),
            next_points: 0,
            left: 0,
        }
    }

    /// Points that were left out for want of time.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Looks at points of the recorded run.
    pub(super) fn points(&mut self, points: &[&CrashPoint], follow: Follow) -> Result<(), Error> {
        let start = self.course.known.start.memory.clone().ok_or(Error::NotRecorded)?;
        let log = Arc::clone(&self.course.log);
        let mut replay = Replay::new(start, &log);
        for (done, point) in points.iter().enumerate() {
            if self.is_over() {
                self.left += (points.len() - done) as u64;
                break;
            }
            for (state, wiped) in self.variants(replay.state(point.point)?)? {
                let label = Label {
                    model: point.model(),
                    depth: 0,
                    op: point.op,
                    torn_bytes: point.torn_bytes,
                    step: Arc::clone(&point.step),
                    region: Arc::clone(&point.region.name),
                    kills: vec![TokenKill { fault: point.fault(), wipe: wiped }],
                };
                let past = vec![Past { log: Arc::clone(&log), point: point.point, wiped }];
                self.offer(Candidate { id: state.content_id(), state, label, past }, follow)?;
            }
        }
        self.settle_all()
    }

    /// Follows crashes of resumes until nothing new appears, or as deep as was asked for.
    pub(super) fn closure(&mut self) -> Result<(), Error> {
        let Some(deepest) = self.plan.closure else { return Ok(()) };
        let phase = self.place.phase.clone();
        for depth in 1..=deepest {
            let (level, points) = (std::mem::take(&mut self.next), std::mem::take(&mut self.next_points));
            let fresh = level.len() as u64;
            self.stream.emit(&Event::Closure { phase: phase.clone(), depth, points, fresh })?;
            for (done, candidate) in level.into_iter().enumerate() {
                if self.is_over() {
                    self.left += fresh - done as u64;
                    break;
                }
                self.offer(candidate, Follow::Resumes)?;
            }
            self.settle_all()?;
            if self.next.is_empty() {
                break;
            }
        }
        let complete = self.next.is_empty() && self.left == 0 && !self.is_partial();
        if !self.next.is_empty() {
            let what = format!(
                "phase `{phase}`: {} states that more than {deepest} crashes of resumes lead to",
                self.next.len()
            );
            self.stream.emit(&Event::NotTested { what })?;
            self.next.clear();
        }
        Ok(self.stream.emit(&Event::ClosureEnded { phase, complete })?)
    }

    /// Looks at runs that are disturbed.
    pub(super) fn disturbances(&mut self, disturbances: &[Disturbance]) -> Result<(), Error> {
        for (place, disturbance) in disturbances.iter().enumerate() {
            if self.plan.shard.is_some_and(|shard| !shard.has_place(place)) {
                continue;
            }
            if self.is_over() {
                self.left += (disturbances.len() - place) as u64;
                break;
            }
            let label = Label {
                model: disturbance.model,
                depth: 0,
                op: disturbance.op,
                torn_bytes: None,
                step: Arc::clone(&disturbance.step),
                region: Arc::clone(&disturbance.region.name),
                kills: vec![TokenKill { fault: disturbance.fault.clone(), wipe: false }],
            };
            let faults = faults_text(&label.kills);
            let verdict = match self.earlier.of_run(&self.place.phase, &faults) {
                Some(known) => Verdict::Earlier(Box::new(known.clone())),
                None => {
                    let (index, fault) = (self.course.index, disturbance.fault.clone());
                    Verdict::Ticket(self.workers.submit(move |prepared| disturb::run(prepared, index, fault)))
                }
            };
            self.pend(Pending::Disturbed(label, verdict))?;
        }
        self.settle_all()
    }

    /// Whether the budget is used up.
    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether only some of the states are judged here.
    fn is_partial(&self) -> bool {
        self.plan.shard.is_some()
    }

    /// The state as it is left and as a reboot leaves it, as far as the scenario asks for both and they differ.
    fn variants(&mut self, kept: Volume) -> Result<Vec<(Volume, bool)>, Error> {
        let mut wiped = kept.clone();
        let cleared = self.ground.stage.fuse()?.without_scratch(&mut wiped)?;
        Ok(match self.course.known.phase.scratch {
            ScratchPolicy::Kept => vec![(kept, false)],
            ScratchPolicy::Wiped => vec![(wiped, true)],
            ScratchPolicy::Both if cleared => vec![(kept, false), (wiped, true)],
            ScratchPolicy::Both => vec![(kept, false)],
        })
    }

    /// Has a state judged, unless its content was met before or is another shard's.
    fn offer(&mut self, candidate: Candidate, follow: Follow) -> Result<(), Error> {
        let Candidate { id, ref label, .. } = candidate;
        if self.plan.shard.is_some_and(|shard| !shard.has(id)) {
            return Ok(());
        }
        if !self.recorder.is_new(&self.place.phase, id) {
            return self.pend(Pending::Same(candidate.label, id));
        }
        let follows = follow == Follow::Resumes;
        if follows {
            self.followed.insert(id);
        }
        // A resume that leads to something new has to be recorded again: recordings are not kept.
        let earlier = self.earlier.of_state(&self.place.phase, id);
        let verdict = match earlier.filter(|known| !follows || known.opened == Some(0)) {
            Some(known) => Verdict::Earlier(Box::new(known.clone())),
            None => {
                let (index, state) = (self.course.index, candidate.state.clone());
                let kill = label.kills.last().cloned().ok_or(Error::NotRecorded)?;
                Verdict::Ticket(
                    self.workers.submit(move |prepared| judge::judge(prepared, index, state, kill, follows)),
                )
            }
        };
        self.pend(Pending::New(Box::new(candidate), follow, verdict))
    }

    fn pend(&mut self, pending: Pending) -> Result<(), Error> {
        self.pending.push_back(pending);
        while self.pending.len() > self.workers.window() {
            self.settle_one()?;
        }
        Ok(())
    }

    fn settle_all(&mut self) -> Result<(), Error> {
        while !self.pending.is_empty() {
            self.settle_one()?;
        }
        Ok(())
    }

    /// Tells of what was met first.
    fn settle_one(&mut self) -> Result<(), Error> {
        match self.pending.pop_front() {
            None => Ok(()),
            Some(Pending::Same(label, id)) => {
                let sample = self.known.get(&id).cloned().ok_or(Error::NotRecorded)?;
                let point = self.point(&label, &sample, id);
                Ok(self.stream.emit(&Event::Point(point))?)
            }
            Some(Pending::New(candidate, follow, verdict)) => self.judged(*candidate, follow, verdict),
            Some(Pending::Disturbed(label, verdict)) => {
                let (judged, crash) = match verdict {
                    Verdict::Ticket(ticket) => (ticket.wait()?, None),
                    Verdict::Earlier(known) => (known.judged, known.crash),
                };
                let crash = crash.unwrap_or_else(|| token::short(judged.sample.volume_id));
                let id = judged.sample.content_id;
                let point = Point { distinct: true, ..self.point(&label, &judged.sample, id) };
                self.tell(label, point, judged, (crash, None))
            }
        }
    }

    fn judged(&mut self, candidate: Candidate, follow: Follow, verdict: Verdict) -> Result<(), Error> {
        let (judged, known_to_open) = match verdict {
            Verdict::Ticket(ticket) => (ticket.wait()?, None),
            Verdict::Earlier(known) => (known.judged, known.opened),
        };
        self.known.insert(candidate.id, judged.sample.clone());
        let mut point = self.point(&candidate.label, &judged.sample, candidate.id);
        point.distinct = true;
        if follow == Follow::Resumes {
            point.opened = Some(match (known_to_open, &judged.resume) {
                (Some(opened), _) => opened,
                (None, Some(log)) => self.open(&candidate, Arc::clone(log))?,
                (None, None) => 0,
            });
        }
        let Candidate { label, past, state, id } = candidate;
        let crash = token::short(volume_id(&state).unwrap_or(id));
        self.tell(label, point, judged, (crash, Some(past)))
    }

    /// Emits a point that was judged, and what follows from its verdict.
    fn tell(
        &mut self,
        label: Label,
        mut point: Point,
        judged: Judged,
        (crash, past): (String, Option<Vec<Past>>),
    ) -> Result<(), Error> {
        point.verdict = Some(judged.judgement.verdict);
        point.wall_ms = judged.judgement.wall_ms;
        self.stream.emit(&Event::Point(point))?;
        let trace =
            Trace { model: label.model, kills: label.kills, past, crash, step: label.step.to_string() };
        self.recorder.follow_up(self.ground, &self.place, &trace, judged.judgement, self.stream)
    }

    /// Notes the states that crashes of a resume lead to and that were not met before; how many.
    fn open(&mut self, parent: &Candidate, log: Arc<OpLog>) -> Result<u64, Error> {
        let mut replay = Replay::new(parent.state.clone(), &log);
        let before = self.next.len();
        for op in 0..=log.len() {
            for (state, wiped) in self.variants(replay.state_after(op)?)? {
                self.next_points += 1;
                let id = state.content_id();
                if !self.followed.insert(id) {
                    continue;
                }
                let done = log.op(op);
                let step = done.map_or(Arc::clone(&parent.label.step), |op| Arc::clone(&op.step));
                let region = done.map_or("start".into(), |op| self.course.regions.of(op)).name;
                let kill = TokenKill { fault: Fault::AtOp(op, Action::KillAfter), wipe: wiped };
                let label = Label {
                    model: Model::Kill,
                    depth: parent.label.depth + 1,
                    op,
                    torn_bytes: None,
                    step,
                    region,
                    kills: parent.label.kills.iter().cloned().chain([kill]).collect(),
                };
                let leg = Past { log: Arc::clone(&log), point: Place::After(op), wiped };
                let past = parent.past.iter().cloned().chain([leg]).collect();
                self.next.push(Candidate { state, id, label, past });
            }
        }
        Ok((self.next.len() - before) as u64)
    }

    /// What is told of a state whose content was met before.
    fn point(&self, label: &Label, sample: &Sample, id: ContentId) -> Point {
        Point {
            phase: self.place.phase.clone(),
            model: label.model,
            depth: label.depth,
            faults: faults_text(&label.kills),
            op: label.op,
            torn_bytes: label.torn_bytes,
            step: label.step.to_string(),
            region: label.region.to_string(),
            content_id: id.to_string(),
            distinct: false,
            interior: self.place.is_interior(id),
            scratch_wiped: label.kills.last().is_some_and(|kill| kill.wipe),
            gpt: sample.gpt,
            copies: sample.copies.clone(),
            verdict: None,
            opened: None,
            wall_ms: 0,
        }
    }
}
