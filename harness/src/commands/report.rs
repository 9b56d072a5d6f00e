//! `report`: the result of a run directory again, or of several that are the shards of one sweep.

use std::path::PathBuf;

use reports::merge::merge;
use reports::{Event, EventLog, Exit, Report, Stream, Tally};

use super::print;
use super::session::summary_of;
use crate::cli::{Format, ReportArgs};
use crate::error::Error;
use crate::rundir;

pub(super) fn report(args: ReportArgs) -> Result<Exit, Error> {
    let read = |dir: &PathBuf| Ok::<_, Error>(EventLog::read(dir)?.events);
    let all: Vec<Vec<Event>> = args.run_dirs.iter().map(read).collect::<Result<_, _>>()?;
    let events = match <[Vec<Event>; 1]>::try_from(all) {
        Ok([events]) => events,
        Err(parts) => merge(parts)?,
    };
    let report = match &args.run_dir {
        Some(dir) => write(dir, &events)?,
        None => {
            let mut tally = Tally::default();
            events.iter().for_each(|event| tally.event(event));
            Report::from(&tally)
        }
    };
    let run_dir =
        args.run_dir.clone().or_else(|| Some(args.run_dirs[0].clone()).filter(|_| args.run_dirs.len() == 1));
    print(&match args.format {
        Format::Json => report.to_json().map_err(Error::Json)?,
        Format::Human => summary_of(&report, args.color, run_dir),
    })?;
    Ok(report.exit_code.and_then(Exit::from_code).unwrap_or(Exit::NotMeasured))
}

/// Makes a run directory of events.
fn write(dir: &std::path::Path, events: &[Event]) -> Result<Report, Error> {
    let dir = rundir::make(Some(dir), "")?;
    let mut stream = Stream::new(vec![Box::new(EventLog::create(&dir)?)]);
    for event in events {
        stream.emit(event)?;
    }
    stream.finish()?;
    let report = Report::from(stream.tally());
    report.write(&dir)?;
    Ok(report)
}
