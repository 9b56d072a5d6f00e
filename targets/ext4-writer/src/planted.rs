//! Deliberate bugs for testing the tests: with cargo feature `planted`, the environment variable `IMAGE_TOOLS_BUG`
//! names one of them. Without the feature nothing is ever active and the name is not in the binary.

/// Whether a deliberate bug is asked for.
#[cfg(feature = "planted")]
pub fn is_active(bug: &str) -> bool {
    std::env::var("IMAGE_TOOLS_BUG").is_ok_and(|name| name == bug)
}

/// Whether a deliberate bug is asked for: never in a build without feature `planted`.
#[cfg(not(feature = "planted"))]
pub const fn is_active(_bug: &str) -> bool {
    false
}
