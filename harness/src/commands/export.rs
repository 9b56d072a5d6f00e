//! `export`: one finding as files that can be replayed without killpoint.

use reports::{ColorChoice, Exit, Seam, Stream};
use serde_json::json;

use super::print;
use super::repro::{named, ready};
use super::run::Loaded;
use crate::cli::{ExportArgs, Format, LogFormat, OutputArgs, PlaceArgs, ReproArgs};
use crate::error::Error;
use crate::export::{self, Exported, Facts};
use crate::repro;

pub(super) fn export(args: ExportArgs) -> Result<Exit, Error> {
    let LogFormat::LogWrites = args.log_format;
    let (token, kept) = named(&args.token)?;
    if token.seam != Seam::Fuse {
        return Err(Error::NotRecorded);
    }
    export::check(&token, &args.out)?;
    let (loaded, setting) = ready(&token, &asked(&args))?;
    let Loaded { resolved, programs, .. } = loaded;
    let facts =
        Facts { tool_versions: programs.versions(&resolved), ships: !resolved.assets.is_empty(), kept };
    let mut stream = Stream::new(Vec::new());
    let mut prepared = repro::prepare_for(&token, resolved, programs, &setting, &mut stream)?;
    let exported = export::export(&token, &facts, &mut prepared, setting.exec.as_ref(), &args.out)?;
    print(&match args.format {
        Format::Human => describe(&args, &exported),
        Format::Json => as_json(&args, &exported),
    })?;
    Ok(Exit::Passed)
}

/// What a reproduction of the finding would be asked.
fn asked(args: &ExportArgs) -> ReproArgs {
    ReproArgs {
        token: args.token.clone(),
        scenario: args.scenario.clone(),
        yes: args.yes,
        keep: None,
        pause: false,
        place: PlaceArgs { run_dir: None, work_dir: args.work_dir.clone(), min_free: None },
        output: OutputArgs {
            format: Format::Human,
            quiet: true,
            verbose: false,
            color: ColorChoice::Auto,
            no_progress: true,
        },
    }
}

fn as_json(args: &ExportArgs, exported: &Exported) -> String {
    let Exported { file, judgement, entries: (run, crash) } = exported;
    let told = json!({
        "schema": 1, "out": args.out, "file": file, "verdict": judgement.verdict.name(), "oracle": judgement.oracle,
        "run_entries": run, "crash_entries": crash,
    });
    format!("{told:#}\n")
}

fn describe(args: &ExportArgs, exported: &Exported) -> String {
    let Exported { file, judgement, entries: (run, crash) } = exported;
    let oracle = if judgement.oracle.is_empty() { String::new() } else { format!(" ({})", judgement.oracle) };
    format!(
        "{out}: {verdict}{oracle}\n  `{file}`: {run} entries of the whole run, {crash} at the crash\n  \
         sh scenarios/replay-finding.sh {out}\n",
        out = args.out.display(),
        verdict = judgement.verdict.name(),
        file = file.display(),
    )
}
