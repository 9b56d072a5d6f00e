//! Where random kills fall: the seed gives fractions, and the measured phase gives the times that they stand for.
//!
//! A phase's window is made of its steps, each with a weight. Time alone would spend nearly all kills on the tool's
//! checks, which write nothing, so a step weighs by its share of the time, by its share of the ops, and a little for
//! being there at all. A fraction of the window is a step and a fraction of its duration.

use std::ops::RangeInclusive;
use std::time::Duration;

use rand::RngExt;

use crate::process::{Aim, Anchor, Mark};
use crate::seeds;

/// The kills of one phase in one iteration, as drawn: nothing here depends on a clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The kills in order.
    pub kills: Vec<DrawnKill>,
}

/// One kill as drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DrawnKill {
    /// Fraction of the phase's window, in `0.0..1.0`.
    pub fraction: f64,
    /// Whether the scratch directory is wiped after it, where the scenario leaves that open.
    pub wipe: bool,
}

/// Draws the kills of a phase. `again` counts the chains of the same phase, when a kill came too late.
pub fn draw(seed: u64, iteration: u64, phase: usize, kills: RangeInclusive<u32>) -> Drawn {
    let mut rng = seeds::stream(seed, "kills", &[iteration, phase as u64]);
    let count = rng.random_range(kills);
    Drawn {
        kills: (0..count)
            .map(|_| DrawnKill { fraction: rng.random_range(0.0..1.0), wipe: rng.random_bool(0.5) })
            .collect(),
    }
}

/// A kill that is made up for one that came too late.
pub fn redraw(seed: u64, iteration: u64, phase: usize, attempt: u32) -> DrawnKill {
    let mut rng = seeds::stream(seed, "late kills", &[iteration, phase as u64, u64::from(attempt)]);
    DrawnKill { fraction: rng.random_range(0.0..1.0), wipe: rng.random_bool(0.5) }
}

/// One step of a measured run.
#[derive(Clone, Debug, PartialEq)]
struct Segment {
    anchor: Anchor,
    duration: Duration,
    weight: f64,
}

/// The window of a phase: its steps with their durations and weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    segments: Vec<Segment>,
}

/// What was measured of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepProfile {
    /// The step; none before the first mark.
    pub name: Option<String>,
    /// Time from its mark to the next.
    pub duration: Duration,
    /// Ops that began in it.
    pub ops: u64,
    /// Time by which it becomes longer where the kills slow it down.
    pub delay: Duration,
}

/// Shares of the whole window: by duration, by ops, and evenly over the steps that write.
const BY_TIME: f64 = 0.15;
const BY_OPS: f64 = 0.5;
const EVENLY: f64 = 0.35;

impl Window {
    /// A window over the steps of a run, of which there is at least one.
    pub fn new(steps: &[StepProfile]) -> Self {
        let time: f64 = steps.iter().map(|step| step.duration.as_secs_f64()).sum();
        let ops: u64 = steps.iter().map(|step| step.ops).sum();
        let writing = steps.iter().filter(|step| step.ops > 0).count();
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let segments = steps
            .iter()
            .map(|step| Segment {
                anchor: step.name.clone().map_or(Anchor::Start, Anchor::Step),
                duration: step.duration + step.delay,
                weight: BY_TIME * share(step.duration.as_secs_f64(), time)
                    + BY_OPS * share(step.ops as f64, ops as f64)
                    + if step.ops > 0 { EVENLY / writing as f64 } else { 0.0 },
            })
            .collect();
        Self { segments }
    }

    /// The time that a fraction of the window stands for. `scale` shortens every duration, for a resume that is
    /// known to be quicker than the run that was measured.
    pub fn aim(&self, fraction: f64, scale: f64) -> Aim {
        let total: f64 = self.segments.iter().map(|segment| segment.weight).sum();
        let mut left = fraction * total;
        for segment in &self.segments {
            if left < segment.weight {
                let delay = segment.duration.mul_f64(left / segment.weight * scale);
                return Aim { anchor: segment.anchor.clone(), delay };
            }
            left -= segment.weight;
        }
        // Rounding carried it past the end, or nothing weighs anything.
        Aim { anchor: Anchor::Start, delay: Duration::ZERO }
    }
}

/// An op as far as the window needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpTime {
    /// When it began, from the spawn.
    pub at: Duration,
    /// By how much it takes longer where the kills slow it down.
    pub delay: Duration,
}

/// Durations and ops of the steps of a run, from its marks, its ops and its whole duration.
pub fn profile(marks: &[Mark], ops: &[OpTime], wall: Duration) -> Vec<StepProfile> {
    let mut bounds = vec![(None, Duration::ZERO)];
    bounds.extend(marks.iter().map(|mark| (Some(mark.name.clone()), mark.at)));
    let ends: Vec<Duration> = bounds.iter().skip(1).map(|(_, at)| *at).chain([wall]).collect();
    bounds
        .into_iter()
        .zip(ends)
        .map(|((name, start), end)| {
            let inside = ops.iter().filter(|op| start <= op.at && op.at < end);
            StepProfile {
                name,
                duration: end.saturating_sub(start),
                ops: inside.clone().count() as u64,
                delay: inside.map(|op| op.delay).sum(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn steps() -> Vec<StepProfile> {
        let mark = |name: &str, at| Mark { name: name.to_owned(), at: ms(at) };
        let op = |at| OpTime { at: ms(at), delay: Duration::ZERO };
        profile(&[mark("check", 2), mark("copy", 80), mark("table", 90)], &[op(81), op(85), op(91)], ms(100))
    }

    #[test]
    fn a_profile_has_a_step_from_each_mark_to_the_next_and_the_time_before_the_first() {
        let seen: Vec<_> = steps().into_iter().map(|s| (s.name, s.duration, s.ops)).collect();
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(
            seen,
            [
                (None, ms(2), 0),
                (name("check"), ms(78), 0),
                (name("copy"), ms(10), 2),
                (name("table"), ms(10), 1)
            ]
        );
    }

    #[test]
    fn most_kills_fall_into_steps_that_write_although_these_are_short() {
        let window = Window::new(&steps());
        let mut into_writing = 0;
        for i in 0..1000 {
            if matches!(window.aim(f64::from(i) / 1000.0, 1.0).anchor, Anchor::Step(step) if step != "check")
            {
                into_writing += 1;
            }
        }
        assert!((850..900).contains(&into_writing), "{into_writing}");
    }

    #[test]
    fn one_seed_draws_one_plan_and_another_seed_another() {
        let plan = |seed| (1..=20).map(|i| draw(seed, i, 0, 1..=4)).collect::<Vec<_>>();
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
        assert!(plan(1).iter().any(|drawn| drawn.kills.len() == 1));
        assert!(plan(1).iter().any(|drawn| drawn.kills.len() == 4));
    }

    #[test]
    fn a_delay_makes_a_step_longer_and_no_more_likely() {
        let mut slow = steps();
        slow[3].delay = ms(5000);
        let (plain, slow) = (Window::new(&steps()), Window::new(&slow));
        let hits = |window: &Window| {
            let aims = (0..1000).map(|i| window.aim(f64::from(i) / 1000.0, 1.0));
            aims.filter(|aim| aim.anchor == Anchor::Step("table".to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(hits(&plain).len(), hits(&slow).len());
        assert!(hits(&slow).iter().any(|aim| aim.delay > ms(4900)));
    }

    proptest! {
        #[test]
        fn an_aim_lies_within_its_step(fraction in 0.0..1.0f64, scale in 0.0..1.0f64) {
            let aim = Window::new(&steps()).aim(fraction, scale);
            let step = steps().into_iter()
                .find(|step| step.name.clone().map_or(Anchor::Start, Anchor::Step) == aim.anchor)
                .unwrap();
            prop_assert!(aim.delay <= step.duration);
        }
    }
}
