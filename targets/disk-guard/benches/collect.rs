//! What a collection of a large home takes: 10,000 images and 1,000 chains of two, beside what listing the images by
//! `find` and reading the chains by `qemu-img info` take.
//!
//! The chains of `qemu-img` are timed on a sample and scaled. With `--save` the table goes into
//! `reports/bench/disk-guard.md`. Exit code 1 says that the target was missed.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use disk_guard::images::Collector;

const IMAGES: usize = 10_000;
const CHAINS: usize = 1_000;
/// Chains that `qemu-img` reads.
const SAMPLE: usize = 50;
const RUNS: usize = 5;
const TARGET: Duration = Duration::from_secs(1);
const TABLE_PATH: &str = "../../reports/bench/disk-guard.md";

fn main() -> ExitCode {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let home = dir.path();
    make(home);
    let dry_run = quickest(|| {
        let collector = Collector { dry_run: true, ..collector(home) };
        let collected = collector.collect().expect("a collection");
        assert_eq!((collected.deleted.len(), collected.pinned), (IMAGES - CHAINS, CHAINS as u64));
    });
    let images = home.join("images/disk-images");
    let find = quickest(|| {
        run("find", &[images.to_str().expect("text"), "-name", "*.ext4", "-printf", "%T@ %p\\n"])
    });
    let chains = quickest(|| {
        for number in 0..SAMPLE {
            let overlay = home.join(format!("boxes/box-{number}/disks/root.qcow2"));
            run("qemu-img", &["info", "-U", "--backing-chain", overlay.to_str().expect("text")]);
        }
    });
    let chains = chains * (CHAINS / SAMPLE) as u32;
    let began = Instant::now();
    let collected = collector(home).collect().expect("a collection");
    let real = began.elapsed();
    assert_eq!(collected.deleted.len(), IMAGES - CHAINS);
    let table = table(real, dry_run, find, chains);
    print!("{table}");
    if std::env::args().any(|argument| argument == "--save") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(TABLE_PATH);
        fs::write(path, table).expect("write the table");
    }
    if real <= TARGET { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn collector(home: &Path) -> Collector {
    Collector { now: SystemTime::now() + Duration::from_secs(3600), ..Collector::new(home) }
}

fn make(home: &Path) {
    let images = home.join("images/disk-images");
    fs::create_dir_all(&images).expect("a folder");
    for number in 0..IMAGES {
        File::create(images.join(format!("image-{number:05}.ext4")))
            .and_then(|file| file.set_len(64 << 10))
            .expect("an image");
    }
    // One overlay by qemu-img; in the others the number in the name is another.
    let disks = |number: usize| home.join(format!("boxes/box-{number}/disks"));
    fs::create_dir_all(disks(0)).expect("a folder");
    let backing = |number: usize| format!("../../../images/disk-images/image-{number:05}.ext4");
    let template = disks(0).join("root.qcow2");
    let arguments = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", &backing(0)];
    run("qemu-img", &[&arguments[..], &[template.to_str().expect("text")]].concat());
    let bytes = fs::read(&template).expect("read");
    let name = backing(0).into_bytes();
    let at = bytes.windows(name.len()).position(|window| window == name).expect("the name");
    for number in 1..CHAINS {
        let mut bytes = bytes.clone();
        bytes[at..at + name.len()].copy_from_slice(backing(number).as_bytes());
        fs::create_dir_all(disks(number)).expect("a folder");
        fs::write(disks(number).join("root.qcow2"), bytes).expect("an overlay");
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("it can be run");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn quickest(mut what: impl FnMut()) -> Duration {
    let time = |_| {
        let began = Instant::now();
        what();
        began.elapsed()
    };
    (0..RUNS).map(time).min().unwrap_or_default()
}

fn table(real: Duration, dry_run: Duration, find: Duration, chains: Duration) -> String {
    let ms = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1000.0);
    let by_hand = find + chains;
    format!(
        "# Cost of a collection\n\n`cargo bench -p disk-guard --bench collect -- --save`\n\n\
         {IMAGES} images, {CHAINS} of them each needed by an overlay; quickest of {RUNS}, the deletion once. Built with profile \
         {profile}.\n\n\
         | what | figure |\n|---|---|\n\
         | **the collection, {deleted} images deleted and the folder flushed** | **{real}** (target {target}) |\n\
         | dry run: list, read the chains, look at each image again | {dry_run} |\n\
         | `find` lists the images | {find} |\n\
         | `qemu-img info --backing-chain` of {CHAINS} overlays, from a sample of {SAMPLE} | {chains} |\n\
         | **both of them / the dry run** | **{ratio:.0}** |\n",
        profile = if cfg!(debug_assertions) { "dev" } else { "bench" },
        deleted = IMAGES - CHAINS,
        real = ms(real),
        target = ms(TARGET),
        dry_run = ms(dry_run),
        find = ms(find),
        chains = ms(chains),
        ratio = by_hand.as_secs_f64() / dry_run.as_secs_f64(),
    )
}
