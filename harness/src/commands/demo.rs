//! `demo`: a first experience. The sweeps are those that its lines show, so what it says can be done by hand as well.

use std::path::Path;

use clap::Parser;
use reports::{Exit, Report};

use super::{print, sweep};
use crate::cli::{Cli, Command, DemoArgs, Format};
use crate::cpus;
use crate::demo::{self, BY_RENAME, IN_PLACE};
use crate::error::Error;

/// Every run of the demo looks at the same points.
const SEED: &str = "1";

pub(super) fn demo(args: DemoArgs) -> Result<Exit, Error> {
    demo::write(&args.dir)?;
    let cpus = cpus::allowed()?;
    let say = |text: &str| if args.output.format == Format::Human { print(text) } else { Ok(()) };
    say(&begun(&args.dir))?;
    let bad = swept(&args, IN_PLACE, &[])?;
    let found = Report::read(args.dir.join(IN_PLACE))?;
    let Some(finding) = found.findings.first().filter(|_| bad == Exit::Findings) else {
        return unexpected(bad, "the mistake of set-option.sh was not found");
    };
    say(MENDED)?;
    // The sweep bound this thread to the CPU of its first worker.
    cpus::bind(&cpus)?;
    let mended = swept(&args, BY_RENAME, &["--model", "kill,torn,power"])?;
    if mended != Exit::Passed {
        return unexpected(mended, "set-option-mended.sh did not pass");
    }
    say(&next(&args.dir, &finding.repro))?;
    Ok(Exit::Passed)
}

/// An exit code that says more is kept.
fn unexpected(exit: Exit, what: &'static str) -> Result<Exit, Error> {
    match exit {
        Exit::Passed | Exit::Findings => Err(Error::DemoOtherwise(what)),
        exit => Ok(exit),
    }
}

/// Does, and where a person reads shows, the sweep of one of the demo's scenarios.
fn swept(args: &DemoArgs, name: &str, more: &[&str]) -> Result<Exit, Error> {
    let scenario = args.dir.join(format!("{name}.toml")).display().to_string();
    let scenario = if scenario.contains('/') { scenario } else { format!("./{scenario}") };
    let run_dir = args.dir.join(name).display().to_string();
    let words = ["killpoint", "sweep", &scenario, "--seed", SEED, "--run-dir", &run_dir];
    let words = [&words[..], more].concat();
    if args.output.format == Format::Human {
        print(&format!("$ {}\n", words.join(" ")))?;
    }
    match Cli::try_parse_from(&words).map(|cli| cli.command) {
        Ok(Command::Sweep(parsed)) => {
            sweep::sweep(crate::cli::SweepArgs { output: args.output.clone(), ..parsed })
        }
        _ => Err(Error::DemoOtherwise("its sweep can't be asked for")),
    }
}

fn begun(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "\
{dir}/set-option.sh changes one setting of a file: it reads the file, empties it, and writes it again. That works, and a
test would pass. Now it is killed after each of its writes, run again, and what it leaves is compared with a run that
nobody killed.

"
    )
}

const MENDED: &str = "
Killed after it emptied the file, the tool finds nothing to read when it is run again: it exits with 0, and the other
settings are gone. set-option-mended.sh writes a second file, flushes it and renames it over the first one. Now the power
fails as well, which loses what was not flushed.

";

fn next(dir: &Path, repro: &str) -> String {
    let dir = dir.display();
    format!(
        "
What was found:
  {repro}
                       the finding again, live: exit 1 as long as it is there
  {dir}/{IN_PLACE}/report.html
                       the whole result, for a browser
What to do next:
  less {dir}/{IN_PLACE}.toml
                       how little a scenario is; `killpoint list` has more, and docs/tutorial.md the way to your own
  killpoint exec --volume DIR -- YOUR-TOOL …
                       a tool of yours, without a scenario
"
    )
}
