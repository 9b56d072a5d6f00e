//! The search: depth by depth, the simplest models first, each content judged once.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::crash::{Crash, Token};
use super::disk::Disk;
use super::failure::{AnyError, SweepError, Violation};
use super::states::{Recorded, State, power_state};
use super::sweep::{Code, Model, Summary, Sweep, Tool};
use crate::content_id::ContentId;
use crate::image::Image;
use crate::oplog::OpLog;

/// A state to go on from: the crashes that led there, and the run that the last one ended.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub crashes: Vec<Crash>,
    image: Image,
    ended: Option<Arc<Recorded>>,
}

/// Runs the code under test and judges what it leaves.
pub(super) struct Explorer<'a> {
    pub sweep: Sweep,
    run: Code<'a>,
    resume: Option<Code<'a>>,
    at_crash: Option<Code<'a>>,
    check: Code<'a>,
    pub baseline: Image,
    judged: HashSet<ContentId>,
    /// Content, and what of it is durable, of the states that are gone on from.
    known: HashSet<(ContentId, ContentId)>,
    pub summary: Summary,
}

impl<'a> Explorer<'a> {
    pub fn new(tool: Tool<'a>, check: Code<'a>) -> Self {
        let Tool { sweep, run, resume, at_crash } = tool;
        let (judged, known) = (HashSet::new(), HashSet::new());
        let baseline = sweep.initial.clone();
        Self { sweep, run, resume, at_crash, check, baseline, judged, known, summary: Summary::default() }
    }

    pub fn sweep(mut self) -> Result<Summary, SweepError> {
        let token = self.sweep.token()?;
        if let Some(token) = &token {
            self.sweep.power.seed = token.seed;
        }
        let root = Node { crashes: Vec::new(), image: self.sweep.initial.clone(), ended: None };
        let (recorded, end) = self.record(&root).map_err(SweepError::Run)?;
        self.baseline = end.clone();
        self.summary.ops = recorded.log.len();
        self.checked(end).map_err(SweepError::Baseline)?;
        if let Some(token) = token {
            self.replay(root, recorded, &token)?;
            return Ok(self.summary);
        }
        self.live_checks(&recorded)?;
        if self.sweep.durable {
            self.ends(&root, &recorded)?;
        }
        self.levels(root, recorded)?;
        Ok(self.summary)
    }

    fn levels(&mut self, root: Node, recorded: Arc<Recorded>) -> Result<(), SweepError> {
        let mut level = Vec::new();
        let mut depth = 1;
        self.crash(&root, &recorded, depth, &mut level)?;
        while depth < self.sweep.depth && !level.is_empty() {
            depth += 1;
            self.summary.closed = true;
            for node in std::mem::take(&mut level) {
                // A resume that fails was found when its state was judged.
                if let Ok((recorded, _)) = self.record(&node) {
                    self.crash(&node, &recorded, depth, &mut level)?;
                }
            }
        }
        Ok(())
    }

    /// Judges the crash states of one run or resume, and notes those that are new.
    fn crash(
        &mut self,
        node: &Node,
        recorded: &Arc<Recorded>,
        depth: u32,
        next: &mut Vec<Node>,
    ) -> Result<(), SweepError> {
        let sweep = self.sweep.clone();
        let models = |wanted: &[Model]| sweep.models.iter().any(|model| wanted.contains(model));
        if models(&[Model::Kill]) {
            for state in recorded.kills(&sweep) {
                self.consider(node, recorded, state?, depth, next)?;
            }
        }
        if models(&[Model::TornSectors, Model::TornPages]) {
            for state in recorded.torn(&sweep) {
                self.consider(node, recorded, state?, depth, next)?;
            }
        }
        if models(&[Model::Power]) {
            let power = recorded.power(&sweep)?;
            if depth == 1 {
                self.summary.claims = power.claims();
            }
            let mut builder = power.builder();
            let first = if recorded.past == 0 { 0 } else { recorded.past + 1 };
            for state in power.states_from(first) {
                let made = power_state(&mut builder, &state, Crash::Power(state.clone()))?;
                self.consider(node, recorded, made, depth, next)?;
            }
        }
        Ok(())
    }

    fn consider(
        &mut self,
        node: &Node,
        recorded: &Arc<Recorded>,
        state: State,
        depth: u32,
        next: &mut Vec<Node>,
    ) -> Result<(), SweepError> {
        self.summary.states += 1;
        let id = state.image.content_id();
        if self.judged.insert(id) {
            self.summary.judged += 1;
            if let Err(violation) = self.judge(&state) {
                return Err(self.smallest(node, recorded, state, violation));
            }
        }
        if self.known.insert((id, state.durable)) {
            self.summary.closed = false;
            if depth < self.sweep.depth {
                next.push(node.then(recorded, state));
            }
        }
        Ok(())
    }

    /// A power cut after success.
    fn ends(&mut self, root: &Node, recorded: &Recorded) -> Result<(), SweepError> {
        let power = recorded.power(&self.sweep)?;
        let mut builder = power.builder();
        for state in power.states_at(recorded.log.len()) {
            let made = power_state(&mut builder, &state, Crash::AtEnd(state.clone()))?;
            self.summary.states += 1;
            if let Err(violation) = self.judge(&made) {
                return Err(self.smallest(root, recorded, made, violation));
            }
        }
        Ok(())
    }

    /// Kills the run in the device, at ops spread over it.
    fn live_checks(&mut self, recorded: &Recorded) -> Result<(), SweepError> {
        let points = recorded.log.len() + 1;
        let checks = self.sweep.live_checks.min(points);
        let states: Vec<State> = recorded.kills(&self.sweep).collect::<Result<_, _>>()?;
        for check in 0..checks {
            let cut = (check * points / checks) as usize;
            let disk = Disk::new(self.sweep.initial.clone(), self.sweep.sector_bytes);
            let mut disk = disk.cut_after(cut as u64, 0);
            // What it answers is its own affair: it was cut.
            let _ = attempt(&mut self.run, &mut disk);
            if disk.image().content_id() != states[cut].image.content_id() {
                return Err(SweepError::NotDeterministic(cut as u64));
            }
            self.summary.live_checks += 1;
        }
        Ok(())
    }

    fn replay(&mut self, root: Node, recorded: Arc<Recorded>, token: &Token) -> Result<(), SweepError> {
        let (mut node, mut recorded) = (root, recorded);
        for (place, crash) in token.crashes.iter().enumerate() {
            let state = recorded.state(crash, &self.sweep)?;
            let none = || SweepError::NoSuchCrash { token: token.clone(), crash: crash.clone() };
            let state = state.ok_or_else(none)?;
            self.summary.states += 1;
            if place + 1 == token.crashes.len() {
                let found = state.image.content_id();
                if found != token.id {
                    return Err(SweepError::OtherState { token: token.clone(), found });
                }
                self.summary.judged += 1;
                return match self.judge(&state) {
                    Ok(()) => Ok(()),
                    Err(violation) => Err(self.failed(&node, &recorded, &state, violation)),
                };
            }
            node = node.then(&recorded, state);
            recorded = self.record(&node).map_err(|_| none())?.0;
        }
        Ok(())
    }

    pub fn failed(
        &self,
        node: &Node,
        recorded: &Recorded,
        state: &State,
        violation: Violation,
    ) -> SweepError {
        let crashes = node.crashes.iter().chain([&state.crash]).cloned().collect();
        let id = state.image.content_id();
        let token = Box::new(Token { seed: self.sweep.power.seed, crashes, id });
        let last = match &state.crash {
            Crash::Killed(ops) => *ops,
            Crash::Torn { op, .. } => *op,
            Crash::Power(state) | Crash::AtEnd(state) => state.cut,
        };
        let ops = recorded.log.ops.iter().take(last as usize).cloned().collect();
        SweepError::Failed { token, violation, ops, states: self.summary.states.saturating_sub(1) }
    }

    /// Runs on a state, or resumes, and records it; and what is on the disk then.
    fn record(&mut self, node: &Node) -> Result<(Arc<Recorded>, Image), AnyError> {
        let (origin, past) = node.past();
        let behind = past.len();
        let disk = Disk::new(node.image.clone(), self.sweep.sector_bytes);
        let mut disk = disk.recording(past);
        let code = match &mut self.resume {
            Some(resume) if !node.crashes.is_empty() => resume,
            _ => &mut self.run,
        };
        attempt(code, &mut disk)?;
        let (end, log) = disk.into_parts();
        Ok((Arc::new(Recorded { origin, log, past: behind }), end))
    }

    fn checked(&mut self, image: Image) -> Result<(), AnyError> {
        attempt(&mut self.check, &mut Disk::new(image, self.sweep.sector_bytes))
    }

    /// What is asked of a crash state.
    pub fn judge(&mut self, state: &State) -> Result<(), Violation> {
        let mut disk = Disk::new(state.image.clone(), self.sweep.sector_bytes);
        if matches!(state.crash, Crash::AtEnd(_)) {
            self.differing(&disk).map_or(Ok(()), |ranges| Err(Violation::NotDurable(ranges)))?;
            return attempt(&mut self.check, &mut disk).map_err(Violation::EndCheck);
        }
        if let Some(check) = &mut self.at_crash {
            attempt(check, &mut disk).map_err(Violation::AtCrash)?;
        }
        let resume = self.resume.as_mut().unwrap_or(&mut self.run);
        attempt(resume, &mut disk).map_err(Violation::Resume)?;
        attempt(&mut self.check, &mut disk).map_err(Violation::Check)?;
        self.differing(&disk).map_or(Ok(()), |ranges| Err(Violation::OtherBytes(ranges)))
    }

    /// Where a disk is not as the uninterrupted run left it; none where that is not asked for.
    fn differing(&self, disk: &Disk) -> Option<Vec<std::ops::Range<u64>>> {
        let same = !self.sweep.same_end || disk.image().content_id() == self.baseline.content_id();
        // An image whose base can't be read any more differs, wherever that is.
        (!same).then(|| self.baseline.diff(disk.image()).unwrap_or_default())
    }
}

impl Node {
    fn then(&self, recorded: &Arc<Recorded>, state: State) -> Self {
        let crashes = self.crashes.iter().chain([&state.crash]).cloned().collect();
        Self { crashes, image: state.image, ended: Some(recorded.clone()) }
    }

    /// The content after the last power cut, and what was done since: it may still be volatile.
    fn past(&self) -> (Image, OpLog) {
        match (self.crashes.last(), &self.ended) {
            (Some(crash @ (Crash::Killed(_) | Crash::Torn { .. })), Some(ended)) => {
                (ended.origin.clone(), ended.until(crash))
            }
            _ => (self.image.clone(), OpLog::default()),
        }
    }
}

/// A panic of the code under test.
#[derive(Debug, thiserror::Error)]
#[error("it panics: {0}")]
struct Panicked(Box<str>);

/// Runs code of the test; a panic is an error, so that it is reported with the crash that led to it.
fn attempt(code: &mut Code<'_>, disk: &mut Disk) -> Result<(), AnyError> {
    match catch_unwind(AssertUnwindSafe(|| code(disk))) {
        Ok(result) => result,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            Err(Panicked(text.unwrap_or("without a message").into()).into())
        }
    }
}
