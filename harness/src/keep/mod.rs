//! The states of a reproduction as folders that can be looked at: what was there at the crash, what the resume made of it,
//! and what an uninterrupted run leaves. They are copies, with holes where the states have them; nothing that is done to
//! them reaches the reproduction. All of them appear at once, under the name that was asked for, or not at all.

mod look;
mod readme;

use std::fs::{self, Permissions};
use std::io::{self, BufRead, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fault_backend::volume::Volume;
use tempfile::TempDir;

use crate::error::Error;
use crate::ground::Ground;
use crate::image::{self, SCRATCH, VOLUME};
use crate::judge::Judgement;
use crate::prepare::Known;
use crate::repro::ends_done;
use crate::stage::Saved;
use crate::token::Token;

/// Folder of the crash state.
pub const CRASH: &str = "crash";
/// Folder of what lay in the scratch directory then, where anything did.
pub const CRASH_SCRATCH: &str = "crash-scratch";
/// Folder of what the resume left.
pub const RESUMED: &str = "resumed";
/// Folder of what an uninterrupted run leaves.
pub const BASELINE: &str = "baseline";

/// States can't be kept or looked at.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The directory is taken.
    #[error("`{}` exists and is not an empty directory; name another one with --keep", .0.display())]
    Taken(PathBuf),
    /// The directory that it is to be in is not there.
    #[error("`{}` is no directory, so that nothing can be made in it; make it, or name another one with --keep", .0.display())]
    NoParent(PathBuf),
    /// Somebody is to be waited for, and there is nobody.
    #[error(
        "--pause waits for a line on standard input, which is at its end: run it on a terminal, or use --keep DIR to look at the \
         states afterwards"
    )]
    NobodyToWaitFor,
}

/// What is wanted of a reproduction besides its verdict.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Directory that gets the states; it does not exist, or is empty.
    pub keep: Option<PathBuf>,
    /// Stop at the crash state until somebody has looked at it.
    pub pause: bool,
}

impl Wish {
    /// Refuses a directory that can't be made, before anything is made ready for it.
    pub fn check(&self) -> Result<(), KeepError> {
        let Some(out) = &self.keep else { return Ok(()) };
        let free = match fs::read_dir(out) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        match (free, parent(out).is_dir()) {
            (false, _) => Err(KeepError::Taken(out.clone())),
            (true, false) => Err(KeepError::NoParent(parent(out).to_owned())),
            (true, true) => Ok(()),
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// States on their way to a directory.
#[derive(Debug)]
pub struct Keeper {
    wish: Wish,
    /// They are here until all of them are; removed with the keeper.
    folder: Option<TempDir>,
}

impl Keeper {
    /// Nothing is made before there is a crash state.
    pub fn new(wish: Wish) -> Self {
        Self { wish, folder: None }
    }

    /// The crash state is there, and nothing has been resumed: keeps it, and waits where that was asked for.
    pub fn crashed(&mut self, ground: &mut Ground, token: &Token) -> Result<(), Error> {
        if self.wish.keep.is_none() && !self.wish.pause {
            return Ok(());
        }
        let beside = self.wish.keep.as_deref().map_or_else(std::env::temp_dir, |out| parent(out).to_owned());
        let beside = fs::canonicalize(&beside).map_err(Error::io(&beside))?;
        let folder = tempfile::Builder::new()
            .prefix(".killpoint-keep-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(&beside)
            .map_err(Error::io(&beside))?;
        let look = ground.stage.look()?;
        match look.memory {
            Some(state) => {
                put(state, VOLUME, &folder.path().join(CRASH))?;
                if state
                    .resolve(Path::new(SCRATCH))
                    .is_some_and(|ino| state.entries(ino).is_some_and(|entries| !entries.is_empty()))
                {
                    put(state, SCRATCH, &folder.path().join(CRASH_SCRATCH))?;
                }
            }
            None => {
                copy(look.path, &folder.path().join(CRASH))?;
                let scratch = ground.stage.words().scratch.clone();
                if fs::read_dir(&scratch).is_ok_and(|mut entries| entries.next().is_some()) {
                    copy(&scratch, &folder.path().join(CRASH_SCRATCH))?;
                }
            }
        }
        let crash = folder.path().join(CRASH);
        self.folder = Some(folder);
        if self.wish.pause { wait(&crash, token) } else { Ok(()) }
    }

    /// The resume has run: keeps what it left and the rest, under the name that was asked for. `result` is what it left,
    /// where that is in memory; else it is where the tool works.
    pub fn finish(
        self,
        ground: &mut Ground,
        known: &Known,
        token: &Token,
        judgement: &Judgement,
        result: Option<&Volume>,
    ) -> Result<(), Error> {
        let (Some(out), Some(folder)) = (self.wish.keep, self.folder) else { return Ok(()) };
        let at = |name: &str| folder.path().join(name);
        if !ends_done(&token.kills) {
            match result {
                Some(state) => put(state, VOLUME, &at(RESUMED))?,
                None => copy(ground.stage.look()?.path, &at(RESUMED))?,
            }
        }
        match &known.baseline {
            Saved { memory: Some(state), .. } => put(state, VOLUME, &at(BASELINE))?,
            Saved { path, .. } => copy(path, &at(BASELINE))?,
        }
        let text = readme::text(folder.path(), &ground.resolved, known, token, judgement);
        let path = at("README.txt");
        fs::write(&path, text).map_err(Error::io(&path))?;
        fs::rename(folder.path(), &out).map_err(Error::io(&out))?;
        // It has another name by now.
        let _ = folder.keep();
        Ok(())
    }
}

/// Writes a part of a state into a folder, which is made.
fn put(state: &Volume, part: &str, to: &Path) -> Result<(), Error> {
    let Some(tree) = state.subtree(Path::new(part)) else { return Err(Error::NotRecorded) };
    fs::create_dir(to).map_err(Error::io(to))?;
    Ok(tree.export(to)?)
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    image::copy_sparse(from, to).map_err(Error::io(to))
}

/// Says where the crash state is and how to look at it, and waits for a line on standard input.
fn wait(crash: &Path, token: &Token) -> Result<(), Error> {
    let looks = look::commands(crash);
    let looks: String = looks.iter().map(|line| format!("  {line}\n")).collect();
    let text = format!(
        "\nStopped at the crash state ({kills}):\n  {crash}\nNothing has been resumed. It is a copy; look at it with, for \
         example:\n{looks}Press Enter to go on. ",
        kills = token.describe_kills(),
        crash = crash.display(),
    );
    let failed = Error::io(PathBuf::from("the terminal"));
    let mut line = String::new();
    let mut stderr = io::stderr();
    let read = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    let read = read.and_then(|()| io::stdin().lock().read_line(&mut line)).map_err(failed)?;
    if read == 0 { Err(KeepError::NobodyToWaitFor.into()) } else { Ok(()) }
}
