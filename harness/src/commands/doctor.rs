//! `doctor`: what this machine offers.

use reports::Exit;

use super::print;
use crate::cli::{DoctorArgs, Format};
use crate::doctor;
use crate::error::Error;

pub(super) fn doctor(args: DoctorArgs) -> Result<Exit, Error> {
    let found = doctor::examine()?;
    print(&match args.format {
        Format::Human => found.text(),
        Format::Json => serde_json::to_string_pretty(&found).map_err(Error::Json)? + "\n",
    })?;
    Ok(if found.ready { Exit::Passed } else { Exit::Lacking })
}
