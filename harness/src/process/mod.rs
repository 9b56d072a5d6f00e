//! Processes under test: started in their own group and tree, watched, limited, and ended whole.
//!
//! [`run`] runs one command to its end or its kill, in one loop over the tool's output, its trapped system calls and
//! its end. [`launch`] is the small process beside killpoint that starts the tools
//! and collects whatever they leave behind; [`containment`] is killpoint's side of it.

pub mod command;
pub mod containment;
mod keeper;
mod kill;
pub mod launch;
mod outputs;
pub mod run;
mod sys;
mod traps;
mod tree;
mod watch;
mod wire;

pub use command::{Aim, Anchor, Bind, Command, End, Mark, Run, StepRule};
pub use containment::Containment;
pub use kill::{Seam, Wiring};
pub use run::{RunError, Runner};
pub use wire::Stage;
