//! What the help of each command ends with: examples that can be pasted, and what its exit codes mean. A test parses every
//! example, so that none outlives the option that it shows.

/// Exit codes of the commands that judge.
macro_rules! judging {
    () => {
        "\
Exit codes:
    0  all judged states passed
    1  findings
    2  bad usage or scenario
    3  the uninterrupted run failed, so nothing was tested
    4  not measured: a kill did not land, or an oracle could not run
    5  this machine lacks something that was asked for
  130  interrupted; what was done is kept"
    };
}

/// Exit codes of the commands that only print or write something.
macro_rules! printing {
    ($done:literal) => {
        concat!(
            "Exit codes:\n    0  ",
            $done,
            "\n    2  bad usage\n    5  this machine lacks something that was asked for"
        )
    };
}

/// Examples and exit codes.
macro_rules! help {
    ($examples:literal, $codes:expr) => {
        concat!("Examples:\n", $examples, "\n\n", $codes)
    };
}

pub(super) const KILLPOINT: &str = help!(
    "  killpoint demo                                a minute's look at all of it
  killpoint doctor                              what this machine can do
  killpoint exec --image disk.img -- sgdisk -n 4:0:+4M disk.img
  killpoint sweep --help                        examples and exit codes of a command",
    judging!()
);

pub(super) const RUN: &str = help!(
    "  killpoint run mixed-layout                         a quick look
  killpoint run mixed-layout --for 8h                an overnight soak
  killpoint run mixed-layout --gpt-delay 20ms        kills land inside the table's writes
  killpoint run ./mine.toml --iterations 50 --seed 1   a scenario of your own, reproducibly",
    judging!()
);

pub(super) const SWEEP: &str = help!(
    "  killpoint sweep sgdisk-new                     every op, and the pages inside large writes
  killpoint sweep mixed-layout --model kill --closure
                                                 crashes of the resumes too, until nothing new appears
  killpoint sweep ./mine.toml --torn-per-write all --seed 1
  killpoint sweep ./mine.toml --budget 10m       the most telling points first
  killpoint sweep mixed-layout --seed 1 --shard 2/4 --run-dir shard-2
                                                 a part of it; again with the same --run-dir goes on where it was",
    judging!()
);

pub(super) const EXEC: &str = help!(
    "  killpoint exec --image disk.img -- sgdisk -n 4:0:+4M disk.img
  killpoint exec --image fs.img --resume 'e2fsck -fy {image}; resize2fs {image} 20M' -- resize2fs fs.img 20M
  killpoint exec --volume db --check './check.sh {volume}' -- ./load.sh

The image is never modified: the command works on a clone that stands in its place, seen by the command alone.",
    judging!()
);

pub(super) const BARRIERS: &str = help!(
    "  killpoint barriers sqlite-delete                  which of its flushes a power cut would miss
  killpoint barriers ./mine.toml --states 1000 --seed 1   more states for each flush",
    judging!()
);

pub(super) const PREFLIGHT: &str = help!(
    "  killpoint preflight sgdisk-new
  killpoint preflight --image disk.img -- sgdisk -n 4:0:+4M disk.img",
    "Exit codes:
    0  the run was observed
    2  bad usage or scenario
    3  the run failed
    4  not measured
    5  this machine lacks something that was asked for
  130  interrupted"
);

pub(super) const REPORT: &str = help!(
    "  killpoint report runs/mine-20260101-120000     the result of a campaign again
  killpoint report shard-1 shard-2 shard-3 shard-4 --run-dir whole
                                                 the shards of a sweep as one campaign
  killpoint report runs/mine-20260101-120000 --html mine.html
                                                 with the crash map, for a browser
  killpoint report --compare runs/before runs/after
                                                 what a new version of a tool made better and worse",
    judging!()
);

pub(super) const REPRO: &str = help!(
    "  killpoint repro 'runs/sgdisk-new-20260101-120000#F1'   from the state that a run directory keeps
  killpoint repro 'kp1:sgdisk-new:fuse:0bec…'             live, on any machine with the same versions of the tool
  killpoint repro 'kp1:mine:fuse:93ab…' --scenario mine.toml",
    "Exit codes:
    0  it now passes
    1  it fails again
    2  the token is no token, or of another version of the scenario
    3  the uninterrupted run failed
    4  not measured: the crash state is another one, or the kill did not land
    5  this machine lacks something that was asked for
  130  interrupted"
);

pub(super) const SHRINK: &str = help!(
    "  killpoint shrink 'runs/mixed-layout-20260101-120000#F1'   from the state that a run directory keeps
  killpoint shrink 'kp1:sgdisk-new:fuse:0bec…' --budget 10m",
    "Exit codes:
    1  the shortest reproduction found, and seen to fail in the same way
    0  the token passes now: nothing to shrink
    2  the token is no token, or of another version of the scenario
    3  the uninterrupted run failed
    4  not measured: the crash state is another one, or the kill did not land
    5  this machine lacks something that was asked for
  130  interrupted"
);

pub(super) const EXPORT: &str = help!(
    "  killpoint export 'runs/sgdisk-new-20260101-120000#F1' --out finding

Then `sh scenarios/replay-finding.sh finding` shows the finding again, without killpoint.",
    "Exit codes:
    0  written
    2  bad usage, or a token of another version of the scenario
    3  the uninterrupted run failed
    4  the crash state is another one
    5  this machine lacks something that was asked for
  130  interrupted"
);

pub(super) const IMPORT: &str = help!(
    "  killpoint import vm.log --image before.img --resume 'e2fsck -fy {image}' --model kill,power
  killpoint import vm.log --image before.img --resume ./again.sh --check 'fsck.fat -n {image}'",
    judging!()
);

pub(super) const REPLAY_LOG: &str =
    help!("  killpoint replay-log vm.log clone.img", printing!("the log's ops are done"));

pub(super) const INSPECT: &str = help!(
    "  killpoint inspect disk.img
  killpoint inspect disk.img --format json",
    "Exit codes:
    0  both copies of the table are valid and agree
    1  something is wrong with it
    2  there is no image, or no table in it"
);

pub(super) const ON_MOUNT: &str = help!(
    "  killpoint on-mount fs.img --fs ext4 -- touch {mnt}/file
  killpoint on-mount disk.img --fs xfs --offset 1048576 --read-only -- ls -l",
    "Exit codes:
    the command's own; 128 and the signal's number where one ended it; without a command, 0
    2  bad usage
    5  the image can't be mounted or unmounted, or the command can't be started"
);

pub(super) const LIST: &str = help!(
    "  killpoint list
  killpoint list --format json",
    printing!("printed")
);

pub(super) const SHOW: &str = help!(
    "  killpoint show mixed-layout --scale full
  killpoint show ./mine.toml                     checks a scenario of your own, and runs nothing",
    "Exit codes:
    0  printed
    2  there is no such scenario or scale, or the file is wrong
    5  this machine lacks something that was asked for"
);

pub(super) const DEMO: &str = help!(
    "  killpoint demo
  killpoint demo --dir /tmp/first-look",
    "Exit codes:
    0  the mistake was found, and the mended tool passed
    2  bad usage, or the directory is taken
    4  it went otherwise
    5  this machine lacks something, which `killpoint doctor` names
  130  interrupted"
);

pub(super) const DOCTOR: &str = help!(
    "  killpoint doctor
  killpoint doctor --format json",
    "Exit codes:
    0  killpoint's main job, `killpoint run mixed-layout`, can run here
    2  bad usage
    5  it can't; what stops it is named"
);

pub(super) const COMPLETIONS: &str = help!(
    "  killpoint completions bash > /etc/bash_completion.d/killpoint
  killpoint completions zsh > /usr/local/share/zsh/site-functions/_killpoint
  killpoint completions fish > ~/.config/fish/completions/killpoint.fish",
    printing!("printed")
);

pub(super) const MAN: &str = help!(
    "  killpoint man --out /usr/local/share/man/man1
  killpoint man --out man                        to be read with `man -l man/killpoint-sweep.1`",
    printing!("written")
);
