//! What building an image takes beside other builders, and what a work disk takes at two sizes.
//!
//! The same tree on the same tmpfs, the same size, journal and inodes; the builders take turns and the quickest run of
//! each counts. Each runs as a process of its own, whose peak memory is read from `/proc`. The table goes to standard
//! output, and with `--save` to `reports/bench/image-tools.md`. The exit code is 1 where a target is missed.
//!
//! `cargo bench -p image-tools --bench ext4_build [-- --files N --mib N --rounds N --save]`

mod peer;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// Trees and images lie here, so that no disk is measured.
const MEMORY_DIR: &str = "/dev/shm";
const TABLE_PATH: &str = "../../reports/bench/image-tools.md";
/// Peak memory of our builder: at most this.
const TARGET_MEMORY_KIB: u64 = 64 << 10;
/// A work disk of 8 GiB: at most this, and at most so many times one of 512 MiB.
const TARGET_DISK: Duration = Duration::from_secs(1);
const TARGET_DISK_RATIO: f64 = 2.0;
const MEMORY_POLL: Duration = Duration::from_millis(1);
const JOURNAL_BLOCKS: u64 = 8192;
const UUID: &str = "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c40";

#[derive(Debug, Parser)]
struct Args {
    /// Files in the tree.
    #[arg(long, default_value_t = 10_000)]
    files: u64,
    /// MiB in all files.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// Runs of each builder.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Write the table down.
    #[arg(long)]
    save: bool,
    /// Passed by `cargo bench`; of no account.
    #[arg(long, hide = true)]
    bench: bool,
    /// Build with crate mkext4 from this folder, as a process of its own.
    #[arg(long, hide = true, num_args = 4)]
    peer: Option<Vec<String>>,
}

/// Runs of one builder.
struct Builder {
    name: &'static str,
    command: Vec<String>,
    output: PathBuf,
    quickest: Duration,
    peak_kib: u64,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if let Some(words) = &args.peer {
        peer::build(words)?;
        return Ok(ExitCode::SUCCESS);
    }
    let work = tempfile::Builder::new().prefix("ext4-build-").tempdir_in(MEMORY_DIR)?;
    let tree = work.path().join("tree");
    make_tree(&tree, args.files, args.mib)?;
    let mut builders = builders(work.path(), &tree, &args)?;
    for _ in 0..args.rounds {
        for builder in &mut builders {
            builder.run()?;
        }
    }
    for builder in &builders {
        let checked = Command::new("/usr/sbin/e2fsck").arg("-fn").arg(&builder.output).output()?;
        ensure!(checked.status.success(), "e2fsck objects to the image of {}", builder.name);
        fs::remove_file(&builder.output)?;
    }
    let disks = disks(work.path(), &tree, args.rounds)?;
    let (table, met) = table(&args, &builders, &disks);
    print!("{table}");
    if args.save {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE_PATH);
        fs::write(&path, table).with_context(|| format!("`{}` can't be written", path.display()))?;
    }
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Files of different lengths with the given mean, a hundred in a folder.
fn make_tree(top: &Path, files: u64, mib: u64) -> Result<()> {
    let mean = (mib << 20) / files;
    for number in 0..files {
        let folder = top.join(format!("folder-{}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&folder)?;
        }
        let mut content = vec![0; (mean / 2 + mean * (number % 101) / 100) as usize];
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut content);
        fs::write(folder.join(format!("file-{number}")), content)?;
    }
    Ok(())
}

fn builders(work: &Path, tree: &Path, args: &Args) -> Result<Vec<Builder>> {
    let size = (args.mib + args.mib / 4 + 64) << 20;
    let inodes = args.files + args.files / 50 + 1000;
    let (tree, own) = (tree.display(), std::env::current_exe()?);
    let image = |name: &str| work.join(format!("{name}.ext4"));
    let builder = |name, output: PathBuf, words: String| Builder {
        name,
        command: words.split(' ').map(str::to_owned).collect(),
        output,
        quickest: Duration::MAX,
        peak_kib: 0,
    };
    let (ours, mke2fs, peer) = (image("ours"), image("mke2fs"), image("mkext4"));
    let tools = env!("CARGO_BIN_EXE_image-tools");
    Ok(vec![
        builder(
            "image-tools ext4 build",
            ours.clone(),
            format!(
                "{tools} ext4 build --from {tree} --output {} --size {size} --journal {JOURNAL_BLOCKS} --uuid {UUID}",
                ours.display()
            ),
        ),
        builder(
            "mke2fs -d",
            mke2fs.clone(),
            format!(
                "/usr/sbin/mke2fs -q -F -t ext4 -b 4096 -m 0 -N {inodes} -O ^resize_inode,^64bit -J size={} \
                 -E lazy_itable_init=1,lazy_journal_init=1,nodiscard -U {UUID} -d {tree} {} {}k",
                JOURNAL_BLOCKS * 4 / 1024,
                mke2fs.display(),
                size >> 10
            ),
        ),
        builder(
            "crate mkext4 0.0.3",
            peer.clone(),
            format!("{} --peer {tree} {} {size} {inodes}", own.display(), peer.display()),
        ),
    ])
}

impl Builder {
    fn run(&mut self) -> Result<()> {
        if self.output.exists() {
            fs::remove_file(&self.output)?;
        }
        let began = Instant::now();
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("`{}` can't be started", self.command[0]))?;
        let peak = peak_kib(&mut child)?;
        let took = began.elapsed();
        ensure!(child.wait()?.success(), "{} failed", self.name);
        self.quickest = self.quickest.min(took);
        self.peak_kib = self.peak_kib.max(peak);
        Ok(())
    }
}

/// Waits for a child's end; gives the most memory that it had at any time, as last seen.
fn peak_kib(child: &mut Child) -> Result<u64> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let seen = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(seen.unwrap_or(0));
        sleep(MEMORY_POLL);
    }
    Ok(peak)
}

/// The quickest run for disks of 512 MiB and of 8 GiB, from a seed with 4 MiB of payload.
fn disks(work: &Path, tree: &Path, rounds: usize) -> Result<[Duration; 2]> {
    let top = work.join("rootfs");
    fs::create_dir_all(top.join("root"))?;
    fs::rename(tree.join("folder-0"), top.join("root/payload"))?;
    for entry in fs::read_dir(top.join("root/payload"))?.skip(40) {
        fs::remove_file(entry?.path())?;
    }
    let tools = env!("CARGO_BIN_EXE_image-tools");
    let run = |args: &[&str]| -> Result<()> {
        let status = Command::new(tools).args(args).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{args:?} failed");
        Ok(())
    };
    let path = |name: &str| work.join(name).display().to_string();
    let (rootfs, seed, disk) = (path("rootfs.ext4"), path("rootfs.work-seed.ext4"), path("disk.ext4"));
    run(&["ext4", "build", "--from", &path("rootfs"), "--output", &rootfs])?;
    run(&["work-seed", "build", &rootfs])?;
    let mut quickest = [Duration::MAX; 2];
    for _ in 0..rounds {
        for (best, size) in quickest.iter_mut().zip(["512M", "8G"]) {
            let began = Instant::now();
            run(&["work-disk", "materialize", &seed, &disk, "--size", size])?;
            *best = began.elapsed().min(*best);
        }
    }
    Ok(quickest)
}

/// The table, and whether every target is met.
fn table(args: &Args, builders: &[Builder], disks: &[Duration; 2]) -> (String, bool) {
    let ours = &builders[0];
    let ratio = |builder: &Builder| builder.quickest.as_secs_f64() / ours.quickest.as_secs_f64();
    let row = |builder: &Builder| {
        format!(
            "| {} | {:.2} s | {:.2} | {} MiB |\n",
            builder.name,
            builder.quickest.as_secs_f64(),
            ratio(builder),
            builder.peak_kib >> 10
        )
    };
    let rows: String = builders.iter().map(row).collect();
    let [small, large] = disks.map(|disk| disk.as_secs_f64());
    let times = large / small;
    let met = builders.iter().all(|builder| ratio(builder) >= 1.0)
        && ours.peak_kib <= TARGET_MEMORY_KIB
        && disks[1] < TARGET_DISK
        && times < TARGET_DISK_RATIO;
    let table = format!(
        "# Image tools\n\n\
         `cargo bench -p image-tools --bench ext4_build -- --files {files} --mib {mib} --rounds {rounds}`\n\n\
         Quickest of {rounds} runs in turns, tree and images in memory, each image clean for `e2fsck -fn`. The figures are \
         of one machine with 2 cores; the ratios are what carries over.\n\n\
         ## An image from {mib} MiB in {files} files\n\n\
         | builder | time | over ours | peak memory |\n|---|---|---|---|\n{rows}\n\
         Targets: no builder quicker than ours, and {target} MiB of memory at most.\n\n\
         ## A work disk with 4 MiB of payload\n\n\
         | size | time |\n|---|---|\n| 512 MiB | {small:.3} s |\n| 8 GiB | {large:.3} s |\n| **ratio** | **{times:.2}** |\n\n\
         Targets: below 1 s at 8 GiB, and below twice the time at 512 MiB. All targets {verdict}.\n",
        files = args.files,
        mib = args.mib,
        rounds = args.rounds,
        target = TARGET_MEMORY_KIB >> 10,
        verdict = if met { "are met" } else { "are NOT met" },
    );
    (table, met)
}
