//! A sweep: every crash point of a recorded run of each phase is judged, each content once. The states come from the
//! recording; that a live kill leaves the same bytes is shown on a sample of them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use fault_backend::ContentId;
use fault_backend::oplog::OpLog;
use fault_backend::replay::Replay;
use fault_backend::volume::{Volume, What};
use rand::RngExt;
use reports::{Event, Point, Stream};
use scenarios::model::ScratchPolicy;

use crate::chain::{Chain, CrashState, Finished, Sample, Step, sample};
use crate::error::Error;
use crate::ground::Ground;
use crate::mask::outside;
use crate::points::{CrashPoint, Points, Torn, TornUnit};
use crate::prepare::{Prepared, PreparedPhase, Varies};
use crate::ranges::merged;
use crate::record::{Place, Recorder};
use crate::seeds;
use crate::stage::Cut;
use crate::stage::recorded::volume_id;
use crate::store::Past;
use crate::token::TokenKill;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Points inside writes.
    pub torn: Torn,
    /// What cuts a write.
    pub unit: TornUnit,
    /// Live kills per phase that show that the recording is right.
    pub live_checks: u32,
}

/// Sweeps every phase. What was done until an error is in the stream.
pub fn sweep(
    prepared: &mut Prepared,
    plan: &Plan,
    recorder: &mut Recorder,
    stream: &mut Stream,
) -> Result<(), Error> {
    let Prepared { phases, ground } = prepared;
    let mut swept = Vec::new();
    for phase in phases.iter().filter(|phase| phase.known.varies != Varies::Mapped) {
        let log = phase.known.log.as_ref().ok_or(Error::NotRecorded)?;
        let points = Points::of(log, plan.torn, plan.unit, plan.seed, &phase.known.phase.name);
        let both = points_with_scratch(ground, phase, log, &points)?;
        stream.emit(&Event::Sweep {
            phase: phase.known.phase.name.clone(),
            ops: log.len(),
            kill_points: points.kill + both.kill,
            torn_points: points.torn + both.torn,
            torn_possible: points.torn_possible + both.torn,
        })?;
        swept.push(points);
    }
    let mut swept = swept.iter();
    for phase in phases.iter_mut() {
        if phase.known.varies == Varies::Mapped {
            let what = format!(
                "phase `{}`: it writes through a shared mapping, whose pages survive a kill at times of the kernel's \
                 choice",
                phase.known.phase.name
            );
            stream.emit(&Event::NotTested { what })?;
        } else if let Some(points) = swept.next() {
            live_checks(ground, phase, points, plan, stream)?;
            let log = phase.known.log.clone().ok_or(Error::NotRecorded)?;
            PhaseSweep { ground, phase, recorder, log, known: HashMap::new() }.run(points, stream)?;
        }
    }
    recorder.vanished(phases, stream)
}

/// Of the points of a phase, those that leave something in the scratch directory, where the scenario asks for the state
/// with it as well as without: they are two states.
fn points_with_scratch(
    ground: &mut Ground,
    phase: &PreparedPhase,
    log: &OpLog,
    points: &Points,
) -> Result<Points, Error> {
    let mut both = Points::default();
    if phase.known.phase.scratch != ScratchPolicy::Both {
        return Ok(both);
    }
    let start = phase.known.start.memory.clone().ok_or(Error::NotRecorded)?;
    let mut replay = Replay::new(start, log);
    for point in &points.all {
        if ground.stage.fuse()?.without_scratch(&mut replay.state(point.point)?)? {
            *if point.torn_bytes.is_some() { &mut both.torn } else { &mut both.kill } += 1;
        }
    }
    Ok(both)
}

/// One phase's sweep.
struct PhaseSweep<'a> {
    ground: &'a mut Ground,
    phase: &'a mut PreparedPhase,
    recorder: &'a mut Recorder,
    /// The recorded run.
    log: Arc<OpLog>,
    /// What the states were found to be that were looked at already.
    known: HashMap<ContentId, Sample>,
}

impl PhaseSweep<'_> {
    fn run(&mut self, points: &Points, stream: &mut Stream) -> Result<(), Error> {
        let log = Arc::clone(&self.log);
        let start = self.phase.known.start.memory.clone().ok_or(Error::NotRecorded)?;
        let mut replay = Replay::new(start, &log);
        for point in &points.all {
            let step = match point.op {
                0 => "start",
                op => log.op(op).map_or("start", |op| &op.step),
            };
            let kept = replay.state(point.point)?;
            for (state, wiped) in self.variants(kept)? {
                if self.ground.stage.interrupted() {
                    return Err(Error::Interrupted);
                }
                self.point(point, step, state, wiped, stream)?;
            }
        }
        Ok(())
    }

    /// The state as it is left and as a reboot leaves it, as far as the scenario asks for both and they differ.
    fn variants(&mut self, kept: Volume) -> Result<Vec<(Volume, bool)>, Error> {
        let mut wiped = kept.clone();
        let cleared = self.ground.stage.fuse()?.without_scratch(&mut wiped)?;
        Ok(match self.phase.known.phase.scratch {
            ScratchPolicy::Kept => vec![(kept, false)],
            ScratchPolicy::Wiped => vec![(wiped, true)],
            ScratchPolicy::Both if cleared => vec![(kept, false), (wiped, true)],
            ScratchPolicy::Both => vec![(kept, false)],
        })
    }

    fn point(
        &mut self,
        point: &CrashPoint,
        step: &str,
        state: Volume,
        wiped: bool,
        stream: &mut Stream,
    ) -> Result<(), Error> {
        let id = state.content_id();
        let distinct = self.recorder.is_new(&self.phase.known.phase.name, id);
        let found = match self.known.get(&id) {
            Some(found) => found.clone(),
            None => {
                self.ground.stage.fuse()?.place_volume(state);
                let found = sample(self.ground, self.phase, &[])?;
                // Answers are needed once; what is kept of many states has to be small.
                let kept = Sample { answers: Vec::new(), ..found.clone() };
                self.known.insert(id, kept);
                found
            }
        };
        let place = Place::new(0, self.phase);
        let mut event = Point {
            phase: place.phase.clone(),
            op: point.op,
            torn_bytes: point.torn_bytes,
            step: step.to_owned(),
            content_id: id.to_string(),
            distinct,
            interior: place.is_interior(id),
            scratch_wiped: wiped,
            gpt: found.gpt,
            copies: found.copies.clone(),
            verdict: None,
            wall_ms: 0,
        };
        if !distinct {
            return Ok(stream.emit(&Event::Point(event))?);
        }
        let kill = TokenKill { fault: point.fault(), wipe: wiped };
        let crash = CrashState {
            step: step.to_owned(),
            past: Some(Past { log: Arc::clone(&self.log), point: point.point, wiped }),
            ..CrashState::of_point(kill, found)
        };
        let chain = Chain::begin_with(self.ground, self.phase, vec![crash]);
        let Finished { crashes, judgement } = chain.finish(None)?;
        event.verdict = Some(judgement.verdict);
        event.wall_ms = judgement.wall_ms;
        stream.emit(&Event::Point(event))?;
        self.recorder.follow_up(self.ground, &place, &crashes, judgement, stream)
    }
}

/// Kills live runs at a sample of the points and compares what they leave with what replaying gives.
fn live_checks(
    ground: &mut Ground,
    phase: &mut PreparedPhase,
    points: &Points,
    plan: &Plan,
    stream: &mut Stream,
) -> Result<(), Error> {
    if plan.live_checks == 0 {
        return Ok(());
    }
    if phase.known.varies == Varies::InOrder {
        let what = format!(
            "phase `{}`: live kills, since its uninterrupted runs differ in their ops; its states are those of its first \
             run",
            phase.known.phase.name
        );
        return Ok(stream.emit(&Event::NotTested { what })?);
    }
    let log = phase.known.log.clone().ok_or(Error::NotRecorded)?;
    let start = phase.known.start.memory.clone().ok_or(Error::NotRecorded)?;
    let mut replay = Replay::new(start.clone(), &log);
    let others: Vec<_> = phase.known.others.clone();
    for point in drawn(points, plan, &phase.known.phase.name, log.len()) {
        let recorded = replay.state(point.point)?;
        let others = others
            .iter()
            .map(|log| Replay::new(start.clone(), log).state(point.point))
            .collect::<Result<Vec<_>, _>>()?;
        let mut chain = Chain::begin(ground, phase)?;
        let step = chain.cut(&Cut::Op(point.fault()), false)?;
        let landed = matches!(step, Step::Crashed(_));
        let agreed = landed && agree(phase.known.varies, ground.stage.fuse()?.now(), &recorded, &others)?;
        let event =
            Event::LiveCheck { phase: phase.known.phase.name.clone(), point: point.describe(), landed, agreed };
        stream.emit(&event)?;
    }
    Ok(())
}

/// Whether a live kill left what the recording says, as far as two runs can leave the same.
fn agree(varies: Varies, live: &Volume, recorded: &Volume, others: &[Volume]) -> Result<bool, Error> {
    if live.content_id() == recorded.content_id() {
        return Ok(true);
    }
    match varies {
        // What a tool names at random below its scratch directory has another name each time.
        Varies::InScratch => Ok(volume_id(live) == volume_id(recorded)),
        Varies::InPayload => agree_where_recordings_do(live, recorded, others),
        Varies::No | Varies::InOrder | Varies::Mapped => Ok(false),
    }
}

/// Whether a state is a recorded one but for bytes in which recorded runs differ at that point: a date, a nonce.
fn agree_where_recordings_do(live: &Volume, recorded: &Volume, others: &[Volume]) -> Result<bool, Error> {
    let failed = || Error::io("the volume");
    let mut volatile: BTreeMap<PathBuf, Vec<Range<u64>>> = BTreeMap::new();
    for other in others {
        for change in recorded.diff(other).map_err(failed())? {
            if let What::Data(ranges) = change.what {
                // Random bytes coincide now and then; whole fields don't.
                volatile.entry(change.path).or_default().extend(ranges.into_iter().map(widened));
            }
        }
    }
    for change in recorded.diff(live).map_err(failed())? {
        let What::Data(ranges) = change.what else { return Ok(false) };
        let excused = volatile.get(&change.path).cloned().map(merged).unwrap_or_default();
        if ranges.into_iter().any(|range| !outside(range, &excused).is_empty()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A range as whole units of 16 bytes.
fn widened(range: Range<u64>) -> Range<u64> {
    range.start / 16 * 16..range.end.next_multiple_of(16)
}

/// Points for live kills, spread over the run: one drawn from each of as many equal parts. The end of the run is no
/// point at which a kill can land.
fn drawn<'a>(points: &'a Points, plan: &Plan, phase: &str, ops: u64) -> Vec<&'a CrashPoint> {
    let inner: Vec<&CrashPoint> = points.all.iter().filter(|point| point.op < ops).collect();
    let wanted = (plan.live_checks as usize).min(inner.len());
    let mut random = seeds::stream(plan.seed, &format!("live checks {phase}"), &[]);
    (0..wanted)
        .map(|part| {
            let (from, to) = (part * inner.len() / wanted, (part + 1) * inner.len() / wanted);
            inner[random.random_range(from..to)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use fault_backend::image::Image;

    use super::*;

    /// A state with one file of the volume and one below the scratch directory.
    fn state(disk: &[u8], scratch: &str) -> Volume {
        let mut volume = Volume::new();
        for (path, bytes) in [("volume/disk.img".to_owned(), disk), (format!("scratch/{scratch}"), b"x")] {
            let mut image = Image::new(bytes.len() as u64);
            image.write_at(0, bytes).unwrap();
            volume.insert_file(path.as_ref(), image).unwrap();
        }
        volume
    }

    /// Each row is how uninterrupted runs differ, what a live kill left, and whether that is what was recorded. Bytes 16
    /// to 19 differ between the recorded runs.
    #[test]
    fn a_live_state_agrees_only_where_recorded_runs_do() {
        let disk = |nonce: u8, rest: u8| [[1; 16], [nonce; 16], [rest; 16]].concat();
        let recorded = state(&disk(2, 3), "tmp.a");
        let others = [state(&disk(4, 3), "tmp.a"), state(&disk(5, 3), "tmp.a")];
        for (varies, live, expected) in [
            (Varies::No, state(&disk(2, 3), "tmp.a"), true),
            (Varies::No, state(&disk(2, 4), "tmp.a"), false),
            (Varies::No, state(&disk(2, 3), "tmp.b"), false),
            (Varies::InScratch, state(&disk(2, 3), "tmp.b"), true),
            (Varies::InScratch, state(&disk(2, 4), "tmp.b"), false),
            (Varies::InPayload, state(&disk(9, 3), "tmp.a"), true),
            (Varies::InPayload, state(&disk(9, 4), "tmp.a"), false),
            (Varies::InPayload, state(&disk(9, 3)[..40], "tmp.a"), false),
            (Varies::InOrder, state(&disk(9, 3), "tmp.a"), false),
        ] {
            let found = agree(varies, &live, &recorded, &others).unwrap();
            assert_eq!(found, expected, "{varies:?}");
        }
    }

    #[test]
    fn live_kills_are_spread_over_the_run_and_never_at_its_end() {
        let mut log = OpLog::default();
        for number in 1..=40 {
            log.push(fault_backend::oplog::Op {
                number,
                kind: fault_backend::oplog::OpKind::Flush { ino: None, data_only: false },
                fua: false,
                cached: false,
                process: "tool".into(),
                step: "start".into(),
                epoch: 0,
                outcome: fault_backend::oplog::Outcome::Completed,
                time: Default::default(),
                path: None,
            });
        }
        let plan = Plan { seed: 1, torn: Torn::None, unit: TornUnit::Page, live_checks: 10 };
        let points = Points::of(&log, plan.torn, plan.unit, 1, "p");
        let found: Vec<u64> = drawn(&points, &plan, "p", log.len()).iter().map(|point| point.op).collect();
        assert_eq!(found.len(), 10);
        assert!(
            found.iter().zip((0..40).step_by(4)).all(|(op, from)| (from..from + 4).contains(op)),
            "{found:?}"
        );
        let all = Plan { live_checks: 1000, ..plan };
        assert_eq!(drawn(&points, &all, "p", log.len()).len(), 40, "the end is no point to be killed at");
    }
}
