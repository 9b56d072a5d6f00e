//! The cache of built fixtures. Building one takes longer than a run of the tool, and its bytes depend only on the
//! scenario and the builder, so it is built once and recognised by its content id; a copy that was changed since is
//! built again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fault_backend::ContentId;
use fault_backend::image::{Base, Image};
use fault_backend::volume::Volume;
use scenarios::Resolved;
use scenarios::fixture::FixtureError;
use scenarios::model::FixtureKind;

use crate::error::Error;
use crate::exec::Spec;
use crate::{image, volumes};

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

/// What a campaign begins with.
#[derive(Debug)]
pub struct Fixture {
    /// Its files.
    pub content: FixtureContent,
    /// Content id of the volume.
    pub id: ContentId,
    /// It was there already.
    pub cached: bool,
    /// Length of the files, holes included.
    pub len_bytes: u64,
    /// Bytes that the files take.
    pub used_bytes: u64,
}

/// Where a fixture's files are. None of them is ever written to.
#[derive(Debug)]
pub enum FixtureContent {
    /// A folder that is the volume.
    Folder(PathBuf),
    /// Files that a user named, by their names in the volume.
    Files(Vec<(String, PathBuf)>),
}

impl Fixture {
    /// The fixture of a scenario, from the cache or built.
    pub fn of_scenario(resolved: &Resolved) -> Result<Self, Error> {
        let Cached { volume, id, cached } = obtain(resolved, &default_root()?)?;
        if resolved.scenario.fixture.kind() == FixtureKind::Command {
            // What a command makes is known only now.
            resolved.check_volume(&volume)?;
        }
        Ok(Self {
            len_bytes: volumes::len_bytes(&volume)?,
            used_bytes: volumes::used_bytes(&volume)?,
            content: FixtureContent::Folder(volume),
            id,
            cached,
        })
    }

    /// The files that a command line names.
    pub fn of_user(spec: &Spec) -> Result<Self, Error> {
        let content = match &spec.volume {
            Some(dir) => FixtureContent::Folder(dir.clone()),
            None => FixtureContent::Files(spec.files()),
        };
        let (mut len_bytes, mut used_bytes) = (0, 0);
        match &content {
            FixtureContent::Folder(dir) => {
                (len_bytes, used_bytes) = (volumes::len_bytes(dir)?, volumes::used_bytes(dir)?);
            }
            FixtureContent::Files(files) => {
                for (_, path) in files {
                    let metadata = fs::metadata(path).map_err(Error::io(path))?;
                    len_bytes += metadata.len();
                    used_bytes += metadata.blocks() * 512;
                }
            }
        }
        let id = content.volume()?.content_id();
        Ok(Self { content, id, cached: true, len_bytes, used_bytes })
    }
}

impl FixtureContent {
    /// A clone of it in memory; the files are read as they are needed.
    pub fn volume(&self) -> Result<Volume, Error> {
        let mut volume = Volume::new();
        match self {
            Self::Folder(dir) => return Ok(Volume::import(dir)?),
            Self::Files(files) => {
                for (name, path) in files {
                    let file = File::open(path).map_err(Error::io(path))?;
                    let base = Base::open(file).map_err(Error::io(path))?;
                    volume.insert_file(Path::new(name), Image::over(Arc::new(base)))?;
                }
            }
        }
        Ok(volume)
    }
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
pub fn obtain(resolved: &Resolved, root: &Path) -> Result<Cached, CacheError> {
    let entry = root.join("fixtures").join(scenarios::fixture::cache_key(resolved));
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
    scenarios::fixture::build(resolved, &volume)?;
    let id = image::content_id(&volume).map_err(io_error(&volume))?;
    fs::write(aside.path().join(ID_FILE), id.to_string()).map_err(io_error(aside.path()))?;
    // An entry that is there is damaged, or another campaign's that was quicker: its place is never empty for long, and
    // what a campaign uses is never removed under it.
    match fs::rename(aside.path(), &entry) {
        Ok(()) => return Ok(Cached { volume: entry.join(VOLUME), id, cached: false }),
        Err(_) if intact(&entry) == Some(id) => {
            return Ok(Cached { volume: entry.join(VOLUME), id, cached: true });
        }
        Err(_) => {}
    }
    let old = tempfile::Builder::new().prefix("damaged-").tempdir_in(root).map_err(io_error(root))?;
    let moved = fs::rename(&entry, old.path().join("entry"));
    match moved.and_then(|()| fs::rename(aside.path(), &entry)) {
        Ok(()) => Ok(Cached { volume: entry.join(VOLUME), id, cached: false }),
        Err(_) if intact(&entry) == Some(id) => Ok(Cached { volume: entry.join(VOLUME), id, cached: true }),
        Err(error) => Err(io_error(&entry)(error)),
    }
}

/// The id of an entry whose bytes still have it.
fn intact(entry: &Path) -> Option<ContentId> {
    let noted: ContentId = fs::read_to_string(entry.join(ID_FILE)).ok()?.trim().parse().ok()?;
    (image::content_id(&entry.join(VOLUME)).ok()? == noted).then_some(noted)
}
