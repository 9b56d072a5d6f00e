//! The bar and what stands beside it: how far a campaign is, how fast, and how long it still takes.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use crate::status::{findings_of, many};
use crate::{Event, Tally};

pub(super) fn progress_bar(target: ProgressDrawTarget) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), target).with_finish(ProgressFinish::AndClear);
    // A template that did not parse would leave indicatif's own style: plainer, and nothing lost.
    match ProgressStyle::with_template("{elapsed_precise} [{bar:16}] {wide_msg}") {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}

/// What is being done before the first iteration or crash point.
pub(super) fn preparation(event: &Event) -> Option<String> {
    match event {
        Event::CampaignStarted(_) => Some("building the fixture".to_owned()),
        Event::FixtureReady { .. } => Some("uninterrupted runs".to_owned()),
        Event::BaselineRun { phase, run, .. } => Some(format!("uninterrupted runs: {phase} {run}")),
        Event::BaselineReady { phase, .. } => Some(format!("damaged copies for the oracles: {phase}")),
        _ => None,
    }
}

/// Length and position of the bar; none while nobody knows how much there is.
pub(super) fn bounds(tally: &Tally, now: Duration) -> Option<(u64, u64)> {
    if tally.is_sweep() {
        return (tally.planned_points() > 0).then_some((tally.planned_points(), tally.explored));
    }
    let campaign = tally.campaign.as_ref()?;
    match (campaign.iterations, campaign.for_s) {
        (Some(asked), _) => Some((asked, tally.iterations_done)),
        (None, Some(for_s)) => Some((for_s, now.as_secs().min(for_s))),
        (None, None) => None,
    }
}

/// How far the campaign is, after it began in earnest at `since`.
pub(super) fn progress_message(tally: &Tally, now: Duration, since: Duration) -> String {
    let spent = now.saturating_sub(since);
    let found = findings_of(tally);
    let speed = |tried: u64, left: Option<Duration>| {
        let rate = match spent.as_secs_f64() {
            seconds if seconds > 0.0 => format!(", {:.1}/s", tried as f64 / seconds),
            _ => String::new(),
        };
        rate + &left.map(|left| format!(", {} left", coarse(left))).unwrap_or_default()
    };
    if tally.is_sweep() {
        let (done, all) = (tally.explored, tally.planned_points());
        let states = many(tally.distinct_states(), "state");
        // What a narrow screen cuts off is what lines above the bar have told.
        return format!("{done}/{all}, {states}{}, {found}", speed(done, rest(spent, done, all)));
    }
    let (done, left) = iterations(tally, now, spent);
    format!("{done}, {}, {found}{}", many(tally.attempted, "kill"), speed(tally.attempted, left))
}

/// How far the iterations are, and how long the rest takes.
fn iterations(tally: &Tally, now: Duration, spent: Duration) -> (String, Option<Duration>) {
    let done = tally.iterations_done;
    match tally.campaign.as_ref().map_or((None, None), |campaign| (campaign.iterations, campaign.for_s)) {
        (Some(asked), _) => (format!("{done}/{asked}"), rest(spent, done, asked)),
        (None, for_s) => {
            let left = for_s.map(|for_s| Duration::from_secs(for_s).saturating_sub(now));
            (many(done, "iteration"), left)
        }
    }
}

/// How long the rest takes where `done` of `all` took `spent`.
fn rest(spent: Duration, done: u64, all: u64) -> Option<Duration> {
    let each_s = spent.as_secs_f64() / done as f64;
    Duration::try_from_secs_f64(each_s * all.saturating_sub(done) as f64).ok().filter(|_| done > 0)
}

/// A duration as a person wants it: seconds below an hour, minutes above.
fn coarse(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    let step = if seconds < 3600 { 1 } else { 60 };
    humantime::format_duration(Duration::from_secs(seconds / step * step)).to_string()
}
