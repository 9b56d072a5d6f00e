//! `list` and `show`: the scenarios that ship, and one of them resolved.

use reports::Exit;
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
            shipped.iter().map(|s| format!("{:width$}  {}\n", s.name, s.summary)).collect()
        }
    };
    print(&text)?;
    Ok(Exit::Passed)
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
