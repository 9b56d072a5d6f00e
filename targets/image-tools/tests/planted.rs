//! Goal: the deliberate bugs do what they are named for, so that what catches them is known to catch something. Method: the
//! program with feature `planted` and each bug; a build without the feature has no trace of them.

mod common;

#[cfg(not(feature = "planted"))]
#[test]
fn a_plain_build_has_no_trace_of_planted_bugs() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_image-tools")).unwrap();
    for name in [
        "IMAGE_TOOLS_BUG",
        "chain-error-is-end",
        "grace-0",
        "half-target",
        "hardlink-memory",
        "holes-marked-used",
        "in-place-build",
        "no-reserve",
    ] {
        assert!(!binary.windows(name.len()).any(|window| window == name.as_bytes()), "{name}");
    }
}

#[cfg(feature = "planted")]
mod planted {
    use std::fs;
    use std::path::Path;

    use super::common::{assert_is_clean, names, program, rootfs, run, text, tool};

    fn with_bug(bug: &str, args: &[&str]) -> bool {
        program(args).env("IMAGE_TOOLS_BUG", bug).status().unwrap().success()
    }

    #[test]
    fn after_a_kill_holes_are_marked_used_and_e2fsck_objects() {
        let folder = tempfile::tempdir().unwrap();
        rootfs(folder.path(), true);
        let (tree, image) = (folder.path().join("tree"), folder.path().join("a.ext4"));
        let args = ["ext4", "build", "--from", text(&tree), "--output", text(&image), "--align", "128K"];
        assert!(with_bug("holes-marked-used", &args));
        assert_is_clean(&image);
        fs::write(folder.path().join(".a.ext4.part"), "left by a killed run").unwrap();
        assert!(with_bug("holes-marked-used", &args));
        let (code, said) = tool("e2fsck", &["-fn", text(&image)]);
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("Block bitmap differences"), "{said}");
    }

    #[test]
    fn a_half_target_is_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let image = rootfs(folder.path(), true);
        let half = folder.path().join("half");
        for args in [
            &["clone", text(&image), text(&half)][..],
            &["work-disk", "materialize", text(&image), text(&half), "--size", "64M"],
        ] {
            fs::write(&half, "half").unwrap();
            assert!(with_bug("half-target", args));
            assert_eq!(fs::read(&half).unwrap(), b"half");
            run(args);
            assert!(fs::metadata(&half).unwrap().len() > 4);
        }
    }

    #[test]
    fn a_build_in_place_has_no_temporary_name() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let image = folder.path().join("a.ext4");
        // The temporary name is taken by a folder, which only a build in place doesn't mind.
        fs::create_dir(folder.path().join(".a.ext4.part")).unwrap();
        let args = ["ext4", "build", "--from", text(&tree), "--output", text(&image)];
        assert!(!program(&args).output().unwrap().status.success());
        assert!(with_bug("in-place-build", &args));
        assert!(names(folder.path()).contains(&"a.ext4".to_owned()));
        assert_is_clean(Path::new(&image));
    }
}
