//! Live kills at a sample of a sweep's points: what they leave is compared with what replaying the recording gives, so that
//! a fault that never fired can't count as one survived.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use fault_backend::Fault;
use fault_backend::replay::Replay;
use fault_backend::volume::{Volume, What};
use rand::RngExt;
use reports::{Event, Stream};

use super::Plan;
use super::points::{CrashPoint, Points};
use crate::chain::{Chain, Step};
use crate::error::Error;
use crate::mask::outside;
use crate::prepare::{Known, Prepared, Varies};
use crate::ranges::merged;
use crate::seeds;
use crate::stage::Cut;
use crate::stage::recorded::volume_id;
use crate::workers::Workers;

/// What a live kill came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The tool died of it before its last op.
    landed: bool,
    /// What it left is the recorded state.
    agreed: bool,
}

/// Kills live runs of a phase.
pub fn check(
    workers: &Workers,
    (index, known): (usize, &Known),
    points: &Points,
    plan: &Plan,
    stream: &mut Stream,
) -> Result<(), Error> {
    if plan.live_checks == 0 {
        return Ok(());
    }
    let why = match known.varies {
        Varies::InOrder => Some("its uninterrupted runs differ in their ops"),
        Varies::Unasked => Some("the scenario compares no bytes"),
        _ => None,
    };
    if let Some(why) = why {
        let what = format!(
            "phase `{}`: live kills, since {why}; its states are those of its first run",
            known.phase.name
        );
        return Ok(stream.emit(&Event::NotTested { what })?);
    }
    let log = known.log.clone().ok_or(Error::NotRecorded)?;
    let start = known.start.memory.clone().ok_or(Error::NotRecorded)?;
    let varies = known.varies;
    let mut replay = Replay::new(start.clone(), &log);
    let mut waiting = Vec::new();
    let chosen = drawn(points, plan, &known.phase.name, log.len());
    for (_, point) in chosen
        .into_iter()
        .enumerate()
        .filter(|(place, _)| plan.shard.is_none_or(|shard| shard.has_place(*place)))
    {
        let recorded = replay.state(point.point)?;
        let others = known
            .others
            .iter()
            .map(|log| Replay::new(start.clone(), log).state(point.point))
            .collect::<Result<Vec<_>, _>>()?;
        let fault = point.fault();
        let ticket = workers.submit(move |prepared| kill(prepared, index, fault, varies, &recorded, &others));
        waiting.push((point.describe(), ticket));
    }
    for (point, ticket) in waiting {
        let Checked { landed, agreed } = ticket.wait()?;
        stream.emit(&Event::LiveCheck { phase: known.phase.name.clone(), point, landed, agreed })?;
    }
    Ok(())
}

/// Kills a live run and looks at what it leaves.
fn kill(
    prepared: &mut Prepared,
    phase: usize,
    fault: Fault,
    varies: Varies,
    recorded: &Volume,
    others: &[Volume],
) -> Result<Checked, Error> {
    let Prepared { phases, ground } = prepared;
    ground.may_go_on()?;
    let mut chain = Chain::begin(ground, &mut phases[phase])?;
    let step = chain.cut(&Cut::Op(fault), false)?;
    let landed = matches!(step, Step::Crashed(_));
    let agreed = landed && agree(varies, ground.stage.fuse()?.now(), recorded, others)?;
    Ok(Checked { landed, agreed })
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
        Varies::No | Varies::InOrder | Varies::Unasked | Varies::Mapped => Ok(false),
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
    use std::collections::BTreeSet;

    use fault_backend::image::Image;
    use fault_backend::oplog::OpLog;
    use reports::Model;

    use super::super::points::{Torn, TornUnit};
    use super::super::power::PowerPlan;
    use super::super::regions::Regions;
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
                acks: 0,
                epoch: 0,
                outcome: fault_backend::oplog::Outcome::Completed,
                time: Default::default(),
                path: None,
            });
        }
        let plan = Plan {
            seed: 1,
            models: BTreeSet::from([Model::Kill]),
            torn: Torn::None,
            unit: TornUnit::Page,
            live_checks: 10,
            closure: None,
            nested: 0,
            scratch: None,
            merge: true,
            power: PowerPlan { device: Default::default(), durability: None, max_drops: 2, samples: 0 },
            budget: None,
            jobs: 1,
            shard: None,
        };
        let points = Points::of(&log, &Regions::default(), plan.torn, plan.unit, 1, "p");
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
