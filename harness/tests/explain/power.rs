//! The resizer's planted bugs that only a power cut shows: a flush of the table's update is left out. Method: its run is
//! recorded on the FUSE seam, as a sweep would, a state of the power model that breaks is looked for, and the explanation
//! has to name the part of the table and the step.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fault_backend::power::{Power, PowerOptions, PowerState};
use fault_backend::{OpLog, Volume};
use killpoint::cpus;
use killpoint::explain::{Explanation, Found, Reach, Run, States, Wanted};
use killpoint::gpt::Gpt;
use killpoint::ground::Setting;
use killpoint::judge::Asked;
use killpoint::prepare::{Known, prepare};
use killpoint::programs::Programs;
use killpoint::seam::{self, Wish};
use killpoint::tools::Needs;
use libtest_mimic::Failed;
use reports::{Seam, Stream};

const SCENARIO: &str = include_str!("../data/one-move.toml");

/// A bug, where it shows, and what its explanation has to hold.
#[derive(Clone, Copy)]
pub struct Bug {
    pub name: &'static str,
    /// The power fails after the run has said that it is done.
    completed: bool,
    expected: &'static [&'static str],
}

pub const BUGS: [Bug; 2] = [
    Bug {
        name: "no-flush-backup",
        completed: false,
        expected: &[
            "primary GPT entry 3 (`IMGA_resized2`)",
            "(backup GPT array, step createPartitions), which no flush had made durable",
        ],
    },
    Bug {
        name: "no-flush-primary",
        completed: true,
        expected: &[
            "primary GPT entry 1 (`IMGA`)",
            "(primary GPT array, step updatePartitions), which no flush had made durable",
        ],
    },
];

pub fn is_explained(bug: Bug) -> Result<(), Failed> {
    let known = recorded(bug.name)?;
    let log = known.log.clone().ok_or("a recording")?;
    let start = known.start.memory.clone().ok_or("a start in memory")?;
    let (state, volume) = broken(bug, &known, start, &log)?;
    let explanation = explained(bug, &known, &log, &state, volume)?;
    let text = explanation.to_string();
    let is_about = (explanation.found, explanation.wanted);
    if bug.completed && is_about != (Found::Crash, Wanted::Baseline) {
        return Err(format!("not about the crash state beside the baseline: {text}").into());
    }
    for expected in bug.expected {
        let core = text.lines().next().unwrap_or_default();
        if !core.contains(expected) {
            return Err(
                format!("no `{expected}` in the first line of the explanation of {state}: {text}").into()
            );
        }
    }
    if std::env::var_os("KILLPOINT_SHOW").is_some() {
        eprintln!("{}, {state}:\n{text}\n", bug.name);
    }
    Ok(())
}

/// What a run of the resizer with a bug does.
fn recorded(bug: &str) -> Result<Known, Failed> {
    let folder = tempfile::TempDir::new()?;
    let file = folder.path().join("scenario.toml");
    std::fs::write(&file, SCENARIO)?;
    let resolved = scenarios::load(file.to_str().ok_or("a path of text")?, None)?;
    let chosen = seam::choose(Wish::This(Seam::Fuse), &[&resolved])?;
    let needs = Needs { hook: false, planted: true };
    let programs = Programs::find(&resolved, needs, &mut |line| eprintln!("{line}"))?;
    let setting = Setting {
        seam: chosen.seam,
        private_mounts: chosen.private_mounts,
        gpt_delay: None,
        bug: Some(bug.to_owned()),
        real_time: false,
        work_parent: None,
        launcher: PathBuf::from(env!("CARGO_BIN_EXE_killpoint")),
        cpus: cpus::allowed()?,
        interrupted: Box::leak(Box::new(AtomicBool::new(false))),
        layouts: false,
        prove: false,
        exec: None,
    };
    let prepared = prepare(resolved, programs, &setting, None, &mut Stream::new(Vec::new()))?;
    let phase = prepared.phases.first().ok_or("a phase")?;
    Ok(phase.known.clone())
}

/// The first state of the power model that a reader of the table, or of the result, would call broken.
fn broken(bug: Bug, known: &Known, start: Volume, log: &OpLog) -> Result<(PowerState, Volume), Failed> {
    let power = Power::new(start, log, PowerOptions::default())?;
    let mut builder = power.builder();
    let states: Box<dyn Iterator<Item = PowerState>> =
        if bug.completed { Box::new(power.states_at(log.len())) } else { Box::new(power.states()) };
    let baseline = known.baseline.memory.as_ref().and_then(|state| disk(state).map(|disk| disk.content_id()));
    for state in states {
        let volume = builder.materialise(&state)?;
        let image = disk(&volume).ok_or("the disk")?;
        let broken = match bug.completed {
            true => Some(image.content_id()) != baseline,
            false => Gpt::read(image)?.best().is_none(),
        };
        if broken {
            return Ok((state, volume));
        }
    }
    Err("no state of the power model breaks".into())
}

fn disk(state: &Volume) -> Option<&fault_backend::Image> {
    state.file(Path::new("volume/disk.img"))
}

/// Of a run that said that it was done, what the oracle `durable` objects to is the crash state itself, however well a
/// further run would mend it.
fn explained(
    bug: Bug,
    known: &Known,
    log: &Arc<OpLog>,
    state: &PowerState,
    crash: Volume,
) -> Result<Explanation, Failed> {
    let in_memory = |saved: &killpoint::stage::Saved| saved.memory.clone().ok_or("a state in memory");
    let states = States {
        phase: known.phase.clone(),
        start: in_memory(&known.start)?,
        baseline: in_memory(&known.baseline)?,
        result: if bug.completed { in_memory(&known.baseline)? } else { crash.clone() },
        crash: Some(crash),
        further: None,
        mask: known.mask.clone(),
        payload_varies: false,
        runs: vec![Run { log: Arc::clone(log), reach: Reach::from(state) }],
        resume: None,
        uninterrupted: known.log.clone(),
        oracle: if bug.completed { "durable" } else { "gpt" }.to_owned(),
        asked: if bug.completed { Asked::AtEnd } else { Asked::AtCrash },
    };
    Ok(states.explain()?)
}
