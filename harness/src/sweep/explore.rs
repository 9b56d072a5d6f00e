//! Goes through the states of one phase: each content is judged once, by whichever worker is free, and told of in the order
//! in which it was met. What is merged is decided in that order too, so that it doesn't depend on the workers.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Instant;

use fault_backend::ContentId;
use fault_backend::replay::Replay;
use fault_backend::volume::Volume;
use reports::event::AT_END;
use reports::{AskedOf, Event, Model, Point, Stream};
use scenarios::model::ScratchPolicy;

use super::barriers::missing;
use super::closure::Frontier;
use super::disturb::{self, Disturbance};
use super::earlier::{Earlier, Known};
use super::judge::{self, Followed, Judged, Looked, Source};
use super::merge::{Aspect, Merges};
use super::nested::Roots;
use super::points::CrashPoint;
use super::unread::Unread;
use super::{Course, Plan};
use crate::chain::Sample;
use crate::error::Error;
use crate::explain::Run;
use crate::ground::Ground;
use crate::judge::Judgement;
use crate::record::{self, Recorder, Trace};
use crate::shrink::{self, Outcome};
use crate::store::{Past, Reached};
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

/// What tells states apart: the same content after more acknowledgements has to hold more.
pub(super) type Key = (ContentId, u32);

/// A state to be looked at, and the way to it.
#[derive(Clone)]
pub(super) struct Candidate {
    pub id: ContentId,
    /// Acknowledgements of the phase's run before the crash, where there are any, or [`AT_END`] once it said that it was done.
    pub acks: u32,
    pub aspect: Aspect,
    pub label: Label,
    /// The state of recorded runs that it began with, and how they lead there.
    pub root: Volume,
    pub pasts: Vec<Past>,
    /// How many of its kills lead to the root; the others are made when it is judged.
    pub led: usize,
    /// Of the acknowledgements those that a recorded resume gave.
    pub resume_acks: Vec<String>,
}

/// What is told of a state besides what it is found to be.
#[derive(Clone)]
pub(super) struct Label {
    pub model: Model,
    pub depth: u32,
    pub op: u64,
    pub torn_bytes: Option<u64>,
    /// Place among the points of its model, where ops alone don't order them.
    pub ordinal: u64,
    pub step: Arc<str>,
    pub region: Arc<str>,
    pub kills: Vec<TokenKill>,
}

/// What was met and not yet told of.
enum Pending {
    /// Content that is judged.
    New(Box<Candidate>, Follow, Verdict),
    /// Content that was met before.
    Same(Label, Key),
    /// A volume that was met with something else in the scratch directory. Its verdict is asked for beforehand where it
    /// is likely to be needed.
    Alike(Box<Candidate>, Follow, Option<Verdict>),
    /// Content of which it is proven that it recovers. It is looked at, but not judged.
    Spared(Box<Candidate>, Ticket<Looked>),
    /// A disturbed run.
    Disturbed(Label, Verdict),
}

/// Where a verdict comes from.
pub(super) enum Verdict {
    /// A worker.
    Ticket(Ticket<Judged>),
    /// An earlier try of this campaign.
    Earlier(Box<Known>),
}

impl Candidate {
    /// A state of the recorded run.
    pub(super) fn of_run(state: Volume, acks: u32, label: Label, past: Past) -> Self {
        let id = state.content_id();
        let aspect = Aspect::of(&state, id, acks);
        Self { id, acks, aspect, label, root: state, pasts: vec![past], led: 1, resume_acks: Vec::new() }
    }

    /// What tells it apart.
    pub(super) fn key(&self) -> Key {
        (self.id, self.acks)
    }

    /// How it comes about.
    pub(super) fn source(&self, acks: &[String]) -> Result<Source, Error> {
        let (led, further) = self.label.kills.split_at_checked(self.led).ok_or(Error::NotRecorded)?;
        let of_run = (self.acks as usize).saturating_sub(self.resume_acks.len());
        let acks = acks.iter().take(of_run).chain(&self.resume_acks).cloned().collect();
        Ok(Source {
            root: self.root.clone(),
            kill: led.last().cloned().ok_or(Error::NotRecorded)?,
            runs: if self.led > 1 { self.pasts.iter().map(Run::from).collect() } else { Vec::new() },
            further: further.to_vec(),
            volume: self.aspect.volume,
            acks,
        })
    }

    /// What a run directory keeps of it; a state that crashes of resumes lead to has its token alone.
    fn past(&self) -> Option<Vec<Past>> {
        (self.led == self.label.kills.len()).then(|| self.pasts.clone())
    }
}

/// One phase's exploration.
pub(super) struct Explorer<'a> {
    ground: &'a mut Ground,
    pub(super) workers: &'a Workers,
    pub(super) course: &'a Course,
    pub(super) plan: &'a Plan,
    deadline: Option<Instant>,
    earlier: &'a Earlier,
    recorder: &'a mut Recorder,
    pub(super) stream: &'a mut Stream,
    pub(super) place: record::Place,
    pending: VecDeque<Pending>,
    /// What the states were found to be that were told of.
    known: HashMap<Key, Sample>,
    /// States that are judged, or going to be.
    judged: HashSet<Key>,
    /// Where the power failed that led to states which fail, and how many such cuts of resumes there were.
    pub(super) failed_cuts: Vec<u64>,
    pub(super) failed_in_resumes: u64,
    pub(super) roots: Roots,
    pub(super) merges: Merges,
    pub(super) unread: Unread,
    pub(super) frontier: Frontier,
    pub(super) left: u64,
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
            judged: HashSet::new(),
            failed_cuts: Vec::new(),
            failed_in_resumes: 0,
            roots: Roots::of(plan),
            merges: Merges::of(&ground.resolved.scenario, plan.merge),
            unread: Unread::default(),
            frontier: Frontier::default(),
            left: 0,
            ground,
        }
    }

    /// Looks at points of the recorded run.
    pub(super) fn points(&mut self, points: &[&CrashPoint], follow: Follow) -> Result<(), Error> {
        let start = self.course.known.start.memory.clone().ok_or(Error::NotRecorded)?;
        let log = Arc::clone(&self.course.log);
        let mut replay = Replay::new(start, &log);
        if follow == Follow::Resumes {
            for point in points {
                let state = replay.state(point.point)?;
                self.frontier.await_volume(Aspect::of(&state, state.content_id(), 0).volume);
            }
        }
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
                    ordinal: 0,
                    step: Arc::clone(&point.step),
                    region: Arc::clone(&point.region.name),
                    kills: vec![TokenKill::new(point.fault(), wiped)],
                };
                let past = Past { log: Arc::clone(&log), at: Reached::Point(point.point), wiped };
                let acks = self.course.acks_after(point.op);
                self.offer(Candidate::of_run(state, acks, label, past), follow)?;
            }
        }
        self.settle_all()
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
                ordinal: place as u64,
                step: Arc::clone(&disturbance.step),
                region: Arc::clone(&disturbance.region.name),
                kills: vec![TokenKill::new(disturbance.fault.clone(), false)],
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
    pub(super) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// An error once the campaign has to stop: where most states are known already, no worker says so.
    pub(super) fn may_go_on(&self) -> Result<(), Error> {
        self.ground.may_go_on()
    }

    /// Whether only some of the states are judged here.
    pub(super) fn is_partial(&self) -> bool {
        self.plan.shard.is_some()
    }

    /// Empties the scratch directory of a state; whether there was anything in it.
    pub(super) fn without_scratch(&mut self, state: &mut Volume) -> Result<bool, Error> {
        self.ground.stage.fuse()?.without_scratch(state)
    }

    /// The state as it is left and as a reboot leaves it, as far as the scenario asks for both and they differ.
    pub(super) fn variants(&mut self, kept: Volume) -> Result<Vec<(Volume, bool)>, Error> {
        let mut wiped = kept.clone();
        let cleared = self.without_scratch(&mut wiped)?;
        Ok(match self.course.known.phase.scratch {
            ScratchPolicy::Kept => vec![(kept, false)],
            ScratchPolicy::Wiped => vec![(wiped, true)],
            ScratchPolicy::Both if cleared => vec![(kept, false), (wiped, true)],
            ScratchPolicy::Both => vec![(kept, false)],
        })
    }

    /// Has a state judged, unless its content was met before or is another shard's.
    pub(super) fn offer(&mut self, candidate: Candidate, follow: Follow) -> Result<(), Error> {
        if self.plan.shard.is_some_and(|shard| !shard.has(candidate.aspect.volume)) {
            return Ok(());
        }
        if self.judged.contains(&candidate.key()) {
            let key = candidate.key();
            return self.pend(Pending::Same(candidate.label, key));
        }
        if self.merges.meet(candidate.aspect.volume) {
            // What is pending may still prove it, but where resumes do ask for scratch files, that is not to be waited for.
            let whole = follow == Follow::Resumes;
            let early = self.merges.asked && self.merges.proof_for(&candidate.aspect, whole).is_none();
            let verdict = early.then(|| self.ask_for(&candidate, follow)).transpose()?;
            return self.pend(Pending::Alike(Box::new(candidate), follow, verdict));
        }
        self.judged.insert(candidate.key());
        if self.place.is_interior(candidate.id) {
            self.roots.meet(&candidate);
        }
        if self.proof_for(&candidate, follow).is_some() {
            let ticket = self.look_at(&candidate)?;
            return self.pend(Pending::Spared(Box::new(candidate), ticket));
        }
        let verdict = self.ask_for(&candidate, follow)?;
        self.pend(Pending::New(Box::new(candidate), follow, verdict))
    }

    /// Where the verdict of a state will come from.
    pub(super) fn ask_for(&self, candidate: &Candidate, follow: Follow) -> Result<Verdict, Error> {
        let follows = follow == Follow::Resumes;
        // A resume that leads to something new has to be recorded again: recordings are not kept.
        let earlier = self.earlier.of_state(&self.place.phase, candidate.key());
        if let Some(known) = earlier.filter(|known| !follows || known.opened == Some(0)) {
            return Ok(Verdict::Earlier(Box::new(known.clone())));
        }
        Ok(Verdict::Ticket(self.judgement_of(candidate, follows)?))
    }

    /// Has a worker judge a state.
    pub(super) fn judgement_of(&self, candidate: &Candidate, follow: bool) -> Result<Ticket<Judged>, Error> {
        let (index, source) = (self.course.index, candidate.source(&self.course.known.acks)?);
        let done = candidate.acks == AT_END;
        Ok(self.workers.submit(move |prepared| match done {
            true => judge::judge_done(prepared, index, source),
            false => judge::judge(prepared, index, source, follow),
        }))
    }

    fn pend(&mut self, pending: Pending) -> Result<(), Error> {
        self.pending.push_back(pending);
        // Recordings of resumes that are to be followed take memory.
        let window =
            if self.plan.closure.is_some() { self.workers.narrow_window() } else { self.workers.window() };
        while self.pending.len() > window {
            self.settle_one()?;
        }
        Ok(())
    }

    pub(super) fn settle_all(&mut self) -> Result<(), Error> {
        while !self.pending.is_empty() {
            self.settle_one()?;
        }
        Ok(())
    }

    /// Tells of what was met first.
    fn settle_one(&mut self) -> Result<(), Error> {
        self.ground.warn_of_room(self.stream)?;
        match self.pending.pop_front() {
            None => Ok(()),
            Some(Pending::Same(label, key)) => self.same(&label, key, false),
            Some(Pending::Alike(candidate, follow, verdict)) => {
                if self.known.contains_key(&candidate.key()) {
                    return self.same(&candidate.label, candidate.key(), false);
                }
                let whole = follow == Follow::Resumes;
                if let Some(key) = self.merges.stands_for(&candidate.aspect, whole) {
                    return self.same(&candidate.label, key, true);
                }
                self.judged.insert(candidate.key());
                match verdict {
                    None if self.proof_for(&candidate, follow).is_some() => {
                        let ticket = self.look_at(&candidate)?;
                        self.spared(*candidate, follow, ticket)
                    }
                    verdict => {
                        let verdict = verdict.map_or_else(|| self.ask_for(&candidate, follow), Ok)?;
                        self.judged(*candidate, follow, verdict)
                    }
                }
            }
            Some(Pending::New(candidate, follow, verdict)) => self.judged(*candidate, follow, verdict),
            Some(Pending::Spared(candidate, ticket)) => self.spared(*candidate, Follow::Nothing, ticket),
            Some(Pending::Disturbed(label, verdict)) => {
                let (judged, crash) = match verdict {
                    Verdict::Ticket(ticket) => (ticket.wait()?, None),
                    Verdict::Earlier(known) => (known.judged, known.crash),
                };
                let crash = crash.unwrap_or_else(|| token::short(judged.sample.volume_id));
                let id = judged.sample.content_id;
                let point = Point { distinct: true, ..self.point(&label, &judged.sample, (id, 0)) };
                self.tell(label, point, judged, (crash, None))
            }
        }
    }

    /// Tells of a point whose state was judged before, or with another one.
    fn same(&mut self, label: &Label, key: Key, merged: bool) -> Result<(), Error> {
        let sample = self.known.get(&key).cloned().ok_or(Error::NotRecorded)?;
        let point = Point { merged, ..self.point(label, &sample, key) };
        Ok(self.stream.emit(&Event::Point(point))?)
    }

    /// Notes what a state was found to be, and has the point that tells of it for the first time.
    pub(super) fn first_point(&mut self, candidate: &Candidate, sample: &Sample) -> Point {
        self.known.insert(candidate.key(), sample.clone());
        Point { distinct: true, ..self.point(&candidate.label, sample, candidate.key()) }
    }

    pub(super) fn judged(
        &mut self,
        candidate: Candidate,
        follow: Follow,
        verdict: Verdict,
    ) -> Result<(), Error> {
        let (judged, known_to_open) = match verdict {
            Verdict::Ticket(ticket) => (self.with_missing_flush(ticket.wait()?, &candidate.label), None),
            Verdict::Earlier(known) => (known.judged, known.opened),
        };
        if follow == Follow::Nothing
            && judged.judgement.verdict == reports::Verdict::Recovered
            && let Some(proof) = self.proof_for(&candidate, follow)
        {
            return self.tell_spared(candidate, &judged.sample, proof);
        }
        let mut point = self.first_point(&candidate, &judged.sample);
        self.merges.learn(&candidate.aspect, candidate.id, &judged);
        point.overwrites = self.learn_overwrites(&candidate, &judged)?;
        if follow == Follow::Resumes {
            point.opened = Some(match (known_to_open, &judged.followed) {
                (Some(opened), _) => opened,
                (None, Some(Followed { state, log, .. })) => self.open(&candidate, state, log)?,
                (None, None) => 0,
            });
        }
        let (crash, past) = (token::short(candidate.aspect.volume), candidate.past());
        self.tell(candidate.label, point, judged, (crash, past))
    }

    /// Says of what a power cut broke which flush would have ruled it out.
    fn with_missing_flush(&self, judged: Judged, label: &Label) -> Judged {
        let judgement = self.told_of_flush(judged.judgement, &label.kills);
        Judged { judgement, ..judged }
    }

    fn told_of_flush(&self, mut judgement: Judgement, kills: &[TokenKill]) -> Judgement {
        // Ops of a power cut in a resume are none of the run alone.
        let cut = kills.first().filter(|_| kills.len() == 1 && !judgement.verdict.is_pass());
        let missing = cut.and_then(|kill| missing(self.course, kill.power.as_ref()?, kill.done));
        if let Some(missing) = missing {
            judgement.explain = format!("{}\n{missing}", judgement.explain);
        }
        judgement
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
        if label.model == Model::Power && !judged.judgement.verdict.is_pass() {
            match label.depth {
                0 => self.failed_cuts.push(label.op),
                _ => self.failed_in_resumes += 1,
            }
        }
        point.wall_ms = judged.judgement.wall_ms;
        // A name that is no text is none that can be told; the state then stands for itself alone.
        let text = |name: &OsString| name.to_str().map(str::to_owned);
        point.asked = judged.asked.as_ref().and_then(|asked| {
            let names = asked.names.iter().map(text).collect::<Option<_>>()?;
            Some(AskedOf { all: asked.all, names })
        });
        self.stream.emit(&Event::Point(point))?;
        let (model, step) = (label.model, label.step.to_string());
        let trace = Trace { model, kills: label.kills, past, crash, step, shrunk_from: None };
        let (trace, judgement) = self.shrunk(trace, judged.judgement)?;
        self.recorder.follow_up(self.ground, &self.place, &trace, judgement, self.stream)
    }

    /// A finding of several faults, as small as it can be made.
    fn shrunk(&mut self, trace: Trace, judgement: Judgement) -> Result<(Trace, Judgement), Error> {
        let Some((case, limits)) = self.recorder.to_shrink(&self.place, &trace, &judgement) else {
            return Ok((trace, judgement));
        };
        let index = self.course.index;
        let ticket = self.workers.submit(move |prepared| shrink::shrink(prepared, index, &case, limits));
        let Outcome::Shrunk(shrunk) = ticket.wait()? else { return Ok((trace, judgement)) };
        let trace = trace.shrunk_to(&shrunk, &self.place);
        let judgement = self.told_of_flush(shrunk.judgement, &trace.kills);
        Ok((trace, judgement))
    }

    /// What is told of a state whose content was met before.
    fn point(&self, label: &Label, sample: &Sample, (id, acks): Key) -> Point {
        Point {
            phase: self.place.phase.clone(),
            model: label.model,
            depth: label.depth,
            faults: faults_text(&label.kills),
            op: label.op,
            torn_bytes: label.torn_bytes,
            ordinal: label.ordinal,
            acks,
            step: label.step.to_string(),
            region: label.region.to_string(),
            content_id: id.to_string(),
            distinct: false,
            merged: false,
            unread: false,
            asked: None,
            overwrites: None,
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
