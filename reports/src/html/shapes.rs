//! How each verdict looks: a colour that people with any kind of colour vision can tell from the others (Okabe and Ito
//! 2008, <https://jfly.uni-koeln.de/color/>), and a shape for those who see none. The colours are in the style sheet,
//! by the verdict's name.

use maud::{Markup, html};

use crate::{Chart, Verdict};

/// What is shown for a state that was not judged, since the tool was killed again before.
pub(super) const UNJUDGED: &str = "not-judged";

/// Every verdict, and none, in the order in which marks are drawn: the worst ones last, over the others. A mark's
/// `verdict` column is a place in it.
pub(super) fn in_order() -> Vec<Option<Verdict>> {
    let mut verdicts = Verdict::ALL;
    verdicts.sort_by_key(|verdict| verdict.badness());
    std::iter::once(None).chain(verdicts.map(Some)).collect()
}

pub(super) fn name(verdict: Option<Verdict>) -> &'static str {
    verdict.map_or(UNJUDGED, Verdict::name)
}

/// The shape as an SVG path in a box from -5 to 5; even-odd, so that a path in a path is a hole.
pub(super) fn path(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        None => "M-2-2H2V2H-2Z",
        Some(Verdict::Recovered) => "M-2-3H2V3H-2Z",
        Some(Verdict::RolledBack) => "M-3-4H3V4H-3ZM-1-2V2H1V-2Z",
        Some(Verdict::Refused) => "M0-5L5 4H-5Z",
        Some(Verdict::Crashed) => "M0-5L5 0L0 5L-5 0Z",
        Some(Verdict::Diverged) => "M-5-4H5V-1H-5ZM-5 1H5V4H-5Z",
        Some(Verdict::Corrupt) => "M-5-3L-3-5L0-2L3-5L5-3L2 0L5 3L3 5L0 2L-3 5L-5 3L-2 0Z",
        Some(Verdict::Hung) => "M-5-5H5L1 0L5 5H-5L-1 0Z",
        Some(Verdict::NotMeasured) => "M-5-5H5V5H-5ZM-3-3V3H3V-3Z",
    }
}

/// What the marks mean, and how many there are of each. Each can be hidden.
pub(super) fn legend(chart: &Chart) -> Markup {
    let count = |verdict| {
        let marks = chart.facets().iter().flat_map(|facet| &facet.marks);
        marks.filter(|mark| mark.verdict == verdict).count()
    };
    let rows = in_order().into_iter().enumerate().map(|(place, verdict)| (place, verdict, count(verdict)));
    html! {
        ul.legend aria-label="Legend" {
            @for (place, verdict, count) in rows.filter(|(.., count)| *count > 0) {
                li {
                    label.key.(name(verdict)) {
                        input.script-only type="checkbox" checked data-verdict=(place);
                        (symbol(verdict)) (name(verdict)) " " b { (count) }
                    }
                }
            }
        }
        // Where the drawing finds every shape.
        svg.shapes aria-hidden="true" {
            @for verdict in in_order() { path.(name(verdict)) d=(path(verdict)); }
        }
    }
}

pub(super) fn symbol(verdict: Option<Verdict>) -> Markup {
    html! {
        svg.symbol.(name(verdict)) viewBox="-6 -6 12 12" aria-hidden="true" {
            path fill-rule="evenodd" d=(path(verdict));
        }
    }
}
