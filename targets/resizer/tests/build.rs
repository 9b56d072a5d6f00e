//! Goal: a build without features holds nothing of the test harness. Method: the built program is searched for
//! the names that the hook and the deliberate bugs have, and cargo is asked for the dependencies.

use std::fs;
use std::process::Command;

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[test]
#[cfg_attr(any(feature = "chaos", feature = "planted"), ignore = "this build has the features on")]
fn a_plain_build_has_no_trace_of_the_hook_or_the_deliberate_bugs() {
    let program = fs::read(env!("CARGO_BIN_EXE_resizer")).unwrap();
    for name in ["KILLPOINT_HOOK", "RESIZER_BUG", "fault_backend", "naive-copy-back", "random-guid"] {
        assert!(!contains(&program, name), "{name}");
    }
    assert!(contains(&program, "_resized2"), "the search finds what is there");
}

#[test]
fn a_plain_build_depends_on_nothing_of_the_harness() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-p", "resizer", "-e", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(tree.lines().any(|line| line.starts_with("gpt v4")), "{tree}");
    for name in ["fault-backend", "killpoint", "scenarios", "reports"] {
        assert!(!tree.lines().any(|line| line.starts_with(name)), "{tree}");
    }
}
