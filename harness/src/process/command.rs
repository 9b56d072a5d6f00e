//! What is run, and what became of it: the plain data of a run. Nothing here starts or watches a process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use regex::bytes::Regex;

/// Longest time that a command made by [`Command::new`] may take.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What is run, and how.
#[derive(Clone, Debug)]
pub struct Command {
    /// Program, as a path or a name in `PATH` of `environment`.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The whole environment; nothing is inherited.
    pub environment: BTreeMap<String, OsString>,
    /// Working directory.
    pub directory: PathBuf,
    /// What it reads from standard input; without, that is empty.
    pub input: Option<Vec<u8>>,
    /// Which lines of its output are step marks.
    pub step: Option<StepRule>,
    /// Which lines of its output acknowledge something; the first group, or else the whole match, says what.
    pub ack: Option<Regex>,
    /// Files that stand in the place of others, for the tool alone. Needs the right to mount.
    pub binds: Vec<Bind>,
    /// Lets it really sleep. Otherwise a sleep of 50 ms or more is over at once, where the kernel lets us.
    pub real_time: bool,
    /// Longest time it may take.
    pub time_limit: Duration,
    /// A file that grows with each of the tool's ops: its op log.
    pub op_log: Option<PathBuf>,
}

impl Command {
    /// A command with an empty environment that is watched for its end alone, and may take a minute.
    pub fn new(program: impl Into<PathBuf>, directory: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            directory: directory.into(),
            input: None,
            step: None,
            ack: None,
            binds: Vec::new(),
            real_time: false,
            time_limit: TIME_LIMIT,
            op_log: None,
        }
    }
}

/// How a step's name is read from a line that the tool prints, on either stream.
#[derive(Clone, Debug)]
pub enum StepRule {
    /// The line begins with this text; the word after it is the name.
    Prefix(String),
    /// The line matches; the first group is the name.
    Pattern(Regex),
}

/// A file or folder that the tool sees in the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// What it sees.
    pub source: PathBuf,
    /// Where; a file for a file, a folder for a folder.
    pub target: PathBuf,
}

/// A point in time of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Aim {
    /// What the delay counts from.
    pub anchor: Anchor,
    /// Time after it.
    pub delay: Duration,
}

/// Something in a run that a time can count from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// The spawn.
    Start,
    /// The first mark of this step.
    Step(String),
    /// The first op that is seen after the first mark of this step: by the seam, or else in the op log.
    FirstOpIn(String),
}

/// The step that a run is in before its first mark.
pub(super) const START: &str = "start";

impl Anchor {
    /// The step's name; `start` for the spawn.
    pub fn name(&self) -> &str {
        match self {
            Self::Start => START,
            Self::Step(step) | Self::FirstOpIn(step) => step,
        }
    }
}

/// A line of interest in the tool's output: a step mark or an acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The step's name, or what was acknowledged.
    pub name: String,
    /// When it was read, from the spawn. It is read before the tool's next op on a seam gets its number.
    pub at: Duration,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this code.
    Exited(i32),
    /// It died of SIGKILL that we, or the hook on our behalf, sent.
    Killed,
    /// It died of another signal.
    Signalled(i32),
    /// It ran past its limit of time or output, and was killed for it.
    Hung,
}

/// What a run was.
#[derive(Clone, Debug)]
pub struct Run {
    /// How it ended.
    pub end: End,
    /// Step marks in order.
    pub marks: Vec<Mark>,
    /// Acknowledgements in order.
    pub acks: Vec<Mark>,
    /// End of standard output.
    pub stdout: String,
    /// End of standard error.
    pub stderr: String,
    /// Duration from spawn to death.
    pub wall: Duration,
    /// CLOCK_MONOTONIC at the spawn, in nanoseconds.
    pub began_ns: u64,
    /// Sleep that it asked for and was spared. Part of `wall` if it had been slept.
    pub sleeps_skipped: Duration,
}
