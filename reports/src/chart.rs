//! Every crash state of a campaign as one mark: at which op it lies, what that op is about, and what became of it. The
//! crash map is drawn from it, and it tells which states a finding, a step or a model has. A mark takes a few bytes, so
//! that a night's campaign can be kept in memory.

use std::collections::{BTreeMap, HashMap};

use crate::tally::{State, state_of};
use crate::{Event, Kill, Lot, Model, Point, Tally, Verdict};

/// The crash states of a campaign. Start with [`Chart::default`] and feed every event to [`Chart::event`], once the tally
/// has counted it.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    facets: Vec<Facet>,
    /// The mark of each finding, in the order of findings; none where no crash state led to it.
    found: Vec<Option<Place>>,
    /// Last landed kill of each iteration and phase that is not judged yet.
    pending: BTreeMap<(u64, String), Place>,
    /// What was judged last, and its state where that may be reached again.
    judged: Option<(Place, Option<State>)>,
    /// Findings by their states: where one is reached again, it is the same finding.
    by_state: HashMap<State, u32>,
}

/// The marks that share an axis of ops: those of a phase's own run, or those of its resumes.
#[derive(Clone, Debug)]
pub struct Facet {
    /// Phase.
    pub phase: String,
    /// The marks are crashes of resumes; false for the phase's own run, and for random kills, which don't tell.
    pub of_resumes: bool,
    /// Ops that the recorded run has; 0 where there is none.
    pub ops: u64,
    /// What ops are about, in order of appearance; random kills know the step alone.
    pub regions: Vec<String>,
    /// Steps, in order of appearance.
    pub steps: Vec<String>,
    /// Crash points that there are of each model and step; none where no run was recorded.
    pub possible: Vec<(Model, u16, u64)>,
    /// The marks, in order of appearance.
    pub marks: Vec<Mark>,
}

/// A crash state as it was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Last op that was complete.
    pub op: u32,
    /// Bytes of the next op that had arrived; 0 where it is not known how many. None at an op boundary.
    pub torn_bytes: Option<u32>,
    /// Finding that it led to: place among the campaign's findings, from 0.
    pub finding: Option<u32>,
    /// Place in [`Facet::regions`].
    pub region: u16,
    /// Place in [`Facet::steps`].
    pub step: u16,
    /// Model.
    pub model: Model,
    /// What became of it; none where the tool was killed again before it could be judged.
    pub verdict: Option<Verdict>,
    /// The scratch directory was wiped.
    pub scratch_wiped: bool,
    /// Crashes of a resume that led here.
    pub depth: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    facet: usize,
    mark: usize,
}

impl Chart {
    /// Takes in an event that `tally` has counted.
    pub fn event(&mut self, event: &Event, tally: &Tally) {
        match event {
            Event::Sweep { phase, ops, lots } => {
                let facet = self.facet(phase, false);
                self.facets[facet].sweeps(*ops, lots);
            }
            Event::Point(point) => self.point(point, tally),
            Event::Kill(kill) if kill.landed => self.kill(kill),
            Event::Judged { iteration, phase, verdict, .. } => {
                let place = self.pending.remove(&(*iteration, phase.clone()));
                if let Some(place) = place {
                    self.mark_mut(place).verdict = Some(*verdict);
                }
                self.judged = place.map(|place| (place, None));
            }
            Event::Finding(_) => self.finding(),
            _ => {}
        }
    }

    /// The marks, by what they share an axis with.
    pub fn facets(&self) -> &[Facet] {
        &self.facets
    }

    /// Number of marks.
    pub fn len(&self) -> usize {
        self.facets.iter().map(|facet| facet.marks.len()).sum()
    }

    /// Whether no crash state was reached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the op at a finding is about, by the finding's place in the order of appearance, from 0; none where it is
    /// not known.
    pub fn region_of_finding(&self, finding: usize) -> Option<&str> {
        let place = (*self.found.get(finding)?)?;
        let facet = &self.facets[place.facet];
        facet.regions.get(usize::from(facet.marks[place.mark].region)).map(String::as_str)
    }

    fn point(&mut self, point: &Point, tally: &Tally) {
        let facet = self.facet(&point.phase, point.depth > 0);
        let state = state_of(point);
        let facets = &mut self.facets[facet];
        let mark = Mark {
            op: narrow(point.op),
            torn_bytes: point.torn_bytes.map(narrow),
            finding: self.by_state.get(&state).copied(),
            region: place_of(&mut facets.regions, &point.region),
            step: place_of(&mut facets.steps, &point.step),
            model: point.model,
            verdict: point.verdict.or_else(|| tally.verdict_of(&state)),
            scratch_wiped: point.scratch_wiped,
            depth: u8::try_from(point.depth).unwrap_or(u8::MAX),
        };
        facets.marks.push(mark);
        self.judged = Some((Place { facet, mark: facets.marks.len() - 1 }, Some(state)));
    }

    fn kill(&mut self, kill: &Kill) {
        let facet = self.facet(&kill.phase, false);
        let facets = &mut self.facets[facet];
        let mark = Mark {
            op: narrow(kill.op),
            torn_bytes: kill.inside_op.then_some(0),
            finding: None,
            region: place_of(&mut facets.regions, &kill.step),
            step: place_of(&mut facets.steps, &kill.step),
            model: if kill.inside_op { Model::Torn } else { Model::Kill },
            verdict: None,
            scratch_wiped: kill.scratch_wiped,
            depth: 0,
        };
        facets.marks.push(mark);
        let place = Place { facet, mark: facets.marks.len() - 1 };
        self.pending.insert((kill.iteration, kill.phase.clone()), place);
    }

    /// A finding is told right after the state that led to it.
    fn finding(&mut self) {
        let finding = u32::try_from(self.found.len()).unwrap_or(u32::MAX);
        let led = self.judged.take();
        self.found.push(led.as_ref().map(|(place, _)| *place));
        if let Some((place, state)) = led {
            self.mark_mut(place).finding = Some(finding);
            self.by_state.extend(state.map(|state| (state, finding)));
        }
    }

    fn mark_mut(&mut self, place: Place) -> &mut Mark {
        &mut self.facets[place.facet].marks[place.mark]
    }

    fn facet(&mut self, phase: &str, of_resumes: bool) -> usize {
        let is_it = |facet: &Facet| facet.phase == phase && facet.of_resumes == of_resumes;
        self.facets.iter().position(is_it).unwrap_or_else(|| {
            self.facets.push(Facet {
                phase: phase.to_owned(),
                of_resumes,
                ops: 0,
                regions: Vec::new(),
                steps: Vec::new(),
                possible: Vec::new(),
                marks: Vec::new(),
            });
            self.facets.len() - 1
        })
    }
}

impl Facet {
    fn sweeps(&mut self, ops: u64, lots: &[Lot]) {
        self.ops = ops;
        for lot in lots {
            let step = place_of(&mut self.steps, &lot.step);
            match self.possible.iter_mut().find(|(model, known, _)| (*model, *known) == (lot.model, step)) {
                Some((.., possible)) => *possible = possible.saturating_add(lot.possible),
                None => self.possible.push((lot.model, step, lot.possible)),
            }
        }
    }

    /// Greatest op on the axis.
    pub fn last_op(&self) -> u64 {
        self.marks.iter().map(|mark| u64::from(mark.op)).fold(self.ops, u64::max)
    }
}

/// Place of a name in a list, at whose end it goes where it is new. A phase has at most some thousand files.
fn place_of(names: &mut Vec<String>, name: &str) -> u16 {
    // Neighbours have most things in common, so the last names are looked at first.
    let place = names.iter().rposition(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    });
    u16::try_from(place).unwrap_or(u16::MAX)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
