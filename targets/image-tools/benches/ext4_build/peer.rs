//! The same image by crate `mkext4`, the way that its own documentation shows: declare everything, then stream content.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mkext4::sink::FileSink;
use mkext4::{FsBuilder, InodeCount, InodeHandle, Meta, Options, ROOT};

/// Builds from `[folder, image, size in bytes, inodes]`.
pub fn build(words: &[String]) -> Result<()> {
    let [tree, image, size, inodes] = words else { anyhow::bail!("four words are needed") };
    let mut options = Options::new(size.parse()?, *b"image-tools-peer", 1_700_000_000);
    options.inodes = InodeCount::Exact(inodes.parse()?);
    options.journal_blocks = Some(super::JOURNAL_BLOCKS as u32);
    options.reserved_percent = 0;
    let mut builder = FsBuilder::new(options)?;
    let mut files = Vec::new();
    declare(&mut builder, ROOT, Path::new(tree), &mut files)?;
    let layout = builder.seal()?;
    let mut sink = FileSink::create(Path::new(image), layout.image_len())?;
    let mut writer = layout.writer(&mut sink)?;
    for (handle, path) in &files {
        writer.fill(*handle, &mut File::open(path)?)?;
    }
    writer.finish()?;
    // The others flush their image as well.
    Ok(sink.into_file().sync_all()?)
}

fn declare(
    builder: &mut FsBuilder,
    parent: InodeHandle,
    folder: &Path,
    files: &mut Vec<(InodeHandle, PathBuf)>,
) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_str().context("a name of the tree")?;
        let found = fs::symlink_metadata(&path)?;
        let time = (found.mtime(), found.mtime_nsec() as u32);
        let meta = Meta::new((found.mode() & 0o7777) as u16, found.uid(), found.gid(), time);
        if found.is_dir() {
            let child = builder.mkdir(parent, name, meta)?;
            declare(builder, child, &path, files)?;
        } else {
            files.push((builder.file(parent, name, meta, found.len())?, path));
        }
    }
    Ok(())
}
