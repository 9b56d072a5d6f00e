//! Goal: an explanation names the structure that a byte belongs to, on a disk with a table and file systems that others
//! made, and no damage makes it fail. Method: bytes are changed at places that the makers' own tools (debugfs) or the
//! formats' arithmetic say, and the explanation is asked where they are. Cases that need a program which is missing are
//! reported as ignored, by name.

mod damage;
mod disk;
mod files;
mod places;
mod power;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    const DISK: &[&str] = &["mke2fs", "debugfs", "e2fsck"];
    const RESIZER: &[&str] = &["mke2fs", "debugfs", "e2fsck", "resize2fs"];
    let mut trials = vec![
        trial("places::each_byte_of_a_disk_is_named_by_its_structure", DISK, places::are_named),
        trial("places::a_file_system_is_named_without_a_table", DISK, places::without_a_table),
        trial("files::of_ext4_are_told_by_path", DISK, files::of_ext4_are_told_by_path),
        trial("files::of_fat_are_told_by_path", DISK, files::of_fat_are_told_by_path),
        trial("files::that_are_as_wanted_are_not_told", DISK, files::that_are_as_wanted_are_not_told),
        trial("damage::any_damage_is_explained_and_counted", DISK, damage::is_explained),
    ];
    for bug in power::BUGS {
        let name = format!("power::{}_is_explained_by_table_and_step", bug.name);
        trials.push(trial(&name, RESIZER, move || power::is_explained(bug)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A case that needs programs.
fn trial(
    name: &str,
    programs: &'static [&'static str],
    test: impl Fn() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        let missing: Vec<_> =
            programs.iter().filter(|name| scenarios::programs::find(name).is_none()).collect();
        if !missing.is_empty() {
            return Ok(Completion::ignored_with(format!("not installed: {missing:?}")));
        }
        test().map(|()| Completion::Completed)
    })
}
