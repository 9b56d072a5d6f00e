//! What `run` and `repro` share: signals, the run directory, the stream and its readers, and the end of a campaign,
//! which is written down also where an error or a signal brought it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reports::summary::{self, SummaryOptions};
use reports::{
    CampaignStarted, ColorChoice, Event, EventLog, Exit, Level, Outcome, Report, StoreError, Stream,
    Terminal, TerminalOptions, annotations, html,
};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::{print, print_error};
use crate::cli::{Format, OutputArgs};
use crate::error::Error;
use crate::rundir;

/// Columns of a result that goes to no terminal.
const USUAL_COLUMNS: usize = 100;

/// Set by SIGINT or SIGTERM.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Which it was.
static SIGNAL: AtomicUsize = AtomicUsize::new(0);

/// From now on SIGINT and SIGTERM only set the flag that is given back.
pub(super) fn watch_signals() -> Result<&'static AtomicBool, Error> {
    for signal in [SIGINT, SIGTERM] {
        let error = |source| Error::Signals { source };
        signal_hook::flag::register_usize(signal, &SIGNAL, signal as usize).map_err(error)?;
        signal_hook::flag::register(signal, &INTERRUPTED).map_err(error)?;
    }
    Ok(&INTERRUPTED)
}

/// A campaign's run directory and stream.
pub(super) struct Session {
    pub(super) stream: Stream,
    run_dir: PathBuf,
    output: OutputArgs,
    began: Instant,
    prepared: Option<Duration>,
}

impl Session {
    /// Makes the run directory, `chosen` or one below `runs`, and begins the stream.
    pub(super) fn begin(
        chosen: Option<&Path>,
        scenario: &str,
        output: OutputArgs,
        started: CampaignStarted,
    ) -> Result<Self, Error> {
        Self::begin_in(rundir::make(chosen, scenario)?, output, started)
    }

    /// Begins the stream in a run directory that is there and holds no event log.
    pub(super) fn begin_in(
        run_dir: PathBuf,
        output: OutputArgs,
        started: CampaignStarted,
    ) -> Result<Self, Error> {
        let level = match (output.quiet, output.verbose) {
            (true, _) => Level::Quiet,
            (_, true) => Level::Verbose,
            _ => Level::Normal,
        };
        let options = TerminalOptions { level, color: output.color, progress: !output.no_progress };
        let log = EventLog::create(&run_dir)?;
        let stream = Stream::new(vec![Box::new(log), Box::new(Terminal::new(options))]);
        let mut session = Self { stream, run_dir, output, began: Instant::now(), prepared: None };
        session.stream.emit(&Event::CampaignStarted(started))?;
        Ok(session)
    }

    pub(super) fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// Everything that comes before the first iteration is done.
    pub(super) fn prepared(&mut self) {
        self.prepared.get_or_insert_with(|| self.began.elapsed());
    }

    /// Writes down how it ended and prints the result. What was done is kept, whatever ended it.
    pub(super) fn end(mut self, result: Result<(), Error>) -> Result<Exit, Error> {
        let (outcome, exit) = match &result {
            Ok(()) => (Outcome::Completed, Exit::Passed),
            Err(Error::Interrupted) => (Outcome::Interrupted { signal: signal_name() }, Exit::Interrupted),
            Err(error) => (Outcome::Stopped { reason: error.to_string() }, error.exit()),
        };
        let mut failures: Vec<Error> = Vec::new();
        let mut note = |result: Result<(), StoreError>| failures.extend(result.err().map(Error::from));
        // The tally's own exit code needs to know the outcome, and the event holds the code.
        let exit = Exit::worst([exit, self.stream.tally().exit_with(&outcome)]);
        let wall = self.began.elapsed();
        note(self.stream.emit(&Event::CampaignEnded {
            outcome,
            exit_code: exit.code(),
            wall_s: wall.as_secs_f64(),
            prepared_s: self.prepared.unwrap_or(wall).as_secs_f64(),
        }));
        note(self.stream.finish());
        let report = Report::from(self.stream.tally());
        note(report.write(&self.run_dir).map(drop));
        // What the page shows is kept by now; a disk without room for it changes nothing about the campaign.
        let page = html::write(&html::path(&self.run_dir), &report, &self.stream);
        let judged_something = report.points.attempted > 0 || report.states.judged > 0;
        if judged_something || result.is_ok() {
            let text = match self.output.format {
                Format::Json => report.to_json().map_err(Error::Json)?,
                Format::Human => self.summary(&report),
            };
            print(&text)?;
        }
        match result {
            Ok(()) | Err(Error::Interrupted) => {}
            Err(error) => print_error(&error),
        }
        // A full disk that stopped the campaign shows again when its end is written down: once is enough.
        let exit = Exit::worst(failures.iter().map(Error::exit).chain([exit]));
        match (failures.first(), exit, page) {
            (Some(failure), Exit::Lacking, _) => print_error(failure),
            (None, _, Err(error)) => print_error(&error.into()),
            _ => {}
        }
        Ok(exit)
    }

    fn summary(&self, report: &Report) -> String {
        summary_of(report, self.output.color, Some(self.run_dir.clone()))
    }
}

/// The result of a campaign for a person; where GitHub runs it, with what it shows beside the code.
pub(super) fn summary_of(report: &Report, color: ColorChoice, run_dir: Option<PathBuf>) -> String {
    let screen = SummaryOptions::for_stdout(USUAL_COLUMNS);
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width = columns.unwrap_or(screen.width);
    let options = SummaryOptions { width, color: color.for_stdout(), run_dir, ..screen };
    let mut text = summary::render(report, &options);
    if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        text.push_str(&annotations::github(report));
    }
    text
}

fn signal_name() -> String {
    match i32::try_from(SIGNAL.load(Ordering::Relaxed)) {
        Ok(SIGTERM) => "SIGTERM",
        _ => "SIGINT",
    }
    .to_owned()
}
