//! Names of the processes that ask: read from `/proc` once for each process, and again when it opens a file, since a
//! shell's child has its parent's name until it executes.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

/// Processes whose names are kept; more at once are read again.
const KEPT: usize = 1024;

/// Names by thread id.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<u32, Arc<str>>);

impl Names {
    /// The name of the process that a thread belongs to; `?` where it can't be read, `kernel` for the kernel's own.
    pub(super) fn name(&mut self, pid: u32) -> Arc<str> {
        if let Some(name) = self.0.get(&pid) {
            return name.clone();
        }
        if self.0.len() >= KEPT {
            self.0.clear();
        }
        let name: Arc<str> = read(pid).into();
        self.0.insert(pid, name.clone());
        name
    }

    /// Forgets a thread's name: it may be another program by now.
    pub(super) fn refresh(&mut self, pid: u32) {
        self.0.remove(&pid);
    }

    /// Forgets all names: numbers are used again from run to run.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

fn read(pid: u32) -> String {
    // Pages that the kernel writes back have no process.
    if pid == 0 {
        return "kernel".into();
    }
    comm(leader(pid).unwrap_or(pid)).unwrap_or_else(|| "?".into())
}

fn comm(pid: u32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned())
}

/// The process of a thread (`Tgid` in `/proc/TID/status`): threads may have names of their own.
fn leader(tid: u32) -> Option<u32> {
    let status = fs::read(format!("/proc/{tid}/status")).ok()?;
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Tgid:"))?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_name_is_its_processs() {
        let main = std::process::id();
        let of_main = Names::default().name(main);
        let of_thread = std::thread::Builder::new()
            .name("other-name".into())
            .spawn(|| Names::default().name(nix::unistd::gettid().as_raw() as u32))
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(of_thread, of_main);
        assert_ne!(&*of_main, "?");
    }

    #[test]
    fn no_process_is_the_kernel_and_a_dead_one_unknown() {
        assert_eq!(&*Names::default().name(0), "kernel");
        assert_eq!(&*Names::default().name(u32::MAX), "?");
    }
}
