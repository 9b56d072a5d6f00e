//! States that are not judged because it is proven that they recover: each is looked at, told of, and counted.

use fault_backend::ContentId;
use reports::event::AT_END;
use reports::{Event, Overwritten, Verdict};

use super::explore::{Candidate, Explorer, Follow};
use super::judge::{Judged, Looked, look_at};
use super::merge::Proof;
use super::unread::JUDGED_ANYWAY;
use crate::chain::Sample;
use crate::error::Error;
use crate::workers::Ticket;

impl Explorer<'_> {
    /// What proves that a state recovers: none for one that is to be judged all the same. What crashes of its resume
    /// leave is not proven by anything.
    pub(super) fn proof_for(&mut self, candidate: &Candidate, follow: Follow) -> Option<Proof> {
        let wanted = follow == Follow::Nothing
            && !self.merges.is_off()
            && candidate.label.depth == 0
            && candidate.acks != AT_END
            && !is_judged_anyway(candidate.id);
        if wanted { self.unread.proof_for(&candidate.root, &candidate.aspect) } else { None }
    }

    /// Has a worker look at a state.
    pub(super) fn look_at(&self, candidate: &Candidate) -> Result<Ticket<Looked>, Error> {
        let (index, source) = (self.course.index, candidate.source(&self.course.known.acks)?);
        Ok(self.workers.submit(move |prepared| look_at(prepared, index, source)))
    }

    /// Tells of a state that was looked at, unless that has shown that it must be judged.
    pub(super) fn spared(
        &mut self,
        candidate: Candidate,
        follow: Follow,
        ticket: Ticket<Looked>,
    ) -> Result<(), Error> {
        let looked = ticket.wait()?;
        if looked.holds
            && let Some(proof) = self.proof_for(&candidate, follow)
        {
            return self.tell_spared(candidate, &looked.sample, proof);
        }
        let verdict = self.ask_for(&candidate, follow)?;
        self.judged(candidate, follow, verdict)
    }

    /// Tells of a state that need not be judged.
    pub(super) fn tell_spared(
        &mut self,
        candidate: Candidate,
        sample: &Sample,
        proof: Proof,
    ) -> Result<(), Error> {
        let mut point = self.first_point(&candidate, sample);
        (point.unread, point.verdict) = (true, Some(Verdict::Recovered));
        let own = Proof { whole: false, ..candidate.aspect.proof(candidate.id, proof.asked) };
        self.merges.learn_proof(candidate.aspect.volume, own);
        Ok(self.stream.emit(&Event::Point(point))?)
    }

    /// Takes in what the resume of a judged state overwrote, and answers the number that events give it.
    pub(super) fn learn_overwrites(
        &mut self,
        candidate: &Candidate,
        judged: &Judged,
    ) -> Result<Option<u64>, Error> {
        let recovered = judged.judgement.verdict == Verdict::Recovered && candidate.label.depth == 0;
        let Some(asked) = judged.asked.clone().filter(|_| recovered && !self.merges.is_off()) else {
            return Ok(None);
        };
        let proof = candidate.aspect.proof(candidate.id, asked);
        let Some(learnt) = self.unread.learn(&candidate.root, &judged.overwrites, proof) else {
            return Ok(None);
        };
        if learnt.new {
            let ranges = |ranges: &Vec<std::ops::Range<u64>>| {
                ranges.iter().map(|range| (range.start, range.end - range.start)).collect()
            };
            let files = judged.overwrites.0.iter().map(|(file, list)| (file.clone(), ranges(list))).collect();
            let (phase, number) = (self.place.phase.clone(), learnt.number);
            self.stream.emit(&Event::Overwritten(Overwritten { phase, number, files }))?;
        }
        Ok(Some(learnt.number))
    }
}

/// Whether a state is judged although it need not be: the same ones in every campaign.
fn is_judged_anyway(id: ContentId) -> bool {
    id.digest().is_multiple_of(JUDGED_ANYWAY)
}
