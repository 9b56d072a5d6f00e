//! The findings of a page, in groups of those that say the same, each with the line that brings it back. Of very many the
//! page shows the first of each group, so that a browser can still open it; `report.json` has them all.

use std::collections::HashMap;

use maud::{Markup, html};

use super::{hex, shapes};
use crate::alike::{Group, groups};
use crate::status::many;
use crate::{Bytes, Finding};

/// Findings of one group that are shown.
const MAX_OF_GROUP: usize = 25;
/// Findings that are shown.
const MAX_SHOWN: usize = 500;

/// Markup of bytes that a page has room for, in bytes.
const MAX_HEX_LEN: usize = 1 << 20;

/// The findings, and where on the page each is told of.
pub(super) struct Findings<'a> {
    groups: Vec<(Group<'a>, usize)>,
    anchors: Vec<String>,
    /// Place in `anchors` by place of the finding, counted from 1.
    targets: HashMap<usize, u16>,
    hex: Hex,
}

/// The bytes that are shown, by finding.
#[derive(Default)]
struct Hex {
    tables: HashMap<String, Markup>,
    /// Findings of which bytes are known.
    known: usize,
}

impl<'a> Findings<'a> {
    pub fn of(all: &'a [Finding], bytes: &Bytes) -> Self {
        let (mut anchors, mut targets) = (Vec::new(), HashMap::new());
        let mut room = MAX_SHOWN;
        let mut shown = Vec::new();
        for (index, group) in groups(all).into_iter().enumerate() {
            // However many there are, each group shows one.
            let len = group.members.len().min(MAX_OF_GROUP).min(room.max(1));
            room = room.saturating_sub(len);
            anchors.push(kind_id(index));
            let kind = u16::try_from(anchors.len()).unwrap_or(0);
            for (place, (finding, told)) in group.members.iter().enumerate() {
                let target = if place < len {
                    anchors.push(finding_id(told));
                    u16::try_from(anchors.len()).unwrap_or(0)
                } else {
                    kind
                };
                targets.insert(*finding, target);
            }
            shown.push((group, len));
        }
        let hex = Hex::of(&shown, bytes);
        Self { groups: shown, anchors, targets, hex }
    }

    /// Ids on the page that a mark can lead to.
    pub fn anchors(&self) -> &[String] {
        &self.anchors
    }

    /// Where a finding is told of: place in the anchors, counted from 1.
    pub fn target(&self, finding: usize) -> u16 {
        self.targets.get(&finding).copied().unwrap_or(0)
    }

    pub fn section(&self) -> Markup {
        html! {
            section #findings aria-labelledby="findings-title" {
                h2 #findings-title { "Findings" }
                @if self.groups.is_empty() { p.quiet { "None." } }
                (self.hex.note(self.targets.len()))
                @for (index, (group, len)) in self.groups.iter().enumerate() {
                    (of_group(index, group, *len, &self.hex))
                }
            }
        }
    }
}

impl Hex {
    /// Of the first findings of each group, then of the second ones, and so on, as far as there is room.
    fn of(groups: &[(Group<'_>, usize)], bytes: &Bytes) -> Self {
        let mut hex = Self { known: bytes.len(), ..Self::default() };
        let mut room = MAX_HEX_LEN;
        let most = groups.iter().map(|(_, len)| *len).max().unwrap_or(0);
        for place in 0..most {
            for (group, _) in groups.iter().filter(|(_, len)| place < *len) {
                let id = &group.members[place].1.id;
                let Some(compared) = bytes.of(id).filter(|compared| !compared.sectors.is_empty()) else {
                    continue;
                };
                let table = hex::section(compared);
                match room.checked_sub(table.0.len()) {
                    Some(left) => room = left,
                    None => return hex,
                }
                hex.tables.insert(id.clone(), table);
            }
        }
        hex
    }

    /// Of how many findings there are bytes, where not of all.
    fn note(&self, findings: usize) -> Markup {
        let (shown, known) = (self.tables.len(), self.known);
        html! {
            @if shown > 0 && shown < findings {
                p.quiet {
                    "Bytes are shown of " (shown) " of " (many(findings as u64, "finding"))
                    @if shown < known { "; events.jsonl has them of " (known) }
                    "."
                }
            }
        }
    }
}

fn of_group(index: usize, group: &Group<'_>, len: usize, hex: &Hex) -> Markup {
    let all = group.members.len();
    let (first, rest) = group.members[..len].split_at(1);
    html! {
        article.kind.expected[group.first.expected] id=(kind_id(index)) {
            h3 {
                (shapes::symbol(Some(group.first.verdict)))
                @if group.first.expected { "expected: " }
                (group.title())
                @if all > 1 { " " span.count { (all) " alike" } }
            }
            @for (_, finding) in first { (card(finding, hex)) }
            @if !rest.is_empty() {
                details {
                    summary { (rest.len()) " more" @if all > len { ", and " (all - len) " in report.json alone" } }
                    @for (_, finding) in rest { (card(finding, hex)) }
                }
            } @else if all > len { p.quiet { (all - len) " more in report.json" } }
        }
    }
}

fn card(finding: &Finding, hex: &Hex) -> Markup {
    let Finding { id, model, point, explain, repro, .. } = finding;
    html! {
        div.finding id=(finding_id(finding)) tabindex="-1" {
            p.point { b { (id) } " " (point) " " span.quiet { "model " (model.name()) } }
            @if let (Some(shrunk), Some(token)) = (finding.shrunk(), &finding.shrunk_from) {
                p.shrunk { (shrunk) "; was " code { (token) } }
            }
            pre.explain { (explain) }
            @if let Some(table) = hex.tables.get(id) { (table) }
            div.repro { code { (repro) } button.copy.script-only type="button" { "Copy" } }
        }
    }
}

fn kind_id(index: usize) -> String {
    format!("kind-{}", index + 1)
}

fn finding_id(finding: &Finding) -> String {
    format!("finding-{}", finding.id)
}
