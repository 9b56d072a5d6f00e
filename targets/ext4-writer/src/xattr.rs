//! Extended attributes: in the inode behind its fields where all of them fit, else in a block of their own.
//!
//! The attribute `system.data` carries what inline data has beyond `i_block`, and always stays in the inode. Access
//! control lists are stored in a shorter form than `getxattr` gives.

use std::collections::BTreeMap;

use crate::bytes::Put;
use crate::checksum::Seed;
use crate::geometry::BLOCK_BYTES;

const MAGIC: u32 = 0xea02_0000;
const HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 16;
/// Four zero bytes close a list of entries.
const END_BYTES: usize = 4;
/// Bytes of an inode behind its fields: 256 less 128 less the 32 of `i_extra_isize`.
pub(crate) const INODE_ROOM: usize = 96;
/// The magic before the entries of an inode.
const INODE_MAGIC_BYTES: usize = 4;

/// Prefixes that have a number of their own; the name is what follows.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"user.", 1),
    (b"trusted.", 4),
    (b"security.", 6),
];
/// Number of `system.`, which inline data is stored under.
const SYSTEM: u8 = 7;

/// What can't be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A name outside of the namespaces of ext4.
    UnknownName(Vec<u8>),
    /// An access control list that isn't one.
    BadAcl(Vec<u8>),
    /// More than a block holds.
    TooLarge,
}

/// An attribute as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attribute {
    index: u8,
    name_len: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

/// Where the attributes of an inode go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Those in the inode.
    pub inline: Vec<Attribute>,
    /// Those in a block.
    pub block: Vec<Attribute>,
}

/// Bytes of inline data that fit behind `i_block` where there is no other attribute.
pub(crate) const INLINE_ROOM: usize = INODE_ROOM - INODE_MAGIC_BYTES - ENTRY_BYTES - 4 - END_BYTES;

/// Sorts attributes as ext4 does and decides where they go. `inline_data` is what inline data has beyond `i_block`.
pub(crate) fn store(
    xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
    inline_data: Option<&[u8]>,
) -> Result<Stored, Problem> {
    let mut attributes: Vec<Attribute> =
        xattrs.iter().map(|(name, value)| convert(name, value)).collect::<Result<_, _>>()?;
    attributes.sort();
    let data = inline_data.map(|value| attribute(SYSTEM, b"data", value.to_vec()));
    let together = data.iter().cloned().chain(attributes.iter().cloned()).collect::<Vec<_>>();
    if INODE_MAGIC_BYTES + bytes_of(&together) <= INODE_ROOM {
        return Ok(Stored { inline: together, block: Vec::new() });
    }
    if HEADER_BYTES + bytes_of(&attributes) > BLOCK_BYTES as usize {
        return Err(Problem::TooLarge);
    }
    Ok(Stored { inline: data.into_iter().collect(), block: attributes })
}

/// The content of the inode's room.
pub(crate) fn encode_inline(attributes: &[Attribute]) -> [u8; INODE_ROOM] {
    let mut room = [0; INODE_ROOM];
    if !attributes.is_empty() {
        room.put_u32(0, MAGIC);
        // Offsets of values count from the first entry here, from the start of the block there.
        fill(&mut room[INODE_MAGIC_BYTES..], attributes, 0, false);
    }
    room
}

/// The content of a block of attributes.
pub(crate) fn encode_block(attributes: &[Attribute], block: u64, seed: Seed) -> Vec<u8> {
    let mut content = vec![0; BLOCK_BYTES as usize];
    content.put_u32(0, MAGIC);
    content.put_u32(4, 1);
    content.put_u32(8, 1);
    fill(&mut content, attributes, HEADER_BYTES, true);
    let sum = seed.of_block(block).of(&content);
    content.put_u32(16, sum);
    content
}

fn fill(area: &mut [u8], attributes: &[Attribute], mut at: usize, with_hash: bool) {
    let mut end = area.len();
    for attribute in attributes {
        area[at] = attribute.name.len() as u8;
        area[at + 1] = attribute.index;
        if !attribute.value.is_empty() {
            end -= attribute.value.len().next_multiple_of(4);
            area.put(end, &attribute.value);
            area.put_u16(at + 2, end as u16);
        }
        area.put_u32(at + 8, attribute.value.len() as u32);
        if with_hash {
            area.put_u32(at + 12, hash(attribute));
        }
        area.put(at + ENTRY_BYTES, &attribute.name);
        at += (ENTRY_BYTES + attribute.name.len()).next_multiple_of(4);
    }
}

/// Entries, their end and their values.
fn bytes_of(attributes: &[Attribute]) -> usize {
    let one = |attribute: &Attribute| {
        (ENTRY_BYTES + attribute.name.len()).next_multiple_of(4) + attribute.value.len().next_multiple_of(4)
    };
    END_BYTES + attributes.iter().map(one).sum::<usize>()
}

/// `e_hash`: over the name by bytes and the padded value by 32-bit words.
fn hash(attribute: &Attribute) -> u32 {
    let name = attribute.name.iter().fold(0_u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
    attribute.value.chunks(4).fold(name, |hash, word| {
        let mut padded = [0; 4];
        padded[..word.len()].copy_from_slice(word);
        hash.rotate_left(16) ^ u32::from_le_bytes(padded)
    })
}

fn attribute(index: u8, name: &[u8], value: Vec<u8>) -> Attribute {
    Attribute { index, name_len: name.len(), name: name.to_vec(), value }
}

fn convert(name: &[u8], value: &[u8]) -> Result<Attribute, Problem> {
    let unknown = || Problem::UnknownName(name.to_vec());
    let (prefix, index) = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).ok_or_else(unknown)?;
    let rest = &name[prefix.len()..];
    let is_acl = !prefix.ends_with(b".");
    if rest.is_empty() != is_acl || rest.len() > 255 {
        return Err(unknown());
    }
    let value = if is_acl {
        convert_acl(value).ok_or_else(|| Problem::BadAcl(name.to_vec()))?
    } else {
        value.to_vec()
    };
    Ok(attribute(*index, rest, value))
}

/// From the form of `getxattr` (version 2: tag, permissions and identifier of 2, 2 and 4 bytes) to that on disk
/// (version 1: the identifier only where the tag is of a named user or group).
fn convert_acl(value: &[u8]) -> Option<Vec<u8>> {
    const GIVEN: u32 = 2;
    const STORED: u32 = 1;
    const NAMED: [u16; 2] = [0x02, 0x08];
    let (version, entries) = value.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != GIVEN || entries.len() % 8 != 0 {
        return None;
    }
    let mut stored = STORED.to_le_bytes().to_vec();
    for entry in entries.chunks_exact(8) {
        let is_named = NAMED.contains(&u16::from_le_bytes([entry[0], entry[1]]));
        stored.extend_from_slice(if is_named { entry } else { &entry[..4] });
    }
    Some(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattrs(pairs: &[(&str, usize)]) -> BTreeMap<Vec<u8>, Vec<u8>> {
        pairs.iter().map(|(name, len)| (name.as_bytes().to_vec(), vec![7; *len])).collect()
    }

    #[test]
    fn attributes_stay_in_the_inode_until_its_96_bytes_are_full() {
        // Magic, end, entry with a name of 4 bytes, value: 4 + 4 + 20 + 68 = 96.
        let fits = store(&xattrs(&[("user.name", 68)]), None).unwrap();
        assert_eq!((fits.inline.len(), fits.block.len()), (1, 0));
        let beyond = store(&xattrs(&[("user.name", 69)]), None).unwrap();
        assert_eq!((beyond.inline.len(), beyond.block.len()), (0, 1));
        let with_data = store(&xattrs(&[("user.name", 1)]), Some(&[1; INLINE_ROOM])).unwrap();
        assert_eq!((with_data.inline.len(), with_data.block.len()), (1, 1));
    }

    #[test]
    fn what_ext4_has_no_place_for_is_refused() {
        let refused = |name: &str, len| store(&xattrs(&[(name, len)]), None).unwrap_err();
        assert_eq!(refused("user.name", 5000), Problem::TooLarge);
        for name in ["system.other", "user.", "other", "system.posix_acl_access.x"] {
            assert_eq!(refused(name, 1), Problem::UnknownName(name.into()), "{name}");
        }
        assert_eq!(refused("system.posix_acl_access", 5), Problem::BadAcl("system.posix_acl_access".into()));
    }

    #[test]
    fn an_access_list_keeps_identifiers_of_named_users_and_groups_only() {
        let given = [2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 9, 0, 0, 0];
        assert_eq!(convert_acl(&given), Some(vec![1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 9, 0, 0, 0]));
    }
}
