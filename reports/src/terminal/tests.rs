//! What standard error shows: every status line once in a snapshot, then which of them are shown when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use console::{measure_text_width, strip_ansi_codes};
use indicatif::InMemoryTerm;
use proptest::prelude::*;

mod sweep;

use super::*;
use crate::samples::{campaign, ended, finding, judged, kill, started};
use crate::{Kill, Outcome, Stream, Verdict};

/// A writer whose content the test can read afterwards.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What plain output of `events` is, when `step_ms` pass before each.
fn shown(
    events: &[Event],
    options: TerminalOptions,
    color: bool,
    columns: Option<usize>,
    step_ms: u64,
) -> String {
    let page = Page::default();
    let output = Output::Plain { writer: Box::new(page.clone()), width: Box::new(move || columns) };
    let mut stream = Stream::new(vec![Box::new(Terminal::with(options, color, output, ticking(step_ms)))]);
    for event in events {
        stream.emit(event).unwrap();
    }
    String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
}

/// A clock that moves on by `step_ms` each time that it is read.
fn ticking(step_ms: u64) -> Box<dyn Fn() -> Duration + Send> {
    let reads = AtomicU64::new(0);
    Box::new(move || Duration::from_millis(step_ms * reads.fetch_add(1, Ordering::Relaxed)))
}

fn level(level: Level) -> TerminalOptions {
    TerminalOptions { level, ..TerminalOptions::default() }
}

/// A campaign of `n` iterations of one kill and one judgement in each of the two phases.
fn long(n: u64, iterations: Option<u64>, for_s: Option<u64>) -> Vec<Event> {
    let mut events = vec![started(iterations, for_s)];
    for i in 1..=n {
        events.push(Event::IterationStarted { iteration: i });
        for phase in ["shrink", "grow"] {
            events.push(Event::Kill(kill(i, phase, "start", &format!("{phase}{i}"))));
            events.push(judged(i, phase, Verdict::Recovered));
        }
    }
    events
}

/// Every event at full verbosity, and the verdicts and endings that the sample campaign does not have.
#[test]
fn every_status_line() {
    let mut events = campaign();
    events.push(started(None, Some(8 * 3600)));
    events.push(Event::FixtureReady {
        fixture_id: "f".to_owned(),
        cached: false,
        len_bytes: 1 << 20,
        wall_ms: 7,
    });
    events.push(Event::IterationStarted { iteration: 3 });
    for verdict in Verdict::ALL {
        events.push(judged(3, "grow", verdict));
    }
    events.push(Event::Kill(Kill { landed: false, ..kill(3, "shrink", "start", "z") }));
    events.push(judged(3, "shrink", Verdict::Recovered));
    events.push(ended(Outcome::Completed, 0));
    events.push(ended(Outcome::Interrupted { signal: "SIGTERM".to_owned() }, 130));
    events
        .push(ended(Outcome::Stopped { reason: "no space left on the run directory's disk".to_owned() }, 4));
    insta::assert_snapshot!(shown(&events, level(Level::Verbose), false, None, 100));
}

#[test]
fn normal_shows_one_line_an_iteration_and_no_kills() {
    insta::assert_snapshot!(shown(&campaign(), level(Level::Normal), false, Some(80), 100));
}

/// What an interrupt cut short did not recover and did not fail: it gets no line.
#[test]
fn an_iteration_that_was_cut_short_has_no_line() {
    let mut events = long(2, Some(9), None);
    events.push(ended(Outcome::Interrupted { signal: "SIGINT".to_owned() }, 130));
    let text = shown(&events, level(Level::Normal), false, None, 100);
    assert!(text.contains("(1/9)") && !text.contains("(2/9)"), "{text}");
    assert!(text.contains("Interrupted") && text.contains("by SIGINT after 1 iteration,"), "{text}");
}

#[test]
fn quiet_shows_only_what_must_not_be_missed() {
    let text = shown(&campaign(), level(Level::Quiet), false, Some(80), 100);
    let verbs: Vec<&str> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(verbs, ["Not", "Warning", "FINDING", "partition", "killpoint"]);
}

/// 200 iterations of 0.5 s each: one progress line in 2 s and the last iteration's, but every finding.
#[test]
fn progress_of_a_long_campaign_is_rationed_and_findings_are_not() {
    let mut events = long(200, Some(200), None);
    events.push(ended(Outcome::Completed, 1));
    for at in [30, 31, 32] {
        events.insert(at, Event::Finding(finding("F", Verdict::Corrupt)));
    }
    let text = shown(&events, level(Level::Normal), false, None, 100);
    let count = |verb: &str| text.lines().filter(|line| line.trim_start().starts_with(verb)).count();
    assert_eq!(count("FINDING"), 3);
    assert!((48..=52).contains(&count("Recovered")), "{text}");
    assert!(text.contains("(200/200)"), "{text}");

    let all = shown(&events, level(Level::Verbose), false, None, 100);
    assert!(all.contains("( 77/200)"), "verbose leaves nothing out");
    let none = TerminalOptions { progress: false, ..TerminalOptions::default() };
    assert!(!shown(&events, none, false, None, 100).contains("Recovered"));
}

#[test]
fn colour_changes_nothing_but_colour() {
    let plain = shown(&campaign(), level(Level::Verbose), false, Some(60), 100);
    let coloured = shown(&campaign(), level(Level::Verbose), true, Some(60), 100);
    assert!(!plain.contains('\u{1b}'));
    assert!(coloured.contains("\u{1b}[31m"), "a finding is red");
    assert_eq!(strip_ansi_codes(&coloured), plain);
}

#[test]
fn colour_is_for_terminals_that_do_not_refuse_it() {
    for (choice, is_terminal, refused, colour) in [
        ("auto", true, false, true),
        ("auto", true, true, false),
        ("auto", false, false, false),
        ("always", false, true, true),
        ("never", true, false, false),
    ] {
        let parsed: ColorChoice = choice.parse().unwrap();
        assert_eq!(parsed.decide(is_terminal, refused), colour, "{choice} {is_terminal} {refused}");
    }
    let error = "sometimes".parse::<ColorChoice>().unwrap_err();
    assert_eq!(error.to_string(), "`sometimes` is none of `auto`, `always`, `never`");
}

/// Runs `events` into a bar on a terminal of 80 columns and returns what is on it after the last.
fn on_terminal(events: &[Event], step_ms: u64) -> String {
    let term = InMemoryTerm::new(40, 80);
    let bar = progress_bar(ProgressDrawTarget::term_like(Box::new(term.clone())));
    let output = Output::Bar { bar, width: Box::new(|| Some(80)) };
    let terminal = Terminal::with(TerminalOptions::default(), false, output, ticking(step_ms));
    let mut stream = Stream::new(vec![Box::new(terminal)]);
    for event in events {
        stream.emit(event).unwrap();
    }
    term.contents()
}

/// 30 of 60 iterations, 5 events and so 10 s each: the bar stands at half and the rest takes as long again.
#[test]
fn the_bar_says_how_far_it_is_and_when_it_will_be_done() {
    let mut events = long(30, Some(60), None);
    events.push(Event::IterationStarted { iteration: 31 });
    let screen = on_terminal(&events, 2000);
    let bar = screen.lines().last().unwrap();
    assert!(bar.contains("[========>       ]"), "{screen}");
    assert!(bar.ends_with("30/60, 60 kills, no finding, 0.2/s, 5m left"), "{screen}");
    assert_eq!(screen.lines().count(), 2, "no line for an iteration:\n{screen}");
}

#[test]
fn the_bar_of_a_campaign_bounded_by_time_shows_time() {
    let screen = on_terminal(&long(30, None, Some(8 * 3600)), 60_000);
    let bar = screen.lines().last().unwrap();
    assert!(bar.contains("[=====>          ]"), "{screen}");
    assert!(bar.contains("29 iterations, 60 kills, no finding, 0.0/s, 5h 30m"), "{screen}");
}

#[test]
fn lines_stand_above_the_bar_and_the_bar_goes_at_the_end() {
    let events = campaign();
    let before = on_terminal(&events[..events.len() - 1], 100);
    let rows: Vec<&str> = before.lines().collect();
    assert!(before.contains("killpoint repro"), "{before}");
    assert!(rows[rows.len() - 1].contains("1/2, 6 kills, 1 finding"), "{before}");
    let after = on_terminal(&events, 100);
    assert!(after.lines().last().unwrap().contains("Finished"), "{after}");
}

proptest! {
    /// However long and odd the words, a status line is one line no wider than the screen; a command to paste is
    /// whole.
    #[test]
    fn a_status_line_never_wraps(text in ".{0,200}", columns in 20_usize..200, color: bool) {
        let mut odd = finding("F1", Verdict::Corrupt);
        odd.explain.clone_from(&text);
        let repro = odd.repro.clone();
        let events = [started(Some(1), None), Event::Warning { text }, Event::Finding(odd)];
        let page = shown(&events, level(Level::Normal), color, Some(columns), 0);
        let lines: Vec<&str> = page.split_terminator('\n').collect();
        prop_assert_eq!(lines.len(), 5, "{}", page);
        for line in &lines[..4] {
            prop_assert!(measure_text_width(line) <= columns, "{}", line);
        }
        prop_assert!(lines[4].ends_with(&repro));
    }
}
