//! Processes under test: started in their own group and tree, watched, limited, and ended whole.
//!
//! [`containment`] knows every process of a tree, also those that left the group by `setsid`; [`launch`] is the
//! small step between spawn and exec that puts a tool there; [`run`] runs one command to its end or its kill.

pub mod containment;
pub mod launch;
pub mod run;

pub use containment::Containment;
pub use run::{Aim, Anchor, Command, End, Mark, Run, RunError};
