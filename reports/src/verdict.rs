//! What every report says of a verdict: its name, whether it counts as passed, and how bad it is. The order of
//! badness decides which verdict a state keeps that was judged more than once, and which finding is shown first.

use crate::Verdict;

impl Verdict {
    /// All verdicts, in the order in which reports list them.
    pub const ALL: [Self; 8] = [
        Self::Recovered,
        Self::RolledBack,
        Self::Refused,
        Self::Crashed,
        Self::Diverged,
        Self::Corrupt,
        Self::Hung,
        Self::NotMeasured,
    ];

    /// The name that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::RolledBack => "rolled-back",
            Self::Refused => "refused",
            Self::Crashed => "crashed",
            Self::Diverged => "diverged",
            Self::Corrupt => "corrupt",
            Self::Hung => "hung",
            Self::NotMeasured => "not-measured",
        }
    }

    /// Whether it counts as passed.
    pub fn is_pass(self) -> bool {
        matches!(self, Self::Recovered | Self::RolledBack)
    }

    /// How bad it is, for sorting: 0 for a pass, corruption the highest.
    pub fn badness(self) -> u8 {
        match self {
            Self::Recovered => 0,
            Self::RolledBack => 1,
            Self::NotMeasured => 2,
            Self::Refused => 3,
            Self::Diverged => 4,
            Self::Hung => 5,
            Self::Crashed => 6,
            Self::Corrupt => 7,
        }
    }
}
