//! Placeholders: `{name}` in any string of a scenario. Those of the scale are replaced when the scenario is loaded,
//! anywhere; those of the run (`{volume}`) stay for the harness and are accepted in commands and environment only.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Fault, Problem};
use crate::locate::Step;

/// What the harness fills in when it runs a command.
pub const RUN_PLACEHOLDERS: [&str; 3] = ["scenario_dir", "scratch", "volume"];

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
                substitute(entry, path, scale)?;
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

fn fill(text: &str, path: &[Step], scale: &BTreeMap<String, String>) -> Result<String, Fault> {
    let at_run = filled_at_run(path);
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
        } else if at_run && RUN_PLACEHOLDERS.contains(&name) {
            filled.push_str(whole);
        } else {
            let mut known: Vec<String> = scale.keys().cloned().collect();
            if at_run {
                known.extend(RUN_PLACEHOLDERS.map(str::to_owned));
            }
            let problem = Problem::UnknownPlaceholder { name: name.to_owned(), known };
            return Err(Fault::new(path.to_vec(), problem));
        }
        rest = &rest[whole.len()..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Only what reaches a process is filled at run time.
fn filled_at_run(path: &[Step]) -> bool {
    let is = |step: Option<&Step>, name: &str| matches!(step, Some(Step::Key(key)) if key == name);
    is(path.first(), "environment")
        || (is(path.first(), "phase") && (is(path.get(2), "run") || is(path.get(2), "resume")))
}

/// The name in `{name}` at the start of `text`; braces around anything else are ordinary text.
fn name_in_braces(text: &str) -> Option<&str> {
    let name = text.strip_prefix('{')?.split_once('}')?.0;
    let is_name = !name.is_empty()
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
    fn braces_around_no_name_are_text() {
        let path = key_path!["summary"];
        for text in ["{", "}", "{}", "{\"a\": 1}", "{A}", "a{b c}d"] {
            assert_eq!(fill(text, &path, &scale()).unwrap(), text);
        }
    }
}
