//! Goal: no plan ever lets partitions overlap, leave the usable space or begin off a whole MiB, and a plan for a
//! state that a killed run leaves leads to the same table. Method: random tables and requests, in memory.

mod common;

use ::gpt::disk::LogicalBlockSize;
use common::layout::{self, Spec};
use common::memory::MemoryDisk;
use common::scale;
use proptest::prelude::*;
use resizer::error::Error;
use resizer::gpt::{self, Span, Table};
use resizer::plan::{self, Goal, Plan, Request, Reserve};

const MIB: u64 = 1 << 20;

fn table(len_mib: usize, sector: usize, specs: &[Spec]) -> Table {
    let disk = MemoryDisk::new(layout::disk(len_mib, sector, specs));
    gpt::read(&disk, LogicalBlockSize::try_from(sector as u64).unwrap()).unwrap().table
}

fn index_of(table: &Table, guid: uuid::Uuid) -> Option<u32> {
    table.entries().find(|(_, entry)| entry.guid() == guid).map(|(index, _)| index)
}

fn assert_sound(table: &Table) {
    let mut spans: Vec<Span> = table.entries().map(|(_, entry)| entry.span()).collect();
    spans.sort();
    for span in &spans {
        assert!(span.first_lba <= span.last_lba);
        assert!(span.first_lba >= table.usable().first_lba && span.last_lba <= table.usable().last_lba);
    }
    assert!(spans.windows(2).all(|pair| pair[0].last_lba < pair[1].first_lba), "{spans:?}");
}

fn assert_plan_sound(start: &Table, plan: &Plan) {
    for table in [&plan.shrunk, &plan.created, &plan.updated] {
        assert_sound(table);
    }
    for step in &plan.moves {
        assert_eq!(step.to.first_lba * start.sector_len() % MIB, 0);
        assert!(
            start.entries().all(|(_, entry)| !entry.span().overlaps(&step.to)) || !plan.shrinks.is_empty()
        );
    }
    let touched =
        |index| plan.shrinks.iter().any(|s| s.index == index) || plan.moves.iter().any(|m| m.index == index);
    for (index, entry) in start.entries().filter(|(index, _)| !touched(*index)) {
        assert_eq!(plan.updated.entry(index), Some(entry), "an untouched entry keeps every byte");
    }
}

/// Partitions with gaps, and for each perhaps a new size in KiB.
fn cases() -> impl Strategy<Value = (Vec<Spec>, Vec<(u32, u64)>)> {
    let part = (0usize..4, 1usize..5, prop::option::of(1u64..8000));
    prop::collection::vec(part, 1..8).prop_map(|parts| {
        let (mut specs, mut sizes, mut next) = (Vec::new(), Vec::new(), 1);
        for (number, (gap, len, size)) in (1u32..).zip(parts) {
            let index = (number * 41) % 128 + 1;
            specs.push(Spec::new(index, next + gap, len, "part"));
            sizes.extend(size.map(|size| (index, size)));
            next += gap + len;
        }
        (specs, sizes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: scale::cases(96), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_never_overlap_and_lead_to_one_table_from_every_stage(
        (specs, sizes) in cases(),
        big_sectors: bool,
        preserve_numbers: bool,
    ) {
        let start = table(48, if big_sectors { 4096 } else { 512 }, &specs);
        let guids: Vec<_> = sizes.iter().map(|(index, kib)| (layout::guid(*index), kib * 1024)).collect();
        // As on the command line, partitions are looked up anew each time: an index may have changed.
        let plan_on = |table: &Table| {
            let goals = guids
                .iter()
                .filter_map(|(guid, len_bytes)| Some(Goal { index: index_of(table, *guid)?, len_bytes: *len_bytes }))
                .collect();
            plan::plan(table, &Request { goals, reserve: None, preserve_numbers })
        };
        match plan_on(&start) {
            Ok(plan) => {
                assert_plan_sound(&start, &plan);
                for stage in [&plan.shrunk, &plan.created, &plan.updated] {
                    let resumed = plan_on(stage).unwrap();
                    prop_assert_eq!(&resumed.updated, &plan.updated);
                }
            }
            Err(Error::NoSpace { needed_bytes, available_bytes, .. }) => {
                prop_assert!(needed_bytes > available_bytes);
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}

fn goal(index: u32, mib: u64) -> Goal {
    Goal { index, len_bytes: mib * MIB }
}

#[test]
fn the_first_gap_that_fits_is_taken_and_the_lowest_free_index() {
    let specs = [Spec::new(1, 1, 2, "A"), Spec::new(2, 6, 1, "B"), Spec::new(4, 12, 1, "C")];
    let start = table(48, 512, &specs);
    let request = Request { goals: vec![goal(1, 4), goal(2, 3)], ..Request::default() };
    let plan = plan::plan(&start, &request).unwrap();
    let places: Vec<_> = plan.moves.iter().map(|m| (m.new_index, m.to.first_lba / 2048)).collect();
    // 3 to 6 is too small for four MiB, but right for three.
    assert_eq!(places, [(3, 7), (5, 3)]);
}

#[test]
fn the_reserve_is_left_alone_where_the_grows_fit_without_it() {
    let start = table(48, 512, &[Spec::new(1, 1, 2, "A"), Spec::new(9, 3, 10, "P3")]);
    for len_bytes in [None, Some(4 * MIB)] {
        let reserve = Some(Reserve { index: 9, len_bytes });
        let request = Request { goals: vec![goal(1, 20)], reserve, ..Request::default() };
        let plan = plan::plan(&start, &request).unwrap();
        assert_eq!(plan.shrinks, []);
        let request = Request { goals: vec![goal(1, 40)], reserve: request.reserve, ..Request::default() };
        let plan = plan::plan(&start, &request);
        match len_bytes {
            // 13 + 35 - 1 MiB are free behind the partition, which is 10 MiB: no whole GiB to give.
            None => assert!(matches!(plan, Err(Error::NoSpace { .. }))),
            Some(_) => assert_eq!(plan.unwrap().moves[0].to.first_lba, 7 * 2048),
        }
    }
}
