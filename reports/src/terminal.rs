//! Standard error during a campaign: a progress bar with status lines above it on a terminal, plain lines anywhere
//! else. All terminal work is here. A terminal that can't be written to never stops a campaign.

use std::io::{self, Write};
use std::str::FromStr;
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::status::{Line, Narrator, Weight};
use crate::{Event, Level, Reader, StoreError, Tally};

mod progress;

use progress::{bounds, preparation, progress_bar, progress_message};

/// Least time between two progress lines of a long campaign, where there is no bar.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// Up to this many iterations each gets its progress line, however fast they come.
const SHORT_ITERATIONS: u64 = 50;
/// How often the bar shows that time passes though no event comes.
const TICK: Duration = Duration::from_millis(250);

/// Whether to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// On a terminal, unless the environment has `NO_COLOR` or a `TERM` of `dumb`.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A word that is none of `auto`, `always`, `never`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of `auto`, `always`, `never`")]
pub struct UnknownColorChoice(String);

impl FromStr for ColorChoice {
    type Err = UnknownColorChoice;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(UnknownColorChoice(word.to_owned())),
        }
    }
}

impl ColorChoice {
    /// Whether standard output is coloured.
    pub fn for_stdout(self) -> bool {
        self.decide(Term::stdout().features().is_attended(), colors_refused())
    }

    /// Whether standard error is coloured.
    pub fn for_stderr(self) -> bool {
        self.decide(Term::stderr().features().is_attended(), colors_refused())
    }

    fn decide(self, is_terminal: bool, refused: bool) -> bool {
        match self {
            Self::Auto => is_terminal && !refused,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Whether the environment asks for no colour (<https://no-color.org>).
fn colors_refused() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// What to show.
#[derive(Clone, Copy, Debug)]
pub struct TerminalOptions {
    /// How much.
    pub level: Level,
    /// Whether to colour.
    pub color: ColorChoice,
    /// Whether to show progress: the bar, and without a bar the lines for what is done.
    pub progress: bool,
}

impl Default for TerminalOptions {
    fn default() -> Self {
        Self { level: Level::Normal, color: ColorChoice::Auto, progress: true }
    }
}

/// The reader that keeps a person informed on standard error.
pub struct Terminal {
    level: Level,
    progress: bool,
    color: bool,
    output: Output,
    narrator: Narrator,
    clock: Box<dyn Fn() -> Duration + Send>,
    /// When the first iteration or sweep began: rates count from here.
    under_way_since: Option<Duration>,
    last_progress: Option<Duration>,
    /// That every point was explored was told.
    all_explored: bool,
}

/// Columns that a line may take, asked for at each line since a window can be resized; none means any number.
type Width = Box<dyn Fn() -> Option<usize> + Send>;

enum Output {
    Bar { bar: ProgressBar, width: Width },
    Plain { writer: Box<dyn Write + Send>, width: Width },
}

impl Terminal {
    /// A reader that writes to standard error as it finds it.
    pub fn new(options: TerminalOptions) -> Self {
        let term = Term::stderr();
        let attended = term.is_term();
        let color = options.color.for_stderr();
        let width: Width = Box::new(move || term.size_checked().map(|(_, columns)| usize::from(columns)));
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let output = if attended && !dumb && options.progress && options.level > Level::Quiet {
            let bar = progress_bar(ProgressDrawTarget::stderr_with_hz(10));
            bar.enable_steady_tick(TICK);
            Output::Bar { bar, width }
        } else {
            let width: Width = if attended { width } else { Box::new(|| None) };
            Output::Plain { writer: Box::new(io::stderr()), width }
        };
        let began = Instant::now();
        Self::with(options, color, output, Box::new(move || began.elapsed()))
    }

    fn with(
        options: TerminalOptions,
        color: bool,
        output: Output,
        clock: Box<dyn Fn() -> Duration + Send>,
    ) -> Self {
        Self {
            level: options.level,
            progress: options.progress,
            color,
            output,
            narrator: Narrator::default(),
            clock,
            under_way_since: None,
            last_progress: None,
            all_explored: false,
        }
    }

    fn shows(&mut self, line: &Line, tally: &Tally, now: Duration) -> bool {
        match line.weight {
            Weight::Alert => true,
            Weight::Milestone => self.level >= Level::Normal,
            Weight::Detail => self.level == Level::Verbose,
            Weight::Progress if self.level == Level::Verbose => true,
            Weight::Progress | Weight::Interim => {
                self.level == Level::Normal && self.progress && self.progress_is_due(tally, now)
            }
        }
    }

    /// Whether a line of progress is shown. A bar says the same; plain lines of a long campaign are rationed.
    fn progress_is_due(&mut self, tally: &Tally, now: Duration) -> bool {
        if matches!(self.output, Output::Bar { .. }) {
            return false;
        }
        let asked = tally.campaign.as_ref().and_then(|campaign| campaign.iterations);
        let (short, last) = if tally.is_sweep() {
            // Crashes of resumes come after the last of the run's own points.
            (false, tally.explored == tally.planned_points() && !self.all_explored)
        } else {
            let short = asked.is_some_and(|asked| asked <= SHORT_ITERATIONS);
            (short, asked.is_some_and(|asked| asked == tally.iterations_done))
        };
        let rested = self.last_progress.is_none_or(|then| now.saturating_sub(then) >= PROGRESS_EVERY);
        self.all_explored |= last;
        let due = short || last || rested;
        if due {
            self.last_progress = Some(now);
        }
        due
    }

    fn print(&mut self, line: &Line) {
        match &mut self.output {
            Output::Bar { bar, width } => bar.println(line.render(width(), self.color)),
            Output::Plain { writer, width } => {
                // Nobody may be listening any more; the campaign and its log go on.
                let _ = writeln!(writer, "{}", line.render(width(), self.color));
            }
        }
    }

    fn move_bar(&self, event: &Event, tally: &Tally, now: Duration) {
        let Output::Bar { bar, .. } = &self.output else { return };
        if let Some((length, position)) = bounds(tally, now) {
            bar.set_length(length);
            bar.set_position(position);
        }
        match self.under_way_since {
            Some(since) => bar.set_message(progress_message(tally, now, since)),
            None => {
                if let Some(doing) = preparation(event) {
                    bar.set_message(doing);
                }
            }
        }
    }
}

impl Reader for Terminal {
    fn event(&mut self, event: &Event, tally: &Tally) -> Result<(), StoreError> {
        let now = (self.clock)();
        if matches!(event, Event::IterationStarted { .. } | Event::Sweep { .. }) {
            self.under_way_since.get_or_insert(now);
        }
        if matches!(event, Event::Sweep { .. }) {
            // A sweep that is done in no time needs no line but its last.
            self.last_progress.get_or_insert(now);
        }
        for line in self.narrator.lines(event, tally, now) {
            if self.shows(&line, tally, now) {
                self.print(&line);
            }
        }
        self.move_bar(event, tally, now);
        if matches!(event, Event::CampaignEnded { .. }) {
            self.finish()?;
        }
        Ok(())
    }

    /// Takes the bar away.
    fn finish(&mut self) -> Result<(), StoreError> {
        if let Output::Bar { bar, .. } = &self.output {
            bar.finish_and_clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
