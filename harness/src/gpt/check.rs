//! What is wrong with a table, in words: broken copies, copies that disagree, and entries that no tool means.

use super::{Copy, Gpt};

/// Everything that is wrong with a disk's table, the worst first; nothing where it is sound.
pub fn problems(gpt: &Gpt) -> Vec<String> {
    let mut found = Vec::new();
    if gpt.best().is_none() {
        found.push("no GPT copy is valid".to_owned());
    }
    found.extend(faults(gpt));
    found.extend(gpt.disagreements());
    found.extend(gpt.best().into_iter().flat_map(impossible_entries));
    let last_lba = (gpt.len_bytes / u64::from(gpt.sector_bytes)).saturating_sub(1);
    if gpt.backup.is_valid() && gpt.backup.lba != last_lba {
        found.push(format!(
            "the backup copy is at LBA {}, not at the disk's last, {last_lba}",
            gpt.backup.lba
        ));
    }
    if !gpt.protective_mbr {
        found.push("there is no protective MBR".to_owned());
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

/// Entries of a valid copy that no partitioning tool means: outside the usable range, overlapping, or with one GUID.
pub fn impossible_entries(copy: &Copy) -> Vec<String> {
    let mut found = Vec::new();
    let Some(header) = &copy.header else { return found };
    let named = |index: u32, label: &str| format!("entry {index} (`{label}`)");
    let mut partitions: Vec<_> = copy.partitions.iter().collect();
    for p in &partitions {
        let name = named(p.index, &p.label);
        if p.last_lba < p.first_lba {
            found.push(format!("{name} ends at LBA {} before it starts at {}", p.last_lba, p.first_lba));
        } else if p.first_lba < header.first_usable_lba || p.last_lba > header.last_usable_lba {
            found.push(format!(
                "{name} takes LBA {}–{}, outside the usable {}–{}",
                p.first_lba, p.last_lba, header.first_usable_lba, header.last_usable_lba
            ));
        }
    }
    partitions.sort_by_key(|p| p.first_lba);
    for pair in partitions.windows(2).filter(|pair| pair[1].first_lba <= pair[0].last_lba) {
        let (a, b) = (pair[0], pair[1]);
        found.push(format!("{} overlaps {}", named(a.index, &a.label), named(b.index, &b.label)));
    }
    partitions.sort_by_key(|p| p.unique_guid);
    for pair in partitions.windows(2).filter(|pair| pair[0].unique_guid == pair[1].unique_guid) {
        let (a, b) = (pair[0], pair[1]);
        let (a_name, b_name) = (named(a.index, &a.label), named(b.index, &b.label));
        found.push(format!("{a_name} and {b_name} have one GUID, {}", a.unique_guid));
    }
    found
}
