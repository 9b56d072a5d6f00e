//! The decision by figures alone: how much must be free for something to start. It is pure, and never stricter as free
//! space rises.

use serde::Serialize;

/// 1 GiB, below which nothing starts.
const REJECT_BELOW_BYTES: u64 = 1 << 30;
/// 5 GiB, below which there is a warning.
const WARN_BELOW_BYTES: u64 = 5 << 30;
/// Share of the whole, in percent, below which there is a warning.
const WARN_BELOW_PERCENT: u8 = 10;

/// What the guard says, from mild to strict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// There is room.
    Ok,
    /// It may start, but room is short.
    Warn,
    /// It must not start.
    Reject,
}

/// How much must be free. Exactly at a floor is the milder verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floors {
    /// Below so many free bytes: reject.
    pub reject_below_bytes: u64,
    /// Below so many free bytes: warn.
    pub warn_below_bytes: u64,
    /// Below this share of the whole, in percent: warn. It never rejects.
    pub warn_below_percent: u8,
    /// Bytes that what starts is going to take, which have to be free above every floor.
    pub need_bytes: u64,
}

impl Default for Floors {
    fn default() -> Self {
        Self {
            reject_below_bytes: REJECT_BELOW_BYTES,
            warn_below_bytes: WARN_BELOW_BYTES,
            warn_below_percent: WARN_BELOW_PERCENT,
            need_bytes: 0,
        }
    }
}

/// What so much free space of so much in all means. A total of 0 counts as 100 % free.
pub fn classify(free_bytes: u64, total_bytes: u64, floors: &Floors) -> Verdict {
    let below = |floor_bytes: u64| free_bytes < floor_bytes.saturating_add(floors.need_bytes);
    let left = u128::from(free_bytes.saturating_sub(floors.need_bytes));
    let short_share = left * 100 < u128::from(floors.warn_below_percent) * u128::from(total_bytes);
    if below(floors.reject_below_bytes) {
        Verdict::Reject
    } else if below(floors.warn_below_bytes) || short_share {
        Verdict::Warn
    } else {
        Verdict::Ok
    }
}

#[cfg(test)]
mod tests {
    //! The boundaries one by one, and the order as a property of any figures.

    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn exactly_at_a_floor_is_the_milder_verdict() {
        let floors = Floors::default();
        let huge = 1000 * GIB;
        for (free, total, wanted) in [
            (0, 10 * GIB, Verdict::Reject),
            (GIB - 1, 2 * GIB, Verdict::Reject),
            (GIB, 2 * GIB, Verdict::Warn),
            (5 * GIB - 1, 20 * GIB, Verdict::Warn),
            (5 * GIB, 20 * GIB, Verdict::Ok),
            // The share alone, which warns and never rejects.
            (100 * GIB - 1, huge, Verdict::Warn),
            (100 * GIB, huge, Verdict::Ok),
            (u64::MAX, u64::MAX, Verdict::Ok),
            (GIB, u64::MAX, Verdict::Warn),
        ] {
            assert_eq!(classify(free, total, &floors), wanted, "{free} of {total}");
        }
    }

    #[test]
    fn a_total_of_0_counts_as_all_free_but_the_floors_in_bytes_hold() {
        assert_eq!(classify(5 * GIB, 0, &Floors::default()), Verdict::Ok);
        assert_eq!(classify(0, 0, &Floors::default()), Verdict::Reject);
        let none = Floors { reject_below_bytes: 0, warn_below_bytes: 0, ..Floors::default() };
        assert_eq!(classify(0, 0, &none), Verdict::Ok);
    }

    #[test]
    fn what_is_needed_comes_on_top_of_every_floor() {
        let floors = Floors { need_bytes: 3 * GIB, ..Floors::default() };
        for (free, wanted) in [
            (4 * GIB - 1, Verdict::Reject),
            (4 * GIB, Verdict::Warn),
            (8 * GIB - 1, Verdict::Warn),
            (8 * GIB, Verdict::Ok),
        ] {
            assert_eq!(classify(free, 20 * GIB, &floors), wanted, "{free}");
        }
        // 13 of 100 GiB are free, and of those 10 are left afterwards.
        assert_eq!(classify(13 * GIB, 100 * GIB, &floors), Verdict::Ok);
        assert_eq!(classify(13 * GIB - 1, 100 * GIB, &floors), Verdict::Warn);
    }

    fn any_floors() -> impl Strategy<Value = Floors> {
        (any::<u64>(), any::<u64>(), any::<u8>(), any::<u64>()).prop_map(|(reject, warn, percent, need)| {
            Floors {
                reject_below_bytes: reject,
                warn_below_bytes: warn,
                warn_below_percent: percent,
                need_bytes: need,
            }
        })
    }

    proptest! {
        #[test]
        fn more_free_space_is_never_judged_more_strictly(
            floors in any_floors(), total in any::<u64>(), a in any::<u64>(), b in any::<u64>(),
        ) {
            let (less, more) = (a.min(b), a.max(b));
            prop_assert!(classify(more, total, &floors) <= classify(less, total, &floors));
        }

        #[test]
        fn more_need_is_never_judged_more_mildly(
            floors in any_floors(), free in any::<u64>(), total in any::<u64>(), more in any::<u64>(),
        ) {
            let needier = Floors { need_bytes: floors.need_bytes.saturating_add(more), ..floors };
            prop_assert!(classify(free, total, &needier) >= classify(free, total, &floors));
        }

        #[test]
        fn the_share_alone_never_rejects(
            percent in any::<u8>(), free in any::<u64>(), total in any::<u64>(),
        ) {
            let floors = Floors {
                reject_below_bytes: 0, warn_below_bytes: 0, warn_below_percent: percent, need_bytes: 0,
            };
            prop_assert!(classify(free, total, &floors) <= Verdict::Warn);
        }
    }
}
