//! States that differ only in what lies in the scratch directory, and what their resume never asks for: one verdict holds
//! for all of them.
//!
//! A resume is shown the same volume. Of the scratch directory it is shown the names that it looks up, or all of them where
//! it reads the list. Where those are the same, and it asks none of the files for more (removing one asks no more), it
//! can't tell the states apart, so it does the same. That is seen for each content of the volume by itself; free space,
//! inode numbers and the directory's own attributes are taken not to matter. Where a command oracle looks into the scratch
//! directory, nothing is merged.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;

use fault_backend::ContentId;
use fault_backend::volume::Volume;
use scenarios::model::{Oracle, Scenario};

use super::explore::Key;
use super::judge::{AskedOf, Judged};
use crate::stage::recorded::{scratch_names, volume_id};

/// A state as far as merging goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Aspect {
    /// Content id of its volume.
    pub volume: ContentId,
    /// Acknowledgements before it, as [`super::explore::Candidate::acks`].
    pub acks: u32,
    /// What lies in its scratch directory, by name, and whether it is a folder.
    pub lying: BTreeMap<OsString, bool>,
}

/// What is known of the contents of a phase's volume.
#[derive(Debug, Default)]
pub struct Merges {
    /// Nothing is merged.
    off: bool,
    /// The judged states of each content that may stand for others.
    proven: HashMap<ContentId, Vec<Proof>>,
    /// Contents that were met.
    met: HashSet<ContentId>,
    /// Some resume did ask for what lay there.
    pub asked: bool,
    /// Some state was judged with another one.
    merged: bool,
    /// Names by which states differ that were judged together.
    differing: BTreeSet<OsString>,
    /// Names that any resume asked for, and whether one asked for all.
    names_asked: BTreeSet<OsString>,
    listed: bool,
}

/// A judged state that stands for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// What tells it apart.
    pub key: Key,
    /// What lay in its scratch directory.
    pub lying: BTreeMap<OsString, bool>,
    /// What its resume asked of that.
    pub asked: AskedOf,
    /// The resume that proves it began with this very volume, so that what crashes of it leave is the same as well.
    pub whole: bool,
}

impl Proof {
    /// Whether its resume would have been told the same with this in the scratch directory.
    pub fn holds_for(&self, aspect: &Aspect) -> bool {
        let lying = &aspect.lying;
        if self.key.1 != aspect.acks {
            return false;
        }
        match self.asked.all {
            true => *lying == self.lying,
            false => self.asked.names.iter().all(|name| lying.get(name) == self.lying.get(name)),
        }
    }
}

impl Aspect {
    /// Of a state with this content id.
    pub fn of(state: &Volume, id: ContentId, acks: u32) -> Self {
        Self { volume: volume_id(state).unwrap_or(id), acks, lying: scratch_names(state) }
    }

    /// That a judged state of this content id, whose resume asked for this, stands for others like it.
    pub fn proof(&self, id: ContentId, asked: AskedOf) -> Proof {
        Proof { key: (id, self.acks), lying: self.lying.clone(), asked, whole: true }
    }
}

impl Merges {
    /// For a scenario's oracles, where states are to be merged at all.
    pub fn of(scenario: &Scenario, wanted: bool) -> Self {
        let looks = |oracle: &Oracle| match oracle {
            Oracle::Command { run, .. } => run.iter().any(|word| word.contains("{scratch}")),
            _ => false,
        };
        Self { off: !wanted || scenario.oracle.iter().any(looks), ..Self::default() }
    }

    /// Notes a content; whether it was met before.
    pub fn meet(&mut self, volume: ContentId) -> bool {
        !self.met.insert(volume) && !self.off
    }

    /// Takes in what became of a state.
    pub fn learn(&mut self, aspect: &Aspect, id: ContentId, judged: &Judged) {
        match &judged.asked {
            Some(asked) => {
                self.names_asked.extend(asked.names.iter().cloned());
                self.listed |= asked.all;
                self.learn_proof(aspect.volume, aspect.proof(id, asked.clone()));
            }
            None => self.asked = true,
        }
    }

    /// Takes in that a state with this volume stands for others.
    pub fn learn_proof(&mut self, volume: ContentId, proof: Proof) {
        self.proven.entry(volume).or_default().push(proof);
    }

    /// Whether nothing is merged.
    pub fn is_off(&self) -> bool {
        self.off
    }

    /// The judged state whose verdict holds for one, if any: the first one. To hold for what crashes of resumes leave as
    /// well, it has to be `whole`.
    pub fn stands_for(&mut self, aspect: &Aspect, whole: bool) -> Option<Key> {
        let proof = self.proof_for(aspect, whole)?;
        let only_in = |a: &BTreeMap<OsString, bool>, b: &BTreeMap<OsString, bool>| -> Vec<OsString> {
            a.iter()
                .filter(|(name, kind)| b.get(*name) != Some(*kind))
                .map(|(name, _)| name.clone())
                .collect()
        };
        let differing = [only_in(&aspect.lying, &proof.lying), only_in(&proof.lying, &aspect.lying)];
        let key = proof.key;
        self.differing.extend(differing.into_iter().flatten());
        self.merged = true;
        Some(key)
    }

    /// The proof that a judged state's verdict holds for one, if there is any yet.
    pub fn proof_for(&self, aspect: &Aspect, whole: bool) -> Option<&Proof> {
        let proofs = self.proven.get(&aspect.volume).filter(|_| !self.off)?;
        proofs.iter().find(|proof| (proof.whole || !whole) && proof.holds_for(aspect))
    }

    /// Whether what was merged can't be told apart further on either. What crashes of a resume leave still has the scratch
    /// files that it was begun with: no resume of the phase may ask for those by which merged states differ.
    pub fn hold_for_resumes(&self) -> bool {
        !self.merged
            || !self.asked
                && self.differing.is_disjoint(&self.names_asked)
                && (self.differing.is_empty() || !self.listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::unread::Overwrites;

    fn lying(names: &[&str]) -> BTreeMap<OsString, bool> {
        names.iter().map(|name| (OsString::from(name), name.ends_with('/'))).collect()
    }

    /// Each row is what lay beside the judged state, what its resume asked (none where it asked for more than names), what
    /// lies beside the other state, and whether one verdict holds for both.
    #[test]
    fn a_verdict_holds_for_what_the_resume_cant_tell_apart() {
        let volume: ContentId = "00000000000000000000000000000001".parse().unwrap();
        let id: ContentId = "00000000000000000000000000000002".parse().unwrap();
        let judged = |asked| Judged {
            sample: crate::chain::Sample {
                content_id: id,
                volume_id: volume,
                gpt: None,
                copies: Default::default(),
                answers: Vec::new(),
            },
            judgement: crate::judge::Judgement::not_measured(String::new()),
            followed: None,
            asked,
            overwrites: Overwrites::default(),
        };
        let some =
            |all, names: &[&str]| Some(AskedOf { all, names: names.iter().map(OsString::from).collect() });
        for (lay, asked, lies, holds) in [
            (&[][..], some(false, &["tmp.a"]), &["tmp.b"][..], true),
            (&[], some(false, &["stage"]), &["stage"], false),
            (&["stage"], some(false, &["stage"]), &["stage"], true),
            (&["stage"], some(false, &["stage"]), &["stage", "tmp.b"], true),
            (&["stage"], some(false, &["stage"]), &[], false),
            (&["stage"], some(true, &["stage"]), &["stage"], true),
            (&["stage"], some(true, &["stage"]), &["stage", "tmp.b"], false),
            (&["stage"], some(false, &[]), &[], true),
            (&["stage"], None, &["stage"], false),
        ] {
            let mut merges = Merges::default();
            assert!(!merges.meet(volume) && merges.meet(volume));
            merges.learn(&Aspect { volume, acks: 1, lying: lying(lay) }, id, &judged(asked.clone()));
            let other = Aspect { volume, acks: 1, lying: lying(lies) };
            let more = Aspect { acks: 2, ..other.clone() };
            assert_eq!(merges.stands_for(&more, true), None, "more was acknowledged");
            assert_eq!(
                merges.stands_for(&other, true),
                holds.then_some((id, 1)),
                "{lay:?} {asked:?} {lies:?}"
            );
            merges.off = true;
            assert_eq!(merges.stands_for(&other, true), None);
            assert!(!merges.meet(volume), "nothing is waited for");
        }
    }
}
