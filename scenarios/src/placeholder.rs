//! Placeholders: `{name}` in any string of a scenario. Those of the scale are replaced when the scenario is loaded,
//! anywhere but in patterns; those of the run (`{volume}`) stay for the harness, and each place accepts only the ones
//! that have a value there.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Fault, Problem};
use crate::locate::Step;

/// What is filled in when the tool runs: in `run`, `resume` and `[environment]`.
pub const RUN_PLACEHOLDERS: &[&str] = &["scenario_dir", "scratch", "volume"];
/// What is filled in when a fixture's command runs.
pub const FIXTURE_PLACEHOLDERS: &[&str] = &["scenario_dir", "volume"];
/// What is filled in when a command oracle (`run`, `prove`) is asked.
pub const ORACLE_PLACEHOLDERS: &[&str] =
    &["acks", "baseline", "exit", "scenario_dir", "scratch", "start", "volume"];

/// Replaces the scale's placeholders in every string under `value`, except in the scale tables themselves.
pub(crate) fn substitute(
    value: &mut Value,
    path: &mut Vec<Step>,
    scale: &BTreeMap<String, String>,
) -> Result<(), Fault> {
    match value {
        Value::String(text) => *text = fill(text, path, scale)?,
        Value::Array(items) => {
            for (place, item) in items.iter_mut().enumerate() {
                path.push(Step::Item(place));
                substitute(item, path, scale)?;
                path.pop();
            }
        }
        Value::Object(entries) => {
            for (key, entry) in entries.iter_mut() {
                if path.is_empty() && key == "scale" {
                    continue;
                }
                path.push(Step::Key(key.clone()));
                if !is_pattern(path) {
                    substitute(entry, path, scale)?;
                }
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

fn fill(text: &str, path: &[Step], scale: &BTreeMap<String, String>) -> Result<String, Fault> {
    let at_run = filled_later(path);
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        filled.push_str(&rest[..open]);
        rest = &rest[open..];
        let Some(name) = name_in_braces(rest) else {
            filled.push('{');
            rest = &rest[1..];
            continue;
        };
        let whole = &rest[..name.len() + 2];
        if let Some(value) = scale.get(name) {
            filled.push_str(value);
        } else if at_run.contains(&name) {
            filled.push_str(whole);
        } else {
            let mut known: Vec<String> = scale.keys().cloned().collect();
            known.extend(at_run.iter().map(|name| (*name).to_owned()));
            let problem = Problem::UnknownPlaceholder { name: name.to_owned(), known };
            return Err(Fault::new(path.to_vec(), problem));
        }
        rest = &rest[whole.len()..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// What is filled in only when the command at `path` runs; nothing in what reaches no process.
fn filled_later(path: &[Step]) -> &'static [&'static str] {
    let key = |at: usize| match path.get(at) {
        Some(Step::Key(key)) => key.as_str(),
        _ => "",
    };
    match (key(0), key(1), key(2)) {
        ("environment", ..) | ("phase", _, "run" | "resume") => RUN_PLACEHOLDERS,
        ("fixture", "command", _) => FIXTURE_PLACEHOLDERS,
        ("oracle", _, "run" | "prove") => ORACLE_PLACEHOLDERS,
        _ => &[],
    }
}

/// Regular expressions have braces of their own.
fn is_pattern(path: &[Step]) -> bool {
    matches!(path, [Step::Key(phase), Step::Item(_), Step::Key(key)]
        if phase == "phase" && ["step_pattern", "ack_pattern"].contains(&key.as_str()))
}

/// The name in `{name}` at the start of `text`; braces around anything else are ordinary text.
fn name_in_braces(text: &str) -> Option<&str> {
    let name = text.strip_prefix('{')?.split_once('}')?.0;
    let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locate::key_path;

    fn scale() -> BTreeMap<String, String> {
        BTreeMap::from([("size".to_owned(), "33M".to_owned())])
    }

    #[test]
    fn the_scales_values_are_filled_in_and_run_placeholders_stay() {
        let path = key_path!["phase", 0, "run", 1];
        let filled = fill("label:P3:{size},{volume}/d", &path, &scale()).unwrap();
        assert_eq!(filled, "label:P3:33M,{volume}/d");
    }

    #[test]
    fn a_run_placeholder_means_nothing_in_the_fixture() {
        let path = key_path!["fixture", "disk", "size"];
        assert!(fill("{volume}", &path, &scale()).is_err());
    }

    #[test]
    fn each_place_accepts_only_what_has_a_value_there() {
        let run = key_path!["phase", 0, "resume", 0, 1];
        let oracle = key_path!["oracle", 0, "run", 1];
        let fixture = key_path!["fixture", "command", 1];
        for (path, name, accepted) in [
            (&run, "scratch", true),
            (&run, "baseline", false),
            (&oracle, "baseline", true),
            (&oracle, "exit", true),
            (&fixture, "volume", true),
            (&fixture, "scratch", false),
        ] {
            assert_eq!(fill(&format!("{{{name}}}"), path, &scale()).is_ok(), accepted, "{name} {path:?}");
        }
    }

    #[test]
    fn braces_around_no_name_are_text() {
        let path = key_path!["summary"];
        for text in ["{", "}", "{}", "{\"a\": 1}", "{A}", "{3}", "a{b c}d"] {
            assert_eq!(fill(text, &path, &scale()).unwrap(), text);
        }
    }
}
