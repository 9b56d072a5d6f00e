//! What a difference means for the files of a file system, told by path. A file is changed, removed or added, by debugfs or
//! byte by byte, and the story has to begin with it.

use std::path::Path;
use std::process::Command;

use fault_backend::{Image, Volume};
use killpoint::explain::Explanation;
use libtest_mimic::Failed;

use super::disk::{Disk, disk, explained, inverted, part};
use super::places::{blocks, some_file};

const BLOCK: u64 = 1024;

/// The disk after a command that debugfs carries out on its ext4.
fn edited(disk: &Disk, command: &str) -> Result<Image, Failed> {
    let folder = tempfile::TempDir::new()?;
    let copy = folder.path().join("disk.img");
    std::fs::copy(disk.file(), &copy)?;
    let source = format!("{}?offset={}", copy.display(), disk.start_of("DATA"));
    let program = scenarios::programs::find("debugfs").ok_or("debugfs")?;
    let output = Command::new(program).args(["-w", "-R", command, &source]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let state = Volume::import(folder.path())?;
    Ok(state.file(Path::new("disk.img")).ok_or("the disk")?.clone())
}

fn begins_with(explanation: &Explanation, expected: &str) -> Result<(), Failed> {
    let core = explanation.core();
    match core.starts_with(expected) {
        true => Ok(()),
        false => Err(format!("expected `{expected}` first, got `{core}`").into()),
    }
}

pub fn of_ext4_are_told_by_path() -> Result<(), Failed> {
    let disk = disk();
    let (path, _) = some_file(disk);
    let on_disk = "`disk.img`, partition `DATA` (index 9): ext4 ";
    let start = disk.start_of("DATA");
    let first = start + blocks(disk, &path)[0] * BLOCK;
    let magic = start + 1024 + 56;
    // The table of inodes of group 0 is then said to begin elsewhere.
    let descriptor = start + 2048 + 9;
    let removed = edited(disk, &format!("rm {path}"))?;
    let unlinked = edited(disk, &format!("unlink {path}"))?;
    for (wanted, found, expected) in [
        (
            &disk.image,
            &inverted(&disk.image, first),
            format!("in which 1 file holds something else (`{path}`);"),
        ),
        (&disk.image, &removed, format!("in which 1 file is missing (`{path}`);")),
        (&unlinked, &disk.image, "in which 1 file should not be there;".to_owned()),
        (
            &disk.image,
            &inverted(&disk.image, magic),
            "can't be read any more (nothing there looks like one);".to_owned(),
        ),
        (&disk.image, &inverted(&disk.image, descriptor), "can't be read any more (".to_owned()),
    ] {
        begins_with(&explained(wanted, found), &format!("{on_disk}{expected}"))?;
    }
    let alone = |image: &Image| part(image, start, 12 << 20);
    let changed = inverted(&disk.image, first);
    let expected = format!("`disk.img`: ext4 in which 1 file holds something else (`{path}`);");
    begins_with(&explained(&alone(&disk.image), &alone(&changed)), &expected)
}

pub fn of_fat_are_told_by_path() -> Result<(), Failed> {
    let disk = disk();
    let start = disk.start_of("BOOT");
    // A byte of the first file's data; the explanation of which is tested elsewhere by the format's arithmetic.
    let places = (start..start + (5 << 20))
        .step_by(512)
        .map(|offset| explained(&disk.image, &inverted(&disk.image, offset)));
    let data = places.into_iter().find(|explanation| explanation.core().contains("data of FAT file /IO.SYS"));
    let expected =
        "`disk.img`, partition `BOOT` (index 1): FAT in which 1 file holds something else (`/IO.SYS`);";
    begins_with(&data.ok_or("a sector of the file")?, expected)
}

/// Where no file is other than wanted, nothing is said of files.
pub fn that_are_as_wanted_are_not_told() -> Result<(), Failed> {
    let disk = disk();
    let free = disk.debugfs("ffb");
    let block: u64 =
        free.rsplit(':').next().and_then(|number| number.trim().parse().ok()).ok_or("a free block")?;
    let explanation = explained(&disk.image, &inverted(&disk.image, disk.start_of("DATA") + block * BLOCK));
    match explanation.files.as_slice() {
        [] => Ok(()),
        files => Err(format!("free space is no file: {files:?}").into()),
    }
}
