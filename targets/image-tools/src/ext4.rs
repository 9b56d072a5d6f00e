//! `image-tools ext4`: images from a folder or a tar archive, and what several of them share.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ext4_writer::tar_tree::{self, TarError};
use ext4_writer::walk::{self, WalkError};
use ext4_writer::{Align, Contents, Options, Summary, Tree};
use uuid::Uuid;

use crate::dedup::{self, DedupError};
use crate::image::{self, ImageError};
use crate::options::size;

/// What to do with ext4 images.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Builds an image; the same input gives the same bytes.
    Build(BuildArgs),
    /// Shows how much of several images is the same, found in different ways.
    ProbeDedup(ProbeArgs),
}

/// How an image is built.
#[derive(Clone, Debug, Args)]
pub struct BuildArgs {
    /// What it shall hold: a folder, or a tar archive that is not compressed
    #[arg(long, value_name = "DIR|TAR")]
    pub from: PathBuf,
    /// The image
    #[arg(long, value_name = "IMG")]
    pub output: PathBuf,
    /// Size of the image, such as 512M [default: as small as can be, in whole MiB]
    #[arg(long, value_parser = size)]
    pub size: Option<u64>,
    /// UUID of the file system [default: one that follows from the tree]
    #[arg(long)]
    pub uuid: Option<Uuid>,
    /// Journal of so many blocks of 4 KiB, 1024 at least [default: none]
    #[arg(long, value_name = "BLOCKS")]
    pub journal: Option<u32>,
    /// Start the data of files on a grid of so many bytes, such as 128K
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub align: Option<u64>,
    /// Files below this are not aligned [default: the grid]
    #[arg(long, value_name = "BYTES", value_parser = size, requires = "align")]
    pub align_min: Option<u64>,
    /// Keep the content of files of up to 128 bytes in their inodes
    #[arg(long)]
    pub inline_data: bool,
}

/// What is compared.
#[derive(Clone, Debug, Args)]
pub struct ProbeArgs {
    /// Images with ext4
    #[arg(required = true, value_name = "IMG")]
    pub images: Vec<PathBuf>,
}

/// A command on ext4 images failed.
#[derive(Debug, thiserror::Error)]
pub enum Ext4Error {
    /// What it shall hold can't be read.
    #[error("`{path}` can't be read", path = path.display())]
    Input {
        /// Folder or archive.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An image in the folder that it is made from would hold itself the next time.
    #[error("`{output}` lies within `{from}`, which it is made from; put it elsewhere", output = output.display(), from = from.display())]
    Within {
        /// The image.
        output: PathBuf,
        /// The folder.
        from: PathBuf,
    },
    /// The folder can't be made a tree.
    #[error("`{path}` can't be made an image", path = path.display())]
    Walk {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: WalkError,
    },
    /// The archive can't be made a tree.
    #[error("`{path}` can't be made an image", path = path.display())]
    Tar {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: TarError,
    },
    /// The image can't be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Images can't be compared.
    #[error(transparent)]
    Dedup(#[from] DedupError),
}

/// Runs a command; the result goes to standard output.
pub fn run(command: &Command) -> Result<(), Ext4Error> {
    match command {
        Command::Build(args) => {
            let summary = build(args)?;
            println!(
                "{}: {} bytes, {} of them free; {} inodes, {} of them free",
                args.output.display(),
                summary.size_bytes,
                summary.free_bytes,
                summary.inodes,
                summary.free_inodes,
            );
        }
        Command::ProbeDedup(args) => println!("{}", dedup::table(&dedup::probe(&args.images)?)),
    }
    Ok(())
}

/// Builds an image.
pub fn build(args: &BuildArgs) -> Result<Summary, Ext4Error> {
    let options = Options {
        size_bytes: args.size,
        uuid: args.uuid.map(Uuid::into_bytes),
        journal_blocks: args.journal,
        align: args.align.map(|bytes| Align { bytes, min_bytes: args.align_min.unwrap_or(bytes) }),
        inline_data: args.inline_data,
    };
    let from = &args.from;
    let meta = fs::metadata(from).map_err(|source| Ext4Error::Input { path: from.clone(), source })?;
    let (tree, contents): (Tree, Box<dyn Contents>) = if meta.is_dir() {
        refuse_within(&args.output, from)?;
        let walked = walk::walk(from).map_err(|source| Ext4Error::Walk { path: from.clone(), source })?;
        (walked.0, Box::new(walked.1))
    } else {
        let read = tar_tree::read(from).map_err(|source| Ext4Error::Tar { path: from.clone(), source })?;
        (read.0, Box::new(read.1))
    };
    Ok(image::make(tree, &*contents, &options, &args.output)?)
}

fn refuse_within(output: &Path, from: &Path) -> Result<(), Ext4Error> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Where the folder can't be found, creating the image fails and says so.
    match (fs::canonicalize(folder), fs::canonicalize(from)) {
        (Ok(folder), Ok(top)) if folder.starts_with(&top) => {
            Err(Ext4Error::Within { output: output.to_owned(), from: from.to_owned() })
        }
        _ => Ok(()),
    }
}
