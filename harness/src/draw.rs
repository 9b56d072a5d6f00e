//! Where random kills fall: the seed gives fractions, and the measured phase gives the times that they stand for.
//!
//! A phase's window is made of stretches. Most tools check and prepare for long and then write for a short while, so
//! a window that follows the clock alone would spend its kills where nothing was written yet. Each step is therefore
//! two stretches: from its mark to its first op, which weighs by its time, and from there to its end, which weighs
//! by its ops and a little for being there at all. A fraction of the window is a stretch and a fraction of its
//! duration, counted from what begins it in the run that is killed.

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

/// A part of the window.
#[derive(Clone, Debug, PartialEq)]
struct Stretch {
    anchor: Anchor,
    duration: Duration,
    weight: f64,
    /// Its ops, by which a resume that finds some of them done is shorter.
    writes: bool,
}

/// The window of a phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    stretches: Vec<Stretch>,
}

/// What was measured of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepProfile {
    /// The step; none before the first mark.
    pub name: Option<String>,
    /// Time from its mark to its first op, or to the next mark where it has none.
    pub before_ops: Duration,
    /// Time from its first op to the next mark.
    pub from_first_op: Duration,
    /// Ops that began in it.
    pub ops: u64,
    /// Time by which the ops take longer where the kills slow them down.
    pub delay: Duration,
}

/// Shares of the whole window: stretches without ops by their time, stretches with ops by these and evenly.
const BY_TIME: f64 = 0.12;
const BY_OPS: f64 = 0.68;
const EVENLY: f64 = 0.2;

impl Window {
    /// A window over the steps of a run, of which there is at least one.
    pub fn new(steps: &[StepProfile]) -> Self {
        let time: f64 = steps.iter().map(|step| step.before_ops.as_secs_f64()).sum();
        let ops: u64 = steps.iter().map(|step| step.ops).sum();
        let writing = steps.iter().filter(|step| step.ops > 0).count();
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let stretches = steps.iter().flat_map(|step| {
            let quiet = Stretch {
                anchor: step.name.clone().map_or(Anchor::Start, Anchor::Step),
                duration: step.before_ops,
                weight: BY_TIME * share(step.before_ops.as_secs_f64(), time),
                writes: false,
            };
            let busy = (step.ops > 0).then(|| Stretch {
                anchor: step.name.clone().map_or(Anchor::Start, Anchor::FirstOpIn),
                duration: step.from_first_op + step.delay,
                weight: BY_OPS * share(step.ops as f64, ops as f64) + EVENLY / writing as f64,
                writes: true,
            });
            [Some(quiet), busy].into_iter().flatten()
        });
        Self { stretches: stretches.collect() }
    }

    /// The time that a fraction of the window stands for. `left_to_write` is the share of the ops that the run is
    /// expected to do still: a resume is quicker than the run that was measured.
    pub fn aim(&self, fraction: f64, left_to_write: f64) -> Aim {
        let total: f64 = self.stretches.iter().map(|stretch| stretch.weight).sum();
        let mut left = fraction * total;
        for stretch in &self.stretches {
            if left < stretch.weight {
                let scale = if stretch.writes { left_to_write } else { 1.0 };
                let delay = stretch.duration.mul_f64(left / stretch.weight * scale);
                return Aim { anchor: stretch.anchor.clone(), delay };
            }
            left -= stretch.weight;
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
            let first = inside.clone().map(|op| op.at).next().unwrap_or(end);
            StepProfile {
                name,
                before_ops: first.saturating_sub(start),
                from_first_op: end.saturating_sub(first),
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

    fn name(text: &str) -> String {
        text.to_owned()
    }

    /// Checks for long, copies from 84 to 90, writes the table at 91.
    fn steps() -> Vec<StepProfile> {
        let mark = |step: &str, at| Mark { name: name(step), at: ms(at) };
        let op = |at| OpTime { at: ms(at), delay: Duration::ZERO };
        profile(&[mark("check", 2), mark("copy", 80), mark("table", 90)], &[op(84), op(85), op(91)], ms(100))
    }

    fn aims(window: &Window) -> Vec<Aim> {
        (0..1000).map(|i| window.aim(f64::from(i) / 1000.0, 1.0)).collect()
    }

    #[test]
    fn a_profile_divides_each_step_at_its_first_op() {
        let seen: Vec<_> =
            steps().into_iter().map(|s| (s.name, s.before_ops, s.from_first_op, s.ops)).collect();
        assert_eq!(
            seen,
            [
                (None, ms(2), ms(0), 0),
                (Some(name("check")), ms(78), ms(0), 0),
                (Some(name("copy")), ms(4), ms(6), 2),
                (Some(name("table")), ms(1), ms(9), 1)
            ]
        );
    }

    #[test]
    fn most_kills_count_from_ops_although_these_take_little_of_the_time() {
        let count =
            |anchor: Anchor| aims(&Window::new(&steps())).iter().filter(|a| a.anchor == anchor).count();
        let copy = count(Anchor::FirstOpIn(name("copy")));
        let table = count(Anchor::FirstOpIn(name("table")));
        assert!((870..=890).contains(&(copy + table)), "{copy} + {table}");
        assert!(copy > table && table > 250, "{copy}, {table}");
        assert!(count(Anchor::Step(name("check"))) > 80);
    }

    #[test]
    fn a_window_without_ops_follows_the_time() {
        let mark = |step: &str, at| Mark { name: name(step), at: ms(at) };
        let window = Window::new(&profile(&[mark("a", 10), mark("b", 40)], &[], ms(100)));
        let count = |anchor: Anchor| aims(&window).iter().filter(|aim| aim.anchor == anchor).count();
        assert!((295..=305).contains(&count(Anchor::Step(name("a")))));
        assert!((595..=605).contains(&count(Anchor::Step(name("b")))));
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
    fn a_delay_makes_a_stretch_longer_and_no_more_likely() {
        let mut slow = steps();
        slow[3].delay = ms(5000);
        let hits = |steps: &[StepProfile]| {
            let all = aims(&Window::new(steps));
            all.into_iter().filter(|aim| aim.anchor == Anchor::FirstOpIn(name("table"))).collect::<Vec<_>>()
        };
        assert_eq!(hits(&steps()).len(), hits(&slow).len());
        assert!(hits(&slow).iter().any(|aim| aim.delay > ms(4900)));
    }

    proptest! {
        #[test]
        fn an_aim_lies_within_its_stretch_and_within_what_is_left_of_it(
            fraction in 0.0..1.0f64, left in 0.0..1.0f64)
        {
            let aim = Window::new(&steps()).aim(fraction, left);
            let step = steps().into_iter()
                .find(|step| step.name.clone().unwrap_or(name("start")) == aim.anchor.name())
                .unwrap();
            match aim.anchor {
                Anchor::FirstOpIn(_) => prop_assert!(aim.delay <= step.from_first_op.mul_f64(left)),
                _ => prop_assert!(aim.delay <= step.before_ops),
            }
        }
    }
}
