//! Goal: a sweep finds what is wrong with code that writes a disk, says it in the smallest form, leads back to it, and
//! finds nothing where nothing is wrong. Method: one small program that keeps a number in two copies, and variants of
//! it with one mistake each; every variant has to be found by the models that can see it, and by no others.

use std::cell::{Cell, RefCell};
use std::io;

use proptest::prelude::*;

use super::*;
use crate::block::BlockDevice;
use crate::power::{AtomicUnit, DeviceProfile, Dropped, PowerOptions, PowerState};

/// Places of the copies; each has two sectors, so that it can be torn.
const COPIES: [u64; 2] = [1024, 4096];

/// What a variant does otherwise than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// Both copies before the first flush.
    NoFlushBetween,
    NoFlushAtEnd,
    /// The copies have no check of their second sector.
    NoChecksum,
    /// One copy alone.
    OneCopy,
    /// A copy that is there already is taken for durable.
    TrustsWhatIsThere,
    /// The resume gives up where it finds the new number.
    ResumeFails,
    /// The resume leaves a trace.
    ResumeWritesMore,
}

use Mistake::*;

fn copy(number: u8) -> Vec<u8> {
    let mut bytes = vec![number; 1024];
    bytes[1023] = !number;
    bytes
}

fn read(disk: &Disk, place: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    disk.read_at(place, &mut bytes).unwrap();
    bytes
}

fn store(disk: &mut Disk, number: u8, mistake: Mistake) -> io::Result<()> {
    let places = if mistake == OneCopy { &COPIES[..1] } else { &COPIES };
    // The broken copy is mended first, so that one is whole at any time.
    let broken_first = read(disk, COPIES[0]) != copy(read(disk, COPIES[0])[0]);
    let order: Vec<u64> = if broken_first { places.to_vec() } else { places.iter().rev().copied().collect() };
    for (place, turn) in order.iter().zip(0..) {
        let there = read(disk, *place) == copy(number);
        if !there {
            disk.write_at(*place, &copy(number))?;
        }
        let needless = mistake == TrustsWhatIsThere && there;
        let left_out = match turn {
            0 => mistake == NoFlushBetween,
            _ => mistake == NoFlushAtEnd,
        };
        if !needless && !left_out {
            disk.flush()?;
        }
    }
    Ok(())
}

fn load(disk: &Disk, mistake: Mistake) -> Result<u8, &'static str> {
    let whole = |place| {
        let bytes = read(disk, place);
        let whole = if mistake == NoChecksum { bytes[..512] == copy(bytes[0])[..512] } else { bytes == copy(bytes[0]) };
        whole.then_some(bytes)
    };
    let found = COPIES.into_iter().find_map(whole).ok_or("no copy is whole")?;
    if found == copy(found[0]) { Ok(found[0]) } else { Err("half a copy is taken for a whole one") }
}

fn initial() -> Vec<u8> {
    let mut bytes = vec![0; 8192];
    for place in COPIES {
        bytes[place as usize..][..1024].copy_from_slice(&copy(1));
    }
    bytes
}

fn sweep(models: &[Model]) -> Sweep {
    Sweep::new(initial()).models(models.iter().copied())
}

fn judge(sweep: Sweep, mistake: Mistake) -> Result<Summary, SweepError> {
    let resume = move |disk: &mut Disk| match (mistake, read(disk, COPIES[1])[0]) {
        (ResumeFails, 2) => Err(io::Error::other("it is there already")),
        (ResumeWritesMore, 2) => {
            disk.write_at(0, b"resumed")?;
            store(disk, 2, mistake)
        }
        _ => store(disk, 2, mistake),
    };
    sweep
        .run(move |disk| store(disk, 2, mistake))
        .resume(resume)
        .at_crash(move |disk| load(disk, mistake).map(drop))
        .check(move |disk| if load(disk, mistake)? == 2 { Ok(()) } else { Err("the old number") })
}

fn failure(result: Result<Summary, SweepError>) -> (Token, Violation) {
    match result {
        Err(SweepError::Failed { token, violation, .. }) => (token, violation),
        other => panic!("{other:?}"),
    }
}

use Model::{Kill, Power, TornPages, TornSectors};

#[test]
fn code_without_a_mistake_passes_every_model_and_what_was_looked_at_is_counted() {
    let summary = judge(sweep(&[Kill, TornSectors, Power]).depth(u32::MAX).durable(true), None).unwrap();
    assert!(summary.closed);
    assert_eq!((summary.ops, summary.live_checks), (4, 5));
    assert_eq!(summary.claims.len(), 2);
    let kills = judge(sweep(&[Kill]), None).unwrap();
    // Before and after each of two writes and two flushes; flushes change nothing.
    assert_eq!((kills.states, kills.judged, kills.closed), (5, 3, false));
    let torn = judge(sweep(&[TornSectors]), None).unwrap();
    assert_eq!((torn.states, torn.judged), (2, 2), "two writes of two sectors");
    assert_eq!(judge(sweep(&[TornPages]), None).unwrap().states, 0, "both lie in one page");
}

#[test]
fn each_mistake_is_found_by_the_models_that_can_see_it() {
    let found = |mistake, sweep: Sweep| -> bool { judge(sweep, mistake).is_err() };
    for (mistake, kill, torn, power, durable, nested) in [
        (None, false, false, false, false, false),
        (NoFlushBetween, false, false, true, true, true),
        (NoFlushAtEnd, false, false, false, true, false),
        (NoChecksum, false, true, true, true, true),
        (OneCopy, true, true, true, true, true),
        (TrustsWhatIsThere, false, false, false, false, true),
        (ResumeFails, true, true, true, true, true),
        (ResumeWritesMore, true, true, true, true, true),
    ] {
        assert_eq!(found(mistake, sweep(&[Kill])), kill, "{mistake:?} kill");
        assert_eq!(found(mistake, sweep(&[Kill, TornSectors])), torn, "{mistake:?} torn");
        assert_eq!(found(mistake, sweep(&[Power])), power, "{mistake:?} power");
        assert_eq!(found(mistake, sweep(&[Power]).durable(true)), durable, "{mistake:?} durable");
        assert_eq!(found(mistake, sweep(&[Kill, Power]).depth(2)), nested, "{mistake:?} nested");
    }
}
