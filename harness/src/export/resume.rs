//! The commands that resume a phase as a script of a POSIX shell: with the environment, the input, the limits and the
//! accepted exit codes that they have under killpoint, on a folder that is given.

use std::fs;
use std::path::Path;

use scenarios::model::Phase;

use crate::exec::Spec;
use crate::stage::{Job, Which, Words};
use crate::tools::{self, SEARCH_PATH};

/// Stands for the folder of the scenario.
const SCENARIO_DIR: &str = "{scenario_dir}";

/// Time after the limit until a command that does not end by itself is killed.
const GRACE: &str = "1s";

/// The script in the making.
pub(super) struct Script<'a> {
    phase: &'a Phase,
    words: &'a Words,
    /// The command line that stands for a scenario, and what of the user's files stands for which word of the shell.
    exec: Option<&'a Spec>,
    commands: Vec<(Vec<String>, Vec<i32>)>,
}

impl<'a> Script<'a> {
    /// For what resumes a phase; nothing does where the tool is `done`.
    pub fn new(phase: &'a Phase, words: &'a Words, exec: Option<&'a Spec>, done: bool) -> Self {
        let commands = match done {
            true => Vec::new(),
            false => Job { phase, which: Which::Resume, cut: None }.commands(),
        };
        let commands = commands.into_iter().map(|(words, exit)| (words.to_vec(), exit.to_vec())).collect();
        Self { phase, words, exec, commands }
    }

    /// Whether it needs files that lie beside the scenario.
    pub fn names_scenario_dir(&self) -> bool {
        let words = self.commands.iter().flat_map(|(words, _)| words);
        words.chain(self.words.environment.values()).any(|word| word.contains(SCENARIO_DIR))
    }

    /// The commands, one on a line, as a person reads them.
    pub fn listed(&self) -> Vec<String> {
        self.commands.iter().map(|(words, _)| words.join(" ")).collect()
    }

    /// The script. `has_assets`: what lies beside the scenario is in the folder `scenario` beside the script.
    pub fn text(&self, has_assets: bool) -> String {
        let scenario_dir = match has_assets {
            true => "$here/scenario".to_owned(),
            false => quoted(&self.words.scenario_dir.to_string_lossy()),
        };
        let mut text = format!(
            "#!/bin/sh\n\
             # Resumes phase `{}` as killpoint did. usage: resume.sh VOLUME SCRATCH (two folders)\n\
             set -u\n\
             [ $# -eq 2 ] || {{ echo \"usage: resume.sh VOLUME SCRATCH\" >&2; exit 2; }}\n\
             here=$(cd \"$(dirname \"$0\")\" && pwd) || exit 2\n\
             volume=$(cd \"$1\" && pwd) || exit 2\n\
             scratch=$(cd \"$2\" && pwd) || exit 2\n\
             scenario_dir={scenario_dir}\n\
             cd \"$volume\" || exit 2\n",
            self.phase.name
        );
        if self.commands.is_empty() {
            text += "# The tool had said that it was done: nothing is resumed.\n";
        } else if let Ok(limit) = humantime::parse_duration(&self.phase.time_limit) {
            text += &format!(
                "if command -v timeout >/dev/null; then limit='timeout -k {GRACE} {}'; else limit=; fi\n",
                limit.as_secs_f64()
            );
        }
        for (words, exit) in &self.commands {
            text += &self.command(words, exit);
        }
        text
    }

    fn command(&self, words: &[String], exit: &[i32]) -> String {
        let input = match &self.phase.input {
            Some(input) => format!("printf '%s' {} | ", quoted(input)),
            None => String::new(),
        };
        let end = if self.phase.input.is_some() { "" } else { " </dev/null" };
        let mut line = format!("\n{input}$limit env -i PATH={SEARCH_PATH} HOME=/nonexistent LC_ALL=C TZ=UTC");
        line += " TMPDIR=\"$scratch\"";
        for (name, value) in &self.words.environment {
            line += &format!(" {}={}", quoted(name), self.word(value));
        }
        let name = words.first().map_or("", String::as_str);
        for (place, word) in words.iter().enumerate() {
            line += " ";
            line += &if place == 0 { self.program(word) } else { self.word(&self.absolute(word)) };
        }
        let [accepted, said] =
            ["|", " or "].map(|between| exit.iter().map(i32::to_string).collect::<Vec<_>>().join(between));
        line + &format!(
            "{end}\ncode=$?\ncase $code in\n{accepted}) ;;\n*) echo \"resume.sh:\" {} \"exited with $code, expected {said}\" >&2; \
             exit 1 ;;\nesac\n",
            quoted(name)
        )
    }

    /// The program: by its name where everybody finds the same one by it.
    fn program(&self, name: &str) -> String {
        match self.words.programs.get(name) {
            Some(path) if tools::find_in_path(name).as_ref() != Some(path) => quoted(&path.to_string_lossy()),
            _ => self.word(name),
        }
    }

    /// A word of a command line that names a file by a relative path, by an absolute one: the script runs elsewhere.
    fn absolute(&self, word: &str) -> String {
        let Some(spec) = self.exec.filter(|_| !word.is_empty() && !word.starts_with('/')) else {
            return word.to_owned();
        };
        match fs::canonicalize(spec.directory.join(word)) {
            Ok(path) if path.is_file() || word.contains('/') => path.to_string_lossy().into_owned(),
            _ => word.to_owned(),
        }
    }

    /// A word for the shell, with what stands for the folders and the user's files replaced.
    fn word(&self, word: &str) -> String {
        let mut named = vec![
            ("{volume}".to_owned(), "\"$volume\"".to_owned()),
            ("{scratch}".to_owned(), "\"$scratch\"".to_owned()),
            (SCENARIO_DIR.to_owned(), "\"$scenario_dir\"".to_owned()),
        ];
        if let Some(spec) = self.exec {
            let text = |path: &Path| path.to_string_lossy().into_owned();
            for (name, path) in spec.files() {
                named.push((text(&path), format!("\"$volume\"/{}", quoted(&name))));
            }
            named.extend(spec.volume.iter().map(|path| (text(path), "\"$volume\"".to_owned())));
        }
        replaced(word, &named)
    }
}

/// A word for the shell, in which some parts stand for other words of it.
fn replaced(word: &str, named: &[(String, String)]) -> String {
    let next = named
        .iter()
        .filter_map(|(part, other)| Some((word.find(part.as_str())?, part, other)))
        .min_by_key(|(at, part, _)| (*at, usize::MAX - part.len()));
    match next {
        None => quoted(word),
        Some((at, part, other)) => {
            let piece = |text: &str, shown: fn(&str) -> String| match text {
                "" => String::new(),
                text => shown(text),
            };
            let rest = &word[at + part.len()..];
            let rest = if rest.is_empty() { String::new() } else { replaced(rest, named) };
            format!("{}{other}{rest}", piece(&word[..at], quoted))
        }
    }
}

/// A word in which the shell finds nothing to do.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,%@".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    //! Goal: the shell gets the very words that killpoint runs. Method: a shell prints what it makes of them.

    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn by_shell(word: &str) -> String {
        let script = format!("volume='/v v'; printf %s {word}");
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn the_shell_reads_each_word_as_it_was(text in "[ -~\n]{0,12}(\\{volume\\})?[ -~]{0,6}") {
            let named = [("{volume}".to_owned(), "\"$volume\"".to_owned())];
            prop_assert_eq!(by_shell(&replaced(&text, &named)), text.replace("{volume}", "/v v"));
        }
    }

    #[test]
    fn of_two_names_at_one_place_the_longer_one_is_meant() {
        let named = [("/a".to_owned(), "short".to_owned()), ("/a/b".to_owned(), "long".to_owned())];
        assert_eq!(replaced("x/a/b/c", &named), "xlong/c");
        assert_eq!(replaced("/a/c", &named), "short/c");
    }
}
