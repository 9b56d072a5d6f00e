//! Which seam a campaign gets: FUSE where this machine has it, since any tool works on it; else the hook inside the
//! tools that link it.

use std::fs::OpenOptions;
use std::path::Path;

use reports::Seam;
use scenarios::Resolved;

use crate::error::Error;
use crate::namespace;
use crate::programs;
use crate::tools;

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Whatever fits.
    Any,
    /// This one.
    This(Seam),
}

/// A seam, and whether this process has mounts of its own now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The seam.
    pub seam: Seam,
    /// Nobody else sees what is mounted from now on.
    pub private_mounts: bool,
}

/// Chooses the seam for the scenarios of a campaign, and leaves the mount namespace for FUSE. To be called before
/// there are other threads.
pub fn choose(wish: Wish, all: &[&Resolved]) -> Result<Chosen, Error> {
    let hooked = all.iter().all(|resolved| programs::all_link_the_hook(resolved));
    let seam = match (wish, lacking()) {
        // A tool that does not link the hook can still be killed at times.
        (Wish::This(Seam::InProcess), _) => Seam::InProcess,
        (Wish::This(Seam::Fuse), Some(why)) => return Err(Error::NoFuse { why }),
        (Wish::Any, Some(why)) if !hooked => return Err(Error::NoFuse { why }),
        (Wish::Any, Some(_)) => Seam::InProcess,
        (_, None) => Seam::Fuse,
    };
    let private_mounts = match seam {
        Seam::Fuse => namespace::leave().map_err(Error::Namespace)?,
        Seam::InProcess => false,
    };
    Ok(Chosen { seam, private_mounts })
}

/// What keeps this machine, or this user, from using FUSE.
pub fn lacking() -> Option<&'static str> {
    let device = Path::new("/dev/fuse");
    if !device.exists() {
        return Some("there is no /dev/fuse (modprobe fuse)");
    }
    if OpenOptions::new().read(true).write(true).open(device).is_err() {
        return Some("/dev/fuse can't be opened (run it as root, or give this user access)");
    }
    let may_mount = nix::unistd::geteuid().is_root();
    if !may_mount && tools::find_in_path("fusermount3").is_none() {
        return Some("mounting takes root or fusermount3 (Debian package fuse3)");
    }
    None
}
