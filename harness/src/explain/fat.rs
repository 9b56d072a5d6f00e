//! The chart of a FAT12, FAT16 or FAT32: boot sectors, FSInfo, table entries, directory entries, and of every cluster the
//! file that owns it. Unlike the oracle's reader it goes on where a chain or directory is broken: what follows is then
//! not charted.

use std::collections::HashSet;
use std::ops::Range;

use super::fields::{Form, Spec};
use super::file_system::Part;
use super::piece::{Extents, Piece};
use super::place::Structure;
use crate::content::fat::{BootSector, LongName, short_name};

/// Clusters of all chains together that are followed.
const MAX_CLUSTERS: usize = 1 << 20;
/// Directories that are read.
const MAX_DIRECTORIES: usize = 1 << 14;
const ENTRY_BYTES: u64 = 32;

/// The boot sector's fields that FAT12, FAT16 and FAT32 share, then those of FAT32.
const BOOT_32: [Spec; 24] = [
    ("jump", 0..3, Form::Raw),
    ("OEM name", 3..11, Form::Text),
    ("bytes per sector", 11..13, Form::Le),
    ("sectors per cluster", 13..14, Form::Le),
    ("reserved sectors", 14..16, Form::Le),
    ("number of FATs", 16..17, Form::Le),
    ("root entries", 17..19, Form::Le),
    ("sectors (16 bits)", 19..21, Form::Le),
    ("media", 21..22, Form::LeHex),
    ("sectors per FAT (16 bits)", 22..24, Form::Le),
    ("sectors per track, heads", 24..28, Form::Raw),
    ("hidden sectors", 28..32, Form::Le),
    ("sectors", 32..36, Form::Le),
    ("sectors per FAT", 36..40, Form::Le),
    ("flags", 40..42, Form::LeHex),
    ("version", 42..44, Form::LeHex),
    ("root cluster", 44..48, Form::Le),
    ("FSInfo sector", 48..50, Form::Le),
    ("backup boot sector", 50..52, Form::Le),
    ("drive and signature", 52..67, Form::Raw),
    ("volume ID", 67..71, Form::LeHex),
    ("volume label", 71..82, Form::Text),
    ("boot code", 82..510, Form::Raw),
    ("signature", 510..512, Form::LeHex),
];

/// The same for FAT12 and FAT16.
const BOOT_16: [Spec; 18] = [
    ("jump", 0..3, Form::Raw),
    ("OEM name", 3..11, Form::Text),
    ("bytes per sector", 11..13, Form::Le),
    ("sectors per cluster", 13..14, Form::Le),
    ("reserved sectors", 14..16, Form::Le),
    ("number of FATs", 16..17, Form::Le),
    ("root entries", 17..19, Form::Le),
    ("sectors (16 bits)", 19..21, Form::Le),
    ("media", 21..22, Form::LeHex),
    ("sectors per FAT", 22..24, Form::Le),
    ("sectors per track, heads", 24..28, Form::Raw),
    ("hidden sectors", 28..32, Form::Le),
    ("sectors", 32..36, Form::Le),
    ("drive and signature", 36..39, Form::Raw),
    ("volume ID", 39..43, Form::LeHex),
    ("volume label", 43..54, Form::Text),
    ("boot code", 54..510, Form::Raw),
    ("signature", 510..512, Form::LeHex),
];

const INFO: [Spec; 3] = [
    ("free clusters", 488..492, Form::Le),
    ("next free cluster", 492..496, Form::Le),
    ("signatures", 0..488, Form::Raw),
];

const TABLE_ENTRY: [Spec; 1] = [("next cluster", 0..4, Form::LeHex)];

const DIRECTORY_ENTRY: [Spec; 7] = [
    ("name", 0..11, Form::Text),
    ("attributes", 11..12, Form::LeHex),
    ("case, creation and access times", 12..20, Form::Raw),
    ("first cluster, high", 20..22, Form::Le),
    ("modification time", 22..26, Form::Raw),
    ("first cluster", 26..28, Form::Le),
    ("size", 28..32, Form::Le),
];

/// Who owns a stretch of clusters.
#[derive(Debug)]
struct Owner {
    path: String,
    directory: bool,
    /// Offset in the file of the stretch's first byte.
    offset: u64,
}

/// A FAT's structures by byte.
#[derive(Debug)]
pub struct FatChart {
    boot: BootSector,
    /// First bytes of FSInfo, backup boot sector and backup FSInfo, as far as there are any.
    special: [Option<u64>; 3],
    /// By byte.
    owners: Extents<Owner>,
}

impl FatChart {
    /// Reads the file system that begins where the part does; none where the boot sector is none.
    pub fn read(part: Part<'_>) -> Option<Self> {
        let raw = part.read(0, 512)?;
        let boot = BootSector::parse(&raw).ok().filter(|boot| boot.data_start < part.len_bytes())?;
        let sector_at = |at: usize| {
            let sector = u64::from(u16::from_le_bytes([raw[at], raw[at + 1]]));
            let start = sector * boot.sector_bytes;
            (boot.bits == 32 && sector != 0 && start < boot.fat_start).then_some(start)
        };
        let (info, backup) = (sector_at(48), sector_at(50));
        let backup_info =
            backup.map(|start| start + boot.sector_bytes).filter(|start| *start < boot.fat_start);
        let special = [info, backup, backup_info];
        let entries = (u64::from(boot.clusters) + 2) * u64::from(boot.bits).div_ceil(8);
        let table = part.read(boot.fat_start, entries.min(boot.fat_bytes)).unwrap_or_default();
        let mut walk = Walk { part, boot: &boot, table, owners: Vec::new(), seen: HashSet::new() };
        walk.run();
        let owners = Extents::new(walk.owners);
        Some(Self { boot, special, owners })
    }

    /// The piece with an offset.
    pub fn at(&self, offset: u64) -> Piece {
        let boot = &self.boot;
        if offset < boot.fat_start {
            return self.reserved(offset);
        }
        if offset < boot.root_start {
            return self.table_entry(offset);
        }
        if offset < boot.data_start {
            return directory_entry("/", boot.root_start, offset);
        }
        match self.owners.at(offset, boot.total_bytes) {
            Ok((range, owner)) if owner.directory => {
                let entry = directory_entry(&owner.path, range.start - owner.offset, offset);
                Piece { range: entry.range.start.max(range.start)..entry.range.end.min(range.end), ..entry }
            }
            Ok((range, owner)) => {
                let structure = Structure::FatData { path: owner.path.clone(), offset: owner.offset };
                Piece::new(range, structure)
            }
            Err(free) => {
                let cluster = 2 + (offset - boot.data_start) / boot.cluster_bytes;
                let cluster = u32::try_from(cluster).unwrap_or(u32::MAX);
                Piece::new(free.start.max(boot.data_start)..free.end, Structure::FatFree { cluster })
            }
        }
    }

    fn reserved(&self, offset: u64) -> Piece {
        let sector = self.boot.sector_bytes;
        let start = offset - offset % sector;
        let range = start..start + sector;
        let boot_fields: &[Spec] = if self.boot.bits == 32 { &BOOT_32 } else { &BOOT_16 };
        let [info, backup, backup_info] = self.special;
        match Some(start) {
            Some(0) => Piece::with(range, Structure::FatBootSector { backup: false }, boot_fields),
            at if at == backup => Piece::with(range, Structure::FatBootSector { backup: true }, boot_fields),
            at if at == info => Piece::with(range, Structure::FatInfo { backup: false }, &INFO),
            at if at == backup_info => Piece::with(range, Structure::FatInfo { backup: true }, &INFO),
            _ => Piece::new(range, Structure::FatReserved { offset: start }),
        }
    }

    fn table_entry(&self, offset: u64) -> Piece {
        let boot = &self.boot;
        let table = (offset - boot.fat_start) / boot.fat_bytes;
        let start = boot.fat_start + table * boot.fat_bytes;
        // Of FAT12, in which entries share bytes, a pair is one piece.
        let (bytes, each) = match boot.bits {
            12 => (3, 2),
            16 => (2, 1),
            _ => (4, 1),
        };
        let index = (offset - start) / bytes;
        let range = start + index * bytes..(start + (index + 1) * bytes).min(start + boot.fat_bytes);
        let to_u32 = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let structure = Structure::FatEntry { table: to_u32(table + 1), cluster: to_u32(index * each) };
        Piece::with(range, structure, &TABLE_ENTRY)
    }
}

/// The entry of a directory whose first byte is at `start`, as far as its clusters are adjacent.
fn directory_entry(path: &str, start: u64, offset: u64) -> Piece {
    let within = (offset - start) / ENTRY_BYTES * ENTRY_BYTES;
    let structure = Structure::FatDirectory { path: path.to_owned(), offset: within };
    Piece::with(start + within..start + within + ENTRY_BYTES, structure, &DIRECTORY_ENTRY)
}

struct Walk<'a> {
    part: Part<'a>,
    boot: &'a BootSector,
    table: Vec<u8>,
    owners: Vec<(Range<u64>, Owner)>,
    /// Clusters that belong to something: none is followed twice, so nothing loops.
    seen: HashSet<u32>,
}

impl Walk<'_> {
    fn run(&mut self) {
        let mut waiting = Vec::new();
        let root = match self.boot.bits {
            32 => self.chain("/", true, self.boot.root_cluster, u64::MAX),
            _ => self.part.read(self.boot.root_start, self.boot.root_bytes).unwrap_or_default(),
        };
        self.directory("", &root, &mut waiting);
        let mut read = 0;
        while let Some((path, cluster)) = waiting.pop() {
            read += 1;
            if read > MAX_DIRECTORIES {
                return;
            }
            let raw = self.chain(&path, true, cluster, u64::MAX);
            self.directory(&path, &raw, &mut waiting);
        }
    }

    fn directory(&mut self, path: &str, raw: &[u8], waiting: &mut Vec<(String, u32)>) {
        let mut long = LongName::default();
        for entry in raw.chunks_exact(ENTRY_BYTES as usize) {
            match entry[0] {
                0 => break,
                0xE5 => long = LongName::default(),
                _ if entry[11] & 0x3F == 0x0F => long.take(entry),
                b'.' => {}
                _ => {
                    let name = std::mem::take(&mut long).matching(entry).unwrap_or_else(|| short_name(entry));
                    if entry[11] & 0x08 != 0 {
                        continue;
                    }
                    let path = format!("{path}/{}", name.escape_debug());
                    let high = u32::from(u16::from_le_bytes([entry[20], entry[21]])) << 16;
                    let low = u32::from(u16::from_le_bytes([entry[26], entry[27]]));
                    let cluster = if self.boot.bits == 32 { high | low } else { low };
                    if entry[11] & 0x10 != 0 {
                        waiting.push((path, cluster));
                    } else {
                        let size = u32::from_le_bytes([entry[28], entry[29], entry[30], entry[31]]);
                        self.chain(&path, false, cluster, u64::from(size));
                    }
                }
            }
        }
    }

    /// Notes who owns the clusters of a chain, as far as it is sound; answers the bytes of a directory's.
    fn chain(&mut self, path: &str, directory: bool, first: u32, size: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (mut cluster, mut offset) = (first, 0);
        let cluster_bytes = self.boot.cluster_bytes;
        while (2..self.boot.clusters.saturating_add(2)).contains(&cluster)
            && offset < size
            && self.seen.len() < MAX_CLUSTERS
            && self.seen.insert(cluster)
        {
            let start = self.boot.data_start + u64::from(cluster - 2) * cluster_bytes;
            if directory {
                bytes.extend(self.part.read(start, cluster_bytes).unwrap_or_default());
            }
            match self.owners.last_mut() {
                Some((range, _)) if offset > 0 && range.end == start => range.end += cluster_bytes,
                _ => {
                    let owner = Owner { path: path.to_owned(), directory, offset };
                    self.owners.push((start..start + cluster_bytes, owner));
                }
            }
            offset += cluster_bytes;
            cluster = self.next(cluster);
        }
        bytes
    }

    fn next(&self, cluster: u32) -> u32 {
        let n = cluster as usize;
        let byte = |at: usize| u32::from(self.table.get(at).copied().unwrap_or(0));
        match self.boot.bits {
            12 => {
                let pair = byte(n + n / 2) | byte(n + n / 2 + 1) << 8;
                if n.is_multiple_of(2) { pair & 0xFFF } else { pair >> 4 }
            }
            16 => byte(2 * n) | byte(2 * n + 1) << 8,
            _ => (0..4).fold(0, |value, at| value | byte(4 * n + at) << (8 * at)) & 0x0FFF_FFFF,
        }
    }
}
