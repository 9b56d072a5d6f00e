//! Runs a command inside a file system that the kernel mounts from an image: what a scenario needs whose tool works on files
//! while the power fails under the file system. The mount, by way of a loop device, is seen by this process and the command
//! alone, and goes with them.
//!
//! A state after a power cut may claim anything, so it is mounted with `nosuid,nodev` and, where the file system knows it,
//! `errors=remount-ro`: one whose superblock says `errors=panic` would take the machine down.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Stands for the mount point in the command's words.
pub const MOUNT_POINT_WORD: &str = "{mnt}";

/// Where the file system is mounted: the same path every time, since some tools write paths into their files.
const MOUNT_POINT: &str = "/mnt/killpoint";

/// What to mount.
#[derive(Clone, Debug)]
pub struct Target {
    /// The image.
    pub image: PathBuf,
    /// Type of the file system, as `mount -t` takes it.
    pub fs: String,
    /// Where it begins in the image, in bytes. Partitions are found by their offset, since a kernel need not look for them.
    pub offset: u64,
    /// Nothing is written, not even a journal is replayed onto the image.
    pub read_only: bool,
    /// Further mount options.
    pub options: Vec<String>,
}

/// The file system can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OnMountError {
    /// A namespace of its own can't be had, or the folder of the mount point.
    #[error("a mount of its own needs root")]
    Namespace(#[source] io::Error),
    /// `mount` or `umount` can't be started.
    #[error("`{0}` can't be started; it is in the Debian package mount")]
    NoProgram(&'static str, #[source] io::Error),
    /// The kernel does not mount it.
    #[error("`{image}` can't be mounted as {fs}: {said}")]
    Mount {
        /// Image.
        image: PathBuf,
        /// File system.
        fs: String,
        /// What `mount` said.
        said: String,
    },
    /// It can't be unmounted: what it still had to write is lost.
    #[error("`{image}` can't be unmounted: {said}")]
    Unmount {
        /// Image.
        image: PathBuf,
        /// What `umount` said.
        said: String,
    },
    /// The command can't be started.
    #[error("`{program}` can't be started")]
    Command {
        /// Program.
        program: String,
        /// Why.
        source: io::Error,
    },
}

impl Target {
    fn mount_options(&self) -> String {
        let mut options: Vec<String> = ["loop", "nosuid", "nodev"].map(str::to_owned).to_vec();
        if self.offset > 0 {
            options.push(format!("offset={}", self.offset));
        }
        match self.fs.as_str() {
            "ext2" | "ext3" | "ext4" => options.push("errors=remount-ro".to_owned()),
            // Workers mount states of one file system side by side, which xfs takes for one that is mounted already.
            "xfs" => options.push("nouuid".to_owned()),
            _ => {}
        }
        if self.read_only {
            options.push("ro".to_owned());
        }
        options.extend(self.options.iter().cloned());
        options.join(",")
    }
}

/// Mounts, runs the command, and unmounts, also where the command failed; the command's exit code, 128 and the signal's
/// number where one ended it. What it prints can be sent to standard error.
///
/// # Errors
/// Where it can't be mounted, unmounted, or the command can't be started.
pub fn run(target: &Target, command: &[String], to_stderr: bool) -> Result<i32, OnMountError> {
    let os = |errno: nix::Error| OnMountError::Namespace(errno.into());
    unshare(CloneFlags::CLONE_NEWNS).map_err(os)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(os)?;
    mount(Some("tmpfs"), "/mnt", Some("tmpfs"), MsFlags::empty(), none).map_err(os)?;
    std::fs::create_dir(MOUNT_POINT).map_err(OnMountError::Namespace)?;

    let mounted = said(
        "mount",
        &["-t", &target.fs, "-o", &target.mount_options(), &target.image.to_string_lossy(), MOUNT_POINT],
    )?;
    if !mounted.status.success() {
        let said = text(&mounted);
        return Err(OnMountError::Mount { image: target.image.clone(), fs: target.fs.clone(), said });
    }
    let ran = in_it(command, to_stderr);
    let unmounted = said("umount", &[MOUNT_POINT])?;
    let code = code(ran?);
    if unmounted.status.success() {
        Ok(code)
    } else {
        Err(OnMountError::Unmount { image: target.image.clone(), said: text(&unmounted) })
    }
}

fn in_it(command: &[String], to_stderr: bool) -> Result<ExitStatus, OnMountError> {
    let Some((program, arguments)) = command.split_first() else { return Ok(ExitStatus::default()) };
    let filled = arguments.iter().map(|word| word.replace(MOUNT_POINT_WORD, MOUNT_POINT));
    let stdout = if to_stderr { io::stderr().into() } else { Stdio::inherit() };
    Command::new(program)
        .args(filled)
        .current_dir(Path::new(MOUNT_POINT))
        .stdout(stdout)
        .status()
        .map_err(|source| OnMountError::Command { program: program.clone(), source })
}

fn code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(0)
}

fn said(program: &'static str, arguments: &[&str]) -> Result<Output, OnMountError> {
    Command::new(program).args(arguments).output().map_err(|source| OnMountError::NoProgram(program, source))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_is_mounted_so_that_it_can_do_no_harm() {
        let target = |fs: &str, offset, read_only| Target {
            image: "a.img".into(),
            fs: fs.to_owned(),
            offset,
            read_only,
            options: vec!["noatime".to_owned()],
        };
        for (target, options) in [
            (target("ext4", 0, false), "loop,nosuid,nodev,errors=remount-ro,noatime"),
            (target("xfs", 1 << 20, false), "loop,nosuid,nodev,offset=1048576,nouuid,noatime"),
            (target("btrfs", 0, true), "loop,nosuid,nodev,ro,noatime"),
        ] {
            assert_eq!(target.mount_options(), options);
        }
    }
}
