//! What goes wrong, and when: faults, and a plan of them, which prints to a short text and parses back from it.
//!
//! | text | fault |
//! |---|---|
//! | `b7` | kill before op 7 |
//! | `a7` | kill after op 7; `a0` kills before the first op |
//! | `t7.3` | kill inside op 7, after 3 of its 512-byte sectors |
//! | `dgpt.5000` | wait 5000 ms before and after each write that touches the GPT |

use std::fmt;
use std::str::FromStr;

use crate::region::Region;

/// Sector size that torn writes are counted in, whatever the disk's own.
pub const TORN_SECTOR_BYTES: usize = 512;

/// One fault: a trigger and an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// At the op with this number (ops are counted from 1 in each run).
    AtOp(u64, Action),
    /// At each write that touches a region: wait so many milliseconds before and again after it.
    Delay(Region, u64),
}

/// How a run is cut at an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The op does not happen.
    KillBefore,
    /// The op happens whole.
    KillAfter,
    /// So many 512-byte sectors of the write happen, counted from its first byte.
    KillTorn(u32),
}

/// Faults that hold together in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FaultPlan(pub Vec<Fault>);

/// A text that is not a fault or a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a fault: expected `b7`, `a7`, `t7.3` or `dgpt.5000`")]
pub struct PlanError(String);

impl FaultPlan {
    /// The action at an op, if the plan has one there.
    pub fn at_op(&self, number: u64) -> Option<Action> {
        self.0.iter().find_map(|fault| match fault {
            Fault::AtOp(at, action) if *at == number => Some(*action),
            _ => None,
        })
    }

    /// Whether the run is cut before its first op.
    pub fn cuts_at_start(&self) -> bool {
        self.at_op(0).is_some()
    }

    /// The delays of the plan, as region and milliseconds.
    pub fn delays(&self) -> impl Iterator<Item = (Region, u64)> + '_ {
        self.0.iter().filter_map(|fault| match fault {
            Fault::Delay(region, ms) => Some((*region, *ms)),
            Fault::AtOp(..) => None,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtOp(n, Action::KillBefore) => write!(f, "b{n}"),
            Self::AtOp(n, Action::KillAfter) => write!(f, "a{n}"),
            Self::AtOp(n, Action::KillTorn(sectors)) => write!(f, "t{n}.{sectors}"),
            Self::Delay(region, ms) => write!(f, "d{}.{ms}", region.name()),
        }
    }
}

impl FromStr for Fault {
    type Err = PlanError;
    fn from_str(text: &str) -> Result<Self, PlanError> {
        let wrong = || PlanError(text.to_owned());
        let number = |digits: &str| -> Result<u64, PlanError> {
            // `u64::from_str` takes a sign; a fault has one spelling only.
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(wrong());
            }
            digits.parse().map_err(|_| wrong())
        };
        let fault = match text.split_at_checked(1).ok_or_else(wrong)? {
            ("b", n) => Self::AtOp(number(n)?, Action::KillBefore),
            ("a", n) => Self::AtOp(number(n)?, Action::KillAfter),
            ("t", rest) => {
                let (n, sectors) = rest.split_once('.').ok_or_else(wrong)?;
                let sectors = u32::try_from(number(sectors)?).map_err(|_| wrong())?;
                Self::AtOp(number(n)?, Action::KillTorn(sectors))
            }
            ("d", rest) => match rest.split_once('.').ok_or_else(wrong)? {
                ("gpt", ms) => Self::Delay(Region::Gpt, number(ms)?),
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        match fault {
            // Only "after op 0", the start, exists before the first op.
            Self::AtOp(0, Action::KillBefore | Action::KillTorn(_)) => Err(wrong()),
            fault => Ok(fault),
        }
    }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for FaultPlan {
    type Err = PlanError;
    fn from_str(text: &str) -> Result<Self, PlanError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(Fault::from_str).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_fault() -> impl Strategy<Value = Fault> {
        prop_oneof![
            (1..u64::MAX).prop_map(|n| Fault::AtOp(n, Action::KillBefore)),
            any::<u64>().prop_map(|n| Fault::AtOp(n, Action::KillAfter)),
            (1..u64::MAX, any::<u32>()).prop_map(|(n, k)| Fault::AtOp(n, Action::KillTorn(k))),
            any::<u64>().prop_map(|ms| Fault::Delay(Region::Gpt, ms)),
        ]
    }

    proptest! {
        #[test]
        fn a_plan_parses_back_from_its_text(faults in prop::collection::vec(any_fault(), 0..5)) {
            let plan = FaultPlan(faults);
            prop_assert_eq!(plan.to_string().parse(), Ok(plan));
        }

        #[test]
        fn any_text_is_a_plan_with_that_text_or_an_error(text in "[abtd0-9gpt.,+ -]{0,12}") {
            if let Ok(plan) = text.parse::<FaultPlan>() {
                let again: FaultPlan = plan.to_string().parse().unwrap();
                prop_assert_eq!(again, plan);
            }
        }
    }

    #[test]
    fn texts_that_are_no_faults_are_refused() {
        for text in ["b", "b0", "t0.1", "t5", "t5.", "a-1", "a+1", "x7", "dfat.5", "dgpt", "a1,", ",a1", "é7"]
        {
            assert!(text.parse::<FaultPlan>().is_err(), "{text}");
        }
    }
}
