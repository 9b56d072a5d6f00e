//! What a tool reads and prints.

use std::sync::Mutex;
use std::time::Duration;

use killpoint::process::{Command, End, StepRule};
use regex::bytes::Regex;

use super::tools::{NEVER, marks, run, script, usual};

#[test]
fn output_and_environment_are_the_tools_own() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(&usual(), &script(dir.path(), "env | sort; pwd; echo trouble >&2"), None);
    let names: Vec<_> = run.stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    assert_eq!(names, ["PATH", "PWD"], "nothing is inherited");
    assert!(run.stdout.contains(dir.path().to_str().unwrap()));
    assert_eq!(run.stderr, "trouble\n");
}

#[test]
fn a_tool_reads_its_input_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let runner = usual();
    let count = script(dir.path(), "wc -c");
    assert_eq!(run(&runner, &count, None).stdout.trim(), "0", "without input there is nothing to read");
    let input = Some(vec![b'y'; 3 << 20]);
    let fed = Command { input: input.clone(), ..count };
    assert_eq!(run(&runner, &fed, None).stdout.trim(), (3 << 20).to_string());
    let deaf = Command { input, ..script(dir.path(), "exit 5") };
    assert_eq!(run(&runner, &deaf, None).end, End::Exited(5), "nobody waits for it to read");
}

#[test]
fn steps_are_words_after_a_prefix_or_the_group_of_a_pattern() {
    let dir = tempfile::tempdir().unwrap();
    let runner = usual();
    let lines = [
        "step: one and more",
        "no step: here",
        "Pass 2: blocks",
        // Neither a line that is too long, nor what follows in it.
        "step: $(head -c 4096 /dev/zero | tr '\\0' x)step: long",
    ];
    let mut text: String = lines.map(|line| format!("echo \"{line}\"; ")).concat();
    text += "printf 'step: la'; sleep 0.05; printf 'te\\r\\n'; printf 'step: unended'; echo 'Pass 9:' >&2";
    let mut command = script(dir.path(), &text);
    assert_eq!(marks(&run(&runner, &command, None)), ["one", "late", "unended"]);
    command.step = Some(StepRule::Pattern(Regex::new("^Pass ([0-9]+):").unwrap()));
    assert_eq!(marks(&run(&runner, &command, None)), ["2", "9"], "either stream counts");
    command.step = None;
    assert_eq!(marks(&run(&runner, &command, None)), [""; 0]);
}

#[test]
fn acknowledgements_come_in_order_also_those_printed_last() {
    let dir = tempfile::tempdir().unwrap();
    let text = "echo 'saved a'; echo other; echo 'step: s'; sleep 0.05; echo 'saved b c'; printf 'saved d'";
    let mut command = script(dir.path(), text);
    for (pattern, expected) in
        [("^saved (.*)", ["a", "b c", "d"]), ("saved .", ["saved a", "saved b", "saved d"])]
    {
        command.ack = Some(Regex::new(pattern).unwrap());
        let run = run(&usual(), &command, None);
        let names: Vec<_> = run.acks.iter().map(|ack| ack.name.as_str()).collect();
        assert_eq!(names, expected);
        assert!(run.acks[0].at <= run.marks[0].at && run.marks[0].at < run.acks[1].at);
        assert!(run.acks[1].at - run.acks[0].at > Duration::from_millis(10), "each has its own time");
    }
}

#[test]
fn every_mark_is_told_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let text = "i=0; while [ $i -lt 300 ]; do echo \"step: $i\"; i=$((i+1)); done";
    let told = Mutex::new(Vec::new());
    let mut on_mark = |mark: &killpoint::process::Mark| told.lock().unwrap().push(mark.name.clone());
    let run = usual().run(&script(dir.path(), text), None, false, &NEVER, &mut on_mark).unwrap();
    let expected: Vec<String> = (0..300).map(|i| i.to_string()).collect();
    assert_eq!(marks(&run), expected);
    assert_eq!(told.into_inner().unwrap(), expected);
}
