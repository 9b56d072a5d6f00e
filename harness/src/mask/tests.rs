//! Masks of made runs: what differs is widened to whole fields, what a scenario names is left out, and too much is
//! an error.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const LEN: usize = 256 * 512;

/// Runs that start from the same bytes and each get some of their own.
fn runs(patches: &[&[(usize, &[u8])]]) -> (TempDir, Vec<PathBuf>) {
    let folder = TempDir::new().expect("a temporary folder");
    let volumes = patches.iter().enumerate().map(|(run, patches)| {
        let volume = folder.path().join(run.to_string());
        fs::create_dir(&volume).expect("a folder");
        let mut bytes = vec![7; LEN];
        for (at, patch) in *patches {
            bytes[*at..at + patch.len()].copy_from_slice(patch);
        }
        fs::write(volume.join("disk.img"), bytes).expect("write");
        volume
    });
    let volumes = volumes.collect();
    (folder, volumes)
}

fn measure(patches: &[&[(usize, &[u8])]], specs: &[&str]) -> Result<Mask, MaskError> {
    let (_folder, volumes) = runs(patches);
    let volumes: Vec<&Path> = volumes.iter().map(PathBuf::as_path).collect();
    let specs: Vec<String> = specs.iter().map(|spec| (*spec).to_owned()).collect();
    Mask::measure(&volumes, &specs, 0.001)
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
    assert!(matches!(measure(&[&[], &[]], &["unallocated"]), Err(MaskError::NoTable { .. })));
    assert!(matches!(measure(&[&[]], &[]), Err(MaskError::TooFewRuns(1))));
    assert_eq!(
        ranges(&measure(&[&[], &[]], &["0x10+16", "32+1"]).expect("a mask")),
        std::slice::from_ref(&(16..33))
    );
}

#[test]
fn runs_that_leave_other_files_or_lengths_are_no_baseline() {
    let (_folder, volumes) = runs(&[&[], &[]]);
    let volumes: Vec<&Path> = volumes.iter().map(PathBuf::as_path).collect();
    fs::write(volumes[1].join("more"), "").expect("write");
    assert!(matches!(Mask::measure(&volumes, &[], 0.001), Err(MaskError::Shape { .. })));
    fs::remove_file(volumes[1].join("more")).expect("remove");
    fs::write(volumes[1].join("disk.img"), "short").expect("write");
    assert!(matches!(Mask::measure(&volumes, &[], 0.001), Err(MaskError::Shape { .. })));
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
