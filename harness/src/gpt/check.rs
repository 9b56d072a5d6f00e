//! What is wrong with a table, in words: broken copies, copies that disagree, and entries that no tool means.

use std::ops::Range;

use super::{Copy, Gpt};

/// Everything that is wrong with a disk's table, the worst first; nothing where it is sound.
pub fn problems(gpt: &Gpt) -> Vec<String> {
    let mut found = Vec::new();
    if gpt.best().is_none() {
        found.push("no GPT copy is valid".to_owned());
    }
    found.extend(faults(gpt));
    found.extend(gpt.disagreements());
    found.extend(impossible_entries(gpt));
    let last_lba = last_lba(gpt);
    if gpt.backup.is_valid() && gpt.backup.lba != last_lba {
        found.push(format!(
            "the backup copy is at LBA {}, not at the disk's last, {last_lba}",
            gpt.backup.lba
        ));
    }
    found.extend(usable_over_table(gpt));
    found.extend(protective_mbr(gpt));
    found
}

/// A usable range that reaches into the table, in which a tool may put a partition.
fn usable_over_table(gpt: &Gpt) -> Vec<String> {
    let Some(copy) = gpt.best() else { return Vec::new() };
    let usable = copy.usable_bytes();
    let touched =
        structures(gpt).into_iter().filter(|(_, at)| usable.start < at.end && at.start < usable.end);
    touched.map(|(what, _)| format!("the usable range reaches into {what}")).collect()
}

/// What is wrong with sector 0.
fn protective_mbr(gpt: &Gpt) -> Vec<String> {
    let Some(mbr) = gpt.protective_mbr else { return vec!["there is no protective MBR".to_owned()] };
    let mut found = Vec::new();
    if mbr.first_lba != 1 {
        found.push(format!("the protective partition of the MBR begins at LBA {}, not 1", mbr.first_lba));
    }
    if mbr.blocks != u32::MAX && u64::from(mbr.blocks) != last_lba(gpt).min(u64::from(u32::MAX)) {
        let (blocks, wanted) = (mbr.blocks, last_lba(gpt));
        found.push(format!("the protective partition of the MBR covers {blocks} sectors, not {wanted}"));
    }
    if mbr.others > 0 {
        let partitions = if mbr.others == 1 { "partition" } else { "partitions" };
        found.push(format!(
            "the MBR is a hybrid: it lists {} {partitions} besides the protective one",
            mbr.others
        ));
    }
    found
}

/// What is wrong with each copy by itself.
pub fn faults(gpt: &Gpt) -> Vec<String> {
    let of = |copy: &Copy| {
        let (side, lba) = (copy.side, copy.lba);
        copy.faults.iter().map(|fault| format!("{side} (LBA {lba}): {fault}")).collect::<Vec<_>>()
    };
    [of(&gpt.primary), of(&gpt.backup)].concat()
}

/// Entries of the best copy that no partitioning tool means: outside the usable range or the disk, over the tables
/// themselves, overlapping, or with one GUID.
pub fn impossible_entries(gpt: &Gpt) -> Vec<String> {
    let mut found = Vec::new();
    let Some(copy) = gpt.best() else { return found };
    let Some(header) = &copy.header else { return found };
    let named = |index: u32, label: &str| format!("entry {index} (`{label}`)");
    let mut partitions: Vec<_> = copy.partitions.iter().collect();
    for p in &partitions {
        let name = named(p.index, &p.label);
        if p.last_lba < p.first_lba {
            found.push(format!("{name} ends at LBA {} before it starts at {}", p.last_lba, p.first_lba));
            continue;
        }
        if p.first_lba < header.first_usable_lba || p.last_lba > header.last_usable_lba {
            found.push(format!(
                "{name} takes LBA {}–{}, outside the usable {}–{}",
                p.first_lba, p.last_lba, header.first_usable_lba, header.last_usable_lba
            ));
        }
        if p.extent.end > gpt.len_bytes {
            found.push(format!(
                "{name} ends at LBA {}, beyond the disk's last, {}",
                p.last_lba,
                last_lba(gpt)
            ));
        }
        let over =
            structures(gpt).into_iter().filter(|(_, at)| p.extent.start < at.end && at.start < p.extent.end);
        found.extend(over.map(|(what, _)| format!("{name} lies over {what}")));
    }
    partitions.sort_by_key(|p| p.first_lba);
    // Beside the one before, each is held against the one that reaches farthest: it may hold several others.
    let mut farthest = partitions.first().copied();
    for p in partitions.iter().skip(1).filter(|p| p.first_lba <= p.last_lba) {
        if let Some(reaching) = farthest.filter(|reaching| p.first_lba <= reaching.last_lba) {
            found.push(format!(
                "{} overlaps {}",
                named(reaching.index, &reaching.label),
                named(p.index, &p.label)
            ));
        }
        if farthest.is_none_or(|reaching| p.last_lba > reaching.last_lba) {
            farthest = Some(p);
        }
    }
    partitions.sort_by_key(|p| p.unique_guid);
    for pair in partitions.windows(2).filter(|pair| pair[0].unique_guid == pair[1].unique_guid) {
        let (a, b) = (pair[0], pair[1]);
        let (a_name, b_name) = (named(a.index, &a.label), named(b.index, &b.label));
        found.push(format!("{a_name} and {b_name} have one GUID, {}", a.unique_guid));
    }
    found
}

/// The bytes that the table itself takes: sector 0, and the header and array of each copy that says where they are.
fn structures(gpt: &Gpt) -> Vec<(String, Range<u64>)> {
    let sector = u64::from(gpt.sector_bytes);
    let mut found = vec![("the protective MBR".to_owned(), 0..sector)];
    for copy in [&gpt.primary, &gpt.backup].into_iter().filter(|copy| copy.header_is_good()) {
        let start = copy.lba.saturating_mul(sector);
        found.push((format!("the {} GPT header", copy.side), start..start.saturating_add(sector)));
        found.extend(copy.array_extent().map(|array| (format!("the {} GPT array", copy.side), array)));
    }
    found
}

fn last_lba(gpt: &Gpt) -> u64 {
    (gpt.len_bytes / u64::from(gpt.sector_bytes)).saturating_sub(1)
}
