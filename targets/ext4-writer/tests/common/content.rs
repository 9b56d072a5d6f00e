//! Content that is never kept: each byte follows from a file's seed and the place of the byte.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use ext4_writer::{Contents, Opened};

/// The content of one file; outside of `data`, if that is given, it is zeros.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    pub seed: u64,
    pub len: u64,
    pub data: Option<Vec<Range<u64>>>,
}

/// Content by number.
#[derive(Default)]
pub struct MadeUp(pub Vec<Content>);

impl Contents for MadeUp {
    fn open(&self, content: u64) -> io::Result<Opened<'_>> {
        Ok(Opened::Reader(Box::new(Reader { content: &self.0[content as usize], at: 0 })))
    }
}

impl Content {
    fn fill(&self, at: u64, buffer: &mut [u8]) {
        for (index, byte) in buffer.iter_mut().enumerate() {
            let at = at + index as u64;
            let word = (self.seed ^ (at >> 9)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *byte = (word >> 56) as u8 ^ at as u8 | 1;
        }
        let Some(data) = &self.data else { return };
        let mut hole = at;
        let end = at + buffer.len() as u64;
        for range in data.iter().chain([&(u64::MAX..u64::MAX)]).filter(|range| range.end > at) {
            let to = range.start.clamp(hole, end);
            buffer[(hole - at) as usize..(to - at) as usize].fill(0);
            hole = range.end.clamp(hole, end);
        }
    }

    /// Compares all that a reader gives.
    pub fn assert_read_from(&self, mut reader: impl Read, path: &Path) {
        let (mut found, mut wanted) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let mut at = 0;
        while at < self.len {
            let part = (self.len - at).min(found.len() as u64) as usize;
            reader.read_exact(&mut found[..part]).unwrap();
            self.fill(at, &mut wanted[..part]);
            assert!(found[..part] == wanted[..part], "{path:?} from {at}");
            at += part as u64;
        }
        assert_eq!(reader.read(&mut found).unwrap(), 0, "{path:?} ends at {at}");
    }
}

struct Reader<'a> {
    content: &'a Content,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = (self.content.len.saturating_sub(self.at)).min(buffer.len() as u64) as usize;
        self.content.fill(self.at, &mut buffer[..part]);
        self.at += part as u64;
        Ok(part)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(at) => self.at = at,
            SeekFrom::Current(by) => self.at = self.at.wrapping_add_signed(by),
            SeekFrom::End(by) => self.at = self.content.len.wrapping_add_signed(by),
        }
        Ok(self.at)
    }
}
