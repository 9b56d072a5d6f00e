//! The chart of an image that is made here by hand from the specification, place by place, and under damage.

use fault_backend::Image;
use proptest::prelude::*;

use super::*;
use crate::image::Bytes;

const CLUSTER: usize = 512;

/// Header; refcount table and block; L1 and L2 of the active disk; snapshot table, with L1 and L2 of a snapshot; two data
/// clusters, the first of them shared; one cluster that nobody uses.
fn made() -> Vec<u8> {
    let mut raw = vec![0; 11 * CLUSTER];
    let mut put = |at: usize, value: u64, len: usize| {
        raw[at..at + len].copy_from_slice(&value.to_be_bytes()[8 - len..]);
    };
    let at = |cluster: usize| (cluster * CLUSTER) as u64;
    for (field, value, len) in [
        (0, 0x5146_49FB, 4),
        (4, 3, 4),
        (20, 9, 4),
        (24, 64 * CLUSTER as u64, 8),
        (36, 1, 4),
        (40, at(3), 8),
        (48, at(1), 8),
        (56, 1, 4),
        (60, 1, 4),
        (64, at(5), 8),
        (96, 4, 4),
        (100, 104, 4),
    ] {
        put(field, value, len);
    }
    put(CLUSTER, at(2), 8);
    for cluster in 0..10 {
        put(2 * CLUSTER + 2 * cluster, 1, 2);
    }
    put(3 * CLUSTER, at(4) | 1 << 63, 8);
    put(4 * CLUSTER, at(8), 8);
    put(4 * CLUSTER + 5 * 8, at(9) | 1 << 63, 8);
    put(5 * CLUSTER, at(6), 8);
    put(5 * CLUSTER + 8, 1, 4);
    put(5 * CLUSTER + 12, 1, 2);
    put(5 * CLUSTER + 14, 4, 2);
    put(6 * CLUSTER, at(7) | 1 << 63, 8);
    put(7 * CLUSTER, at(8), 8);
    raw[5 * CLUSTER + 40..5 * CLUSTER + 45].copy_from_slice(b"1snap");
    raw
}

fn chart(raw: &[u8]) -> Option<Qcow2Chart> {
    let mut image = Image::new(raw.len() as u64);
    image.write_at(0, raw).unwrap();
    let bytes = Bytes::Image(image);
    Qcow2Chart::read(Part::new(&bytes, &(0..raw.len() as u64)))
}

#[test]
fn each_byte_is_named_by_the_structure_that_it_belongs_to() {
    let chart = chart(&made()).unwrap();
    for (offset, expected) in [
        (24, "qcow2 header"),
        (200, "qcow2 header extensions"),
        (CLUSTER, "qcow2 refcount table entry 0"),
        (2 * CLUSTER + 19, "qcow2 refcount of cluster 9"),
        (3 * CLUSTER + 7, "qcow2 L1 entry 0"),
        (4 * CLUSTER + 5 * 8, "qcow2 L2 entry of guest offset 0xa00"),
        (5 * CLUSTER + 20, "qcow2 snapshot table"),
        (6 * CLUSTER, "qcow2 L1 entry 0 of snapshot `snap`"),
        (7 * CLUSTER + 8, "qcow2 L2 entry of guest offset 0x200 of snapshot `snap`"),
        // What the active disk shares with a snapshot is the active disk's.
        (8 * CLUSTER + 1, "data of guest offset 0x1"),
        (9 * CLUSTER, "data of guest offset 0xa00"),
        (10 * CLUSTER, "unused qcow2 cluster 10"),
    ] {
        let offset = offset as u64;
        let piece = chart.at(offset).from(offset);
        assert!(piece.range.contains(&offset), "{offset:#x} {piece:?}");
        assert_eq!(piece.structure.to_string(), expected, "{offset:#x}");
    }
}

proptest! {
    #[test]
    fn no_damage_makes_a_chart_fail_or_lose_the_byte_that_is_asked_for(
        damage in proptest::collection::vec((0..11 * CLUSTER, any::<u8>()), 0..40),
        len in 0..11 * CLUSTER,
        offsets in proptest::collection::vec(0..12 * CLUSTER as u64, 1..20),
    ) {
        let mut raw = made();
        for (at, byte) in damage {
            raw[at] = byte;
        }
        raw.truncate(len);
        if let Some(chart) = chart(&raw) {
            for offset in offsets {
                prop_assert!(chart.at(offset).from(offset).range.contains(&offset));
            }
        }
    }
}
