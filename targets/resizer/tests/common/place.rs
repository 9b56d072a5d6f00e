//! Where the tests put their files.

use tempfile::TempDir;

/// A new folder in memory where there is such a place, else where temporary files go: e2fsprogs flush so often that a
/// disk more than doubles the time of a test.
pub fn temp_dir() -> TempDir {
    match tempfile::tempdir_in("/dev/shm") {
        Ok(folder) => folder,
        Err(_) => TempDir::new().expect("temporary files can be made"),
    }
}
