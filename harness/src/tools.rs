//! Finds the project's own tools, and builds them where a checkout is at hand.
//!
//! A tool is looked for beside killpoint's executable (but not in a build folder of cargo), then in `KILLPOINT_TOOLS`; a
//! build without what the campaign needs (the in-process hook, planted bugs) is passed over. Else, in a checkout, cargo
//! builds it into a folder of its own, so that the features of one build never leak into another.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use scenarios::programs;

/// Environment variable that names a folder with tools.
pub const TOOLS_VARIABLE: &str = "KILLPOINT_TOOLS";

/// Name by which a scenario runs killpoint itself.
pub const SELF: &str = "killpoint";

/// Tools of the project, and whether they link the in-process hook.
const OWN_TOOLS: &[(&str, bool)] = &[("image-tools", false), ("resizer", true)];

/// What a tool has to be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The in-process hook.
    pub hook: bool,
    /// Planted bugs.
    pub planted: bool,
}

/// A tool can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// Nothing was found and nothing can be built.
    #[error(
        "`{tool}` was found neither beside killpoint nor in {TOOLS_VARIABLE}, as this campaign needs it; build it with \
         `cargo build --release -p {tool} --features '{features}'` and set {TOOLS_VARIABLE} to its folder"
    )]
    NotFound {
        /// Tool.
        tool: String,
        /// Features that it needs.
        features: &'static str,
    },
    /// cargo can't be started.
    #[error("`{tool}` can't be built: cargo can't be started")]
    NoCargo {
        /// Tool.
        tool: String,
        /// Why.
        source: io::Error,
    },
    /// cargo failed.
    #[error("`{tool}` can't be built:\n{output}")]
    Build {
        /// Tool.
        tool: String,
        /// What cargo printed.
        output: String,
    },
    /// A candidate can't be read.
    #[error("`{path}` can't be read")]
    Read {
        /// Candidate.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Needs {
    fn features(self) -> &'static str {
        match (self.hook, self.planted) {
            (true, true) => "chaos,planted",
            (true, false) => "chaos",
            (false, true) => "planted",
            (false, false) => "",
        }
    }

    /// Name of the folder below `target` in a checkout.
    fn folder(self) -> &'static str {
        match (self.hook, self.planted) {
            (true, true) => "tools-planted",
            (true, false) => "tools-chaos",
            (false, true) => "tools-plain-planted",
            (false, false) => "tools-plain",
        }
    }

    fn are_met_by(self, binary: &[u8]) -> bool {
        let holds = |marker: &str| contains(binary, marker.as_bytes());
        (!self.hook || holds(fault_backend::hook::ENVIRONMENT)) && (!self.planted || holds("_BUG"))
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Whether a program is one of the project's tools.
pub fn is_own(program: &str) -> bool {
    OWN_TOOLS.iter().any(|(tool, _)| *tool == program)
}

/// Whether a program is one of the project's tools that have the in-process hook.
pub fn links_hook(program: &str) -> bool {
    OWN_TOOLS.contains(&(program, true))
}

/// Where one of the project's tools comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is there.
    There(PathBuf),
    /// It is to be built in this checkout.
    Checkout(&'static Path),
}

/// Path of one of the project's tools. `say` is told before something is built.
pub fn find_own(tool: &str, needs: Needs, say: &mut dyn FnMut(&str)) -> Result<PathBuf, ToolError> {
    // A tool without the hook is killed at times on that seam.
    let needs = Needs { hook: needs.hook && links_hook(tool), ..needs };
    match place_of(tool, needs)? {
        Place::There(path) => Ok(path),
        Place::Checkout(root) => build(root, tool, needs, say),
    }
}

/// Where one of the project's tools is, or could be built. Nothing is built.
pub fn place_of(tool: &str, needs: Needs) -> Result<Place, ToolError> {
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    // In a build folder of cargo lies whatever was built there last, with whatever features.
    let beside = beside.filter(|folder| !folder.join(".fingerprint").is_dir());
    let named = std::env::var_os(TOOLS_VARIABLE).map(PathBuf::from);
    for folder in beside.iter().chain(&named) {
        let path = folder.join(tool);
        match fs::read(&path) {
            Ok(binary) if needs.are_met_by(&binary) => return Ok(Place::There(path)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ToolError::Read { path, source }),
        }
    }
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().filter(|root| {
        root.join("Cargo.toml").is_file() && root.join("targets").join(tool).join("Cargo.toml").is_file()
    });
    match checkout {
        Some(root) => Ok(Place::Checkout(root)),
        None => Err(ToolError::NotFound { tool: tool.to_owned(), features: needs.features() }),
    }
}

fn build(root: &Path, tool: &str, needs: Needs, say: &mut dyn FnMut(&str)) -> Result<PathBuf, ToolError> {
    let target = root.join("target").join(needs.folder());
    if !target.join("release").join(tool).exists() {
        say(&format!("building {tool} (once)"));
    }
    let output = Command::new(cargo_name())
        .current_dir(root)
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--package",
            tool,
            "--features",
            needs.features(),
        ])
        .arg("--target-dir")
        .arg(&target)
        // Settings that belong to the build of killpoint itself, such as those of a coverage run.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .output()
        .map_err(|source| ToolError::NoCargo { tool: tool.to_owned(), source })?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(ToolError::Build { tool: tool.to_owned(), output });
    }
    Ok(target.join("release").join(tool))
}

fn cargo_name() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Path of the cargo that would build a tool, if there is one.
pub fn cargo() -> Option<PathBuf> {
    let (name, path) = (cargo_name(), std::env::var_os("PATH").unwrap_or_default());
    let folders = std::env::split_paths(&path);
    folders.map(|folder| folder.join(&name)).find(|file| file.is_file())
}

/// Path of a program in the search path that tools under test get, if it is there.
pub fn find_in_path(program: &str) -> Option<PathBuf> {
    programs::find_in(std::env::split_paths(SEARCH_PATH), program)
}

/// Path of a program as a user's shell in a folder would find it: by its path, in the fixed search path, or in the
/// user's own.
pub fn find_for_user(program: &str, directory: &Path) -> Option<PathBuf> {
    if program.contains('/') {
        let path = directory.join(program);
        return path.is_file().then_some(path);
    }
    let own = std::env::var_os("PATH").unwrap_or_default();
    find_in_path(program).or_else(|| programs::find_in(std::env::split_paths(&own), program))
}

/// `PATH` of everything that killpoint starts: fixed, so that a result does not depend on the caller's shell.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// First line that a program prints about its version; none where it prints nothing that looks like one.
pub fn version_of(program: &Path) -> Option<String> {
    let name = program.file_name()?.to_str()?;
    let flag = match name {
        "e2fsck" | "mke2fs" | "debugfs" | "dumpe2fs" => "-V",
        // resize2fs has no flag for it; it belongs to e2fsck's package.
        "resize2fs" => return None,
        _ => "--version",
    };
    let output = Command::new(program).arg(flag).env("LC_ALL", "C").output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text).lines().next()?.trim().to_owned();
    line.bytes().any(|byte| byte.is_ascii_digit()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_the_hook_or_without_bugs_is_passed_over() {
        let plain = b"....";
        let hooked = b"..KILLPOINT_HOOK..";
        let planted = b"..KILLPOINT_HOOK..RESIZER_BUG..";
        let seen = |binary: &[u8]| {
            [(false, false), (true, false), (true, true)]
                .map(|(hook, planted)| Needs { hook, planted }.are_met_by(binary))
        };
        assert_eq!(seen(plain), [true, false, false]);
        assert_eq!(seen(hooked), [true, true, false]);
        assert_eq!(seen(planted), [true, true, true]);
    }
}
