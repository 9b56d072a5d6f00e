//! The findings of a summary: one of each kind, with how many there are, and the line that reproduces it.

use std::cmp::Reverse;

use console::{Style, measure_text_width};

use super::Screen;
use crate::Finding;
use crate::status::{kind, one_line};

/// Kinds of findings shown, where there is room.
const MAX_KINDS: usize = 5;

/// Lines of a finding's story, behind the one of what the oracles said.
const MAX_STORY_LINES: usize = 3;

/// Findings alike in what [`kind`] tells, all expected or none: the first, and how many there are.
struct Group<'a> {
    first: &'a Finding,
    len: usize,
}

impl Screen<'_> {
    /// The worst kinds of findings, unexpected ones first: as many as `room` lines hold, but always one.
    pub fn findings(&self, all: &[Finding], room: usize) -> Vec<String> {
        let mut worst = groups(all);
        worst.sort_by_key(|group| (group.first.expected, Reverse(group.first.verdict.badness())));
        let mut lines = Vec::new();
        let (mut shown, mut kinds) = (0, 0);
        for group in worst.iter().take(MAX_KINDS) {
            let used = self.height(&lines);
            let next = self.group(group, room.saturating_sub(used));
            // One line is kept for the blank one before, one for what was left out.
            if kinds > 0 && self.height(&lines) + self.height(&next) + 2 > room {
                break;
            }
            lines.extend(next);
            shown += group.len;
            kinds += 1;
        }
        if kinds < worst.len() {
            lines.push(format!("and {} more in report.json", all.len() - shown));
        }
        if !lines.is_empty() {
            lines.insert(0, String::new());
        }
        lines
    }

    /// One kind, with a story where there is one and `room` for it: a line is kept for the blank one before, one for what
    /// was left out.
    fn group(&self, Group { first, len }: &Group<'_>, room: usize) -> Vec<String> {
        let Finding { id, verdict, phase, step, point, oracle, explain, repro, .. } = first;
        let more = if *len > 1 { format!(" and {} more:", len - 1) } else { String::new() };
        let (style, expected) = match first.expected {
            true => (Style::new().yellow(), " expected:"),
            false => (Style::new().red().bold(), ""),
        };
        let head =
            format!("{id}{more}{expected} {} in {phase} at {step}, {point} ({oracle})", verdict.name());
        let mut explain = explain.lines();
        let said = explain.next().unwrap_or_default();
        let mut lines = vec![
            self.paint(style, &self.cut(&one_line(&head))),
            self.cut(&format!("   {}", one_line(said))),
            format!("   {}", one_line(repro)),
        ];
        if let Some(shrunk) = first.shrunk()
            && self.height(&lines) + 2 < room
        {
            lines.insert(2, self.cut(&format!("   {}", one_line(&shrunk))));
        }
        if let Some(story) = explain.next() {
            let free = room.saturating_sub(self.height(&lines) + 2);
            let story = self.story(&one_line(story), free.min(MAX_STORY_LINES));
            lines.splice(2..2, story);
        }
        lines
    }

    /// A sentence over at most so many lines, broken between words; the last one is cut.
    fn story(&self, text: &str, max_lines: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            let is_last = lines.len() == max_lines;
            match lines.last_mut() {
                Some(line) if is_last || width_with(line, word) <= self.width => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(format!("   {word}")),
            }
        }
        lines.truncate(max_lines);
        lines.iter().map(|line| self.cut(line)).collect()
    }
}

/// Columns of a line with one more word.
fn width_with(line: &str, word: &str) -> usize {
    measure_text_width(line) + 1 + measure_text_width(word)
}

/// The findings by kind, in order of appearance.
fn groups(all: &[Finding]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for finding in all {
        let like = |first: &Finding| (kind(first), first.expected) == (kind(finding), finding.expected);
        match groups.iter_mut().find(|group| like(group.first)) {
            Some(group) => group.len += 1,
            None => groups.push(Group { first: finding, len: 1 }),
        }
    }
    groups
}
