//! Oracle `baseline`: the volume is what an uninterrupted run leaves, outside the mask; where the scenario accepts that,
//! it may also be what the phase started with.

use std::path::Path;

use crate::gpt::Layout;
use crate::image::{Difference, What, differences_of_volumes};
use crate::mask;

use super::subject::{Extract, Side, Subject};
use super::{Halt, OracleError, Outcome, World, at};

/// Paths whose differences are told one by one.
const PATHS_SHOWN: usize = 8;

/// What is accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub old: bool,
    pub new: bool,
}

/// Compares all files, and notes for the other oracles where they differ at all.
pub(super) fn ask(accepted: Accepted, subject: &Subject<'_>, world: &World) -> Result<Outcome, Halt> {
    let from_new = compared(&world.baseline, &subject.side)?;
    subject.note(&from_new);
    let new = unexcused(&from_new, &world.baseline, &subject.side, world)?;
    if accepted.new && new.is_empty() {
        return Ok(Outcome::Held);
    }
    if !accepted.old {
        return Ok(Outcome::failed(told(new)));
    }
    let from_old = compared(&world.start, &subject.side)?;
    let old = unexcused(&from_old, &world.start, &subject.side, world)?;
    Ok(match (old.is_empty(), accepted.new) {
        (true, _) => Outcome::RolledBack,
        (false, false) => Outcome::failed(told(old)),
        (false, true) => {
            Outcome::failed(format!("{}; from what it was before the run: {}", told(new), told(old)))
        }
    })
}

fn compared(wanted: &Side, found: &Side) -> Result<Vec<Difference>, OracleError> {
    differences_of_volumes(wanted.view(), found.view()).map_err(at(&found.path))
}

/// The differences that no mask excuses, in words.
fn unexcused(
    differences: &[Difference],
    wanted: &Side,
    found: &Side,
    world: &World,
) -> Result<Vec<String>, OracleError> {
    let mut lines = Vec::new();
    for Difference { path, what } in differences {
        let What::Data(ranges) = what else {
            lines.push(format!("`{}` {what}", path.display()));
            continue;
        };
        let mut extract = Extract::default();
        for range in ranges {
            mask::outside(range.clone(), world.mask.ranges(path))
                .into_iter()
                .for_each(|part| extract.add(part));
        }
        if !extract.is_empty() {
            let layout = layout(wanted, path)?.or(layout(found, path)?);
            lines.push(extract.text(|offset| match &layout {
                Some(layout) => layout.place(offset).to_string(),
                None => format!("`{}`+{offset:#x}", path.display()),
            }));
        }
    }
    Ok(lines)
}

fn layout(side: &Side, file: &Path) -> Result<Option<Layout>, OracleError> {
    Ok(Layout::of(side.disk(file)?.gpt()?))
}

fn told(mut lines: Vec<String>) -> String {
    let more = lines.len().saturating_sub(PATHS_SHOWN);
    lines.truncate(PATHS_SHOWN);
    if more > 0 {
        lines.push(format!("{more} more differences"));
    }
    lines.join("; ")
}
