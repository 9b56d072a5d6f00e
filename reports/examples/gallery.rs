//! Prints the gallery of run directories: `gallery ABOUT_DIR RUN_DIR…`. What a scenario is about stands in
//! `ABOUT_DIR/SCENARIO.md`.

use std::path::PathBuf;
use std::process::ExitCode;

use reports::Report;
use reports::gallery::{Exhibit, render};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let Some(about_dir) = arguments.next() else {
        eprintln!("usage: gallery ABOUT_DIR RUN_DIR…");
        return ExitCode::from(2);
    };
    let mut exhibits = Vec::new();
    for run_dir in arguments {
        let report = match Report::read(&run_dir) {
            Ok(report) => report,
            Err(error) => return failed(&error.to_string()),
        };
        let path = about_dir.join(format!("{}.md", report.scenario));
        match std::fs::read_to_string(&path) {
            Ok(about) => exhibits.push(Exhibit { about, report }),
            Err(error) => return failed(&format!("`{}` can't be read: {error}", path.display())),
        }
    }
    print!("{}", render(&exhibits));
    ExitCode::SUCCESS
}

fn failed(why: &str) -> ExitCode {
    eprintln!("gallery: {why}");
    ExitCode::from(2)
}
