//! Ids of extents in memory: two states have the same one exactly where their bytes in the extent are the same, whatever
//! lies around it.

use proptest::prelude::*;

use super::*;

/// A place near one where a chunk ends.
fn near_an_edge() -> impl Strategy<Value = u64> {
    (0u64..3, -4i64..4).prop_map(|(chunk, by)| (chunk * 4096).saturating_add_signed(by))
}

/// Short writes of few values, so that what differs often differs at the same places.
fn writes() -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
    prop::collection::vec((near_an_edge(), prop::collection::vec(0u8..3, 1..4)), 0..4)
}

fn written(base: &Image, writes: &[(u64, Vec<u8>)]) -> Image {
    let mut image = base.clone();
    writes.iter().for_each(|(at, data)| image.write_at(*at, data).expect("write"));
    image
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn ids_are_equal_where_the_bytes_are(
        base in writes(), a in writes(), then in writes(), start in near_an_edge(), len in 1u64..9, longer in any::<bool>())
    {
        let baseline = written(&Image::new(10_000), &base);
        let a = written(&baseline, &a);
        let mut b = written(&a, &then);
        if longer {
            b.set_len(20_000)?;
        }
        let id = |image: &Image| delta_id(image, &baseline.diff(image)?, &(start..start + len));
        let bytes = |image: &Image| {
            let mut bytes = vec![0; len as usize];
            image.fill(start, &mut bytes).map(|()| bytes)
        };
        prop_assert_eq!(id(&a)? == id(&b)?, bytes(&a)? == bytes(&b)?);
    }
}

/// Whether the chunk holds data outside of the extent must not show, nor whether it is a hole.
#[test]
fn what_lies_around_an_extent_is_no_part_of_its_id() {
    let baseline = written(&Image::new(8192), &[(10, vec![5]), (100, vec![7])]);
    let cleared = written(&baseline, &[(10, vec![0])]);
    let empty = written(&cleared, &[(100, vec![0])]);
    let id =
        |image: &Image| delta_id(image, &baseline.diff(image).expect("compare"), &(0..50)).expect("an id");
    assert_eq!(id(&cleared), id(&empty));
    assert_ne!(id(&cleared), id(&baseline));
}
