//! The chunk hashes of a disk image that is being worked on, kept up to date by the ranges that the seam saw written,
//! so that a crash state's content id costs what was written since the last one and not a read of the whole disk.
//!
//! It is right only as far as the tool writes nothing past the seam. That is checked on the uninterrupted run: where
//! the id that the ranges give is not the id that reading everything gives, the campaign reads everything.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fault_backend::content_id::CHUNK_BYTES;
use fault_backend::{ContentHasher, ContentId};

use crate::image;

/// Chunk hashes of a volume that is one file.
#[derive(Clone, Debug)]
pub struct Fingerprint {
    name: PathBuf,
    len_bytes: u64,
    parts: Vec<u128>,
    sum: ContentHasher,
}

impl Fingerprint {
    /// Reads the one file of a volume; none where the volume has several.
    pub fn of_volume(volume: &Path) -> io::Result<Option<Self>> {
        let Ok([name]) = <[PathBuf; 1]>::try_from(image::files(volume)?) else { return Ok(None) };
        let file = File::open(volume.join(&name))?;
        let len_bytes = image::len_bytes(&file)?;
        let parts = image::chunk_parts(&file, 0..len_bytes)?;
        let mut sum = ContentHasher::new(len_bytes);
        parts.iter().for_each(|part| sum.add(*part));
        Ok(Some(Self { name, len_bytes, parts, sum }))
    }

    /// Reads again what was written. A file whose length changed is read whole.
    pub fn update(&mut self, volume: &Path, written: impl Iterator<Item = Range<u64>>) -> io::Result<()> {
        let file = File::open(volume.join(&self.name))?;
        if image::len_bytes(&file)? != self.len_bytes {
            if let Some(whole) = Self::of_volume(volume)? {
                *self = whole;
            }
            return Ok(());
        }
        let chunk_bytes = CHUNK_BYTES as u64;
        let mut chunks: Vec<u64> = written
            .map(|range| range.start..range.end.min(self.len_bytes))
            .filter(|range| range.start < range.end)
            .flat_map(|range| range.start / chunk_bytes..range.end.div_ceil(chunk_bytes))
            .collect();
        chunks.sort_unstable();
        chunks.dedup();
        let mut buffer = vec![0; CHUNK_BYTES];
        for index in chunks {
            let start = index * chunk_bytes;
            let chunk = &mut buffer[..(self.len_bytes - start).min(chunk_bytes) as usize];
            file.read_exact_at(chunk, start)?;
            let part = ContentId::of_chunk(index, chunk);
            let old = std::mem::replace(&mut self.parts[index as usize], part);
            self.sum.remove(old);
            self.sum.add(part);
        }
        Ok(())
    }

    /// Content id of the volume.
    pub fn id(&self) -> ContentId {
        image::volume_id([(self.name.as_path(), self.sum.finish())])
    }

    /// Hashes of the chunks that a range is made of; none where it does not begin and end with chunks.
    pub fn chunks(&self, range: &Range<u64>) -> Option<&[u128]> {
        let chunk_bytes = CHUNK_BYTES as u64;
        let whole = range.start.is_multiple_of(chunk_bytes) && range.end.is_multiple_of(chunk_bytes);
        if !whole {
            return None;
        }
        self.parts.get((range.start / chunk_bytes) as usize..(range.end / chunk_bytes) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEN: usize = 5 * CHUNK_BYTES + 100;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_ranges_that_were_written_give_the_id_of_the_whole(
            writes in prop::collection::vec((0..LEN, 1usize..3 * CHUNK_BYTES, any::<u8>()), 0..6))
        {
            let volume = tempfile::tempdir().unwrap();
            let path = volume.path().join("disk.img");
            std::fs::write(&path, vec![7; LEN]).unwrap();
            let mut fingerprint = Fingerprint::of_volume(volume.path()).unwrap().unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            let mut ranges = Vec::new();
            for (start, len, byte) in writes {
                let end = (start + len).min(LEN);
                file.write_all_at(&vec![byte; end - start], start as u64).unwrap();
                ranges.push(start as u64..end as u64);
            }
            fingerprint.update(volume.path(), ranges.into_iter()).unwrap();
            prop_assert_eq!(fingerprint.id(), image::content_id(volume.path()).unwrap());
        }
    }

    #[test]
    fn a_write_that_nobody_tells_of_shows_as_another_id() {
        let volume = tempfile::tempdir().unwrap();
        let path = volume.path().join("disk.img");
        std::fs::write(&path, vec![7; LEN]).unwrap();
        let mut fingerprint = Fingerprint::of_volume(volume.path()).unwrap().unwrap();
        std::fs::write(&path, vec![8; LEN]).unwrap();
        fingerprint.update(volume.path(), std::iter::once(0..10)).unwrap();
        assert_ne!(fingerprint.id(), image::content_id(volume.path()).unwrap());
    }

    #[test]
    fn a_volume_of_several_files_has_none() {
        let volume = tempfile::tempdir().unwrap();
        std::fs::write(volume.path().join("a"), "x").unwrap();
        std::fs::write(volume.path().join("b"), "x").unwrap();
        assert!(Fingerprint::of_volume(volume.path()).unwrap().is_none());
    }
}
