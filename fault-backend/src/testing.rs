//! Crash tests of Rust code that writes a disk, in one process: a [`Sweep`] runs it once and records what it does,
//! makes the states that a crash can leave, resumes on each, and checks what comes out.
//!
//! ```
//! use fault_backend::BlockDevice;
//! use fault_backend::testing::{Disk, Sweep};
//!
//! /// Two copies of a number with a check byte each; the second is written once the first is durable.
//! fn store(disk: &mut Disk, number: u8) -> std::io::Result<()> {
//!     for place in [512, 1024] {
//!         disk.write_at(place, &[number, !number])?;
//!         disk.flush()?;
//!     }
//!     Ok(())
//! }
//!
//! fn load(disk: &Disk) -> Result<u8, &'static str> {
//!     let copies = [512, 1024].map(|place| {
//!         let mut copy = [0; 2];
//!         disk.read_at(place, &mut copy).ok().filter(|()| copy[0] == !copy[1]).map(|()| copy[0])
//!     });
//!     copies[0].or(copies[1]).ok_or("both copies are broken")
//! }
//!
//! let mut initial = vec![0; 4096];
//! initial[512..514].copy_from_slice(&[1, !1]);
//! initial[1024..1026].copy_from_slice(&[1, !1]);
//! let summary = Sweep::new(initial)
//!     .depth(2)
//!     .durable(true)
//!     .run(|disk| store(disk, 2))
//!     .resume(|disk| store(disk, 2))
//!     .at_crash(|disk| load(disk).map(drop))
//!     .check(|disk| if load(disk)? == 2 { Ok(()) } else { Err("the old number") })
//!     .unwrap();
//! assert!(summary.judged > 2);
//! ```
//!
//! # What is crashed
//! [`Model`] says how: a kill at each op, a kill inside each write, a power cut with what [`crate::power`] makes of
//! it. States with the same content are judged once. With [`Sweep::depth`] the resumes are crashed, too; what a
//! killed run had not flushed is then still volatile, so a power cut during the resume can take it away.
//!
//! # What is asked
//! On each state [`Tool::at_crash`] is asked first; then the resume has to succeed, [`Tool::check`] to pass, and the
//! disk to hold the bytes that the uninterrupted run left, but for [`Sweep::any_end`]. With [`Sweep::durable`], a
//! power cut after the run has succeeded must leave those bytes without any resume. A check that panics has failed.
//!
//! # Failures
//! The first failure is made smaller while it still fails, and printed with a token. [`Sweep::replay`] with it goes
//! to that state alone. Run and resume must do the same on the same bytes: a few kills are also done live, in the
//! device, and compared.

mod crash;
mod disk;
mod explore;
mod failure;
mod shrink;
mod states;
mod sweep;

#[cfg(test)]
mod tests;

pub use crash::{Crash, NotAToken, Token};
pub use disk::Disk;
pub use failure::{SweepError, Violation};
pub use sweep::{Model, Summary, Sweep, Tool};
