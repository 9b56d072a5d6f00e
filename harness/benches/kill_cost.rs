//! What one kill costs, measured against what it can't do without: a bare run of the tool and one full comparison.
//!
//! The campaign is the real command with everything that it does, preparation left out; what it is measured against
//! is taken beside it, the comparison before and after. The table goes to standard output, and with `--save` to
//! `reports/bench/kill-cost.md`. The targets are for scale `full`; the exit code is 1 where one is missed there.
//!
//! `cargo bench -p killpoint --bench kill_cost [-- --scale small|full --iterations N --seed S --save]`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use killpoint::fixtures::{self, CACHE_VARIABLE};
use killpoint::image;
use reports::{Event, EventLog, Report};

const SCENARIO: &str = "mixed-layout";
/// The scale that the targets are for: at a small one the fixed costs of a process count for more.
const TARGET_SCALE: &str = "full";
/// Time per kill over bare run and comparison: at most this.
const TARGET_RATIO: f64 = 1.5;
/// Memory of killpoint at its peak: at most this.
const TARGET_MEMORY_BYTES: u64 = 512 << 20;
/// Comparisons of each kind; the median counts.
const COMPARISONS: usize = 5;
/// killpoint's own memory is looked at this often.
const MEMORY_POLL: Duration = Duration::from_millis(20);
/// Where killpoint's own working area lies by default.
const MEMORY_DIR: &str = "/dev/shm";
const TABLE_PATH: &str = "../reports/bench/kill-cost.md";

#[derive(Debug, Parser)]
struct Args {
    /// Scale of the scenario.
    #[arg(long, default_value = "full")]
    scale: String,
    /// Iterations of the campaign.
    #[arg(long, default_value_t = 10)]
    iterations: u64,
    /// Seed of the campaign.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the table down.
    #[arg(long)]
    save: bool,
    /// Passed by `cargo bench`; of no account.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let places = Places::make()?;
    let resolved = scenarios::load(SCENARIO, Some(&args.scale))?;
    let fixture = fixtures::obtain(&resolved, &places.cache)?;
    let disk = resolved.scenario.fixture.disk().context("the scenario declares a disk")?;
    let mut pair = Pair::make(places.work.path(), &fixture.volume.join(&disk.file))?;

    pair.compare(COMPARISONS / 2)?;
    let campaign = Campaign::run(&args, &places)?;
    pair.compare(COMPARISONS - COMPARISONS / 2)?;

    let figures = Figures::of(&campaign, &pair)?;
    let table = figures.table(&args, &pair)?;
    print!("{table}");
    if args.save {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE_PATH);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, table).with_context(|| format!("`{}` can't be written", path.display()))?;
    }
    let met = args.scale != TARGET_SCALE
        || figures.ratio() <= TARGET_RATIO && campaign.peak_bytes <= TARGET_MEMORY_BYTES;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Folders of this benchmark alone, gone at its end.
struct Places {
    work: tempfile::TempDir,
    cache: PathBuf,
    run_dir: PathBuf,
}

impl Places {
    fn make() -> Result<Self> {
        let parent = Some(PathBuf::from(MEMORY_DIR)).filter(|dir| dir.is_dir());
        let parent = parent.unwrap_or_else(std::env::temp_dir);
        let work = tempfile::Builder::new().prefix("kill-cost-").tempdir_in(parent)?;
        let (cache, run_dir) = (work.path().join("cache"), work.path().join("run"));
        Ok(Self { work, cache, run_dir })
    }
}

/// Two images with the same data in the same places, and how long it took to compare them.
struct Pair {
    images: [PathBuf; 2],
    len_bytes: u64,
    data_bytes: u64,
    cmp: Vec<Duration>,
    own: Vec<Duration>,
}

impl Pair {
    fn make(work: &Path, image: &Path) -> Result<Self> {
        let images = ["a.img", "b.img"].map(|name| work.join(name));
        for copy in &images {
            image::copy_sparse(image, copy)?;
        }
        let metadata = fs::metadata(&images[0])?;
        let data_bytes = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
        Ok(Self { images, len_bytes: metadata.len(), data_bytes, cmp: Vec::new(), own: Vec::new() })
    }

    /// Compares so many times, in turns.
    fn compare(&mut self, times: usize) -> Result<()> {
        let [a, b] = &self.images;
        for _ in 0..times {
            let began = Instant::now();
            let status = Command::new("cmp").arg(a).arg(b).status().context("`cmp` can't be started")?;
            self.cmp.push(began.elapsed());
            ensure!(status.success(), "`cmp` finds the copies different");
            let began = Instant::now();
            let differing = image::diff(a, b)?;
            self.own.push(began.elapsed());
            ensure!(differing.is_empty(), "the copies differ in {differing:?}");
        }
        Ok(())
    }
}

/// A campaign that came to its end, and what it took.
struct Campaign {
    events: Vec<Event>,
    report: Report,
    peak_bytes: u64,
}

impl Campaign {
    fn run(args: &Args, places: &Places) -> Result<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_killpoint"))
            .args(["run", SCENARIO, "--no-progress", "--seam", "in-process", "--scale", &args.scale])
            .args(["--iterations", &args.iterations.to_string(), "--seed", &args.seed.to_string()])
            .arg("--run-dir")
            .arg(&places.run_dir)
            .env(CACHE_VARIABLE, &places.cache)
            .env_remove("RESIZER_BUG")
            .stdout(Stdio::null())
            .spawn()?;
        let (status, peak_bytes) = watch(&mut child)?;
        ensure!(status.success(), "the campaign failed: {status}");
        let report = Report::read(&places.run_dir)?;
        let events = EventLog::read(&places.run_dir)?.events;
        Ok(Self { events, report, peak_bytes })
    }
}

/// Waits for the end; how it ended, and the most memory that the process itself held. What a wait tells (`ru_maxrss`)
/// would include the tools that it has run.
fn watch(child: &mut Child) -> Result<(ExitStatus, u64)> {
    let path = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(peak_kib > 0, "`{path}` says nothing of its memory");
            return Ok((status, peak_kib << 10));
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak_kib = peak_kib.max(kib.unwrap_or(0));
        sleep(MEMORY_POLL);
    }
}

/// The times in question, in seconds.
struct Figures {
    landed: u64,
    peak_bytes: u64,
    per_kill_s: f64,
    bare_s: f64,
    cmp_s: f64,
    own_s: f64,
}

impl Figures {
    fn of(campaign: &Campaign, pair: &Pair) -> Result<Self> {
        let throughput = &campaign.report.throughput;
        let (Some(wall_s), Some(prepared_s)) = (throughput.wall_s, throughput.prepared_s) else {
            bail!("the campaign has no duration");
        };
        let landed = campaign.report.points.landed;
        ensure!(landed > 0, "no kill landed");
        Ok(Self {
            landed,
            peak_bytes: campaign.peak_bytes,
            per_kill_s: (wall_s - prepared_s) / landed as f64,
            bare_s: bare_run_s(campaign)?,
            cmp_s: median_s(&pair.cmp),
            own_s: median_s(&pair.own),
        })
    }

    /// The quicker comparison counts: a slow one would make kills look cheap.
    fn ratio(&self) -> f64 {
        self.per_kill_s / (self.bare_s + self.cmp_s.min(self.own_s))
    }

    fn table(&self, args: &Args, pair: &Pair) -> Result<String> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let cores = std::thread::available_parallelism()?;
        let mib = |bytes: u64| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
        let (iterations, seed, scale) = (args.iterations, args.seed, &args.scale);
        let rows = [
            ("mean time per landed kill", seconds(self.per_kill_s)),
            ("bare run (mean of the phases' quickest)", seconds(self.bare_s)),
            ("full comparison, killpoint's own", seconds(self.own_s)),
            ("full comparison, `cmp`", seconds(self.cmp_s)),
            (
                "**per kill / (bare run + quicker comparison)**",
                format!("**{:.2}** (target {TARGET_RATIO} at scale {TARGET_SCALE})", self.ratio()),
            ),
            (
                "**killpoint's peak memory**",
                format!("**{}** (target {})", mib(self.peak_bytes), mib(TARGET_MEMORY_BYTES)),
            ),
        ];
        let rows: String = rows.iter().map(|(what, figure)| format!("| {what} | {figure} |\n")).collect();
        Ok(format!(
            "# Cost of a kill\n\n\
             `cargo bench -p killpoint --bench kill_cost -- --scale {scale} --iterations {iterations} --seed {seed}`\n\n\
             Scenario `{SCENARIO}`, scale {scale}: disk of {len}, {data} of it data; {landed} kills landed.\n\
             Linux {kernel}, {cores} cores, working area in memory.\n\n\
             | what | figure |\n|---|---|\n{rows}",
            len = mib(pair.len_bytes),
            data = mib(pair.data_bytes),
            landed = self.landed,
            kernel = kernel.trim(),
        ))
    }
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.3} s")
}

/// Mean over the phases of the quickest uninterrupted run.
fn bare_run_s(campaign: &Campaign) -> Result<f64> {
    let phases = &campaign.report.phases;
    let mut sum_ms = 0;
    for wanted in phases {
        let runs = campaign.events.iter().filter_map(|event| match event {
            Event::BaselineRun { phase, wall_ms, .. } if phase == wanted => Some(*wall_ms),
            _ => None,
        });
        sum_ms += runs.min().with_context(|| format!("phase `{wanted}` has no uninterrupted run"))?;
    }
    Ok(sum_ms as f64 / 1000.0 / phases.len() as f64)
}

fn median_s(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64)
}
