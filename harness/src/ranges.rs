//! Sets of bytes as sorted ranges.

use std::ops::Range;

/// The same bytes as sorted ranges that don't touch.
pub fn merged(ranges: impl IntoIterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
    sorted.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
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
