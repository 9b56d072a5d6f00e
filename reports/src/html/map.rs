//! The crash map of one phase: which row and lane each mark has, the marks as columns for the script that draws them, and
//! the same as a table.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{shapes, timeline};
use crate::{Counts, Facet, Mark, Model, Verdict};

/// Rows that a map has at most; what is about other things shares one more.
const MAX_ROWS: usize = 24;
/// Height of a lane, and least height of a row, in CSS pixels.
const LANE_PX: usize = 9;
const MIN_ROW_PX: usize = 18;

/// Where the marks of a facet lie.
pub(super) struct Map<'a> {
    pub facet: &'a Facet,
    /// Names of the rows, from top to bottom.
    pub rows: Vec<String>,
    /// Lanes that each row has.
    pub lanes: usize,
    /// The marks from left to right.
    pub spots: Vec<Spot>,
}

/// Where a mark lies.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub mark: Mark,
    pub row: u8,
    pub lane: u8,
    /// Where between its op and the next one it is drawn, in 256ths: marks at the same op lie beside each other.
    pub shift: u8,
}

impl<'a> Map<'a> {
    /// The map of `facet`; `steps` is the order of steps, which are the rows where nothing else is known.
    pub fn of(facet: &'a Facet, steps: &Counts) -> Self {
        let (rows, row_of) = rows(facet, steps);
        let mut keys: Vec<(u8, bool)> = facet.marks.iter().map(lane_key).collect();
        keys.sort_unstable();
        keys.dedup();
        let spot = |mark: &Mark| Spot {
            mark: *mark,
            row: row_of.get(usize::from(mark.region)).copied().unwrap_or(0),
            lane: keys.binary_search(&lane_key(mark)).map_or(0, |lane| lane as u8),
            shift: 0,
        };
        let mut spots: Vec<Spot> = facet.marks.iter().map(spot).collect();
        spots.sort_by_key(|spot| (spot.mark.op, spot.row, spot.lane, spot.mark.torn_bytes));
        for alike in spots.chunk_by_mut(|a, b| (a.mark.op, a.row, a.lane) == (b.mark.op, b.row, b.lane)) {
            // A row of its own has those inside the next op, so they need not begin at the op.
            let inside = alike[0].mark.torn_bytes.is_some();
            let (first, n) = (usize::from(inside), alike.len() + usize::from(inside));
            for (place, spot) in alike.iter_mut().enumerate() {
                spot.shift = ((place + first) * 256 / n).min(255) as u8;
            }
        }
        Self { facet, rows, lanes: keys.len().max(1), spots }
    }

    pub fn row_px(&self) -> usize {
        (self.lanes * LANE_PX).max(MIN_ROW_PX)
    }

    /// The map with its timeline and its table.
    pub fn figure(&self, index: usize) -> Markup {
        let Facet { phase, of_resumes, .. } = self.facet;
        let title = if *of_resumes { format!("{phase}, crashes of its resumes") } else { phase.clone() };
        let ops = self.facet.last_op();
        let about = format!("Crash map of {title}: {} marks over ops 0 to {ops}", self.spots.len());
        html! {
            figure.map data-map=(index) data-marks=(self.spots.len()) style={ "--row:" (self.row_px()) "px" } {
                figcaption { h3 { (title) } }
                div.grid {
                    (timeline::bands(self.facet))
                    ol.rows { @for row in &self.rows { li title=(row) { (row) } } }
                    div.plot style={ "height:" (self.row_px() * self.rows.len()) "px" } {
                        canvas.script-only tabindex="0" role="application" aria-label=(about) aria-describedby={ "read-" (index) } {}
                        div.ring hidden {}
                    }
                    div.axis { span { "op 0" } span { "op " (ops) } }
                }
                p.readout.script-only id={ "read-" (index) } role="status" { "Point at a mark to read it." }
                (self.table(&title))
                (timeline::table(self.facet))
            }
        }
    }

    /// What became of the states, by what the op at the point is about.
    fn table(&self, title: &str) -> Markup {
        let mut counts: BTreeMap<(u8, Option<Verdict>), u64> = BTreeMap::new();
        for spot in &self.spots {
            *counts.entry((spot.row, spot.mark.verdict)).or_default() += 1;
        }
        let there = |verdict: &Option<Verdict>| counts.keys().any(|(_, known)| known == verdict);
        let verdicts: Vec<Option<Verdict>> = shapes::in_order().into_iter().filter(there).collect();
        html! {
            details {
                summary { "The same as a table" }
                div.scroll { table {
                    caption { "States of " (title) " by what the op is about" }
                    thead { tr {
                        th scope="col" { "about" }
                        @for verdict in &verdicts { th.number scope="col" { (shapes::symbol(*verdict)) (shapes::name(*verdict)) } }
                    } }
                    tbody { @for (row, name) in self.rows.iter().enumerate() { tr {
                        th scope="row" { (name) }
                        @for verdict in &verdicts {
                            td.number { (counts.get(&(row as u8, *verdict)).copied().unwrap_or(0)) }
                        }
                    } } }
                } }
            }
        }
    }
}

/// What marks have in common that lie in the same lane: SIGKILLs, and each other way to disturb a run; the scratch
/// directory kept, and wiped.
fn lane_key(mark: &Mark) -> (u8, bool) {
    let model = match mark.model {
        Model::Kill | Model::Torn => 0,
        Model::Power => 1,
        Model::Error => 2,
        Model::Signal => 3,
    };
    (model, mark.scratch_wiped)
}

/// The rows from top to bottom as they lie on a disk, and the row of each region.
fn rows(facet: &Facet, steps: &Counts) -> (Vec<String>, Vec<u8>) {
    let mut weights = vec![(false, 0_u64); facet.regions.len()];
    for mark in &facet.marks {
        if let Some((failed, n)) = weights.get_mut(usize::from(mark.region)) {
            *failed |= mark.finding.is_some();
            *n += 1;
        }
    }
    let mut order: Vec<usize> = (0..facet.regions.len()).filter(|region| weights[*region].1 > 0).collect();
    // Those that say most have rows of their own.
    order.sort_by_key(|region| std::cmp::Reverse(weights[*region]));
    let others = order.split_off(order.len().min(MAX_ROWS));
    let step = |name: &str| steps.iter().position(|(step, _)| step == name);
    order.sort_by_key(|region| {
        let name = &facet.regions[*region];
        (rank(name), step(name), *region)
    });
    let mut row_of = vec![0; facet.regions.len()];
    for (row, region) in order.iter().enumerate() {
        row_of[*region] = row as u8;
    }
    let mut rows: Vec<String> = order.iter().map(|region| facet.regions[*region].clone()).collect();
    if !others.is_empty() {
        others.iter().for_each(|region| row_of[*region] = rows.len() as u8);
        rows.push(format!("{} others", others.len()));
    }
    (rows, row_of)
}

/// Where on a disk a region lies, as far as its name tells; what is no part of a disk is last.
fn rank(region: &str) -> u8 {
    let order = ["start", "protective MBR", "primary GPT header", "primary GPT array"];
    let last = ["unallocated", "backup GPT array", "backup GPT header", "scratch", timeline::FLUSH];
    let place = |names: &[&str]| names.iter().position(|name| *name == region).map(|place| place as u8);
    place(&order).or(place(&last).map(|place| place + 10)).unwrap_or(5)
}
