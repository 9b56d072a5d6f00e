//! The crash states of one recorded run or resume, as images.

use std::path::Path;

use super::crash::Crash;
use super::disk::DISK;
use super::failure::SweepError;
use super::sweep::{Model, Sweep};
use crate::content_id::ContentId;
use crate::fault::TORN_SECTOR_BYTES;
use crate::image::Image;
use crate::oplog::{Op, OpLog, Outcome, PAGE_BYTES};
use crate::power::{Builder, Power, PowerState};
use crate::volume::{Mutation, Volume};

/// A run or resume: what was on the disk after the last power cut, and what was done to it since.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub origin: Image,
    pub log: OpLog,
    /// Ops of the log that earlier runs did, which were killed.
    pub past: u64,
}

/// A crash state.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub crash: Crash,
    pub image: Image,
    /// The content that a power cut would leave if nothing volatile had arrived.
    pub durable: ContentId,
}

/// A volume that holds the image as its only file.
fn volume(image: Image) -> Result<Volume, SweepError> {
    let mut volume = Volume::new();
    volume.insert_file(Path::new("disk"), image).map_err(std::io::Error::from)?;
    Ok(volume)
}

fn image_of(volume: &Volume) -> Image {
    volume.node(DISK).and_then(|node| node.image()).cloned().unwrap_or_else(|| Image::new(0))
}

impl Recorded {
    /// What is there after each op, from the first that an earlier run did not do.
    fn walk(&self, sweep: &Sweep) -> impl Iterator<Item = Result<State, SweepError>> + '_ {
        let honoured = sweep.power.device.honours_flush;
        let mut durable = self.origin.content_id();
        let mut image = self.origin.clone();
        (0..=self.log.len()).filter_map(move |cut| {
            if let Some(op) = self.log.op(cut) {
                if let Err(error) = write(&mut image, op) {
                    return Some(Err(error));
                }
                if op.is_flush() && honoured {
                    durable = image.content_id();
                }
            }
            let state = || State { crash: Crash::Killed(cut), image: image.clone(), durable };
            (cut >= self.past).then(|| Ok(state()))
        })
    }

    /// The kills at ops, in their order.
    pub fn kills(&self, sweep: &Sweep) -> impl Iterator<Item = Result<State, SweepError>> + '_ {
        // What an earlier kill left is no new state.
        self.walk(sweep).skip(usize::from(self.past > 0))
    }

    /// The kills inside of writes, in the order of their ops.
    pub fn torn(&self, sweep: &Sweep) -> impl Iterator<Item = Result<State, SweepError>> + '_ {
        let sectors = sweep.models.contains(&Model::TornSectors);
        let step = if sectors { 1 } else { PAGE_BYTES / TORN_SECTOR_BYTES as u64 };
        self.walk(sweep).zip(self.past + 1..).flat_map(move |(before, number)| {
            let (Ok(before), Some(op)) = (before, self.log.op(number)) else { return Vec::new() };
            let first = op.range().map_or(0, |range| range.start / TORN_SECTOR_BYTES as u64);
            let cuts = (1..op.sectors()).filter(|sectors| (first + sectors).is_multiple_of(step));
            cuts.map(|sectors| torn_state(&before, op, sectors)).collect()
        })
    }

    /// The ops up to a kill.
    pub fn until(&self, crash: &Crash) -> OpLog {
        let ops = match crash {
            Crash::Killed(ops) => *ops,
            Crash::Torn { op, .. } => *op,
            Crash::Power(_) | Crash::AtEnd(_) => 0,
        };
        let mut log = self.log.clone();
        log.ops.truncate(ops as usize);
        if let (Crash::Torn { sectors, .. }, Some(last)) = (crash, log.ops.last_mut()) {
            *last = torn_op(last, *sectors);
        }
        log
    }

    /// The run under the power model.
    pub fn power(&self, sweep: &Sweep) -> Result<Power<'_>, SweepError> {
        Ok(Power::new(volume(self.origin.clone())?, &self.log, sweep.power.clone())?)
    }

    /// The state of a crash; none where this run has no such crash.
    pub fn state(&self, crash: &Crash, sweep: &Sweep) -> Result<Option<State>, SweepError> {
        let kill = |cut: u64| self.walk(sweep).find(|state| is_kill(state, cut)).transpose();
        match crash {
            Crash::Killed(cut) => kill(*cut),
            Crash::Torn { op, sectors } => {
                let Some(torn) = self.log.op(*op).filter(|torn| (1..torn.sectors()).contains(sectors)) else {
                    return Ok(None);
                };
                let before = kill(op - 1)?;
                before.map(|before| torn_state(&before, torn, *sectors)).transpose()
            }
            Crash::Power(state) | Crash::AtEnd(state) => {
                let power = self.power(sweep)?;
                if power.check(state).is_err() {
                    return Ok(None);
                }
                Ok(Some(power_state(&mut power.builder(), state, crash.clone())?))
            }
        }
    }
}

fn is_kill(state: &Result<State, SweepError>, cut: u64) -> bool {
    state.as_ref().map_or(true, |state| state.crash == Crash::Killed(cut))
}

/// The image of a power state.
pub(super) fn power_state(
    builder: &mut Builder<'_>,
    state: &PowerState,
    crash: Crash,
) -> Result<State, SweepError> {
    let image = image_of(&builder.materialise(state)?);
    let durable = image.content_id();
    Ok(State { crash, image, durable })
}

/// A write of which only the first sectors happened.
fn torn_op(op: &Op, sectors: u64) -> Op {
    Op { outcome: Outcome::Torn { bytes: op.torn_sector_bytes(sectors) }, ..op.clone() }
}

fn torn_state(before: &State, op: &Op, sectors: u64) -> Result<State, SweepError> {
    let mut image = before.image.clone();
    write(&mut image, &torn_op(op, sectors))?;
    Ok(State { crash: Crash::Torn { op: op.number, sectors }, image, durable: before.durable })
}

fn write(image: &mut Image, op: &Op) -> Result<(), SweepError> {
    if let Some(Mutation::Write { offset, data, .. }) = op.mutation() {
        image.write_at(*offset, op.arrived(data))?;
    }
    Ok(())
}
