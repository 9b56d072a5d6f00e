//! The files of a scenario's folder that it names: helper scripts behind `{scenario_dir}/`, and the sources of a `files`
//! fixture. Each is hashed when the scenario is loaded, so that digest and cache key follow their content.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::error::{Fault, Problem};
use crate::locate::{Step, key_path};
use crate::model::{Oracle, Scenario};

/// What stands before the path of a helper in a command.
const PREFIX: &str = "{scenario_dir}/";
/// Read at a time; also the granularity in which zeros are skipped.
const CHUNK_BYTES: usize = 64 << 10;

/// Texts by their path relative to the scenario's folder: the helpers of a scenario that ships.
pub type Assets = BTreeMap<String, &'static str>;

/// Where helper files are.
pub(crate) enum Source<'a> {
    /// Embedded.
    Embedded(&'a Assets),
    /// In a folder.
    Folder(&'a Path),
}

impl Source<'_> {
    /// The text of a file.
    pub(crate) fn text(&self, name: &str) -> io::Result<String> {
        match self {
            Self::Embedded(assets) => {
                assets.get(name).map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
            }
            Self::Folder(folder) => fs::read_to_string(folder.join(name)),
        }
    }

    /// The digest of a file, or of all that is below a folder.
    fn hash(&self, name: &str) -> io::Result<blake3::Hash> {
        match self {
            Self::Embedded(_) => hash_content(&mut self.text(name)?.as_bytes()),
            Self::Folder(folder) => hash_path(&folder.join(name)),
        }
    }
}

/// The paths in a command that lie below the scenario's folder; a path ends where a shell would end a plain word.
pub(crate) fn named_in(words: &[String]) -> impl Iterator<Item = (usize, &str)> {
    words.iter().enumerate().flat_map(|(place, word)| {
        word.match_indices(PREFIX).filter_map(move |(at, _)| {
            let rest = &word[at + PREFIX.len()..];
            let is_part = |c: char| c.is_alphanumeric() || "._-+@%/".contains(c);
            let name = rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())].trim_end_matches('/');
            (!name.is_empty()).then_some((place, name))
        })
    })
}

/// Hashes every file that the scenario names: digests in hexadecimal by path.
pub(crate) fn hash_all(scenario: &Scenario, source: &Source<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let mut hashes = BTreeMap::new();
    let mut add = |name: &str, path: &dyn Fn() -> Vec<Step>| {
        let problem = |source| Problem::HelperFile { file: name.to_owned(), source };
        let hash = source.hash(name).map_err(|error| Fault::new(path(), problem(error)))?;
        hashes.insert(name.to_owned(), hash.to_hex().to_string());
        Ok::<(), Fault>(())
    };
    for (words, path) in commands(scenario) {
        for (place, name) in named_in(words) {
            add(name, &|| [path.clone(), key_path![place]].concat())?;
        }
    }
    for (key, name) in scenario.fixture.files.iter().flatten() {
        add(name, &|| key_path!["fixture", "files", key.as_str()])?;
    }
    Ok(hashes)
}

/// Every command of a scenario, with its path.
fn commands(scenario: &Scenario) -> Vec<(&[String], Vec<Step>)> {
    let mut commands: Vec<(&[String], Vec<Step>)> = Vec::new();
    if let Some(words) = &scenario.fixture.command {
        commands.push((words, key_path!["fixture", "command"]));
    }
    for (place, phase) in scenario.phase.iter().enumerate() {
        commands.push((&phase.run, key_path!["phase", place, "run"]));
        let resume = phase.resume.iter().enumerate();
        commands.extend(
            resume.map(|(item, words)| (words.as_slice(), key_path!["phase", place, "resume", item])),
        );
    }
    for (place, oracle) in scenario.oracle.iter().enumerate() {
        if let Oracle::Command { run, prove, .. } = oracle {
            commands.push((run, key_path!["oracle", place, "run"]));
            commands
                .extend(prove.iter().map(|words| (words.as_slice(), key_path!["oracle", place, "prove"])));
        }
    }
    commands
}

/// A file's content; for a folder, all names below it and their contents. A link below a folder is its text.
pub(crate) fn hash_path(path: &Path) -> io::Result<blake3::Hash> {
    let meta = path.metadata()?;
    if meta.is_file() {
        return hash_content(&mut File::open(path)?);
    }
    if !meta.is_dir() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a file nor a folder"));
    }
    let mut names: Vec<PathBuf> =
        fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    names.sort();
    let mut hasher = blake3::Hasher::new();
    for name in names {
        let own = name.file_name().unwrap_or_default().as_encoded_bytes();
        hasher.update(&(own.len() as u64).to_le_bytes());
        hasher.update(own);
        let content = if name.is_symlink() {
            blake3::hash(fs::read_link(&name)?.as_os_str().as_encoded_bytes())
        } else {
            hash_path(&name)?
        };
        hasher.update(content.as_bytes());
    }
    Ok(hasher.finalize())
}

/// Length and the chunks that are not zero, so that a hole and zeros hash alike and cost little.
fn hash_content(content: &mut dyn Read) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    let mut at = 0u64;
    loop {
        chunk.clear();
        let read = content.take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        if chunk.iter().any(|byte| *byte != 0) {
            hasher.update(&at.to_le_bytes());
            hasher.update(&(read as u64).to_le_bytes());
            hasher.update(&chunk);
        }
        at += read as u64;
        if read < CHUNK_BYTES {
            hasher.update(&at.to_le_bytes());
            return Ok(hasher.finalize());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_is_named_anywhere_in_a_word() {
        let words = ["sh", "-c", "{scenario_dir}/a.sh {volume}; cp -r '{scenario_dir}/tree/' {scenario_dir}"];
        let named: Vec<_> = words.map(str::to_owned).to_vec();
        assert_eq!(named_in(&named).collect::<Vec<_>>(), [(2, "a.sh"), (2, "tree")]);
    }

    #[test]
    fn a_hole_and_zeros_hash_alike_and_a_longer_file_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8], len: u64| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            File::options().write(true).open(&path).unwrap().set_len(len).unwrap();
            hash_path(&path).unwrap()
        };
        let zeros = write("zeros", &[0; 200_000], 200_000);
        assert_eq!(write("hole", &[], 200_000), zeros);
        assert_ne!(write("longer", &[], 200_001), zeros);
        assert_ne!(write("other", &[0, 0, 1], 200_000), zeros);
    }

    #[test]
    fn a_folder_hashes_with_the_names_in_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tree")).unwrap();
        fs::write(folder.path().join("tree/a"), "x").unwrap();
        let before = hash_path(folder.path()).unwrap();
        fs::rename(folder.path().join("tree/a"), folder.path().join("tree/b")).unwrap();
        assert_ne!(hash_path(folder.path()).unwrap(), before);
    }
}
