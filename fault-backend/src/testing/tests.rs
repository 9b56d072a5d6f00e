//! Goal: a sweep finds what is wrong with code that writes a disk, says it in the smallest form, leads back to it, and
//! finds nothing where nothing is wrong. Method: one small program that keeps a number in two copies, and variants of
//! it with one mistake each; every variant has to be found by the models that can see it, and by no others.

use std::cell::Cell;
use std::io;

use proptest::prelude::*;

use super::*;
use crate::block::BlockDevice;
use crate::content_id::ContentId;
use crate::image::Image;
use crate::power::{AtomicUnit, DeviceProfile, Dropped, PowerOptions, PowerState};

/// Places of the copies. Each has three sectors: the last is written first, then the other two in one write, which
/// can be torn.
const COPIES: [u64; 2] = [1024, 4096];

const BODY: usize = 1024;

const COPY: usize = 1536;

/// What a variant does otherwise than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// Both copies before the first flush.
    NoFlushBetween,
    NoFlushAtEnd,
    /// Nobody looks at the second sector of a copy.
    NoChecksum,
    /// A copy that is there already is taken for durable.
    TrustsWhatIsThere,
    /// The resume gives up where it finds the new number.
    ResumeFails,
    /// The resume leaves a trace.
    ResumeWritesMore,
}

use Mistake::*;

fn copy(number: u8) -> Vec<u8> {
    vec![number; COPY]
}

fn read(disk: &Disk, place: u64) -> Vec<u8> {
    let mut bytes = vec![0; COPY];
    disk.read_at(place, &mut bytes).unwrap();
    bytes
}

fn store(disk: &mut Disk, number: u8, mistake: Mistake) -> io::Result<()> {
    // The broken copy is mended first, so that one is whole at any time.
    let broken_first = read(disk, COPIES[0]) != copy(read(disk, COPIES[0])[0]);
    let order: Vec<u64> = if broken_first { COPIES.to_vec() } else { COPIES.into_iter().rev().collect() };
    for (place, turn) in order.iter().zip(0..) {
        let there = read(disk, *place) == copy(number);
        if !there {
            disk.write_at(place + BODY as u64, &copy(number)[BODY..])?;
            disk.write_at(*place, &copy(number)[..BODY])?;
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
        let looked_at = if mistake == NoChecksum { [0..512, BODY..COPY] } else { [0..BODY, BODY..COPY] };
        let whole = looked_at.into_iter().all(|range| bytes[range].iter().all(|byte| *byte == bytes[0]));
        whole.then_some(bytes)
    };
    let found = COPIES.into_iter().find_map(whole).ok_or("no copy is whole")?;
    if found == copy(found[0]) { Ok(found[0]) } else { Err("half a copy is taken for a whole one") }
}

fn initial() -> Vec<u8> {
    let mut bytes = vec![0; 8192];
    for place in COPIES {
        bytes[place as usize..][..COPY].copy_from_slice(&copy(1));
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
        Err(SweepError::Failed { token, violation, .. }) => (*token, violation),
        other => panic!("{other:?}"),
    }
}

use Model::{Kill, Power, TornPages, TornSectors};

#[test]
fn code_without_a_mistake_passes_every_model_and_what_was_looked_at_is_counted() {
    let summary = judge(sweep(&[Kill, TornSectors, Power]).depth(u32::MAX).durable(true), None).unwrap();
    assert!(summary.closed);
    assert_eq!((summary.ops, summary.live_checks), (6, 7));
    assert_eq!(summary.claims.len(), 2);
    let kills = judge(sweep(&[Kill]), None).unwrap();
    // Before and after each of four writes and two flushes; flushes change nothing.
    assert_eq!((kills.states, kills.judged, kills.closed), (7, 5, false));
    let torn = judge(sweep(&[TornSectors]), None).unwrap();
    assert_eq!((torn.states, torn.judged), (2, 2), "two writes of two sectors");
    assert_eq!(judge(sweep(&[TornPages]), None).unwrap().states, 0, "each lies in one page");
}

#[test]
fn each_mistake_is_found_by_the_models_that_can_see_it() {
    let found = |mistake, sweep: Sweep| -> bool { judge(sweep, mistake).is_err() };
    for (mistake, kill, torn, power, durable, nested) in [
        (None, false, false, false, false, false),
        (NoFlushBetween, false, false, true, true, true),
        (NoFlushAtEnd, false, false, false, true, false),
        (NoChecksum, false, true, true, true, true),
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

#[test]
fn a_failure_is_the_smallest_of_its_kind_and_its_token_leads_back_to_it() {
    let power = || sweep(&[Power]).seed(5);
    let (token, violation) = failure(judge(power(), NoFlushBetween));
    assert!(matches!(violation, Violation::AtCrash(_)));
    // The last part of each copy suffices: ops 1 and 3 of the four writes; here one is there and one is missing.
    let [Crash::Power(state)] = &token.crashes[..] else { panic!("{token}") };
    assert!(state.torn.is_none() && state.dropped.len() == 1 && state.cut == 3, "{token}");
    let (again, _) = failure(judge(power().seed(99).replay(&token.to_string()), NoFlushBetween));
    assert_eq!(again, token);
    // Where the mistake is mended, the same state is no failure, or can't come about.
    let mended = judge(power().replay(&token.to_string()), None);
    assert!(matches!(mended, Err(SweepError::NoSuchCrash { .. })), "{mended:?}");
}

#[test]
fn what_a_sample_lacks_beyond_need_is_put_back() {
    let places: Vec<u64> = (0..14).map(|place| place * 512).collect();
    let run = |disk: &mut Disk| places.iter().try_for_each(|place| disk.write_at(*place, &[1]));
    let there = |disk: &Disk| -> Vec<bool> {
        let byte = |place: &u64| {
            let mut byte = [0];
            disk.read_at(*place, &mut byte).map(|()| byte[0] == 1)
        };
        places.iter().map(|place| byte(place).unwrap()).collect()
    };
    let options = PowerOptions { exhaustive_ops: 0, max_drops: 1, samples: 2000, ..PowerOptions::default() };
    let result = Sweep::new(vec![0; 8192]).models([Power]).power(options).run(run).at_crash(|disk| {
        let there = there(disk);
        if !there[1] && !there[4] && !there[7] && there[8] {
            Err("2, 5 and 8 are missing and 9 is not")
        } else {
            Ok(())
        }
    });
    let (token, _) = failure(result.check(|_| io::Result::Ok(())));
    assert_eq!(token.crashes, [Crash::Power("p9-2.5.8".parse().unwrap())]);
}

/// A run that leaves, at one point, the bytes that it began with, but not durably; a resume that trusts them.
#[test]
fn a_state_whose_bytes_are_known_is_gone_on_from_where_less_of_it_is_durable() {
    let byte = |disk: &Disk, place: u64| {
        let mut byte = [0];
        disk.read_at(place, &mut byte).map(|()| byte[0])
    };
    let work = |disk: &mut Disk, trusts: bool| -> io::Result<()> {
        if !trusts {
            disk.write_at(0, &[1])?;
            disk.flush()?;
        }
        if !trusts || byte(disk, 0)? == 1 {
            disk.write_at(0, &[0])?;
            disk.flush()?;
        }
        disk.write_at(512, &[9])?;
        disk.flush()
    };
    let result = Sweep::new(vec![0; 4096])
        .models([Kill, Power])
        .depth(2)
        .run(|disk| work(disk, false))
        .resume(|disk| work(disk, true))
        .at_crash(|disk| match (byte(disk, 0)?, byte(disk, 512)?) {
            (1, 9) => Err(io::Error::other("done while it is marked as not")),
            _ => Ok(()),
        });
    let (token, _) = failure(result.check(|_| io::Result::Ok(())));
    assert_eq!(token.crashes, [Crash::Killed(3), Crash::Power("p4-3".parse().unwrap())]);
}

#[test]
fn every_kind_of_crash_has_a_token_that_leads_back() {
    for (mistake, sweep, expected) in [
        (ResumeFails, sweep(&[Kill]), "a2"),
        (NoChecksum, sweep(&[Kill, TornSectors]), "t5.1"),
        (NoFlushAtEnd, sweep(&[Power]).durable(true), "end.p5-4"),
        (TrustsWhatIsThere, sweep(&[Kill, Power]).depth(2), "a2,p3-1"),
    ] {
        let (token, _) = failure(judge(sweep.clone(), mistake));
        let crashes = token.to_string().split(':').nth(2).unwrap().to_owned();
        assert_eq!(crashes, expected, "{mistake:?}");
        let (again, _) = failure(judge(sweep.replay(&token.to_string()), mistake));
        assert_eq!(again, token);
    }
}

#[test]
fn a_failure_tells_the_crash_the_ops_and_how_to_get_there() {
    let error = judge(sweep(&[Kill, Power]).depth(2), TrustsWhatIsThere).unwrap_err();
    let id = |text: &str| text.rsplit_once(':').map(|(head, _)| head.to_owned());
    let text = format!("{error:?}");
    assert_eq!(
        id(&text).unwrap(),
        "\
the crash state fails the check at the crash: no copy is whole
  crash: killed after op 2
  crash: power cut after op 3, without op 1
     1 write 5120..5632  missing
     2 write 4096..5120
     3 write 2048..2560
  looked at 75 states before
  again: Sweep::new(…).replay(\"sweep1:0:a2,p3-1"
    );
}

#[test]
fn what_can_not_be_tested_is_no_pass() {
    let fails = |disk: &mut Disk| disk.write_at(1 << 40, &[1]);
    let run = sweep(&[Kill]).run(fails).check(|_| io::Result::Ok(()));
    assert!(matches!(run, Err(SweepError::Run(_))), "{run:?}");
    let check = sweep(&[Kill]).run(|disk| store(disk, 2, None)).check(|_| Err("never"));
    assert!(matches!(check, Err(SweepError::Baseline(_))), "{check:?}");
    let turn = Cell::new(0);
    let differs = |disk: &mut Disk| {
        turn.set(turn.get() + 1);
        disk.write_at(0, &[turn.get()])
    };
    let random = sweep(&[Kill]).any_end().run(differs).check(|_| io::Result::Ok(()));
    assert!(matches!(random, Err(SweepError::NotDeterministic(_))), "{random:?}");
    let other = Token { seed: 0, crashes: vec![Crash::Killed(1)], id: Image::new(1).content_id() };
    let other = judge(sweep(&[Kill]).replay(&other.to_string()), None);
    assert!(matches!(other, Err(SweepError::OtherState { .. })), "{other:?}");
    assert!(matches!(judge(sweep(&[Kill]).replay("a7"), None), Err(SweepError::Token(_))));
}

#[test]
fn a_check_that_panics_has_failed_and_is_reported_with_its_crash() {
    let result = sweep(&[Kill]).run(|disk| store(disk, 2, None)).at_crash(|disk| {
        assert_eq!(load(disk, None), Ok(1), "still the old one");
        io::Result::Ok(())
    });
    let (token, violation) = failure(result.check(|_| io::Result::Ok(())));
    assert_eq!(token.crashes, [Crash::Killed(4)]);
    assert!(violation.to_string().contains("still the old one"), "{violation}");
}

#[test]
fn a_cut_disk_refuses_everything_from_the_cut_on() {
    let mut disk = Disk::new(Image::from(initial()), 512).cut_after(2, 700);
    disk.write_at(0, &[1; 10]).unwrap();
    disk.flush().unwrap();
    disk.write_at(0, &[2; 1024]).unwrap_err();
    let mut expected = Image::from(initial());
    expected.write_at(0, &[2; 700]).unwrap();
    assert_eq!(disk.image().content_id(), expected.content_id());
    assert!(disk.flush().is_err());
    assert!(disk.write_at(0, &[3]).is_err() && disk.read_at(0, &mut [0]).is_err());
}

#[test]
fn a_device_that_ignores_flushes_breaks_what_relies_on_them() {
    let device = DeviceProfile::load("eatmydata").unwrap();
    let sweep = sweep(&[Power]).power(PowerOptions { device, ..PowerOptions::default() });
    assert!(matches!(failure(judge(sweep, None)).1, Violation::AtCrash(_)));
}

fn any_crash() -> impl Strategy<Value = Crash> {
    let state = (any::<u64>(), prop::collection::btree_set(any::<u64>(), 0..3)).prop_map(|(cut, dropped)| {
        PowerState { cut, dropped: dropped.into_iter().collect(), torn: Option::None }
    });
    prop_oneof![
        any::<u64>().prop_map(Crash::Killed),
        (any::<u64>(), any::<u64>()).prop_map(|(op, sectors)| Crash::Torn { op, sectors }),
        state.clone().prop_map(Crash::Power),
        state.prop_map(Crash::AtEnd),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_token_parses_back_from_its_text(
        seed in any::<u64>(), crashes in prop::collection::vec(any_crash(), 1..4), bytes in any::<Vec<u8>>())
    {
        let id: ContentId = Image::from(bytes).content_id();
        let token = Token { seed, crashes, id };
        prop_assert_eq!(token.to_string().parse(), Ok(token));
    }

    #[test]
    fn no_number_and_no_garbage_breaks_code_without_a_mistake(number in 2..255u8, seed in any::<u64>()) {
        let device = DeviceProfile::new("test", AtomicUnit::Bytes(512), Dropped::Garbage, true);
        let options = PowerOptions { device, seed, ..PowerOptions::default() };
        let whole = |disk: &Disk, wanted: u8| load(disk, None) == Ok(wanted);
        let result = Sweep::new(initial())
            .power(options)
            .run(|disk| store(disk, number, None))
            .check(|disk| if whole(disk, number) { Ok(()) } else { Err("the old number") });
        prop_assert!(result.is_ok(), "{result:?}");
    }
}
