//! What a person is told of a table that has something wrong with it.

use super::*;

/// Each line is one damage and the problems that are named for it.
#[test]
fn problems_are_named_in_words() {
    type Inflict = fn(&mut Made);
    let cases: [(&str, Inflict, &[&str]); 9] = [
        ("nothing", |_| {}, &[]),
        ("no MBR", |m| m.bytes[..512].fill(0), &["there is no protective MBR"]),
        (
            "a hybrid MBR",
            |m| m.bytes[446 + 16 + 4] = 0x83,
            &["the MBR is a hybrid: it lists 1 partition besides the protective one"],
        ),
        (
            "a protective partition of another place and length",
            |m| {
                m.bytes[446 + 8] = 2;
                m.bytes[446 + 12] = 9;
            },
            &[
                "the protective partition of the MBR begins at LBA 2, not 1",
                "the protective partition of the MBR covers 9 sectors, not 255",
            ],
        ),
        ("a disk too long for an MBR", |m| m.bytes[446 + 12..446 + 16].fill(0xFF), &[]),
        (
            "a partition over the table",
            |m| m.set_entry(32, 3),
            &[
                "entry 3 (`DATA`) takes LBA 3–149, outside the usable 34–222",
                "entry 3 (`DATA`) lies over the primary GPT array",
            ],
        ),
        (
            "a partition beyond the disk",
            |m| m.set_entry(40, 300),
            &[
                "entry 3 (`DATA`) takes LBA 100–300, outside the usable 34–222",
                "entry 3 (`DATA`) ends at LBA 300, beyond the disk's last, 255",
                "entry 3 (`DATA`) lies over the backup GPT header",
                "entry 3 (`DATA`) lies over the backup GPT array",
            ],
        ),
        (
            "a usable range over the table",
            |m| {
                for header in [1, m.last()] {
                    let at = m.at(header) + 40;
                    m.bytes[at] = 20;
                    m.seal_header(header);
                }
            },
            &["the usable range reaches into the primary GPT array"],
        ),
        (
            "both valid, but different",
            |m| {
                let (array, last) = (m.backup_array(), m.last());
                let at = m.at(array) + 2 * 128 + 48;
                m.bytes[at] ^= 1;
                m.seal(last, array);
            },
            &["entry 3 (`DATA`) differs between the copies in attributes"],
        ),
    ];
    for (what, inflict, problems) in cases {
        let mut made = Made::new(512);
        inflict(&mut made);
        assert_eq!(check::problems(&made.read()), problems, "{what}");
    }
    let mut grown = Made::new(512);
    grown.bytes.resize(300 * 512, 0);
    assert_eq!(
        check::problems(&grown.read()),
        [
            "the backup copy is at LBA 255, not at the disk's last, 299",
            "the protective partition of the MBR covers 255 sectors, not 299"
        ]
    );
}

/// One that holds several others overlaps each of them, not only its neighbour.
#[test]
fn every_partition_within_another_is_named() {
    let mut made = Made::new(512);
    for array in [2, made.backup_array()] {
        let first = made.at(array) + 2 * 128;
        let entry: Vec<u8> = made.bytes[first..first + 128].to_vec();
        for (number, start, end) in [(1u8, 110u64, 112u64), (2, 120, 122)] {
            let at = first + usize::from(number) * 128;
            made.bytes[at..at + 128].copy_from_slice(&entry);
            made.bytes[at + 16] = number;
            made.bytes[at + 32..at + 40].copy_from_slice(&start.to_le_bytes());
            made.bytes[at + 40..at + 48].copy_from_slice(&end.to_le_bytes());
        }
    }
    let (last, array) = (made.last(), made.backup_array());
    made.seal(1, 2);
    made.seal(last, array);
    assert_eq!(
        check::problems(&made.read()),
        ["entry 3 (`DATA`) overlaps entry 4 (`DATA`)", "entry 3 (`DATA`) overlaps entry 5 (`DATA`)"]
    );
}
