//! Events as status lines: what is said of each and how much it matters. How a line looks, and what is said of
//! sweeps and of findings that are many, is in the files below; where and whether a line is shown is the terminal's
//! matter.

use std::time::Duration;

use bytesize::ByteSize;

use crate::tally::vanished;
use crate::{CampaignStarted, Command, Event, Finding, Kill, Outcome, PlannedKill, Tally, Verdict};

mod kinds;
mod line;
mod sweep;

use kinds::Kinds;
pub(crate) use kinds::kind;
pub(crate) use line::{Line, Weight, one_line};
use line::{Tone, line_of_table, tone, verb};

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Findings, warnings, and why a campaign could not go on.
    Quiet,
    /// Also milestones and progress.
    #[default]
    Normal,
    /// Also each kill, each crash point and each judgement.
    Verbose,
}

/// Turns events into lines. It remembers what it needs of the iteration or sweep under way.
#[derive(Debug, Default)]
pub(crate) struct Narrator {
    under_way: Option<Iteration>,
    /// When the first sweep began.
    sweeping_since: Option<Duration>,
    kinds: Kinds,
}

#[derive(Debug)]
struct Iteration {
    ordinal: u64,
    since: Duration,
    attempted: u64,
    landed: u64,
    worst: Option<Verdict>,
}

impl Narrator {
    /// What `event` has to say, once `tally` has counted it; `now` is the time since the campaign began.
    pub fn lines(&mut self, event: &Event, tally: &Tally, now: Duration) -> Vec<Line> {
        // Where nothing else follows a phase's last point, its findings still do.
        let ended = match event {
            Event::Finding(_) | Event::Compared(_) => Vec::new(),
            Event::CampaignEnded { .. } => self.kinds.ended(|_| true),
            event => self.kinds.ended(|phase| {
                let is_its = matches!(event, Event::Point(point) if point.phase == phase);
                !is_its && tally.sweeps.get(phase).is_some_and(|sweep| sweep.explored >= sweep.planned)
            }),
        };
        ended.into_iter().chain(self.of(event, tally, now)).collect()
    }

    fn of(&mut self, event: &Event, tally: &Tally, now: Duration) -> Vec<Line> {
        match event {
            Event::CampaignStarted(campaign) => vec![started(campaign)],
            Event::FixtureReady { cached, len_bytes, wall_ms, .. } => {
                let size = ByteSize::b(*len_bytes).display().iec();
                let text = format!("{size}, {}", if *cached { "from the cache" } else { "built" });
                vec![Line::new(Weight::Milestone, "Fixture", Tone::Good, text).took_ms(*wall_ms)]
            }
            Event::BaselineRun { phase, run, ops, flushes, wall_ms } => {
                let text = format!("{phase}, run {run}: {}, {}", many(*ops, "op"), many(*flushes, "flush"));
                vec![Line::new(Weight::Milestone, "Baseline", Tone::Good, text).took_ms(*wall_ms)]
            }
            Event::BaselineReady { phase, volatile_bytes, .. } => vec![mask(phase, *volatile_bytes)],
            Event::OracleProved { phase, oracle } => {
                let text = format!("{phase}: {oracle} objects to a damaged copy");
                vec![Line::new(Weight::Detail, "Oracle", Tone::Good, text)]
            }
            Event::Layout { phase, step, lines } => {
                let mut line =
                    Line::new(Weight::Detail, "Layout", Tone::Neutral, format!("{phase}, before {step}"));
                line.details = lines.iter().map(|line| line_of_table(line)).collect();
                vec![line]
            }
            Event::NotTested { what } => vec![Line::new(Weight::Alert, "Not tested", Tone::Warn, what)],
            Event::Warning { text } => vec![Line::new(Weight::Alert, "Warning", Tone::Warn, text)],
            Event::IterationStarted { iteration } => {
                let done = self.iteration_done(tally, now);
                self.under_way =
                    Some(Iteration { ordinal: *iteration, since: now, attempted: 0, landed: 0, worst: None });
                done.into_iter().collect()
            }
            Event::Planned { iteration, phase, kills } => vec![planned(*iteration, phase, kills, tally)],
            Event::Late { iteration, phase, attempt, step } => {
                self.with_iteration(|under_way| under_way.attempted += 1);
                let text = format!("{phase} {step}, kill {attempt}: the tool had ended before");
                vec![Line::new(Weight::Detail, "Late", Tone::Warn, text).counted(counter(*iteration, tally))]
            }
            Event::Kill(kill) => {
                self.with_iteration(|under_way| {
                    under_way.attempted += 1;
                    under_way.landed += u64::from(kill.landed);
                });
                vec![killed(kill, tally)]
            }
            Event::Judged { iteration, phase, verdict, kills, wall_ms } => {
                self.with_iteration(|under_way| {
                    under_way.worst =
                        under_way.worst.into_iter().chain([*verdict]).max_by_key(|v| v.badness());
                });
                let text = format!("{phase}, after {}", many(u64::from(*kills), "kill"));
                let line = Line::new(Weight::Detail, verb(*verdict), tone(*verdict), text);
                vec![line.took_ms(*wall_ms).counted(counter(*iteration, tally))]
            }
            Event::Sweep { phase, ops, lots } => {
                self.sweeping_since.get_or_insert(now);
                vec![sweep::begins(phase, *ops, lots)]
            }
            Event::Closure { phase, depth, points, fresh } => {
                vec![sweep::level(phase, *depth, *points, *fresh)]
            }
            Event::Barrier(barrier) => vec![sweep::barrier(barrier)],
            Event::Overwritten(overwritten) => vec![sweep::overwritten(overwritten)],
            Event::PowerClaims { phase, epochs } => vec![sweep::claimed(phase, epochs)],
            Event::ResumeCuts(cuts) => vec![sweep::resume_cuts(cuts)],
            Event::ClosureEnded { phase, complete } => vec![sweep::closed(phase, *complete, tally)],
            Event::Point(point) => {
                let since = *self.sweeping_since.get_or_insert(now);
                let so_far = tally.is_sweep().then(|| sweep::so_far(tally, now.saturating_sub(since)));
                [sweep::point(point, tally)].into_iter().chain(so_far).collect()
            }
            Event::LiveCheck { phase, point, landed, agreed } => {
                vec![sweep::live_check(phase, point, *landed, *agreed)]
            }
            Event::Finding(finding) if finding.expected => {
                vec![Line::new(Weight::Detail, "Expected", Tone::Neutral, heading(finding))]
            }
            Event::Finding(finding) if tally.is_sweep() && !self.kinds.is_first(finding) => {
                vec![found(finding, Weight::Detail)]
            }
            Event::Finding(finding) => vec![found(finding, Weight::Alert)],
            Event::Compared(_) => Vec::new(),
            Event::ExpectedVanished { what } => {
                vec![Line::new(Weight::Alert, "Warning", Tone::Warn, vanished(what))]
            }
            Event::CampaignEnded { outcome, wall_s, .. } => {
                let done =
                    if *outcome == Outcome::Completed { self.iteration_done(tally, now) } else { None };
                done.into_iter().chain([ended(outcome, *wall_s, tally)]).collect()
            }
        }
    }

    fn with_iteration(&mut self, change: impl FnOnce(&mut Iteration)) {
        if let Some(under_way) = &mut self.under_way {
            change(under_way);
        }
    }

    /// The line for the iteration that has just ended.
    fn iteration_done(&mut self, tally: &Tally, now: Duration) -> Option<Line> {
        let Iteration { ordinal, since, attempted, landed, worst } = self.under_way.take()?;
        let text = match attempted - landed {
            0 => many(landed, "kill"),
            missed => format!("{}, {missed} too late", many(landed, "kill")),
        };
        // Where every kill came too late, there was nothing to judge.
        let verdict = worst.unwrap_or(Verdict::NotMeasured);
        let line = Line::new(Weight::Progress, verb(verdict), tone(verdict), text);
        let mut line = line.counted(counter(ordinal, tally));
        line.took = Some(now.saturating_sub(since));
        Some(line)
    }
}

fn started(campaign: &CampaignStarted) -> Line {
    let scale = campaign.scale.as_ref().map(|scale| format!(" ({scale})")).unwrap_or_default();
    let bound = match (campaign.iterations, campaign.for_s) {
        (Some(n), _) => format!(", {}", many(n, "iteration")),
        (None, Some(s)) => format!(", for {}", humantime::format_duration(Duration::from_secs(s))),
        (None, None) => String::new(),
    };
    let text = format!("{}{scale}, seed {}{bound}", campaign.scenario, campaign.seed);
    Line::new(Weight::Milestone, "Starting", Tone::Neutral, text)
}

fn mask(phase: &str, volatile_bytes: u64) -> Line {
    let (weight, said) = match volatile_bytes {
        0 => (Weight::Detail, "are the same, byte for byte".to_owned()),
        n => (Weight::Milestone, format!("differ in {}", many(n, "byte"))),
    };
    Line::new(weight, "Mask", Tone::Neutral, format!("{phase}: the uninterrupted runs {said}"))
}

fn planned(iteration: u64, phase: &str, kills: &[PlannedKill], tally: &Tally) -> Line {
    let at: Vec<String> = kills.iter().map(|kill| format!("{:.0} %", kill.fraction * 100.0)).collect();
    let text = format!("{phase}, {} at {}", many(kills.len() as u64, "kill"), at.join(", "));
    Line::new(Weight::Detail, "Planned", Tone::Neutral, text).counted(counter(iteration, tally))
}

fn killed(kill: &Kill, tally: &Tally) -> Line {
    let (verb, tone) = if kill.landed { ("Killed", Tone::Neutral) } else { ("Missed", Tone::Warn) };
    let place = if kill.inside_op { "inside the op after" } else { "after op" };
    let fresh = if kill.landed && kill.distinct { ", new state" } else { "" };
    let text = format!("{} {}, kill {}: {place} {}{fresh}", kill.phase, kill.step, kill.attempt, kill.op);
    let mut line = Line::new(Weight::Detail, verb, tone, text).counted(counter(kill.iteration, tally));
    line.took = Duration::try_from_secs_f64(kill.at_ms / 1000.0).ok();
    line
}

fn found(finding: &Finding, weight: Weight) -> Line {
    let mut line = Line::new(weight, "FINDING", Tone::Bad, heading(finding));
    line.details = vec![one_line(&finding.explain)];
    line.details.extend(finding.shrunk_whole().map(|words| one_line(&words)));
    line.paste = Some(one_line(&finding.repro));
    line
}

/// What a finding is, in one line.
fn heading(finding: &Finding) -> String {
    let Finding { id, verdict, phase, step, point, oracle, .. } = finding;
    format!("{id} {} in {phase} at {step}, {point} ({oracle})", verdict.name())
}

fn ended(outcome: &Outcome, wall_s: f64, tally: &Tally) -> Line {
    let figures = match tally.campaign.as_ref().map(|campaign| campaign.command) {
        Some(Command::Barriers) => sweep::flushes(tally),
        _ if tally.is_sweep() => sweep::figures(tally),
        _ => figures(tally),
    };
    let mut line = match outcome {
        Outcome::Completed => {
            let tone = if tally.unexpected() == 0 { Tone::Good } else { Tone::Bad };
            Line::new(Weight::Milestone, "Finished", tone, figures)
        }
        Outcome::Interrupted { signal } => {
            Line::new(Weight::Alert, "Interrupted", Tone::Warn, format!("by {signal} after {figures}"))
        }
        Outcome::Stopped { reason } => {
            Line::new(Weight::Alert, "Stopped", Tone::Bad, format!("{reason} (after {figures})"))
        }
    };
    line.took = Duration::try_from_secs_f64(wall_s).ok();
    line
}

fn figures(tally: &Tally) -> String {
    format!(
        "{}, {} of {} landed, {}",
        many(tally.iterations_done, "iteration"),
        tally.landed,
        many(tally.attempted, "kill"),
        findings_of(tally)
    )
}

/// `(  7/150)`, or `(7)` where nobody knows how many there will be.
fn counter(iteration: u64, tally: &Tally) -> String {
    match tally.campaign.as_ref().and_then(|campaign| campaign.iterations) {
        Some(total) => counted(iteration, total),
        None => format!("({iteration})"),
    }
}

fn counted(n: u64, total: u64) -> String {
    format!("({n:>width$}/{total})", width = total.to_string().len())
}

/// `1 kill`, `2 kills`, `3 flushes`.
pub(crate) fn many(n: u64, noun: &str) -> String {
    let ending = match (n, noun.ends_with("sh")) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{n} {noun}{ending}")
}

/// `no finding`, `1 finding`, `2 findings`, `2 findings (1 expected)`.
pub(crate) fn findings(n: u64, expected: u64) -> String {
    match (n, expected) {
        (0, _) => "no finding".to_owned(),
        (n, 0) => many(n, "finding"),
        (n, expected) => format!("{} ({expected} expected)", many(n, "finding")),
    }
}

/// The same for the findings so far.
pub(crate) fn findings_of(tally: &Tally) -> String {
    findings(tally.findings.len() as u64, tally.expected_seen)
}
