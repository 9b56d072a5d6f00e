//! The guard of the disks that a campaign itself fills: its working area and its run directory. A campaign goes on only as
//! long as both have room; where one gets short, what dead campaigns left is collected first.

use std::path::{Path, PathBuf};

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

/// Watches the disks of one campaign.
#[derive(Debug)]
pub struct Room {
    places: [Place; 2],
    min_free_bytes: Option<u64>,
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
        Self { places: [work, place("run directory", run_dir, None)], min_free_bytes }
    }

    /// An error where a disk has too little room left; warnings, each once, where it is short.
    pub fn check(&mut self) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
        for place in &mut self.places {
            let space = Space::of(&place.path).map_err(Error::io(&place.path))?;
            let floors = floors(space.total_bytes, self.min_free_bytes);
            let collect = || place.areas.as_deref().map(workdir::remove_abandoned);
            let last = admit(&place.path, &floors, collect);
            let free_bytes = last.last().space.as_ref().map_or(0, |space| space.free_bytes);
            match last.last().verdict {
                Verdict::Ok => {}
                Verdict::Warn if place.warned => {}
                Verdict::Warn => {
                    place.warned = true;
                    warnings.push(format!(
                        "room is short: the disk of the {} `{}` has {} free; the campaign ends below {}",
                        place.name,
                        place.path.display(),
                        ByteSize(free_bytes),
                        ByteSize(floors.reject_below_bytes),
                    ));
                }
                Verdict::Reject => {
                    return Err(Error::RoomUsedUp {
                        name: place.name,
                        path: place.path.clone(),
                        free_bytes,
                        floor_bytes: floors.reject_below_bytes,
                    });
                }
            }
        }
        Ok(warnings)
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

    #[test]
    fn too_little_room_is_told_with_the_floor_after_dead_campaigns_areas_are_gone() {
        let parent = tempfile::tempdir().unwrap();
        let work = WorkDir::create(Some(parent.path()), 1, 0).unwrap();
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
        let parent = tempfile::tempdir().unwrap();
        let work = WorkDir::create(Some(parent.path()), 1, 0).unwrap();
        // Half of what is free is short of room, and above the floor.
        let floor = Space::of(parent.path()).unwrap().free_bytes / 2;
        let mut room = Room::new(&work, parent.path(), Some(floor));
        assert_eq!(room.check().unwrap().len(), 2);
        assert!(room.check().unwrap().is_empty());
    }
}
