//! Masks of made runs: what differs is widened to whole fields, what a scenario names is left out, and too much is
//! an error.

use std::fs;

use fault_backend::{ContentHasher, Volume};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::image::VOLUME;

const LEN: usize = 256 * 512;

/// Runs that start from the same bytes and each get some of their own.
fn runs(patches: &[&[(usize, &[u8])]]) -> (TempDir, Vec<Saved>) {
    let folder = TempDir::new().expect("a temporary folder");
    let volumes = patches.iter().enumerate().map(|(run, patches)| {
        let volume = folder.path().join(run.to_string());
        fs::create_dir(&volume).expect("a folder");
        let mut bytes = vec![7; LEN];
        for (at, patch) in *patches {
            bytes[*at..at + patch.len()].copy_from_slice(patch);
        }
        fs::write(volume.join("disk.img"), bytes).expect("write");
        Saved { id: ContentHasher::new(0).finish(), path: volume, memory: None }
    });
    let volumes = volumes.collect();
    (folder, volumes)
}

/// The same runs as states in memory; the scratch directory, which no mask is about, differs in each.
fn in_memory(runs: &[Saved]) -> Vec<Saved> {
    let state = |(number, run): (usize, &Saved)| {
        let mut state = Volume::new();
        state.graft(VOLUME.as_ref(), &Volume::import(&run.path).expect("import")).expect("graft");
        let leftover = format!("scratch/{number}");
        state.insert_file(leftover.as_ref(), fault_backend::Image::new(9)).expect("insert");
        Saved { memory: Some(state), path: PathBuf::new(), ..run.clone() }
    };
    runs.iter().enumerate().map(state).collect()
}

/// The mask, which has to be the same on the host and in memory.
fn measure(patches: &[&[(usize, &[u8])]], specs: &[&str]) -> Result<Mask, MaskError> {
    let (_folder, runs) = runs(patches);
    measure_runs(&runs, specs)
}

fn measure_runs(runs: &[Saved], specs: &[&str]) -> Result<Mask, MaskError> {
    let specs: Vec<String> = specs.iter().map(|spec| (*spec).to_owned()).collect();
    let on_host = Mask::measure(runs, &specs, 0.001);
    let in_memory = Mask::measure(&in_memory(runs), &specs, 0.001);
    assert_eq!(format!("{on_host:?}"), format!("{in_memory:?}"));
    on_host
}

fn ranges(mask: &Mask) -> &[Range<u64>] {
    mask.ranges(Path::new("disk.img"))
}

#[test]
fn what_differs_between_any_two_runs_is_volatile_in_whole_units() {
    let mask = measure(&[&[], &[(1000, &[1])], &[(5000, &[1, 2]), (1000, &[2])]], &[]).expect("a mask");
    assert_eq!(ranges(&mask), [992..1008, 4992..5008]);
    assert_eq!(mask.volatile_bytes(), 32);
}

#[test]
fn equal_runs_have_no_mask() {
    let mask = measure(&[&[], &[], &[]], &[]).expect("a mask");
    assert_eq!((ranges(&mask), mask.volatile_bytes()), (&[][..], 0));
}

#[test]
fn too_much_volatility_is_an_error_that_names_the_place() {
    match measure(&[&[], &[(1000, &[1; 200])]], &[]) {
        Err(MaskError::TooVolatile { limit_bytes, first, .. }) => {
            assert_eq!((limit_bytes, first.as_str()), (131, "0x3e8"));
        }
        other => panic!("{other:?}"),
    }
    // What the scenario excuses doesn't count.
    let mask = measure(&[&[], &[(1000, &[1; 200])]], &["1000+200"]).expect("a mask");
    assert_eq!((ranges(&mask), mask.volatile_bytes()), (std::slice::from_ref(&(1000..1200)), 0));
}

#[test]
fn bad_masks_are_refused() {
    for spec in ["unalocated", "0x", "12", "12+x", "-1+2", "18446744073709551615+1"] {
        assert!(matches!(measure(&[&[], &[]], &[spec]), Err(MaskError::Spec(_))), "{spec}");
    }
    assert!(matches!(measure(&[&[], &[]], &["unallocated"]), Err(MaskError::NoTable)));
    assert!(matches!(measure(&[&[], &[]], &["other.img:0+1"]), Err(MaskError::NoFile { .. })));
    assert!(matches!(measure(&[&[]], &[]), Err(MaskError::TooFewRuns(1))));
    assert_eq!(
        ranges(&measure(&[&[], &[]], &["0x10+16", "32+1"]).expect("a mask")),
        std::slice::from_ref(&(16..33))
    );
}

#[test]
fn a_mask_of_one_file_is_of_no_other() {
    let (_folder, runs) = runs(&[&[], &[]]);
    for run in &runs {
        fs::write(run.path.join("other.img"), "other").expect("write");
    }
    let mask = measure_runs(&runs, &["other.img:0+4"]).expect("a mask");
    assert_eq!(mask.ranges(Path::new("other.img")), std::slice::from_ref(&(0..4)));
    assert_eq!(ranges(&mask), [] as [Range<u64>; 0]);
    let mask = measure_runs(&runs, &["0+4"]).expect("a mask");
    assert_eq!(mask.ranges(Path::new("other.img")), ranges(&mask), "without a name it is of every file");
}

#[test]
fn runs_that_leave_other_files_or_lengths_are_no_baseline() {
    let (_folder, runs) = runs(&[&[], &[]]);
    let said = || match measure_runs(&runs, &[]) {
        Err(error @ MaskError::Shape { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    fs::write(runs[1].path.join("more"), "").expect("write");
    assert_eq!(said(), "uninterrupted runs leave different volumes: `more` is left over");
    fs::remove_file(runs[1].path.join("more")).expect("remove");
    fs::write(runs[1].path.join("disk.img"), "short").expect("write");
    assert_eq!(said(), "uninterrupted runs leave different volumes: `disk.img` is 5 bytes long, not 131072");
}

/// Only a state in memory tells of attributes.
#[test]
fn runs_that_leave_other_attributes_are_no_baseline() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, runs) = runs(&[&[], &[]]);
    let disk = runs[1].path.join("disk.img");
    fs::set_permissions(&disk, fs::Permissions::from_mode(0o600)).expect("another mode");
    match Mask::measure(&in_memory(&runs), &[], 0.001) {
        Err(MaskError::Shape { what, .. }) => assert_eq!(what, "has mode 0600, not 0644"),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn what_is_outside_a_mask_is_what_no_part_of_it_covers(
        cuts in prop::collection::btree_set(0u64..200, 0..12), start in 0u64..200, len in 0u64..100)
    {
        let cuts: Vec<u64> = cuts.into_iter().collect();
        let mask: Vec<Range<u64>> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
        let range = start..start + len;
        let bytes: Vec<u64> = outside(range.clone(), &mask).into_iter().flatten().collect();
        let expected: Vec<u64> = range.filter(|at| !mask.iter().any(|m| m.contains(at))).collect();
        prop_assert_eq!(bytes, expected);
    }
}
