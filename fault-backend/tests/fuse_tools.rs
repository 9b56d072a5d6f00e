//! Real tools on the FUSE seam: what they leave there is what they leave on a host's file system, and a kill at one op
//! leaves one state, however often it is tried. A tool that is not installed fails the test by name.

mod fuse_support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use fault_backend::fuse::{Recorded, Run, Slot};
use fault_backend::{ContentId, Replay, Volume};
use fuse_support::*;

const MKFS: &str = "mkfs.ext4 -q -F -U 6a4ed1dc-0000-4000-8000-000000000001 \
    -E hash_seed=6a4ed1dc-0000-4000-8000-000000000002,lazy_itable_init=0 disk 16M";

/// Runs a script uncut, and checks its log by replay.
fn whole(mount: &Mount, start: &Volume, script: &str) -> Recorded {
    let (run, status) = mount.run(start, Run::new, &mut sh(script));
    assert!(status.success(), "{script}: {status}");
    assert!(!run.frozen && !run.broken);
    assert_replays(start, &run);
    run
}

/// The same script in a folder of the host.
fn on_host(start: &Volume, script: &str) -> Volume {
    let host = tempfile::tempdir().unwrap();
    start.export(host.path()).unwrap();
    let status = spawn(sh(script).current_dir(host.path())).wait().unwrap();
    assert!(status.success(), "{script}: {status}");
    Volume::import(host.path()).unwrap()
}

/// Kills the script at an op, so many times, and checks that each time the replayed prefix is left.
fn kills_leave_one_state(start: &Volume, script: &str, plan: &str, ops: u64, times: usize) {
    let mount = Mount::new();
    let whole = whole(&mount, start, script);
    let expected = Replay::new(start.clone(), &whole.log).state_after(ops).unwrap();
    let ids: Vec<ContentId> = (0..times)
        .map(|_| {
            let begin = |wiring| Run { plan: plan.parse().unwrap(), ..Run::new(wiring) };
            let (cut, status) = mount.run(start, begin, &mut sh(script));
            assert_eq!(status.signal(), Some(9), "{plan}");
            assert_eq!((cut.frozen, &*cut.fired), (true, &[1][..]), "{plan}");
            assert_same(&expected, &cut.volume, plan);
            cut.volume.content_id()
        })
        .collect();
    assert!(ids.iter().all(|id| *id == expected.content_id()));
}

#[test]
fn mkfs_ext4_killed_fifty_times_at_one_op_leaves_one_state() {
    // `exec`, so that the process that is killed is the tool and not the shell.
    kills_leave_one_state(&Volume::new(), &format!("exec {MKFS}"), "b20", 19, 50);
}

#[test]
fn sgdisk_killed_at_one_op_leaves_one_state() {
    let script = "exec sgdisk -n 1:2048:6143 -u 1:6a4ed1dc-0000-4000-8000-000000000003 \
        -U 6a4ed1dc-0000-4000-8000-000000000004 disk";
    kills_leave_one_state(&with_disk("disk", 4 << 20), script, "b4", 3, 4);
}

#[test]
fn disk_tools_leave_the_same_bytes_as_on_the_host() {
    let mount = Mount::new();
    for script in [
        format!("{MKFS}; resize2fs disk 8M; e2fsck -fy disk; tune2fs -O ^has_journal disk; e2fsck -fn disk"),
        "truncate -s 8M disk; mkfs.vfat --invariant -i 12345678 disk; fsck.vfat -n disk".into(),
        "truncate -s 8M disk; echo 'label: gpt
label-id: 6a4ed1dc-0000-4000-8000-000000000005
start=2048, size=4096, uuid=6a4ed1dc-0000-4000-8000-000000000006
start=8192, size=4096, uuid=6a4ed1dc-0000-4000-8000-000000000007' | sfdisk disk; sfdisk --verify disk
         parted -s disk rm 1; parted -s disk name 2 other; sgdisk -t 2:8200 disk"
            .into(),
        // qemu-img's clusters may lie in any order: what is compared is what they hold.
        "truncate -s 8M raw; qemu-img convert -f raw -O qcow2 raw base
         qemu-img create -f qcow2 -b base -F qcow2 overlay
         qemu-io -c 'write -P 7 1M 100k' -c flush overlay
         qemu-img check overlay; qemu-img commit overlay; qemu-img convert -O raw overlay copy
         qemu-img compare base overlay; qemu-img convert -O raw base committed; rm base overlay"
            .into(),
        "dd if=/dev/zero of=plain bs=4k count=3 oflag=direct; cp -a plain copy; tar cf tar plain copy; rm plain
         mkdir -p a/b; mv copy a/b; ln -s b a/c; cp a/c/copy again; sync again"
            .into(),
    ] {
        let run = whole(&mount, &Volume::new(), &script);
        // The owner of a tar's members and the umask are the host's; both sides run as this user.
        let host = on_host(&Volume::new(), &script);
        let differ: Vec<_> = host
            .diff(&run.volume)
            .unwrap()
            .into_iter()
            .filter(|change| change.path != Path::new("tar") && !change.path.as_os_str().is_empty())
            .collect();
        assert!(differ.is_empty(), "{script}: {differ:#?}");
    }
}

#[test]
fn sqlite_commits_in_both_journal_modes() {
    let mount = Mount::new();
    for mode in ["delete", "wal"] {
        let script = format!(
            "sqlite3 db 'pragma journal_mode={mode}; create table t(x); insert into t values(1), (2);
                begin; insert into t select x + 2 from t; commit;' > out
             sqlite3 db 'select sum(x) from t; pragma integrity_check;' >> out"
        );
        let run = whole(&mount, &Volume::new(), &script);
        assert_eq!(String::from_utf8(bytes(&run.volume, "out")).unwrap(), format!("{mode}\n10\nok\n"));
        // The index of a write-ahead log lies in a shared mapping.
        assert_eq!(run.mapped, mode == "wal");
        assert!(run.log.flushes().count() > 3);
    }
}

#[test]
fn an_oracle_can_mount_and_repair_a_view() {
    let mount = Mount::new();
    let made = whole(&mount, &Volume::new(), MKFS).volume;
    mount.seam.load(Slot::View, made.clone());
    let output = sh("e2fsck -fn disk && debugfs -w -R 'mkdir x' disk && e2fsck -fn disk")
        .current_dir(mount.seam.path(Slot::View))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_ne!(mount.seam.take(Slot::View).content_id(), made.content_id());
}

#[test]
fn a_program_runs_from_the_seam() {
    let mount = Mount::new();
    let run = whole(
        &mount,
        &Volume::new(),
        "cp /bin/echo tool; ./tool hello > out; cp tool copy; ./copy there >> out",
    );
    assert_eq!(bytes(&run.volume, "out"), b"hello\nthere\n");
    assert!(!run.mapped);
}
