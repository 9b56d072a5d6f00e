//! Putting back the times that resize2fs falsifies when a shrink gives inodes other numbers.
//!
//! It sets the change time of every inode that it moves, and change and modification time of every directory that
//! names one, to its clock, although no file changed. Inode fields are those of the kernel's documentation of the
//! ext4 disk layout.

use std::ops::Range;

use super::layout::{Layout, Source, Staged, crc32c, le16, le32};
use crate::error::Result;

/// What is read of an inode table at once.
const WINDOW_BYTES: u64 = 256 * 1024;

const ROOT_INODE: u64 = 2;
const EA_INODE_FLAG: u32 = 0x20_0000;

const CTIME: Range<usize> = 0x0C..0x10;
const MTIME: Range<usize> = 0x10..0x14;
const FLAGS: usize = 0x20;
const GENERATION: Range<usize> = 0x64..0x68;
const CHECKSUM_LOW: Range<usize> = 0x7C..0x7E;
/// How many bytes an inode uses beyond the first [`OLD_INODE_BYTES`].
const EXTRA_BYTES: usize = 0x80;
const CHECKSUM_HIGH: Range<usize> = 0x82..0x84;
const CTIME_EXTRA: Range<usize> = 0x84..0x88;
const MTIME_EXTRA: Range<usize> = 0x88..0x8C;
const OLD_INODE_BYTES: usize = 128;

/// The times that are put back; where an inode is too short for one, it has none.
const TIMES: [Range<usize>; 4] = [CTIME, MTIME, CTIME_EXTRA, MTIME_EXTRA];
/// What else a move may change: where blocks lie, how many the maps of them take, and the checksum.
const MOVABLE: [Range<usize>; 7] =
    [0x1C..0x20, 0x28..0x64, 0x68..0x6C, 0x74..0x76, 0x76..0x78, CHECKSUM_LOW, CHECKSUM_HIGH];

/// Gives every inode of `new` the change and modification time that it has in `old`. False where it can't be told
/// which inode was moved to which number; then the moved ones keep their false times.
pub(super) fn restore(
    old: &dyn Source,
    old_layout: &Layout,
    new: &mut Staged,
    new_layout: &Layout,
) -> Result<bool> {
    // Inodes move only when there are fewer of them.
    if new_layout.inodes() >= old_layout.inodes() {
        return Ok(true);
    }
    if old_layout.inode_bytes != new_layout.inode_bytes {
        return Ok(false);
    }
    let was = InodeSet::load(old, old_layout)?;
    let is = InodeSet::load(new, new_layout)?;
    let moved = moved(old, &was, new, &is)?;

    // In ascending order on both sides, so that each inode table is read once.
    let stayed = is.numbers().filter(|number| was.contains(*number)).map(|number| (number, number));
    put_back(&mut Inodes::new(old, old_layout), new, new_layout, stayed)?;
    let pairs = moved.as_deref().unwrap_or_default();
    put_back(&mut Inodes::new(old, old_layout), new, new_layout, pairs.iter().copied())?;
    Ok(moved.is_some())
}

/// The old and new numbers of the moved inodes. resize2fs goes through the inodes that the new file system has no
/// place for in ascending order and gives each the first number that is free, so they pair up in order; `None`
/// where any pair is not the same file.
fn moved(
    old: &dyn Source,
    was: &InodeSet<'_>,
    new: &dyn Source,
    is: &InodeSet<'_>,
) -> Result<Option<Vec<(u64, u64)>>> {
    let gone: Vec<u64> = was.numbers().filter(|number| *number > is.layout.inodes()).collect();
    let come: Vec<u64> = is.numbers().filter(|number| !was.contains(*number)).collect();
    if gone.len() != come.len() {
        return Ok(None);
    }
    let pairs: Vec<(u64, u64)> = gone.into_iter().zip(come).collect();
    let (mut before, mut after) = (Inodes::new(old, was.layout), Inodes::new(new, is.layout));
    for (from, to) in &pairs {
        if !is_same_file(before.get(*from)?, after.get(*to)?) {
            return Ok(None);
        }
    }
    Ok(Some(pairs))
}

/// Whether two inodes agree in all that a move leaves alone.
fn is_same_file(one: &[u8], other: &[u8]) -> bool {
    // Behind the fields lie extended attributes, which may name other inodes that have moved too.
    let fields = OLD_INODE_BYTES + extra_bytes(one);
    let may_differ = |at: usize| TIMES.iter().chain(&MOVABLE).any(|range| range.contains(&at));
    (0..fields.min(one.len())).all(|at| one.get(at) == other.get(at) || may_differ(at))
}

/// Copies the times of each pair of an old and a new number; the inodes must be in use.
fn put_back(
    old: &mut Inodes<'_>,
    new: &mut Staged,
    new_layout: &Layout,
    pairs: impl Iterator<Item = (u64, u64)>,
) -> Result<()> {
    let mut table = Window::default();
    for (from, to) in pairs {
        // Of the reserved inodes only the root directory is a file that anybody sees.
        if to != ROOT_INODE && to < new_layout.first_inode {
            continue;
        }
        let inode = table.get(new, new_layout, to)?;
        let before = old.get(from)?;
        // The change time of an inode that holds an extended attribute is its reference count.
        if le32(inode, FLAGS) & EA_INODE_FLAG != 0 || !copy_times(before, inode) {
            continue;
        }
        if let Some(seed) = new_layout.checksum_seed {
            set_checksum(seed, to, inode);
        }
        new.stage.write_at(new_layout.inode_offset(to), inode)?;
    }
    Ok(())
}

/// Whether any time differed.
fn copy_times(from: &[u8], to: &mut [u8]) -> bool {
    let mut differed = false;
    for field in TIMES {
        if has_field(from, &field) && has_field(to, &field) && from[field.clone()] != to[field.clone()] {
            to[field.clone()].copy_from_slice(&from[field]);
            differed = true;
        }
    }
    differed
}

/// Sets an inode's checksum to that of its present content.
fn set_checksum(seed: u32, number: u64, inode: &mut [u8]) {
    let fields: &[Range<usize>] =
        if has_field(inode, &CHECKSUM_HIGH) { &[CHECKSUM_LOW, CHECKSUM_HIGH] } else { &[CHECKSUM_LOW] };
    for field in fields {
        inode[field.clone()].fill(0);
    }
    let state = crc32c(seed, &(number as u32).to_le_bytes());
    let state = crc32c(state, &inode[GENERATION]);
    let checksum = crc32c(state, inode).to_le_bytes();
    for (field, half) in fields.iter().zip(checksum.chunks(2)) {
        inode[field.clone()].copy_from_slice(half);
    }
}

/// Whether an inode is long enough to have a field.
fn has_field(inode: &[u8], field: &Range<usize>) -> bool {
    field.end <= OLD_INODE_BYTES + extra_bytes(inode) && field.end <= inode.len()
}

/// The bytes of fields beyond the first [`OLD_INODE_BYTES`].
fn extra_bytes(inode: &[u8]) -> usize {
    if inode.len() > OLD_INODE_BYTES { usize::from(le16(inode, EXTRA_BYTES)) } else { 0 }
}

/// Which inodes are in use, from the inode bitmaps.
struct InodeSet<'a> {
    layout: &'a Layout,
    /// The bitmap of each group, cut to the bytes that count; empty for a group that has no inodes in use.
    groups: Vec<Vec<u8>>,
}

impl InodeSet<'_> {
    fn load<'a>(source: &dyn Source, layout: &'a Layout) -> Result<InodeSet<'a>> {
        let mut groups = Vec::with_capacity(layout.groups.len());
        for group in &layout.groups {
            let mut bitmap = Vec::new();
            if !group.inodes_uninit {
                bitmap.resize(layout.inodes_per_group.div_ceil(8) as usize, 0);
                source.read_at(group.inode_bitmap * layout.block_bytes, &mut bitmap)?;
            }
            groups.push(bitmap);
        }
        Ok(InodeSet { layout, groups })
    }

    /// Inode numbers begin with one.
    fn contains(&self, number: u64) -> bool {
        let (group, index) = self.layout.inode_place(number);
        let byte = self.groups.get(group).and_then(|bitmap| bitmap.get((index / 8) as usize));
        byte.is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// Those in use, in order.
    fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        (1..=self.layout.inodes()).filter(|number| self.contains(*number))
    }
}

/// Reads inodes.
struct Inodes<'a> {
    source: &'a dyn Source,
    layout: &'a Layout,
    window: Window,
}

impl<'a> Inodes<'a> {
    fn new(source: &'a dyn Source, layout: &'a Layout) -> Inodes<'a> {
        Inodes { source, layout, window: Window::default() }
    }

    fn get(&mut self, number: u64) -> Result<&[u8]> {
        self.window.get(self.source, self.layout, number).map(|inode| &*inode)
    }
}

/// A piece of an inode table, moved on when an inode outside of it is asked for.
#[derive(Default)]
struct Window {
    offset_bytes: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// An inode of `layout`; a change made to what it returns stays in the window only.
    fn get(&mut self, source: &dyn Source, layout: &Layout, number: u64) -> Result<&mut [u8]> {
        let wanted = layout.inode_offset(number);
        let end = self.offset_bytes + self.bytes.len() as u64;
        if wanted < self.offset_bytes || wanted + layout.inode_bytes > end {
            let (_, index) = layout.inode_place(number);
            let left = (layout.inodes_per_group - index) * layout.inode_bytes;
            self.bytes.resize(left.min(WINDOW_BYTES) as usize, 0);
            self.offset_bytes = wanted;
            source.read_at(wanted, &mut self.bytes)?;
        }
        let at = (wanted - self.offset_bytes) as usize;
        Ok(&mut self.bytes[at..at + layout.inode_bytes as usize])
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::disk::{Disk, Extent};
    use crate::ext4::layout::Partition;
    use crate::file_disk::{Access, FileDisk};
    use crate::fstools::Tools;
    use crate::fstools::stage::Stage;

    const KINDS: [&[&str]; 4] = [
        &["-I", "256", "-O", "metadata_csum,metadata_csum_seed"],
        &["-I", "128", "-O", "metadata_csum"],
        &["-I", "256", "-O", "^metadata_csum"],
        &["-I", "128", "-O", "^metadata_csum,uninit_bg"],
    ];

    fn run(program: &str, args: &[&str]) {
        let output = Command::new(program)
            .args(args)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("E2FSPROGS_FAKE_TIME", "1700000000")
            .output()
            .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
    }

    fn debugfs(dir: &TempDir, image: &str, commands: &str) {
        let file = dir.path().join("commands");
        fs::write(&file, commands).unwrap();
        run("debugfs", &["-w", "-f", file.to_str().unwrap(), image]);
    }

    /// An image of 24 MiB whose inodes are used throughout, and what resize2fs makes of it at 14 MiB.
    fn shrunk(dir: &TempDir, options: &[&str]) -> (FileDisk, String) {
        let old = dir.path().join("old.img");
        let new = dir.path().join("new.img");
        let (old_arg, new_arg) = (old.to_str().unwrap(), new.to_str().unwrap());
        fs::File::create(&old).unwrap();
        let made = ["-q", "-F", "-t", "ext4", "-b", "1024", "-g", "8192", "-N", "96"];
        run("mke2fs", &[&made, options, &[old_arg, "24M"]].concat());
        let mut commands = String::new();
        // All outer ones first: then some stay where they are while what lies in them moves.
        for sub in ["", "/sub"] {
            for index in 0..40 {
                commands += &format!("mkdir dir{index}{sub}\n");
            }
        }
        for index in 0..20 {
            commands += &format!("rmdir dir{index}/sub\nrmdir dir{index}\n");
        }
        for index in 20..40 {
            for (path, second) in [(format!("dir{index}"), index), (format!("dir{index}/sub"), index + 40)] {
                commands += &format!("sif {path} mtime @{second}\nsif {path} ctime @{}\n", second + 100);
                commands += &format!("sif {path} uid {}\n", second + 1000);
            }
        }
        debugfs(dir, old_arg, &commands);
        run("e2fsck", &["-f", "-n", old_arg]);
        fs::copy(&old, &new).unwrap();
        run("resize2fs", &["-f", new_arg, "14M"]);
        let disk = FileDisk::open(&old, Access::Read).unwrap();
        (disk, new_arg.to_owned())
    }

    fn whole(disk: &FileDisk) -> Partition<'_> {
        Partition { disk, at: Extent { offset_bytes: 0, len_bytes: disk.len_bytes() } }
    }

    /// Puts back the times in `image`; what [`restore`] says.
    fn restored(dir: &TempDir, old: &FileDisk, image: &str) -> bool {
        let tools = Tools::new(dir.path().to_path_buf(), uuid::Uuid::nil());
        let disk = FileDisk::open(image.as_ref(), Access::Read).unwrap();
        let at = whole(&disk).at;
        let mut stage = Stage::create(&tools, at.len_bytes).unwrap();
        stage.copy_all(&disk, at).unwrap();
        let mut staged = Staged { stage, of: at };
        let old_layout = Layout::load(&whole(old)).unwrap().unwrap();
        let new_layout = Layout::load(&staged).unwrap().unwrap();
        let known = restore(&whole(old), &old_layout, &mut staged, &new_layout).unwrap();
        fs::copy(staged.stage.path(), image).unwrap();
        run("e2fsck", &["-f", "-n", image]);
        known
    }

    /// The seconds of modification and change of every inode from the first file on, by its owner.
    fn times(disk: &FileDisk) -> Vec<(u16, u32, u32)> {
        let source = whole(disk);
        let layout = Layout::load(&source).unwrap().unwrap();
        let mut inodes = Inodes::new(&source, &layout);
        let used = InodeSet::load(&source, &layout).unwrap();
        let mut found: Vec<_> = used
            .numbers()
            .filter(|number| *number >= layout.first_inode)
            .map(|number| {
                let inode = inodes.get(number).unwrap();
                (le16(inode, 2), le32(inode, MTIME.start), le32(inode, CTIME.start))
            })
            .collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_checksum_made_anew_is_the_one_that_e2fsprogs_made() {
        for options in &KINDS[..2] {
            let dir = TempDir::new().unwrap();
            let (disk, _) = shrunk(&dir, options);
            let layout = Layout::load(&whole(&disk)).unwrap().unwrap();
            let source = whole(&disk);
            let mut inodes = Inodes::new(&source, &layout);
            let numbers: Vec<u64> = InodeSet::load(&source, &layout).unwrap().numbers().skip(10).collect();
            assert!(numbers.len() > 40);
            for number in numbers {
                let inode = inodes.get(number).unwrap();
                let mut anew = inode.to_vec();
                anew[CHECKSUM_LOW].fill(0x33);
                set_checksum(layout.checksum_seed.unwrap(), number, &mut anew);
                assert!(anew == inode, "{options:?}: inode {number}");
            }
        }
    }

    #[test]
    fn every_inode_gets_back_its_own_times() {
        for options in KINDS {
            let dir = TempDir::new().unwrap();
            let (old, image) = shrunk(&dir, options);
            let open = || FileDisk::open(image.as_ref(), Access::Read).unwrap();
            let before = times(&old);
            let falsified = times(&open());
            let moved = falsified.iter().filter(|(.., ctime)| *ctime == 1_700_000_000).count();
            assert!(moved > 10 && before != falsified, "{options:?}: resize2fs left all times alone");
            assert!(restored(&dir, &old, &image), "{options:?}");
            assert!(times(&open()) == before, "{options:?}");
        }
    }

    /// One moved inode that is not what it was: none of the moved ones can be trusted then, all others can.
    #[test]
    fn without_a_sure_pairing_moved_inodes_keep_what_they_have() {
        for options in KINDS {
            let dir = TempDir::new().unwrap();
            let (old, image) = shrunk(&dir, options);
            debugfs(&dir, &image, "sif dir39/sub gid 3\n");
            let open = || FileDisk::open(image.as_ref(), Access::Read).unwrap();
            let falsified = times(&open());
            assert!(!restored(&dir, &old, &image), "{options:?}");
            let (before, after) = (times(&old), times(&open()));
            let kept = after.iter().filter(|inode| falsified.contains(inode) && !before.contains(inode));
            let own = after.iter().filter(|inode| before.contains(inode) && !falsified.contains(inode));
            let (kept, own) = (kept.count(), own.count());
            assert!(kept > 3 && own > 3, "{options:?}: {kept} kept, {own} put back");
            assert!(after.iter().all(|inode| before.contains(inode) || falsified.contains(inode)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Mode, owner, size, access time, links, flags, generation, creation time and the rest tell files apart;
        /// change and modification time, the block map and the checksum don't. Lengths that lie never panic.
        #[test]
        fn files_are_told_apart_by_what_a_move_keeps(
            mut inode in prop::collection::vec(any::<u8>(), 256..=256),
            at in 0_usize..256,
            extra in prop_oneof![Just(32_u16), any::<u16>()],
        ) {
            inode[EXTRA_BYTES..EXTRA_BYTES + 2].copy_from_slice(&extra.to_le_bytes());
            let mut other = inode.clone();
            prop_assert!(is_same_file(&inode, &other));
            other[at] ^= 1;
            let free = [
                0x0C..0x14, 0x1C..0x20, 0x28..0x64, 0x68..0x6C, 0x74..0x78, 0x7C..0x7E, 0x82..0x8C, 0xA0..256,
            ];
            if extra == 32 {
                prop_assert_eq!(is_same_file(&inode, &other), free.iter().any(|range| range.contains(&at)));
            }
            copy_times(&inode, &mut other);
            set_checksum(7, 12, &mut other);
            prop_assert!(other[0xA0..] == inode[0xA0..] || at >= 0xA0 || extra != 32);
        }
    }
}
