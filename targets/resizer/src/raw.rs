//! Byte-for-byte relocation of content that has no structure to adapt.
//!
//! The rest of the target is zeroed, so every byte of it is a function of the source; only bytes that differ are
//! written, so a repeated copy writes nothing. Afterwards the target is read again and its hash compared.

use crate::disk::{Disk, Extent};
use crate::error::{Error, Result};
use crate::patch::WRITE_MAX_BYTES;

/// Bytes handled at a time: the longest write of a copy.
const CHUNK_BYTES: u64 = WRITE_MAX_BYTES as u64;

/// Copies `source` to the longer `target` and fills what is left with zeros. Flushing is left to the caller.
pub fn relocate(disk: &dyn Disk, source: Extent, target: Extent) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    let mut old = vec![0; CHUNK_BYTES as usize];
    for_chunks(target.len_bytes, |done, len| {
        let mut wanted = vec![0; len];
        let copied = source.len_bytes.saturating_sub(done).min(len as u64) as usize;
        read(disk, source.offset_bytes + done, &mut wanted[..copied])?;
        hasher.update(&wanted);
        read(disk, target.offset_bytes + done, &mut old[..len])?;
        if wanted != old[..len] {
            let offset = target.offset_bytes + done;
            disk.write_at(offset, &wanted).map_err(Error::io("write", disk.path()))?;
        }
        Ok(())
    })?;
    verify(disk, target, hasher.finalize())
}

fn verify(disk: &dyn Disk, target: Extent, wanted: blake3::Hash) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    let mut buf = vec![0; CHUNK_BYTES as usize];
    for_chunks(target.len_bytes, |done, len| {
        read(disk, target.offset_bytes + done, &mut buf[..len])?;
        hasher.update(&buf[..len]);
        Ok(())
    })?;
    if hasher.finalize() == wanted {
        Ok(())
    } else {
        Err(Error::CopyDiffers { path: disk.path().to_path_buf(), offset_bytes: target.offset_bytes })
    }
}

fn for_chunks(len_bytes: u64, mut each: impl FnMut(u64, usize) -> Result<()>) -> Result<()> {
    let mut done = 0;
    while done < len_bytes {
        let len = CHUNK_BYTES.min(len_bytes - done);
        each(done, len as usize)?;
        done += len;
    }
    Ok(())
}

fn read(disk: &dyn Disk, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
    disk.read_at(offset_bytes, buf).map_err(Error::io("read", disk.path()))
}
