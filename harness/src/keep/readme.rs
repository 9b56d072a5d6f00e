//! `README.txt` beside kept states: what they are, and how to look at them.

use std::path::Path;

use scenarios::Resolved;

use super::{BASELINE, CRASH, CRASH_SCRATCH, RESUMED, look};
use crate::judge::Judgement;
use crate::prepare::Known;
use crate::token::Token;

/// The text for the folders that are below `folder`. Commands name files from there.
pub(super) fn text(
    folder: &Path,
    resolved: &Resolved,
    known: &Known,
    token: &Token,
    judgement: &Judgement,
) -> String {
    let scenario = &resolved.scenario;
    let folders = [
        (CRASH, "what was there at the crash, before anything was resumed"),
        (CRASH_SCRATCH, "what lay in the scratch directory at the crash"),
        (RESUMED, "what the resume left"),
        (BASELINE, "what an uninterrupted run leaves"),
    ];
    let there = folders.iter().filter(|(name, _)| folder.join(name).is_dir());
    let list: String = there.map(|(name, what)| format!("  {name:<14} {what}\n")).collect();
    let resumed = folder.join(RESUMED).is_dir();
    let none = if resumed { "" } else { "  Nothing was resumed: the tool had said that it was done.\n" };
    let compared = if resumed { RESUMED } else { CRASH };
    let here = |line: String| line.replace(&format!("{}/", folder.display()), "");
    let shown: &[&str] = if resumed { &[CRASH, RESUMED] } else { &[CRASH] };
    let looks = shown.iter().flat_map(|name| look::commands(&folder.join(name)));
    let looks = looks.map(here);
    let looks: String = looks.map(|line| format!("  {line}\n")).collect();
    format!(
        "The states of a finding of killpoint {killpoint}. They are copies, and sparse.\n\n\
         Scenario  {name}: {summary}\n\
         Phase     {phase}\n\
         Command   {command}\n\
         Faults    {faults}\n\
         Verdict   {verdict}{oracle}\n\
         Explain   {explain}\n\
         Token     {token}\n\n\
         Folders\n{list}{none}\n\
         To look at them, in this directory:\n{looks}  diff -rq {compared} {BASELINE}\n",
        killpoint = env!("CARGO_PKG_VERSION"),
        name = scenario.name,
        summary = scenario.summary,
        phase = known.phase.name,
        command = known.phase.run.join(" "),
        faults = token.describe_kills(),
        verdict = judgement.verdict.name(),
        oracle = if judgement.oracle.is_empty() { String::new() } else { format!(" ({})", judgement.oracle) },
        explain = if judgement.explain.is_empty() { "-" } else { &judgement.explain },
    )
}
