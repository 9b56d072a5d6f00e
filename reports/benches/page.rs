//! What the page of a campaign of a hundred thousand crash states costs: to make beside `report.json`, to keep, and to open
//! beside an empty page. The table goes to standard output, and with `--save` to `reports/bench/page.md`; the exit code is 1
//! where a target is missed.
//!
//! `cargo bench -p reports --bench page [-- --save]`; without Chromium the opening is left out, by name.

#[path = "../tests/made/mod.rs"]
mod made;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use reports::{Report, html};

const STATES: u64 = 100_000;
/// Times that each is measured; the fastest counts, since what disturbs only makes it slower.
const ROUNDS: usize = 7;
/// Bytes of the page: fewer than this.
const TARGET_BYTES: usize = 5 << 20;
/// To make the page: at most this.
const TARGET_MAKE: Duration = Duration::from_millis(100);
/// To open it: at most this longer than an empty page.
const TARGET_OPEN: Duration = Duration::from_secs(2);
const TABLE_PATH: &str = "bench/page.md";

/// What was measured.
struct Figures {
    make: Duration,
    json: Duration,
    bytes: usize,
    /// The page, and an empty one.
    open: Option<[Duration; 2]>,
}

fn main() -> io::Result<ExitCode> {
    let stream = made::sweep(STATES);
    let report = Report::from(stream.tally());
    let folder = tempfile::tempdir()?;
    let path = html::path(folder.path());
    let empty = folder.path().join("empty.html");
    fs::write(&empty, "<!doctype html><title>empty</title>")?;
    let make = fastest(|| html::write(&path, &report, &stream).map_err(io::Error::other))?;
    let json = fastest(|| report.write(folder.path()).map(drop).map_err(io::Error::other))?;
    let open = match browser() {
        None => None,
        Some(browser) => {
            let opened = |page: &Path| fastest(|| open(&browser, folder.path(), page));
            Some([opened(&path)?, opened(&empty)?])
        }
    };
    let figures = Figures { make, json, bytes: fs::read(&path)?.len(), open };
    let table = figures.table();
    print!("{table}");
    if std::env::args().any(|argument| argument == "--save") {
        fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE_PATH), table)?;
    }
    Ok(if figures.are_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn fastest(mut work: impl FnMut() -> io::Result<()>) -> io::Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        work()?;
        best = best.min(began.elapsed());
    }
    Ok(best)
}

fn browser() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join("chromium")).find(|path| path.is_file())
}

/// Starts a browser that opens a page and ends once its script has run.
fn open(browser: &Path, folder: &Path, page: &Path) -> io::Result<()> {
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    let status = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", &profile])
        .arg(format!("file://{}", page.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("the browser ended with {status}"))) }
}

impl Figures {
    fn longer(&self) -> Option<Duration> {
        self.open.map(|[page, empty]| page.saturating_sub(empty))
    }

    fn are_good(&self) -> bool {
        self.bytes < TARGET_BYTES
            && self.make <= TARGET_MAKE
            && self.longer().is_none_or(|longer| longer <= TARGET_OPEN)
    }

    fn table(&self) -> String {
        let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
        let ratio = self.make.as_secs_f64() / self.json.as_secs_f64();
        let mut rows = vec![
            ("to make the page".to_owned(), ms(self.make), ms(TARGET_MAKE)),
            ("to write report.json of the same campaign".to_owned(), ms(self.json), String::new()),
            ("**page / report.json**".to_owned(), format!("**{ratio:.1}**"), String::new()),
            ("the page".to_owned(), mib(self.bytes), mib(TARGET_BYTES)),
        ];
        match (self.open, self.longer()) {
            (Some([page, empty]), Some(longer)) => rows.extend([
                ("Chromium, from its start to the drawn page".to_owned(), ms(page), String::new()),
                ("Chromium, from its start to an empty page".to_owned(), ms(empty), String::new()),
                ("**the difference**".to_owned(), format!("**{}**", ms(longer)), ms(TARGET_OPEN)),
            ]),
            _ => rows.push(("to open it".to_owned(), "not measured: no chromium".to_owned(), String::new())),
        }
        let mut table = format!(
            "# The page of {STATES} crash states\n\n`cargo bench -p reports --bench page -- --save`\n\nA made sweep \
             with a finding at every hundredth state, 50 of them with bytes. Ratios carry over, absolute times don't.\n\n\
             | what | figure | target |\n|---|---|---|\n"
        );
        for (what, figure, target) in rows {
            table += &format!("| {what} | {figure} | {target} |\n");
        }
        table
    }
}

fn mib(bytes: usize) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}
