//! What a person, or a program, should know of an image's partition table.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use bytesize::ByteSize;
use serde::Serialize;

use crate::gpt::{Copy, Gpt, check};
use crate::layout;

/// Schema number of the JSON form.
const SCHEMA: u32 = 1;

/// The table of one image.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    schema: u32,
    image: String,
    len_bytes: u64,
    sector_bytes: u32,
    protective_mbr: bool,
    primary: CopyReport,
    backup: CopyReport,
    /// In words, the worst first; empty where the table is sound.
    pub problems: Vec<String>,
    #[serde(skip)]
    layout: Vec<String>,
}

/// One copy of the table.
#[derive(Clone, Debug, Serialize)]
struct CopyReport {
    lba: u64,
    valid: bool,
    faults: Vec<String>,
    header: Option<HeaderReport>,
    partitions: Vec<PartitionReport>,
}

/// A header's fields, as stored.
#[derive(Clone, Debug, Serialize)]
struct HeaderReport {
    own_lba: u64,
    alternate_lba: u64,
    first_usable_lba: u64,
    last_usable_lba: u64,
    disk_guid: String,
    array_lba: u64,
    entry_count: u32,
    entry_bytes: u32,
    array_crc: u32,
}

/// One used entry.
#[derive(Clone, Debug, Serialize)]
struct PartitionReport {
    index: u32,
    label: String,
    type_guid: String,
    unique_guid: String,
    attributes: u64,
    first_lba: u64,
    last_lba: u64,
}

/// Why an image can't be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It can't be read.
    #[error("`{image}` can't be read")]
    Read {
        /// Image.
        image: String,
        /// Why.
        source: io::Error,
    },
    /// It is a directory, a pipe or the like.
    #[error("`{image}` is neither a file nor a block device")]
    NotADisk {
        /// What was named.
        image: String,
    },
    /// Nothing says that it has, or had, a GPT.
    #[error("`{image}` holds no GPT: neither a header at either end nor a protective MBR")]
    NoGpt {
        /// Image.
        image: String,
    },
}

impl Inspection {
    /// Looks at an image.
    pub fn of(path: &Path) -> Result<Self, InspectError> {
        let image = path.display().to_string();
        let read = |source| InspectError::Read { image: image.clone(), source };
        // Looked at before it is opened: opening a pipe would wait for a writer.
        let kind = fs::metadata(path).map_err(read)?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(InspectError::NotADisk { image });
        }
        let gpt = File::open(path).and_then(|file| Gpt::read(&file)).map_err(read)?;
        if !gpt.is_present() {
            return Err(InspectError::NoGpt { image });
        }
        Ok(Self {
            schema: SCHEMA,
            image,
            len_bytes: gpt.len_bytes,
            sector_bytes: gpt.sector_bytes,
            protective_mbr: gpt.protective_mbr.is_some(),
            primary: CopyReport::of(&gpt.primary),
            backup: CopyReport::of(&gpt.backup),
            problems: check::problems(&gpt),
            layout: layout::of_table(&gpt),
        })
    }

    /// For a person.
    pub fn text(&self) -> String {
        let verdict = match self.problems.len() {
            0 => "the table is sound: both copies are valid and agree".to_owned(),
            1 => "1 problem".to_owned(),
            n => format!("{n} problems"),
        };
        let copy = |name: &str, copy: &CopyReport| {
            let state = if copy.valid { "valid" } else { "not valid" };
            let guid =
                copy.header.as_ref().map_or(String::new(), |header| format!(", disk {}", header.disk_guid));
            format!("{name:<9}LBA {}, {state}, {} partitions{guid}\n", copy.lba, copy.partitions.len())
        };
        let (len, sector) = (ByteSize(self.len_bytes), self.sector_bytes);
        let mut text =
            format!("{}: {verdict}\n\n{:<9}{len}, sectors of {sector} bytes\n", self.image, "Disk");
        text.push_str(&copy("Primary", &self.primary));
        text.push_str(&copy("Backup", &self.backup));
        text.push('\n');
        for line in &self.layout {
            text.push_str(&format!("{line}\n"));
        }
        if !self.problems.is_empty() {
            text.push('\n');
        }
        for problem in &self.problems {
            text.push_str(&format!("problem: {problem}\n"));
        }
        text
    }
}

impl CopyReport {
    fn of(copy: &Copy) -> Self {
        let header = copy.header.as_ref().map(|header| HeaderReport {
            own_lba: header.own_lba,
            alternate_lba: header.alternate_lba,
            first_usable_lba: header.first_usable_lba,
            last_usable_lba: header.last_usable_lba,
            disk_guid: header.disk_guid.to_string(),
            array_lba: header.array_lba,
            entry_count: header.entry_count,
            entry_bytes: header.entry_bytes,
            array_crc: header.array_crc,
        });
        let partitions = copy.partitions.iter().map(|partition| PartitionReport {
            index: partition.index,
            label: partition.label.clone(),
            type_guid: partition.type_guid.to_string(),
            unique_guid: partition.unique_guid.to_string(),
            attributes: partition.attributes,
            first_lba: partition.first_lba,
            last_lba: partition.last_lba,
        });
        Self {
            lba: copy.lba,
            valid: copy.is_valid(),
            faults: copy.faults.iter().map(ToString::to_string).collect(),
            header,
            partitions: partitions.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is named, the answer comes, and is one that a person can use.
    #[test]
    fn what_is_no_image_is_an_error_that_says_so() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        for (name, bytes) in [("empty", &b""[..]), ("tiny", b"EFI PART"), ("zeros", &[0; 100_000])] {
            fs::write(at(name), bytes).expect("write");
        }
        for (name, error) in [
            ("missing", "can't be read"),
            ("", "is neither a file nor a block device"),
            ("pipe", "is neither a file nor a block device"),
            ("empty", "holds no GPT"),
            ("tiny", "holds no GPT"),
            ("zeros", "holds no GPT"),
        ] {
            let found = Inspection::of(&at(name)).expect_err(name).to_string();
            assert!(found.contains(error), "{name}: {found}");
        }
    }

    /// A header without anything that it speaks of is a problem, and no error.
    #[test]
    fn what_is_left_of_a_table_is_inspected() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let mut bytes = vec![0; 64 << 10];
        bytes[512..520].copy_from_slice(b"EFI PART");
        fs::write(file.path(), bytes).expect("write");
        let inspection = Inspection::of(file.path()).expect("a table, or what is left of one");
        assert_eq!(inspection.problems[0], "no GPT copy is valid");
        assert!(inspection.text().contains("problem: "));
    }
}
