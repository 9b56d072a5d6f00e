//! What the page's script draws from: the marks of each map as columns of little-endian numbers in base64, since that is a
//! quarter of what they take as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};
use serde::Serialize;

use super::findings::Findings;
use super::map::{Map, Spot};
use super::shapes;
use crate::Model;

/// Stands in the column of bytes for a mark at an op boundary.
const WHOLE: u32 = u32::MAX;

#[derive(Serialize)]
struct Data<'a> {
    verdicts: Vec<&'static str>,
    models: Vec<&'static str>,
    /// Where the marks lead: ids on the page.
    targets: &'a [String],
    maps: Vec<Columns<'a>>,
}

/// The marks of a map. Lists of names are shared by places, from 0; a target's place is counted from 1, 0 is none.
#[derive(Serialize)]
struct Columns<'a> {
    last_op: u64,
    row_px: usize,
    lanes: usize,
    rows: &'a [String],
    steps: &'a [String],
    /// u32
    op: String,
    /// u32
    torn_bytes: String,
    /// u16
    step: String,
    /// u16
    target: String,
    /// u8, as all below
    row: String,
    lane: String,
    shift: String,
    verdict: String,
    model: String,
    wiped: String,
    depth: String,
}

/// The data as an element that no browser runs.
pub(super) fn data(maps: &[Map<'_>], findings: &Findings<'_>) -> Markup {
    let data = Data {
        verdicts: shapes::in_order().into_iter().map(shapes::name).collect(),
        models: Model::ALL.map(Model::name).to_vec(),
        targets: findings.anchors(),
        maps: maps.iter().map(|map| columns(map, findings)).collect(),
    };
    // A map of strings and numbers always has a JSON form.
    let json = serde_json::to_string(&data).unwrap_or_default().replace('<', "\\u003c");
    html! { script #marks type="application/json" { (PreEscaped(json)) } }
}

fn columns<'a>(map: &'a Map<'_>, findings: &Findings<'_>) -> Columns<'a> {
    let order = shapes::in_order();
    let verdict =
        |spot: &Spot| order.iter().position(|verdict| *verdict == spot.mark.verdict).unwrap_or(0) as u8;
    let model =
        |spot: &Spot| Model::ALL.iter().position(|model| *model == spot.mark.model).unwrap_or(0) as u8;
    let target = |spot: &Spot| spot.mark.finding.map_or(0, |finding| findings.target(finding as usize));
    let spots = map.spots.as_slice();
    Columns {
        last_op: map.facet.last_op(),
        row_px: map.row_px(),
        lanes: map.lanes,
        rows: &map.rows,
        steps: &map.facet.steps,
        op: column(spots, |spot| spot.mark.op.to_le_bytes()),
        torn_bytes: column(spots, |spot| spot.mark.torn_bytes.unwrap_or(WHOLE).to_le_bytes()),
        step: column(spots, |spot| spot.mark.step.to_le_bytes()),
        target: column(spots, |spot| target(spot).to_le_bytes()),
        row: column(spots, |spot| [spot.row]),
        lane: column(spots, |spot| [spot.lane]),
        shift: column(spots, |spot| [spot.shift]),
        verdict: column(spots, |spot| [verdict(spot)]),
        model: column(spots, |spot| [model(spot)]),
        wiped: column(spots, |spot| [u8::from(spot.mark.scratch_wiped)]),
        depth: column(spots, |spot| [spot.mark.depth]),
    }
}

fn column<const N: usize>(spots: &[Spot], number: impl Fn(&Spot) -> [u8; N]) -> String {
    let bytes: Vec<u8> = spots.iter().flat_map(number).collect();
    STANDARD.encode(bytes)
}
