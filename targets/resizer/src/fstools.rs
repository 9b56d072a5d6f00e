//! The file-system programs: found, run with a clean environment and a fixed clock, their output kept in bounds.
//!
//! `e2fsck -n` reads the disk in place; everything else works on a staged copy ([`stage`]). No program ever writes
//! the disk: what a repair changed is written back by us.

pub mod stage;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::disk::{Disk, Extent};
use crate::error::{self, Error, Result};
use crate::patch::{self, Patch};
use crate::usage::UsageError;
use crate::{ext4, fat, planted};
use stage::{STAGE_PREFIX, Stage};
use uuid::Uuid;

/// How much of a program's output is kept: the end, where the verdict stands.
const OUTPUT_KEPT_BYTES: usize = 64 * 1024;
/// A program that prints more than this is looping (`e2fsck -n` does on some damage) and is killed.
const OUTPUT_MAX_BYTES: usize = 16 * 1024 * 1024;

/// The unit in which a repair is written back.
const UNIT_BYTES: usize = 1024;

/// What the file-system programs need to be run.
pub struct Tools {
    /// The directory for staged copies.
    pub scratch: PathBuf,
    /// Where a staged copy lies, one at a time.
    stage: PathBuf,
}

/// One call of a program.
pub(crate) struct Call<'a> {
    pub program: &'static str,
    pub package: &'static str,
    pub args: Vec<OsString>,
    /// The time of day that the program shall see, in seconds since 1970: it ends up in superblocks.
    pub clock_s: u64,
    /// What the program gets as standard input; nothing if `None`.
    pub stdin: Option<File>,
    /// The exit codes that mean success.
    pub accepted: &'a [i32],
}

impl Tools {
    /// For a disk, of which at most one process at a time has staged copies in a directory.
    pub fn new(scratch: PathBuf, disk_guid: Uuid) -> Self {
        let stage = scratch.join(format!("{STAGE_PREFIX}{disk_guid}"));
        Self { scratch, stage }
    }

    /// Runs a program to its end; its output, standard error included.
    pub(crate) fn run(&self, call: Call<'_>) -> Result<String> {
        let Call { program, package, args, clock_s, stdin, accepted } = call;
        let found = find(program).ok_or(Error::MissingProgram { program, package })?;
        let (mut output, sink) = io::pipe().map_err(Error::io("make a pipe for", &found))?;
        let spawn = |sink: io::PipeWriter| -> io::Result<Child> {
            Command::new(&found)
                .args(&args)
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("LC_ALL", "C")
                .env("TZ", "UTC0")
                .env("E2FSPROGS_FAKE_TIME", clock_s.to_string())
                .env("E2FSCK_TIME", clock_s.to_string())
                .env("TMPDIR", &self.scratch)
                .stdin(stdin.map_or_else(Stdio::null, Stdio::from))
                .stdout(sink.try_clone()?)
                .stderr(sink)
                .spawn()
        };
        let mut child = spawn(sink).map_err(Error::io("run", &found))?;
        let read = read_tail(&mut output);
        if !matches!(read, Ok((_, true))) {
            // It may have ended by itself meanwhile; either way it is reaped below.
            let _ = child.kill();
        }
        let status = child.wait().map_err(Error::io("wait for", &found))?;
        let (output, complete) = read.map_err(Error::io("read the output of", &found))?;
        let code = status.code().filter(|_| complete);
        if code.is_some_and(|code| accepted.contains(&code)) {
            return Ok(output);
        }
        let args = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        Err(Error::Tool { program, args, output, status: code })
    }
}

/// The last [`OUTPUT_KEPT_BYTES`] that come out of `from`, and whether its end was reached in bounds.
fn read_tail(from: &mut impl Read) -> io::Result<(String, bool)> {
    let mut kept = Vec::new();
    let mut total = 0;
    let mut buf = vec![0; 16 * 1024];
    let complete = loop {
        match from.read(&mut buf) {
            Ok(0) => break true,
            Ok(n) => {
                total += n;
                kept.extend_from_slice(&buf[..n]);
                if kept.len() > 2 * OUTPUT_KEPT_BYTES {
                    kept.drain(..kept.len() - OUTPUT_KEPT_BYTES);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if total > OUTPUT_MAX_BYTES {
            break false;
        }
    };
    kept.drain(..kept.len().saturating_sub(OUTPUT_KEPT_BYTES));
    Ok((String::from_utf8_lossy(&kept).into_owned(), complete))
}

/// Where a program lies. An ordinary user's `PATH` lacks the `sbin` directories that these programs are in, so
/// beside each `bin` its `sbin` is searched too.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let is_program = |candidate: &Path| {
        candidate.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path)
        .flat_map(|dir| {
            let sibling = (dir.file_name() == Some(OsStr::new("bin"))).then(|| dir.with_file_name("sbin"));
            [Some(dir), sibling]
        })
        .flatten()
        .map(|dir| dir.join(program))
        .find(|candidate| is_program(candidate))
}

/// Refuses where a program that any change of an ext4 file system needs is missing.
fn require_e2fsprogs() -> Result<()> {
    for program in ["e2fsck", "resize2fs"] {
        find(program).ok_or(Error::MissingProgram { program, package: "e2fsprogs" })?;
    }
    Ok(())
}

/// Refuses where no staged copy can be made, which a later step would find out when the table has changed already.
fn require_scratch(tools: &Tools) -> Result<()> {
    match Stage::create(tools, 0) {
        Err(Error::Io { source, .. }) => {
            Err(UsageError::Scratch { path: tools.scratch.clone(), source }.into())
        }
        other => other.map(drop),
    }
}

/// Checks an ext4 file system in place. With `fix`, what e2fsck finds is repaired and an unclean journal replayed;
/// without, both are refused.
pub fn check_ext4(disk: &dyn Disk, at: Extent, fix: bool, tools: &Tools) -> Result<()> {
    require_e2fsprogs()?;
    require_scratch(tools)?;
    let Some(info) = ext4::probe(disk, at)? else {
        return Err(ext4::not_ext4(at));
    };
    if info.needs_recovery {
        return if fix { repair_ext4(disk, at, info.clock_s, tools) } else { Err(ext4::unclean_journal(at)) };
    }
    let (mut target, stdin) = child_name(disk.path(), false)?;
    target.push(format!("?offset={}", at.offset_bytes));
    let checked = tools.run(Call {
        program: "e2fsck",
        package: "e2fsprogs",
        args: vec!["-f".into(), "-n".into(), target],
        clock_s: info.clock_s,
        stdin,
        accepted: &[0],
    });
    match checked {
        Err(Error::Tool { .. }) if fix => repair_ext4(disk, at, info.clock_s, tools),
        // The planted tool believes that the shrink's own e2fsck -y will mend whatever a kill left.
        Err(Error::Tool { .. }) if planted::active() == Some(planted::Bug::NaiveCopyBack) => Ok(()),
        other => other.map(drop),
    }
}

/// Repairs on a staged copy (e2fsck loses the offset of a partition once it has replayed a journal) and writes
/// back what that changed. The two blocks that say whether the journal is to be replayed come last, the superblock
/// after the journal's own: until then a repair that was cut off is done again from the same journal. (One that is cut off between the two
/// ends as sound, but e2fsck's own counters may differ: the journal's sequence, the kilobytes ever written.)
fn repair_ext4(disk: &dyn Disk, at: Extent, clock_s: u64, tools: &Tools) -> Result<()> {
    let mut stage = Stage::create(tools, at.len_bytes)?;
    stage.copy_all(disk, at)?;
    let (name, stdin) = child_name(stage.path(), true)?;
    tools.run(Call {
        program: "e2fsck",
        package: "e2fsprogs",
        args: vec!["-f".into(), "-y".into(), name],
        clock_s,
        stdin,
        accepted: &[0, 1, 2],
    })?;
    write_back(disk, at, &stage, |offset_bytes, unit| {
        offset_bytes == ext4::SUPERBLOCK_OFFSET_BYTES || ext4::is_journal_superblock(unit)
    })
}

/// A name for the disk that e2fsprogs takes as it stands, and the standard input that goes with it. They read
/// `?` as the start of options and `TAG=` as a label to look up.
pub(crate) fn child_name(path: &Path, writable: bool) -> Result<(OsString, Option<File>)> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.contains(&b'?') {
        let file = File::options().read(true).write(writable).open(path).map_err(Error::io("open", path))?;
        return Ok(("/proc/self/fd/0".into(), Some(file)));
    }
    if path.is_absolute() {
        return Ok((path.as_os_str().to_owned(), None));
    }
    Ok((OsString::from_vec([b"./", bytes].concat()), None))
}

/// Checks a FAT file system: structurally by our own reader and, where it is installed, by fsck.fat on a staged
/// copy. With `fix`, what fsck.fat repairs there is written back.
pub fn check_fat(disk: &dyn Disk, at: Extent, fix: bool, tools: &Tools) -> Result<()> {
    if find("fsck.fat").is_none() {
        error::report(format_args!(
            "warning: fsck.fat is not installed (Debian package dosfstools): the FAT file system at byte {} is not \
             checked by it",
            at.offset_bytes
        ));
        return fat::check(disk, at);
    }
    require_scratch(tools)?;
    let mut stage = Stage::create(tools, at.len_bytes)?;
    stage.copy_all(disk, at)?;
    tools.run(Call {
        program: "fsck.fat",
        package: "dosfstools",
        args: vec![if fix { "-a" } else { "-n" }.into(), stage.path().into()],
        clock_s: 0,
        stdin: None,
        accepted: if fix { &[0, 1] } else { &[0] },
    })?;
    if fix {
        write_back(disk, at, &stage, |_, _| false)?;
    }
    fat::check(disk, at)
}

/// Writes to the disk what differs on the stage, in order; what `comes_last` names, in units of
/// [`UNIT_BYTES`], when all else is durable, from the end to the start.
fn write_back(
    disk: &dyn Disk,
    at: Extent,
    stage: &Stage,
    comes_last: impl Fn(u64, &[u8]) -> bool,
) -> Result<()> {
    let mut patch = Patch::new(disk);
    let mut last = Vec::new();
    let mut buf = vec![0; patch::WRITE_MAX_BYTES];
    let mut present = buf.clone();
    let mut done = 0;
    while done < at.len_bytes {
        let len = (at.len_bytes - done).min(buf.len() as u64) as usize;
        stage.read_at(done, &mut buf[..len])?;
        patch::read(disk, at.offset_bytes + done, &mut present[..len])?;
        let units = buf[..len].chunks(UNIT_BYTES).zip(present.chunks_mut(UNIT_BYTES));
        for (offset, (unit, present)) in (done..).step_by(UNIT_BYTES).zip(units) {
            let present = &mut present[..unit.len()];
            if unit == present {
                continue;
            }
            if comes_last(offset, unit) {
                last.push((offset, unit.to_vec()));
            } else {
                present.copy_from_slice(unit);
            }
        }
        patch.put(at.offset_bytes + done, &present[..len])?;
        done += len as u64;
    }
    if !last.is_empty() {
        patch::flush(disk)?;
    }
    for (offset, unit) in last.into_iter().rev() {
        patch.put(at.offset_bytes + offset, &unit)?;
    }
    patch::flush(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_long_output_the_end_is_kept() {
        let text: Vec<u8> = (0..300_000).map(|at| b'a' + (at % 23) as u8).collect();
        let (kept, complete) = read_tail(&mut &text[..]).unwrap();
        assert!(complete && kept.as_bytes() == &text[text.len() - OUTPUT_KEPT_BYTES..]);
    }

    #[test]
    fn a_program_that_prints_without_end_is_given_up() {
        let (kept, complete) = read_tail(&mut io::repeat(b'x')).unwrap();
        assert!(!complete && kept.len() == OUTPUT_KEPT_BYTES);
    }

    #[test]
    fn a_failed_program_tells_its_output_and_a_missing_one_its_package() {
        let tools = Tools::new(std::env::temp_dir(), Uuid::nil());
        let call = |program, args: &[&str]| Call {
            program,
            package: "the-package",
            args: args.iter().map(OsString::from).collect(),
            clock_s: 7,
            stdin: None,
            accepted: &[3],
        };
        let script = "echo out; echo err >&2; echo $LC_ALL $E2FSCK_TIME $HOME; exit $0";
        assert_eq!(tools.run(call("sh", &["-c", script, "3"])).unwrap(), "out\nerr\nC 7\n");
        let failed = tools.run(call("sh", &["-c", script, "4"])).unwrap_err();
        assert!(
            matches!(&failed, Error::Tool { status: Some(4), output, .. } if output.starts_with("out\nerr"))
        );
        let missing = tools.run(call("no-such-program", &[])).unwrap_err();
        assert!(matches!(missing, Error::MissingProgram { package: "the-package", .. }));
    }
}
