//! States that differ only in bytes that their resume overwrites before it reads them: one verdict holds for all of them.
//!
//! A resume that began with other bytes there would be told the same at every step, so it would do the same and leave the
//! same. What it reads and writes is seen for each state that is judged; only one that recovered stands for others, what
//! lies in the scratch directory is compared as for other merged states, and the oracles that look at the crash state are
//! asked of each state by itself. Of the states that this would spare, one in [`JUDGED_ANYWAY`] is judged all the same.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use fault_backend::ContentId;
use fault_backend::footprint::Footprint;
use fault_backend::volume::{Mutation, Timestamp, Volume};

use super::merge::{Aspect, Proof};
use crate::image::VOLUME;
use crate::stage::recorded::volume_id;

/// One in so many of the states that need not be judged is judged.
pub const JUDGED_ANYWAY: u128 = 64;

/// So many lists of overwritten bytes are told apart, in the order in which they are met.
const LISTS_MAX: usize = 64;

/// Bytes that a resume overwrote before it read them, by file, as ranges in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overwrites(pub Arc<BTreeMap<String, Vec<Range<u64>>>>);

impl Overwrites {
    /// What a resume that began with a state overwrote of the files that were in its volume.
    pub fn of(state: &Volume, footprint: &Footprint) -> Self {
        let named = footprint.overwritten().filter_map(|(ino, ranges)| {
            let path = state.path_of(ino).filter(|path| path.starts_with(VOLUME))?;
            let len = state.node(ino)?.len_bytes();
            let inside = |range: Range<u64>| range.start.min(len)..range.end.min(len);
            let ranges: Vec<_> = ranges.into_iter().map(inside).filter(|range| !range.is_empty()).collect();
            Some((path.to_str()?.to_owned(), ranges)).filter(|(_, ranges)| !ranges.is_empty())
        });
        Self(Arc::new(named.collect()))
    }

    /// Content id of a state's volume but for these bytes; none where a file of them is not there.
    fn rest_of(&self, state: &Volume) -> Option<ContentId> {
        let mut rest = state.clone();
        for (path, ranges) in &*self.0 {
            let ino = rest.resolve(Path::new(path))?;
            for range in ranges {
                let punch = Mutation::Punch { ino, range: range.clone() };
                rest.apply(&punch, Timestamp::default()).ok()?;
            }
        }
        volume_id(&rest)
    }
}

/// What is known of the resumes of one phase.
#[derive(Debug, Default)]
pub struct Unread {
    lists: Vec<List>,
    /// The list that held last; the next state is likely to be like the one before.
    last: usize,
}

#[derive(Debug)]
struct List {
    overwrites: Overwrites,
    /// The states whose resume overwrote just this, by what else they hold.
    proven: HashMap<ContentId, Vec<Proof>>,
}

impl Unread {
    /// Takes in a state that recovered, and answers the number of its list, from 0. None where it can stand for no other.
    pub fn learn(&mut self, state: &Volume, overwrites: &Overwrites, proof: Proof) -> Option<Learnt> {
        if overwrites.0.is_empty() {
            return None;
        }
        let known = self.lists.iter().position(|list| list.overwrites == *overwrites);
        let number = known.unwrap_or(self.lists.len());
        if number == LISTS_MAX {
            return None;
        }
        let rest = overwrites.rest_of(state)?;
        if known.is_none() {
            self.lists.push(List { overwrites: overwrites.clone(), proven: HashMap::new() });
        }
        self.lists[number].proven.entry(rest).or_default().push(proof);
        Some(Learnt { number: number as u64, new: known.is_none() })
    }

    /// What proves that a state recovers, if anything does.
    pub fn proof_for(&mut self, state: &Volume, aspect: &Aspect) -> Option<Proof> {
        let after = (0..self.lists.len()).filter(|number| *number != self.last);
        let order = (self.last < self.lists.len()).then_some(self.last).into_iter().chain(after);
        for number in order {
            let list = &self.lists[number];
            let Some(rest) = list.overwrites.rest_of(state) else { continue };
            let proofs = list.proven.get(&rest).into_iter().flatten();
            if let Some(proof) = proofs.into_iter().find(|proof| proof.holds_for(aspect)) {
                self.last = number;
                return Some(proof.clone());
            }
        }
        None
    }
}

/// A list that a state was found to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// Its number, from 0.
    pub number: u64,
    /// It is the first one to have it.
    pub new: bool,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fault_backend::Image;

    use super::*;
    use crate::sweep::judge::AskedOf;

    fn state(bytes: &[u8], extra: Option<&str>) -> Volume {
        let mut image = Image::new(0);
        image.write_at(0, bytes).unwrap();
        let mut volume = Volume::new();
        volume.insert_file(&Path::new(VOLUME).join("disk"), image).unwrap();
        if let Some(name) = extra {
            volume.insert_file(&Path::new(VOLUME).join(name), Image::new(0)).unwrap();
        }
        volume
    }

    fn aspect(state: &Volume) -> Aspect {
        Aspect::of(state, state.content_id(), 0)
    }

    fn proof(state: &Volume) -> Proof {
        let asked = AskedOf { all: false, names: BTreeSet::new() };
        Proof { key: (state.content_id(), 0), lying: BTreeMap::new(), asked, whole: true }
    }

    fn overwrites(ranges: impl IntoIterator<Item = Range<u64>>) -> Overwrites {
        Overwrites(Arc::new([(format!("{VOLUME}/disk"), ranges.into_iter().collect())].into()))
    }

    #[test]
    fn a_state_is_proven_by_one_that_differs_in_overwritten_bytes_alone() {
        let judged = state(b"headPAYLOADtail", None);
        let mut unread = Unread::default();
        assert_eq!(unread.proof_for(&judged, &aspect(&judged)), None, "nothing is known");
        let learnt = unread.learn(&judged, &overwrites(Some(4..11)), proof(&judged));
        assert_eq!(learnt, Some(Learnt { number: 0, new: true }));
        for (bytes, extra, holds) in [
            (b"headPAYLOADtail", None, true),
            (b"headpayloadtail", None, true),
            (b"head\0\0\0\0\0\0\0tail", None, true),
            (b"heaDPAYLOADtail", None, false),
            (b"headPAYLOADTail", None, false),
            (b"headpayloadtail", Some("more"), false),
        ] {
            let other = state(bytes, extra);
            assert_eq!(unread.proof_for(&other, &aspect(&other)).is_some(), holds, "{bytes:?} {extra:?}");
        }
        let shorter = state(b"headPAYLOADtai", None);
        assert_eq!(unread.proof_for(&shorter, &aspect(&shorter)), None, "a length is no content");
        let more = Aspect { acks: 1, ..aspect(&judged) };
        assert_eq!(unread.proof_for(&judged, &more), None, "more was acknowledged");
    }

    #[test]
    fn lists_are_told_apart_and_are_no_more_than_a_few() {
        let judged = state(&[7; 1000], None);
        let mut unread = Unread::default();
        for place in 0..LISTS_MAX as u64 {
            let learnt = unread.learn(&judged, &overwrites(Some(place..place + 1)), proof(&judged));
            assert_eq!(learnt, Some(Learnt { number: place, new: true }));
        }
        let again = unread.learn(&judged, &overwrites(Some(3..4)), proof(&judged));
        assert_eq!(again, Some(Learnt { number: 3, new: false }));
        assert_eq!(unread.learn(&judged, &overwrites(Some(500..501)), proof(&judged)), None);
        assert_eq!(
            unread.learn(&judged, &Overwrites::default(), proof(&judged)),
            None,
            "nothing is overwritten"
        );
        let mut bytes = [7; 1000];
        bytes[63] = 8;
        let other = state(&bytes, None);
        assert!(unread.proof_for(&other, &aspect(&other)).is_some(), "by the last list");
        bytes[500] = 8;
        let other = state(&bytes, None);
        assert!(unread.proof_for(&other, &aspect(&other)).is_none());
    }

    #[test]
    fn what_is_overwritten_is_told_by_paths_in_the_volume_and_within_lengths() {
        let mut state = state(b"0123456789", Some("empty"));
        let scratch = Path::new(crate::image::SCRATCH).join("left");
        let mut image = Image::new(0);
        image.write_at(0, b"left").unwrap();
        let ino = state.insert_file(&scratch, image).unwrap();
        let mut footprint = Footprint::default();
        let disk = state.resolve(&Path::new(VOLUME).join("disk")).unwrap();
        footprint.read(disk, 2..4);
        footprint.write(disk, 0..3);
        footprint.write(disk, 8..u64::MAX);
        footprint.removed(ino);
        footprint.removed(state.resolve(&Path::new(VOLUME).join("empty")).unwrap());
        assert_eq!(Overwrites::of(&state, &footprint), overwrites([0..2, 8..10]));
    }
}
