//! What a judged state costs, against what it can't do without and against other ways to get at crash states.
//!
//! Each scenario is swept by the real command, preparation and live kills left out, on one worker and on all. Beside it, in
//! the same run: the bare floor (the same resume and checker on plain files in memory, no seam), a loop of random kills, a
//! loop that has strace kill at each system call, and a loop that copies a replayed log (what the `replay-log` of xfstests
//! does, which is not packaged; for the copy is what it takes to keep a state that a resume changes). Further: states of
//! lost power against those of kills, what recording adds to a run, what a larger disk adds, and memory. The table goes to
//! standard output, and with `--save` to `reports/bench/sweep.md`.
//!
//! `cargo bench -p killpoint --bench sweep [-- --seconds 20 --save]`

mod bare;
mod campaign;
mod loops;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use killpoint::cpus;

use bare::Bare;
use campaign::Campaign;

const TABLE_PATH: &str = "../reports/bench/sweep.md";

#[derive(Debug, Parser)]
struct Args {
    /// How long each loop goes on, in seconds, and each sweep at most.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Write the table down.
    #[arg(long)]
    save: bool,
    /// Passed by `cargo bench`; of no account.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A scenario to be measured.
struct Subject {
    scenario: &'static str,
    /// The file system's checker is an oracle, so it belongs to the floor.
    checker: Option<&'static [&'static str]>,
    /// It sleeps, which has to be skipped for the floor as well.
    sleeps: bool,
    /// What strace counts.
    calls: Option<&'static str>,
}

const SUBJECTS: [Subject; 3] = [
    Subject { scenario: "sgdisk-new", checker: None, sleeps: true, calls: Some("write,pwrite64,fsync,sync") },
    Subject {
        scenario: "resize2fs-shrink",
        checker: Some(&["e2fsck", "-fn"]),
        sleeps: false,
        calls: Some("write,pwrite64,fsync,fdatasync,ftruncate"),
    },
    Subject { scenario: "mixed-layout", checker: None, sleeps: false, calls: None },
];

fn main() -> Result<()> {
    let args = Args::parse();
    // Before this thread is bound to one of them.
    let cpus = cpus::allowed()?;
    let time = Duration::from_secs(args.seconds);
    let work = tempfile::Builder::new().prefix("sweep-bench-").tempdir_in("/dev/shm")?;
    let mut rows: Vec<[String; 3]> = Vec::new();
    let mut row = |what: String, figure: String, target: &str| {
        eprintln!("{what}: {figure}");
        rows.push([what, figure, target.to_owned()]);
    };
    for subject in &SUBJECTS {
        let name = subject.scenario;
        // What this process runs without a seam binds it to one of them, and its children with it.
        cpus::bind(&cpus)?;
        let one = Campaign::sweep(name, 1, time, work.path())?;
        let two = Campaign::sweep(name, 2, time, work.path())?;
        let bare = Bare::of(subject, work.path(), time)?;
        row(
            format!("{name}: states judged, one worker"),
            format!("{} in {:.2} s", one.judged, one.wall_s),
            "",
        );
        row(format!("{name}: states/s, one worker"), format!("{:.1}", one.rate()), "");
        row(format!("{name}: states/s, two workers"), format!("{:.1}", two.rate()), "");
        let more = if name == "mixed-layout" { "1.8" } else { "" };
        row(format!("{name}: **two workers / one**"), format!("**{:.2}**", two.rate() / one.rate()), more);
        row(format!("{name}: bare floor per state"), format!("{:.2} ms", bare.wall_ms), "");
        let target = if name == "resize2fs-shrink" { "2.5, stretch 1.7" } else { "" };
        let ratio = 1000.0 / one.rate() / bare.wall_ms;
        row(format!("{name}: **per judged state / bare floor**"), format!("**{ratio:.2}**"), target);
        row(format!("{name}: peak memory"), format!("{:.0} MiB", one.peak_mib), "64 MiB + 3 × dirty bytes");
        let Some(calls) = subject.calls else { continue };
        let random = loops::random_kills(subject.scenario, work.path(), time)?;
        row(
            format!("{name}: random kills, a minute"),
            format!(
                "{:.0} kills, {:.0} distinct inner states",
                random.kills_per_min,
                random.inner_per_min(time)
            ),
            "",
        );
        let strace = loops::strace(subject.scenario, calls, work.path(), time)?;
        row(
            format!("{name}: strace, a minute"),
            format!("{:.0} kills, {} distinct states in all", strace.kills_per_min, strace.distinct),
            "",
        );
        let replay = loops::replayed_copies(subject.scenario, work.path(), time)?;
        row(format!("{name}: copies of a replayed log, a minute"), format!("{replay:.0} states"), "");
        if name == "resize2fs-shrink" {
            // What a loop finds anew gets less with time: the first stretch counts for it.
            let over = |rate: f64| format!("**{:.1}**", one.rate() * 60.0 / rate.max(1.0));
            row(format!("{name}: **distinct judged / random**"), over(random.inner_per_min(time)), "20");
            let distinct_per_min = strace.distinct as f64 * 60.0 / time.as_secs_f64();
            row(format!("{name}: **distinct judged / strace**"), over(distinct_per_min), "5");
            row(format!("{name}: **judged / copies of a replayed log**"), over(replay), "2");
        }
    }
    for name in ["grown-disk", "resize2fs-shrink"] {
        cpus::bind(&cpus)?;
        let [kill, power] = campaign::kill_and_power(name, time, work.path())?;
        row(
            format!("{name}: states/s of kills and of losses of power"),
            format!("{kill:.1}, {power:.1}"),
            "",
        );
        row(format!("{name}: **losses of power / kills**"), format!("**{:.2}**", power / kill), "0.6");
    }
    let recording = bare::recording(work.path())?;
    row("resize2fs: **recorded run / run in memory**".to_owned(), format!("**{recording:.2}**"), "2.5");
    cpus::bind(&cpus)?;
    let [small, large] = campaign::sparse(work.path())?;
    row("writes to a sparse 1 GiB image, per state".to_owned(), format!("{:.2} ms", small * 1000.0), "");
    row("**the same on 64 GiB / on 1 GiB**".to_owned(), format!("**{:.2}**", large / small), "1.2");

    let table = table(&rows, args.seconds, cpus.len())?;
    print!("{table}");
    if args.save {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE_PATH);
        fs::write(&path, table).with_context(|| format!("`{}` can't be written", path.display()))?;
    }
    Ok(())
}

fn table(rows: &[[String; 3]], seconds: u64, cores: usize) -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let rows: String =
        rows.iter().map(|[what, figure, target]| format!("| {what} | {figure} | {target} |\n")).collect();
    Ok(format!(
        "# Cost of a judged state\n\n\
         `cargo bench -p killpoint --bench sweep -- --seconds {seconds} --save`\n\n\
         Linux {kernel}, {cores} cores, all files in memory. Ratios carry over, absolute times don't.\n\n\
         | what | figure | target |\n|---|---|---|\n{rows}",
        kernel = kernel.trim(),
    ))
}
