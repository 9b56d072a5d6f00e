//! Admission: asks the file system what is free, and where that is short lets a collector run before the verdict is taken
//! for good. A file system that does not answer is a warning, since nothing is known against a start.

use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::floors::{Floors, Verdict, classify};

/// Room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that an unprivileged process can still write (`f_bavail × f_frsize`).
    pub free_bytes: u64,
    /// Bytes in all (`f_blocks × f_frsize`).
    pub total_bytes: u64,
}

impl Space {
    /// Of the file system that a path lies on.
    pub fn of(path: &Path) -> io::Result<Self> {
        let stat = statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
        Ok(Self { free_bytes: bytes(stat.blocks_available()), total_bytes: bytes(stat.blocks()) })
    }
}

/// A verdict and what it rests on.
#[derive(Debug)]
pub struct Measured {
    /// The verdict; [`Verdict::Warn`] where the space is not known.
    pub verdict: Verdict,
    /// The space, or why it is not known.
    pub space: io::Result<Space>,
}

impl Measured {
    fn of(space: io::Result<Space>, floors: &Floors) -> Self {
        let verdict = match &space {
            Ok(space) => classify(space.free_bytes, space.total_bytes, floors),
            Err(_) => Verdict::Warn,
        };
        Self { verdict, space }
    }
}

/// How a start was judged.
#[derive(Debug)]
pub struct Admission<T> {
    /// What was found first.
    pub first: Measured,
    /// Where room was short: the collector's answer, and what was found after it.
    pub collected: Option<(T, Measured)>,
}

impl<T> Admission<T> {
    /// What counts: what was found last.
    pub fn last(&self) -> &Measured {
        self.collected.as_ref().map_or(&self.first, |(_, after)| after)
    }
}

/// The verdict on the file system that a path lies on, as it is.
pub fn measure(path: &Path, floors: &Floors) -> Measured {
    Measured::of(Space::of(path), floors)
}

/// Judges a start on the file system that a path lies on. Where room is short the collector runs first.
pub fn admit<T>(path: &Path, floors: &Floors, collect: impl FnOnce() -> T) -> Admission<T> {
    admit_by(|| Space::of(path), floors, collect)
}

/// As [`admit`], with the space asked in another way.
pub fn admit_by<T>(
    mut space: impl FnMut() -> io::Result<Space>,
    floors: &Floors,
    collect: impl FnOnce() -> T,
) -> Admission<T> {
    let first = Measured::of(space(), floors);
    let collected = (first.verdict != Verdict::Ok).then(|| {
        let answer = collect();
        (answer, Measured::of(space(), floors))
    });
    Admission { first, collected }
}

#[cfg(test)]
mod tests {
    //! Spaces are handed in as lists, so that each order of answers can be had; the real one is compared with itself.

    use std::cell::Cell;

    use super::*;

    const GIB: u64 = 1 << 30;

    /// Admits with these answers of the file system in turn; the collector says how often it had been asked before.
    fn admitted(answers: &[Result<u64, i32>]) -> Admission<u32> {
        let asked = Cell::new(0);
        let space = || {
            let answer = answers[asked.replace(asked.get() + 1) as usize];
            let space = |free_bytes| Space { free_bytes, total_bytes: 20 * GIB };
            answer.map(space).map_err(io::Error::from_raw_os_error)
        };
        let admission = admit_by(space, &Floors::default(), || asked.get());
        assert_eq!(asked.get() as usize, answers.len(), "every answer is asked for");
        admission
    }

    #[test]
    fn the_collector_runs_only_where_room_is_short_and_what_it_leaves_counts() {
        for (answers, wanted) in [
            (&[Ok(9 * GIB)][..], Verdict::Ok),
            (&[Ok(2 * GIB), Ok(9 * GIB)], Verdict::Ok),
            (&[Ok(2 * GIB), Ok(2 * GIB)], Verdict::Warn),
            (&[Ok(0), Ok(2 * GIB)], Verdict::Warn),
            (&[Ok(0), Ok(9 * GIB)], Verdict::Ok),
            (&[Ok(0), Ok(0)], Verdict::Reject),
            // Somebody else may fill the disk meanwhile.
            (&[Ok(2 * GIB), Ok(0)], Verdict::Reject),
        ] {
            let admission = admitted(answers);
            assert_eq!(admission.last().verdict, wanted, "{answers:?}");
            assert_eq!(admission.collected.map(|(asked, _)| asked), (answers.len() > 1).then_some(1));
        }
    }

    #[test]
    fn a_file_system_that_does_not_answer_is_a_warning_and_keeps_its_error() {
        let admission = admitted(&[Err(5), Err(5)]);
        assert_eq!(admission.last().verdict, Verdict::Warn);
        assert_eq!(admission.last().space.as_ref().unwrap_err().raw_os_error(), Some(5));
        assert_eq!(admitted(&[Err(5), Ok(0)]).last().verdict, Verdict::Reject);
        assert_eq!(admitted(&[Err(5), Ok(9 * GIB)]).last().verdict, Verdict::Ok);
    }

    #[test]
    fn the_space_of_a_path_is_what_the_file_system_says() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::of(dir.path()).unwrap();
        assert!(space.free_bytes > 0 && space.free_bytes <= space.total_bytes, "{space:?}");
        let floors = |reject| Floors { reject_below_bytes: reject, ..Floors::default() };
        assert_eq!(measure(dir.path(), &floors(u64::MAX)).verdict, Verdict::Reject);
        let nowhere = measure(Path::new("/nonexistent/place"), &floors(u64::MAX));
        assert_eq!(nowhere.verdict, Verdict::Warn);
        assert_eq!(nowhere.space.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
