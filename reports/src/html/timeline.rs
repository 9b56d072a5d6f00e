//! The timeline of a recorded run above its crash map: its steps as bands, its flushes as ticks. Both are taken from the
//! crash points at op boundaries, so a sweep that left some out has gaps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use maud::{Markup, html};

use crate::status::many;
use crate::{Facet, Model};

/// What the region of a flush is called.
pub(super) const FLUSH: &str = "flush";
/// Ticks that can be told apart.
const TICKS: u64 = 2000;
/// Bands that are drawn.
const MAX_BANDS: usize = 200;

/// Ops after one another in the same step.
struct Band<'a> {
    step: &'a str,
    first: u64,
    last: u64,
    flushes: usize,
}

struct Timeline<'a> {
    bands: Vec<Band<'a>>,
    flushes: BTreeSet<u64>,
}

impl<'a> Timeline<'a> {
    /// None where no run was recorded.
    fn of(facet: &'a Facet) -> Option<Self> {
        if facet.of_resumes || facet.ops == 0 {
            return None;
        }
        let at_ends = facet.marks.iter().filter(|mark| mark.model == Model::Kill);
        let ops: BTreeMap<u64, (u16, u16)> =
            at_ends.map(|mark| (u64::from(mark.op), (mark.step, mark.region))).collect();
        let mut timeline = Self { bands: Vec::new(), flushes: BTreeSet::new() };
        for (op, (step, region)) in ops {
            let step = facet.steps.get(usize::from(step)).map_or("", String::as_str);
            let is_flush = facet.regions.get(usize::from(region)).is_some_and(|name| name == FLUSH);
            match timeline.bands.last_mut() {
                Some(band) if band.step == step => {
                    band.last = op;
                    band.flushes += usize::from(is_flush);
                }
                _ => timeline.bands.push(Band { step, first: op, last: op, flushes: usize::from(is_flush) }),
            }
            timeline.flushes.extend(is_flush.then_some(op));
        }
        (!timeline.bands.is_empty()).then_some(timeline)
    }
}

/// Steps and flushes over the same axis as the map.
pub(super) fn bands(facet: &Facet) -> Markup {
    let Some(Timeline { bands, flushes }) = Timeline::of(facet) else { return html! {} };
    let whole = facet.last_op() + 1;
    let percent = |ops: u64| ops as f64 * 100.0 / whole as f64;
    let mut ticks = String::new();
    let places: BTreeSet<u64> = flushes.iter().map(|op| op * TICKS / whole).collect();
    for place in places {
        // Writing to a string can't fail.
        let _ = write!(ticks, "M{place} 0V10");
    }
    html! {
        div.name { "steps" }
        div.bands {
            @for band in bands.iter().take(MAX_BANDS) {
                span style={ "left:" (format!("{:.3}", percent(band.first))) "%;width:" (format!("{:.3}", percent(band.last + 1 - band.first))) "%" }
                    title={ (band.step) ", ops " (band.first) " to " (band.last) } { (band.step) }
            }
        }
        div.name { "flushes" }
        svg.ticks viewBox={ "0 0 " (TICKS) " 10" } preserveAspectRatio="none" role="img"
            aria-label=(many(flushes.len() as u64, "flush")) {
            path d=(ticks) vector-effect="non-scaling-stroke";
        }
    }
}

/// The same in words: steps with their ops and flushes, and the epochs that the flushes end.
pub(super) fn table(facet: &Facet) -> Markup {
    let Some(Timeline { bands, flushes }) = Timeline::of(facet) else { return html! {} };
    let epochs = flushes.len() + usize::from(!flushes.contains(&facet.ops));
    html! {
        details {
            summary {
                "Timeline: " (many(bands.len() as u64, "step")) ", " (many(flushes.len() as u64, "flush")) ", "
                (many(epochs as u64, "epoch"))
            }
            div.scroll { table {
                caption { "Steps of " (facet.phase) " and their flushes, at the ops that were looked at" }
                thead { tr {
                    th scope="col" { "step" } th.number scope="col" { "first op" } th.number scope="col" { "last op" }
                    th.number scope="col" { "flushes" }
                } }
                tbody { @for band in bands.iter().take(MAX_BANDS) { tr {
                    th scope="row" { (band.step) } td.number { (band.first) } td.number { (band.last) }
                    td.number { (band.flushes) }
                } } }
            } }
            @if bands.len() > MAX_BANDS { p.quiet { "and " (bands.len() - MAX_BANDS) " more" } }
        }
    }
}
