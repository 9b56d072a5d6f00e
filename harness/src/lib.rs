//! killpoint: runs a tool that writes disks, kills it at points of its own I/O, resumes it, and compares the
//! result byte for byte with an uninterrupted run.
#![deny(unsafe_code)]
