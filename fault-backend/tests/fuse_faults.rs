//! Faults at the FUSE seam. A run is cut at every op of a small writer, before, inside and after it, and each time the
//! volume must be exactly the replayed prefix of the uncut run; nothing may arrive after a cut, whoever tries. The
//! other actions must do what their name says and show in the log.

mod fuse_support;

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use fault_backend::fuse::{Run, Slot, Wiring};
use fault_backend::{Outcome, Point, Replay, Volume};
use fuse_support::*;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A writer in the manner of a careful tool: it stops at the first error.
fn write_carefully(at: &Path) -> io::Result<()> {
    let disk = OpenOptions::new().read(true).write(true).open(at.join("disk"))?;
    disk.write_all_at(&[1; 6000], 3000)?;
    disk.sync_data()?;
    let mut file = File::create_new(at.join("new"))?;
    file.write_all(&[2; 1500])?;
    file.sync_all()?;
    fs::rename(at.join("new"), at.join("config"))?;
    File::open(at)?.sync_all()?;
    disk.write_all_at(&[3; 512], 0)?;
    disk.set_len(5000)?;
    fs::remove_file(at.join("config"))
}

/// What the writer begins with.
fn start() -> Volume {
    with_file("disk", &[9; 10_000])
}

#[test]
fn a_cut_at_each_op_leaves_exactly_that_prefix() {
    let mount = Mount::new();
    let (whole, calls) = mount.record(&start(), "", |at| write_carefully(at).unwrap());
    assert_eq!((whole.ops, calls.kills()), (10, 0));
    let mut replay = Replay::new(start(), &whole.log);
    let mut states = HashSet::new();
    for op in &whole.log.ops {
        let mut points = vec![
            (format!("b{}", op.number), Point::After(op.number - 1), Outcome::Skipped),
            (format!("a{}", op.number), Point::After(op.number), Outcome::Completed),
        ];
        for sectors in 0..op.sectors() {
            let bytes = op.torn_sector_bytes(sectors);
            let point = Point::Torn { op: op.number, bytes };
            points.push((format!("t{}.{sectors}", op.number), point, Outcome::Torn { bytes }));
        }
        for (plan, point, outcome) in points {
            let (cut, calls) = mount.record(&start(), &plan, |at| {
                let result = write_carefully(at);
                // Only a cut after the last op leaves the writer nothing to fail at.
                assert_eq!(result.is_err(), plan != "a10", "{plan}");
                if let Err(error) = result {
                    assert_eq!(error.raw_os_error(), Some(Errno::EIO as i32), "{plan}");
                }
                // Whoever tries afterwards changes nothing.
                fs::write(at.join("late"), "").unwrap_err();
                fs::remove_file(at.join("disk")).unwrap_err();
                fs::write(at.join("disk"), "late").unwrap_err();
            });
            assert_same(&replay.state(point).unwrap(), &cut.volume, &plan);
            assert_eq!(
                (calls.kills(), &*cut.fired, cut.frozen, cut.ops),
                // Nobody lives to see the error of what came too late.
                (1 + cut.refused_late, &[1][..], true, op.number),
                "{plan}"
            );
            assert_eq!(cut.log.ops.last().unwrap().outcome, outcome, "{plan}");
            assert!(cut.refused_late >= 3, "{plan}");
            assert_replays(&start(), &cut);
            states.insert(cut.volume.content_id());
        }
    }
    // 10 ops, of which 3 change nothing, and 13 + 2 inner sectors of the two large writes.
    assert_eq!(states.len(), 1 + 7 + 12 + 2);
}

#[test]
fn a_cut_at_the_start_comes_with_the_first_op() {
    let mount = Mount::new();
    let (cut, calls) = mount.record(&start(), "a0", |at| {
        assert_eq!(fs::read(at.join("disk")).unwrap(), [9; 10_000]);
        assert!(write_carefully(at).is_err());
        fs::write(at.join("late"), "").unwrap_err();
    });
    assert_eq!((calls.kills(), cut.ops, cut.frozen, &*cut.fired), (1 + cut.refused_late, 0, true, &[1][..]));
    assert_same(&start(), &cut.volume, "a0");
}

#[test]
fn a_fault_that_no_op_reaches_does_not_fire() {
    let mount = Mount::new();
    let (run, calls) = mount.record(&start(), "b11,eio@file/none/1", |at| write_carefully(at).unwrap());
    assert_eq!((calls.kills(), run.frozen, &*run.fired), (0, false, &[0, 0][..]));
}

#[test]
fn errors_are_answered_once_or_for_good_and_change_nothing() {
    let mount = Mount::new();
    let write_five = |at: &Path| -> Vec<Option<i32>> {
        let disk = OpenOptions::new().write(true).open(at.join("disk")).unwrap();
        let write =
            |n: u8| disk.write_all_at(&[n], u64::from(n)).err().and_then(|error| error.raw_os_error());
        let mut answers: Vec<_> = (1..=4).map(write).collect();
        answers.push(disk.set_len(6).err().and_then(|error| error.raw_os_error()));
        answers
    };
    let (eio, enospc) = (Some(Errno::EIO as i32), Some(Errno::ENOSPC as i32));
    for (plan, answers, content) in [
        ("eio@2", [None, eio, None, None, None], [9, 1, 9, 3, 4, 9]),
        ("eio@3+", [None, None, eio, eio, eio], [9, 1, 2, 9, 9, 9]),
        ("enospc@2+", [None, enospc, enospc, enospc, None], [9, 1, 9, 9, 9, 9]),
        ("enospc@file/d*k/4", [None, None, None, enospc, None], [9, 1, 2, 3, 9, 9]),
    ] {
        let mut answered = Vec::new();
        let (run, calls) = mount.record(&start(), plan, |at| answered = write_five(at));
        assert_eq!(answered, answers, "{plan}");
        assert_eq!(bytes(&run.volume, "disk")[..6], content, "{plan}");
        let failed = run.log.ops.iter().filter(|op| matches!(op.outcome, Outcome::Failed(_))).count();
        assert_eq!(failed, answers.iter().flatten().count(), "{plan}");
        assert_eq!((run.ops, run.frozen, calls.kills()), (5, false, 0), "{plan}");
        assert_replays(&start(), &run);
    }
}

#[test]
fn a_short_write_says_how_short() {
    let mount = Mount::new();
    let (run, _) = mount.record(&start(), "short100@1", |at| {
        let disk = OpenOptions::new().write(true).open(at.join("disk")).unwrap();
        assert_eq!(disk.write_at(&[1; 300], 0).unwrap(), 100);
        assert_eq!(disk.write_at(&[2; 200], 100).unwrap(), 200);
    });
    assert_eq!(texts(&run), ["write 0+100 disk", "write 100+200 disk"]);
    assert_eq!(bytes(&run.volume, "disk")[99..101], [1, 2]);
    assert_replays(&start(), &run);
}

#[test]
fn a_dropped_flush_succeeds_and_ends_no_epoch() {
    let mount = Mount::new();
    let (run, _) = mount.record(&start(), "drop@flush/1", |at| write_carefully(at).unwrap());
    let dropped: Vec<_> =
        run.log.ops.iter().filter(|op| op.outcome == Outcome::Dropped).map(|op| op.number).collect();
    assert_eq!((dropped, run.log.epochs().count()), (vec![2], 3));
    assert_eq!(run.log.op(3).unwrap().epoch, 0);

    let plan = "drop@flush/2,eio@flush/3,b@flush/4";
    let (run, calls) = mount.record(&start(), plan, |_| {
        let sync = || mount.seam.barrier(0);
        assert_eq!([sync(), sync(), sync(), sync()], [Ok(()), Ok(()), Err(Errno::EIO), Err(Errno::EIO)]);
        assert_eq!(sync(), Err(Errno::EIO));
    });
    assert_eq!((run.ops, calls.kills(), run.refused_late, run.frozen), (4, 2, 1, true));
}

#[test]
fn a_signal_comes_when_its_op_has_happened_and_is_not_answered_yet() {
    let mount = Mount::new();
    let (run, calls) = mount.record(&start(), "sigTERM@1,sigINT@3", |at| write_carefully(at).unwrap());
    assert_eq!(*calls.signals.lock().unwrap(), [Signal::SIGTERM as i32, Signal::SIGINT as i32]);
    assert_eq!((run.ops, run.frozen), (10, false));

    let script = "trap 'echo caught > note; exit 3' TERM; for i in 1 2 3 4 5; do echo $i > file-$i; done";
    let begin = |wiring| Run { plan: "sigTERM@file/file-3/1".parse().unwrap(), ..Run::new(wiring) };
    let (run, status) = mount.run(&Volume::new(), begin, &mut sh(script));
    assert_eq!((status.code(), bytes(&run.volume, "note")), (Some(3), b"caught\n".to_vec()));
    assert!(is_file(&run.volume, "file-3") && !is_file(&run.volume, "file-4"));

    // Whoever is told of the signal and lets nothing pass from then on finds the op done, and the tool still waiting.
    let (told, waits) = mpsc::channel();
    let (go, answers) = mpsc::channel::<()>();
    let answers = Mutex::new(answers);
    let signal = move |_| {
        told.send(()).unwrap();
        answers.lock().unwrap().recv().unwrap();
    };
    mount.seam.load(Slot::Work, start());
    let wiring = Wiring { signal: Arc::new(signal), ..Calls::default().wiring() };
    mount.seam.begin(Run { plan: "sigTERM@1".parse().unwrap(), ..Run::new(wiring) });
    let at = mount.work();
    let writer = thread::spawn(move || {
        let disk = OpenOptions::new().write(true).open(at.join("disk")).unwrap();
        disk.write_all_at(b"there", 0)
    });
    waits.recv().unwrap();
    mount.seam.freeze();
    assert!(!writer.is_finished());
    go.send(()).unwrap();
    writer.join().unwrap().unwrap();
    let run = mount.seam.end().unwrap();
    assert!(bytes(&run.volume, "disk").starts_with(b"there"));
}

#[test]
fn a_freeze_from_outside_ends_a_delay_and_lets_nothing_pass() {
    let mount = Mount::new();
    let minute = 60_000;
    let eio = Some(Errno::EIO as i32);
    for (plan, waiting, expected) in
        [(format!("dgpt.{minute}"), 1, [eio, eio]), (format!("d{minute}@file/disk/2"), 2, [None, eio])]
    {
        let calls = Calls::default();
        mount.seam.load(Slot::Work, start());
        let disk = Some("disk".into());
        mount.seam.begin(Run { plan: plan.parse().unwrap(), disk, ..Run::new(calls.wiring()) });
        let at = mount.work();
        let writer = thread::spawn(move || {
            let disk = OpenOptions::new().write(true).open(at.join("disk")).unwrap();
            [1, 2].map(|n| disk.write_all_at(&[n], 0).err().and_then(|error| error.raw_os_error()))
        });
        while calls.asked.load(Ordering::SeqCst) < waiting {
            thread::yield_now();
        }
        mount.seam.freeze();
        let frozen = mount.seam.take(Slot::Work);
        assert_eq!(writer.join().unwrap(), expected, "{plan}");
        let run = mount.seam.end().unwrap();
        assert_same(&frozen, &run.volume, &plan);
        // Whoever froze it is about to kill it, and may be late: no tool lives to see the error.
        let refused = expected.iter().flatten().count() as u64;
        assert_eq!((run.frozen, calls.kills(), run.ops), (true, refused, waiting - 1), "{plan}");
    }
}

#[test]
fn a_freeze_at_any_time_leaves_a_replayed_prefix() {
    let mount = Mount::new();
    for round in 0..30 {
        mount.seam.load(Slot::Work, start());
        let calls = Calls::default();
        mount.seam.begin(Run::new(calls.wiring()));
        let frozen = thread::scope(|scope| {
            for n in 0..3u64 {
                let at = mount.work();
                scope.spawn(move || {
                    let disk = OpenOptions::new().write(true).open(at.join("disk")).unwrap();
                    let mut turn = 0;
                    while disk.write_all_at(&[turn; 700], u64::from(turn) * 13 + n).is_ok()
                        && fs::write(at.join(format!("file-{n}")), [turn]).is_ok()
                    {
                        turn = turn.wrapping_add(1);
                    }
                });
            }
            while calls.asked.load(Ordering::SeqCst) < 20 + round * 7 {
                thread::yield_now();
            }
            mount.seam.freeze();
            mount.seam.take(Slot::Work)
        });
        let run = mount.seam.end().unwrap();
        assert!(run.frozen && run.refused_late >= 3);
        assert_same(&frozen, &run.volume, "after the freeze");
        assert_replays(&start(), &run);
    }
}

#[test]
fn the_end_of_a_run_ends_its_delays_and_they_reach_no_later_run() {
    let mount = Mount::new();
    // Whether the write wakes before or after the later run begins is a matter of chance.
    for _ in 0..20 {
        let calls = Calls::default();
        mount.seam.load(Slot::Work, start());
        mount.seam.begin(Run { plan: "d60000@1".parse().unwrap(), ..Run::new(calls.wiring()) });
        let disk = OpenOptions::new().write(true).open(mount.work().join("disk")).unwrap();
        let writer = thread::spawn(move || disk.write_all_at(b"late", 0));
        while calls.asked.load(Ordering::SeqCst) < 1 {
            thread::yield_now();
        }
        assert_eq!(mount.seam.end().unwrap().ops, 0);
        // Neither a run without a reload nor one with it sees the write, and one that is to be killed at its first op waits for
        // an op of its own.
        let later = Calls::default();
        mount.seam.begin(Run { plan: "a0".parse().unwrap(), ..Run::new(later.wiring()) });
        writer.join().unwrap().unwrap_err();
        let run = mount.seam.end().unwrap();
        assert_eq!((run.ops, run.frozen, later.kills()), (0, false, 0));
        assert_same(&mount.seam.take(Slot::Work), &start(), "after the end");
    }
}

#[test]
fn a_delay_is_waited_before_and_after() {
    let mount = Mount::new();
    let began = Instant::now();
    let (run, _) = mount.record(&start(), "d20@2", |at| write_carefully(at).unwrap());
    // Twenty milliseconds each; how much longer it took is the machine's affair.
    assert!(began.elapsed() >= Duration::from_millis(40));
    assert_eq!((run.ops, &*run.fired), (10, &[1][..]));
}

#[test]
fn a_killed_tool_dies_of_the_signal_and_its_orphaned_child_changes_nothing() {
    let mount = Mount::new();
    let host = tempfile::tempdir().unwrap();
    let (pid_file, tries) = (host.path().join("pid"), host.path().join("tries"));
    // The child leaves the process group, so that the kill does not reach it, and goes on writing.
    let script = format!(
        "setsid sh -c 'echo $$ > {0}.new; mv {0}.new {0}; while :; do echo x >> child; echo >> {1}; done' &
         while ! [ -e {0} ]; do :; done
         for i in 1 2 3 4 5 6 7 8 9; do echo $i >> parent; done; echo end >> parent; wait",
        pid_file.display(),
        tries.display()
    );
    let leftover = Leftover(&pid_file);
    let begin = |wiring| Run { plan: "b@file/parent/10".parse().unwrap(), ..Run::new(wiring) };
    let (run, status) = mount.run(&Volume::new(), begin, &mut sh(&script));
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    assert_eq!((&*run.fired, run.frozen), (&[1][..], true));
    let child = leftover.pid().unwrap();
    // It lives, and tries again: the second try that ends from here on has begun after the end.
    let tried = || fs::metadata(&tries).map_or(0, |meta| meta.len());
    let before = tried();
    while tried() < before + 2 {
        kill(child, None).unwrap();
    }
    assert_same(&mount.seam.take(Slot::Work), &run.volume, "after the child went on");
    assert_replays(&Volume::new(), &run);
}

/// A process that wrote its number into a file; it is killed in the end.
struct Leftover<'a>(&'a Path);

impl Leftover<'_> {
    fn pid(&self) -> Option<Pid> {
        Some(Pid::from_raw(fs::read_to_string(self.0).ok()?.trim().parse().ok()?))
    }
}

impl Drop for Leftover<'_> {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            kill(pid, Signal::SIGKILL).unwrap();
        }
    }
}

#[test]
fn dirty_pages_of_a_killed_tool_do_not_arrive() {
    let mount = Mount::new();
    assert!(mount.seam.maps(), "this kernel has no shared mappings on FUSE (Linux 6.6 and later)");
    let script = "
import mmap, os
f = os.open('disk', os.O_RDWR)
m = mmap.mmap(f, 8192)
m[0:5] = b'first'
m.flush()
m[4096:4100] = b'lost'
os.pwrite(f, b'.', 9000)
os.pwrite(f, b'never', 9500)
";
    let (whole, status) = mount.run(&start(), Run::new, &mut python(script));
    assert!(status.success() && whole.mapped);
    let flushed = ["write 0+4096 disk cached", "fdatasync disk", "write 9000+1 disk"];
    assert_eq!(texts(&whole)[..3], flushed);
    let begin = |wiring| Run { plan: "a3".parse().unwrap(), ..Run::new(wiring) };
    let (cut, status) = mount.run(&start(), begin, &mut python(script));
    assert_eq!(status.signal(), Some(Signal::SIGKILL as i32));
    let content = bytes(&cut.volume, "disk");
    assert_eq!(
        (&content[..5], &content[4096..4100], content[9000], content[9500]),
        (&b"first"[..], &[9; 4][..], b'.', 9)
    );
    assert!(cut.mapped && cut.refused_late >= 1);
    // The next run on the same inode has no memory of the refused pages.
    let (again, status) = mount.run(&start(), Run::new, &mut python(script));
    assert!(status.success());
    assert_same(&whole.volume, &again.volume, "a run after a kill");
}
