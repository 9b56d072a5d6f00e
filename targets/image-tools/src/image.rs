//! From a tree to an image under its final name, which appears there only when it is whole.

use std::path::{Path, PathBuf};

use ext4_writer::staged::{StageError, StagedFile};
use ext4_writer::{Contents, Options, Plan, PlanError, Summary, Tree, WriteError};

/// An image can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The tree does not make an image.
    #[error("`{output}` can't be made from this tree", output = output.display())]
    Plan {
        /// The image.
        output: PathBuf,
        /// Why.
        source: PlanError,
    },
    /// Its content can't be written.
    #[error("`{output}` can't be made", output = output.display())]
    Write {
        /// The image.
        output: PathBuf,
        /// Why.
        source: WriteError,
    },
    /// It can't be put in its place.
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// Makes the image of a tree. Where that fails, what was under the name before is still there.
pub fn make(
    tree: Tree,
    contents: &dyn Contents,
    options: &Options,
    output: &Path,
) -> Result<Summary, ImageError> {
    let planned = Plan::new(tree, options);
    #[cfg(feature = "planted")]
    let planned = planned.map(|plan| with_bug(plan, output));
    let plan = planned.map_err(|source| ImageError::Plan { output: output.to_owned(), source })?;
    let staged = StagedFile::create(output)?;
    let written = plan.write(contents, staged.file());
    let summary = written.map_err(|source| ImageError::Write { output: output.to_owned(), source })?;
    staged.finish()?;
    Ok(summary)
}

/// The plan with the bug `holes-marked-used`, which shows only in a run that goes on after a kill.
#[cfg(feature = "planted")]
fn with_bug(mut plan: Plan, output: &Path) -> Plan {
    if crate::planted::is_active("holes-marked-used") && ext4_writer::staged::is_left_over(output) {
        plan.mark_holes();
    }
    plan
}
