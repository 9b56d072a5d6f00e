//! Goal: an image is indistinguishable from the bytes that it stands for, whatever was done to it and to its clones.
//! Method: random changes run on images and on plain vectors beside each other, over a base file and without one; then
//! content, id, holes and differences are compared with what the vectors say.
#![allow(clippy::single_range_in_vec_init)]

use std::io::Write;

use proptest::prelude::*;

use super::*;

const N: u64 = CHUNK;

/// Longest image of the random tests.
const LIMIT: u64 = 12 * N;

/// A change, or a clone that is kept to be compared with later.
#[derive(Clone, Debug)]
enum Step {
    Write { at: u64, len: usize, value: u8 },
    SetLen(u64),
    Punch(Range<u64>),
    Keep,
}

fn place() -> impl Strategy<Value = u64> {
    // Chunk boundaries and their neighbours are where mistakes are.
    prop_oneof![0..LIMIT, (0..12u64, 0..3u64).prop_map(|(chunk, off)| (chunk * N + off).saturating_sub(1))]
}

fn any_step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![1..40usize, Just(CHUNK_BYTES), 1..3 * CHUNK_BYTES];
    prop_oneof![
        4 => (place(), len, 0..4u8).prop_map(|(at, len, value)| Step::Write { at, len, value }),
        1 => place().prop_map(Step::SetLen),
        2 => (place(), place()).prop_map(|(a, b)| Step::Punch(a.min(b)..a.max(b))),
        1 => Just(Step::Keep),
    ]
}

fn apply(step: &Step, image: &mut Image, bytes: &mut Vec<u8>) {
    match step {
        Step::Write { at, len, value } => {
            // A pattern that differs along the write, but for value 0, which is zeros.
            let data: Vec<u8> = (0..*len).map(|i| value.wrapping_mul((i / 100) as u8 | 1)).collect();
            image.write_at(*at, &data).unwrap();
            let end = *at as usize + len;
            bytes.resize(bytes.len().max(end), 0);
            bytes[*at as usize..end].copy_from_slice(&data);
        }
        Step::SetLen(len) => {
            image.set_len(*len).unwrap();
            bytes.resize(*len as usize, 0);
        }
        Step::Punch(range) => {
            image.punch(range.clone()).unwrap();
            let (start, end) = (range.start as usize, (range.end as usize).min(bytes.len()));
            if start < end {
                bytes[start..end].fill(0);
            }
        }
        Step::Keep => {}
    }
}

fn content(image: &Image) -> Vec<u8> {
    let mut bytes = vec![0xEE; image.len_bytes() as usize];
    assert_eq!(image.read_at(0, &mut bytes).unwrap(), bytes.len());
    bytes
}

fn id_of(bytes: &[u8]) -> ContentId {
    let mut hasher = ContentHasher::new(bytes.len() as u64);
    for (index, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
        hasher.chunk(index as u64, chunk);
    }
    hasher.finish()
}

fn naive_diff(a: &[u8], b: &[u8]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for at in (0..a.len().max(b.len())).filter(|at| a.get(*at) != b.get(*at)) {
        match ranges.last_mut() {
            Some(last) if last.end == at as u64 => last.end += 1,
            _ => ranges.push(at as u64..at as u64 + 1),
        }
    }
    ranges
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn base_of(bytes: &[u8]) -> Arc<Base> {
    Arc::new(Base::open(file_of(bytes)).unwrap())
}

/// Four chunks and a half: data, zeros, data, data, half a chunk of data.
fn base_bytes() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..9 * CHUNK_BYTES / 2).map(|i| (i % 253) as u8 | 1).collect();
    bytes[CHUNK_BYTES..2 * CHUNK_BYTES].fill(0);
    bytes
}

/// Whether data and holes are told as the bytes have them, chunk by chunk.
fn check_holes(image: &Image, bytes: &[u8]) {
    let solid: Vec<bool> = bytes.chunks(CHUNK_BYTES).map(|chunk| !is_zero(chunk)).collect();
    let len = bytes.len() as u64;
    for at in (0..len + N).step_by(CHUNK_BYTES / 2) {
        let first = (at / N) as usize;
        let find =
            |wanted: bool| (first..solid.len()).find(|i| solid[*i] == wanted).map(|i| at.max(i as u64 * N));
        assert_eq!(image.next_data(at), find(true).filter(|data| *data < len), "data from {at}");
        assert_eq!(image.next_hole(at), find(false).unwrap_or(len).min(len), "hole from {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn an_image_is_the_bytes_that_were_put_into_it(
        steps in prop::collection::vec(any_step(), 1..25), over_base in any::<bool>())
    {
        let (mut image, mut bytes) = if over_base {
            (Image::over(base_of(&base_bytes())), base_bytes())
        } else {
            (Image::new(3 * N), vec![0; 3 * CHUNK_BYTES])
        };
        let mut kept = vec![(image.clone(), bytes.clone())];
        for step in &steps {
            apply(step, &mut image, &mut bytes);
            prop_assert_eq!(image.len_bytes(), bytes.len() as u64);
            prop_assert_eq!(image.content_id(), id_of(&bytes), "{:?}", step);
            if matches!(step, Step::Keep) {
                kept.push((image.clone(), bytes.clone()));
            }
        }
        kept.push((image, bytes));
        for (image, bytes) in &kept {
            prop_assert!(content(image) == *bytes);
            prop_assert_eq!(image.content_id(), id_of(bytes));
            let held = image.chunks.values().filter(|chunk| chunk.bytes.is_some()).count() as u64;
            prop_assert_eq!(image.dirty_bytes(), held * N);
            check_holes(image, bytes);
        }
        for (a, b) in kept.iter().zip(kept.iter().skip(1)).chain([(&kept[0], &kept[kept.len() - 1])]) {
            prop_assert_eq!(a.0.diff(&b.0).unwrap(), naive_diff(&a.1, &b.1));
        }
        // The same bytes in another structure: over a base of their own.
        let (last, bytes) = &kept[kept.len() - 1];
        let other = Image::over(base_of(bytes));
        prop_assert_eq!(other.content_id(), last.content_id());
        prop_assert_eq!(last.diff(&other).unwrap(), vec![]);
        prop_assert_eq!(kept[0].0.diff(&other).unwrap(), naive_diff(&kept[0].1, bytes));
    }

    #[test]
    fn any_read_gives_the_bytes_of_its_range(
        steps in prop::collection::vec(any_step(), 1..10), at in place(), len in 0..3 * CHUNK_BYTES)
    {
        let (mut image, mut bytes) = (Image::over(base_of(&base_bytes())), base_bytes());
        steps.iter().for_each(|step| apply(step, &mut image, &mut bytes));
        let mut buf = vec![0xEE; len];
        let read = image.read_at(at, &mut buf).unwrap();
        let inside = &bytes[bytes.len().min(at as usize)..bytes.len().min(at as usize + len)];
        prop_assert!(&buf[..read] == inside);
    }

    #[test]
    fn an_exported_image_is_the_same_file(steps in prop::collection::vec(any_step(), 1..10)) {
        let (mut image, mut bytes) = (Image::over(base_of(&base_bytes())), base_bytes());
        steps.iter().for_each(|step| apply(step, &mut image, &mut bytes));
        let file = file_of(&[9; 50_000]);
        image.export(&file).unwrap();
        prop_assert_eq!(file.metadata().unwrap().len(), bytes.len() as u64);
        prop_assert_eq!(Base::open(file).map(|base| Image::over(Arc::new(base)).content_id()).unwrap(), id_of(&bytes));
    }
}

#[test]
fn an_image_made_of_bytes_holds_them_and_nothing_for_zeros() {
    for bytes in [base_bytes(), Vec::new(), vec![0; 10_000]] {
        let image = Image::from(bytes.clone());
        assert!(content(&image) == bytes);
        assert_eq!(image.content_id(), id_of(&bytes));
        let solid = bytes.chunks(CHUNK_BYTES).filter(|chunk| !is_zero(chunk)).count() as u64;
        assert_eq!(image.dirty_bytes(), solid * N);
    }
}

#[test]
fn what_is_written_back_to_the_bases_content_is_held_no_more() {
    let bytes = base_bytes();
    let mut image = Image::over(base_of(&bytes));
    image.write_at(100, &[0xFF; 5000]).unwrap();
    assert_eq!(image.dirty_bytes(), 2 * N);
    image.write_at(100, &bytes[100..5100]).unwrap();
    assert_eq!((image.dirty_bytes(), image.content_id()), (0, id_of(&bytes)));
}

#[test]
fn zeroing_what_is_zero_in_a_chunk_of_the_base_keeps_the_rest_of_it() {
    let bytes = base_bytes();
    let mut image = Image::over(base_of(&bytes));
    let len = bytes.len() as u64;
    image.set_len(len + 400).unwrap();
    image.punch(len + 10..len + 400).unwrap();
    image.set_len(len).unwrap();
    assert_eq!((image.content_id(), image.dirty_bytes()), (id_of(&bytes), 0));
}

#[test]
fn a_write_after_a_clone_copies_one_chunk_and_one_before_it_none() {
    let mut image = Image::new(0);
    image.write_at(0, &vec![1; 100 * CHUNK_BYTES]).unwrap();
    let bytes_of = |image: &Image| Arc::as_ptr(image.chunks.get(&50).unwrap().bytes.as_ref().unwrap());
    let before = bytes_of(&image);
    image.write_at(50 * N, &[2]).unwrap();
    assert_eq!(bytes_of(&image), before, "in place while nobody shares it");
    let kept = image.clone();
    image.write_at(50 * N, &[3]).unwrap();
    assert_eq!(bytes_of(&kept), before);
    let shared = |index: u64| {
        let bytes = |image: &Image| image.chunks.get(&index).unwrap().bytes.clone().unwrap();
        Arc::ptr_eq(&bytes(&image), &bytes(&kept))
    };
    assert_eq!((0..100).filter(|index| !shared(*index)).collect::<Vec<_>>(), [50]);
    assert_eq!(kept.diff(&image).unwrap(), [50 * N..50 * N + 1]);
}

#[test]
fn a_huge_sparse_base_costs_what_its_data_costs() {
    let len = 64u64 << 40;
    let file = tempfile::tempfile().unwrap();
    // Some file systems allow no such length; what is tested needs only one that is far beyond memory.
    let len = [len, 1 << 40].into_iter().find(|len| file.set_len(*len).is_ok()).unwrap();
    file.write_all_at(b"data", len / 2 + 5).unwrap();
    let base = Arc::new(Base::open(file).unwrap());
    let mut image = Image::over(base);
    let first = len / 2 / N * N;
    assert_eq!((image.next_data(0), image.next_hole(first)), (Some(first), first + N));
    assert_eq!(image.dirty_bytes(), 0);
    let before = image.clone();
    image.punch(0..len).unwrap();
    assert_eq!(image.content_id(), Image::new(len).content_id());
    assert_eq!(before.diff(&image).unwrap(), [len / 2 + 5..len / 2 + 9]);
}

#[test]
fn what_ends_beyond_every_file_is_refused_and_changes_nothing() {
    let mut image = Image::new(10);
    for (at, data) in [(u64::MAX, [1, 1]), (MAX_LEN_BYTES - 1, [1, 1])] {
        assert_eq!(image.write_at(at, &data).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
    assert_eq!(image.set_len(u64::MAX).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(image.content_id(), Image::new(10).content_id());
    image.write_at(MAX_LEN_BYTES - 1, &[7]).unwrap();
    assert_eq!((image.len_bytes(), image.next_data(0)), (MAX_LEN_BYTES, Some(MAX_LEN_BYTES / N * N)));
}

#[test]
fn a_base_that_became_shorter_is_an_error_and_no_zeros() {
    let file = file_of(&base_bytes());
    let base = Base::open(file.try_clone().unwrap()).unwrap();
    file.set_len(100).unwrap();
    let mut image = Image::over(Arc::new(base));
    let id = image.content_id();
    assert_eq!(image.read_at(2 * N, &mut [0; 10]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert!(image.write_at(2 * N + 5, &[1]).is_err(), "the rest of the chunk can't be read");
    assert_eq!((image.content_id(), image.dirty_bytes()), (id, 0));
    image.write_at(2 * N, &[1; CHUNK_BYTES]).unwrap();
}
