//! The program and the tools that judge what it makes.

#![allow(dead_code, reason = "each test uses a part")]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program with arguments, without a planted bug.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-tools"));
    command.args(args).env_remove("IMAGE_TOOLS_BUG").env("LC_ALL", "C");
    command
}

pub fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// Runs the program, which has to succeed.
pub fn run(args: &[&str]) -> String {
    let output = program(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    said(&output)
}

/// Runs the program, which has to fail with exit code 1; gives its words.
pub fn refused(args: &[&str]) -> String {
    let output = program(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}", said(&output));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// A program of e2fsprogs, which these tests can't do without.
pub fn tool(program: &str, args: &[&str]) -> (Option<i32>, String) {
    let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    let found = folders.map(|folder| Path::new(folder).join(program)).into_iter().find(|path| path.exists());
    let path = found.unwrap_or_else(|| panic!("`{program}` is not installed (Debian package e2fsprogs)"));
    let output = Command::new(path).args(args).env("LC_ALL", "C").output().unwrap();
    (output.status.code(), said(&output))
}

pub fn assert_is_clean(image: &Path) {
    let (code, said) = tool("e2fsck", &["-fn", image.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
}

/// What debugfs answers to a request.
pub fn debugfs(image: &Path, request: &str) -> String {
    tool("debugfs", &["-R", request, image.to_str().unwrap()]).1
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Bytes that follow from a number.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut bytes = vec![0; len];
    reader.fill(&mut bytes);
    bytes
}

/// A folder as a root file system has it, with `/root` if asked for.
pub fn rootfs(folder: &Path, with_root: bool) -> PathBuf {
    let top = folder.join("tree");
    fs::create_dir_all(top.join("etc")).unwrap();
    fs::write(top.join("etc/hostname"), "not for the seed").unwrap();
    if with_root {
        let root = top.join("root");
        fs::create_dir_all(root.join("lost+found")).unwrap();
        fs::create_dir(root.join("sticky")).unwrap();
        fs::set_permissions(root.join("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::write(root.join("tool"), noise(1, 300_000)).unwrap();
        fs::set_permissions(root.join("tool"), fs::Permissions::from_mode(0o6755)).unwrap();
        symlink("tool", root.join("link")).unwrap();
        let sparse = File::create_new(root.join("sparse")).unwrap();
        sparse.set_len(100 << 20).unwrap();
        sparse.write_all_at(b"in the middle", 50 << 20).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let image = folder.join("rootfs.ext4");
    run(&["ext4", "build", "--from", text(&top), "--output", text(&image)]);
    image
}
