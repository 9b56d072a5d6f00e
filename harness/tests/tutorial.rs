//! Goal: whoever follows the tutorial sees what it says. Method: its files are written and its commands run in order, by a
//! shell in one folder; what they print is compared line by line. In the text `…` within a line stands for any text, and on a
//! line of its own for any lines; `[exit N]` is the exit code, 0 where it is not there. Progress, on standard error, counts
//! only where a command prints nothing else.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use common::text_of;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

const TUTORIAL: &str = include_str!("../../docs/tutorial.md");

fn main() -> ExitCode {
    let trials = vec![
        Trial::test("its_tool_is_that_of_the_demo", || {
            its_tool_is_that_of_the_demo();
            Ok(())
        }),
        Trial::ignorable_test("what_it_says_is_what_one_sees", || match killpoint::seam::lacking() {
            _ if !nix::unistd::geteuid().is_root() => Ok(Completion::ignored_with("this needs root")),
            Some(why) => Ok(Completion::ignored_with(format!("this needs FUSE: {why}"))),
            None => what_it_says_is_what_one_sees().map(|()| Completion::Completed),
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What a reader does.
#[derive(Debug)]
enum Step<'a> {
    /// Saves a file.
    Save { name: &'a str, text: String },
    /// Types a command, and expects these lines.
    Type { command: &'a str, expected: Vec<&'a str> },
}

/// The fenced blocks: ```` ```console ```` holds commands, and one with a second word is the file of that name.
fn steps() -> Vec<Step<'static>> {
    let mut steps = Vec::new();
    let mut lines = TUTORIAL.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match info.split_once(' ') {
            Some((_, name)) => {
                let text = block.iter().map(|line| format!("{line}\n")).collect();
                steps.push(Step::Save { name, text });
            }
            None => {
                assert_eq!(info, "console", "a block that nobody runs");
                for line in block {
                    match (line.strip_prefix("$ "), steps.last_mut()) {
                        (Some(command), _) => steps.push(Step::Type { command, expected: Vec::new() }),
                        (None, Some(Step::Type { expected, .. })) => expected.push(line),
                        (None, _) => panic!("output of no command: {line}"),
                    }
                }
            }
        }
    }
    steps
}

fn its_tool_is_that_of_the_demo() {
    let saved: Vec<String> = steps()
        .into_iter()
        .filter_map(|step| match step {
            Step::Save { name: "set-option.sh", text } => Some(text),
            _ => None,
        })
        .collect();
    let demo = ["set-option.sh", "set-option-mended.sh"].map(|name| killpoint::demo::text_of(name).unwrap());
    assert_eq!(saved, demo);
}

/// Whether a line is as expected, where `…` stands for any text.
fn line_fits(expected: &str, found: &str) -> bool {
    match expected.split_once('…') {
        None => expected == found,
        Some((begin, rest)) => found.strip_prefix(begin).is_some_and(|found| {
            let mut tails = found.char_indices().map(|(at, _)| &found[at..]).chain([""]);
            tails.any(|tail| line_fits(rest, tail))
        }),
    }
}

fn fits(expected: &[&str], found: &[&str]) -> bool {
    match expected {
        [] => found.is_empty(),
        ["…", rest @ ..] => (0..=found.len()).any(|skipped| fits(rest, &found[skipped..])),
        [first, rest @ ..] => {
            found.first().is_some_and(|line| line_fits(first, line)) && fits(rest, &found[1..])
        }
    }
}

fn type_it(command: &str, expected: &[&str], folder: &Path) {
    let killpoint = Path::new(env!("CARGO_BIN_EXE_killpoint")).parent().unwrap();
    let path = std::env::join_paths(
        [killpoint.to_owned()].into_iter().chain(std::env::split_paths(killpoint::tools::SEARCH_PATH)),
    );
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .env("PATH", path.unwrap())
        .output()
        .unwrap();
    let printed = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let printed = String::from_utf8_lossy(printed);
    let mut found: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let code = output.status.code().unwrap_or(-1);
    let exit = format!("[exit {code}]");
    // What a finding exits with is told only where it is new to the reader.
    if code != 0 && expected.last().is_some_and(|line| line.starts_with("[exit ")) {
        found.push(&exit);
    } else {
        assert!(matches!(code, 0 | 1), "$ {command}: {}", text_of(&output));
    }
    assert!(
        fits(expected, &found),
        "$ {command}\nexpected:\n{}\nfound:\n{}",
        expected.join("\n"),
        found.join("\n")
    );
}

fn what_it_says_is_what_one_sees() -> Result<(), Failed> {
    let folder = tempfile::tempdir().unwrap();
    let steps = steps();
    assert!(steps.len() > 15, "{steps:?}");
    for step in steps {
        match step {
            Step::Save { name, text } => fs::write(folder.path().join(name), text).unwrap(),
            Step::Type { command, expected } => type_it(command, &expected, folder.path()),
        }
    }
    Ok(())
}
