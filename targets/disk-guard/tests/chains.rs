//! Backing chains as they are read: those that `qemu-img` made have to be what `qemu-img info --backing-chain` says, and
//! whatever is broken about one must be an error, since a chain that looks shorter than it is costs a live image.
//!
//! Method: images made by `qemu-img`, then damaged in one place each. Without `qemu-img` the cases are reported as not
//! run, by name.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use disk_guard::chain::{self, Break};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tempfile::TempDir;

/// What a case that can run does.
type Case = fn() -> Result<(), Failed>;

const CASES: &[(&str, Case)] = &[
    ("a chain is the one that qemu-img sees", agrees_with_qemu),
    ("a relative name counts from its image's folder whatever the working directory", relative_names),
    ("a raw image declared as raw ends the chain whatever it holds", raw_ends),
    ("an external data file belongs to the chain", external_data),
    ("a chain that leads back to itself is an error", cycle),
    ("a chain of 128 files is read and one of 129 is an error", depth),
    ("every truncation of an overlay's header is an error", truncations),
    ("no damage of a header gives a shorter chain", damaged_headers),
    ("names that say nothing about a place are errors", names),
    ("a linked overlay with a relative name is an error where the folders differ", linked),
    ("what is missing or no file is an error", missing),
    ("a format with parents that is not followed is an error", other_formats),
];

fn main() {
    let lacking = (!works("qemu-img")).then_some("qemu-img is not installed (Debian package qemu-utils)");
    let trials = CASES.iter().map(|(name, case)| {
        Trial::ignorable_test(*name, move || match lacking {
            Some(why) => Ok(Completion::ignored_with(why)),
            None => case().map(|()| Completion::Completed),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn works(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn qemu_img(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("qemu-img").current_dir(dir).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A folder with `images/base.ext4` and a way to put overlays on it.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("images")).unwrap();
        fs::create_dir_all(dir.path().join("box/disks")).unwrap();
        File::create(dir.path().join("images/base.ext4")).unwrap().set_len(1 << 20).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.dir.path()).unwrap().join(name)
    }

    /// Makes an overlay; the backing name is written as it is.
    fn overlay(&self, name: &str, backing: &str, format: &str) -> PathBuf {
        let path = self.path(name);
        let (folder, file) = (path.parent().unwrap(), path.file_name().and_then(OsStr::to_str).unwrap());
        qemu_img(folder, &["create", "-q", "-f", "qcow2", "-b", backing, "-F", format, file]);
        path
    }

    /// `box/disks/top.qcow2` over `mid.qcow2` over the base.
    fn three(&self) -> PathBuf {
        self.overlay("box/disks/mid.qcow2", "../../images/base.ext4", "raw");
        self.overlay("box/disks/top.qcow2", "mid.qcow2", "qcow2")
    }
}

fn paths(overlay: &Path) -> Vec<PathBuf> {
    chain::read(overlay).unwrap().into_iter().map(|link| link.path).collect()
}

fn reason(overlay: &Path) -> Break {
    chain::read(overlay).unwrap_err().reason
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

fn agrees_with_qemu() -> Result<(), Failed> {
    let place = Place::new();
    let absolute = place.path("images/base.ext4");
    place.overlay("box/disks/a.qcow2", absolute.to_str().unwrap(), "raw");
    place.overlay("box/disks/f.qcow2", &format!("file:{}", absolute.display()), "raw");
    place.three();
    fs::create_dir(place.path("elsewhere")).unwrap();
    place.overlay("elsewhere/deep.qcow2", "../box/disks/top.qcow2", "qcow2");
    qemu_img(&place.path("images"), &["create", "-q", "-f", "qcow2", "alone.qcow2", "1M"]);
    for (overlay, links) in [
        ("box/disks/a.qcow2", 2),
        ("box/disks/f.qcow2", 2),
        ("box/disks/mid.qcow2", 2),
        ("box/disks/top.qcow2", 3),
        ("elsewhere/deep.qcow2", 4),
        ("images/alone.qcow2", 1),
    ] {
        let overlay = place.path(overlay);
        let seen = qemu_img(
            Path::new("/"),
            &["info", "--backing-chain", "--output=json", overlay.to_str().unwrap()],
        );
        let seen: serde_json::Value = serde_json::from_str(&seen)?;
        let names = seen.as_array().unwrap().iter().map(|image| image["filename"].as_str().unwrap());
        let theirs: Vec<PathBuf> =
            names.map(|name| fs::canonicalize(name.trim_start_matches("file:")).unwrap()).collect();
        assert_eq!(paths(&overlay), theirs);
        assert_eq!(theirs.len(), links);
    }
    Ok(())
}

fn relative_names() -> Result<(), Failed> {
    let place = Place::new();
    let overlay = place.overlay("box/disks/top.qcow2", "../../images/base.ext4", "raw");
    // The same name, counted from the working directory of this test, leads nowhere.
    assert!(!Path::new("../../images/base.ext4").exists());
    assert_eq!(paths(&overlay), [overlay.clone(), place.path("images/base.ext4")]);
    Ok(())
}

fn raw_ends() -> Result<(), Failed> {
    let place = Place::new();
    let top = place.three();
    // A guest has written a qcow2 header into its raw disk.
    let inner = fs::read(&top)?;
    write_at(&place.path("images/base.ext4"), 0, &inner[..512]);
    assert_eq!(paths(&top).len(), 3);
    Ok(())
}

fn external_data() -> Result<(), Failed> {
    let place = Place::new();
    let (overlay, data) = (place.path("box/disks/top.qcow2"), place.path("images/data.ext4"));
    let option = format!("data_file={},data_file_raw=on", data.display());
    qemu_img(
        Path::new("/"),
        &["create", "-q", "-f", "qcow2", "-o", &option, overlay.to_str().unwrap(), "1M"],
    );
    assert_eq!(paths(&overlay), [overlay.clone(), data.clone()]);
    fs::remove_file(&data)?;
    assert!(matches!(reason(&overlay), Break::Unreadable(_)));
    Ok(())
}

fn cycle() -> Result<(), Failed> {
    let place = Place::new();
    let top = place.three();
    qemu_img(
        &place.path("box/disks"),
        &["rebase", "-q", "-u", "-f", "qcow2", "-b", "top.qcow2", "-F", "qcow2", "mid.qcow2"],
    );
    assert!(matches!(reason(&top), Break::Cycle));
    qemu_img(
        &place.path("box/disks"),
        &["rebase", "-q", "-u", "-f", "qcow2", "-b", "top.qcow2", "-F", "qcow2", "top.qcow2"],
    );
    assert!(matches!(reason(&top), Break::Cycle));
    Ok(())
}

fn depth() -> Result<(), Failed> {
    let place = Place::new();
    let mut top = place.overlay("box/disks/1.qcow2", "../../images/base.ext4", "raw");
    let template = place.overlay("box/disks/2.qcow2", "1.qcow2", "qcow2");
    // Names of one length are put into copies: `qemu-img` would open the whole chain for each new one.
    let bytes = fs::read(&template)?;
    let at = bytes.windows(7).position(|window| window == b"1.qcow2").unwrap();
    let name = |number: usize| format!("{}.qcow2", char::from_u32(0x100 + number as u32).unwrap());
    let mut below = "1.qcow2".to_owned();
    for number in 2..chain::MAX_LINKS {
        let mut bytes = bytes.clone();
        bytes[at..at + below.len()].copy_from_slice(below.as_bytes());
        // Length of the backing file's name, at 16 (qcow2 specification, header).
        bytes[16..20].copy_from_slice(&(below.len() as u32).to_be_bytes());
        below = name(number);
        top = place.path("box/disks").join(&below);
        fs::write(&top, bytes)?;
    }
    assert_eq!(paths(&top).len(), chain::MAX_LINKS);
    let mut bytes = bytes.clone();
    bytes[at..at + below.len()].copy_from_slice(below.as_bytes());
    bytes[16..20].copy_from_slice(&(below.len() as u32).to_be_bytes());
    let deeper = place.path("box/disks/deeper.qcow2");
    fs::write(&deeper, bytes)?;
    assert!(matches!(reason(&deeper), Break::TooDeep));
    Ok(())
}

fn truncations() -> Result<(), Failed> {
    let place = Place::new();
    for compat in ["0.10", "1.1"] {
        let overlay = place.path("box/disks/top.qcow2");
        let option = format!("compat={compat}");
        qemu_img(
            &place.path("box/disks"),
            &[
                "create",
                "-q",
                "-f",
                "qcow2",
                "-o",
                &option,
                "-b",
                "../../images/base.ext4",
                "-F",
                "raw",
                "top.qcow2",
            ],
        );
        let whole = fs::read(&overlay)?;
        let name = b"../../images/base.ext4";
        let end = whole.windows(name.len()).position(|window| window == name).unwrap() + name.len();
        for len in 0..end {
            fs::write(&overlay, &whole[..len])?;
            assert!(chain::read(&overlay).is_err(), "compat {compat}, cut to {len} bytes");
        }
        fs::write(&overlay, &whole[..end])?;
        assert_eq!(paths(&overlay).len(), 2, "the name is whole");
    }
    Ok(())
}

/// The fields that say where the chain goes can name another file, but none of the others may make it end early.
fn damaged_headers() -> Result<(), Failed> {
    let place = Place::new();
    let overlay = place.overlay("box/disks/top.qcow2", "../../images/base.ext4", "raw");
    let whole = fs::read(&overlay)?;
    for offset in 0..104 {
        for mask in [0x01, 0x80, 0xff] {
            let mut bytes = whole[..1024].to_vec();
            bytes[offset] ^= mask;
            fs::write(&overlay, bytes)?;
            if let Ok(links) = chain::read(&overlay) {
                assert_eq!(links.len(), 2, "byte {offset} ^ {mask:#x}");
            }
        }
    }
    Ok(())
}

fn names() -> Result<(), Failed> {
    let place = Place::new();
    for name in
        ["json:{\"driver\":\"file\"}", "file:images/base.ext4", "nbd://host/x", "fat:rw:dir", "a:b.ext4", ""]
    {
        let overlay = place.overlay("box/disks/top.qcow2", "../../images/base.ext4", "raw");
        let bytes = fs::read(&overlay)?;
        let offset = u64::from_be_bytes(bytes[8..16].try_into()?);
        write_at(&overlay, offset, name.as_bytes());
        write_at(&overlay, 16, &(name.len() as u32).to_be_bytes());
        assert!(matches!(reason(&overlay), Break::Name(_)), "{name}");
    }
    Ok(())
}

fn linked() -> Result<(), Failed> {
    let place = Place::new();
    let top = place.three();
    fs::create_dir(place.path("other"))?;
    symlink(&top, place.path("other/top.qcow2"))?;
    assert!(matches!(reason(&place.path("other/top.qcow2")), Break::TwoMeanings(_)));
    // In the same folder there is but one meaning, and a link on the way to the folder is none of the image's.
    symlink("top.qcow2", place.path("box/disks/same.qcow2"))?;
    symlink(place.path("box"), place.path("alias"))?;
    assert_eq!(paths(&place.path("box/disks/same.qcow2")), paths(&top));
    assert_eq!(paths(&place.path("alias/disks/top.qcow2")), paths(&top));
    Ok(())
}

fn missing() -> Result<(), Failed> {
    let place = Place::new();
    let top = place.three();
    fs::remove_file(place.path("images/base.ext4"))?;
    let error = chain::read(&top).unwrap_err();
    assert!(error.at.ends_with("images/base.ext4"), "{error}");
    assert!(matches!(error.reason, Break::Unreadable(_)));
    fs::create_dir(place.path("images/base.ext4"))?;
    assert!(matches!(reason(&top), Break::NoFile));
    fs::remove_dir(place.path("images/base.ext4"))?;
    // A pipe would be waited for.
    nix::unistd::mkfifo(&place.path("images/base.ext4"), nix::sys::stat::Mode::S_IRWXU)?;
    assert!(matches!(reason(&top), Break::NoFile));
    assert!(matches!(reason(&place.path("box/disks/none.qcow2")), Break::Unreadable(_)));
    fs::write(place.path("box/disks/plain.qcow2"), "no image")?;
    assert!(matches!(reason(&place.path("box/disks/plain.qcow2")), Break::NotQcow2));
    Ok(())
}

fn other_formats() -> Result<(), Failed> {
    let place = Place::new();
    let base = place.path("images/base.vmdk");
    qemu_img(Path::new("/"), &["create", "-q", "-f", "vmdk", base.to_str().unwrap(), "1M"]);
    let declared = place.overlay("box/disks/declared.qcow2", base.to_str().unwrap(), "vmdk");
    assert!(matches!(reason(&declared), Break::Format(_)));
    // The type of the backing format's header extension, at the end of a version 3 header (qcow2 specification), becomes
    // an unknown one, so that no format is declared.
    write_at(&declared, 104, &0x1234_5678_u32.to_be_bytes());
    assert!(matches!(reason(&declared), Break::Format(_)));
    Ok(())
}
