//! Writes an image: content in the order of its blocks, then what describes it, and the superblock last.

use std::fs::File;
use std::io::{self, Read};

use crate::checksum::Seed;
use crate::data::{self, expect_end};
use crate::directory;
use crate::error::WriteError;
use crate::extent;
use crate::geometry::{BLOCK_BYTES, INODE_BYTES, has_super};
use crate::group::{self, Group};
use crate::inode::{self, Body, Inode};
use crate::journal;
use crate::layout::{self, LOST_AND_FOUND_BLOCKS, Placed};
use crate::plan::{Plan, used_inodes};
use crate::sink::{CopyError, Sink};
use crate::superblock::{PRIMARY_OFFSET, Superblock};
use crate::tree::{Contents, Kind, Meta, Node, NodeId, Opened};
use crate::xattr;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the image.
    pub size_bytes: u64,
    /// Bytes that nothing uses.
    pub free_bytes: u64,
    /// Inodes, reserved ones included.
    pub inodes: u64,
    /// Inodes that nothing uses.
    pub free_inodes: u64,
}

impl Plan {
    /// Writes the image into an empty file, which is not flushed to the disk.
    pub fn write(&self, contents: &dyn Contents, output: &File) -> Result<Summary, WriteError> {
        output.set_len(self.size_bytes).map_err(WriteError::Write)?;
        let seed = Seed::of_file_system(&self.uuid);
        let mut writer =
            Writer { plan: self, seed, numbers: layout::inode_numbers(&self.tree), sink: Sink::new(output) };
        data::write(self, contents, output)?;
        let inline = writer.read_inline(contents)?;
        writer.write_rest(&inline).map_err(WriteError::Write)
    }
}

struct Writer<'a> {
    plan: &'a Plan,
    seed: Seed,
    /// Inodes by node.
    numbers: Vec<u32>,
    sink: Sink<'a>,
}

/// Inodes as they stand in the table, in the order of their numbers.
type Inodes = Vec<(u32, [u8; INODE_BYTES as usize])>;

impl Writer<'_> {
    /// The content of files that goes into inodes, by node.
    fn read_inline(&self, contents: &dyn Contents) -> Result<Vec<(NodeId, Vec<u8>)>, WriteError> {
        let mut inline = Vec::new();
        for (index, node) in self.plan.tree.nodes().iter().enumerate() {
            if let Kind::File(data) = &node.kind
                && layout::is_inline(data, &self.plan.options)
            {
                let mut content = vec![0; data.len as usize];
                let read = |content: &mut Vec<u8>| -> io::Result<()> {
                    let mut from = match contents.open(data.content)? {
                        Opened::File(file) => Box::new(file),
                        Opened::Reader(reader) => reader,
                    };
                    from.read_exact(content)?;
                    expect_end(&mut *from)
                };
                read(&mut content)
                    .map_err(|error| data::explain(self.plan, CopyError::Read(error), NodeId(index)))?;
                inline.push((NodeId(index), content));
            }
        }
        Ok(inline)
    }

    fn write_rest(&mut self, inline: &[(NodeId, Vec<u8>)]) -> io::Result<Summary> {
        let mut inodes = self.write_nodes(inline)?;
        let journal = self.journal_inode();
        inodes.extend(journal.as_ref().map(|(inode, _)| (inode.number, inode.encode(self.seed))));
        inodes.sort_unstable_by_key(|(number, _)| *number);
        let groups = self.write_bitmaps()?;
        self.write_inode_tables(&inodes)?;
        if let Some(run) = &self.plan.layout.journal {
            let first = journal::encode((run.end - run.start) as u32);
            self.sink.put(run.start * BLOCK_BYTES, &first)?;
        }
        self.write_superblocks(&groups, journal.map(|(inode, root)| (root, inode.size)))
    }

    /// Writes what nodes have besides file data; gives their inodes.
    fn write_nodes(&mut self, inline: &[(NodeId, Vec<u8>)]) -> io::Result<Inodes> {
        let mut inodes = Vec::with_capacity(self.numbers.len() + 1);
        let plan = self.plan;
        for (index, (node, place)) in plan.tree.nodes().iter().zip(&plan.layout.placed).enumerate() {
            let number = self.numbers[index];
            let content = inline.binary_search_by_key(&NodeId(index), |(id, _)| *id);
            let content = content.ok().map(|found| inline[found].1.as_slice());
            let (size, body) = match content {
                Some(content) => (content.len() as u64, Body::Inline(inode::text_body(content))),
                None => self.write_node(NodeId(index), node, place)?,
            };
            let rest = content.map(|content| content.get(60..).unwrap_or_default());
            let stored = xattr::store(&node.meta.xattrs, rest).unwrap_or_default();
            if let Some(block) = place.xattr_block {
                self.sink.put(block * BLOCK_BYTES, &xattr::encode_block(&stored.block, block, self.seed))?;
            }
            let inode = Inode {
                number,
                mode: inode::type_bits(&node.kind) | node.meta.mode & 0o7777,
                meta: &node.meta,
                links: node.links,
                size,
                blocks: place.blocks(),
                body,
                xattrs: xattr::encode_inline(&stored.inline),
                xattr_block: place.xattr_block,
            };
            inodes.push((number, inode.encode(self.seed)));
        }
        Ok(inodes)
    }

    /// Writes the blocks of a node that are no file data; gives its size and the body of its inode.
    fn write_node(&mut self, id: NodeId, node: &Node, place: &Placed) -> io::Result<(u64, Body)> {
        let size = match &node.kind {
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                return Ok((0, Body::Plain(inode::device_body(*major, *minor))));
            }
            Kind::Fifo | Kind::Socket => return Ok((0, Body::Plain([0; 60]))),
            Kind::Symlink(target) if layout::is_fast(target) => {
                return Ok((target.len() as u64, Body::Plain(inode::text_body(target))));
            }
            Kind::Symlink(target) => {
                let mut block = target.clone();
                block.resize(BLOCK_BYTES as usize, 0);
                self.write_blocks(place, &block)?;
                target.len() as u64
            }
            Kind::Directory => {
                let content = self.directory(id, node);
                self.write_blocks(place, &content)?;
                content.len() as u64
            }
            Kind::File(data) => data.len,
        };
        let mut places = place.tree_blocks.iter().flat_map(Clone::clone);
        let number = self.numbers[id.0];
        let encoded = extent::encode(&place.extents, &mut places, self.seed.of_inode(number));
        for (block, content) in &encoded.blocks {
            self.sink.put(block * BLOCK_BYTES, content)?;
        }
        Ok((size, Body::Extents(encoded.root)))
    }

    fn directory(&self, id: NodeId, node: &Node) -> Vec<u8> {
        const DIRECTORY: u8 = 2;
        let tree = &self.plan.tree;
        let number = self.numbers[id.0];
        let parent = node.home.as_ref().map_or(number, |(parent, _)| self.numbers[parent.0]);
        let dots = [(number, DIRECTORY, &b"."[..]), (parent, DIRECTORY, &b".."[..])];
        let children = node.children.iter().map(|(name, child)| {
            (self.numbers[child.0], directory::entry_type(&tree.node(*child).kind), name.as_slice())
        });
        let least = if layout::lost_and_found(tree) == Some(id) { LOST_AND_FOUND_BLOCKS } else { 1 };
        directory::encode(dots.into_iter().chain(children), least, self.seed.of_inode(number))
    }

    fn write_blocks(&mut self, place: &Placed, mut content: &[u8]) -> io::Result<()> {
        for extent in &place.extents {
            let (part, rest) = content.split_at((extent.len * BLOCK_BYTES) as usize);
            self.sink.put(extent.physical * BLOCK_BYTES, part)?;
            content = rest;
        }
        Ok(())
    }

    /// The inode of the journal and its `i_block`.
    fn journal_inode(&self) -> Option<(Inode<'static>, [u8; 60])> {
        static META: Meta = Meta {
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: crate::Time { seconds: 0, nanoseconds: 0 },
            xattrs: std::collections::BTreeMap::new(),
        };
        let run = self.plan.layout.journal.clone()?;
        let blocks = run.end - run.start;
        let mut extents = Vec::new();
        extent::push_run(&mut extents, 0, run);
        let seed = self.seed.of_inode(inode::JOURNAL);
        let root = extent::encode(&extents, &mut std::iter::empty(), seed).root;
        let inode = Inode {
            number: inode::JOURNAL,
            mode: 0o100_600,
            meta: &META,
            links: 1,
            size: blocks * BLOCK_BYTES,
            blocks,
            body: Body::Extents(root),
            xattrs: [0; xattr::INODE_ROOM],
            xattr_block: None,
        };
        Some((inode, root))
    }

    fn write_bitmaps(&mut self) -> io::Result<Vec<Group>> {
        let plan = self.plan;
        let per_group = plan.layout.geometry.inodes_per_group;
        let groups = plan.layout.geometry.groups;
        let mut directories = vec![0; groups as usize];
        for (node, number) in plan.tree.nodes().iter().zip(&self.numbers) {
            directories[((u64::from(*number) - 1) / per_group) as usize] +=
                u64::from(node.kind == Kind::Directory);
        }
        let inodes = used_inodes(&plan.tree);
        let mut written = Vec::new();
        for group in 0..groups {
            let index = group as usize;
            let mut state =
                group::of(&plan.layout, plan.blocks, inodes, group, directories[index], self.seed);
            if let Some(bitmap) = state.block_bitmap.take() {
                self.sink.put(plan.layout.block_bitmaps[index] * BLOCK_BYTES, &bitmap)?;
            }
            if let Some(bitmap) = state.inode_bitmap.take() {
                self.sink.put(plan.layout.inode_bitmaps[index] * BLOCK_BYTES, &bitmap)?;
            }
            written.push(state);
        }
        Ok(written)
    }

    /// Writes whole blocks of the tables up to the last inode that is used; what is behind stays a hole of zeros.
    fn write_inode_tables(&mut self, inodes: &Inodes) -> io::Result<()> {
        let per_group = self.plan.layout.geometry.inodes_per_group;
        let parts = inodes.chunk_by(|(left, _), (right, _)| {
            (u64::from(*left) - 1) / per_group == (u64::from(*right) - 1) / per_group
        });
        for part in parts {
            let group = (u64::from(part[0].0) - 1) / per_group;
            let first = group * per_group + 1;
            let mut table = Vec::new();
            for (number, inode) in part {
                table.resize(((u64::from(*number) - first) * INODE_BYTES) as usize, 0);
                table.extend_from_slice(inode);
            }
            table.resize(table.len().next_multiple_of(BLOCK_BYTES as usize), 0);
            self.sink.put(self.plan.layout.inode_tables[group as usize] * BLOCK_BYTES, &table)?;
        }
        Ok(())
    }

    /// Writes descriptors and superblocks, copies first: without the first superblock it is no file system.
    fn write_superblocks(
        &mut self,
        groups: &[Group],
        journal: Option<([u8; 60], u64)>,
    ) -> io::Result<Summary> {
        let geometry = self.plan.layout.geometry;
        let inodes = geometry.groups * geometry.inodes_per_group;
        let superblock = Superblock {
            geometry,
            blocks: self.plan.blocks,
            free_blocks: groups.iter().map(|group| group.free_blocks).sum(),
            free_inodes: inodes - used_inodes(&self.plan.tree),
            uuid: self.plan.uuid,
            inline_data: self.plan.options.inline_data,
            journal,
        };
        let mut descriptors: Vec<u8> = groups.iter().flat_map(|group| group.descriptor).collect();
        descriptors.resize((geometry.descriptor_blocks * BLOCK_BYTES) as usize, 0);
        for group in (0..geometry.groups).rev().filter(|group| has_super(*group)) {
            let start = geometry.super_blocks(group).start * BLOCK_BYTES;
            let offset = if group == 0 { PRIMARY_OFFSET } else { 0 };
            let mut block = vec![0; BLOCK_BYTES as usize];
            block[offset as usize..][..1024].copy_from_slice(&superblock.encode(group));
            self.sink.put(start + BLOCK_BYTES, &descriptors)?;
            self.sink.put(start, &block)?;
        }
        self.sink.flush()?;
        Ok(Summary {
            size_bytes: self.plan.size_bytes,
            free_bytes: superblock.free_blocks * BLOCK_BYTES,
            inodes,
            free_inodes: superblock.free_inodes,
        })
    }
}
