//! A guard that refuses to start what would fill the disk, and a collector of images that nothing refers to.
#![forbid(unsafe_code)]
