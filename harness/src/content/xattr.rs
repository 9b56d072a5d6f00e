//! What `ext4-view` doesn't tell: extended attributes and which names are one file, asked of `debugfs` in one run
//! (a second one fetches values that are too long for its list).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::oracle::{Ended, Limits, run_limited, source_argument};

use super::tree::{DIRECTORY, SAME_FILE, XATTR, shown};
use super::{Tree, TreeError};

/// debugfs prints a few hundred bytes per path.
const LIMITS: Limits = Limits { time: Duration::from_secs(60), output_bytes: 256 << 20 };

/// Adds `xattr NAME` and `same file as` facts to the tree of the ext4 at an offset of a disk on the host.
pub(super) fn add(tree: &mut Tree, disk: &File, offset: u64, work: &Path) -> Result<(), TreeError> {
    let paths: Vec<Vec<u8>> = tree.nodes.keys().filter(|path| !path.is_empty()).cloned().collect();
    let mut questions = Vec::new();
    for path in &paths {
        if tree.nodes[path].get("type").is_some_and(|kind| kind == DIRECTORY) {
            questions.push(("ls -p", path, String::new()));
        }
        questions.push(("ea_list", path, String::new()));
    }
    let mut inodes: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    let mut long = Vec::new();
    let answers = ask(&questions, disk, offset, work)?;
    for ((command, path, _), answer) in questions.iter().zip(&answers) {
        if *command == "ls -p" {
            for (inode, name) in answer.iter().filter_map(|line| listed(line)) {
                let mut child = if path.as_slice() == b"/" { Vec::new() } else { path.to_vec() };
                child.push(b'/');
                child.extend_from_slice(name);
                inodes.entry(inode).or_default().push(child);
            }
        } else {
            for (name, value) in answer.iter().filter_map(|line| attribute(line)) {
                match value {
                    Some(value) => insert(tree, path, format!("{XATTR}{name}"), value),
                    None => long.push(("ea_get -x", *path, name)),
                }
            }
        }
    }
    for names in inodes.into_values().filter(|names| names.len() > 1) {
        for name in &names {
            let others: Vec<String> = names.iter().filter(|other| *other != name).map(|n| shown(n)).collect();
            insert(tree, name, SAME_FILE.to_owned(), others.join(" "));
        }
    }
    if !long.is_empty() {
        let answers = ask(&long, disk, offset, work)?;
        for ((_, path, name), answer) in long.iter().zip(answers) {
            let value: Vec<String> =
                answer.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
            insert(tree, path, format!("{XATTR}{name}"), value.join(" ").trim_end().to_owned());
        }
    }
    Ok(())
}

fn insert(tree: &mut Tree, path: &[u8], name: String, value: String) {
    if let Some(facts) = tree.nodes.get_mut(path) {
        facts.insert(name, value);
    }
}

/// Runs the commands in one debugfs; the lines of each one's answer.
fn ask(
    questions: &[(&str, &Vec<u8>, String)],
    disk: &File,
    offset: u64,
    work: &Path,
) -> Result<Vec<Vec<Vec<u8>>>, TreeError> {
    let mut script = tempfile::NamedTempFile::new_in(work)?;
    let mut text = Vec::new();
    for (command, path, argument) in questions {
        if path.iter().any(|byte| *byte < 0x20) || argument.contains('"') {
            return Err(TreeError::Unaskable(shown(path)));
        }
        text.extend_from_slice(command.as_bytes());
        text.extend_from_slice(b" \"");
        for byte in path.iter() {
            text.extend(std::iter::repeat_n(*byte, if *byte == b'"' { 2 } else { 1 }));
        }
        text.push(b'"');
        if !argument.is_empty() {
            text.extend_from_slice(format!(" \"{argument}\"").as_bytes());
        }
        text.push(b'\n');
    }
    script.write_all(&text)?;
    let source = source_argument(disk, offset);
    let arguments = ["-f".as_ref(), script.path().as_os_str(), source.as_os_str()];
    let output = match run_limited("debugfs", &arguments, &[("DEBUGFS_PAGER", "__none__".into())], LIMITS)? {
        Ended::Exited { code: 0, output } => output,
        other => return Err(TreeError::Debugfs(other)),
    };
    let mut answers: Vec<Vec<Vec<u8>>> = Vec::with_capacity(questions.len());
    for line in output.split(|byte| *byte == b'\n') {
        if line.starts_with(b"debugfs: ") {
            answers.push(Vec::new());
        } else if let Some(answer) = answers.last_mut() {
            answer.push(line.to_vec());
        }
    }
    if answers.len() != questions.len() {
        return Err(TreeError::Debugfs(Ended::Exited { code: 0, output }));
    }
    Ok(answers)
}

/// Inode and name of a line of `ls -p`: `/12/100644/0/0/name/5/`. The entries `.` and `..` are no names of their own.
fn listed(line: &[u8]) -> Option<(u64, &[u8])> {
    let mut fields = line.split(|byte| *byte == b'/').skip(1);
    let inode = std::str::from_utf8(fields.next()?).ok()?.parse().ok().filter(|inode| *inode != 0)?;
    let name = fields.nth(3)?;
    (name != b"." && name != b"..").then_some((inode, name))
}

/// Name and value of a line of `ea_list`: `  user.x (2) = "hi"`; long values are left out there.
fn attribute(line: &[u8]) -> Option<(String, Option<String>)> {
    let line = String::from_utf8_lossy(line.strip_prefix(b"  ")?).into_owned();
    let (name, rest) = line.split_once(" (")?;
    let value = rest.split_once(") = ").map(|(_, value)| value.trim_end().to_owned());
    Some((name.to_owned(), value))
}
