//! The findings of a page, in groups of those that say the same, each with the line that brings it back. Of very many the
//! page shows the first of each group, so that a browser can still open it; `report.json` has them all.

use std::collections::HashMap;

use maud::{Markup, html};

use super::shapes;
use crate::Finding;
use crate::alike::{Group, groups};

/// Findings of one group that are shown.
const MAX_OF_GROUP: usize = 25;
/// Findings that are shown.
const MAX_SHOWN: usize = 500;

/// The findings, and where on the page each is told of.
pub(super) struct Findings<'a> {
    groups: Vec<(Group<'a>, usize)>,
    anchors: Vec<String>,
    /// Place in `anchors` by place of the finding, counted from 1.
    targets: HashMap<usize, u16>,
}

impl<'a> Findings<'a> {
    pub fn of(all: &'a [Finding]) -> Self {
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
        Self { groups: shown, anchors, targets }
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
                @for (index, (group, len)) in self.groups.iter().enumerate() { (of_group(index, group, *len)) }
            }
        }
    }
}

fn of_group(index: usize, group: &Group<'_>, len: usize) -> Markup {
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
            @for (_, finding) in first { (card(finding)) }
            @if !rest.is_empty() {
                details {
                    summary { (rest.len()) " more" @if all > len { ", and " (all - len) " in report.json alone" } }
                    @for (_, finding) in rest { (card(finding)) }
                }
            } @else if all > len { p.quiet { (all - len) " more in report.json" } }
        }
    }
}

fn card(finding: &Finding) -> Markup {
    let Finding { id, model, point, explain, repro, .. } = finding;
    html! {
        div.finding id=(finding_id(finding)) tabindex="-1" {
            p.point { b { (id) } " " (point) " " span.quiet { "model " (model.name()) } }
            pre.explain { (explain) }
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
