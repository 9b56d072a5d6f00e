//! What a run read and what it overwrote, byte by byte. A run that begins with other bytes where this one wrote before it
//! read does the same as this one, step for step, and leaves the same: it never learns what was there.
//!
//! It is about content alone. Names, kinds, lengths, modes, owners and extended attributes are taken to be equal; free
//! space, counts of allocated blocks and times are taken not to matter.

use std::collections::HashMap;
use std::ops::Range;

use rangemap::RangeSet;

use crate::volume::{Ino, Mutation};

/// Bytes that a run read first and bytes that it wrote first, of each file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    files: HashMap<Ino, Bytes>,
}

/// The bytes of one file; the sets have nothing in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bytes {
    read: RangeSet<u64>,
    written: RangeSet<u64>,
}

impl Bytes {
    fn read(&mut self, range: Range<u64>) {
        add(&mut self.read, &self.written, range);
    }

    fn write(&mut self, range: Range<u64>) {
        add(&mut self.written, &self.read, range);
    }
}

/// Adds a range to a set, as far as it is not in the other one.
fn add(to: &mut RangeSet<u64>, but: &RangeSet<u64>, range: Range<u64>) {
    if !range.is_empty() {
        to.extend(but.gaps(&range).collect::<Vec<_>>());
    }
}

impl Footprint {
    /// Notes a read of these bytes of a file.
    pub fn read(&mut self, ino: Ino, range: Range<u64>) {
        self.files.entry(ino).or_default().read(range);
    }

    /// Notes that something was asked of a file's content that can't be told in bytes: where its holes are.
    pub fn asked(&mut self, ino: Ino) {
        self.read(ino, 0..u64::MAX);
    }

    /// Notes a write of these bytes of a file.
    pub fn write(&mut self, ino: Ino, range: Range<u64>) {
        self.files.entry(ino).or_default().write(range);
    }

    /// Notes what a mutation does to content.
    pub fn mutation(&mut self, mutation: &Mutation) {
        match mutation {
            // What is behind the new end is gone, or zero where there was nothing.
            Mutation::Truncate { ino, len } => self.write(*ino, *len..u64::MAX),
            _ => {
                if let (Some(ino), Some(range)) = (mutation.ino(), mutation.range()) {
                    self.write(ino, range);
                }
            }
        }
    }

    /// Notes that a file is gone.
    pub fn removed(&mut self, ino: Ino) {
        self.write(ino, 0..u64::MAX);
    }

    /// Notes what a further run did after this one.
    pub fn then(&mut self, further: &Self) {
        for (ino, bytes) in &further.files {
            let here = self.files.entry(*ino).or_default();
            bytes.read.iter().for_each(|range| here.read(range.clone()));
            bytes.written.iter().for_each(|range| here.write(range.clone()));
        }
    }

    /// The bytes of each file that were written before anything read them, in order; a file that is gone ends at
    /// `u64::MAX`.
    pub fn overwritten(&self) -> impl Iterator<Item = (Ino, Vec<Range<u64>>)> + '_ {
        let written = self.files.iter().map(|(ino, bytes)| (*ino, bytes.written.iter().cloned().collect()));
        written.filter(|(_, ranges): &(Ino, Vec<_>)| !ranges.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: Ino = Ino::ROOT;
    const LEN: u64 = 40;

    #[derive(Clone, Debug)]
    enum Step {
        Read(Range<u64>),
        Write(Range<u64>),
        Truncate(u64),
        Punch(Range<u64>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let range = || (0..LEN, 0..12u64).prop_map(|(start, len)| start..(start + len).min(LEN));
        let step = prop_oneof![
            range().prop_map(Step::Read),
            range().prop_map(Step::Write),
            (0..LEN).prop_map(Step::Truncate),
            range().prop_map(Step::Punch),
        ];
        prop::collection::vec(step, 0..12)
    }

    fn note(footprint: &mut Footprint, step: &Step) {
        match step {
            Step::Read(range) => footprint.read(FILE, range.clone()),
            Step::Write(range) => {
                let data = vec![1; (range.end - range.start) as usize].into();
                footprint.mutation(&Mutation::Write { ino: FILE, offset: range.start, data });
            }
            Step::Truncate(len) => footprint.mutation(&Mutation::Truncate { ino: FILE, len: *len }),
            Step::Punch(range) => footprint.mutation(&Mutation::Punch { ino: FILE, range: range.clone() }),
        }
    }

    /// What the steps read of a file that begins with these bytes, and what they leave of it.
    fn played(mut bytes: Vec<u8>, steps: &[Step]) -> (Vec<u8>, Vec<u8>) {
        let mut seen = Vec::new();
        for (number, step) in (1..).zip(steps) {
            let set = |bytes: &mut Vec<u8>, range: &Range<u64>, byte| {
                bytes[range.start as usize..range.end as usize].fill(byte);
            };
            match step {
                Step::Read(range) => seen.extend(&bytes[range.start as usize..range.end as usize]),
                Step::Write(range) => set(&mut bytes, range, number),
                Step::Truncate(len) => set(&mut bytes, &(*len..LEN), 0),
                Step::Punch(range) => set(&mut bytes, range, 0),
            }
        }
        (seen, bytes)
    }

    proptest! {
        /// A byte is overwritten unread if and only if another one in its place changes nothing that is read or left.
        #[test]
        fn overwritten_bytes_are_those_that_make_no_difference(steps in steps(), cut in 0..12usize) {
            let mut whole = Footprint::default();
            steps.iter().for_each(|step| note(&mut whole, step));
            let overwritten: RangeSet<u64> =
                whole.overwritten().flat_map(|(_, ranges)| ranges).collect();
            let start = vec![200; LEN as usize];
            let plain = played(start.clone(), &steps);
            for at in 0..LEN {
                let mut other = start.clone();
                other[at as usize] = 201;
                prop_assert_eq!(overwritten.contains(&at), played(other, &steps) == plain, "byte {}", at);
            }
            let (first, further) = steps.split_at(cut.min(steps.len()));
            let (mut one, mut other) = (Footprint::default(), Footprint::default());
            first.iter().for_each(|step| note(&mut one, step));
            further.iter().for_each(|step| note(&mut other, step));
            one.then(&other);
            prop_assert_eq!(one, whole, "in two runs");
        }
    }

    #[test]
    fn a_file_that_is_gone_tells_nothing_but_what_was_read_before() {
        let mut footprint = Footprint::default();
        footprint.read(FILE, 3..5);
        footprint.removed(FILE);
        let overwritten: Vec<_> = footprint.overwritten().collect();
        assert_eq!(overwritten, [(FILE, vec![0..3, 5..u64::MAX])]);
        footprint = Footprint::default();
        footprint.asked(FILE);
        footprint.removed(FILE);
        assert_eq!(footprint.overwritten().count(), 0);
    }
}
