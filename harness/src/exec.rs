//! A command line in place of a scenario file: what `killpoint exec` was asked for, as it goes into a token and comes
//! back from it, and the scenario that it stands for.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scenarios::model::{
    Accept, At, Durability, Fixture, GptNeed, Mask, Oracle, Phase, SCHEMA, ScratchPolicy,
};
use scenarios::{Assets, Expected, Resolved, Scenario};
use serde::{Deserialize, Serialize};

use crate::gpt::Gpt;

/// Name of the scenario that a command line stands for, and of its one phase.
pub const NAME: &str = "exec";

/// Stands for the first image in commands.
const IMAGE: &str = "{image}";

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Images, by absolute path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<PathBuf>,
    /// A folder that is the volume, in place of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<PathBuf>,
    /// Folder that the command is run in.
    pub directory: PathBuf,
    /// The command.
    pub command: Vec<String>,
    /// Exit codes that it may have.
    pub exit: Vec<i32>,
    /// Commands of a shell that resume it; none where the command itself does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resume: Vec<String>,
    /// A command of a shell that checks what is left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub check: Vec<String>,
    /// What may be left when the resume is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<Accept>,
    /// Bytes that need not be equal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mask: Vec<String>,
    /// Partitions that the command has no business with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untouched: Vec<String>,
    /// Environment of the command.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Step marks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_pattern: Option<String>,
    /// Sleeps last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub real_time: bool,
    /// Limit of one run.
    pub time_limit: String,
}

/// When an image was last changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    path: PathBuf,
    /// Length in bytes, seconds and nanoseconds.
    what: (u64, i64, i64),
}

impl Stamp {
    /// Whether an image is as it was.
    pub fn compare(before: &[Self], after: &[Self]) -> Result<(), ExecError> {
        match before.iter().zip(after).find(|(before, after)| before != after) {
            Some((_, Self { path, .. })) => Err(ExecError::Changed { path: path.clone() }),
            None => Ok(()),
        }
    }
}

/// A command line that can't be done.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// Neither an image nor a volume.
    #[error("there is nothing to work on: name the command's files with --image FILE or --volume DIR")]
    NoImage,
    /// A file that can't be read.
    #[error("`{path}` can't be read")]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something that must not be worked on.
    #[error("`{path}` is {what}: killpoint works on image files and folders alone; {mend}")]
    Refused {
        /// File.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// What to do.
        mend: &'static str,
    },
    /// A file that somebody else wrote to.
    #[error("`{path}` was changed by somebody else meanwhile, so the results mean nothing")]
    Changed {
        /// File.
        path: PathBuf,
    },
    /// Two images of one name.
    #[error("two images are named `{0}`; they need different names")]
    SameName(String),
    /// The command line of a token.
    #[error("the token's command line makes no sense")]
    Token,
    /// An option's value.
    #[error("`{text}` is no {what}")]
    Option {
        /// What is expected.
        what: &'static str,
        /// What was given.
        text: String,
    },
    /// There is no such program.
    #[error("there is no program `{0}`")]
    NoProgram(String),
    /// Nothing can be put in a file's place.
    #[error(
        "a clone can't be put in the place of `{path}` without mounts of killpoint's own, which need root \
         (CAP_SYS_ADMIN); run it as root"
    )]
    NoMounts {
        /// The image.
        path: PathBuf,
    },
}

impl Spec {
    /// As one word of a token.
    pub fn to_word(&self) -> String {
        // A structure of strings and numbers can always be written.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads [`Self::to_word`] back.
    pub fn from_word(word: &str) -> Result<Self, ExecError> {
        let json = URL_SAFE_NO_PAD.decode(word).map_err(|_| ExecError::Token)?;
        serde_json::from_slice(&json).map_err(|_| ExecError::Token)
    }

    /// Checks everything that killpoint would clone, and refuses what is in use or no file.
    pub fn check(&self) -> Result<(), ExecError> {
        if self.images.is_empty() && self.volume.is_none() {
            return Err(ExecError::NoImage);
        }
        let option = |what, text: &str| Err(ExecError::Option { what, text: text.to_owned() });
        if humantime::parse_duration(&self.time_limit).is_err() {
            return option("time limit such as `30s`", &self.time_limit);
        }
        if let Some(mask) = self.mask.iter().find(|mask| Mask::parse(mask).is_none()) {
            return option("mask: `unallocated`, `0x1000+512` or `FILE:0x1000+512` is expected", mask);
        }
        if let Some(pattern) = &self.step_pattern
            && regex::Regex::new(pattern).is_err()
        {
            return option("regular expression", pattern);
        }
        let mut names = Vec::new();
        for path in &self.images {
            refuse_what_is_in_use(path)?;
            let name = name_of(path);
            if names.contains(&name) {
                return Err(ExecError::SameName(name));
            }
            names.push(name);
        }
        match &self.volume {
            Some(dir) => refuse_mounts_below(dir),
            None => Ok(()),
        }
    }

    /// The volume's files: their names in it, and the files that they are clones of.
    pub fn files(&self) -> Vec<(String, PathBuf)> {
        self.images.iter().map(|path| (name_of(path), path.clone())).collect()
    }

    /// Lengths and times of the images, to notice that somebody else writes to them.
    pub fn stamps(&self) -> Result<Vec<Stamp>, ExecError> {
        let stamp = |path: &PathBuf| {
            let read = |source| ExecError::Read { path: path.clone(), source };
            let metadata = fs::metadata(path).map_err(read)?;
            Ok(Stamp { path: path.clone(), what: (metadata.len(), metadata.mtime(), metadata.mtime_nsec()) })
        };
        self.images.iter().map(stamp).collect()
    }

    /// The command, for a person.
    pub fn command_line(&self) -> String {
        let quoted =
            |word: &String| match word.chars().all(|c| c.is_alphanumeric() || "-_./:=+,%@{}".contains(c)) {
                true if !word.is_empty() => word.clone(),
                _ => format!("'{}'", word.replace('\'', r"'\''")),
            };
        self.command.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// The scenario that the command line stands for.
    pub fn scenario(&self) -> Result<Resolved, ExecError> {
        let image = self.images.first();
        let shown = image.map(|path| path.display().to_string());
        // The path itself works, since the clone stands in its place.
        let here = |word: &String| match &shown {
            Some(path) => word.replace(IMAGE, path),
            None => word.clone(),
        };
        let shell = |line: &String, fill: &dyn Fn(&String) -> String| {
            vec!["sh".to_owned(), "-c".to_owned(), fill(line)]
        };
        let command = self.command.iter().map(here).collect::<Vec<_>>();
        let resume: Vec<Vec<String>> = self.resume.iter().map(|line| shell(line, &here)).collect();
        // A check looks at another copy than the command worked on.
        let in_volume = |word: &String| match image {
            Some(path) => word.replace(IMAGE, &format!("{{volume}}/{}", name_of(path))),
            None => word.clone(),
        };
        let mut oracle = vec![Oracle::Baseline {
            accept: if self.accept.is_empty() { vec![Accept::New] } else { self.accept.clone() },
            mask: self.mask.clone(),
        }];
        for path in &self.images {
            if holds_gpt(path)? {
                let gpt = |at, need| Oracle::Gpt { file: name_of(path), at, phases: Vec::new(), need };
                oracle.push(gpt(At::End, GptNeed::BothValid));
                oracle.push(gpt(At::Crash, GptNeed::OneValid));
            }
        }
        if let (Some(path), false) = (image, self.untouched.is_empty()) {
            oracle.push(Oracle::Untouched {
                file: name_of(path),
                at: At::Both,
                phases: Vec::new(),
                partitions: self.untouched.clone(),
                ranges: Vec::new(),
                files: Vec::new(),
            });
        }
        for (index, line) in self.check.iter().enumerate() {
            oracle.push(Oracle::Command {
                name: format!("check {}", index + 1),
                run: shell(line, &in_volume),
                at: At::End,
                phases: Vec::new(),
                pass: vec![0],
                not_measured: vec![77],
                time_limit: self.time_limit.clone(),
                prove: None,
            });
        }
        let files = self.files().into_iter().map(|(name, path)| (name, path.display().to_string()));
        let scenario = Scenario {
            schema: SCHEMA,
            name: NAME.to_owned(),
            summary: self.command_line(),
            requires: Vec::new(),
            optional: Vec::new(),
            default_scale: None,
            scale: BTreeMap::new(),
            fixture: Fixture { files: Some(files.collect()), ..Fixture::default() },
            environment: self.environment.clone(),
            phase: vec![Phase {
                name: NAME.to_owned(),
                run: command,
                run_exit: self.exit.clone(),
                resume,
                resume_exit: Vec::new(),
                step_prefix: None,
                step_pattern: self.step_pattern.clone(),
                ack_pattern: None,
                durability: Durability::Disk,
                input: None,
                real_time: self.real_time,
                scratch: ScratchPolicy::Kept,
                time_limit: self.time_limit.clone(),
                copies: Vec::new(),
            }],
            oracle,
            expect: None,
        };
        Ok(Resolved {
            text: String::new(),
            scenario,
            scale: None,
            dir: self.directory.clone(),
            text_path: "the command line".to_owned(),
            assets: Assets::new(),
            named: BTreeMap::new(),
            expected: Expected::default(),
        })
    }
}

/// The file's name in the volume.
fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| "disk.img".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn holds_gpt(path: &Path) -> Result<bool, ExecError> {
    let read = |source| ExecError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(read)?;
    Ok(Gpt::read(&file).map_err(read)?.best().is_some())
}

/// Whole disks and files that the system uses are none of killpoint's business, even though only clones are written.
fn refuse_what_is_in_use(path: &Path) -> Result<(), ExecError> {
    let read = |source| ExecError::Read { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(read)?;
    let refused = |what, mend| Err(ExecError::Refused { path: path.to_owned(), what, mend });
    let kind = metadata.file_type();
    if kind.is_block_device() || kind.is_char_device() {
        return refused("a device", "copy what it holds into a file first");
    }
    if kind.is_dir() {
        return refused("a folder", "name it with --volume");
    }
    if !kind.is_file() {
        return refused("no regular file", "name an image");
    }
    if backs_a_loop_device(&metadata) {
        return refused("attached to a loop device", "detach it first (losetup -d)");
    }
    if is_swap(path) {
        return refused("in use as swap space", "swapoff it first");
    }
    Ok(())
}

/// Whether a loop device has the file behind it: mounted images do.
fn backs_a_loop_device(file: &fs::Metadata) -> bool {
    let Ok(devices) = fs::read_dir("/sys/block") else { return false };
    devices.flatten().any(|device| {
        let backing = device.path().join("loop/backing_file");
        let Ok(name) = fs::read_to_string(backing) else { return false };
        fs::metadata(name.trim_end())
            .is_ok_and(|other| (other.dev(), other.ino()) == (file.dev(), file.ino()))
    })
}

fn is_swap(path: &Path) -> bool {
    let (Ok(swaps), Ok(path)) = (fs::read_to_string("/proc/swaps"), fs::canonicalize(path)) else {
        return false;
    };
    swaps.lines().skip(1).any(|line| line.split_whitespace().next() == path.to_str())
}

fn refuse_mounts_below(dir: &Path) -> Result<(), ExecError> {
    let read = |source| ExecError::Read { path: dir.to_owned(), source };
    let real = fs::canonicalize(dir).map_err(read)?;
    if !real.is_dir() {
        let (what, mend) = ("no folder", "name a file with --image");
        return Err(ExecError::Refused { path: dir.to_owned(), what, mend });
    }
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(read)?;
    let inside = |target: &str| Path::new(&target.replace("\\040", " ")).starts_with(&real);
    if mounts.lines().filter_map(|line| line.split(' ').nth(1)).any(inside) {
        let (what, mend) = ("a mount point, or has one inside it", "name a folder with plain files");
        return Err(ExecError::Refused { path: dir.to_owned(), what, mend });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
