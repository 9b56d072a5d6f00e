//! `inspect`: what is to be known of an image's partition table.

use reports::Exit;

use super::print;
use crate::cli::{Format, InspectArgs};
use crate::error::Error;
use crate::inspect::Inspection;

pub(super) fn inspect(args: InspectArgs) -> Result<Exit, Error> {
    let inspection = Inspection::of(&args.image)?;
    let text = match args.format {
        Format::Human => inspection.text(),
        Format::Json => serde_json::to_string_pretty(&inspection).map_err(Error::Json)? + "\n",
    };
    print(&text)?;
    Ok(if inspection.problems.is_empty() { Exit::Passed } else { Exit::Findings })
}
