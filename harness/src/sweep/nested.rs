//! Power cuts of resumes: what a resume does before it has flushed can be lost as well, and with it what a killed run had not
//! flushed before and the resume trusts. Of all states some are drawn whose resumes are recorded; of the states that power
//! cuts of those lead to, at most so many each are judged.

use std::collections::BTreeMap;
use std::sync::Arc;

use fault_backend::oplog::OpLog;
use fault_backend::power::{Power, PowerState};
use fault_backend::replay::Point;
use fault_backend::volume::Volume;
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use reports::event::AT_END;
use reports::{Event, Model, ResumeCuts};

use super::explore::{Candidate, Explorer, Follow, Label};
use super::judge::Followed;
use super::merge::Aspect;
use super::{Plan, power};
use crate::error::Error;
use crate::outage::PowerCut;
use crate::store::{Past, Reached};
use crate::token::TokenKill;

/// States of power cuts that are judged of one resume, at most.
const CUTS_MAX: usize = 256;

/// States whose resumes lose power.
#[derive(Default)]
pub(super) struct Roots {
    wanted: usize,
    /// Those that come first by their content id, which is as good as drawing them and does not depend on the order in which
    /// they are met.
    drawn: BTreeMap<u128, Candidate>,
}

/// The run, the resume and what lies between them.
struct History {
    start: Volume,
    log: Arc<OpLog>,
    /// Recorded runs that lead to its start.
    before: Vec<Past>,
    /// Ops before the resume's first.
    killed_after: u64,
}

impl Roots {
    pub(super) fn of(plan: &Plan) -> Self {
        Self { wanted: plan.nested as usize, drawn: BTreeMap::new() }
    }

    /// Takes a state in where it is one of those that are drawn. What is kept of a scratch directory that was wiped by a
    /// reboot is durable, so that only power cuts wipe here.
    pub(super) fn meet(&mut self, candidate: &Candidate) {
        let label = &candidate.label;
        let is_whole = label.depth == 0 && label.torn_bytes.is_none() && candidate.acks != AT_END;
        let is_root = match label.model {
            Model::Power => is_whole,
            Model::Kill => is_whole && label.kills.iter().all(|kill| !kill.wipe),
            _ => false,
        };
        if !is_root || self.wanted == 0 {
            return;
        }
        self.drawn.insert(candidate.id.digest(), candidate.clone());
        if self.drawn.len() > self.wanted {
            self.drawn.pop_last();
        }
    }
}

impl Explorer<'_> {
    /// Cuts the power in the resumes of the states that were drawn.
    pub(super) fn power_cuts_of_resumes(&mut self) -> Result<(), Error> {
        let roots = std::mem::take(&mut self.roots.drawn);
        if roots.is_empty() {
            return Ok(());
        }
        let mut cuts = ResumeCuts { phase: self.place.phase.clone(), ..ResumeCuts::default() };
        let mut unrecorded = 0;
        for (drawn, root) in roots {
            if self.is_over() {
                self.left += 1;
                continue;
            }
            let Some(followed) = self.judgement_of(&root, true)?.wait()?.followed else {
                unrecorded += 1;
                continue;
            };
            let (possible, looked_at) = self.power_cuts_of(&root, &followed, drawn as u64)?;
            cuts.resumes += 1;
            cuts.possible += possible;
            cuts.looked_at += looked_at;
        }
        self.settle_all()?;
        if unrecorded > 0 {
            let what =
                format!("phase `{}`: power cuts of {unrecorded} resumes that were not recorded", cuts.phase);
            self.stream.emit(&Event::NotTested { what })?;
        }
        cuts.failed = std::mem::take(&mut self.failed_in_resumes);
        Ok(self.stream.emit(&Event::ResumeCuts(cuts))?)
    }

    /// Looks at power cuts of one resume: how many there may be, and how many were looked at.
    fn power_cuts_of(
        &mut self,
        root: &Candidate,
        followed: &Followed,
        drawn: u64,
    ) -> Result<(u64, u64), Error> {
        let History { start, log, before, killed_after } = self.history(root, followed)?;
        let power = Power::new(start, &log, power::options(self.course, self.plan))?;
        let states: Vec<PowerState> =
            power.states().filter(|state| !state.is_prefix() && state.cut > killed_after).collect();
        let mut random = ChaCha8Rng::seed_from_u64(self.plan.seed ^ drawn);
        let mut chosen = index::sample(&mut random, states.len(), states.len().min(CUTS_MAX)).into_vec();
        chosen.sort_unstable();
        let outage = Arc::new(power::outage(self.course, self.plan));
        let mut builder = power.builder();
        let looked_at = chosen.len() as u64;
        for place in chosen {
            self.may_go_on()?;
            let state = &states[place];
            let volume = builder.materialise(state)?;
            let told = (log.acks_after(state.cut, u32::try_from(followed.acks.len()).unwrap_or(u32::MAX))
                as usize)
                .clamp(root.acks as usize, followed.acks.len().max(root.acks as usize));
            for (volume, wiped) in self.variants(volume)? {
                let cut = PowerCut { state: state.clone(), outage: Arc::clone(&outage) };
                let past = Past { log: Arc::clone(&log), at: Reached::Power(cut), wiped };
                let op = log.op(state.cut);
                let kill = TokenKill::power(state.clone(), wiped);
                let label = Label {
                    model: Model::Power,
                    depth: 1,
                    op: state.cut,
                    torn_bytes: None,
                    ordinal: place as u64,
                    step: op.map_or_else(|| Arc::clone(&root.label.step), |op| Arc::clone(&op.step)),
                    region: op.map_or_else(|| "start".into(), |op| self.course.regions.of(op).name),
                    kills: root.label.kills.iter().cloned().chain([kill]).collect(),
                };
                let id = volume.content_id();
                let acks = u32::try_from(told).unwrap_or(u32::MAX);
                let candidate = Candidate {
                    id,
                    acks,
                    aspect: Aspect::of(&volume, id, acks),
                    label,
                    root: volume,
                    pasts: before.iter().cloned().chain([past]).collect(),
                    led: 2,
                    resume_acks: followed.acks.get(root.acks as usize..told).unwrap_or_default().to_vec(),
                };
                self.offer(candidate, Follow::Nothing)?;
            }
        }
        self.settle_all()?;
        Ok((states.len() as u64, looked_at))
    }

    /// What a power cut of a resume may take: after a power cut the resume alone, after a kill the run before it as well.
    fn history(&self, root: &Candidate, followed: &Followed) -> Result<History, Error> {
        match root.pasts.last() {
            Some(Past { log, at: Reached::Point(Point::After(op)), .. }) => Ok(History {
                start: self.course.known.start.memory.clone().ok_or(Error::NotRecorded)?,
                log: Arc::new(log.until(*op).then(&followed.log, root.acks)),
                before: Vec::new(),
                killed_after: *op,
            }),
            _ => {
                let log = OpLog::default().then(&followed.log, root.acks);
                Ok(History {
                    start: followed.state.clone(),
                    log: Arc::new(log),
                    before: root.pasts.clone(),
                    killed_after: 0,
                })
            }
        }
    }
}
