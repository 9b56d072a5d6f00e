//! What was looked at of a run, in numbers and in words, so that "no failure found" is not taken for more than it is.

use std::fmt;

use super::model::Power;

/// What was looked at of one epoch: the ops between two completed flushes.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochClaim {
    /// Number of the epoch, from 1.
    pub epoch: u32,
    /// Ops in it that change the volume.
    pub ops: u64,
    /// How much of it.
    pub coverage: Coverage,
}

/// How much of an epoch was looked at. A point is a cut with a set of missing ops; several may be one state. Torn
/// writes come on top, and what hangs on a missing op is missing too.
#[derive(Clone, Debug, PartialEq)]
pub enum Coverage {
    /// Every set at every cut.
    Exhaustive {
        /// Most ops that are volatile at one cut.
        volatile: u64,
        /// Sum over the cuts of all sets; where ops hang on each other, fewer of them are possible.
        points: u64,
    },
    /// What is enumerated of it, besides every set at the cuts with few volatile ops.
    Bounded {
        /// Most ops that are volatile at one cut.
        volatile: u64,
        /// Points at which at most one op is missing.
        less_one: u64,
        /// Points at which at most `max_drops` of the last `window` ops are missing.
        less_several: u64,
        /// See [`super::PowerOptions::max_drops`].
        max_drops: u32,
        /// See [`super::PowerOptions::window`].
        window: u32,
        /// See [`super::PowerOptions::samples`].
        samples: u32,
    },
}

impl Power<'_> {
    /// What [`Power::states`] looks at, epoch by epoch; those in which nothing changes are left out.
    pub fn claims(&self) -> Vec<EpochClaim> {
        let epochs = self.epochs();
        let changing = (1..=self.log.len()).filter(|cut| self.effect(*cut).is_some());
        let cuts: Vec<(u32, u64)> =
            changing.map(|cut| (epochs[cut as usize], self.volatile(cut).len() as u64)).collect();
        let claim = |cuts: &[(u32, u64)]| EpochClaim {
            epoch: cuts[0].0 + 1,
            ops: cuts.len() as u64,
            coverage: self.coverage(&cuts.iter().map(|(_, volatile)| *volatile).collect::<Vec<_>>()),
        };
        cuts.chunk_by(|a, b| a.0 == b.0).map(claim).collect()
    }

    fn coverage(&self, cuts: &[u64]) -> Coverage {
        let volatile = cuts.iter().copied().max().unwrap_or(0);
        if self.is_exhaustive(volatile as usize) {
            // The cut before the first op, at which nothing is volatile, is one more.
            let points = 1 + cuts.iter().map(|volatile| 1 << volatile).sum::<u64>();
            return Coverage::Exhaustive { volatile, points };
        }
        let (window, max_drops) = (self.options.window() as u64, self.options.max_drops);
        let several = |volatile: u64| -> u64 {
            (0..=u64::from(max_drops)).map(|size| choices(volatile.min(window), size)).sum()
        };
        Coverage::Bounded {
            volatile,
            less_one: 1 + cuts.iter().map(|volatile| volatile + 1).sum::<u64>(),
            less_several: 1 + cuts.iter().copied().map(several).sum::<u64>(),
            max_drops,
            window: window as u32,
            samples: self.options.samples,
        }
    }
}

/// Ways to take `size` of `count`.
fn choices(count: u64, size: u64) -> u64 {
    if size > count {
        return 0;
    }
    (0..size).fold(1, |ways: u64, i| ways.saturating_mul(count - i) / (i + 1))
}

impl fmt::Display for EpochClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} ({} ops): {}", self.epoch, grouped(self.ops), self.coverage)
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.looked_at())?;
        self.bound().map_or(Ok(()), |bound| write!(f, ": with no failure, {bound}"))
    }
}

impl Coverage {
    /// What was looked at, in words.
    pub fn looked_at(&self) -> String {
        let (max_drops, window, samples) = match self {
            Self::Exhaustive { points, .. } => {
                return format!("every subset at every cut ({} points)", grouped(*points));
            }
            Self::Bounded { max_drops, window, samples, .. } => (max_drops, window, samples),
        };
        let several = match max_drops {
            0 | 1 => String::new(),
            drops => format!("less {} within {window}; ", word(*drops)),
        };
        let rest = match samples {
            0 => "nothing of the rest".to_owned(),
            samples => format!("{} samples of the rest", grouped(u64::from(*samples))),
        };
        format!("every cut less one; {several}{rest}")
    }

    /// What no failure among the samples says of the rest, in words; none where there are no samples.
    pub fn bound(&self) -> Option<String> {
        match self {
            Self::Bounded { samples, .. } if *samples > 0 => {
                // The rule of three: if n draws all pass, the share that fails is below 3/n at 95 %.
                let share = percent(300.0 / f64::from(*samples));
                Some(format!("at most {share} % of what was sampled from fails, at 95 %"))
            }
            _ => None,
        }
    }
}

/// Two significant digits at most, rounded up: a bound must not come out lower than it is.
fn percent(value: f64) -> String {
    let value = value.min(100.0);
    let scale = 10f64.powi(1 - value.log10().floor() as i32);
    // The margin keeps a value that is exact but for its binary form from being rounded up.
    let rounded = (value * scale - 1e-6).ceil() / scale;
    format!("{rounded}")
}

fn word(count: u32) -> String {
    match count {
        2 => "two".to_owned(),
        3 => "three".to_owned(),
        4 => "four".to_owned(),
        _ => count.to_string(),
    }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
