//! Goal: `ext4 build` makes the same image each time or none at all, and what images share is found where they are
//! aligned. Method: the program is run as a person would, and e2fsck, debugfs and `cmp` of bytes judge it.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{assert_is_clean, debugfs, names, noise, program, refused, run, text};
use image_tools::dedup::{self, Report};

fn tree(folder: &Path) -> PathBuf {
    let top = folder.join("tree");
    fs::create_dir_all(top.join("data")).unwrap();
    for number in 0..30 {
        fs::write(top.join(format!("data/{number}")), noise(number, 20_000)).unwrap();
    }
    top
}

#[test]
fn a_run_after_a_killed_one_gives_the_same_bytes_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (top, image, again) =
        (tree(folder.path()), folder.path().join("a.ext4"), folder.path().join("b.ext4"));
    run(&["ext4", "build", "--from", text(&top), "--output", text(&image)]);
    fs::write(folder.path().join(".b.ext4.part"), "what a killed run left").unwrap();
    run(&["ext4", "build", "--from", text(&top), "--output", text(&again)]);
    assert!(fs::read(&image).unwrap() == fs::read(&again).unwrap());
    assert_eq!(names(folder.path()), ["a.ext4", "b.ext4", "tree"]);
    assert_is_clean(&image);
}

#[test]
fn an_archive_and_all_options_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (top, archive, image) =
        (tree(folder.path()), folder.path().join("tree.tar"), folder.path().join("a.ext4"));
    let status = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&top).arg(".").status().unwrap();
    assert!(status.success());
    run(&[
        "ext4",
        "build",
        "--from",
        text(&archive),
        "--output",
        text(&image),
        "--size",
        "200M",
        "--uuid",
        "5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c32",
        "--journal",
        "2048",
        "--align",
        "128K",
        "--align-min",
        "4K",
        "--inline-data",
    ]);
    assert_is_clean(&image);
    assert_eq!(fs::metadata(&image).unwrap().len(), 200 << 20);
    let stats = debugfs(&image, "stats");
    assert!(
        stats.contains("5a6f1c0e-3f0b-4c55-9d0c-7a3f2f0f6c32") && stats.contains("inline_data"),
        "{stats}"
    );
    let blocks = debugfs(&image, "blocks /data/7");
    let first = blocks.lines().next().and_then(|line| line.split(' ').next()?.parse::<u64>().ok()).unwrap();
    assert_eq!(first % 32, 0, "{blocks}");
}

#[test]
fn an_archive_may_come_through_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let (top, pipe, image) = (tree(folder.path()), folder.path().join("pipe"), folder.path().join("a.ext4"));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let mut tar = Command::new("tar").arg("-cf").arg(&pipe).arg("-C").arg(&top).arg(".").spawn().unwrap();
    run(&["ext4", "build", "--from", text(&pipe), "--output", text(&image)]);
    assert!(tar.wait().unwrap().success());
    assert_is_clean(&image);
    assert!(debugfs(&image, "stat /data/29").contains("Size: 20000"));
}

#[test]
fn a_build_that_fails_leaves_what_was_there_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (top, image) = (tree(folder.path()), folder.path().join("a.ext4"));
    fs::write(&image, "an older image").unwrap();
    let nowhere = folder.path().join("nowhere");
    let from = text(&top);
    for (args, message) in [
        (&["--from", from, "--size", "64K"][..], "ask for a larger size"),
        (&["--from", from, "--size", "10K"], "`/data/0` has 20000 bytes of data and the disk 10240"),
        (&["--from", text(&nowhere)], "can't be read: No such file or directory"),
        (&["--from", "/dev/null/x"], "can't be read: Not a directory"),
    ] {
        let args = [&["ext4", "build", "--output", text(&image)], args].concat();
        let error = refused(&args);
        assert!(error.starts_with("image-tools: error: ") && error.contains(message), "{error}");
        assert_eq!(fs::read(&image).unwrap(), b"an older image");
    }
    assert_eq!(names(folder.path()), ["a.ext4", "tree"]);
    let inside = refused(&["ext4", "build", "--from", from, "--output", text(&top.join("data/x.ext4"))]);
    assert!(inside.contains("lies within"), "{inside}");
    let usage = program(&["ext4", "build", "--from", from]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

/// Three images that share files of 150 KiB to 1.3 MiB, each with files of its own before and between them.
fn images(folder: &Path, options: &[&str]) -> Vec<PathBuf> {
    let build = |number: u64| {
        let top = folder.join(format!("tree-{number}"));
        fs::create_dir_all(&top).unwrap();
        for shared in 0..20 {
            let len = 150_000 + 60_000 * shared as usize;
            fs::write(top.join(format!("{shared:02}-shared")), noise(shared, len)).unwrap();
            let own = noise(1000 * (number + 1) + shared, 7000 + 9000 * (number + shared) as usize % 40_000);
            fs::write(top.join(format!("{shared:02}-own")), own).unwrap();
        }
        let image = folder.join(format!("{number}.ext4"));
        run(&[&["ext4", "build", "--from", text(&top), "--output", text(&image)], options].concat());
        image
    };
    (0..3).map(build).collect()
}

#[test]
fn a_grid_finds_in_aligned_images_what_whole_files_share_and_less_in_others() {
    let folder = tempfile::tempdir().unwrap();
    let probe = |name: &str, options: &[&str]| -> Report {
        let place = folder.path().join(name);
        fs::create_dir(&place).unwrap();
        let images = images(&place, options);
        let printed =
            run(&[&["ext4", "probe-dedup"], &images.iter().map(|image| text(image)).collect::<Vec<_>>()[..]]
                .concat());
        let report = dedup::probe(&images).unwrap();
        assert_eq!(printed.trim_end(), dedup::table(&report).to_string());
        report
    };
    let packed = probe("packed", &[]);
    let aligned = probe("aligned", &["--align", "128K"]);
    assert_eq!(packed.files, aligned.files);
    // Two of three images hold only known files, but for their own.
    assert!((0.5..0.67).contains(&aligned.files.share()), "{aligned:?}");
    assert!(aligned.grid.shared as f64 >= 0.95 * aligned.files.shared as f64, "{aligned:?}");
    assert!((packed.grid.shared as f64) < 0.5 * packed.files.shared as f64, "{packed:?}");
    assert!(packed.chunks.shared > packed.grid.shared, "{packed:?}");
}
