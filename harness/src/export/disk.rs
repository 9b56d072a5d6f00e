//! The one file of a volume that a run writes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fault_backend::Image;
use fault_backend::oplog::{Op, OpLog, Outcome};
use fault_backend::volume::{Ino, Mutation, Volume};

use super::ExportError;
use crate::image::VOLUME;
use crate::stage::recorded::is_in_volume;

/// Names that are listed in an error, at most.
const NAMES_SHOWN: usize = 6;

/// The file that a run writes.
#[derive(Debug)]
pub(super) struct Disk {
    /// Its inode.
    pub ino: Ino,
    /// Its path in the volume.
    pub name: PathBuf,
}

impl Disk {
    /// The file, where a run that began with `start` writes exactly one and changes no names in the volume.
    pub fn of(start: &Volume, log: &OpLog) -> Result<Self, ExportError> {
        let happened = |op: &&Op| matches!(op.outcome, Outcome::Completed | Outcome::Torn { .. });
        let (mut files, mut names) = (BTreeSet::new(), BTreeSet::new());
        for op in log.ops.iter().filter(happened) {
            let Some(mutation) = op.mutation() else { continue };
            let file = mutation.ino().and_then(|ino| Some((in_volume(&start.path_of(ino)?)?, ino)));
            match (mutation, file) {
                (Mutation::SetAttr { .. } | Mutation::SetXattr { .. } | Mutation::RemoveXattr { .. }, _) => {}
                (_, Some(file)) => {
                    files.insert(file);
                }
                // A file that the run itself has made: that it was made is among the names.
                _ if mutation.ino().is_some() => {}
                _ => names.extend(
                    op.path
                        .as_deref()
                        .filter(|_| is_in_volume(op))
                        .map(|path| in_volume(path).unwrap_or_default()),
                ),
            }
        }
        if !names.is_empty() {
            return Err(ExportError::Names { names: names.into_iter().collect() });
        }
        let files: Vec<(PathBuf, Ino)> = files.into_iter().collect();
        let [(name, ino)] = files.as_slice() else {
            return Err(ExportError::NotOneFile { files: files.into_iter().map(|(name, _)| name).collect() });
        };
        let text = name.to_str().filter(|text| !text.contains(|c: char| c == '\\' || c.is_control()));
        match text {
            Some(_) => Ok(Self { ino: *ino, name: name.clone() }),
            None => Err(ExportError::Name(name.clone())),
        }
    }

    /// Its content in a state; an error where it is not there under its name.
    pub fn image(&self, state: &Volume) -> Result<Image, ExportError> {
        let image = state.file(&Path::new(VOLUME).join(&self.name));
        image.cloned().ok_or_else(|| ExportError::Names { names: vec![self.name.clone()] })
    }
}

fn in_volume(path: &Path) -> Option<PathBuf> {
    Some(path.strip_prefix(VOLUME).ok()?.to_owned())
}

/// Names for a person: the first few.
pub(super) fn listed(names: &[PathBuf]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<String> =
        names.iter().take(NAMES_SHOWN).map(|name| format!("`{}`", name.display())).collect();
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
