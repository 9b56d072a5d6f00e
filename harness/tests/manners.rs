//! Goal: whoever types `--help`, presses the tab key or mistypes a name gets what helps at once, of every command that there
//! is or will be. Method: tables over all subcommands, taken from the command line itself; the examples of the help are
//! parsed as a shell and killpoint would; the binary is run for what it generates.

mod common;

use std::collections::BTreeSet;
use std::process::{Command, Output};

use clap::{CommandFactory, Parser};
use common::text_of;
use killpoint::cli::Cli;

/// What a person asks killpoint for, by name.
fn subcommands() -> Vec<String> {
    let names =
        Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect::<Vec<_>>();
    assert!(names.len() > 10, "{names:?}");
    names
}

fn killpoint(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_killpoint")).args(arguments).output().unwrap()
}

fn help_of(arguments: &[&str]) -> String {
    let output = killpoint(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Examples begin with the command's name; what they are for stands behind two spaces, or on the next line.
fn examples(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    let lines =
        lines.take_while(|line| line.starts_with("  ")).filter(|line| line.starts_with("  killpoint "));
    lines.map(|line| line.trim().split("  ").next().unwrap_or_default()).collect()
}

#[test]
fn the_help_of_every_command_has_examples_that_parse_and_exit_codes() {
    for name in subcommands() {
        for help in [help_of(&[&name, "--help"]), help_of(&[&name, "-h"])] {
            let found = examples(&help);
            assert!(!found.is_empty(), "{name} has no examples:\n{help}");
            for example in found {
                let command = example.split(" > ").next().unwrap_or_default();
                let words = shell_words::split(command).unwrap_or_else(|error| panic!("{example}: {error}"));
                assert_eq!(words.get(1), Some(&name), "{example}");
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{example}: {error}");
                }
            }
            assert!(help.contains("\nExit codes:\n"), "{name} has no exit codes:\n{help}");
        }
    }
}

#[test]
fn the_help_of_killpoint_has_examples_that_parse_and_exit_codes() {
    let help = help_of(&["--help"]);
    assert!(help.contains("\nExit codes:\n"), "{help}");
    assert!(examples(&help).len() >= 3, "{help}");
    for example in examples(&help) {
        match Cli::try_parse_from(shell_words::split(example).unwrap()) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.exit_code(), 0, "{example}: {error}"),
        }
    }
}

#[test]
fn every_shell_completes_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let text = help_of(&["completions", shell]);
        for name in subcommands() {
            assert!(text.contains(&name), "{shell} does not complete {name}");
        }
        assert!(text.contains("torn-per-write"), "{shell} does not complete options");
    }
}

/// What bash itself makes of them.
#[test]
fn bash_takes_the_completions_and_completes_a_subcommand() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("killpoint");
    std::fs::write(&file, help_of(&["completions", "bash"])).unwrap();
    let script = "source \"$1\"; COMP_WORDS=(killpoint swe); COMP_CWORD=1; _killpoint killpoint swe killpoint; \
                  echo \"${COMPREPLY[@]}\"";
    let output =
        Command::new("bash").args(["-c", script, "bash"]).arg(&file).output().expect("there is a bash");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "sweep", "{}", text_of(&output));
}

#[test]
fn every_command_has_a_manual_page_with_its_examples() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("new");
    let told = help_of(&["man", "--out", out.to_str().unwrap()]);
    let pages: BTreeSet<String> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(told.lines().count(), pages.len());
    let expected =
        subcommands().into_iter().map(|name| format!("killpoint-{name}.1")).chain(["killpoint.1".to_owned()]);
    assert_eq!(pages, expected.collect());
    for page in pages {
        let text = std::fs::read_to_string(out.join(&page)).unwrap();
        assert!(text.contains("Examples:") && text.contains("Exit codes:"), "{page}: {text}");
    }
}

/// A misspelt name, and the one that is suggested.
#[test]
fn a_misspelt_name_is_answered_with_the_near_one() {
    let dir = tempfile::tempdir().unwrap();
    let scenario = |name: &str, from: &str, to: &str| {
        let text = killpoint::demo::text_of("in-place.toml").unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(dir.path().join("app.conf"), "").unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let at = "at = \"both\"";
    let phase = scenario("phase.toml", at, "at = \"both\"\nphases = [\"sett\"]");
    let oracle = scenario("oracle.toml", "kind = \"command\"", "kind = \"comand\"");
    let key = scenario("key.toml", at, "att = \"both\"");
    for (arguments, near) in [
        (&["swep"][..], "'sweep'"),
        (&["repor"], "'report'"),
        (&["sweep", "sgdsk-new"], "`sgdisk-new`"),
        (&["run", "mixed-layuot"], "`mixed-layout`"),
        (&["show", "mixed-layout", "--scale", "ful"], "`full`"),
        (&["sweep", "sgdisk-new", "--model", "kil"], "'kill'"),
        (&["sweep", "sgdisk-new", "--modle", "kill"], "'--model'"),
        (&["show", &phase], "did you mean `set`?"),
        (&["show", &oracle], "did you mean `command`?"),
        (&["show", &key], "did you mean `at`?"),
    ] {
        let output = killpoint(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text_of(&output));
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(near),
            "{arguments:?}: {}",
            text_of(&output)
        );
    }
}

/// The command lines of the pages about continuous integration are ones that killpoint takes.
#[test]
fn every_command_in_the_pages_for_ci_parses() {
    let pages = [
        include_str!("../../docs/ci.md"),
        include_str!("../../deploy/github-actions.yml"),
        include_str!("../../deploy/slurm-array.sh"),
    ];
    let words = regex::Regex::new(r#"killpoint\)?"? ((?:sweep|report|run|doctor)\b[^'`|;]*)"#).unwrap();
    let variables = regex::Regex::new(r"\$\{\{[^}]*\}\}|\$\{?\w+\}?").unwrap();
    let mut parsed = 0;
    for page in pages {
        for found in words.captures_iter(&page.replace("\\\n", " ")) {
            let line = variables.replace_all(found[1].lines().next().unwrap_or_default(), "1");
            let words = shell_words::split(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            // `killpoint report` in a sentence is no command line.
            if words.len() > 1
                && let Err(error) =
                    Cli::try_parse_from(["killpoint"].into_iter().chain(words.iter().map(String::as_str)))
            {
                panic!("{line}: {error}");
            }
            parsed += 1;
        }
    }
    assert!(parsed >= 10, "{parsed}");
}
