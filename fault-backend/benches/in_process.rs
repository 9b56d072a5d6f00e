//! How many crash states of a GPT update a second are made, resumed and checked in one process.
//!
//! The table is one as on a disk: 128 entries and a header with two CRCs, twice; one entry changes. A state counts
//! when it was made and told apart from the others by its content; one of a new content is also resumed, which reads
//! and checks both copies and writes what is missing, and checked, which reads both again.
//!
//! `cargo bench -p fault-backend --bench in_process`; `-- --save` writes `reports/bench/in-process.md`.

use std::error::Error;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use fault_backend::BlockDevice;
use fault_backend::testing::{Disk, Model, Summary, Sweep};
use nix::time::{ClockId, clock_gettime};

const SECTOR: usize = 512;
const SECTORS: u64 = 32768;
const ARRAY: usize = 128 * 128;

/// A measurement lasts at least so long.
const ENOUGH: Duration = Duration::from_secs(3);

/// States a second that are wanted of the plain sweep, every model and one crash.
const TARGET: f64 = 50_000.0;

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Where a copy's header and array lie.
#[derive(Clone, Copy)]
struct Place {
    header: u64,
    array: u64,
}

const PRIMARY: Place = Place { header: 1, array: 2 };
const BACKUP: Place = Place { header: SECTORS - 1, array: SECTORS - 33 };

/// The header sector of a copy (UEFI 2.10 §5.3.2).
fn header(place: Place, other: Place, array: &[u8]) -> Vec<u8> {
    let mut sector = vec![0; SECTOR];
    sector[..8].copy_from_slice(b"EFI PART");
    sector[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
    for (at, lba) in [(24, place.header), (32, other.header), (40, 34), (48, SECTORS - 34), (72, place.array)]
    {
        sector[at..at + 8].copy_from_slice(&lba.to_le_bytes());
    }
    sector[80..88].copy_from_slice(&[128, 0, 0, 0, 128, 0, 0, 0]);
    sector[88..92].copy_from_slice(&CRC.checksum(array).to_le_bytes());
    let own = CRC.checksum(&sector[..92]);
    sector[16..20].copy_from_slice(&own.to_le_bytes());
    sector
}

fn read(disk: &Disk, lba: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    disk.read_at(lba * SECTOR as u64, &mut bytes)?;
    Ok(bytes)
}

/// The array of a copy that is valid.
fn valid(disk: &Disk, place: Place, other: Place) -> io::Result<Option<Vec<u8>>> {
    let array = read(disk, place.array, ARRAY)?;
    Ok((read(disk, place.header, SECTOR)? == header(place, other, &array)).then_some(array))
}

fn put(disk: &mut Disk, place: Place, other: Place, array: &[u8]) -> io::Result<()> {
    for (lba, bytes) in [(place.array, array), (place.header, &header(place, other, array))] {
        if read(disk, lba, bytes.len())? != bytes {
            disk.write_at(lba * SECTOR as u64, bytes)?;
        }
    }
    disk.flush()
}

/// Grows the first partition; a broken primary is restored from the backup first.
fn update(disk: &mut Disk) -> io::Result<()> {
    let primary = valid(disk, PRIMARY, BACKUP)?;
    let broken = primary.is_none();
    let found = primary.map_or_else(|| valid(disk, BACKUP, PRIMARY), |array| Ok(Some(array)))?;
    let mut array = found.ok_or_else(|| io::Error::other("no valid copy"))?;
    if broken {
        put(disk, PRIMARY, BACKUP, &array)?;
    }
    array[40..48].copy_from_slice(&8191u64.to_le_bytes());
    put(disk, BACKUP, PRIMARY, &array)?;
    put(disk, PRIMARY, BACKUP, &array)
}

fn initial() -> Vec<u8> {
    let mut array = vec![0; ARRAY];
    for (index, raw) in (0..).zip(array.chunks_exact_mut(128).take(8)) {
        raw[..32].fill(index + 1);
        raw[32..40].copy_from_slice(&(2048 * (u64::from(index) + 1)).to_le_bytes());
        raw[40..48].copy_from_slice(&(2048 * (u64::from(index) + 1) + 1023).to_le_bytes());
    }
    let mut disk = vec![0; SECTORS as usize * SECTOR];
    for (place, other) in [(PRIMARY, BACKUP), (BACKUP, PRIMARY)] {
        disk[place.array as usize * SECTOR..][..ARRAY].copy_from_slice(&array);
        disk[place.header as usize * SECTOR..][..SECTOR].copy_from_slice(&header(place, other, &array));
    }
    disk
}

fn sweep(start: &fault_backend::Image, models: &[Model], depth: u32) -> Result<Summary, Box<dyn Error>> {
    let sweep = Sweep::new(start.clone()).models(models.iter().copied()).depth(depth);
    let check = |disk: &Disk| match (valid(disk, PRIMARY, BACKUP)?, valid(disk, BACKUP, PRIMARY)?) {
        (Some(primary), Some(backup)) if primary == backup && primary[40..42] == [0xFF, 0x1F] => Ok(()),
        _ => Err(io::Error::other("the update is not there")),
    };
    Ok(sweep.run(update).check(check)?)
}

/// CPU time of this thread: what else the machine does matters less to it than to the clock.
fn cpu_time() -> nix::Result<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from)
}

/// States and judged states of one sweep, and how many of each a second.
fn measure(models: &[Model], depth: u32) -> Result<(Summary, f64, f64), Box<dyn Error>> {
    let start = fault_backend::Image::from(initial());
    let summary = sweep(&start, models, depth)?;
    let (begin, mut rounds) = (cpu_time()?, 0u32);
    while cpu_time()? - begin < ENOUGH {
        sweep(&start, models, depth)?;
        rounds += 1;
    }
    let took = (cpu_time()? - begin).as_secs_f64();
    let per_s = |count: u64| count as f64 * f64::from(rounds) / took;
    let rates = (per_s(summary.states), per_s(summary.judged));
    Ok((summary, rates.0, rates.1))
}

fn main() -> Result<(), Box<dyn Error>> {
    use Model::{Kill, Power, TornSectors};
    let mut table = String::new();
    for (what, models, depth) in [
        ("kill", &[Kill][..], 1),
        ("kill, torn at 512 bytes", &[Kill, TornSectors], 1),
        ("kill, torn, power", &[Kill, TornSectors, Power], 1),
        ("the same, two crashes", &[Kill, TornSectors, Power], 2),
    ] {
        let (summary, states, judged) = measure(models, depth)?;
        let goal =
            if depth == 1 && models.len() == 3 { format!(" (target {TARGET:.0})") } else { String::new() };
        let Summary { states: all, judged: distinct, .. } = summary;
        table += &format!("| {what} | {all} | {distinct} | {states:.0}{goal} | {judged:.0} |\n");
    }
    let text = format!(
        "# Crash states in one process\n\n\
         `cargo bench -p fault-backend --bench in_process -- --save`\n\n\
         A GPT update of 4 writes and 2 flushes on a disk of 16 MiB, one entry of 128 changed; per second of one\n\
         thread's CPU time. A state of a content that was seen before is made and told apart; one of a new content is also\n\
         resumed and checked, in which four copies of the table are read with their CRCs. Each sweep also runs the update\n\
         up to nine times: recorded, and cut live.\n\n\
         | models | states | contents | states/s | contents judged/s |\n|---|---|---|---|---|\n{table}"
    );
    print!("{text}");
    if std::env::args().any(|argument| argument == "--save") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/bench/in-process.md");
        fs::write(path, text)?;
    }
    Ok(())
}
