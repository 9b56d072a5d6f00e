//! The exit codes of every command, and which one wins where several hold. A caller collects what holds and
//! exits with the worst; nothing else in the project ranks exit codes.

use std::process::ExitCode;

/// What a command's exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// All judged states passed.
    Passed = 0,
    /// There are findings.
    Findings = 1,
    /// Bad usage or scenario.
    Usage = 2,
    /// The baseline itself failed, so nothing was tested.
    Baseline = 3,
    /// A fault did not land, or an oracle could not run.
    NotMeasured = 4,
    /// This machine lacks something that was asked for.
    Lacking = 5,
    /// A signal ended it; what was done is kept.
    Interrupted = 130,
}

/// The codes, those that win first. An interrupted campaign with findings has findings; an interrupted one
/// without says first that it was cut short, since what it left unmeasured follows from that.
const PRECEDENCE: [Exit; 7] = [
    Exit::Usage,
    Exit::Lacking,
    Exit::Baseline,
    Exit::Findings,
    Exit::Interrupted,
    Exit::NotMeasured,
    Exit::Passed,
];

impl Exit {
    /// The one of `all` that wins; [`Exit::Passed`] where there is none.
    pub fn worst(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().min_by_key(|exit| exit.rank()).unwrap_or(Self::Passed)
    }

    /// The number that the process exits with.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What `code` says, where it is one of ours.
    pub fn from_code(code: u8) -> Option<Self> {
        PRECEDENCE.into_iter().find(|exit| exit.code() == code)
    }

    fn rank(self) -> usize {
        PRECEDENCE.iter().position(|exit| *exit == self).unwrap_or(PRECEDENCE.len())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each code beats every one after it, in whatever order they are given.
    #[test]
    fn where_several_hold_the_documented_order_decides() {
        let order = [2, 5, 3, 1, 130, 4, 0].map(|code| Exit::from_code(code).unwrap());
        for (i, winner) in order.into_iter().enumerate() {
            for loser in &order[i..] {
                assert_eq!(Exit::worst([winner, *loser]), winner);
                assert_eq!(Exit::worst([*loser, winner]), winner);
            }
        }
        assert_eq!(Exit::worst([]), Exit::Passed);
        assert_eq!(Exit::from_code(6), None);
    }
}
