//! Every counter of a campaign, derived once from its events. Readers take their figures from here instead of
//! counting for themselves; what a figure counts is said at its field and nowhere decided again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::{
    Barrier, CampaignStarted, Command, CopyState, Counts, EpochClaim, Event, Finding, GptSample, Kill, Model,
    Outcome, Point, ResumeCuts, Verdict,
};

mod coverage;
mod exit;

pub use coverage::{Coverage, Covered};

/// The step name of a crash point before the first step mark.
pub(crate) const START: &str = "start";

/// What is known of one phase's uninterrupted runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaselineTally {
    /// Uninterrupted runs.
    pub runs: u64,
    /// Mutations, of the run with the most.
    pub ops: u64,
    /// Completed flushes, of the run with the most.
    pub flushes: u64,
    /// Bytes in which the runs differ.
    pub volatile_bytes: u64,
}

/// What is known of the sweep of one phase, in crash points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepTally {
    /// Points that there are: those at op boundaries, and those inside writes.
    pub possible: u64,
    /// Points that are to be looked at.
    pub planned: u64,
    /// Points that were looked at.
    pub explored: u64,
}

/// What is known of the resume closure of one phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClosureTally {
    /// Deepest level that was followed.
    pub depth: u32,
    /// Crash points of resumes.
    pub points: u64,
    /// States among them that no run of the phase alone leaves.
    pub states: u64,
    /// Nothing new appeared at the end.
    pub complete: bool,
}

/// A crash state as far as the campaign tells states apart: phase and content id.
pub(crate) type State = (String, String);

/// The counters of a campaign. Start with [`Tally::default`] and feed every event to [`Tally::event`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// What was asked for; none until the campaign has started.
    pub campaign: Option<CampaignStarted>,
    /// Content id of the fixture.
    pub fixture_id: Option<String>,
    /// Uninterrupted runs by phase.
    pub baselines: BTreeMap<String, BaselineTally>,
    /// Oracles that objected to a damaged copy, by phase.
    pub oracles_proved: BTreeMap<String, BTreeSet<String>>,
    /// Iterations begun.
    pub iterations_started: u64,
    /// Iterations that ran to their end: another one began after them, or the campaign was completed.
    pub iterations_done: u64,
    /// Sweeps by phase; none in a campaign of random kills.
    pub sweeps: BTreeMap<String, SweepTally>,
    /// Crash points of sweeps, by what they have in common.
    pub coverage: Coverage,
    /// Resume closures by phase; none where they were not asked for.
    pub closures: BTreeMap<String, ClosureTally>,
    /// What was looked at under the power model, by phase; only where all of it was.
    pub power: BTreeMap<String, Vec<EpochClaim>>,
    /// Flushes that were ignored, and what became of it.
    pub barriers: Vec<Barrier>,
    /// Power cuts in resumes, by phase.
    pub resume_cuts: Vec<ResumeCuts>,
    /// Kills that the seed gave.
    pub planned: u64,
    /// Crash points tried: kills attempted, and points of recorded runs.
    pub explored: u64,
    /// Live kills attempted, late ones and those that make up for them included.
    pub attempted: u64,
    /// Live kills that landed; of a sweep's live kills, those that also left the recorded state.
    pub landed: u64,
    /// A sweep's live kills that came too late or left another state than the recorded one.
    pub live_failed: u64,
    /// Crash states as they were reached: landed kills, and points of recorded runs.
    pub raw: u64,
    /// Crash states as they were reached that were judged with another one.
    pub merged: u64,
    /// Different crash states of which it was proven that they recover.
    pub unread: u64,
    /// Kills that the seed gave and that nothing could make up for, of iterations that ran to their end.
    pub shortfall: u64,
    /// Crash states unlike the phase's start and unlike its baseline, as they were reached.
    pub interior: u64,
    /// Crash states that a write cut in two left, as they were reached.
    pub inside_op: u64,
    /// Crash states by step, as they were reached; `start` first, then the steps of the uninterrupted runs in their order.
    pub kills_by_step: Counts,
    /// GPT samples of crash states as they were reached.
    pub gpt_samples: u64,
    /// Among them, how many say so.
    pub gpt: GptCounts,
    /// Copy destinations sampled in crash states as they were reached, by state.
    pub copy_states: BTreeMap<CopyState, u64>,
    /// Findings in order of appearance.
    pub findings: Vec<Finding>,
    /// Findings among them that the scenario expects.
    pub expected_seen: u64,
    /// Findings that the scenario expects and that did not appear.
    pub expected_vanished: u64,
    /// What was not tested, without repetitions.
    pub not_tested: Vec<String>,
    /// Warnings, without repetitions.
    pub warnings: Vec<String>,
    /// How it ended; none while it goes on or where the stream was cut.
    pub outcome: Option<Outcome>,
    /// Exit code that the campaign gave itself.
    pub exit_code: Option<u8>,
    /// Duration in seconds, once it ended.
    pub wall_s: Option<f64>,
    /// How much of it was preparation, in seconds, once it ended.
    pub prepared_s: Option<f64>,

    distinct: HashSet<State>,
    judged: HashMap<State, Verdict>,
    verdicts: BTreeMap<Verdict, u64>,
    /// The last landed kill of each iteration and phase that is not judged yet.
    pending: BTreeMap<(u64, String), State>,
    /// The iteration under way: by phase, kills that the seed gave and kills that landed.
    under_way: Option<BTreeMap<String, (u64, u64)>>,
}

/// How many GPT samples show what; a sample may count under several, but for `clean`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GptCounts {
    /// Nothing below holds.
    pub clean: u64,
    /// A header's own CRC or signature is wrong.
    pub header_crc: u64,
    /// The primary entry array does not match its header's CRC.
    pub torn_primary: u64,
    /// The backup entry array does not match its header's CRC.
    pub torn_backup: u64,
    /// The entry arrays differ.
    pub mismatch: u64,
    /// Neither copy is valid.
    pub no_valid_copy: u64,
}

impl Tally {
    /// Takes in one event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::CampaignStarted(campaign) => {
                self.kills_by_step.declare(START);
                self.campaign = Some(campaign.clone());
            }
            Event::FixtureReady { fixture_id, .. } => self.fixture_id = Some(fixture_id.clone()),
            Event::BaselineRun { phase, ops, flushes, .. } => {
                let baseline = self.baselines.entry(phase.clone()).or_default();
                baseline.runs += 1;
                baseline.ops = baseline.ops.max(*ops);
                baseline.flushes = baseline.flushes.max(*flushes);
            }
            Event::BaselineReady { phase, volatile_bytes, steps, .. } => {
                for step in steps {
                    self.kills_by_step.declare(step);
                }
                self.baselines.entry(phase.clone()).or_default().volatile_bytes = *volatile_bytes;
            }
            Event::OracleProved { phase, oracle } => {
                self.oracles_proved.entry(phase.clone()).or_default().insert(oracle.clone());
            }
            Event::NotTested { what } => push_new(&mut self.not_tested, what),
            Event::Warning { text } => push_new(&mut self.warnings, text),
            Event::IterationStarted { .. } => {
                self.iteration_ended();
                self.iterations_started += 1;
                self.under_way = Some(BTreeMap::new());
            }
            Event::Planned { phase, kills, .. } => {
                let kills = kills.len() as u64;
                self.planned += kills;
                self.kills_of(phase, |(planned, _)| *planned += kills);
            }
            Event::Late { .. } => {
                self.attempted += 1;
                self.explored += 1;
            }
            Event::Layout { .. } | Event::Overwritten(_) => {}
            Event::Kill(kill) => self.kill(kill),
            Event::Judged { iteration, phase, verdict, .. } => self.judged(*iteration, phase, *verdict),
            Event::Sweep { phase, lots, .. } => {
                let sweep = self.sweeps.entry(phase.clone()).or_default();
                for lot in lots {
                    // The numbers may come from a log that others wrote.
                    sweep.possible = sweep.possible.saturating_add(lot.possible);
                    sweep.planned = sweep.planned.saturating_add(lot.planned);
                    self.coverage.add(phase, lot);
                }
            }
            Event::Closure { phase, depth, points, fresh } => {
                let closure = self.closures.entry(phase.clone()).or_default();
                closure.depth = closure.depth.max(*depth);
                closure.points = closure.points.saturating_add(*points);
                closure.states = closure.states.saturating_add(*fresh);
            }
            Event::Barrier(barrier) => self.barriers.push(barrier.clone()),
            Event::PowerClaims { phase, epochs } => {
                self.power.insert(phase.clone(), epochs.clone());
            }
            Event::ResumeCuts(cuts) => self.resume_cuts.push(cuts.clone()),
            Event::ClosureEnded { phase, complete } => {
                self.closures.entry(phase.clone()).or_default().complete = *complete;
            }
            Event::Point(point) => self.point(point),
            Event::LiveCheck { landed, agreed, .. } => {
                let as_recorded = *landed && *agreed;
                self.attempted += 1;
                self.landed += u64::from(as_recorded);
                self.live_failed += u64::from(!as_recorded);
            }
            Event::Finding(finding) => {
                self.expected_seen += u64::from(finding.expected);
                self.findings.push(finding.clone());
            }
            Event::Compared(_) => {}
            Event::ExpectedVanished { what } => {
                self.expected_vanished += 1;
                push_new(&mut self.warnings, &vanished(what));
            }
            Event::CampaignEnded { outcome, exit_code, wall_s, prepared_s } => {
                if *outcome == Outcome::Completed {
                    self.iteration_ended();
                }
                self.outcome = Some(outcome.clone());
                self.exit_code = Some(*exit_code);
                self.wall_s = Some(*wall_s);
                self.prepared_s = Some(*prepared_s);
            }
        }
    }

    /// Different crash states that were reached, told apart by phase and content id.
    pub fn distinct_states(&self) -> u64 {
        self.distinct.len() as u64
    }

    /// Different crash states that were judged.
    pub fn judged_states(&self) -> u64 {
        self.judged.len() as u64
    }

    /// Judged states with this verdict. A state judged more than once counts under its worst verdict.
    pub fn verdict(&self, verdict: Verdict) -> u64 {
        self.verdicts.get(&verdict).copied().unwrap_or(0)
    }

    /// What a crash state was judged to be; none where it was not.
    pub(crate) fn verdict_of(&self, state: &State) -> Option<Verdict> {
        self.judged.get(state).copied()
    }

    /// Share of the crash states as they were reached that are unlike both start and baseline, 0 to 1.
    pub fn interior_share(&self) -> f64 {
        share(self.interior, self.raw)
    }

    /// Findings that the scenario does not expect.
    pub fn unexpected(&self) -> u64 {
        self.findings.len() as u64 - self.expected_seen
    }

    /// Whether crash points of recorded runs are looked at, so that there are no iterations.
    pub fn is_sweep(&self) -> bool {
        let asked = self.campaign.as_ref().is_some_and(|campaign| is_sweep(campaign.command));
        asked || !self.sweeps.is_empty()
    }

    /// Crash points that there are to reach: those of the sweeps, inside writes too; without sweeps for each phase
    /// its mutations, and the point before the first.
    pub fn possible_points(&self) -> u64 {
        if self.is_sweep() {
            return sum(self.sweeps.values().map(|sweep| sweep.possible));
        }
        self.baselines.values().map(|baseline| baseline.ops + 1).sum()
    }

    /// Crash points that sweeps are to look at.
    pub fn planned_points(&self) -> u64 {
        sum(self.sweeps.values().map(|sweep| sweep.planned))
    }

    /// Judged states a second, preparation left out; 0 until the campaign ended.
    pub fn judged_states_per_s(&self) -> f64 {
        match self.wall_s.zip(self.prepared_s) {
            Some((wall_s, prepared_s)) if wall_s > prepared_s => {
                self.judged_states() as f64 / (wall_s - prepared_s)
            }
            _ => 0.0,
        }
    }

    fn kill(&mut self, kill: &Kill) {
        self.attempted += 1;
        self.explored += 1;
        // A kill that missed left no crash state: counting its sample would be counting the baseline.
        if !kill.landed {
            return;
        }
        self.landed += 1;
        self.kills_of(&kill.phase, |(_, landed)| *landed += 1);
        self.inside_op += u64::from(kill.inside_op);
        let state = (kill.phase.clone(), kill.content_id.clone());
        self.reached(&state, &kill.step, kill.interior, kill.gpt.as_ref(), &kill.copies);
        self.pending.insert((kill.iteration, kill.phase.clone()), state);
    }

    fn point(&mut self, point: &Point) {
        // Points of a resume are no points of the recorded run.
        if point.depth == 0 {
            self.explored += 1;
            if let Some(sweep) = self.sweeps.get_mut(&point.phase) {
                sweep.explored += 1;
            }
            self.coverage.explored(point);
        }
        self.inside_op += u64::from(point.torn_bytes.is_some());
        self.merged += u64::from(point.merged);
        self.unread += u64::from(point.unread);
        let state = state_of(point);
        self.reached(&state, &point.step, point.interior, point.gpt.as_ref(), &point.copies);
        if let Some(verdict) = point.verdict {
            self.count(state, verdict);
        }
    }

    /// Counts a crash state as it was reached.
    fn reached(
        &mut self,
        state: &State,
        step: &str,
        interior: bool,
        gpt: Option<&GptSample>,
        copies: &BTreeMap<String, CopyState>,
    ) {
        self.raw += 1;
        self.interior += u64::from(interior);
        self.kills_by_step.add(step, 1);
        if let Some(sample) = gpt {
            self.gpt_samples += 1;
            self.gpt.add(sample);
        }
        for copy in copies.values() {
            *self.copy_states.entry(*copy).or_default() += 1;
        }
        if !self.distinct.contains(state) {
            self.distinct.insert(state.clone());
        }
    }

    fn judged(&mut self, iteration: u64, phase: &str, verdict: Verdict) {
        match self.pending.remove(&(iteration, phase.to_owned())) {
            Some(state) => self.count(state, verdict),
            // Every kill missed: a pass here survived nothing, but a failure must still show.
            None if verdict.is_pass() => {}
            None => self.count((phase.to_owned(), String::new()), verdict),
        }
    }

    fn kills_of(&mut self, phase: &str, change: impl FnOnce(&mut (u64, u64))) {
        if let Some(phases) = &mut self.under_way {
            change(phases.entry(phase.to_owned()).or_default());
        }
    }

    fn iteration_ended(&mut self) {
        if let Some(phases) = self.under_way.take() {
            self.iterations_done += 1;
            self.shortfall +=
                phases.values().map(|(planned, landed)| planned.saturating_sub(*landed)).sum::<u64>();
        }
    }

    fn count(&mut self, state: State, verdict: Verdict) {
        match self.judged.get_mut(&state) {
            Some(known) if known.badness() >= verdict.badness() => return,
            Some(known) => {
                let milder = std::mem::replace(known, verdict);
                if let Some(count) = self.verdicts.get_mut(&milder) {
                    *count -= 1;
                }
            }
            None => {
                self.judged.insert(state, verdict);
            }
        }
        *self.verdicts.entry(verdict).or_default() += 1;
    }
}

impl GptCounts {
    fn add(&mut self, sample: &GptSample) {
        self.clean += u64::from(sample.clean);
        self.header_crc += u64::from(sample.header_crc);
        self.torn_primary += u64::from(sample.torn_primary);
        self.torn_backup += u64::from(sample.torn_backup);
        self.mismatch += u64::from(sample.mismatch);
        self.no_valid_copy += u64::from(sample.no_valid_copy);
    }
}

/// The crash state at a point.
pub(crate) fn state_of(point: &Point) -> State {
    // What a disturbed run leaves depends on how it was disturbed, and so does what it must be.
    let content = match point.model {
        Model::Error | Model::Signal => format!("{} {}", point.content_id, point.faults),
        // The same content after more acknowledgements is another state.
        _ if point.acks > 0 => format!("{} {}", point.content_id, point.acks),
        _ => point.content_id.clone(),
    };
    (point.phase.clone(), content)
}

/// `part` of `whole`, 0 to 1; 0 where there is no whole.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Whether a command looks at crash points of recorded runs instead of killing at random.
pub(crate) fn is_sweep(command: Command) -> bool {
    matches!(command, Command::Sweep | Command::Exec)
}

/// What a person is told of an expected finding that did not appear.
pub(crate) fn vanished(what: &str) -> String {
    format!("expected, but did not appear: {what}")
}

/// Kinds of findings that a campaign expects of what it swept and that are not among its events.
pub(crate) fn vanished_kinds(started: &CampaignStarted, events: &[Event]) -> Vec<String> {
    let swept = |kind: &String| {
        events.iter().any(|event| matches!(event, Event::Sweep { phase, .. } if kind.starts_with(&format!("phase {phase}:"))))
    };
    let found: HashSet<String> = events
        .iter()
        .filter_map(|event| match event {
            Event::Finding(finding) => Some(finding.kind()),
            _ => None,
        })
        .collect();
    started.expected.iter().filter(|kind| swept(kind) && !found.contains(*kind)).cloned().collect()
}

fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

fn push_new(list: &mut Vec<String>, text: &str) {
    if !list.iter().any(|known| known == text) {
        list.push(text.to_owned());
    }
}

#[cfg(test)]
mod tests;
