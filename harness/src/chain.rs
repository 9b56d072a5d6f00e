//! A chain: a phase's run from its start, cut and resumed and cut again, until the resume runs to its end and the
//! oracles answer. Random kills and reproductions are the same chain; they differ only in what cuts it.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use fault_backend::{ContentId, Fault};
use reports::{CopyState, GptSample, Verdict};

use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::gpt::Gpt;
use crate::image;
use crate::oracle::{Answer, Outcome};
use crate::prepare::{Ground, PreparedPhase, full_check};
use crate::process::{Aim, End};
use crate::subject::Attempt;
use crate::token::TokenKill;
use crate::workdir;

/// What cuts a run.
#[derive(Clone, Debug)]
pub enum Cut {
    /// A kill from outside, at a time.
    Time(Aim),
    /// The hook, at an op.
    Op(Fault),
}

/// A crash state as it was found.
#[derive(Clone, Debug)]
pub struct CrashState {
    /// The kill by op, and what became of the scratch directory.
    pub kill: TokenKill,
    /// Time from the spawn to the death, in milliseconds.
    pub at_ms: f64,
    /// Furthest step mark before the kill.
    pub step: String,
    /// Last op that was complete.
    pub op: u64,
    /// The kill fell inside a write of which some pages had arrived.
    pub inside_op: bool,
    /// Writes that the run had begun.
    pub writes: usize,
    /// It is known to have been killed before its last op: it was the phase's first run and had ops left to do, or
    /// the phase has none, so that any point of it is before the end.
    pub before_last_op: bool,
    /// Content id of the volume.
    pub content_id: ContentId,
    /// GPT sample, where the volume holds one.
    pub gpt: Option<GptSample>,
    /// State of each copy.
    pub copies: BTreeMap<String, CopyState>,
    /// What the oracles that are asked at the crash answered.
    pub answers: Vec<Answer>,
}

/// What a chain came to.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Sum of the answers.
    pub verdict: Verdict,
    /// The oracle that decided it; `exit` where that was the resume's own end.
    pub oracle: String,
    /// In words, for a finding.
    pub explain: String,
    /// Writes of the run that went to the end.
    pub writes: usize,
    /// Duration of resume and oracles.
    pub wall_ms: u64,
}

impl Judgement {
    /// For a state that could not be judged.
    pub fn not_measured(why: String) -> Self {
        Self { verdict: Verdict::NotMeasured, oracle: String::new(), explain: why, writes: 0, wall_ms: 0 }
    }
}

/// A chain that came to its end.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its crash states.
    pub crashes: Vec<CrashState>,
    /// What it came to.
    pub judgement: Judgement,
    /// Ranges that its runs wrote.
    pub written: Vec<Range<u64>>,
}

/// How one cut went.
#[derive(Debug)]
pub enum Step {
    /// The tool died of it.
    Crashed(Box<CrashState>),
    /// The tool was at its end before.
    Finished(Box<Attempt>),
}

/// A chain in the making.
#[derive(Debug)]
pub struct Chain<'a> {
    ground: &'a Ground,
    phase: &'a mut PreparedPhase,
    /// Chunk hashes of the volume, where the seam sees all that is written.
    fingerprint: Option<Fingerprint>,
    /// Ranges that its runs wrote.
    written: Vec<Range<u64>>,
    /// Crash states so far.
    pub crashes: Vec<CrashState>,
}

impl<'a> Chain<'a> {
    /// Begins with an empty scratch directory. The live volume is at the phase's start.
    pub fn begin(ground: &'a Ground, phase: &'a mut PreparedPhase) -> Result<Self, Error> {
        let scratch = &ground.subject.scratch;
        workdir::wipe(scratch).map_err(Error::io(scratch))?;
        let fingerprint = phase.fingerprint.clone();
        Ok(Self { ground, phase, fingerprint, written: Vec::new(), crashes: Vec::new() })
    }

    /// The command that comes next: the phase's own, or the first that resumes it.
    fn command(&self) -> &[String] {
        let phase = &self.phase.phase;
        if self.crashes.is_empty() { &phase.run } else { phase.resume.first().unwrap_or(&phase.run) }
    }

    /// Runs the next command and cuts it.
    pub fn cut(&mut self, cut: &Cut, wipe: bool) -> Result<Step, Error> {
        let (fault, aim) = match cut {
            Cut::Time(aim) => (None, Some(aim)),
            Cut::Op(fault) => (Some(*fault), None),
        };
        let subject = &self.ground.subject;
        let attempt = subject.run(&self.phase.phase, self.command(), fault, aim, &mut |_| {})?;
        self.written.extend(attempt.written());
        if attempt.run.end != End::Killed {
            return Ok(Step::Finished(Box::new(attempt)));
        }
        let state = self.sample(&attempt, wipe)?;
        if wipe {
            workdir::wipe(&subject.scratch).map_err(Error::io(&subject.scratch))?;
        }
        self.crashes.push(state.clone());
        Ok(Step::Crashed(Box::new(state)))
    }

    fn sample(&mut self, attempt: &Attempt, wipe: bool) -> Result<CrashState, Error> {
        let volume = &self.ground.subject.volume;
        let path = volume.join(&self.ground.resolved.scenario.fixture.disk.file);
        let file = File::open(&path).map_err(Error::io(&path))?;
        let fault = attempt.as_fault(|at, buf| file.read_exact_at(buf, at)).map_err(Error::io(&path))?;
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.update(volume, attempt.written()).map_err(Error::io(volume))?;
        }
        let content_id = match &self.fingerprint {
            Some(fingerprint) => fingerprint.id(),
            None => image::content_id(volume).map_err(Error::io(volume))?,
        };
        let copies =
            self.phase.copies.sample(volume, self.fingerprint.as_ref()).map_err(Error::io(volume))?;
        let marks = &attempt.run.marks;
        Ok(CrashState {
            kill: TokenKill { fault, wipe },
            at_ms: attempt.run.wall.as_secs_f64() * 1000.0,
            step: marks.last().map_or("start", |mark| &mark.name).to_owned(),
            op: attempt.completed(),
            inside_op: matches!(fault, Fault::AtOp(_, fault_backend::Action::KillTorn(_))),
            writes: attempt.writes(),
            before_last_op: self.phase.ops == 0
                || self.crashes.is_empty() && attempt.completed() < self.phase.ops,
            content_id,
            gpt: Some(Gpt::read(&file).map_err(Error::io(&path))?.sample()),
            copies,
            answers: self.phase.oracles.at_crash(volume),
        })
    }

    /// Resumes to the end, or takes a run that finished by itself for that, and has the oracles answer.
    pub fn finish(self, finished: Option<Attempt>) -> Result<Finished, Error> {
        let began = Instant::now();
        let model = &self.phase.phase;
        let first = self.command().to_owned();
        let commands: Vec<&[String]> =
            std::iter::once(first.as_slice()).chain(model.resume.iter().skip(1).map(Vec::as_slice)).collect();
        let commands = if self.crashes.is_empty() { &commands[..1] } else { &commands };
        let mut finished = finished;
        let mut written = self.written;
        let mut writes = 0;
        let mut failure = None;
        for (index, command) in commands.iter().enumerate() {
            let attempt = match finished.take() {
                Some(attempt) => attempt,
                None => self.ground.subject.run(model, command, None, None, &mut |_| {})?,
            };
            writes += attempt.writes();
            written.extend(attempt.written());
            let accepted = model.resume_exit.get(index).unwrap_or(&model.run_exit);
            failure = how_it_failed(&attempt, accepted);
            if failure.is_some() {
                full_check(&self.ground.work)?;
                break;
            }
        }
        let volume = &self.ground.subject.volume;
        let mut answers: Vec<(bool, Answer)> = self
            .crashes
            .iter()
            .flat_map(|crash| crash.answers.clone())
            .map(|answer| (true, answer))
            .collect();
        answers.extend(self.phase.oracles.at_end(volume).into_iter().map(|answer| (false, answer)));
        let (verdict, oracle, explain) = judge(failure, &answers);
        let wall_ms = began.elapsed().as_millis() as u64;
        let judgement = Judgement { verdict, oracle, explain, writes, wall_ms };
        Ok(Finished { crashes: self.crashes, judgement, written })
    }
}

/// A resume that did not end as accepted: its verdict where nothing is worse, and what it did.
fn how_it_failed(attempt: &Attempt, accepted: &[i32]) -> Option<(Verdict, String)> {
    let run = &attempt.run;
    let output = |text: String| {
        let last = run.stdout.lines().chain(run.stderr.lines()).rfind(|line| !line.trim().is_empty());
        format!("the resume {text}{}", last.map_or(String::new(), |line| format!(": {}", line.trim())))
    };
    match run.end {
        End::Exited(code) if accepted.contains(&code) => None,
        End::Exited(code) => Some((Verdict::Refused, output(format!("exited with {code}")))),
        End::Killed => Some((Verdict::Crashed, output("was killed".to_owned()))),
        End::Signalled(signal) => Some((Verdict::Crashed, output(format!("died of signal {signal}")))),
        End::Hung => Some((Verdict::Hung, output("ran past its limit".to_owned()))),
    }
}

/// Adds up the answers, the worst first: a data guard that fails is corruption whatever the exit code; a baseline
/// that differs matters only where the resume claims to be done.
fn judge(failure: Option<(Verdict, String)>, answers: &[(bool, Answer)]) -> (Verdict, String, String) {
    let mut found: Vec<(Verdict, String, String)> = Vec::new();
    for (at_crash, answer) in answers {
        let place = if *at_crash { "at the crash, " } else { "" };
        let (verdict, text) = match &answer.outcome {
            Outcome::Held => continue,
            Outcome::Failed { explain } if answer.oracle == "baseline" => {
                if failure.is_some() {
                    continue;
                }
                (Verdict::Diverged, explain)
            }
            Outcome::Failed { explain } => (Verdict::Corrupt, explain),
            Outcome::Hung { what } => (Verdict::Hung, what),
            Outcome::NotMeasured { why } => (Verdict::NotMeasured, why),
        };
        found.push((verdict, answer.oracle.clone(), format!("{place}{text}")));
    }
    if let Some((verdict, text)) = failure {
        found.push((verdict, "exit".to_owned(), text));
    }
    found.sort_by_key(|(verdict, ..)| std::cmp::Reverse(verdict.badness()));
    let mut seen = HashSet::new();
    let explain: Vec<String> = found
        .iter()
        .map(|(_, oracle, text)| format!("{oracle}: {text}"))
        .filter(|t| seen.insert(t.clone()))
        .collect();
    match found.into_iter().next() {
        Some((verdict, oracle, _)) => (verdict, oracle, explain.join("; ")),
        None => (Verdict::Recovered, String::new(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(at_crash: bool, oracle: &str, outcome: Outcome) -> (bool, Answer) {
        (at_crash, Answer { oracle: oracle.to_owned(), outcome })
    }

    fn failed(text: &str) -> Outcome {
        Outcome::Failed { explain: text.to_owned() }
    }

    fn exit(verdict: Verdict) -> Option<(Verdict, String)> {
        Some((verdict, "the resume exited with 4".to_owned()))
    }

    /// Each row is a resume's own failure, the answers, and what they add up to.
    #[test]
    fn answers_add_up_to_the_worst_of_them() {
        let held = || answer(false, "gpt", Outcome::Held);
        let differs = || answer(false, "baseline", failed("3 bytes differ"));
        let corrupt = || answer(true, "untouched", failed("P3 changed"));
        let unmeasured = || answer(false, "fsck", Outcome::NotMeasured { why: "no e2fsck".to_owned() });
        let hung = || answer(false, "fsck", Outcome::Hung { what: "e2fsck".to_owned() });
        for (failure, answers, verdict, oracle) in [
            (None, vec![held()], Verdict::Recovered, ""),
            (None, vec![held(), differs()], Verdict::Diverged, "baseline"),
            (None, vec![differs(), corrupt()], Verdict::Corrupt, "untouched"),
            (None, vec![held(), unmeasured()], Verdict::NotMeasured, "fsck"),
            (None, vec![unmeasured(), differs()], Verdict::Diverged, "baseline"),
            (None, vec![held(), hung()], Verdict::Hung, "fsck"),
            // A resume that refuses is not expected to have reached the baseline; data must be intact all the same.
            (exit(Verdict::Refused), vec![held(), differs()], Verdict::Refused, "exit"),
            (exit(Verdict::Refused), vec![corrupt(), differs()], Verdict::Corrupt, "untouched"),
            (exit(Verdict::Crashed), vec![differs()], Verdict::Crashed, "exit"),
            (exit(Verdict::Hung), vec![held()], Verdict::Hung, "exit"),
        ] {
            let (found, by, _) = judge(failure.clone(), &answers);
            assert_eq!((found, by.as_str()), (verdict, oracle), "{failure:?} {answers:?}");
        }
    }

    #[test]
    fn an_explanation_holds_every_failure_once_and_says_which_was_at_the_crash() {
        let answers = [
            answer(true, "gpt", failed("no valid copy")),
            answer(true, "gpt", failed("no valid copy")),
            answer(false, "baseline", failed("3 bytes differ")),
        ];
        let (.., explain) = judge(None, &answers);
        assert_eq!(explain, "gpt: at the crash, no valid copy; baseline: 3 bytes differ");
    }
}
