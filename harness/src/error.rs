//! Why a campaign could not be made or could not go on, and the exit code that says so.

use std::io;
use std::path::PathBuf;

use fault_backend::fuse::MountError;
use fault_backend::hook_log::OpLogError;
use fault_backend::power::PowerError;
use fault_backend::replay::ReplayError;
use fault_backend::volume::HostError;
use nix::errno::Errno;
use reports::Exit;
use reports::compare::CompareError;
use reports::junit::JUnitError;
use reports::merge::MergeError;
use scenarios::ScenarioError;

use crate::copies::CopiesError;
use crate::exec::ExecError;
use crate::export::ExportError;
use crate::fixtures::CacheError;
use crate::inspect::InspectError;
use crate::keep::KeepError;
use crate::mask::MaskError;
use crate::on_mount::OnMountError;
use crate::oracle::{OracleError, Unproved};
use crate::process::RunError;
use crate::process::containment::ContainmentError;
use crate::replay_log::ReplayLogError;
use crate::store::StateError;
use crate::token::TokenError;
use crate::tools::ToolError;
use crate::workdir::WorkDirError;

/// Anything that ends a command before its result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The scenario.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// An image.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token does not fit what is here.
    #[error("this token is about {what} `{recorded}`, and here it is `{found}`: {hint}")]
    TokenDigest {
        /// What differs.
        what: &'static str,
        /// In the token.
        recorded: String,
        /// Here.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// A phase that is asked for is not in the scenario.
    #[error("scenario `{scenario}` has no phase `{phase}`; it has: {phases}")]
    NoSuchPhase {
        /// Scenario.
        scenario: String,
        /// Phase.
        phase: String,
        /// Those that it has.
        phases: String,
    },
    /// A tool of ours.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Programs that are not installed.
    #[error("not installed: {}", .0.iter().map(Missing::to_string).collect::<Vec<_>>().join(", "))]
    MissingPrograms(Vec<Missing>),
    /// The fixture.
    #[error(transparent)]
    Fixture(#[from] CacheError),
    /// The working area.
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    /// A file of the campaign.
    #[error("`{path}` can't be used")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Where results go.
    #[error(transparent)]
    Store(reports::StoreError),
    /// A disk is full.
    #[error(
        "the disk is full: `{path}` can't be written; what was done is kept, so free some space and run it again"
    )]
    DiskFull {
        /// File that could not be written.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The run directory is taken.
    #[error("the run directory `{0}` exists and is not empty; name another one with --run-dir")]
    RunDirTaken(PathBuf),
    /// The demo's directory is taken.
    #[error("the directory `{0}` exists and is not empty; name another one with --dir")]
    DemoDirTaken(PathBuf),
    /// The demo did not show what it is there to show.
    #[error("the demo went otherwise than it should: {0}; this is a defect of killpoint")]
    DemoOtherwise(&'static str),
    /// The run directory is another campaign's.
    #[error(
        "`{run_dir}` holds another campaign ({what}: {recorded} there, {found} here): name another directory with \
         --run-dir, or ask for the same again"
    )]
    OtherCampaign {
        /// Directory.
        run_dir: PathBuf,
        /// What differs.
        what: &'static str,
        /// There.
        recorded: String,
        /// Asked for.
        found: String,
    },
    /// A run directory says nothing of the states of this campaign.
    #[error(
        "what `{run_dir}` knows can't be taken over ({what}: {recorded} there, {found} here): leave out this --known"
    )]
    NotKnown {
        /// Directory.
        run_dir: PathBuf,
        /// What differs.
        what: &'static str,
        /// There.
        recorded: String,
        /// Here.
        found: String,
    },
    /// Run directories that are no parts of one sweep.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// Run directories that can't be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// The result as JUnit XML.
    #[error(transparent)]
    JUnit(#[from] JUnitError),
    /// Processes.
    #[error(transparent)]
    Containment(#[from] ContainmentError),
    /// A run of the tool.
    #[error(transparent)]
    Run(RunError),
    /// The log of a run on the in-process seam.
    #[error(transparent)]
    OpLog(#[from] OpLogError),
    /// The phase's limit is no duration.
    #[error("the `time_limit` of phase `{phase}` is no duration such as `30s`")]
    TimeLimit {
        /// Phase.
        phase: String,
        /// Why.
        source: humantime::DurationError,
    },
    /// A pattern of the phase is no regular expression.
    #[error("a pattern of phase `{phase}` is no regular expression")]
    Pattern {
        /// Phase.
        phase: String,
        /// Why.
        source: regex::Error,
    },
    /// A phase without commands.
    #[error("phase `{phase}` has no command")]
    NoCommand {
        /// Phase.
        phase: String,
    },
    /// The command line of `exec`.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A finding can't be exported.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A log that was recorded elsewhere.
    #[error(transparent)]
    ReplayLog(#[from] ReplayLogError),
    /// FUSE can't be used.
    #[error(
        "the FUSE seam can't be used: {why}; `run --seam in-process` needs none, but of tools that don't link the hook it \
         can't bring a kill back"
    )]
    NoFuse {
        /// What lacks.
        why: &'static str,
    },
    /// Something that only a recorded run can give.
    #[error("this needs a recorded run, which only the FUSE seam makes")]
    NotRecorded,
    /// The seam can't be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The mount namespace can't be left.
    #[error("killpoint can't have mounts of its own")]
    Namespace(#[source] Errno),
    /// No CPU can be chosen.
    #[error("killpoint can't be bound to one CPU")]
    Cpu(#[source] Errno),
    /// A thread that judges states can't be started.
    #[error("a thread to judge states with can't be started")]
    Worker(#[source] io::Error),
    /// One that does went down.
    #[error("a thread that judges states panicked; that is a defect of killpoint")]
    WorkerPanicked,
    /// A run that is too long to be recorded.
    #[error("the run writes more than {limit}, which is the most that is recorded; try it on a smaller volume",
        limit = bytesize::ByteSize(*limit_bytes))]
    TooLong {
        /// Bytes of payload.
        limit_bytes: u64,
    },
    /// The seam failed, which is a defect of it.
    #[error("the FUSE seam failed inside a request; this is a defect of killpoint, and the run says nothing")]
    SeamBroken,
    /// A volume can't be read from a folder.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A volume can't be changed.
    #[error("the state of the volume can't be changed")]
    Volume(#[from] Errno),
    /// A kept state.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file system can't be mounted for a command.
    #[error(transparent)]
    OnMount(#[from] OnMountError),
    /// A power state is none of the recorded run.
    #[error("the power cut can't be made")]
    Power(#[from] PowerError),
    /// States of a reproduction.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// A finding that is not in a run directory.
    #[error("there is no finding `{id}` in `{run_dir}`; its findings are in report.json there")]
    NoSuchFinding {
        /// Run directory.
        run_dir: PathBuf,
        /// Its id.
        id: String,
    },
    /// A token that carries a command.
    #[error("this token runs a command on this machine:\n  {command}\nadd --yes to run it")]
    NotConfirmed {
        /// The command.
        command: String,
    },
    /// The uninterrupted run failed, so there is nothing to compare with.
    #[error("phase `{phase}`: the uninterrupted run {how}, so nothing was tested\n{output}")]
    Baseline {
        /// Phase.
        phase: String,
        /// What it did.
        how: String,
        /// The end of its output.
        output: String,
    },
    /// Uninterrupted runs differ too much.
    #[error("phase `{phase}`: the uninterrupted runs can't be compared")]
    Mask {
        /// Phase.
        phase: String,
        /// Why.
        source: MaskError,
    },
    /// Oracles could not be made.
    #[error(transparent)]
    Oracle(#[from] OracleError),
    /// Copies can't be sampled.
    #[error(transparent)]
    Copies(#[from] CopiesError),
    /// An oracle does not hold on the baseline, or does not object to damage.
    #[error("phase `{phase}`: {source}")]
    Unproved {
        /// Phase.
        phase: String,
        /// Which, and why.
        source: Unproved,
    },
    /// The working area is full.
    #[error("the working area `{path}` is full ({free} free); free some space or name another place with --work-dir",
        free = bytesize::ByteSize(*free_bytes))]
    WorkDirFull {
        /// Area.
        path: PathBuf,
        /// Bytes left.
        free_bytes: u64,
    },
    /// A disk of the campaign has no room left.
    #[error(
        "the disk of the {name} `{path}` is too full: {free} free, and {floor} have to stay; what was done is kept, so free \
         some space, or lower the floor with --min-free; a sweep goes on with the same --run-dir",
        free = bytesize::ByteSize(*free_bytes), floor = bytesize::ByteSize(*floor_bytes)
    )]
    RoomUsedUp {
        /// What it is to the campaign.
        name: &'static str,
        /// Where.
        path: PathBuf,
        /// Bytes left.
        free_bytes: u64,
        /// Bytes that have to stay.
        floor_bytes: u64,
    },
    /// The scenario can't be printed.
    #[error("the scenario can't be printed")]
    Show(#[source] toml::ser::Error),
    /// The report can't be printed.
    #[error("the report can't be printed")]
    Json(#[source] serde_json::Error),
    /// Signals can't be watched.
    #[error("signals can't be watched")]
    Signals {
        /// Why.
        source: io::Error,
    },
    /// This binary's own path is not known.
    #[error("killpoint's own executable can't be found")]
    OwnExecutable(#[source] io::Error),
    /// A signal asked for the end.
    #[error("interrupted")]
    Interrupted,
}

/// A program that is not installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Program.
    pub program: String,
    /// Debian package that has it, where it is known.
    pub package: Option<&'static str>,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.program)?;
        match self.package {
            Some(package) => write!(f, " (apt-get install {package})"),
            None => Ok(()),
        }
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Interrupted => Self::Interrupted,
            error => Self::Run(error),
        }
    }
}

impl From<ReplayError> for Error {
    fn from(error: ReplayError) -> Self {
        Self::State(error.into())
    }
}

impl Error {
    /// The exit code that it leads to.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Scenario(_)
            | Self::Inspect(_)
            | Self::Token(_)
            | Self::TokenDigest { .. }
            | Self::NoSuchPhase { .. }
            | Self::NoSuchFinding { .. }
            | Self::NotConfirmed { .. }
            | Self::NotRecorded
            | Self::Keep(_)
            | Self::TimeLimit { .. }
            | Self::NoCommand { .. }
            | Self::Pattern { .. }
            | Self::RunDirTaken(_)
            | Self::DemoDirTaken(_)
            | Self::OtherCampaign { .. }
            | Self::NotKnown { .. }
            | Self::Merge(_)
            | Self::Compare(_) => Exit::Usage,
            Self::Exec(ExecError::NoMounts { .. }) => Exit::Lacking,
            Self::Exec(ExecError::Changed { .. }) => Exit::NotMeasured,
            Self::Export(ExportError::OtherState { .. }) => Exit::NotMeasured,
            Self::ReplayLog(ReplayLogError::Image { .. }) => Exit::Lacking,
            Self::Exec(_) | Self::Export(_) | Self::ReplayLog(_) => Exit::Usage,
            Self::Tool(_)
            | Self::MissingPrograms(_)
            | Self::Fixture(_)
            | Self::WorkDir(_)
            | Self::Io { .. }
            | Self::Store(_)
            | Self::DiskFull { .. }
            | Self::Containment(_)
            | Self::Run(_)
            | Self::OpLog(_)
            | Self::NoFuse { .. }
            | Self::Mount(_)
            | Self::Namespace(_)
            | Self::Cpu(_)
            | Self::Worker(_)
            | Self::WorkerPanicked
            | Self::Host(_)
            | Self::Volume(_)
            | Self::State(_)
            | Self::OnMount(_)
            | Self::WorkDirFull { .. }
            | Self::RoomUsedUp { .. }
            | Self::Show(_)
            | Self::Json(_)
            | Self::JUnit(_)
            | Self::Signals { .. }
            | Self::OwnExecutable(_) => Exit::Lacking,
            Self::Baseline { .. } | Self::Mask { .. } => Exit::Baseline,
            Self::Unproved { source, .. } => source.exit(),
            Self::Oracle(source) => source.exit(),
            Self::Copies(_)
            | Self::Power(_)
            | Self::DemoOtherwise(_)
            | Self::SeamBroken
            | Self::TooLong { .. } => Exit::NotMeasured,
            Self::Interrupted => Exit::Interrupted,
        }
    }

    /// For a closure on a path.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source: io::Error| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
            _ => Self::Io { path, source },
        }
    }
}

impl From<reports::StoreError> for Error {
    fn from(error: reports::StoreError) -> Self {
        match error {
            reports::StoreError::Write { path, source } => Self::io(path)(source),
            error => Self::Store(error),
        }
    }
}
