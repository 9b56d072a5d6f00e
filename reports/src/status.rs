//! Events as status lines: a right-aligned verb, a fixed-width duration, a counter, then what it is about. This
//! file decides what is said and how much it matters; where and whether a line is shown is the terminal's matter.

use std::time::Duration;

use bytesize::ByteSize;
use console::{Style, truncate_str};

use crate::{CampaignStarted, Event, Finding, Kill, Outcome, PlannedKill, Tally, Verdict};

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Findings, warnings, and why a campaign could not go on.
    Quiet,
    /// Also milestones and progress.
    #[default]
    Normal,
    /// Also each kill and each judgement.
    Verbose,
}

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Always shown.
    Alert,
    /// Shown unless quiet.
    Milestone,
    /// An iteration is done: progress, so it may be left out where there is much of it.
    Progress,
    /// Shown where everything is.
    Detail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Good,
    Neutral,
    Warn,
    Bad,
}

/// One status line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub weight: Weight,
    verb: &'static str,
    tone: Tone,
    took: Option<Duration>,
    counter: Option<String>,
    text: String,
    /// More about it, each on a line of its own.
    details: Vec<String>,
    /// A command to paste, below the line and never cut.
    paste: Option<String>,
}

/// Turns events into lines. It remembers what it needs of the iteration under way.
#[derive(Debug, Default)]
pub(crate) struct Narrator {
    under_way: Option<Iteration>,
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
            Event::Finding(finding) => vec![found(finding)],
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

impl Line {
    fn new(weight: Weight, verb: &'static str, tone: Tone, text: impl AsRef<str>) -> Self {
        let text = one_line(text.as_ref());
        Self { weight, verb, tone, took: None, counter: None, text, details: Vec::new(), paste: None }
    }

    fn took_ms(mut self, ms: u64) -> Self {
        self.took = Some(Duration::from_millis(ms));
        self
    }

    fn counted(mut self, counter: String) -> Self {
        self.counter = Some(counter);
        self
    }

    /// The line, cut to `width` columns where there is one; a command to paste follows whole, on its own line.
    pub fn render(&self, width: Option<usize>, color: bool) -> String {
        let mut line =
            self.tone.style().force_styling(color).apply_to(format!("{:>12}", self.verb)).to_string();
        if let Some(took) = self.took {
            line += &format!(" [{:>9.3}s]", took.as_secs_f64());
        }
        if let Some(counter) = &self.counter {
            line += &format!(" {counter}");
        }
        line += " ";
        line += &self.text;
        let cut = |line: &str| match width {
            Some(width) => truncate_str(line, width, "…").into_owned(),
            None => line.to_owned(),
        };
        let mut line = cut(&line);
        for detail in &self.details {
            line += "\n";
            line += &cut(&format!("{:>13}{detail}", ""));
        }
        if let Some(paste) = &self.paste {
            line += &format!("\n{:>13}{paste}", "");
        }
        line
    }
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Good => Style::new().green().bold(),
            Self::Neutral => Style::new().cyan().bold(),
            Self::Warn => Style::new().yellow().bold(),
            Self::Bad => Style::new().red().bold(),
        }
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

fn found(finding: &Finding) -> Line {
    let Finding { id, verdict, phase, step, point, oracle, explain, .. } = finding;
    let text = format!("{id} {} in {phase} at {step}, {point} ({oracle})", verdict.name());
    let mut line = Line::new(Weight::Alert, "FINDING", Tone::Bad, text);
    line.details = vec![one_line(explain)];
    line.paste = Some(one_line(&finding.repro));
    line
}

fn ended(outcome: &Outcome, wall_s: f64, tally: &Tally) -> Line {
    let figures = format!(
        "{}, {} of {} landed, {}",
        many(tally.iterations_done, "iteration"),
        tally.landed,
        many(tally.attempted, "kill"),
        findings(tally.findings.len() as u64)
    );
    let clean = tally.findings.is_empty();
    let mut line = match outcome {
        Outcome::Completed => {
            let tone = if clean { Tone::Good } else { Tone::Bad };
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

/// `(  7/150)`, or `(7)` where nobody knows how many there will be.
fn counter(iteration: u64, tally: &Tally) -> String {
    match tally.campaign.as_ref().and_then(|campaign| campaign.iterations) {
        Some(total) => format!("({iteration:>width$}/{total})", width = total.to_string().len()),
        None => format!("({iteration})"),
    }
}

fn verb(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Recovered => "Recovered",
        Verdict::RolledBack => "Rolled back",
        Verdict::Refused => "Refused",
        Verdict::Crashed => "CRASHED",
        Verdict::Diverged => "DIVERGED",
        Verdict::Corrupt => "CORRUPT",
        Verdict::Hung => "HUNG",
        Verdict::NotMeasured => "Not measured",
    }
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Recovered | Verdict::RolledBack => Tone::Good,
        Verdict::Refused | Verdict::NotMeasured => Tone::Warn,
        Verdict::Crashed | Verdict::Diverged | Verdict::Corrupt | Verdict::Hung => Tone::Bad,
    }
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

/// `no finding`, `1 finding`, `2 findings`.
pub(crate) fn findings(n: u64) -> String {
    if n == 0 { "no finding".to_owned() } else { many(n, "finding") }
}

/// `text` on one line: whatever would move the cursor becomes a space.
pub(crate) fn one_line(text: &str) -> String {
    line_of_table(text.trim())
}

/// The same for a line whose indentation counts.
fn line_of_table(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
