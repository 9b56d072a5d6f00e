//! Goal: a kill at an op leaves the same bytes every time, whatever the tool: the recorded prefix. Method: each tool is
//! recorded, then killed live before, inside and after some of its ops, again and again. `KILLPOINT_KILLS` is the number
//! of kills at each point (default 3, so that a test run stays short; 50 is the figure that the documentation quotes).

use std::collections::BTreeSet;
use std::fs;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use fault_backend::replay::{Point, Replay};
use fault_backend::{Action, Fault};
use killpoint::chain::{Chain, Step};
use killpoint::ground::Setting;
use killpoint::prepare::{Prepared, Varies, prepare};
use killpoint::programs::Programs;
use killpoint::seam::{self, Wish};
use killpoint::stage::Cut;
use killpoint::tools::Needs;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use reports::{Seam, Stream};

static NEVER: AtomicBool = AtomicBool::new(false);

/// A tool, what it needs, how its volume is made, and its command.
struct Case {
    name: &'static str,
    needs: &'static [&'static str],
    fixture: &'static str,
    command: &'static [&'static str],
    environment: &'static str,
}

const CLOCKS: &str = "E2FSPROGS_FAKE_TIME = \"1700000000\"\nE2FSCK_TIME = \"1700000000\"";

const MKFS: &str = "mke2fs -q -t ext4 -b 1024 -U 5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c01 \
    -E hash_seed=5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c02,lazy_itable_init=0,nodiscard $1/disk.img";

/// A writer in C, linked statically: nothing of it can be hooked from inside.
const WRITER: &str = r#"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    static char block[20000];
    int file = open(argv[1], O_RDWR);
    for (int i = 0; i < 12; i++) {
        memset(block, 'a' + i, sizeof block);
        if (pwrite(file, block, sizeof block, i * 15000 + 700) != (long)sizeof block) return 1;
        if (i % 3 == 2) fsync(file);
    }
    return 0;
}
"#;

const CASES: &[Case] = &[
    Case {
        name: "sgdisk",
        needs: &["sgdisk"],
        fixture: "truncate -s 64M $1/disk.img; sgdisk -o -U 00000000-aaaa-4bbb-8ccc-000000000000 $1/disk.img",
        command: &[
            "sgdisk",
            "-n",
            "1:2048:+4M",
            "-u",
            "1:00000001-aaaa-4bbb-8ccc-000000000001",
            "{volume}/disk.img",
        ],
        environment: "",
    },
    Case {
        name: "mkfs.ext4",
        needs: &["mke2fs"],
        fixture: "truncate -s 24M $1/disk.img",
        command: &["sh", "-c", "set -- {volume}; MKFS"],
        environment: CLOCKS,
    },
    Case {
        name: "resize2fs",
        needs: &["mke2fs", "resize2fs"],
        fixture: "truncate -s 24M $1/disk.img; MKFS 16M",
        command: &["resize2fs", "{volume}/disk.img", "24M"],
        environment: CLOCKS,
    },
    Case {
        name: "e2fsck",
        needs: &["mke2fs", "e2fsck", "debugfs"],
        fixture: "truncate -s 24M $1/disk.img; MKFS; \
            debugfs -w -R 'set_inode_field <11> links_count 9' $1/disk.img; \
            debugfs -w -R 'set_super_value free_blocks_count 7' $1/disk.img",
        command: &["e2fsck", "-fy", "{volume}/disk.img"],
        environment: CLOCKS,
    },
    Case {
        name: "static C writer",
        needs: &["cc"],
        fixture: "truncate -s 1M $1/disk.img; cc -O1 -static -x c -o $1/writer {scenario_dir}/writer.c",
        command: &["{volume}/writer", "{volume}/disk.img"],
        environment: "",
    },
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Before there are threads: the mounts are this process's own.
    let chosen = seam::choose(Wish::This(Seam::Fuse), &[]).map_err(|error| error.to_string());
    let trials = CASES
        .iter()
        .map(|case| {
            let chosen = chosen.clone();
            Trial::ignorable_test(format!("same_state::{}", case.name), move || {
                let missing: Vec<_> =
                    case.needs.iter().filter(|p| scenarios::programs::find(p).is_none()).collect();
                if !missing.is_empty() {
                    return Ok(Completion::ignored_with(format!("not installed: {missing:?}")));
                }
                let chosen = chosen.map_err(|error| format!("this test needs FUSE: {error}"))?;
                every_kill_leaves_one_state(case, chosen.private_mounts).map(|()| Completion::Completed)
            })
        })
        .collect();
    // The mount point is one for the process.
    let arguments = Arguments { test_threads: Some(1), ..arguments };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn prepared(case: &Case, dir: &std::path::Path, private_mounts: bool) -> Result<Prepared, Failed> {
    fs::write(dir.join("writer.c"), WRITER)?;
    let shell =
        |text: &str| text.replace("MKFS", MKFS).replace('\\', "").replace('"', "\\\"").replace('\n', " ");
    let fixture = format!("exec >/dev/null 2>&1; set -e; {}", shell(case.fixture));
    let words: Vec<String> = case.command.iter().map(|word| format!("\"{}\"", shell(word))).collect();
    let text = format!(
        "schema = 1\nname = \"same\"\nsummary = \"one state\"\n[fixture]\n\
         command = [\"sh\", \"-c\", \"{fixture}\", \"sh\", \"{{volume}}\"]\n[environment]\n{}\n[[phase]]\n\
         name = \"only\"\nrun = [{}]\nrun_exit = [0, 1]\n",
        case.environment,
        words.join(", ")
    );
    let path = dir.join("same.toml");
    fs::write(&path, text)?;
    let resolved = scenarios::load(path.to_str().ok_or("a path in UTF-8")?, None)?;
    let programs = Programs::find(&resolved, Needs { hook: false, planted: false }, &mut |_| {})?;
    let setting = Setting {
        seam: Seam::Fuse,
        private_mounts,
        gpt_delay: None,
        bug: None,
        real_time: false,
        work_parent: None,
        launcher: env!("CARGO_BIN_EXE_killpoint").into(),
        cpus: killpoint::cpus::allowed()?,
        interrupted: &NEVER,
        layouts: false,
        prove: false,
        exec: None,
    };
    Ok(prepare(resolved, programs, &setting, None, &mut Stream::new(Vec::new()))?)
}

fn every_kill_leaves_one_state(case: &Case, private_mounts: bool) -> Result<(), Failed> {
    let kills: usize = std::env::var("KILLPOINT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let dir = tempfile::tempdir()?;
    let Prepared { mut phases, mut ground } = prepared(case, dir.path(), private_mounts)?;
    let phase = &mut phases[0];
    if phase.known.varies != Varies::No {
        return Err(format!("its runs differ: {:?}", phase.known.varies).into());
    }
    let log = phase.known.log.clone().ok_or("a recorded run")?;
    let start = phase.known.start.memory.clone().ok_or("a state in memory")?;
    let mut replay = Replay::new(start, &log);
    // The largest write, and ops spread over the run.
    let large = log.ops.iter().max_by_key(|op| op.pages()).ok_or("an op")?;
    let mut points = vec![large.number, 1, log.len().div_ceil(2), log.len()];
    points.sort_unstable();
    points.dedup();
    let mut faults = Vec::new();
    for number in points {
        faults.push((Fault::AtOp(number, Action::KillBefore), Point::After(number - 1)));
        faults.push((Fault::AtOp(number, Action::KillAfter), Point::After(number)));
    }
    if large.pages() > 1 {
        let page = large.pages() / 2;
        let sectors = u32::try_from(large.torn_sectors(page))?;
        let point = Point::Torn { op: large.number, bytes: large.torn_bytes(page) };
        faults.push((Fault::AtOp(large.number, Action::KillTorn(sectors)), point));
    }
    for (fault, point) in faults {
        let recorded = replay.state(point)?.content_id();
        let mut found = BTreeSet::new();
        for _ in 0..kills {
            let mut chain = Chain::begin(&mut ground, phase)?;
            match chain.cut(&Cut::Op(fault.clone()), false)? {
                Step::Crashed(crash) => found.insert(crash.sample.content_id),
                Step::Finished(_) => return Err(format!("`{fault}` did not land").into()),
            };
        }
        if found != BTreeSet::from([recorded]) {
            return Err(format!("`{fault}`: {found:?}, and the recording says {recorded}").into());
        }
    }
    Ok(())
}
