//! Goal: whatever a tool does, it and everything that it started is dead when a run returns; how it ended, what it
//! printed and when is told right; and what a seam is promised holds. Method: small scripts, run in a cgroup (where this
//! machine lets us) and below the subreaper alone.

#[path = "process/end.rs"]
mod end;
#[path = "process/launched.rs"]
mod launched;
#[path = "process/output.rs"]
mod output;
#[path = "process/seam.rs"]
mod seam;
#[path = "process/sleeps.rs"]
mod sleeps;
#[path = "process/tools.rs"]
mod tools;
