//! The tree of a FAT12, FAT16 or FAT32 file system (Microsoft's FAT specification, 2005), read by a reader of our
//! own: every chain is bounded by the number of clusters, so that a damaged table ends in an error and never in
//! a loop, and it shares no code with a tool that writes FAT.

use std::io;
use std::ops::Range;

use super::tree::{hash_of, shown};
use super::{Facts, Tree, TreeError};
use crate::image::ReadAt;

const ENTRY_BYTES: usize = 32;
const MAX_DEPTH: usize = 128;
/// More than any image here holds; directories that hold each other reach it.
const MAX_ENTRIES: usize = 1_000_000;
const ATTRIBUTE_VOLUME: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_LONG_NAME: u8 = 0x0F;

/// What is wrong with a FAT.
#[derive(Debug, thiserror::Error)]
pub enum FatError {
    /// The boot sector's figures are no FAT's.
    #[error("boot sector: {0} is not possible")]
    BootSector(&'static str),
    /// A chain of clusters leaves the table, loops, or ends early.
    #[error("`{path}`: cluster chain is broken at cluster {cluster}")]
    Chain {
        /// Path.
        path: String,
        /// Last cluster.
        cluster: u32,
    },
    /// A file is longer than its chain.
    #[error("`{path}`: {size} bytes, but its chain has {clusters} clusters")]
    Short {
        /// Path.
        path: String,
        /// Size by its directory entry.
        size: u32,
        /// Clusters in its chain.
        clusters: usize,
    },
    /// Directories within directories without end.
    #[error("`{path}`: directories nest too deep")]
    TooDeep {
        /// Path.
        path: String,
    },
}

/// The boot sector's figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootSector {
    pub(crate) bits: u8,
    pub(crate) sector_bytes: u64,
    pub(crate) cluster_bytes: u64,
    pub(crate) fat_start: u64,
    pub(crate) fat_bytes: u64,
    pub(crate) root_start: u64,
    pub(crate) root_bytes: u64,
    pub(crate) data_start: u64,
    pub(crate) clusters: u32,
    pub(crate) root_cluster: u32,
    hidden_sectors: u32,
    pub(crate) total_bytes: u64,
}

impl BootSector {
    /// Parses the first 512 bytes of a FAT.
    pub fn parse(raw: &[u8]) -> Result<Self, FatError> {
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([raw[at], raw[at + 1]]));
        let u32_at =
            |at: usize| u64::from(u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]));
        if raw.len() < 512 || raw[510..512] != [0x55, 0xAA] {
            return Err(FatError::BootSector("a sector without signature"));
        }
        let sector_bytes = u16_at(11);
        if ![512, 1024, 2048, 4096].contains(&sector_bytes) {
            return Err(FatError::BootSector("its sector size"));
        }
        let per_cluster = u64::from(raw[13]);
        if !per_cluster.is_power_of_two() {
            return Err(FatError::BootSector("its cluster size"));
        }
        let (reserved, fats) = (u16_at(14), u64::from(raw[16]));
        if reserved == 0 || !(1..=2).contains(&fats) {
            return Err(FatError::BootSector("its number of tables or reserved sectors"));
        }
        let root_sectors = (u16_at(17) * ENTRY_BYTES as u64).div_ceil(sector_bytes);
        let total = if u16_at(19) != 0 { u16_at(19) } else { u32_at(32) };
        let fat_sectors = if u16_at(22) != 0 { u16_at(22) } else { u32_at(36) };
        let overhead = reserved + fats * fat_sectors + root_sectors;
        if fat_sectors == 0 || total <= overhead {
            return Err(FatError::BootSector("its number of sectors"));
        }
        let clusters = (total - overhead) / per_cluster;
        let bits = match clusters {
            0..4085 => 12,
            4085..65525 => 16,
            _ => 32,
        };
        if (bits == 32) != (u16_at(22) == 0) || (clusters + 2) * bits > fat_sectors * sector_bytes * 8 {
            return Err(FatError::BootSector("its number of clusters"));
        }
        Ok(Self {
            bits: bits as u8,
            sector_bytes,
            cluster_bytes: per_cluster * sector_bytes,
            fat_start: reserved * sector_bytes,
            fat_bytes: fat_sectors * sector_bytes,
            root_start: (reserved + fats * fat_sectors) * sector_bytes,
            root_bytes: if bits == 32 { 0 } else { root_sectors * sector_bytes },
            data_start: overhead * sector_bytes,
            clusters: clusters as u32,
            root_cluster: if bits == 32 { u32_at(44) as u32 } else { 0 },
            hidden_sectors: u32_at(28) as u32,
            total_bytes: total * sector_bytes,
        })
    }

    /// First byte of the first table within the partition.
    pub fn table_start(&self) -> u64 {
        self.fat_start
    }
}

/// Reads the tree in an extent, and finds the offset on the disk of some file's first byte.
pub(super) fn read(
    disk: &dyn ReadAt,
    extent: &Range<u64>,
    lba_bytes: u32,
    expected: Option<&Tree>,
) -> Result<(Tree, Option<u64>), TreeError> {
    let mut raw = [0; 512];
    if extent.end - extent.start < raw.len() as u64 {
        return Err(FatError::BootSector("a partition of less than a sector").into());
    }
    disk.fill(extent.start, &mut raw)?;
    let boot = BootSector::parse(&raw)?;
    if boot.total_bytes > extent.end - extent.start {
        return Err(FatError::BootSector("a file system longer than its partition").into());
    }
    let used = (u64::from(boot.clusters) + 2) * u64::from(boot.bits).div_ceil(8);
    let mut table = vec![0; used.min(boot.fat_bytes) as usize];
    disk.fill(extent.start + boot.fat_start, &mut table)?;
    let mut walk =
        Walk { disk, start: extent.start, boot, table, expected, tree: Tree::default(), data_offset: None };
    let volume = walk.volume_facts(&raw, extent.start / u64::from(lba_bytes));
    walk.tree.nodes.insert(Vec::new(), volume);
    let root = if walk.boot.bits == 32 {
        let chain = walk.chain(b"/", walk.boot.root_cluster)?;
        walk.read_chain(&chain)?
    } else {
        let mut root = vec![0; walk.boot.root_bytes as usize];
        disk.fill(extent.start + walk.boot.root_start, &mut root)?;
        root
    };
    walk.directory(b"", &root, 0)?;
    Ok((walk.tree, walk.data_offset))
}

struct Walk<'a> {
    disk: &'a dyn ReadAt,
    start: u64,
    boot: BootSector,
    table: Vec<u8>,
    expected: Option<&'a Tree>,
    tree: Tree,
    /// Offset on the disk of the first data byte of some file.
    data_offset: Option<u64>,
}

impl Walk<'_> {
    /// Facts of the file system itself. Its figures of size are left out, since a grown one has others; hidden
    /// sectors may stay or follow the partition, so a figure that fits the place counts as the expected one.
    fn volume_facts(&self, raw: &[u8; 512], first_lba: u64) -> Facts {
        let extended = if self.boot.bits == 32 { 66 } else { 38 };
        let field = |range: Range<usize>| String::from_utf8_lossy(&raw[range]).trim_end().to_owned();
        let id = &raw[extended + 1..extended + 5];
        let hidden = self.boot.hidden_sectors;
        let known = self.expected.and_then(|tree| tree.nodes.get(&[][..])?.get("hidden sectors"));
        let hidden = match known {
            Some(known) if u64::from(hidden) == first_lba => known.clone(),
            _ => hidden.to_string(),
        };
        let mut code = raw[..3].to_vec();
        code.extend_from_slice(&raw[extended + 24..510]);
        Facts::from([
            ("OEM name".to_owned(), field(3..11)),
            ("volume ID".to_owned(), format!("{:02X}{:02X}-{:02X}{:02X}", id[3], id[2], id[1], id[0])),
            ("volume label".to_owned(), field(extended + 5..extended + 16)),
            ("hidden sectors".to_owned(), hidden),
            ("bits".to_owned(), self.boot.bits.to_string()),
            ("boot code".to_owned(), format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&code))),
        ])
    }

    fn directory(&mut self, path: &[u8], raw: &[u8], depth: usize) -> Result<(), TreeError> {
        if depth > MAX_DEPTH {
            return Err(FatError::TooDeep { path: shown(path) }.into());
        }
        let mut long = LongName::default();
        for entry in raw.chunks_exact(ENTRY_BYTES) {
            match entry[0] {
                0 => break,
                0xE5 => long = LongName::default(),
                _ if entry[11] & 0x3F == ATTRIBUTE_LONG_NAME => long.take(entry),
                _ => {
                    let name = std::mem::take(&mut long);
                    self.entry(path, entry, name, depth)?;
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, directory: &[u8], raw: &[u8], long: LongName, depth: usize) -> Result<(), TreeError> {
        if self.tree.nodes.len() >= MAX_ENTRIES {
            return Err(TreeError::Endless { entries: self.tree.nodes.len(), depth });
        }
        let short = short_name(raw);
        let long = long.matching(raw);
        let mut path = directory.to_vec();
        path.push(b'/');
        path.extend_from_slice(long.as_ref().unwrap_or(&short).as_bytes());
        let attributes = raw[11];
        let stamp = |at: usize| u16::from_le_bytes([raw[at], raw[at + 1]]);
        let mut facts = Facts::from([
            ("attributes".to_owned(), format!("{attributes:#04x}")),
            ("short name".to_owned(), short.clone()),
            ("case bits".to_owned(), format!("{:#04x}", raw[12])),
            ("created".to_owned(), format!("{} +{}0 ms", date_time(stamp(16), stamp(14)), raw[13])),
            ("accessed".to_owned(), date_time(stamp(18), 0)),
            ("modified".to_owned(), date_time(stamp(24), stamp(22))),
        ]);
        if attributes & ATTRIBUTE_VOLUME != 0 {
            path.extend_from_slice(b" (volume label)");
            self.tree.nodes.insert(path, facts);
            return Ok(());
        }
        let high = if self.boot.bits == 32 { u32::from(stamp(20)) << 16 } else { 0 };
        let cluster = high | u32::from(stamp(26));
        if attributes & ATTRIBUTE_DIRECTORY != 0 {
            // The entries of the directory itself and its parent name clusters, which may move; their times stay.
            if short == "." || short == ".." {
                self.tree.nodes.insert(path, facts);
                return Ok(());
            }
            self.tree.nodes.insert(path.clone(), facts);
            let chain = self.chain(&path, cluster)?;
            let raw = self.read_chain(&chain)?;
            return self.directory(&path, &raw, depth + 1);
        }
        let size = u32::from_le_bytes([raw[28], raw[29], raw[30], raw[31]]);
        facts.insert("size".to_owned(), size.to_string());
        if size > 0 && self.data_offset.is_none() && (2..self.boot.clusters + 2).contains(&cluster) {
            self.data_offset = Some(self.offset(cluster));
        }
        if Tree::may_match(self.expected, &path, u64::from(size)) {
            let chain = if size == 0 { Vec::new() } else { self.chain(&path, cluster)? };
            if (chain.len() as u64) * self.boot.cluster_bytes < u64::from(size) {
                return Err(FatError::Short { path: shown(&path), size, clusters: chain.len() }.into());
            }
            facts.insert("data".to_owned(), self.hash(&chain, u64::from(size))?);
        }
        self.tree.nodes.insert(path, facts);
        Ok(())
    }

    /// Clusters of a chain; an error where it leaves the table or is longer than it.
    fn chain(&self, path: &[u8], first: u32) -> Result<Vec<u32>, FatError> {
        let end = match self.boot.bits {
            12 => 0xFF8,
            16 => 0xFFF8,
            _ => 0x0FFF_FFF8,
        };
        let mut chain = Vec::new();
        let mut cluster = first;
        while cluster < end {
            if cluster < 2 || cluster - 2 >= self.boot.clusters || chain.len() >= self.boot.clusters as usize
            {
                return Err(FatError::Chain { path: shown(path), cluster });
            }
            chain.push(cluster);
            cluster = self.next(cluster);
        }
        Ok(chain)
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
            _ => {
                (byte(4 * n) | byte(4 * n + 1) << 8 | byte(4 * n + 2) << 16 | byte(4 * n + 3) << 24)
                    & 0x0FFF_FFFF
            }
        }
    }

    fn offset(&self, cluster: u32) -> u64 {
        self.start + self.boot.data_start + u64::from(cluster - 2) * self.boot.cluster_bytes
    }

    fn read_chain(&self, chain: &[u32]) -> io::Result<Vec<u8>> {
        let size = self.boot.cluster_bytes as usize;
        let mut data = vec![0; chain.len() * size];
        for (cluster, into) in chain.iter().zip(data.chunks_mut(size)) {
            self.disk.fill(self.offset(*cluster), into)?;
        }
        Ok(data)
    }

    /// Hashes a file's data, runs of adjacent clusters read at once.
    fn hash(&self, chain: &[u32], size: u64) -> io::Result<String> {
        let mut done = 0;
        hash_of(|buffer| {
            let Some(cluster) = chain.get((done / self.boot.cluster_bytes) as usize) else { return Ok(0) };
            let first = (done / self.boot.cluster_bytes) as usize;
            let within = done % self.boot.cluster_bytes;
            let run = chain[first..].iter().zip(*cluster..).take_while(|(a, b)| **a == *b).count() as u64;
            let len =
                (run * self.boot.cluster_bytes - within).min(size - done).min(buffer.len() as u64) as usize;
            self.disk.fill(self.offset(*cluster) + within, &mut buffer[..len])?;
            done += len as u64;
            Ok(len)
        })
    }
}

/// A long name in the making: its pieces come last first.
#[derive(Default)]
pub(crate) struct LongName {
    units: Vec<u16>,
    checksum: Option<u8>,
}

impl LongName {
    pub(crate) fn take(&mut self, raw: &[u8]) {
        if raw[0] & 0x40 != 0 {
            *self = Self { units: Vec::new(), checksum: Some(raw[13]) };
        }
        let piece = raw[1..11].chunks(2).chain(raw[14..26].chunks(2)).chain(raw[28..32].chunks(2));
        let units: Vec<u16> = piece.map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        self.units.splice(0..0, units);
    }

    /// The name, if it belongs to this short entry.
    pub(crate) fn matching(self, raw: &[u8]) -> Option<String> {
        let sum = raw[..11].iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        let end = self.units.iter().position(|unit| *unit == 0).unwrap_or(self.units.len());
        (self.checksum == Some(sum)).then(|| String::from_utf16_lossy(&self.units[..end]))
    }
}

/// `NAME.EXT`; bytes beyond ASCII are shown as Latin-1, which keeps different names different.
pub(crate) fn short_name(raw: &[u8]) -> String {
    let text =
        |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>().trim_end().to_owned();
    let (name, extension) = (text(&raw[..8]), text(&raw[8..11]));
    if extension.is_empty() { name } else { format!("{name}.{extension}") }
}

/// FAT's packed date and time.
fn date_time(date: u16, time: u16) -> String {
    format!(
        "{}-{:02}-{:02} {:02}:{:02}:{:02}",
        1980 + (date >> 9),
        date >> 5 & 15,
        date & 31,
        time >> 11,
        time >> 5 & 63,
        2 * (time & 31)
    )
}
