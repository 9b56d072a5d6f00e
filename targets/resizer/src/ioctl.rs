//! The requests to a block device that have no safe wrapper: the only unsafe code of this crate.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc::{c_char, c_int, c_longlong, c_void};

/// `struct blkpg_partition` of `linux/blkpg.h`; start and length in bytes.
#[repr(C)]
struct BlkpgPartition {
    start: c_longlong,
    length: c_longlong,
    pno: c_int,
    devname: [c_char; 64],
    volname: [c_char; 64],
}

/// `struct blkpg_ioctl_arg` of `linux/blkpg.h`.
#[repr(C)]
struct BlkpgArg {
    op: c_int,
    flags: c_int,
    datalen: c_int,
    data: *mut c_void,
}

mod raw {
    use nix::libc::c_int;
    nix::ioctl_read_bad!(blksszget, nix::request_code_none!(0x12, 104), c_int);
    nix::ioctl_read_bad!(blkroget, nix::request_code_none!(0x12, 94), c_int);
    nix::ioctl_none_bad!(blkflsbuf, nix::request_code_none!(0x12, 97));
    nix::ioctl_none_bad!(blkrrpart, nix::request_code_none!(0x12, 95));
    nix::ioctl_write_ptr_bad!(blkpg, nix::request_code_none!(0x12, 105), super::BlkpgArg);
}

/// What to do with the kernel's idea of one partition (`linux/blkpg.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartitionOp {
    /// There is a new one.
    Add = 1,
    /// It is gone.
    Delete = 2,
    /// Its length changed, its start did not.
    Resize = 3,
}

/// Tells the kernel about one partition of an open disk.
pub fn change_partition(
    disk: &File,
    op: PartitionOp,
    number: u32,
    start_bytes: u64,
    len_bytes: u64,
) -> io::Result<()> {
    let number = c_int::try_from(number).map_err(io::Error::other)?;
    let mut partition = BlkpgPartition {
        start: start_bytes.try_into().map_err(io::Error::other)?,
        length: len_bytes.try_into().map_err(io::Error::other)?,
        pno: number,
        devname: [0; 64],
        volname: [0; 64],
    };
    let arg = BlkpgArg {
        op: op as c_int,
        flags: 0,
        datalen: size_of::<BlkpgPartition>() as c_int,
        data: (&raw mut partition).cast(),
    };
    // SAFETY: the descriptor is open for the call's duration, and `arg` and the structure that it points to have
    // the layout that BLKPG expects and outlive the call.
    unsafe { raw::blkpg(disk.as_raw_fd(), &raw const arg) }?;
    Ok(())
}

/// Has the kernel read the whole table again. It refuses while any partition is in use.
pub fn reread_table(disk: &File) -> io::Result<()> {
    // SAFETY: the request has no argument, and the descriptor is open.
    unsafe { raw::blkrrpart(disk.as_raw_fd()) }?;
    Ok(())
}

/// Length of a logical sector in bytes.
pub fn sector_len(disk: &File) -> io::Result<u32> {
    let mut bytes: c_int = 0;
    // SAFETY: the request writes one int, which is what it is given.
    unsafe { raw::blksszget(disk.as_raw_fd(), &raw mut bytes) }?;
    u32::try_from(bytes).map_err(io::Error::other)
}

/// Whether the device refuses writes.
pub fn is_read_only(disk: &File) -> io::Result<bool> {
    let mut read_only: c_int = 0;
    // SAFETY: the request writes one int, which is what it is given.
    unsafe { raw::blkroget(disk.as_raw_fd(), &raw mut read_only) }?;
    Ok(read_only != 0)
}

/// Writes back and drops what is cached of the device.
pub fn drop_cache(disk: &File) -> Result<(), Errno> {
    // SAFETY: the request has no argument that is read, and the descriptor is open.
    unsafe { raw::blkflsbuf(disk.as_raw_fd()) }.map(drop)
}
