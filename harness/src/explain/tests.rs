//! Goal: an explanation names the op that wrote a byte last, the cut, and what was lost, and stays bounded whatever
//! differs. Method: volumes of one plain file and logs that are written here op by op.

use std::ffi::OsString;
use std::path::Path;

use fault_backend::Image;
use fault_backend::oplog::{Op, OpKind, OpLog, Outcome};
use fault_backend::volume::{Ino, Mutation, Owned, Timestamp, Volume};
use proptest::prelude::*;

use super::*;

const FILE: &str = "volume/a.img";

/// A volume with a file of these bytes, and the file's inode.
fn volume(bytes: &[u8]) -> (Volume, Ino) {
    let mut volume = Volume::new();
    let mut image = Image::new(bytes.len() as u64);
    image.write_at(0, bytes).unwrap();
    volume.insert_dir(Path::new("volume")).unwrap();
    let ino = volume.insert_file(Path::new(FILE), image).unwrap();
    volume.insert_dir(Path::new("scratch")).unwrap();
    (volume, ino)
}

fn log(steps: &[(&str, OpKind)]) -> OpLog {
    let mut log = OpLog::default();
    for (number, (step, kind)) in (1..).zip(steps) {
        log.push(Op {
            number,
            kind: kind.clone(),
            fua: false,
            cached: false,
            process: "tool".into(),
            step: (*step).into(),
            acks: 0,
            epoch: 0,
            outcome: Outcome::Completed,
            time: Timestamp::default(),
            path: Some(Path::new(FILE).into()),
        });
    }
    log
}

fn write(ino: Ino, offset: u64, bytes: &[u8]) -> OpKind {
    OpKind::Mutation(Mutation::Write { ino, offset, data: bytes.into() })
}

/// Explains the difference of a file of zeros from one whose byte 600 is 1, after a run that went so far.
fn explained(ops: &OpLog, leg: Leg<'_>, resume: Option<&OpLog>) -> Explanation {
    let mut bytes = vec![0; 4096];
    let (found, _) = volume(&bytes);
    bytes[600] = 1;
    let (wanted, _) = volume(&bytes);
    finding(&Inputs {
        found: (Found::Result, View::Memory(&found)),
        wanted: (Wanted::Baseline, View::Memory(&wanted)),
        mask: None,
        cut: &[leg],
        resume,
        resumed_from: None,
        uninterrupted: Some(ops),
        oracle: "baseline",
    })
    .unwrap()
}

/// Each row is how far the run went, and the op that then wrote byte 600 last.
#[test]
fn the_last_writer_is_the_last_op_that_is_there_and_covers_the_byte() {
    let (_, ino) = volume(&[]);
    let flush = OpKind::Flush { ino: None, data_only: false };
    let ops = log(&[
        ("one", write(ino, 512, &[9; 512])),
        ("one", write(ino, 0, &[9; 512])),
        ("two", flush),
        ("two", write(ino, 100, &[9; 1000])),
        ("two", OpKind::Mutation(Mutation::Truncate { ino, len: 601 })),
        ("three", OpKind::Mutation(Mutation::Truncate { ino, len: 600 })),
        ("three", OpKind::Mutation(Mutation::Zero { ino, range: 600..601, keep_len: true })),
    ]);
    let whole = Leg::whole(&ops);
    for (leg, expected) in [
        (Leg { after: 0, ..whole }, None),
        (Leg { after: 1, ..whole }, Some((1, "one"))),
        (Leg { after: 3, ..whole }, Some((1, "one"))),
        (Leg { after: 3, torn: Some((4, 501)), ..whole }, Some((4, "two"))),
        (Leg { after: 3, torn: Some((4, 500)), ..whole }, Some((1, "one"))),
        (Leg { after: 5, ..whole }, Some((4, "two"))),
        (Leg { after: 5, lost: &[4], ..whole }, Some((1, "one"))),
        (Leg { after: 5, lost: &[1, 4], ..whole }, None),
        (Leg { after: 6, ..whole }, Some((6, "three"))),
        (whole, Some((7, "three"))),
    ] {
        let explanation = explained(&ops, leg, None);
        let [difference] = explanation.differences.as_slice() else { panic!("{explanation:?}") };
        let writer = difference.last_writer.as_ref().map(|op| (op.number, op.step.as_str()));
        assert_eq!(writer, expected, "{leg:?}");
        assert_eq!(difference.wanted_writer.as_ref().map(|op| op.number), Some(7));
        assert_eq!((difference.offset, difference.len), (600, 1));
    }
}

#[test]
fn what_a_resume_wrote_is_the_resumes() {
    let (_, ino) = volume(&[]);
    let ops = log(&[("one", write(ino, 600, &[1]))]);
    let resume = log(&[("again", write(ino, 600, &[0]))]);
    let text = explained(&ops, Leg::whole(&ops), Some(&resume)).to_string();
    let first = text.lines().next().unwrap_or_default();
    assert_eq!(
        first,
        "`a.img`, offset 0x258, no known structure: 1 byte differs; last written by op 1 of the resume (tool, step \
         again); the run was cut after op 1 (bytes of no known structure, step one), its last change"
    );
}

#[test]
fn what_changed_since_the_crash_is_not_said_to_be_an_ops_where_the_resume_was_not_recorded() {
    let (before, ino) = volume(&[1, 1, 0, 0]);
    let (found, _) = volume(&[2, 1, 0, 0]);
    let (wanted, _) = volume(&[0; 4]);
    let ops = log(&[("one", write(ino, 0, &[1, 1]))]);
    for (offset, by_resume, writer) in [(0, true, None), (1, false, Some(1))] {
        let same: Vec<u8> = (0..4).map(|at| if at == offset { 0 } else { [2, 1, 0, 0][at] }).collect();
        let (but_one, _) = volume(&same);
        let wanted = if offset == 0 { &wanted } else { &but_one };
        let explanation = finding(&Inputs {
            found: (Found::Result, View::Memory(&found)),
            wanted: (Wanted::Baseline, View::Memory(wanted)),
            mask: None,
            cut: &[Leg::whole(&ops)],
            resume: None,
            resumed_from: Some(View::Memory(&before)),
            uninterrupted: None,
            oracle: "baseline",
        })
        .unwrap();
        let difference = &explanation.differences[0];
        let told = (difference.by_unrecorded_resume, difference.last_writer.as_ref().map(|op| op.number));
        assert_eq!(told, (by_resume, writer), "byte {offset}");
    }
}

#[test]
fn the_cut_names_the_op_before_it_the_one_that_was_torn_and_what_was_lost() {
    let (_, ino) = volume(&[]);
    let ops = log(&[
        ("one", write(ino, 0, &[9; 512])),
        ("one", OpKind::Flush { ino: None, data_only: false }),
        ("two", write(ino, 512, &[9; 512])),
        ("two", OpKind::Mutation(Mutation::Truncate { ino, len: 4096 })),
    ]);
    let whole = Leg::whole(&ops);
    for (leg, expected) in [
        (Leg { after: 0, ..whole }, "the run was cut before its first change, op 1 ("),
        (Leg { after: 2, ..whole }, "the run was cut after op 1 ("),
        (Leg { after: 2, ..whole }, "before op 3 (bytes of no known structure, step two)"),
        (Leg { after: 2, torn: Some((3, 7)), ..whole }, "the run was cut inside op 3 ("),
        (
            Leg { after: 2, torn: Some((3, 7)), ..whole },
            ", of which 7 bytes arrived); next would have been op 4",
        ),
        (Leg { after: 3, lost: &[1], ..whole }, "the power cut lost op 1 ("),
        (Leg { disturbed: Some(3), ..whole }, "the run was disturbed at op 3 ("),
        (
            whole,
            "the run was cut after op 4 (truncation of `a.img` to 4096 bytes, step two), its last change",
        ),
    ] {
        let text = explained(&ops, leg, None).to_string();
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn a_file_that_is_missing_or_left_over_is_told_as_a_whole() {
    let (wanted, _) = volume(&[1; 100]);
    let (mut found, _) = volume(&[1; 50]);
    let (parent, name) = (found.resolve(Path::new("volume")).unwrap(), OsString::from("more"));
    found.apply(&Mutation::Create { parent, name, owned: Owned::default() }, Timestamp::default()).unwrap();
    let explanation = finding(&Inputs {
        found: (Found::Crash, View::Memory(&found)),
        wanted: (Wanted::Baseline, View::Memory(&wanted)),
        mask: None,
        cut: &[],
        resume: None,
        resumed_from: None,
        uninterrupted: None,
        oracle: "baseline",
    })
    .unwrap();
    let notes: Vec<_> =
        explanation.differences.iter().map(|d| (d.file.as_str(), d.note.as_deref())).collect();
    assert_eq!(notes, [("a.img", Some("is 50 bytes long, not 100")), ("more", Some("is left over"))]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The counts are those of a comparison byte by byte, the list is bounded, and the data form comes back from JSON.
    #[test]
    fn every_differing_byte_is_counted_once(
        changed in proptest::collection::btree_map(0usize..9000, 1u8.., 0..300),
    ) {
        let mut bytes = vec![0; 9000];
        let (wanted, _) = volume(&bytes);
        for (at, by) in &changed {
            bytes[*at] ^= by;
        }
        let (found, _) = volume(&bytes);
        let explanation = finding(&Inputs {
            found: (Found::Result, View::Memory(&found)),
            wanted: (Wanted::Baseline, View::Memory(&wanted)),
            mask: None,
            cut: &[],
            resume: None,
        resumed_from: None,
            uninterrupted: None,
            oracle: "baseline",
        })
        .unwrap();
        prop_assert_eq!(explanation.differing_bytes, changed.len() as u64);
        prop_assert_eq!(explanation.differences.iter().map(|d| d.bytes).sum::<u64>(), changed.len() as u64);
        prop_assert!(explanation.differences.len() <= MAX_DIFFERENCES);
        let json = serde_json::to_string(&explanation).unwrap();
        prop_assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), explanation);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The sectors that are kept are those of both states, differ, and are counted with the others, whatever differs.
    #[test]
    fn sectors_that_differ_are_counted_and_the_first_are_kept(
        changed in proptest::collection::btree_set(0_usize..5000, 0..40),
        len in 4000_usize..=5000,
    ) {
        let wanted = vec![7; 5000];
        let mut found = wanted.clone();
        changed.iter().for_each(|place| found[*place] = 8);
        found.truncate(len);
        let (wanted, found) = (volume(&wanted).0, volume(&found).0);
        let explanation = finding(&Inputs {
            found: (Found::Result, View::Memory(&found)),
            wanted: (Wanted::Baseline, View::Memory(&wanted)),
            mask: None,
            cut: &[],
            resume: None,
            resumed_from: None,
            uninterrupted: None,
            oracle: "baseline",
        })
        .unwrap();
        // Behind the end of the shorter file every byte differs.
        let differing: std::collections::BTreeSet<u64> = changed
            .iter()
            .filter(|place| **place < len)
            .copied()
            .chain(len..5000)
            .map(|place| place as u64 / 512 * 512)
            .collect();
        prop_assert_eq!(explanation.differing_sectors, differing.len() as u64);
        let kept: Vec<u64> = explanation.sectors.iter().map(|sector| sector.offset).collect();
        let first: Vec<u64> = differing.iter().copied().take(MAX_SECTORS).collect();
        prop_assert_eq!(kept, first);
        for sector in &explanation.sectors {
            let start = sector.offset as usize;
            let end = len.min(start + 512).max(start);
            let expected: String = (start..end)
                .map(|place| if changed.contains(&place) { "08" } else { "07" })
                .collect();
            prop_assert_eq!(&sector.found, &expected);
            prop_assert_eq!(&sector.wanted, &"07".repeat(5000.min(start + 512) - start));
        }
        let told = explanation.compared("F1").map_or(0, |told| told.more + told.sectors.len() as u64);
        prop_assert_eq!(told, differing.len() as u64);
    }
}
