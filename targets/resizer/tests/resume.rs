//! Goal: the program, killed at any of its steps and run again, ends in the bytes of an uninterrupted run, with
//! real file systems, in both number modes; and a finished command changes nothing.
//!
//! Method: the built program is killed with SIGKILL when it announces a step, on a disk with FAT32, raw content
//! and an ext4 that is shrunk to make room. Free space is compared no further: it belongs to nobody.

mod common;

use common::program::{Image, STEPS};
use common::{filesystems, oracle};

const COMMAND: [&str; 8] = [
    "--grow-partition",
    "label:P3:24M",
    "--grow-partition",
    "label:EFI System:40M",
    "--grow-partition",
    "label:IMGA:5M",
    "--grow-partition",
    "label:IMGB:6M",
];

fn command(preserve_numbers: bool) -> Vec<&'static str> {
    let mut command = COMMAND.to_vec();
    command.extend(preserve_numbers.then_some("--preserve-numbers"));
    command
}

fn step_marks(stdout: &str) -> Vec<&str> {
    stdout.lines().filter_map(|line| line.strip_prefix("step: ")).collect()
}

#[test]
fn a_run_killed_at_any_step_resumes_to_the_same_bytes() {
    for preserve_numbers in [true, false] {
        let command = command(preserve_numbers);
        let whole = Image::new(&filesystems::mixed());
        assert_eq!(step_marks(&whole.run_ok(&command).stdout), STEPS);
        let wanted = oracle::owned(&whole.bytes(), 512);
        for step in STEPS {
            for wipe_scratch in [false, true] {
                let image = Image::new(&filesystems::mixed());
                image.kill_at(step, &command);
                if wipe_scratch {
                    std::fs::remove_dir_all(image.scratch()).unwrap();
                    std::fs::create_dir(image.scratch()).unwrap();
                }
                assert_eq!(
                    step_marks(&image.run_ok(&command).stdout),
                    STEPS,
                    "all steps are announced again"
                );
                assert!(oracle::owned(&image.bytes(), 512) == wanted, "killed at {step}");
                let left = std::fs::read_dir(image.scratch()).unwrap().count();
                assert_eq!(left, 0, "scratch files are left after a kill at {step}");
            }
        }
    }
}

#[test]
fn the_result_has_the_originals_identity_and_content() {
    for (preserve_numbers, indices) in [(true, [1, 2, 3, 4, 9]), (false, [5, 6, 7, 4, 9])] {
        let image = Image::new(&filesystems::mixed());
        let before = oracle::agreed(&image.bytes(), 512);
        image.run_ok(&command(preserve_numbers));
        let disk = image.bytes();
        let after = oracle::agreed(&disk, 512);
        let lengths = [40, 5, 6, 1, 24];
        assert_eq!(after.len(), 5);
        for (((old_index, old), index), len_mib) in before.iter().zip(indices).zip(lengths) {
            let new = &after[&index];
            assert_eq!(
                (&new.name, new.guid, new.type_guid, new.attributes),
                (&old.name, old.guid, old.type_guid, old.attributes)
            );
            assert_eq!(new.last - new.first + 1, len_mib * 2048);
            assert_eq!(new.first % 2048, 0);
            let content = oracle::content(&disk, 512, new);
            match old_index {
                1 => filesystems::assert_fat_sound(content),
                9 => filesystems::assert_ext4_whole(content),
                _ => {
                    let original = filesystems::mixed();
                    let source = oracle::content(&original, 512, old);
                    assert!(content[..source.len()] == *source, "partition {old_index} is copied");
                    assert!(content[source.len()..].iter().all(|byte| *byte == 0), "the rest is zeros");
                }
            }
        }
    }
}

#[test]
fn a_finished_command_changes_nothing() {
    for preserve_numbers in [true, false] {
        let image = Image::new(&filesystems::mixed());
        image.run_ok(&command(preserve_numbers));
        let finished = image.bytes();
        let modified = image.path().metadata().unwrap().modified().unwrap();
        image.run_ok(&command(preserve_numbers));
        assert!(image.bytes() == finished);
        assert_eq!(image.path().metadata().unwrap().modified().unwrap(), modified, "it was not even written");
    }
}

#[test]
fn an_ext4_partition_grows_by_relocation() {
    let image = Image::new(&filesystems::mixed());
    image.run_ok(&["--grow-partition", "label:P3:24M"]);
    image.run_ok(&["--grow-partition", "label:P3:50M", "--preserve-numbers"]);
    let disk = image.bytes();
    filesystems::assert_ext4_whole(oracle::content(&disk, 512, &oracle::agreed(&disk, 512)[&9]));
}
