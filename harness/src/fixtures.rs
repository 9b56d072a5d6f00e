//! The cache of built fixtures. Building one takes longer than a run of the tool, and its bytes depend only on the
//! scenario and the builder, so it is built once and recognised by its content id; a copy that was changed since is
//! built again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fault_backend::ContentId;
use scenarios::fixture::FixtureError;
use scenarios::model::Scenario;

use crate::image;

/// Environment variable that names the cache folder.
pub const CACHE_VARIABLE: &str = "KILLPOINT_CACHE";

const VOLUME: &str = "volume";
const ID_FILE: &str = "content-id";

/// A fixture that is ready to be copied.
#[derive(Debug)]
pub struct Cached {
    /// The volume: a directory with its files. Not to be written to.
    pub volume: PathBuf,
    /// Content id of the volume.
    pub id: ContentId,
    /// It was there already.
    pub cached: bool,
}

/// A fixture can't be had.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The cache can't be used.
    #[error("the fixture cache `{path}` can't be used; name another place with {CACHE_VARIABLE}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Building failed.
    #[error("the fixture can't be built")]
    Build(#[from] FixtureError),
    /// No place is known.
    #[error(
        "there is no place for the fixture cache: neither {CACHE_VARIABLE}, XDG_CACHE_HOME nor HOME is set"
    )]
    NoPlace,
}

/// Where fixtures are kept.
pub fn default_root() -> Result<PathBuf, CacheError> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable(CACHE_VARIABLE)
        .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("killpoint")))
        .or_else(|| variable("HOME").map(|dir| dir.join(".cache/killpoint")))
        .ok_or(CacheError::NoPlace)
}

/// The fixture of a scenario, from the cache where its bytes still have the id that they had when built.
pub fn obtain(scenario: &Scenario, root: &Path) -> Result<Cached, CacheError> {
    let entry = root.join("fixtures").join(scenarios::fixture::cache_key(scenario));
    if let Some(id) = intact(&entry) {
        return Ok(Cached { volume: entry.join(VOLUME), id, cached: true });
    }
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| CacheError::Io { path, source }
    };
    fs::create_dir_all(root.join("fixtures")).map_err(io_error(root))?;
    // Built aside and renamed, so that an entry is either whole or not there.
    let aside = tempfile::Builder::new().prefix("building-").tempdir_in(root).map_err(io_error(root))?;
    let volume = aside.path().join(VOLUME);
    fs::create_dir(&volume).map_err(io_error(&volume))?;
    scenarios::fixture::build(scenario, &volume)?;
    let id = image::content_id(&volume).map_err(io_error(&volume))?;
    fs::write(aside.path().join(ID_FILE), id.to_string()).map_err(io_error(aside.path()))?;
    match fs::remove_dir_all(&entry) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&entry)(error)),
        _ => {}
    }
    match fs::rename(aside.path(), &entry) {
        // Its place has it now; the guard's removal finds nothing.
        Ok(()) => Ok(Cached { volume: entry.join(VOLUME), id, cached: false }),
        // Another campaign was quicker; its bytes are the same.
        Err(_) if intact(&entry) == Some(id) => Ok(Cached { volume: entry.join(VOLUME), id, cached: true }),
        Err(error) => Err(io_error(&entry)(error)),
    }
}

/// The id of an entry whose bytes still have it.
fn intact(entry: &Path) -> Option<ContentId> {
    let noted: ContentId = fs::read_to_string(entry.join(ID_FILE)).ok()?.trim().parse().ok()?;
    (image::content_id(&entry.join(VOLUME)).ok()? == noted).then_some(noted)
}
