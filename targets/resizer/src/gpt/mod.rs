//! The GUID partition table (UEFI 2.10 §5.3): decoding both copies, choosing between them, and writing them in an
//! order that leaves at least one valid at every moment.
//!
//! Crate `gpt` encodes and decodes in memory; what is written where, when, and with which barriers is decided here.

mod codec;
mod pmbr;
mod store;
mod table;

pub use codec::Flaw;
pub use store::{Found, detect_sector_size, heal, read, write};
pub use table::{Entry, NAME_UNITS, Span, Table};

/// Entries a table may have at most: its array stays within one write of 256 KiB.
pub const MAX_ENTRIES: u32 = 2048;

/// Bytes of one entry; other sizes are refused.
pub const ENTRY_LEN: usize = 128;
