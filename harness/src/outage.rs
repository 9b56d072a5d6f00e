//! A loss of power: on which device, by which rule of durability, and what is left of a recorded run.

use std::sync::Arc;

use fault_backend::oplog::OpLog;
use fault_backend::power::{DeviceProfile, Durability, Power, PowerOptions, PowerState};
use fault_backend::volume::Volume;

use crate::error::Error;

/// What has to be known to make the state of a power cut, besides which ops are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The device.
    pub device: DeviceProfile,
    /// What a flush covers.
    pub durability: Durability,
    /// Seed of what a device leaves at random.
    pub seed: u64,
}

/// A power cut of a recorded run.
#[derive(Clone, Debug)]
pub struct PowerCut {
    /// What is lost.
    pub state: PowerState,
    /// How.
    pub outage: Arc<Outage>,
}

impl Outage {
    /// For the power model; what is enumerated is its default.
    pub fn options(&self) -> PowerOptions {
        PowerOptions {
            durability: self.durability,
            device: self.device.clone(),
            seed: self.seed,
            ..PowerOptions::default()
        }
    }

    /// The volume that a power cut leaves of a run that began with `start`.
    ///
    /// # Errors
    /// Where the state is none of this run.
    pub fn volume(&self, start: Volume, log: &OpLog, state: &PowerState) -> Result<Volume, Error> {
        let power = Power::new(start, log, self.options())?;
        Ok(power.builder().materialise(state)?)
    }
}
