//! `report`: the result of a run directory again, or of several that are the shards of one sweep, in the form that is asked
//! for; or two campaigns beside each other.

use std::path::Path;

use reports::compare::{self, Campaign, Comparison};
use reports::merge::merge;
use reports::{Event, EventLog, Exit, Report, Stream, html, junit};

use super::print;
use super::session::summary_of;
use crate::cli::{Format, ReportArgs};
use crate::error::Error;
use crate::rundir;

pub(super) fn report(args: ReportArgs) -> Result<Exit, Error> {
    if let [old, new] = args.compare.as_slice() {
        return compared(old, new, args.format);
    }
    let all: Vec<Vec<Event>> = args.run_dirs.iter().map(|dir| read(dir)).collect::<Result<_, _>>()?;
    let events = match <[Vec<Event>; 1]>::try_from(all) {
        Ok([events]) => events,
        Err(parts) => merge(parts)?,
    };
    let stream = match &args.run_dir {
        Some(dir) => write(dir, &events)?,
        None => told(&events, Stream::new(Vec::new()))?,
    };
    let report = Report::from(stream.tally());
    if let Some(path) = &args.html {
        html::write(path, &report, &stream)?;
    }
    if let Some(path) = &args.junit {
        std::fs::write(path, junit::render(&report, stream.chart())?).map_err(Error::io(path))?;
    }
    let run_dir =
        args.run_dir.clone().or_else(|| Some(args.run_dirs[0].clone()).filter(|_| args.run_dirs.len() == 1));
    print(&match args.format {
        Format::Json => report.to_json().map_err(Error::Json)?,
        Format::Human => summary_of(&report, args.color, run_dir),
    })?;
    Ok(report.exit_code.and_then(Exit::from_code).unwrap_or(Exit::NotMeasured))
}

/// What changed from one campaign to another.
fn compared(old: &Path, new: &Path, format: Format) -> Result<Exit, Error> {
    let campaign = |dir| told(&read(dir)?, Stream::new(Vec::new()));
    let (old, new) = (campaign(old)?, campaign(new)?);
    let (before, after) = (Report::from(old.tally()), Report::from(new.tally()));
    let comparison = Comparison::of(
        Campaign { report: &before, chart: old.chart() },
        Campaign { report: &after, chart: new.chart() },
    )?;
    print(&match format {
        Format::Json => comparison.to_json().map_err(Error::Json)?,
        Format::Human => compare::render(&comparison),
    })?;
    Ok(comparison.exit())
}

fn read(dir: &Path) -> Result<Vec<Event>, Error> {
    Ok(EventLog::read(dir)?.events)
}

/// A stream that was told the events.
fn told(events: &[Event], mut stream: Stream) -> Result<Stream, Error> {
    for event in events {
        stream.emit(event)?;
    }
    stream.finish()?;
    Ok(stream)
}

/// Makes a run directory of events.
fn write(dir: &Path, events: &[Event]) -> Result<Stream, Error> {
    let dir = rundir::make(Some(dir), "")?;
    let stream = told(events, Stream::new(vec![Box::new(EventLog::create(&dir)?)]))?;
    let report = Report::from(stream.tally());
    report.write(&dir)?;
    html::write(&html::path(&dir), &report, &stream)?;
    Ok(stream)
}
