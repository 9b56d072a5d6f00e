//! Writes the data of files, in the order of its blocks.
//!
//! A thread reads ahead where content can be read from another one, so that reading costs no time of its own; what is
//! written, and in which order, is the same without it. On file systems that can share blocks the kernel copies instead.

use std::fs::File;
use std::io::{self, SeekFrom};
use std::os::unix::fs::FileExt;
use std::thread;

use crate::error::WriteError;
use crate::extent::Extent;
use crate::geometry::BLOCK_BYTES;
use crate::layout::{DataOrder, Placed};
use crate::plan::Plan;
use crate::sink::{CopyError, Sink};
use crate::tree::{Contents, FileData, NodeId, Opened, ReadSeek};

/// Shorter files are gathered into large writes instead.
const KERNEL_COPY_BYTES: u64 = 16 << 10;
/// Buffers that are read ahead at most.
const AHEAD: usize = 4;
/// What `statfs` calls file systems on which a copy within one can share blocks: XFS, btrfs, bcachefs.
const SHARING: [u32; 3] = [0x5846_5342, 0x9123_683e, 0xca45_1a4e];

/// A file's data that can't be copied, by node.
struct Failure(NodeId, CopyError);

/// Writes the data of all files of a plan.
pub(crate) fn write(plan: &Plan, contents: &dyn Contents, output: &File) -> Result<(), WriteError> {
    let written = match contents.shared() {
        Some(contents) if !can_share(output) => read_ahead(plan, contents, output),
        _ => copy_all(plan, contents, &mut Sink::new(output)),
    };
    written.map_err(|Failure(id, error)| explain(plan, error, id))
}

/// What a failed copy is to whoever asked for an image.
pub(crate) fn explain(plan: &Plan, error: CopyError, id: NodeId) -> WriteError {
    match error {
        CopyError::Read(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            WriteError::Changed { path: plan.tree.path(id) }
        }
        CopyError::Read(source) => WriteError::Read { path: plan.tree.path(id), source },
        CopyError::Write(source) => WriteError::Write(source),
    }
}

/// A file that has grown is as wrong as one that has shrunk.
pub(crate) fn expect_end(from: &mut dyn ReadSeek) -> io::Result<()> {
    match from.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn can_share(output: &File) -> bool {
    rustix::fs::fstatfs(output).is_ok_and(|found| SHARING.contains(&(found.f_type as u32)))
}

fn read_ahead(plan: &Plan, contents: &(dyn Contents + Sync), output: &File) -> Result<(), Failure> {
    let (mut sink, gathered, back) = Sink::of_thread(AHEAD);
    thread::scope(move |scope| {
        let reader = scope.spawn(move || copy_all(plan, contents, &mut sink));
        for part in gathered {
            if let Err(error) = output.write_all_at(&part.buffer[..part.filled], part.start) {
                // The reader meets the end of the channel and stops.
                return Err(Failure(plan.tree.root(), CopyError::Write(error)));
            }
            // A reader that has ended needs no more buffers.
            back.send(part.buffer).ok();
        }
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn copy_all(plan: &Plan, contents: &dyn Contents, sink: &mut Sink<'_>) -> Result<(), Failure> {
    let order = DataOrder::of(&plan.tree, &plan.options);
    let mut last = plan.tree.root();
    for (id, data) in order.aligned.into_iter().chain(order.packed) {
        copy_file(contents, data, &plan.layout.placed[id.0], sink).map_err(|error| Failure(id, error))?;
        last = id;
    }
    sink.flush().map_err(|error| Failure(last, CopyError::Write(error)))
}

fn copy_file(
    contents: &dyn Contents,
    data: &FileData,
    place: &Placed,
    sink: &mut Sink<'_>,
) -> Result<(), CopyError> {
    if place.extents.is_empty() {
        return Ok(());
    }
    match contents.open(data.content).map_err(CopyError::Read)? {
        Opened::File(mut file) => {
            // Longer or shorter than it was is wrong in any case.
            if file.metadata().map_err(CopyError::Read)?.len() != data.len {
                return Err(CopyError::Read(io::ErrorKind::UnexpectedEof.into()));
            }
            if data.len < KERNEL_COPY_BYTES || !copy_in_kernel(&file, data, place, sink) {
                copy_read(&mut file, data, place, sink)?;
            }
            Ok(())
        }
        Opened::Reader(mut reader) => {
            let is_whole = copy_read(&mut *reader, data, place, sink)?;
            if is_whole { expect_end(&mut *reader).map_err(CopyError::Read) } else { Ok(()) }
        }
    }
}

/// Copies without reading; what is behind the end in the last block stays a hole. False where that can't be done.
fn copy_in_kernel(file: &File, data: &FileData, place: &Placed, sink: &mut Sink<'_>) -> bool {
    place.extents.iter().all(|Extent { logical, physical, len }| {
        let start = logical * BLOCK_BYTES;
        let end = data.len.min(start + len * BLOCK_BYTES);
        sink.copy_file(physical * BLOCK_BYTES, file, start..end)
    })
}

/// Copies by reading; tells whether that was up to the end of the file.
fn copy_read(
    from: &mut dyn ReadSeek,
    data: &FileData,
    place: &Placed,
    sink: &mut Sink<'_>,
) -> Result<bool, CopyError> {
    let mut at = 0;
    for Extent { logical, physical, len } in &place.extents {
        let start = logical * BLOCK_BYTES;
        if at != start {
            from.seek(SeekFrom::Start(start)).map_err(CopyError::Read)?;
        }
        let end = data.len.min(start + len * BLOCK_BYTES);
        sink.copy(physical * BLOCK_BYTES, end - start, from)?;
        at = end;
        if end < start + len * BLOCK_BYTES {
            // Whole blocks are written, so that the next file follows in the same write.
            let padding = start + len * BLOCK_BYTES - end;
            sink.copy((physical + len) * BLOCK_BYTES - padding, padding, &mut io::repeat(0))?;
        }
    }
    Ok(at == data.len)
}
