//! Remembered answers by content: most crash states heal to the same bytes, and what was judged once need not be judged
//! again, neither as a whole nor partition by partition.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;

use fault_backend::ContentId;

use super::Outcome;
use super::subject::ExtentId;

/// Answers kept; the oldest go first.
const KEPT: usize = 16_384;

/// What was asked; `number` is that of the oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// About a whole volume.
    Volume { number: usize, id: ContentId },
    /// Of a command, about a whole state and what it was told besides.
    Command { number: usize, id: ContentId, told: u128 },
    /// About one of the oracle's places, where it is, and what is there.
    Extent { number: usize, index: usize, start: u64, end: u64, id: ExtentId },
}

/// The answers, and the content ids of the baseline's partitions.
#[derive(Debug, Default)]
pub(super) struct Memory {
    answers: HashMap<Question, Outcome>,
    order: VecDeque<Question>,
    /// Content ids of extents of the baseline's files on the host.
    pub baseline_ids: HashMap<(PathBuf, Range<u64>), ContentId>,
    /// SHA-256 of images in memory.
    pub sha256: HashMap<ContentId, [u8; 32]>,
}

impl Memory {
    /// The answer to a question that was asked before.
    pub fn recall(&self, question: &Question) -> Option<Outcome> {
        self.answers.get(question).cloned()
    }

    /// Keeps an answer, but for those that another try may change.
    pub fn keep(&mut self, question: Question, answer: &Outcome) {
        if matches!(answer, Outcome::NotMeasured { .. } | Outcome::Hung { .. }) {
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
