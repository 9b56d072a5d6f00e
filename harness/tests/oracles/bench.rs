//! A volume, and an oracle set over it with the untouched volume as start and baseline, on either kind of seam.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fault_backend::Volume;
use killpoint::image;
use killpoint::mask::Mask;
use killpoint::oracle::{Answer, Checkers, OracleError, OracleSet, Outcome, Showcase, Told};
use killpoint::stage::{Look, Saved, Words};
use scenarios::Resolved;
use tempfile::TempDir;

/// How states are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// As directories of the host.
    OnHost,
    /// As states in memory, with a directory for external programs.
    InMemory,
}

pub const BOTH: [Seen; 2] = [Seen::OnHost, Seen::InMemory];

/// A scenario from its text, and the folder that its file is in.
pub fn scenario(text: &str) -> (TempDir, Resolved) {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("scenario.toml");
    fs::write(&file, text).expect("write the scenario");
    let resolved = scenarios::load(file.to_str().expect("a path of text"), None).expect("a sound scenario");
    (folder, resolved)
}

/// A directory as the volume of a state in memory.
pub fn state_of(volume: &Path) -> Volume {
    let mut state = Volume::new();
    state.graft("volume".as_ref(), &Volume::import(volume).expect("import")).expect("graft");
    state.insert_dir("scratch".as_ref()).expect("a scratch directory");
    state
}

pub fn saved(seen: Seen, volume: &Path) -> Saved {
    let memory = (seen == Seen::InMemory).then(|| state_of(volume));
    let id = match &memory {
        Some(state) => state.content_id(),
        None => image::content_id(volume).expect("its id"),
    };
    Saved { id, path: volume.to_owned(), memory }
}

/// Shows states as a mount would, in a folder.
#[derive(Debug)]
struct Folder(PathBuf);

impl Showcase for Folder {
    fn show(&self, state: &Volume) -> PathBuf {
        if self.0.exists() {
            fs::remove_dir_all(&self.0).expect("clear the folder");
        }
        state.export(&self.0).expect("export");
        self.0.join("volume")
    }
}

/// A copy of a volume, which tests damage, and the oracles of its phase.
pub struct Bench {
    pub folder: TempDir,
    pub set: OracleSet,
    pub seen: Seen,
    show: Arc<Folder>,
}

/// What a set is made of, where a test wants another than usual.
pub struct Parts<'a> {
    pub start: &'a Path,
    pub baseline: &'a Path,
    pub mask: &'a [String],
    pub lacking: &'a [&'a str],
    pub acks: &'a [&'a str],
}

impl<'a> Parts<'a> {
    /// A phase that changes nothing.
    pub fn still(volume: &'a Path) -> Self {
        Self { start: volume, baseline: volume, mask: &[], lacking: &[], acks: &[] }
    }
}

impl Bench {
    /// Copies the baseline as the volume that is judged.
    pub fn new(seen: Seen, resolved: &Resolved, parts: &Parts<'_>) -> Result<Self, OracleError> {
        let folder = TempDir::new().expect("a temporary folder");
        let volume = folder.path().join("volume");
        state_of(parts.baseline)
            .subtree("volume".as_ref())
            .expect("its volume")
            .export(&volume)
            .expect("a copy of the volume");
        let (start, baseline) = (saved(seen, parts.start), saved(seen, parts.baseline));
        let mask = Mask::measure(&[baseline.clone(), baseline.clone()], parts.mask, 0.001).expect("a mask");
        let show = Arc::new(Folder(folder.path().join("shown")));
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let scratch = folder.path().join("scratch");
        fs::create_dir(&scratch).expect("a folder");
        let checkers = Checkers {
            work: folder.path().join("work"),
            lacking: owned(parts.lacking),
            words: Words {
                volume: volume.clone(),
                scratch,
                scenario_dir: resolved.dir.clone(),
                directory: None,
                programs: Default::default(),
                environment: resolved.scenario.environment.clone(),
                real_time: false,
            },
            acks: owned(parts.acks),
            show: (seen == Seen::InMemory).then(|| Arc::clone(&show) as Arc<dyn Showcase>),
        };
        let set = OracleSet::new(resolved, &resolved.scenario.phase[0], &start, &baseline, mask, checkers)?;
        Ok(Self { folder, set, seen, show })
    }

    pub fn volume(&self) -> PathBuf {
        self.folder.path().join("volume")
    }

    /// Answers at the crash and at the end about what is in the volume now.
    pub fn ask(&mut self, told: Told<'_>) -> (Vec<Answer>, Vec<Answer>) {
        let volume = self.volume();
        self.ask_about(&volume, told)
    }

    pub fn ask_about(&mut self, volume: &Path, told: Told<'_>) -> (Vec<Answer>, Vec<Answer>) {
        let Saved { id, memory, .. } = saved(self.seen, volume);
        let shown = memory.as_ref().map(|state| self.show.show(state));
        let path = shown.as_deref().unwrap_or(volume);
        let look = Look { id, path, hashes: None, memory: memory.as_ref() };
        (self.set.at_crash(&look, Told { exit: None, ..told }), self.set.at_end(&look, told))
    }

    pub fn at_end(&mut self) -> Vec<Answer> {
        self.ask(Told::default()).1
    }

    /// What one oracle answers at the end.
    pub fn outcome(&mut self, oracle: &str) -> Outcome {
        let answers = self.at_end();
        let mut found = answers.into_iter().filter(|answer| answer.oracle == oracle);
        found.next().expect("its answer").outcome
    }

    /// Crash and end answers as lines, those that hold left out.
    pub fn objections(&mut self) -> String {
        let (crash, end) = self.ask(Told::default());
        let line = |when: &str, answer: &Answer| {
            let text = match &answer.outcome {
                Outcome::Held => return None,
                Outcome::RolledBack => "rolled back".to_owned(),
                Outcome::Failed { explain } => format!("fails: {}", portable(&answer.oracle, explain)),
                Outcome::NotMeasured { why } => format!("not measured: {why}"),
                Outcome::Hung { what } => format!("hangs: {what}"),
            };
            Some(format!("  {when} {}: {text}\n", answer.oracle))
        };
        let lines =
            crash.iter().filter_map(|a| line("crash", a)).chain(end.iter().filter_map(|a| line("end", a)));
        lines.collect()
    }
}

/// An explanation without what depends on the version of e2fsprogs or dosfstools: where mke2fs places things, and the
/// checkers' own words.
fn portable(oracle: &str, explain: &str) -> String {
    match (oracle, explain.find(" exits ")) {
        ("fsck", Some(end)) => explain[..end + " exits 1".len()].to_owned(),
        ("baseline", ..) if explain.contains("`DATA`+") => "bytes differ in `DATA`".to_owned(),
        _ => explain.to_owned(),
    }
}
