//! What a plan's actions add up to for one op. Several faults may meet at one: signals and delays go together with
//! anything; of the rest a kill wins, since a run that should have been cut must be.

use std::time::Duration;

use nix::errno::Errno;

use crate::fault::Action;

/// What happens around an op, and to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Signals that the tool gets while the op has happened and is not answered yet.
    pub signals: Vec<i32>,
    /// Wait before, and again after it.
    pub delay: Duration,
    /// What becomes of it.
    pub end: End,
}

/// What becomes of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It happens.
    Complete,
    /// Only so many bytes of the write happen.
    Short(u64),
    /// It succeeds and makes nothing durable.
    DropFlush,
    /// It answers an error and does not happen.
    Fail(Errno),
    /// It happens, and the run is cut.
    KillAfter,
    /// So many sectors of it happen, and the run is cut.
    KillTorn(u32),
    /// It does not happen, and the run is cut.
    KillBefore,
}

impl End {
    /// Whether the run is cut.
    pub(super) fn kills(self) -> bool {
        matches!(self, Self::KillAfter | Self::KillTorn(_) | Self::KillBefore)
    }

    /// Which of two holds: the later in the order of the variants.
    fn rank(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Short(_) => 1,
            Self::DropFlush => 2,
            Self::Fail(_) => 3,
            Self::KillAfter => 4,
            Self::KillTorn(_) => 5,
            Self::KillBefore => 6,
        }
    }
}

impl Verdict {
    /// Adds up the actions of a plan at one op.
    pub(super) fn of(actions: &[Action]) -> Self {
        let mut verdict = Self { signals: Vec::new(), delay: Duration::ZERO, end: End::Complete };
        for action in actions {
            let end = match *action {
                Action::Signal(signal) => {
                    verdict.signals.push(signal as i32);
                    continue;
                }
                Action::Delay(ms) => {
                    verdict.delay = verdict.delay.saturating_add(Duration::from_millis(ms));
                    continue;
                }
                Action::KillBefore => End::KillBefore,
                Action::KillAfter => End::KillAfter,
                Action::KillTorn(sectors) => End::KillTorn(sectors),
                Action::Fail(failure) => End::Fail(failure.errno()),
                // A write that says it wrote nothing makes tools try for ever.
                Action::Short(bytes) => End::Short(u64::from(bytes.max(1))),
                Action::DropFlush => End::DropFlush,
            };
            if end.rank() > verdict.end.rank() {
                verdict.end = end;
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Failure;

    #[test]
    fn a_kill_wins_and_signals_and_delays_add_up() {
        let fail = Action::Fail(Failure::Io);
        for (actions, end) in [
            (vec![], End::Complete),
            (vec![Action::Short(5), fail], End::Fail(Errno::EIO)),
            (vec![Action::KillAfter, fail], End::KillAfter),
            (vec![Action::KillTorn(1), Action::KillAfter], End::KillTorn(1)),
            (vec![Action::KillAfter, Action::KillBefore], End::KillBefore),
            (vec![Action::Short(0)], End::Short(1)),
        ] {
            assert_eq!(Verdict::of(&actions).end, end, "{actions:?}");
        }
        let verdict = Verdict::of(&[Action::Delay(2), Action::KillAfter, Action::Delay(3)]);
        assert_eq!((verdict.delay, verdict.end), (Duration::from_millis(5), End::KillAfter));
    }
}
