//! The guard of the disks that a campaign itself fills: its working area and its run directory. A campaign goes on only as
//! long as both have room; where one gets short, what dead campaigns left is collected first. All threads of a campaign ask
//! the same guard, and once it has said no it says so to each of them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use disk_guard::{Floors, Space, Verdict, admit};

use crate::error::Error;
use crate::workdir::{self, WorkDir};

/// Free space below which a campaign ends, on a disk of 1 GiB and more; on a smaller one it is a sixteenth.
const REJECT_BELOW_BYTES: u64 = 64 << 20;

/// Share of the whole that stays free on a small disk, such as a container's `/dev/shm`.
const REJECT_SHARE: u64 = 16;

/// Free space, in multiples of that, below which there is a warning.
const WARN_FACTOR: u64 = 4;

/// The disks are asked no more often than this, since one that lies on a network may take its time to answer.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Watches the disks of one campaign.
#[derive(Debug)]
pub struct Room {
    min_free_bytes: Option<u64>,
    seen: Mutex<Seen>,
}

/// What was seen of them.
#[derive(Debug)]
struct Seen {
    places: [Place; 2],
    /// When they were asked last.
    asked: Option<Instant>,
    used_up: Option<UsedUp>,
    /// Not told yet.
    warnings: Vec<String>,
}

#[derive(Debug)]
struct Place {
    /// In an error.
    name: &'static str,
    path: PathBuf,
    /// Where dead campaigns may have left their areas.
    areas: Option<PathBuf>,
    warned: bool,
}

/// A place whose disk has no room left.
#[derive(Clone, Debug)]
struct UsedUp {
    name: &'static str,
    path: PathBuf,
    free_bytes: u64,
    floor_bytes: u64,
}

impl Room {
    /// Watches a working area and a run directory. With `min_free_bytes` the campaign ends below that, whatever the size
    /// of the disk.
    pub fn new(work: &WorkDir, run_dir: &Path, min_free_bytes: Option<u64>) -> Self {
        let place = |name, path: &Path, areas: Option<&Path>| Place {
            name,
            path: path.to_owned(),
            areas: areas.map(Path::to_owned),
            warned: false,
        };
        let work = place("working area", work.path(), work.path().parent());
        let places = [work, place("run directory", run_dir, None)];
        let seen = Seen { places, asked: None, used_up: None, warnings: Vec::new() };
        Self { min_free_bytes, seen: Mutex::new(seen) }
    }

    /// An error from the first time on that a disk has too little room left.
    pub fn check(&self) -> Result<(), Error> {
        self.check_at(Instant::now())
    }

    fn check_at(&self, now: Instant) -> Result<(), Error> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = seen.asked.is_some_and(|asked| now.saturating_duration_since(asked) < LOOK_EVERY);
        if seen.used_up.is_none() && !lately {
            seen.asked = Some(now);
            seen.look(self.min_free_bytes)?;
        }
        match seen.used_up.clone() {
            None => Ok(()),
            Some(UsedUp { name, path, free_bytes, floor_bytes }) => {
                Err(Error::RoomUsedUp { name, path, free_bytes, floor_bytes })
            }
        }
    }

    /// Warnings that were not taken yet, of each disk that is short one in all.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner).warnings)
    }
}

impl Seen {
    fn look(&mut self, min_free_bytes: Option<u64>) -> Result<(), Error> {
        for place in &mut self.places {
            let space = Space::of(&place.path).map_err(Error::io(&place.path))?;
            let floors = floors(space.total_bytes, min_free_bytes);
            let collect = || place.areas.as_deref().map(workdir::remove_abandoned);
            let admission = admit(&place.path, &floors, collect);
            let free_bytes = admission.last().space.as_ref().map_or(0, |space| space.free_bytes);
            match admission.last().verdict {
                Verdict::Ok => {}
                Verdict::Warn if place.warned => {}
                Verdict::Warn => {
                    place.warned = true;
                    self.warnings.push(format!(
                        "room is short: the disk of the {} `{}` has {} free; the campaign ends below {}",
                        place.name,
                        place.path.display(),
                        ByteSize(free_bytes),
                        ByteSize(floors.reject_below_bytes),
                    ));
                }
                Verdict::Reject => {
                    self.used_up = Some(UsedUp {
                        name: place.name,
                        path: place.path.clone(),
                        free_bytes,
                        floor_bytes: floors.reject_below_bytes,
                    });
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// What has to stay free on a disk of that size.
fn floors(total_bytes: u64, min_free_bytes: Option<u64>) -> Floors {
    let reject_below_bytes =
        min_free_bytes.unwrap_or_else(|| (total_bytes / REJECT_SHARE).min(REJECT_BELOW_BYTES));
    Floors {
        reject_below_bytes,
        warn_below_bytes: reject_below_bytes.saturating_mul(WARN_FACTOR),
        warn_below_percent: 0,
        need_bytes: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_has_a_small_floor() {
        for (total, given, wanted) in [
            (0, None, 0),
            (64 << 20, None, 4 << 20),
            (1 << 30, None, 64 << 20),
            (1 << 40, None, 64 << 20),
            (64 << 20, Some(7), 7),
        ] {
            assert_eq!(floors(total, given).reject_below_bytes, wanted, "{total} {given:?}");
        }
    }

    /// A working area in a folder of its own, which is the run directory as well.
    fn places() -> (tempfile::TempDir, WorkDir) {
        let parent = tempfile::tempdir().unwrap();
        let work = WorkDir::create(Some(parent.path()), 1, 0).unwrap();
        (parent, work)
    }

    #[test]
    fn too_little_room_is_told_with_the_floor_after_dead_campaigns_areas_are_gone() {
        let (parent, work) = places();
        let dead = parent.path().join("killpoint-work-1-0");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join("lock"), "").unwrap();
        Room::new(&work, parent.path(), Some(0)).check().unwrap();
        assert!(dead.exists(), "with room nothing is collected");
        let error = Room::new(&work, parent.path(), Some(u64::MAX)).check().unwrap_err();
        assert!(matches!(error, Error::RoomUsedUp { floor_bytes: u64::MAX, .. }), "{error}");
        assert!(!dead.exists() && work.path().exists());
    }

    #[test]
    fn a_warning_comes_once() {
        let (parent, work) = places();
        // Half of what is free is short of room, and above the floor.
        let floor = Space::of(parent.path()).unwrap().free_bytes / 2;
        let room = Room::new(&work, parent.path(), Some(floor));
        let now = Instant::now();
        room.check_at(now).unwrap();
        assert_eq!(room.take_warnings().len(), 2);
        room.check_at(now + LOOK_EVERY).unwrap();
        assert_eq!(room.take_warnings(), [] as [String; 0]);
    }

    /// The disk is asked through a run directory that is there or not: it can't be asked where it isn't.
    #[test]
    fn the_disks_are_asked_again_only_after_a_while_and_what_was_used_up_stays_so() {
        let (parent, work) = places();
        let run_dir = parent.path().join("run");
        std::fs::create_dir(&run_dir).unwrap();
        let (room, now) = (Room::new(&work, &run_dir, Some(0)), Instant::now());
        room.check_at(now).unwrap();
        std::fs::remove_dir(&run_dir).unwrap();
        room.check_at(now + LOOK_EVERY / 2).unwrap();
        room.check_at(now + LOOK_EVERY).unwrap_err();

        let room = Room::new(&work, &run_dir, Some(u64::MAX));
        for later in [Duration::ZERO, LOOK_EVERY / 2, LOOK_EVERY * 2] {
            let error = room.check_at(now + later).unwrap_err();
            assert!(matches!(error, Error::RoomUsedUp { .. }), "{later:?}: {error}");
        }
    }
}
