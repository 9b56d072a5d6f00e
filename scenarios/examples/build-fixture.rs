//! Builds the fixture of a scenario into a folder: `build-fixture SCENARIO FOLDER [SCALE]`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, folder, scale @ ..] = arguments.as_slice() else {
        eprintln!("usage: build-fixture SCENARIO FOLDER [SCALE]");
        return ExitCode::from(2);
    };
    let Err(error) = build(name, Path::new(folder), scale.first().map(String::as_str)) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  caused by: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

fn build(name: &str, folder: &Path, scale: Option<&str>) -> Result<(), Box<dyn Error>> {
    let resolved = scenarios::load(name, scale)?;
    Ok(scenarios::fixture::build(&resolved, folder)?)
}
