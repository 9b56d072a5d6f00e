//! The parts of a sweep that several machines judged, as the one campaign that they are: the same events in the same order
//! as one machine would have told them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::event::AT_END;
use crate::tally::vanished_kinds;
use crate::{CampaignStarted, Compared, EpochClaim, Event, Exit, Finding, Outcome, Point, Tally};

/// Parts that don't belong together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The events of one don't begin with its campaign.
    #[error("part {part} holds no campaign: its events end before it begins")]
    Empty {
        /// Which, from 1, as they were given.
        part: usize,
    },
    /// One is no part.
    #[error("part {part} is no shard of a sweep, so that there is nothing to merge it with")]
    NoShard {
        /// Which, from 1.
        part: usize,
    },
    /// Two are of different campaigns.
    #[error(
        "part {part} is of another campaign than the first one: its {what} is {found}, and the first one's {first}"
    )]
    Other {
        /// Which, from 1.
        part: usize,
        /// What differs.
        what: &'static str,
        /// There.
        found: String,
        /// In the first part.
        first: String,
    },
    /// Two are the same part.
    #[error("shard {index}/{of} is there twice")]
    Twice {
        /// Which shard, from 1.
        index: u32,
        /// Of how many.
        of: u32,
    },
}

/// What a shard's events are sorted into.
#[derive(Default)]
struct Part {
    /// What comes before the first point and live kill.
    head: Vec<Event>,
    /// Live kills by phase.
    live: BTreeMap<String, VecDeque<Event>>,
    /// Each point, and what follows from it.
    points: Vec<(Point, Vec<Event>)>,
    /// What is claimed of the epochs of a phase.
    claims: BTreeMap<String, Vec<EpochClaim>>,
    outcome: Option<Outcome>,
    wall_s: f64,
    prepared_s: f64,
}

/// Merges the events of all parts of one sweep. A part that is missing is said to be, and the campaign is then not
/// complete.
pub fn merge(parts: Vec<Vec<Event>>) -> Result<Vec<Event>, MergeError> {
    let mut shards: BTreeMap<u32, Part> = BTreeMap::new();
    let mut first: Option<(CampaignStarted, u32)> = None;
    for (place, events) in parts.into_iter().enumerate() {
        let part = place + 1;
        let mut events = events.into_iter();
        let Some(Event::CampaignStarted(started)) = events.next() else {
            return Err(MergeError::Empty { part });
        };
        let (index, of) = started.shard.ok_or(MergeError::NoShard { part })?;
        let (known, all) = first.get_or_insert_with(|| (started.clone(), of));
        differ(known, *all, &started, of, part)?;
        if shards.insert(index, Part::of(events)).is_some() {
            return Err(MergeError::Twice { index, of });
        }
    }
    let Some((started, of)) = first else { return Err(MergeError::Empty { part: 1 }) };
    let missing: Vec<String> =
        (1..=of).filter(|index| !shards.contains_key(index)).map(|index| format!("{index}/{of}")).collect();
    let started = CampaignStarted { shard: None, ..started };
    Ok(joined(started, shards.into_values().collect(), &missing))
}

/// Whether two parts are of different campaigns.
fn differ(
    first: &CampaignStarted,
    all: u32,
    other: &CampaignStarted,
    of: u32,
    part: usize,
) -> Result<(), MergeError> {
    let differs = first
        .differs_from(other)
        .or((all != of).then(|| ("number of shards", all.to_string(), of.to_string())));
    match differs {
        Some((what, first, found)) => Err(MergeError::Other { part, what, found, first }),
        None => Ok(()),
    }
}

/// Options in words: `live-checks 3; torn PerWrite(4) by Page`.
fn options(campaign: &CampaignStarted) -> String {
    let options = campaign.options.iter().map(|(name, value)| format!("{name} {value}"));
    options.collect::<Vec<_>>().join("; ")
}

/// The first of some values that is another one there.
fn difference<const N: usize>(
    ours: [(&'static str, String); N],
    theirs: [(&'static str, String); N],
) -> Option<(&'static str, String, String)> {
    let pairs = ours.into_iter().zip(theirs).map(|((what, ours), (_, theirs))| (what, ours, theirs));
    pairs.into_iter().find(|(_, ours, theirs)| ours != theirs)
}

impl CampaignStarted {
    /// The first thing in which another campaign differs that looks at the same points, whatever its shard: what it is,
    /// this one's and the other's.
    pub fn differs_from(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let of_points = |campaign: &Self| {
            [
                ("command", format!("{:?}", campaign.command)),
                ("seed", campaign.seed.to_string()),
                ("models", campaign.model.join(",")),
                ("options", options(campaign)),
            ]
        };
        self.judges_unlike(other).or_else(|| difference(of_points(self), of_points(other)))
    }

    /// The first thing in which another campaign differs that a state's verdict depends on: what it is, this one's and the
    /// other's.
    pub fn judges_unlike(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let of_verdicts = |campaign: &Self| {
            [
                ("version of killpoint", campaign.killpoint.clone()),
                ("scenario", campaign.scenario.clone()),
                ("scale", format!("{:?}", campaign.scale)),
                ("scenario's digest", campaign.scenario_digest.clone()),
                ("seam", format!("{:?}", campaign.seam)),
                ("planted bug", format!("{:?}", campaign.options.get("bug"))),
                ("versions of the tools", format!("{:?}", campaign.tool_versions)),
            ]
        };
        difference(of_verdicts(self), of_verdicts(other))
    }
}

impl Part {
    fn of(events: impl Iterator<Item = Event>) -> Self {
        let mut part = Self::default();
        for event in events {
            match event {
                Event::LiveCheck { ref phase, .. } => {
                    part.live.entry(phase.clone()).or_default().push_back(event)
                }
                Event::PowerClaims { phase, epochs } => drop(part.claims.insert(phase, epochs)),
                Event::Point(point) => part.points.push((point, Vec::new())),
                Event::CampaignEnded { outcome, wall_s, prepared_s, .. } => {
                    (part.outcome, part.wall_s, part.prepared_s) = (Some(outcome), wall_s, prepared_s);
                }
                event => match part.points.last_mut() {
                    Some((_, after)) => after.push(event),
                    None => part.head.push(event),
                },
            }
        }
        part
    }
}

/// All parts as one campaign.
fn joined(started: CampaignStarted, mut parts: Vec<Part>, missing: &[String]) -> Vec<Event> {
    let phases = started.phases.clone();
    let mut events = vec![Event::CampaignStarted(started.clone())];
    let mut said: BTreeSet<String> = BTreeSet::new();
    for (place, part) in parts.iter_mut().enumerate() {
        for event in std::mem::take(&mut part.head) {
            let text = match &event {
                Event::NotTested { what } => Some(what.clone()),
                Event::Warning { text } => Some(text.clone()),
                _ => None,
            };
            // The uninterrupted runs of each shard are its own affair: the first one's stand for them.
            if text.map_or(place == 0, |text| said.insert(text)) {
                events.push(event);
            }
        }
    }
    for phase in &phases {
        // They were dealt out in turn.
        while parts.iter_mut().fold(false, |any, part| {
            let next = part.live.get_mut(phase).and_then(VecDeque::pop_front);
            let found = next.is_some();
            events.extend(next);
            any || found
        }) {}
    }
    let mut points: Vec<(Point, Vec<Event>)> =
        parts.iter_mut().flat_map(|part| std::mem::take(&mut part.points)).collect();
    let phase_of = |point: &Point| phases.iter().position(|phase| *phase == point.phase);
    points.sort_by(|(a, _), (b, _)| {
        let key = |point: &Point| {
            let Point { model, depth, op, torn_bytes, acks, ordinal, scratch_wiped, .. } = point;
            (phase_of(point), *model, *acks == AT_END, *depth, *op, *torn_bytes, *ordinal, *scratch_wiped)
        };
        key(a).cmp(&key(b))
    });
    let mut findings = 0;
    for (point, after) in points {
        events.push(Event::Point(point));
        events.extend(after.into_iter().map(|event| renumbered(event, &mut findings)));
    }
    if missing.is_empty() {
        events.extend(phases.iter().filter_map(|phase| claims(phase, &parts)));
        events.extend(
            vanished_kinds(&started, &events).into_iter().map(|what| Event::ExpectedVanished { what }),
        );
    }
    let outcome = outcome(&parts, missing);
    let mut tally = Tally::default();
    events.iter().for_each(|event| tally.event(event));
    let exit: Exit = tally.exit_with(&outcome);
    let longest = |seconds: fn(&Part) -> f64| parts.iter().map(seconds).fold(0.0, f64::max);
    events.push(Event::CampaignEnded {
        outcome,
        exit_code: exit.code(),
        wall_s: longest(|part| part.wall_s),
        prepared_s: longest(|part| part.prepared_s),
    });
    events
}

/// What is claimed of a phase's epochs where every part looked at all of its states.
fn claims(phase: &str, parts: &[Part]) -> Option<Event> {
    let mut all = parts.iter().map(|part| part.claims.get(phase));
    let mut epochs = all.next()??.clone();
    for other in all {
        let other = other.filter(|other| other.len() == epochs.len())?;
        for (epoch, other) in epochs.iter_mut().zip(other) {
            epoch.failed += other.failed;
        }
    }
    Some(Event::PowerClaims { phase: phase.to_owned(), epochs })
}

fn renumbered(event: Event, findings: &mut u64) -> Event {
    match event {
        Event::Finding(finding) => {
            *findings += 1;
            Event::Finding(Finding { id: format!("F{findings}"), ..finding })
        }
        Event::Compared(compared) => {
            Event::Compared(Compared { finding: format!("F{findings}"), ..compared })
        }
        event => event,
    }
}

/// It is complete where every part is there and is.
fn outcome(parts: &[Part], missing: &[String]) -> Outcome {
    if !missing.is_empty() {
        return Outcome::Stopped { reason: format!("missing are the shards {}", missing.join(", ")) };
    }
    let incomplete = parts.iter().find(|part| part.outcome != Some(Outcome::Completed));
    match incomplete {
        None => Outcome::Completed,
        Some(part) => part.outcome.clone().unwrap_or_else(|| Outcome::Stopped {
            reason: "the events of a shard end before it does; run it again with the same --run-dir"
                .to_owned(),
        }),
    }
}
