//! Sweeps by the real command, and the memory that they take.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reports::Report;

/// killpoint's own memory is looked at this often.
const MEMORY_POLL: Duration = Duration::from_millis(20);

/// A sweep that came to its end.
pub struct Campaign {
    pub judged: u64,
    pub wall_s: f64,
    pub peak_mib: f64,
}

impl Campaign {
    /// Sweeps a scenario, for so long at most.
    pub fn sweep(scenario: &str, jobs: u32, time: Duration, work: &Path) -> Result<Self> {
        let jobs = jobs.to_string();
        let budget = format!("{}s", time.as_secs());
        let options = ["sweep", scenario, "--jobs", &jobs, "--budget", &budget];
        Self::of(&options.map(str::to_owned), &[], work)
    }

    /// Sweeps under these models on one worker, for so long at most.
    fn under(models: &str, scenario: &str, budget_s: u64, work: &Path) -> Result<Self> {
        let budget = format!("{budget_s}s");
        let options = ["sweep", scenario, "--jobs", "1", "--model", models, "--budget", &budget];
        Self::of(&options.map(str::to_owned), &[], work)
    }

    fn of(options: &[String], command: &[String], work: &Path) -> Result<Self> {
        let run_dir = work.join("run");
        let mut child = Command::new(env!("CARGO_BIN_EXE_killpoint"))
            .args(options)
            .args(["--seed", "1", "--live-checks", "0", "--no-progress", "-q", "--run-dir"])
            .arg(&run_dir)
            .args(command)
            .stdout(Stdio::null())
            .spawn()?;
        let (status, peak_kib) = watch(&mut child)?;
        ensure!(matches!(status.code(), Some(0 | 1)), "the sweep failed: {status}");
        let report = Report::read(&run_dir)?;
        fs::remove_dir_all(&run_dir)?;
        let (wall, prepared) =
            report.throughput.wall_s.zip(report.throughput.prepared_s).context("the sweep has a duration")?;
        ensure!(report.states.judged > 0, "the sweep judged nothing");
        Ok(Self { judged: report.states.judged, wall_s: wall - prepared, peak_mib: peak_kib as f64 / 1024.0 })
    }

    /// States judged a second.
    pub fn rate(&self) -> f64 {
        self.judged as f64 / self.wall_s
    }
}

/// States judged a second: of kills, and of losses of power, which are looked at once all kills are. The resumes are those
/// of the same tool.
pub fn kill_and_power(scenario: &str, time: Duration, work: &Path) -> Result<[f64; 2]> {
    let kill = Campaign::under("kill,torn", scenario, 600, work)?;
    let all = Campaign::under("kill,torn,power", scenario, kill.wall_s.ceil() as u64 + time.as_secs(), work)?;
    ensure!(all.judged > kill.judged, "no time was left for losses of power");
    let power = (all.judged - kill.judged) as f64 / (all.wall_s - kill.wall_s);
    Ok([kill.rate(), power])
}

/// Seconds per state of the same writes to sparse images of 1 and 64 GiB.
pub fn sparse(work: &Path) -> Result<[f64; 2]> {
    let tool = work.join("writes.py");
    fs::write(
        &tool,
        "import os, sys\n\
         disk = os.open(sys.argv[1], os.O_RDWR)\n\
         size = os.fstat(disk).st_size\n\
         for i in range(60):\n    os.pwrite(disk, b'%d' % i * 2048, (size // 61 * i) & ~4095)\n\
         os.fsync(disk)\n",
    )?;
    let mut seconds = [0.0; 2];
    for (seconds, gib) in seconds.iter_mut().zip([1u64, 64]) {
        let image = work.join(format!("sparse-{gib}.img"));
        fs::File::create(&image)?.set_len(gib << 30)?;
        let [image, tool] = [&image, &tool].map(|path| path.display().to_string());
        let options = ["exec", "--image", &image, "--jobs", "1"].map(str::to_owned);
        let command = ["--", "python3", &tool, &image].map(str::to_owned);
        // In turn with nothing else, twice: the quicker one counts.
        let runs = [Campaign::of(&options, &command, work)?, Campaign::of(&options, &command, work)?];
        *seconds = runs.iter().map(|run| 1.0 / run.rate()).fold(f64::INFINITY, f64::min);
    }
    Ok(seconds)
}

/// Waits for the end; how it ended, and the most memory that the process itself held, in KiB. What a wait tells
/// (`ru_maxrss`) would include the tools that it has run.
fn watch(child: &mut Child) -> Result<(ExitStatus, u64)> {
    let path = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, peak_kib));
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak_kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(peak_kib);
        sleep(MEMORY_POLL);
    }
}
