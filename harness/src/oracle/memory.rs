//! Remembered answers by content: most crash states heal to the same bytes, and a checker need not be started for
//! bytes that it has judged.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;

use fault_backend::ContentId;

use super::Outcome;

/// Answers kept; the oldest go first.
const KEPT: usize = 4096;

/// What was asked: number of the oracle, of its partition, where the partition starts, and its content.
pub(super) type Question = (usize, usize, u64, ContentId);

/// The answers, and the content ids of the baseline's partitions.
#[derive(Debug, Default)]
pub(super) struct Memory {
    answers: HashMap<Question, Outcome>,
    order: VecDeque<Question>,
    /// Content ids of extents of the baseline's files.
    pub baseline_ids: HashMap<(PathBuf, Range<u64>), ContentId>,
}

impl Memory {
    /// The answer to a question that was asked before.
    pub fn recall(&self, question: &Question) -> Option<Outcome> {
        self.answers.get(question).cloned()
    }

    /// Keeps an answer, but for those that another try may change.
    pub fn keep(&mut self, question: Question, answer: &Outcome) {
        if matches!(answer, Outcome::NotMeasured { .. }) {
            return;
        }
        if self.answers.insert(question, answer.clone()).is_none() {
            self.order.push_back(question);
        }
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }
}
