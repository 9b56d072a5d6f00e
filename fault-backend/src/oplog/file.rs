//! Recordings as files, and comparing them: the form is postcard's, behind a line that names it and its version.

use std::io::{self, Read, Write};
use std::mem::discriminant;

use super::{Op, OpKind, OpLog};

const MAGIC: &[u8] = b"killpoint oplog 2\n";

impl OpLog {
    /// Bytes of the payloads of its writes.
    pub fn payload_bytes(&self) -> u64 {
        self.mutations().map(|(_, mutation)| mutation.payload_bytes()).sum()
    }

    /// Whether two runs did the same ops, payloads included, in the same order. Times and names of processes don't
    /// count, and of ops that don't matter only what kind they are.
    pub fn same_ops(&self, other: &Self, matters: impl Fn(&Op) -> bool) -> bool {
        let same = |a: &Op, b: &Op| match (&a.kind, &b.kind) {
            // A time that a tool sets may be the clock's; it is no content.
            (OpKind::Mutation(x), OpKind::Mutation(y)) if matters(a) || matters(b) => x.same_change(y),
            (OpKind::Mutation(x), OpKind::Mutation(y)) => discriminant(x) == discriminant(y),
            (x, y) => x == y,
        };
        self.ops.len() == other.ops.len() && self.ops.iter().zip(&other.ops).all(|(a, b)| same(a, b))
    }

    /// Whether two runs did ops of the same kinds in the same order, on the same bytes of the same files.
    pub fn same_shape(&self, other: &Self) -> bool {
        let shape = |op: &Op| match &op.kind {
            OpKind::Mutation(mutation) => (Some(discriminant(mutation)), mutation.ino(), mutation.range()),
            OpKind::Flush { ino, .. } => (None, *ino, None),
        };
        self.ops.iter().map(shape).eq(other.ops.iter().map(shape))
    }

    /// Writes it, for [`OpLog::read_from`].
    pub fn write_to(&self, writer: &mut impl Write) -> io::Result<()> {
        writer.write_all(MAGIC)?;
        postcard::to_io(self, writer).map(drop).map_err(io::Error::other)
    }

    /// Reads what [`OpLog::write_to`] wrote.
    ///
    /// # Errors
    /// InvalidData where it is damaged or of another version.
    pub fn read_from(reader: &mut impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
        match postcard::take_from_bytes(rest) {
            Ok((log, [])) => Ok(log),
            _ => Err(damaged()),
        }
    }
}

/// An errno as its number.
pub(super) mod errno {
    use nix::errno::Errno;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(errno: &Errno, serializer: S) -> Result<S::Ok, S::Error> {
        (*errno as i32).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Errno, D::Error> {
        i32::deserialize(deserializer).map(Errno::from_raw)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nix::errno::Errno;

    use super::*;
    use crate::oplog::{Op, Outcome};
    use crate::volume::{Ino, Mutation, Timestamp};

    fn log(data: &[u8]) -> OpLog {
        let mut log = OpLog::default();
        let op = |number, kind, outcome| Op {
            number,
            kind,
            fua: false,
            cached: false,
            process: "tool".into(),
            step: "start".into(),
            acks: 0,
            epoch: 0,
            outcome,
            time: Timestamp::default(),
            path: None,
        };
        let write = Mutation::Write { ino: Ino(3), offset: 512, data: Arc::from(data) };
        log.push(op(1, OpKind::Mutation(write), Outcome::Completed));
        log.push(op(2, OpKind::Flush { ino: None, data_only: false }, Outcome::Failed(Errno::EIO)));
        log
    }

    #[test]
    fn a_recording_comes_back_from_its_file_and_a_damaged_file_is_refused() {
        let log = log(b"payload");
        let mut bytes = Vec::new();
        log.write_to(&mut bytes).unwrap();
        let back = OpLog::read_from(&mut bytes.as_slice()).unwrap();
        assert_eq!(back.ops, log.ops);
        assert_eq!((back.processes, back.steps), (log.processes, log.steps));
        for cut in [0, 5, bytes.len() - 1] {
            let error = OpLog::read_from(&mut &bytes[..cut]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{cut}");
        }
        bytes.push(0);
        assert!(OpLog::read_from(&mut bytes.as_slice()).is_err());
    }

    #[test]
    fn runs_are_the_same_if_their_ops_and_payloads_are() {
        assert!(log(b"a").same_ops(&log(b"a"), |_| true));
        assert!(!log(b"a").same_ops(&log(b"b"), |_| true));
        assert!(log(b"a").same_ops(&log(b"b"), |_| false));
        assert!(log(b"a").same_shape(&log(b"b")));
        assert!(!log(b"a").same_shape(&log(b"ab")));
        let mut later = log(b"a");
        later.ops[0].time.secs = 7;
        assert!(log(b"a").same_ops(&later, |_| true));
        later.ops.pop();
        assert!(!log(b"a").same_ops(&later, |_| true));
        assert_eq!(log(b"abc").payload_bytes(), 3);
    }
}
