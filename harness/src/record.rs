//! What a chain becomes in the event stream: its kills, its verdict, and a finding with the line that brings it back.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fault_backend::ContentId;
use fault_backend::power::{DeviceProfile, Durability};
use reports::{Compared, Event, Finding, Kill, Model, Stream, Verdict};
use scenarios::{Expected, ExpectedFinding};

use crate::chain::{CrashState, evidence};
use crate::error::Error;
use crate::explain::{self, Evidence};
use crate::ground::Ground;
use crate::judge::Judgement;
use crate::outage::Outage;
use crate::prepare::{Known, PreparedPhase};
use crate::shrink::{self, Case, Failure, Shrunk};
use crate::store::{FindingStore, Past};
use crate::token::{self, Token, TokenKill};

/// Findings of a campaign that are made smaller: most of the others are the same once more.
const MAX_SHRUNK: u64 = 5;

/// What a campaign's findings have in common.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Seed of the campaign.
    pub seed: u64,
    /// Planted bug.
    pub bug: Option<String>,
    /// Device that loses its power, where one does.
    pub device: Option<DeviceProfile>,
    /// What a flush covers, in place of what the scenario says.
    pub durability: Option<Durability>,
    /// The scenario's file, where it does not ship.
    pub scenario_file: Option<PathBuf>,
    /// The command line that stands for a scenario file.
    pub exec: Option<String>,
    /// What is known of the tool.
    pub expected: Expected,
}

/// Where in a campaign a chain stands.
#[derive(Clone, Debug)]
pub struct Place {
    /// Iteration.
    pub iteration: u64,
    /// Phase.
    pub phase: String,
    /// Content id of the volume at the phase's start.
    pub start_id: ContentId,
    /// Content id of the volume after an uninterrupted run.
    pub baseline_id: ContentId,
    /// What a flush covers, as the scenario says it.
    pub durability: Durability,
}

impl Place {
    /// The place of a phase's chain.
    pub fn new(iteration: u64, phase: &PreparedPhase) -> Self {
        Self::of_known(iteration, &phase.known)
    }

    /// The place of a chain of a phase that this is known of.
    pub fn of_known(iteration: u64, known: &Known) -> Self {
        Self {
            iteration,
            phase: known.phase.name.clone(),
            start_id: known.start.id,
            baseline_id: known.baseline.id,
            durability: known.phase.durability,
        }
    }

    /// Whether a content is neither that of the phase's start nor its baseline's.
    pub fn is_interior(&self, id: ContentId) -> bool {
        id != self.start_id && id != self.baseline_id
    }
}

/// How a judged state came about.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Crash model of the last fault.
    pub model: Model,
    /// The faults, one per run of the tool.
    pub kills: Vec<TokenKill>,
    /// The recorded runs that lead to the state; none where they were not recorded.
    pub past: Option<Vec<Past>>,
    /// Content id of the volume at the last crash, as a token holds it.
    pub crash: String,
    /// Furthest step mark before the last crash.
    pub step: String,
    /// What it was before it was made smaller.
    pub shrunk_from: Option<Box<Trace>>,
}

impl Trace {
    /// Of a chain's crash states.
    pub fn of(crashes: &[CrashState], place: &Place) -> Self {
        let torn = crashes.last().is_some_and(|crash| crash.inside_op);
        Self {
            model: if torn { Model::Torn } else { Model::Kill },
            kills: crashes.iter().map(|crash| crash.kill.clone()).collect(),
            past: crashes.iter().map(|crash| crash.past.clone()).collect(),
            crash: token::short(crashes.last().map_or(place.start_id, |crash| crash.sample.volume_id)),
            step: crashes.last().map_or("start", |crash| &crash.step).to_owned(),
            shrunk_from: None,
        }
    }

    /// What it became when it was made smaller; the same where there was nothing to leave out.
    pub fn shrunk_to(self, shrunk: &Shrunk, place: &Place) -> Self {
        let smaller = Self { kills: shrunk.kills.clone(), ..Self::of(&shrunk.crashes, place) };
        if smaller.kills == self.kills {
            return Self { past: smaller.past.or(self.past), ..self };
        }
        let cut = smaller.kills.last().is_some_and(|kill| kill.power.is_none() && kill.fault.is_kill());
        let model = if cut { smaller.model } else { self.model };
        Self { model, shrunk_from: Some(Box::new(self)), ..smaller }
    }

    /// As it was found, however small it was made.
    fn as_found(&self) -> &Self {
        self.shrunk_from.as_deref().unwrap_or(self)
    }
}

/// Emits the events of a campaign's chains.
#[derive(Debug)]
pub struct Recorder {
    origin: Origin,
    seen: HashSet<(String, ContentId)>,
    findings: u64,
    /// Kinds of findings that appeared.
    kinds: HashSet<String>,
    /// Kinds of expected findings that appeared, by their place in the list.
    met: HashSet<usize>,
    store: FindingStore,
    /// How findings are made smaller, and how many still may be.
    shrinking: Option<shrink::Limits>,
    may_shrink: u64,
}

impl Recorder {
    /// For a campaign that begins, whose results go to a run directory.
    pub fn new(origin: Origin, run_dir: &Path) -> Self {
        let store = FindingStore::new(run_dir);
        Self {
            origin,
            seen: HashSet::new(),
            findings: 0,
            kinds: HashSet::new(),
            met: HashSet::new(),
            store,
            shrinking: None,
            may_shrink: MAX_SHRUNK,
        }
    }

    /// Has the first findings that consist of several faults made smaller, within these limits each.
    pub fn shrinking(self, limits: Option<shrink::Limits>) -> Self {
        Self { shrinking: limits, ..self }
    }

    /// The case that a finding is, where it is to be made smaller, and how long that may take. Findings that are expected
    /// are known already.
    pub fn to_shrink(
        &mut self,
        place: &Place,
        trace: &Trace,
        judgement: &Judgement,
    ) -> Option<(Case, shrink::Limits)> {
        let limits = self.shrinking.filter(|_| self.may_shrink > 0)?;
        let verdict = judgement.verdict;
        if verdict.is_pass()
            || verdict == Verdict::NotMeasured
            || self.known(place, trace, judgement).is_some()
        {
            return None;
        }
        let durability = self.origin.durability.unwrap_or(place.durability);
        let outage = self
            .origin
            .device
            .clone()
            .map(|device| Arc::new(Outage { device, durability, seed: self.origin.seed }));
        let failure = Failure { verdict, oracle: judgement.oracle.clone() };
        let case = Case { kills: trace.kills.clone(), failure, outage };
        let chosen = case.is_compound();
        self.may_shrink -= u64::from(chosen);
        chosen.then_some((case, limits))
    }

    /// The kind of expected finding that this is, by its place in the list.
    fn known(&self, place: &Place, trace: &Trace, judgement: &Judgement) -> Option<usize> {
        let model = trace.as_found().model.name();
        self.origin.expected.position(model, &place.phase, judgement.verdict.name(), &judgement.oracle)
    }

    /// Whether a phase was left with this content for the first time.
    pub fn is_new(&mut self, phase: &str, id: ContentId) -> bool {
        self.seen.insert((phase.to_owned(), id))
    }

    /// Tells of the findings that the scenario expects of these phases and models and that did not appear.
    pub fn vanished(
        &self,
        phases: &[&str],
        models: &BTreeSet<Model>,
        stream: &mut Stream,
    ) -> Result<(), Error> {
        let asked = |known: &ExpectedFinding| {
            phases.contains(&known.phase.as_str()) && models.iter().any(|model| known.is_of(model.name()))
        };
        for (index, known) in self.origin.expected.findings.iter().enumerate() {
            if asked(known) && !self.met.contains(&index) {
                let what = reports::event::kind(&known.phase, &known.verdict, &known.oracle);
                stream.emit(&Event::ExpectedVanished { what })?;
            }
        }
        Ok(())
    }

    /// Number of findings so far.
    pub fn findings(&self) -> u64 {
        self.findings
    }

    /// Emits the kills of a chain and gives the number that landed. `writes_after` is what the run that went to the
    /// end wrote: a kill fell before its run's last op if anything was left to write after it.
    pub fn kills(
        &mut self,
        place: &Place,
        crashes: &[CrashState],
        writes_after: usize,
        attempt: &mut u32,
        stream: &mut Stream,
    ) -> Result<u32, Error> {
        let landed = landed(crashes.iter().map(|crash| (crash.before_last_op, crash.writes)), writes_after);
        for (crash, landed) in crashes.iter().zip(&landed) {
            *attempt += 1;
            let distinct = self.is_new(&place.phase, crash.sample.content_id);
            stream.emit(&Event::Kill(Kill {
                iteration: place.iteration,
                phase: place.phase.clone(),
                attempt: *attempt,
                at_ms: crash.at_ms,
                landed: *landed,
                step: crash.step.clone(),
                op: crash.op,
                inside_op: crash.inside_op,
                content_id: crash.sample.content_id.to_string(),
                distinct,
                interior: place.is_interior(crash.sample.content_id),
                scratch_wiped: crash.kill.wipe,
                gpt: crash.sample.gpt,
                copies: crash.sample.copies.clone(),
            }))?;
        }
        Ok(landed.into_iter().filter(|landed| *landed).count() as u32)
    }

    /// Emits a chain's verdict, and what follows from it.
    pub fn judged(
        &mut self,
        ground: &mut Ground,
        place: &Place,
        crashes: &[CrashState],
        judgement: Judgement,
        stream: &mut Stream,
    ) -> Result<(), Error> {
        self.verdict(place, crashes.len(), &judgement, stream)?;
        self.follow_up(ground, place, &Trace::of(crashes, place), judgement, stream)
    }

    /// Emits the verdict on a chain with so many kills.
    pub fn verdict(
        &self,
        place: &Place,
        kills: usize,
        judgement: &Judgement,
        stream: &mut Stream,
    ) -> Result<(), Error> {
        Ok(stream.emit(&Event::Judged {
            iteration: place.iteration,
            phase: place.phase.clone(),
            verdict: judgement.verdict,
            kills: kills as u32,
            wall_ms: judgement.wall_ms,
        })?)
    }

    /// Emits what follows from a verdict: a finding, or a warning.
    pub fn follow_up(
        &mut self,
        ground: &mut Ground,
        place: &Place,
        trace: &Trace,
        judgement: Judgement,
        stream: &mut Stream,
    ) -> Result<(), Error> {
        match judgement.verdict {
            verdict if verdict.is_pass() => {}
            Verdict::NotMeasured => {
                let text = format!("phase `{}`: not measured: {}", place.phase, judgement.explain);
                stream.emit(&Event::Warning { text })?;
            }
            _ => {
                let mut judgement = judgement;
                let is_explained = self.is_explained(&place.phase, &judgement);
                let evidence = judgement.evidence.take().filter(|_| is_explained);
                let (explanation, told) = match evidence {
                    Some(Evidence::Told(compared)) => (None, Some(*compared)),
                    Some(evidence) => (evidence::explain(evidence, ground)?, None),
                    None => (None, None),
                };
                if let Some(explanation) = &explanation {
                    judgement.explain = format!("{}\n{explanation}", judgement.explain);
                }
                let finding = self.finding(ground, place, trace, judgement);
                if let Some(explanation) = &explanation {
                    self.store.keep_explanation(&finding.id, explanation)?;
                }
                let id = finding.id.clone();
                let compared = told.map(|told| Compared { finding: id.clone(), ..told });
                let compared = compared.or_else(|| explanation?.compared(&id));
                if let Some(past) = trace.past.as_ref().filter(|past| !past.is_empty()) {
                    self.store.keep(&finding.id, past)?;
                }
                stream.emit(&Event::Finding(finding))?;
                if let Some(compared) = compared {
                    stream.emit(&Event::Compared(compared))?;
                }
            }
        }
        Ok(())
    }

    /// Whether a finding is among those that are explained: the first ones, and the first of each kind.
    fn is_explained(&mut self, phase: &str, judgement: &Judgement) -> bool {
        let kind = reports::event::kind(phase, judgement.verdict.name(), &judgement.oracle);
        self.kinds.insert(kind) || self.findings < explain::MAX_EXPLAINED
    }

    fn token(&self, ground: &Ground, place: &Place, trace: &Trace) -> Token {
        let resolved = &ground.resolved;
        let loses_power = trace.kills.iter().any(|kill| kill.power.is_some());
        let device = self.origin.device.clone().filter(|_| loses_power);
        let durability = self.origin.durability.unwrap_or(place.durability);
        Token {
            seam: ground.stage.seam(),
            scenario: resolved.scenario.name.clone(),
            scale: resolved.scale.clone(),
            digest: resolved.digest(),
            seed: self.origin.seed,
            phase: place.phase.clone(),
            kills: trace.kills.clone(),
            fixture: token::short(ground.fixture_id),
            crash: trace.crash.clone(),
            device: device.map(|device| (device, durability)),
            bug: self.origin.bug.clone(),
            exec: self.origin.exec.clone(),
        }
    }

    fn finding(&mut self, ground: &Ground, place: &Place, trace: &Trace, judgement: Judgement) -> Finding {
        self.findings += 1;
        let token = self.token(ground, place, trace);
        let shrunk_from = trace.shrunk_from.as_deref();
        let before = shrunk_from.map(|before| self.token(ground, place, before));
        let known = self.known(place, trace, &judgement);
        self.met.extend(known);
        let file = match &self.origin.scenario_file {
            Some(path) => format!(" --scenario '{}'", path.display()),
            None => String::new(),
        };
        Finding {
            id: format!("F{}", self.findings),
            repro: format!("killpoint repro '{token}'{file}"),
            token: token.to_string(),
            verdict: judgement.verdict,
            model: trace.model,
            phase: place.phase.clone(),
            step: trace.step.clone(),
            point: token.describe_kills(),
            oracle: judgement.oracle,
            explain: judgement.explain,
            expected: known.is_some(),
            shrunk_from: before.as_ref().map(Token::to_string),
            shrunk_from_point: before.as_ref().map(Token::describe_chain),
        }
    }
}

/// Which kills of a chain fell before the last op of their run. Of each it is known whether that is sure from the run
/// alone, and how much the run wrote.
fn landed(kills: impl DoubleEndedIterator<Item = (bool, usize)>, writes_after: usize) -> Vec<bool> {
    let mut writes_left = writes_after;
    let mut landed: Vec<bool> = kills
        .rev()
        .map(|(sure, writes)| {
            let landed = sure || writes_left > 0;
            writes_left += writes;
            landed
        })
        .collect();
    landed.reverse();
    landed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(verdict: Verdict) -> Judgement {
        Judgement {
            verdict,
            oracle: "baseline".to_owned(),
            explain: String::new(),
            writes: 0,
            wall_ms: 0,
            evidence: None,
        }
    }

    #[test]
    fn the_first_findings_are_explained_and_then_the_first_of_each_kind() {
        let origin = Origin {
            seed: 1,
            bug: None,
            device: None,
            durability: None,
            scenario_file: None,
            exec: None,
            expected: Expected::default(),
        };
        let mut recorder = Recorder::new(origin, Path::new("nowhere"));
        let (often, once) = (judged(Verdict::Corrupt), judged(Verdict::Diverged));
        for (findings, judgement, expected) in [
            (0, &often, true),
            (explain::MAX_EXPLAINED - 1, &often, true),
            (explain::MAX_EXPLAINED, &often, false),
            (explain::MAX_EXPLAINED + 1, &once, true),
            (explain::MAX_EXPLAINED + 2, &once, false),
        ] {
            recorder.findings = findings;
            assert_eq!(recorder.is_explained("new", judgement), expected, "{findings}, {judgement:?}");
        }
        assert!(recorder.is_explained("other", &often), "another phase's is another kind");
    }

    #[test]
    fn a_kill_landed_if_its_run_shows_it_or_anything_was_left_to_write() {
        for (kills, writes_after, expected) in [
            (&[(true, 5)][..], 0, &[true][..]),
            (&[(false, 5)], 3, &[true]),
            // Killed after its last write: no resume has anything to do.
            (&[(false, 5)], 0, &[false]),
            // The second resume wrote, so the first kill was before the end; the last two were not.
            (&[(false, 0), (false, 4), (false, 0)], 0, &[true, false, false]),
            (&[(true, 9), (false, 0), (false, 0)], 1, &[true, true, true]),
        ] {
            assert_eq!(
                landed(kills.iter().copied(), writes_after),
                expected,
                "{kills:?}, then {writes_after}"
            );
        }
    }
}
