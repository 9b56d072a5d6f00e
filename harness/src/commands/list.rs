//! `list` and `show`: the scenarios that ship, and one of them resolved.

use reports::Exit;
use reports::summary::SummaryOptions;
use serde_json::json;

use super::print;
use crate::cli::{Format, ListArgs, ShowArgs};
use crate::error::Error;

pub(super) fn list(args: ListArgs) -> Result<Exit, Error> {
    let shipped = scenarios::shipped();
    let text = match args.format {
        Format::Json => {
            let rows: Vec<_> =
                shipped.iter().map(|s| json!({ "name": s.name, "summary": s.summary })).collect();
            format!("{:#}\n", json!(rows))
        }
        Format::Human => {
            let width = shipped.iter().map(|s| s.name.len()).max().unwrap_or(0);
            // What goes to no terminal is one line for each.
            let columns = SummaryOptions::for_stdout(usize::MAX).width.saturating_sub(width + 2);
            let row = |s: &scenarios::Shipped| {
                let lines = wrapped(s.summary, columns).join(&format!("\n{:width$}  ", ""));
                format!("{:width$}  {lines}\n", s.name)
            };
            shipped.iter().map(row).collect()
        }
    };
    print(&text)?;
    Ok(Exit::Passed)
}

/// A text broken between words, into lines of at most so many columns where its words are no longer.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

pub(super) fn show(args: ShowArgs) -> Result<Exit, Error> {
    let resolved = scenarios::load(&args.scenario, args.scale.as_deref())?;
    let scenario = &resolved.scenario;
    let text = match args.format {
        Format::Json => {
            let value = json!({
                "scale": resolved.scale, "digest": resolved.digest(), "scenario": scenario,
            });
            format!("{value:#}\n")
        }
        Format::Human => {
            let scale = resolved.scale.as_deref().map_or(String::new(), |scale| format!(", scale {scale}"));
            let text = toml::to_string(scenario).map_err(Error::Show)?;
            format!("# {}, digest {}{scale}\n{text}", resolved.text_path, resolved.digest())
        }
    };
    print(&text)?;
    Ok(Exit::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_between_words_and_none_is_lost() {
        let text = "shrink an ext4 that is nearly full";
        assert_eq!(wrapped(text, usize::MAX), [text]);
        assert_eq!(wrapped(text, 14), ["shrink an ext4", "that is nearly", "full"]);
        assert_eq!(wrapped(text, 0).join(" "), text);
    }
}
