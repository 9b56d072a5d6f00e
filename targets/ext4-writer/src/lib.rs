//! Deterministic ext4 images, written from scratch in one pass.
#![forbid(unsafe_code)]
