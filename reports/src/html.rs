//! A campaign as one page for a browser: the claim, the crash map, timelines, tables and findings. The page is one file
//! that fetches nothing; without scripts everything but the drawing of the map is still there.

use std::path::{Path, PathBuf};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::report::replace_file;
use crate::{Bytes, Chart, Exit, Report, StoreError, Stream, summary};

mod findings;
mod hex;
mod map;
mod script;
mod shapes;
mod tables;
mod timeline;

use findings::Findings;
use map::Map;

/// Name of the page in a run directory.
const FILE_NAME: &str = "report.html";

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// Nothing is fetched from anywhere, whatever a tool's output may have smuggled in.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// Path of the page in the run directory `dir`.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

/// Writes the page to `path`: whole or not at all, in place of an older one. `stream` was told what the report is made of.
pub fn write(path: &Path, report: &Report, stream: &Stream) -> Result<(), StoreError> {
    replace_file(path, render(report, stream.chart(), stream.bytes()).as_bytes())
}

/// The page. Its length follows the number of crash states, at some 24 bytes each.
pub fn render(report: &Report, chart: &Chart, bytes: &Bytes) -> String {
    let findings = Findings::of(&report.findings, bytes);
    let facets = chart.facets().iter().filter(|facet| !facet.marks.is_empty());
    let maps: Vec<Map<'_>> = facets.map(|facet| Map::of(facet, &report.kills_by_step)).collect();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (report.scenario) " · killpoint" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(report))
                main {
                    (map_section(report, chart, &maps))
                    (findings.section())
                    (list("Not tested", "not-tested", &report.not_tested, "Nothing that was asked for was left out."))
                    (list("Warnings", "warnings", &report.warnings, "None."))
                    (tables::section(report))
                    (tables::origin(report))
                }
                (script::data(&maps, &findings))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn head(report: &Report) -> Markup {
    let exit = report.exit_code.and_then(Exit::from_code);
    let (class, said) = match exit {
        Some(Exit::Passed) => ("passed", "✓ passed"),
        Some(Exit::Findings) => ("failed", "✗ findings"),
        Some(Exit::Baseline) => ("failed", "✗ the uninterrupted run failed"),
        Some(Exit::Interrupted) => ("open", "! interrupted"),
        Some(Exit::Usage | Exit::Lacking) => ("open", "! could not go on"),
        Some(Exit::NotMeasured) => ("open", "! not measured"),
        None => ("open", "! cut short"),
    };
    html! {
        header {
            p.kicker { "killpoint " (report.killpoint) }
            h1 { (report.scenario) " " span.badge.(class) { (said) } }
            p.claim { (summary::claim(report)) }
            nav aria-label="Sections" {
                @for (anchor, name) in [
                    ("map", "Crash map"), ("findings", "Findings"), ("not-tested", "Not tested"),
                    ("figures", "Figures"), ("origin", "Origin"),
                ] { a href={ "#" (anchor) } { (name) } " " }
            }
        }
    }
}

fn map_section(report: &Report, chart: &Chart, maps: &[Map<'_>]) -> Markup {
    let is_sweep = report.command.is_some_and(crate::tally::is_sweep);
    let reached = if is_sweep { "crash point" } else { "landed kill" };
    html! {
        section #map aria-labelledby="map-title" {
            h2 #map-title { "Crash map" }
            @if chart.is_empty() {
                p { "No crash state was reached." }
            } @else {
                p {
                    "Each mark is a " (reached) ": from left to right the op after which, or inside which, the run was cut; from top "
                    "to bottom "
                    @if is_sweep { "what that op is about" } @else { "the step that it was cut in (ops of resumes are numbered anew)" }
                    "; its colour and shape are what became of it."
                    span.script-only {
                        " Point at one to read it; click it, or press Enter, to go to its finding. Arrow keys go from mark to "
                        "mark, n and p to the next and previous failure."
                    }
                }
                noscript { p.note { "Without scripts the map is not drawn; the tables below it say the same." } }
                (shapes::legend(chart))
                @for (index, map) in maps.iter().enumerate() { (map.figure(index)) }
            }
        }
    }
}

fn list(title: &str, id: &str, entries: &[String], none: &str) -> Markup {
    html! {
        section id=(id) aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (title) }
            @if entries.is_empty() { p.quiet { (none) } } @else {
                ul { @for entry in entries { li.words { (entry) } } }
            }
        }
    }
}

#[cfg(test)]
mod tests;
