//! What an earlier try of the same sweep found, from its events: a sweep that was interrupted goes on where it was.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fault_backend::ContentId;
use reports::{Event, Finding, Model, Overwritten, Point, Verdict};

use super::explore::Key;
use super::judge::{AskedOf, Judged};
use super::unread::Overwrites;
use crate::chain::Sample;
use crate::explain::Evidence;
use crate::judge::Judgement;
use crate::token::Token;

/// Judged states and disturbed runs of earlier tries.
#[derive(Debug, Default)]
pub struct Earlier {
    /// By phase and state.
    states: HashMap<(String, Key), Known>,
    /// By phase and faults of the run.
    runs: HashMap<(String, String), Known>,
    /// Content id of the fixture, where anything was judged.
    fixture: Option<String>,
    /// The same of sweeps of which something was taken over, each with its run directory.
    others: Vec<(PathBuf, String)>,
}

/// What is known of a state.
#[derive(Clone, Debug)]
pub struct Known {
    /// What it was found to be, and what became of it.
    pub judged: Judged,
    /// States that crashes of its resume led to for the first time, where they were followed.
    pub opened: Option<u64>,
    /// The volume's content id as a token holds it; none where there was no finding.
    pub crash: Option<String>,
}

impl Earlier {
    /// Takes in the events of a try, after those of the tries before it. What could not be measured is not taken over.
    pub fn add(&mut self, events: Vec<Event>) {
        let mut fixture = None;
        let mut lists: HashMap<(String, u64), Overwrites> = HashMap::new();
        let mut events = events.into_iter().peekable();
        while let Some(event) = events.next() {
            let point = match event {
                Event::Point(point) => point,
                Event::FixtureReady { fixture_id, .. } => {
                    fixture = Some(fixture_id);
                    continue;
                }
                Event::Overwritten(list) => {
                    lists.insert((list.phase.clone(), list.number), overwrites(list));
                    continue;
                }
                _ => continue,
            };
            self.fixture = fixture.clone().or(self.fixture.take());
            let finding = match events.next_if(|event| matches!(event, Event::Finding(_))) {
                Some(Event::Finding(finding)) => Some(finding),
                _ => None,
            };
            let compared = match events.next_if(|event| matches!(event, Event::Compared(_))) {
                Some(Event::Compared(compared)) => Some(Evidence::Told(Box::new(compared))),
                _ => None,
            };
            let (Some(verdict), Ok(id)) = (point.verdict, point.content_id.parse::<ContentId>()) else {
                continue;
            };
            // A failure whose finding was not written any more is judged again. What was not judged is proven again.
            if point.unread || verdict == Verdict::NotMeasured || !verdict.is_pass() && finding.is_none() {
                continue;
            }
            let (phase, faults) = (point.phase.clone(), point.faults.clone());
            let key = (id, point.acks);
            let of_run = matches!(point.model, Model::Error | Model::Signal);
            let number = point.overwrites.map(|number| (phase.clone(), number));
            let mut known = Known::new(point, verdict, id, finding);
            known.judged.judgement.evidence = compared;
            known.judged.overwrites =
                number.and_then(|number| lists.get(&number).cloned()).unwrap_or_default();
            if of_run {
                self.runs.insert((phase, faults), known);
            } else {
                self.states.insert((phase, key), known);
            }
        }
    }

    /// Takes in what a try of another sweep found to recover; of what fails there, the points and what is kept are its own.
    pub fn add_recovered(&mut self, run_dir: &Path, events: Vec<Event>) {
        let mut other = Self::default();
        other.add(events);
        self.others.extend(other.fixture.map(|fixture| (run_dir.to_owned(), fixture)));
        for (state, known) in other.states {
            if known.judged.judgement.verdict.is_pass() {
                self.states.entry(state).or_insert(known);
            }
        }
    }

    /// The content id of the fixture that this is about, where it is not this one.
    pub fn is_about_another(&self, fixture: ContentId) -> Option<&str> {
        self.fixture.as_deref().filter(|known| *known != fixture.to_string())
    }

    /// As [`Earlier::is_about_another`], of what was taken over, and from where.
    pub fn has_of_another(&self, fixture: ContentId) -> Option<(&Path, &str)> {
        let other = self.others.iter().find(|(_, known)| *known != fixture.to_string())?;
        Some((&other.0, &other.1))
    }

    /// What is known of a phase's state.
    pub fn of_state(&self, phase: &str, key: Key) -> Option<&Known> {
        self.states.get(&(phase.to_owned(), key))
    }

    /// What is known of a disturbed run.
    pub fn of_run(&self, phase: &str, faults: &str) -> Option<&Known> {
        self.runs.get(&(phase.to_owned(), faults.to_owned()))
    }
}

impl Known {
    fn new(point: Point, verdict: Verdict, id: ContentId, finding: Option<Finding>) -> Self {
        let token = finding.as_ref().and_then(|finding| finding.token.parse::<Token>().ok());
        let (oracle, explain) =
            finding.map_or_else(Default::default, |finding| (finding.oracle, finding.explain));
        let asked = point.asked.map(|asked| AskedOf {
            all: asked.all,
            names: asked.names.into_iter().map(OsString::from).collect(),
        });
        let sample = Sample {
            content_id: id,
            volume_id: id,
            gpt: point.gpt,
            copies: point.copies,
            answers: Vec::new(),
        };
        let judgement =
            Judgement { verdict, oracle, explain, writes: 0, wall_ms: point.wall_ms, evidence: None };
        Self {
            judged: Judged { asked, ..Judged::alone(sample, judgement) },
            opened: point.opened,
            crash: token.map(|token| token.crash),
        }
    }
}

/// A list as an event holds it.
fn overwrites(list: Overwritten) -> Overwrites {
    let ranges = |ranges: Vec<(u64, u64)>| {
        ranges.into_iter().map(|(start, len)| start..start.saturating_add(len)).collect()
    };
    Overwrites(Arc::new(list.files.into_iter().map(|(file, list)| (file, ranges(list))).collect()))
}
