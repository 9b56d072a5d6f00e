//! `README.txt` of an exported finding: what it is, where it comes from, and how to replay it.

use fault_backend::replay::Point;
use scenarios::Resolved;

use super::resume::Script;
use super::{SECTOR_BYTES, Specimen, crash_log};
use crate::store::Reached;

impl Specimen<'_> {
    /// The text.
    pub(super) fn readme(&self, resolved: &Resolved, script: &Script<'_>) -> String {
        let scenario = &resolved.scenario;
        let step = self.step();
        let judged = self.judgement;
        let device = match &self.past.at {
            Reached::Power(cut) => {
                let outage = &cut.outage;
                format!("Device    {}, durability {}\n", outage.device.word(), outage.durability)
            }
            Reached::Point(_) => String::new(),
        };
        let versions = self.facts.tool_versions.iter().map(|(name, version)| format!("{name}: {version}"));
        let versions = versions.collect::<Vec<_>>().join("\n          ");
        format!(
            "A finding of killpoint {killpoint}, to be replayed without it.\n\n\
             Scenario  {name}: {summary}\n\
             Phase     {phase}\n\
             Command   {command}\n\
             Programs  {versions}\n\
             Point     {point}, in step {step}\n\
             {device}\
             Verdict   {verdict} ({oracle})\n\
             Explain   {explain}\n\
             Token     {token}\n\
             File      {file}, {len} bytes\n\n\
             {files}\n\
             {replay}\n\
             {limits}",
            killpoint = env!("CARGO_PKG_VERSION"),
            name = scenario.name,
            summary = scenario.summary,
            phase = self.known.phase.name,
            command = self.known.phase.run.join(" "),
            point = self.token.describe_kills(),
            verdict = judged.verdict.name(),
            oracle = if judged.oracle.is_empty() { "-" } else { &judged.oracle },
            explain = judged.explain,
            token = self.token,
            file = self.disk.name.display(),
            len = self.crash.len_bytes(),
            files = FILES.replace("REST", crash_log::REST).replace("SECTOR", &SECTOR_BYTES.to_string()),
            replay = REPLAY,
            limits = self.limits(script),
        )
    }

    /// The step that the run was in when it was cut.
    fn step(&self) -> String {
        let op = match &self.past.at {
            Reached::Point(Point::After(op) | Point::Torn { op, .. }) => *op,
            Reached::Power(cut) => cut.state.cut,
        };
        self.past.log.op(op).map_or_else(|| "start".to_owned(), |op| op.step.to_string())
    }

    /// What the files can't say.
    fn limits(&self, script: &Script<'_>) -> String {
        let mut lines = vec![
            "Ops on the scratch directory are left out, and so are times, owners and modes: the logs are of the file's \
             content."
                .to_owned(),
        ];
        if self.scratch_files > 0 {
            lines.push(format!(
                "At the crash the scratch directory held {} files, which the replayed resume does not have: it may do \
                 something else.",
                self.scratch_files
            ));
        }
        match self.known.volatile_bytes() {
            0 => {}
            bytes => lines.push(format!(
                "Uninterrupted runs differ from each other in {bytes} bytes, which killpoint masks and the replay does not."
            )),
        }
        if script.names_scenario_dir() && !self.facts.ships {
            lines.push(format!("The commands use files of {}.", self.words.scenario_dir.display()));
        }
        lines.push(
            "The volume's path is not the one of the recorded run, sleeps last, and no oracle but the comparison of every byte \
             is asked."
                .to_owned(),
        );
        let resumed = script.listed();
        match resumed.is_empty() {
            true => lines.push("Nothing is resumed, since the tool had said that it was done.".to_owned()),
            false => lines.push(format!("What resumes: {}", resumed.join("; "))),
        }
        let lines: Vec<String> = lines.iter().map(|line| format!("- {line}\n")).collect();
        format!("What to know\n\n{}", lines.concat())
    }
}

const FILES: &str = "\
Files

base.img              the file before the run
run.log               the whole recorded run as a dm-log-writes log (sectors of SECTOR bytes), with a mark for each step
crash.log             what of it is there at the crash; behind the mark `REST` stands what no whole op leaves
kept.txt              what became of each op: kept, lost, torn (a part is there), failed (it had answered an error); a write
                      that is durable once it completed is called forced
state.sha256          the file at the crash
uninterrupted.sha256  the file after a run that nothing cut
resume.sh             resumes on a folder with the file: resume.sh VOLUME SCRATCH
others/               the volume's other files, where it has any
";

const REPLAY: &str = "\
How to replay it

By the script that ships with killpoint:
    replay-finding.sh THIS_FOLDER
By hand, with replay-log of xfstests:
    mkdir volume scratch; cp base.img volume/NAME        (NAME stands in state.sha256)
    replay-log --log crash.log --replay volume/NAME; (cd volume && sha256sum -c ../state.sha256)
    sh resume.sh volume scratch; (cd volume && sha256sum -c ../uninterrupted.sha256)
";
