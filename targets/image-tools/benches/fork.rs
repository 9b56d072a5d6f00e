//! What a fork of a snapshot of 1 GiB takes on a file system with reflinks (an XFS on a loop device), beside
//! `cp --reflink=always` of the same directory with the flush that a fork has.
//!
//! Needs root, a loop device and xfsprogs; without them it says so and is exit 77. With `--save` the table goes into
//! `reports/bench/fork.md`. Exit code 1 says that the target was missed.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

const MEMORY_BYTES: u64 = 1 << 30;
/// A stretch of data of this length in each of so many bytes.
const PIECE_BYTES: u64 = 1 << 20;
const STRIDE_BYTES: u64 = 16 << 20;
const RUNS: usize = 9;
const TARGET: f64 = 2.0;
const NOT_MEASURED: u8 = 77;
const TABLE_PATH: &str = "../../reports/bench/fork.md";

fn main() -> ExitCode {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mount = dir.path().join("mount");
    if let Err(why) = mounted(dir.path(), &mount) {
        eprintln!("not measured: {why}");
        return ExitCode::from(NOT_MEASURED);
    }
    let figures = measure(&mount);
    let _ = Command::new("umount").arg(&mount).output();
    let (fork, cp) = figures;
    let ratio = fork.as_secs_f64() / cp.as_secs_f64();
    let table = table(fork, cp, ratio);
    print!("{table}");
    if std::env::args().any(|argument| argument == "--save") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE_PATH);
        fs::write(path, table).expect("write the table");
    }
    if ratio <= TARGET { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn mounted(dir: &Path, mount: &Path) -> Result<(), String> {
    let image = dir.join("xfs.img");
    fs::create_dir(mount).expect("a folder");
    File::create(&image).and_then(|file| file.set_len(4 << 30)).expect("an image");
    let run = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    run(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]).arg(&image))?;
    run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(mount))
}

/// The quickest of both, taken in turns.
fn measure(mount: &Path) -> (Duration, Duration) {
    let snapshot = mount.join("vm");
    fs::create_dir(&snapshot).expect("a folder");
    let memory = File::create(snapshot.join("memory")).expect("a file");
    memory.set_len(MEMORY_BYTES).expect("its length");
    for place in (0..MEMORY_BYTES).step_by(STRIDE_BYTES as usize) {
        memory.write_all_at(&vec![7; PIECE_BYTES as usize], place).expect("write");
    }
    fs::write(snapshot.join("config"), "cpus = 2").expect("write");
    memory.sync_all().expect("flush");
    let (mut fork, mut cp) = (Duration::MAX, Duration::MAX);
    let copy = mount.join("copy");
    let timed = |command: &mut [&mut Command]| {
        let began = Instant::now();
        for command in command {
            assert!(command.status().expect("it can be run").success());
        }
        let took = began.elapsed();
        fs::remove_dir_all(&copy).expect("remove the copy");
        took
    };
    for _ in 0..RUNS {
        let mut command = Command::new(env!("CARGO_BIN_EXE_image-tools"));
        fork = fork.min(timed(&mut [command
            .arg("fork")
            .args([&snapshot, &copy])
            .stdout(std::process::Stdio::null())]));
        let mut copied = Command::new("cp");
        copied.args(["-r", "--reflink=always"]).args([&snapshot, &copy]);
        let mut flushed = Command::new("sync");
        flushed.args([copy.join("memory"), copy.join("config"), copy.clone()]);
        cp = cp.min(timed(&mut [&mut copied, &mut flushed]));
    }
    (fork, cp)
}

fn table(fork: Duration, cp: Duration, ratio: f64) -> String {
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    format!(
        "# Cost of a fork\n\n`cargo bench -p image-tools --bench fork -- --save`\n\n\
         A snapshot of {} MiB, {} MiB of it data, on an XFS with reflinks; quickest of {RUNS}. Built with profile \
         {profile}.\n\n\
         | what | figure |\n|---|---|\n\
         | `image-tools fork` | {} |\n\
         | `cp -r --reflink=always`, then `sync` of what it made | {} |\n\
         | **ratio** | **{ratio:.2}** (target {TARGET}) |\n",
        MEMORY_BYTES >> 20,
        (MEMORY_BYTES / STRIDE_BYTES * PIECE_BYTES) >> 20,
        ms(fork),
        ms(cp),
        profile = if cfg!(debug_assertions) { "dev" } else { "bench" },
    )
}
