//! What `killpoint demo` is about: a small tool with a common mistake, the same tool without it, and a scenario for each. They
//! are embedded, and written into a directory that nothing else is in.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::error::Error;

/// Scenario of the tool with the mistake.
pub const IN_PLACE: &str = "in-place";

/// Scenario of the mended tool.
pub const BY_RENAME: &str = "by-rename";

const FILES: [(&str, &str); 5] = [
    ("app.conf", include_str!("../demo/app.conf")),
    ("set-option.sh", include_str!("../demo/set-option.sh")),
    ("set-option-mended.sh", include_str!("../demo/set-option-mended.sh")),
    ("in-place.toml", include_str!("../demo/in-place.toml")),
    ("by-rename.toml", include_str!("../demo/by-rename.toml")),
];

/// The text of one of the demo's files.
pub fn text_of(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(file, _)| *file == name).map(|(_, text)| *text)
}

/// Makes the directory and writes the files into it. One that holds anything is refused.
pub fn write(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::io(dir))?;
    if fs::read_dir(dir).map_err(Error::io(dir))?.next().is_some() {
        return Err(Error::DemoDirTaken(dir.to_owned()));
    }
    for (name, text) in FILES {
        let path = dir.join(name);
        let written = File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(Error::io(&path))?;
    }
    Ok(())
}
