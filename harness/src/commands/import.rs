//! `import` and `replay-log`: a run that was recorded elsewhere as a dm-log-writes log, as a tool that can be crashed.

use std::path::{Path, PathBuf};

use reports::Exit;
use serde_json::json;

use super::{print, sweep};
use crate::cli::{CommandArgs, ExecArgs, Format, ImportArgs, ReplayLogArgs};
use crate::error::Error;
use crate::replay_log;

/// Finds the marks among what [`replay_log`] prints.
const STEP_PATTERN: &str = "^step: (.*)";

/// A sweep of the command that replays the log.
pub(super) fn import(args: ImportArgs) -> Result<Exit, Error> {
    // Before anything is made: a log that ends in the middle would show as a failing tool.
    replay_log::check(&args.log, &args.image)?;
    if args.resume.is_empty() {
        eprintln!(
            "killpoint: warning: without --resume the log is replayed again after each crash, which mends all that it \
             writes: only what has to hold at the crash is asked"
        );
    }
    let text = |path: &Path| {
        let path = std::fs::canonicalize(path).map_err(Error::io(path))?;
        Ok::<_, Error>(path.display().to_string())
    };
    let own = std::env::current_exe().map_err(Error::OwnExecutable)?;
    let image = text(&args.image)?;
    let command = vec![own.display().to_string(), "replay-log".to_owned(), text(&args.log)?, image.clone()];
    let what = CommandArgs {
        images: vec![PathBuf::from(image)],
        volume: None,
        resume: args.resume,
        check: args.check,
        accept: args.accept,
        mask: args.mask,
        untouched: args.untouched,
        env: Vec::new(),
        step_pattern: Some(STEP_PATTERN.to_owned()),
        exit: args.exit,
        time_limit: args.time_limit,
        real_time: false,
    };
    sweep::exec(ExecArgs { what, points: args.points, place: args.place, output: args.output, command })
}

/// The command that a sweep of a log runs.
pub(super) fn replay_log(args: ReplayLogArgs) -> Result<Exit, Error> {
    let (mut printed, mut marks) = (Ok(()), Vec::new());
    replay_log::replay(&args.log, &args.image, &mut |name| {
        let name = name.replace(char::is_control, "?");
        match args.format {
            // What is printed is read before the next op: it says which step that belongs to.
            Format::Human if printed.is_ok() => printed = print(&format!("step: {name}\n")),
            Format::Human => {}
            Format::Json => marks.push(name),
        }
    })?;
    printed?;
    if args.format == Format::Json {
        print(&format!("{:#}\n", json!({ "schema": 1, "marks": marks })))?;
    }
    Ok(Exit::Passed)
}
