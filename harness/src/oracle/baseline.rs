//! Oracle `baseline`: every byte of the volume is what an uninterrupted run leaves, outside the mask.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use crate::gpt::Layout;
use crate::{image, mask};

use super::subject::{Coarse, Extract, Subject};
use super::{OracleError, Outcome, World, at, table_of};

/// Compares all files, and notes for the other oracles where they differ at all.
pub(super) fn ask(subject: &Subject<'_>, world: &World) -> Result<Outcome, OracleError> {
    let wanted = image::files(&world.baseline).map_err(at(&world.baseline))?;
    let present = image::files(subject.volume).map_err(at(subject.volume))?;
    let names: BTreeSet<_> = wanted.iter().chain(&present).collect();
    let mut parts = Vec::new();
    for name in names {
        parts.push(if !present.contains(name) {
            Outcome::failed(format!("file `{}` is missing", name.display()))
        } else if !wanted.contains(name) {
            Outcome::failed(format!("file `{}` is left over", name.display()))
        } else {
            compare(name, subject, world)?
        });
    }
    Ok(Outcome::all(parts))
}

fn compare(name: &Path, subject: &Subject<'_>, world: &World) -> Result<Outcome, OracleError> {
    let path = world.baseline.join(name);
    let wanted = File::open(&path).map_err(at(&path))?;
    let disk = subject.disk(name)?;
    let mut coarse = Coarse::default();
    let mut extract = Extract::default();
    let excused = world.mask.ranges(name);
    let _ = image::differences(&wanted, &disk.file, |range| {
        coarse.add(&range);
        for part in mask::outside(range, excused) {
            extract.add(part);
        }
        ControlFlow::Continue(())
    })
    .map_err(at(&disk.path))?;
    subject.note(name, coarse);
    let (wanted_len, len) = (
        image::len_bytes(&wanted).map_err(at(&path))?,
        image::len_bytes(&disk.file).map_err(at(&disk.path))?,
    );
    if wanted_len != len {
        return Ok(Outcome::failed(format!("`{}` is {len} bytes long, not {wanted_len}", name.display())));
    }
    if extract.is_empty() {
        return Ok(Outcome::Held);
    }
    let layout = Layout::of(&table_of(&wanted, &path)?);
    let place = |offset: u64| match &layout {
        Some(layout) => layout.place(offset).to_string(),
        None => format!("`{}`+{offset:#x}", name.display()),
    };
    Ok(Outcome::failed(extract.text(place)))
}
