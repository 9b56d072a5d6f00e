//! Deliberate bugs for testing the tests: with cargo feature `planted`, the environment variable `RESIZER_BUG`
//! names one of them. Without the feature [`active`] is a constant and the name is not in the binary.

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A shrunk image is copied straight over its partition, with one flush at the end and no marker.
    NaiveCopyBack,
    /// On a resume, a relocated partition gets a random unique GUID.
    RandomGuid,
    /// The flush after the backup header is left out.
    NoFlushBackup,
    /// The flush after the last primary header, with which a run ends, is left out.
    NoFlushPrimary,
}

/// A GUID that no two runs agree on.
#[cfg(feature = "planted")]
pub fn random_guid(otherwise: uuid::Uuid) -> uuid::Uuid {
    use std::io::Read;
    let mut bytes = [0; 16];
    match std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)) {
        Ok(()) => uuid::Builder::from_random_bytes(bytes).into_uuid(),
        Err(_) => otherwise,
    }
}

/// A GUID that no two runs agree on; the given one in a build without feature `planted`.
#[cfg(not(feature = "planted"))]
pub const fn random_guid(otherwise: uuid::Uuid) -> uuid::Uuid {
    otherwise
}

/// The bug asked for, if any.
#[cfg(feature = "planted")]
pub fn active() -> Option<Bug> {
    match std::env::var("RESIZER_BUG").ok()?.as_str() {
        "naive-copy-back" => Some(Bug::NaiveCopyBack),
        "random-guid" => Some(Bug::RandomGuid),
        "no-flush-backup" => Some(Bug::NoFlushBackup),
        "no-flush-primary" => Some(Bug::NoFlushPrimary),
        _ => None,
    }
}

/// The bug asked for, if any: none in a build without feature `planted`.
#[cfg(not(feature = "planted"))]
pub const fn active() -> Option<Bug> {
    None
}
