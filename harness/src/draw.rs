//! Where random kills fall: the seed gives fractions, and the measured phase gives the times that they stand for.
//!
//! A phase's window is made of stretches. Most tools check and prepare for long and then write for a short while, so
//! a window that follows the clock alone would spend its kills where nothing was written yet. Each step is therefore
//! two stretches: from its mark to its first op, which weighs by its time, and from there to its end, which weighs
//! by its ops and a little for being there at all. A fraction of the window is a stretch and a place in it: a time
//! in a quiet one, and in one with ops the time from one op to the next. It is counted from what begins the stretch
//! in the run that is killed.

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
    weight: f64,
    /// Times from its start, the first of them 0, between which it is as likely to be hit: a quiet stretch has its
    /// two ends, one with ops each of these and its end.
    times: Vec<Duration>,
    /// Ops of the run before it; none in a quiet one.
    ops_before: Option<usize>,
}

impl Stretch {
    /// The time after `fraction` of what is left of the stretch to a run that finds so many ops done: a resume begins
    /// with a later op.
    fn time(&self, fraction: f64, done: usize) -> Duration {
        let intervals = self.times.len().saturating_sub(1);
        let skipped = self.ops_before.map_or(0, |before| done.saturating_sub(before));
        // At least the last op is taken to be left.
        let skipped = skipped.min(intervals.saturating_sub(1));
        let place = fraction * (intervals - skipped) as f64;
        let index = skipped + place as usize;
        let (Some(base), Some(from)) = (self.times.get(skipped), self.times.get(index)) else {
            return Duration::ZERO;
        };
        let to = self.times.get(index + 1).unwrap_or(from);
        from.saturating_sub(*base) + to.saturating_sub(*from).mul_f64(place.fract())
    }
}

/// The window of a phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    stretches: Vec<Stretch>,
    wall: Duration,
}

/// What was measured of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepProfile {
    /// The step; none before the first mark.
    pub name: Option<String>,
    /// Time from its mark to its first op, or to the next mark where it has none.
    pub before_ops: Duration,
    /// When its ops begin, and at last the next mark, all from the first op; empty where it has no op. Delays are
    /// part of it.
    pub times: Vec<Duration>,
    /// How many of its ops are slowed down where kills are to land at them.
    pub slowed: usize,
}

impl StepProfile {
    fn ops(&self) -> usize {
        self.times.len().saturating_sub(1)
    }

    fn duration(&self) -> Duration {
        self.before_ops + self.times.last().copied().unwrap_or_default()
    }

    /// Ops, of which one that is slowed down counts for several: who slows them down wants kills there.
    fn weight(&self) -> f64 {
        (self.ops() + self.slowed * (SLOWED_WEIGHT - 1)) as f64
    }
}

/// For so many ops counts one that is slowed down.
const SLOWED_WEIGHT: usize = 16;

/// Shares of the whole window: stretches without ops by their time, stretches with ops by these and evenly.
const BY_TIME: f64 = 0.12;
const BY_OPS: f64 = 0.68;
const EVENLY: f64 = 0.2;

impl Window {
    /// A window over the steps of a run, of which there is at least one.
    pub fn new(steps: &[StepProfile]) -> Self {
        let time: f64 = steps.iter().map(|step| step.before_ops.as_secs_f64()).sum();
        let ops: f64 = steps.iter().map(StepProfile::weight).sum();
        let writing = steps.iter().filter(|step| step.ops() > 0).count();
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let mut ops_before = 0;
        let stretches = steps.iter().flat_map(|step| {
            let quiet = Stretch {
                anchor: step.name.clone().map_or(Anchor::Start, Anchor::Step),
                weight: BY_TIME * share(step.before_ops.as_secs_f64(), time),
                times: vec![Duration::ZERO, step.before_ops],
                ops_before: None,
            };
            let busy = (step.ops() > 0).then(|| Stretch {
                anchor: step.name.clone().map_or(Anchor::Start, Anchor::FirstOpIn),
                weight: BY_OPS * share(step.weight(), ops) + EVENLY / writing as f64,
                times: step.times.clone(),
                ops_before: Some(ops_before),
            });
            ops_before += step.ops();
            [Some(quiet), busy].into_iter().flatten()
        });
        let wall = steps.iter().map(StepProfile::duration).sum();
        Self { stretches: stretches.collect(), wall }
    }

    /// The time that a fraction of the window stands for, in a run that finds so many of the phase's ops done.
    pub fn aim(&self, fraction: f64, done: usize) -> Aim {
        let total: f64 = self.stretches.iter().map(|stretch| stretch.weight).sum();
        let mut left = fraction * total;
        for stretch in &self.stretches {
            if left < stretch.weight {
                let delay = stretch.time(left / stretch.weight, done);
                return Aim { anchor: stretch.anchor.clone(), delay };
            }
            left -= stretch.weight;
        }
        // Rounding carried it past the end, or nothing weighs anything.
        Aim { anchor: Anchor::Start, delay: Duration::ZERO }
    }

    /// The op that a fraction of the window falls on, from 1, and how far into it, `0.0..1.0`, in a run that finds so
    /// many of the phase's ops done; none where it falls into a stretch without ops.
    pub fn op(&self, fraction: f64, done: usize) -> Option<(u64, f64)> {
        let total: f64 = self.stretches.iter().map(|stretch| stretch.weight).sum();
        let mut left = fraction * total;
        for stretch in &self.stretches {
            if left < stretch.weight {
                let before = stretch.ops_before?;
                let ops = stretch.times.len().saturating_sub(1);
                // A resume begins with a later op, and counts its own from 1; at least the last is taken to be left.
                let skipped = done.saturating_sub(before).min(ops.saturating_sub(1));
                let place = left / stretch.weight * (ops - skipped) as f64;
                let number = (before + skipped).saturating_sub(done) + place as usize + 1;
                return Some((number as u64, place.fract()));
            }
            left -= stretch.weight;
        }
        None
    }

    /// A fraction of the whole duration, counted from the start: for a run that may not go through the steps that
    /// were measured, as a resume may not.
    pub fn aim_by_clock(&self, fraction: f64) -> Aim {
        Aim { anchor: Anchor::Start, delay: self.wall.mul_f64(fraction) }
    }
}

/// An op as far as the window needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpTime {
    /// When it began, from the spawn.
    pub at: Duration,
    /// By how much it waits, before and again after it, where the kills slow it down.
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
            let inside: Vec<_> = ops.iter().filter(|op| start <= op.at && op.at < end).collect();
            let first = inside.first().map_or(end, |op| op.at);
            let mut waited = Duration::ZERO;
            let mut times: Vec<Duration> = Vec::new();
            for (index, op) in inside.iter().enumerate() {
                // An op is seen after the wait before it, the first one too, from which everything counts.
                if index > 0 {
                    waited += op.delay;
                }
                times.push(op.at.saturating_sub(first) + waited);
                waited += op.delay;
            }
            if !times.is_empty() {
                times.push(end.saturating_sub(first) + waited);
            }
            let slowed = inside.iter().filter(|op| !op.delay.is_zero()).count();
            StepProfile { name, before_ops: first.saturating_sub(start), times, slowed }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    /// Two steps: one with four ops, one that only thinks, one with two.
    fn three_steps() -> Window {
        let ms = Duration::from_millis;
        let marks: Vec<Mark> = [("a", 0), ("b", 10), ("c", 20)]
            .map(|(name, at)| Mark { name: name.to_owned(), at: ms(at) })
            .to_vec();
        let ops: Vec<OpTime> =
            [0, 1, 2, 3, 20, 21].map(|at| OpTime { at: ms(at), delay: Duration::ZERO }).to_vec();
        Window::new(&profile(&marks, &ops, ms(30)))
    }

    #[test]
    fn every_op_is_hit_and_a_step_without_ops_by_time() {
        let window = three_steps();
        let found: Vec<Option<u64>> =
            (0..1000).map(|i| window.op(f64::from(i) / 1000.0, 0).map(|(number, _)| number)).collect();
        for number in 1..=6 {
            assert!(found.contains(&Some(number)), "{number}");
        }
        assert!(found.contains(&None), "the step that writes nothing");
        assert!(found.iter().flatten().is_sorted());
    }

    #[test]
    fn a_resume_counts_its_ops_from_where_the_run_was_cut() {
        let window = three_steps();
        let first_left =
            (0..1000).filter_map(|i| window.op(f64::from(i) / 1000.0, 4)).map(|(number, _)| number);
        assert_eq!(first_left.collect::<std::collections::BTreeSet<_>>(), [1, 2].into());
    }

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
        (0..1000).map(|i| window.aim(f64::from(i) / 1000.0, 0)).collect()
    }

    #[test]
    fn a_profile_divides_each_step_at_its_first_op() {
        let seen: Vec<_> = steps().into_iter().map(|s| (s.name, s.before_ops, s.times)).collect();
        assert_eq!(
            seen,
            [
                (None, ms(2), vec![]),
                (Some(name("check")), ms(78), vec![]),
                (Some(name("copy")), ms(4), vec![ms(0), ms(1), ms(6)]),
                (Some(name("table")), ms(1), vec![ms(0), ms(9)])
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
    fn the_time_from_one_op_to_the_next_is_as_likely_as_any_other() {
        let all = aims(&Window::new(&steps()));
        let copy: Vec<_> = all.iter().filter(|aim| aim.anchor == Anchor::FirstOpIn(name("copy"))).collect();
        let before_second = copy.iter().filter(|aim| aim.delay < ms(1)).count();
        assert!((copy.len() / 2).abs_diff(before_second) <= 2, "{before_second} of {}", copy.len());
    }

    #[test]
    fn a_resume_is_hit_in_the_time_of_the_ops_that_are_left() {
        let window = Window::new(&steps());
        let latest = |step: &str, done| {
            let aims = (0..1000).map(|i| window.aim(f64::from(i) / 1000.0, done));
            aims.filter(|aim| aim.anchor == Anchor::FirstOpIn(name(step))).map(|aim| aim.delay).max()
        };
        assert!(latest("copy", 0) > Some(ms(5)));
        // Its second op, of two, is 5 ms long.
        assert!(latest("copy", 1) > Some(ms(4)) && latest("copy", 1) <= Some(ms(5)));
        assert_eq!(latest("copy", 1), latest("copy", 3));
        // What comes after is not shortened by what was done before.
        assert_eq!(latest("table", 0), latest("table", 2));
    }

    #[test]
    fn ops_that_are_slowed_down_are_hit_more_often() {
        let hits = |steps: &[StepProfile]| {
            aims(&Window::new(steps)).iter().filter(|a| a.anchor == Anchor::FirstOpIn(name("table"))).count()
        };
        let mut slow = steps();
        slow[3].slowed = 1;
        assert!(hits(&slow) > 2 * hits(&steps()), "{} against {}", hits(&slow), hits(&steps()));
    }

    #[test]
    fn an_aim_by_the_clock_lies_anywhere_in_the_whole_run() {
        let window = Window::new(&steps());
        let aim = window.aim_by_clock(0.5);
        assert_eq!((aim.anchor, aim.delay), (Anchor::Start, ms(50)));
    }

    #[test]
    fn delays_around_ops_become_part_of_their_times() {
        let mark = Mark { name: name("table"), at: ms(0) };
        let op = |at| OpTime { at: ms(at), delay: ms(100) };
        let steps = profile(&[mark], &[op(1), op(2)], ms(5));
        // From the first op on: its wait after, the second one's wait before; then its wait after, and the end.
        assert_eq!(steps[1].times, [ms(0), ms(201), ms(304)]);
    }

    proptest! {
        #[test]
        fn an_aim_lies_within_its_stretch(
            fraction in 0.0..1.0f64, done in 0usize..5)
        {
            let aim = Window::new(&steps()).aim(fraction, done);
            let step = steps().into_iter()
                .find(|step| step.name.clone().unwrap_or(name("start")) == aim.anchor.name())
                .unwrap();
            match aim.anchor {
                Anchor::FirstOpIn(_) => prop_assert!(Some(&aim.delay) <= step.times.last()),
                _ => prop_assert!(aim.delay <= step.before_ops),
            }
        }
    }
}
