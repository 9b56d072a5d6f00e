//! Commands that show a person what is in a folder of files: chosen by what the files hold, ready to be pasted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::gpt::Gpt;
use crate::image;

/// Commands that are given at most.
const MAX_COMMANDS: usize = 12;
/// Bytes from which a file or partition is told.
const HEAD_BYTES: usize = 2048;
/// Where an ext4's magic number is: the superblock begins at 1024, and it is 56 bytes in (ext4 disk layout).
const EXT4_MAGIC_AT: usize = 1024 + 56;
const EXT4_MAGIC: [u8; 2] = [0x53, 0xef];

/// What a file or partition holds, as far as somebody has a checker for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Ext4,
    Fat,
    Squashfs,
    Qcow2,
    Sqlite,
}

impl Holds {
    fn of(head: &[u8]) -> Option<Self> {
        let begins = |magic: &[u8]| head.starts_with(magic);
        let has = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
        if has(EXT4_MAGIC_AT, &EXT4_MAGIC) {
            return Some(Self::Ext4);
        }
        // The type's name in a FAT's boot sector, which is at another place in a FAT32.
        if has(510, &[0x55, 0xaa]) && (has(54, b"FAT") || has(82, b"FAT32")) {
            return Some(Self::Fat);
        }
        if begins(b"hsqs") {
            return Some(Self::Squashfs);
        }
        if begins(b"QFI\xfb") {
            return Some(Self::Qcow2);
        }
        begins(b"SQLite format 3\0").then_some(Self::Sqlite)
    }

    /// The command for a whole file.
    fn command(self, file: &str) -> String {
        match self {
            Self::Ext4 => format!("e2fsck -fn {file}"),
            Self::Fat => format!("fsck.fat -n {file}"),
            Self::Squashfs => format!("unsquashfs -s {file}"),
            Self::Qcow2 => format!("qemu-img check {file}"),
            Self::Sqlite => format!("sqlite3 {file} 'PRAGMA integrity_check'"),
        }
    }

    /// The command for a partition that begins at this byte.
    fn command_at(self, path: &Path, offset: u64) -> Option<String> {
        match self {
            Self::Ext4 => {
                Some(format!("e2fsck -fn {}", quoted(&format!("{}?offset={offset}", path.display()))))
            }
            Self::Fat => Some(format!("mdir -i {} ::", quoted(&format!("{}@@{offset}", path.display())))),
            Self::Squashfs => {
                Some(format!("unsquashfs -s -offset {offset} {}", quoted(&path.to_string_lossy())))
            }
            Self::Qcow2 | Self::Sqlite => None,
        }
    }
}

/// Commands for the files below a folder. What can't be read has none.
pub(super) fn commands(folder: &Path) -> Vec<String> {
    let mut commands = Vec::new();
    for file in image::files(folder).unwrap_or_default() {
        if commands.len() >= MAX_COMMANDS {
            break;
        }
        commands.extend(of_file(&folder.join(file)).unwrap_or_default());
    }
    commands.truncate(MAX_COMMANDS);
    if commands.is_empty() {
        commands.push(format!("ls -lR {}", quoted(&folder.to_string_lossy())));
    }
    commands
}

fn of_file(path: &Path) -> io::Result<Vec<String>> {
    let file = File::open(path)?;
    let name = quoted(&path.to_string_lossy());
    if let Some(holds) = Holds::of(&head(&file, 0)?) {
        return Ok(vec![holds.command(&name)]);
    }
    let gpt = Gpt::read(&file)?;
    if !gpt.is_present() {
        return Ok(Vec::new());
    }
    let mut commands = vec![format!("killpoint inspect {name}"), format!("sgdisk -v {name}")];
    for partition in gpt.partitions() {
        let offset = partition.first_lba.saturating_mul(u64::from(gpt.sector_bytes));
        let holds = Holds::of(&head(&file, offset)?);
        commands.extend(holds.and_then(|holds| holds.command_at(path, offset)));
    }
    Ok(commands)
}

/// The first bytes at an offset; fewer at the end.
fn head(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEAD_BYTES];
    let read = file.read_at(&mut bytes, offset)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// A word as a POSIX shell reads it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:@%,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row is where which bytes are, and the checker that they lead to.
    #[test]
    fn a_checker_fits_what_a_file_holds() {
        type Parts<'a> = &'a [(usize, &'a [u8])];
        let rows: [(Parts<'_>, &str); 6] = [
            (&[(1080, &[0x53, 0xef])], "e2fsck -fn"),
            (&[(82, b"FAT32"), (510, &[0x55, 0xaa])], "fsck.fat -n"),
            (&[(54, b"FAT16"), (510, &[0x55, 0xaa])], "fsck.fat -n"),
            (&[(0, b"hsqs")], "unsquashfs -s"),
            (&[(0, b"QFI\xfb")], "qemu-img check"),
            (&[(0, b"SQLite format 3\0")], "sqlite3"),
        ];
        for (parts, checker) in rows {
            let folder = tempfile::tempdir().unwrap();
            let mut bytes = vec![0; 4096];
            for (at, part) in parts {
                bytes[*at..*at + part.len()].copy_from_slice(part);
            }
            std::fs::write(folder.path().join("it's"), bytes).unwrap();
            let [command] = commands(folder.path()).try_into().unwrap();
            assert!(command.starts_with(checker), "{command}");
            assert!(command.contains(r"/it'\''s'"), "{command}");
        }
    }

    #[test]
    fn a_folder_of_nothing_known_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("short"), "x").unwrap();
        assert_eq!(commands(folder.path()), [format!("ls -lR {}", folder.path().display())]);
    }
}
