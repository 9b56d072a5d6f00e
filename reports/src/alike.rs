//! Findings that say the same: of a sweep they are as many as its crash points. Reports show them in groups, the worst
//! first.

use std::cmp::Reverse;

use crate::Finding;
use crate::status::kind;

/// Findings alike in phase, verdict, oracle and step, and all expected or none; each with its place in the order of
/// appearance, from 0. There is always a first one.
pub(crate) struct Group<'a> {
    pub first: &'a Finding,
    pub members: Vec<(usize, &'a Finding)>,
}

/// The findings in groups: unexpected ones first, then by how bad they are, then in order of appearance.
pub(crate) fn groups(all: &[Finding]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (place, finding) in all.iter().enumerate() {
        let like = |group: &Group<'_>| {
            (kind(group.first), group.first.expected) == (kind(finding), finding.expected)
        };
        match groups.iter_mut().find(|group| like(group)) {
            Some(group) => group.members.push((place, finding)),
            None => groups.push(Group { first: finding, members: vec![(place, finding)] }),
        }
    }
    groups.sort_by_key(|group| (group.first.expected, Reverse(group.first.verdict.badness())));
    groups
}

impl Group<'_> {
    /// What its findings have in common: `corrupt in grow at updatePartitions (gpt)`.
    pub fn title(&self) -> String {
        let Finding { verdict, phase, step, oracle, .. } = self.first;
        format!("{} in {phase} at {step} ({oracle})", verdict.name())
    }
}
