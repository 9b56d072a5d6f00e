//! The guest's system: one static program, packed as the kernel's initial file system (cpio, format `newc`, as the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst` has it).

use std::fs;
use std::path::Path;
use std::process::Command;

const INIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/virtual_machine/init.c");

/// Makes the initial file system in a folder; answers why it can't be.
pub fn initramfs(dir: &Path, file: &Path) -> Result<(), String> {
    let init = dir.join("init");
    let built = Command::new("gcc").args(["-static", "-O1", "-Wall", "-o"]).arg(&init).arg(INIT).output();
    match built {
        Err(_) => return Err("gcc is not installed (Debian packages gcc, libc6-dev)".to_owned()),
        Ok(built) if !built.status.success() => {
            return Err(String::from_utf8_lossy(&built.stderr).into_owned());
        }
        Ok(_) => {}
    }
    let program = fs::read(init).map_err(|error| error.to_string())?;
    let archive = [entry("init", 0o100_755, &program), entry("TRAILER!!!", 0, &[])].concat();
    fs::write(file, archive).map_err(|error| error.to_string())
}

/// A header of 13 numbers, then name and data, each up to a multiple of 4 bytes.
fn entry(name: &str, mode: u32, data: &[u8]) -> Vec<u8> {
    let numbers = [1, mode, 0, 0, 1, 0, data.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0]
        .map(|n| format!("{n:08x}"));
    let mut bytes = format!("070701{}{name}\0", numbers.concat()).into_bytes();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
