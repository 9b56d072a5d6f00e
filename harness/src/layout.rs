//! The partition table of an image as a person wants to see it: sorted by start, with the gaps.

use std::fs::File;
use std::path::Path;

use bytesize::ByteSize;

use crate::gpt::Gpt;
use crate::image;

/// The table of a volume's disk images, a line per partition and gap; a line that says so where there is none.
pub fn of_volume(volume: &Path) -> Vec<String> {
    let files = match image::files(volume) {
        Ok(files) => files,
        Err(error) => return vec![format!("the volume can't be read: {error}")],
    };
    files
        .iter()
        .flat_map(|name| match File::open(volume.join(name)).and_then(|file| Gpt::read(&file)) {
            Ok(gpt) => of_table(&gpt),
            Err(error) => vec![format!("`{}` can't be read: {error}", name.display())],
        })
        .collect()
}

/// The table of one image.
pub fn of_table(gpt: &Gpt) -> Vec<String> {
    let Some(copy) = gpt.best() else { return vec!["no valid GPT copy".to_owned()] };
    let usable = copy.usable_bytes();
    let mut partitions = gpt.partitions();
    partitions.sort_by_key(|partition| partition.extent.start);
    let mut lines = Vec::new();
    let mut next = usable.start;
    for partition in partitions {
        push_gap(&mut lines, next, partition.extent.start);
        lines.push(line(
            &partition.index.to_string(),
            partition.extent.start,
            partition.extent.end,
            &partition.label,
        ));
        next = next.max(partition.extent.end);
    }
    push_gap(&mut lines, next, usable.end);
    lines
}

fn push_gap(lines: &mut Vec<String>, start: u64, end: u64) {
    if start < end {
        lines.push(line("-", start, end, "(free)"));
    }
}

fn line(index: &str, start: u64, end: u64, label: &str) -> String {
    format!("{index:>4}  {start:>13}  {:>10}  {label}", ByteSize(end - start).to_string())
}
