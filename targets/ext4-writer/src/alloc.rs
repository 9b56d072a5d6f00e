//! Hands out blocks in ascending order, around the copies of the superblock.
//!
//! File data may be broken at such a copy; bitmaps, inode tables and the journal get contiguous runs clear of them. What
//! is passed over, by that or for alignment, stays free. There is no end: whether the result fits is for the caller.

use std::ops::Range;

use crate::geometry::{BLOCKS_PER_GROUP, Geometry, has_super};

/// A pointer that moves forward, and what it has handed out.
#[derive(Debug)]
pub(crate) struct Allocator {
    geometry: Geometry,
    next: u64,
    /// Ascending and never touching each other; copies of the superblock are not in it.
    used: Vec<Range<u64>>,
}

impl Allocator {
    pub fn new(geometry: Geometry) -> Self {
        Self { geometry, next: 0, used: Vec::new() }
    }

    /// Blocks for file data, in as many runs as there are copies of the superblock in the way.
    pub fn take(&mut self, blocks: u64) -> Vec<Range<u64>> {
        self.take_on_grid(blocks, 1, 0)
    }

    /// The same for data that starts `phase` blocks after a point of a grid of `grid` blocks (a power of two that
    /// divides a group): each run starts at the place on the grid that its data has in the file.
    pub fn take_on_grid(&mut self, blocks: u64, grid: u64, phase: u64) -> Vec<Range<u64>> {
        debug_assert!(grid.is_power_of_two() && BLOCKS_PER_GROUP.is_multiple_of(grid));
        let mut runs = Vec::new();
        let mut left = blocks;
        while left > 0 {
            let start = self.place_on_grid(grid, (phase + blocks - left) % grid);
            let len = left.min(self.clear_until(start) - start);
            self.mark(start..start + len);
            runs.push(start..start + len);
            left -= len;
        }
        runs
    }

    /// Leaves free what is left up to the next point of a grid.
    pub fn skip_to_grid(&mut self, grid: u64) {
        self.next = self.place_on_grid(grid, 0);
    }

    /// Contiguous blocks, clear of every copy of the superblock.
    pub fn reserve_contiguous(&mut self, blocks: u64) -> Range<u64> {
        let mut start = self.clear_from(self.next);
        while self.clear_until(start) - start < blocks {
            start = self.clear_from(self.clear_until(start));
        }
        self.mark(start..start + blocks);
        start..start + blocks
    }

    /// The block behind the last one that is used.
    pub fn end(&self) -> u64 {
        self.used.last().map_or(0, |run| run.end).max(self.geometry.super_blocks(0).end)
    }

    /// All that was handed out.
    pub fn into_used(self) -> Vec<Range<u64>> {
        self.used
    }

    fn place_on_grid(&self, grid: u64, phase: u64) -> u64 {
        let mut at = self.next;
        loop {
            let clear = self.clear_from(at);
            at = clear + (phase + grid - clear % grid) % grid;
            if self.clear_from(at) == at {
                return at;
            }
        }
    }

    /// The first block from `at` that is in no copy of the superblock.
    fn clear_from(&self, at: u64) -> u64 {
        let copy = self.geometry.super_blocks(at / BLOCKS_PER_GROUP);
        if copy.contains(&at) { copy.end } else { at }
    }

    /// The start of the next copy of the superblock behind `at`, which is clear itself.
    fn clear_until(&self, at: u64) -> u64 {
        let group = (at / BLOCKS_PER_GROUP + 1..).find(|group| has_super(*group)).unwrap_or(u64::MAX);
        group.saturating_mul(BLOCKS_PER_GROUP)
    }

    fn mark(&mut self, run: Range<u64>) {
        match self.used.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            _ => self.used.push(run.clone()),
        }
        self.next = run.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator() -> Allocator {
        Allocator::new(Geometry::new(4, 64).unwrap())
    }

    #[test]
    fn data_is_broken_at_a_copy_of_the_superblock_and_goes_on_behind_it() {
        let mut blocks = allocator();
        assert_eq!(blocks.take(40_000), [2..32_768, 32_770..40_004]);
        assert_eq!(blocks.into_used(), [2..32_768, 32_770..40_004]);
    }

    #[test]
    fn aligned_data_goes_on_at_the_place_on_the_grid_that_it_has_in_the_file() {
        let mut blocks = allocator();
        blocks.take(1);
        assert_eq!(blocks.take_on_grid(40_000, 32, 0), [32..32_768, 32_800..40_064]);
        let start = |runs: Vec<Range<u64>>| runs[0].start;
        assert_eq!(start(blocks.take_on_grid(3, 32, 30)), 40_094);
        assert_eq!(start(blocks.take_on_grid(1, 32, 0)), 40_128);
    }

    #[test]
    fn a_contiguous_run_jumps_over_what_it_would_straddle_and_the_gap_stays_free() {
        let mut blocks = allocator();
        blocks.take(32_700);
        assert_eq!(blocks.reserve_contiguous(66), 32_702..32_768);
        let mut blocks = allocator();
        blocks.take(32_700);
        assert_eq!(blocks.reserve_contiguous(67), 32_770..32_837);
        assert_eq!(blocks.reserve_contiguous(65_000), 32_837..97_837);
        assert_eq!(blocks.reserve_contiguous(1000), 98_306..99_306);
        assert_eq!(blocks.end(), 99_306);
        assert_eq!(blocks.into_used(), [2..32_702, 32_770..97_837, 98_306..99_306]);
    }
}
