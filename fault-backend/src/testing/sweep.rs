//! How a sweep is put together: the disk, the models, and the code under test.

use super::crash::Token;
use super::disk::Disk;
use super::explore::Explorer;
use super::failure::{AnyError, SweepError};
use crate::image::Image;
use crate::power::{AtomicUnit, DeviceProfile, Dropped, EpochClaim, PowerOptions};

/// How a run is crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Model {
    /// Killed at each op; what was written stays.
    Kill,
    /// Killed inside each write, at each 512 bytes of the disk.
    TornSectors,
    /// Killed inside each write, at each 4096 bytes of the disk, as the kernel tears a buffered write.
    TornPages,
    /// The power is cut: see [`crate::power`] and [`Sweep::power`].
    Power,
}

/// Kills that are done live by default, to be compared with the recorded states.
const LIVE_CHECKS: u64 = 8;

/// A sweep over the crash states of code that writes a disk.
#[derive(Clone, Debug)]
pub struct Sweep {
    pub(super) initial: Image,
    pub(super) sector_bytes: u32,
    pub(super) models: Vec<Model>,
    pub(super) power: PowerOptions,
    pub(super) depth: u32,
    pub(super) durable: bool,
    pub(super) same_end: bool,
    pub(super) live_checks: u64,
    pub(super) replay: Option<String>,
}

impl Sweep {
    /// Takes the disk as it is before the run. Defaults: sectors of 512 bytes, models kill, torn sectors and power,
    /// a device that writes 512 bytes at once, depth 1, seed 0.
    pub fn new(initial: impl Into<Image>) -> Self {
        let device = DeviceProfile::new("sectors of 512", AtomicUnit::Bytes(512), Dropped::Old, true);
        Self {
            initial: initial.into(),
            sector_bytes: 512,
            models: vec![Model::Kill, Model::TornSectors, Model::Power],
            power: PowerOptions { device, ..PowerOptions::default() },
            depth: 1,
            durable: false,
            same_end: true,
            live_checks: LIVE_CHECKS,
            replay: None,
        }
    }

    /// What [`crate::BlockDevice::sector_bytes`] answers.
    pub fn sector_bytes(mut self, bytes: u32) -> Self {
        self.sector_bytes = bytes;
        self
    }

    /// How it is crashed. The simplest one comes first, whatever the order here.
    pub fn models(mut self, models: impl IntoIterator<Item = Model>) -> Self {
        self.models = models.into_iter().collect();
        self
    }

    /// How power cuts are looked at; the seed of the sweep is that of these options.
    pub fn power(mut self, options: PowerOptions) -> Self {
        self.power = options;
        self
    }

    /// Seed of all that is drawn.
    pub fn seed(mut self, seed: u64) -> Self {
        self.power.seed = seed;
        self
    }

    /// Crashes one after the other: 1 crashes the run, 2 also the resume from each of its states, and so on.
    /// `u32::MAX` goes on until no new state turns up.
    pub fn depth(mut self, crashes: u32) -> Self {
        self.depth = crashes;
        self
    }

    /// Whether a power cut after the run has succeeded must leave its whole result.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// A resume may leave other bytes than the uninterrupted run, as long as the check passes.
    pub fn any_end(mut self) -> Self {
        self.same_end = false;
        self
    }

    /// So many kills are done live, in the device, and compared with the recorded states.
    pub fn live_checks(mut self, kills: u64) -> Self {
        self.live_checks = kills;
        self
    }

    /// Goes to the state of this token alone, as a failure printed it.
    pub fn replay(mut self, token: &str) -> Self {
        self.replay = Some(token.to_owned());
        self
    }

    /// The code under test; it also resumes, unless [`Tool::resume`] says what does.
    pub fn run<'a, E: Into<AnyError>>(
        self,
        mut run: impl FnMut(&mut Disk) -> Result<(), E> + 'a,
    ) -> Tool<'a> {
        let run = Box::new(move |disk: &mut Disk| run(disk).map_err(Into::into));
        Tool { sweep: self, run, resume: None, at_crash: None }
    }

    pub(super) fn token(&self) -> Result<Option<Token>, SweepError> {
        Ok(self.replay.as_deref().map(str::parse).transpose()?)
    }
}

/// Code under test, or a check of what it left.
pub(super) type Code<'a> = Box<dyn FnMut(&mut Disk) -> Result<(), AnyError> + 'a>;

/// A sweep with the code that it is about.
pub struct Tool<'a> {
    pub(super) sweep: Sweep,
    pub(super) run: Code<'a>,
    pub(super) resume: Option<Code<'a>>,
    pub(super) at_crash: Option<Code<'a>>,
}

impl<'a> Tool<'a> {
    /// What is run after a crash.
    pub fn resume<E: Into<AnyError>>(
        mut self,
        mut resume: impl FnMut(&mut Disk) -> Result<(), E> + 'a,
    ) -> Self {
        self.resume = Some(Box::new(move |disk| resume(disk).map_err(Into::into)));
        self
    }

    /// What must hold at every crash, before the resume.
    pub fn at_crash<E: Into<AnyError>>(mut self, mut check: impl FnMut(&Disk) -> Result<(), E> + 'a) -> Self {
        self.at_crash = Some(Box::new(move |disk| check(disk).map_err(Into::into)));
        self
    }

    /// What must hold after every resume; sweeps.
    ///
    /// # Errors
    /// [`SweepError::Failed`] with the smallest failure that was found, and others where nothing could be tested.
    pub fn check<E: Into<AnyError>>(
        self,
        mut check: impl FnMut(&Disk) -> Result<(), E> + 'a,
    ) -> Result<Summary, SweepError> {
        Explorer::new(self, Box::new(move |disk| check(disk).map_err(Into::into))).sweep()
    }
}

/// What a sweep that passed has looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Ops of the uninterrupted run.
    pub ops: u64,
    /// Crash states, of all depths.
    pub states: u64,
    /// Different contents among them; each was resumed and checked.
    pub judged: u64,
    /// Kills that were done live and left the recorded state.
    pub live_checks: u64,
    /// Whether the last depth left no new states, so that no longer sequence of crashes has any.
    pub closed: bool,
    /// What of the run's power cuts was looked at; empty without that model.
    pub claims: Vec<EpochClaim>,
}
