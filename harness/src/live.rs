//! What is known of the live volume between two chains, so that putting it back to a phase's start costs what was
//! written and not a read of two disks.
//!
//! It is known only after a chain that the seam saw whole and whose result every oracle confirmed, the byte-exact
//! comparison with the baseline among them; after anything else the whole volume is compared and put right.

use std::ops::Range;

use crate::error::Error;
use crate::image;
use crate::prepare::{Ground, PreparedPhase};

/// The live volume differs from a phase's start at most in these ranges, if that is known.
#[derive(Clone, Debug, Default)]
pub struct Live {
    known: Option<(usize, Vec<Range<u64>>)>,
}

impl Live {
    /// Makes the live volume equal to the start of the phase with this index.
    pub fn restore(&mut self, ground: &Ground, phases: &[PreparedPhase], index: usize) -> Result<(), Error> {
        let volume = &ground.subject.volume;
        let start = &phases[index].start;
        match self.known.take() {
            Some((from, mut ranges)) => {
                // From one phase's start to another's, the uninterrupted runs between them made the difference.
                let between = &phases[from.min(index)..from.max(index)];
                ranges.extend(between.iter().flat_map(|phase| phase.written.iter().cloned()));
                image::restore_ranges(start, volume, merged(ranges))
            }
            None => image::restore(start, volume),
        }
        .map_err(Error::io(volume))
    }

    /// A chain of the phase with this index wrote these ranges, and its result was confirmed.
    pub fn confirmed(&mut self, index: usize, written: Vec<Range<u64>>) {
        self.known = Some((index, written));
    }
}

/// The same bytes as sorted ranges that don't touch.
pub fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn merged_ranges_hold_the_same_bytes_and_dont_touch(
            ranges in prop::collection::vec((0u64..50, 0u64..8).prop_map(|(start, len)| start..start + len), 0..12))
        {
            let result = merged(ranges.clone());
            for byte in 0..60 {
                let before = ranges.iter().any(|range| range.contains(&byte));
                prop_assert_eq!(before, result.iter().any(|range| range.contains(&byte)));
            }
            prop_assert!(result.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
