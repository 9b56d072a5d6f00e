//! What to do, worked out on the table alone: no disk is read here, and nothing is written.
//!
//! The plan of a command is the same on the disk that it starts from and on every disk that a killed run of it can
//! leave: entries that it has created are recognised by a GUID derived from the original's, and sizes that are
//! already right need nothing. Partitions never overlap, lie within the usable space, and begin at whole MiB.

use uuid::{Builder, Uuid};

use crate::error::{Error, Result};
use crate::gpt::{Entry, NAME_UNITS, Span, Table};
use crate::size::{GIB, MIB};
use crate::usage::UsageError;

/// What the name of a relocated partition ends with until it takes the original's place.
const SUFFIX: &str = "_resized2";

/// A partition that shall have a certain size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Its index.
    pub index: u32,
    /// The size; a whole number of sectors is made of it.
    pub len_bytes: u64,
}

/// A partition that may be shrunk if the goals need its space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// Its index.
    pub index: u32,
    /// What it may be shrunk to; by as many whole GiB as are missing if `None`.
    pub len_bytes: Option<u64>,
}

/// A command, its partitions resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Sizes wanted, in the order in which space is given out.
    pub goals: Vec<Goal>,
    /// What may be shrunk.
    pub reserve: Option<Reserve>,
    /// Whether a relocated partition gets its index back.
    pub preserve_numbers: bool,
}

/// A partition that is shrunk in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shrink {
    /// Its index.
    pub index: u32,
    /// Where it lies now.
    pub from: Span,
    /// Where it will lie.
    pub to: Span,
}

/// A partition that grows by being relocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The original's index.
    pub index: u32,
    /// The original's place.
    pub from: Span,
    /// The new place.
    pub to: Span,
    /// The index of the new partition until the original goes.
    pub new_index: u32,
    /// The index that it ends up with.
    pub final_index: u32,
    /// Whether an interrupted run has already created it.
    pub begun: bool,
}

/// The work to do and the tables that it leads through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In place, first.
    pub shrinks: Vec<Shrink>,
    /// By relocation, into what is free then.
    pub moves: Vec<Move>,
    /// The table once the shrinks are in it.
    pub shrunk: Table,
    /// The table once the new partitions are in it.
    pub created: Table,
    /// The table at the end.
    pub updated: Table,
}

/// The unique GUID of the partition that shall replace the one with GUID `original`: a function of it, so that a
/// resumed run recognises what it has begun. A version-8 UUID of a BLAKE3 hash.
pub fn derived_guid(original: Uuid) -> Uuid {
    let mut hasher = blake3::Hasher::new();
    hasher.update(original.as_bytes()).update(SUFFIX.as_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// The new partition's name until it takes the original's: cut so that the suffix fits.
fn resized_name(original: &Entry) -> String {
    let mut units = original.name_units();
    units.truncate(NAME_UNITS - SUFFIX.len());
    String::from_utf16_lossy(&units) + SUFFIX
}

/// Whole sectors that hold `len_bytes`.
fn sectors(table: &Table, len_bytes: u64) -> u64 {
    len_bytes.div_ceil(table.sector_len())
}

/// The free stretches of `table`, by place, each from a whole MiB on.
pub fn free_gaps(table: &Table) -> Vec<Span> {
    let usable = table.usable();
    let align = MIB / table.sector_len();
    let mut taken: Vec<Span> = table.entries().map(|(_, entry)| entry.span()).collect();
    taken.sort();
    // A sentinel closes the last gap.
    taken.push(Span { first_lba: usable.last_lba + 1, last_lba: usable.last_lba + 1 });
    let mut gaps = Vec::new();
    let mut next = usable.first_lba;
    for span in taken {
        let first_lba = next.next_multiple_of(align);
        if first_lba < span.first_lba {
            gaps.push(Span { first_lba, last_lba: span.first_lba - 1 });
        }
        next = next.max(span.last_lba + 1);
    }
    gaps
}

/// Plans `request` on `table`. The grows are first tried in the space that there is, then with the reserve.
pub fn plan(table: &Table, request: &Request) -> Result<Plan> {
    refuse_repeats(request)?;
    let (mut shrunk, mut shrinks, grows) = sort_goals(table, request)?;
    let mut created = create(&shrunk, &grows, request.preserve_numbers);
    if let (Err(Error::NoSpace { .. }), Some(reserve)) = (&created, request.reserve)
        && let Some((shrink, with_reserve)) = use_reserve(&shrunk, reserve, &grows)?
    {
        shrinks.push(shrink);
        shrunk = with_reserve;
        created = create(&shrunk, &grows, request.preserve_numbers);
    }
    let (created, moves) = created?;
    let updated = update(&created, &moves)?;
    Ok(Plan { shrinks, moves, shrunk, created, updated })
}

fn refuse_repeats(request: &Request) -> Result<()> {
    let mut named: Vec<u32> = request.goals.iter().map(|goal| goal.index).collect();
    named.extend(request.reserve.map(|reserve| reserve.index));
    named.sort_unstable();
    match named.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(UsageError::NamedTwice { index: pair[0] }.into()),
        None => Ok(()),
    }
}

fn entry(table: &Table, index: u32) -> Result<&Entry> {
    table.entry(index).ok_or_else(|| UsageError::Index { text: index.to_string() }.into())
}

/// The table with all shrinks in it, the shrinks, and the goals that need relocation.
fn sort_goals(table: &Table, request: &Request) -> Result<(Table, Vec<Shrink>, Vec<Goal>)> {
    let mut shrunk = table.clone();
    let (mut shrinks, mut grows) = (Vec::new(), Vec::new());
    for goal in &request.goals {
        let present = entry(table, goal.index)?.span();
        let wanted = sectors(table, goal.len_bytes);
        if wanted > present.sectors() {
            grows.push(*goal);
        } else if wanted < present.sectors() {
            shrinks.push(shrink(&mut shrunk, goal.index, wanted)?);
        }
    }
    Ok((shrunk, shrinks, grows))
}

fn shrink(table: &mut Table, index: u32, wanted_sectors: u64) -> Result<Shrink> {
    let old = entry(table, index)?;
    let (from, to) = (old.span(), Span::new(old.span().first_lba, wanted_sectors));
    let changed = old.at(to)?;
    table.set(index, changed);
    Ok(Shrink { index, from, to })
}

/// Shrinks the reserve as far as `grows` need it, if that is possible at all.
fn use_reserve(table: &Table, reserve: Reserve, grows: &[Goal]) -> Result<Option<(Shrink, Table)>> {
    let present = entry(table, reserve.index)?.span().sectors();
    let attempt = |wanted_sectors: u64| -> Result<(Shrink, Table)> {
        let mut changed = table.clone();
        Ok((shrink(&mut changed, reserve.index, wanted_sectors)?, changed))
    };
    if let Some(len_bytes) = reserve.len_bytes {
        let wanted = sectors(table, len_bytes);
        return if wanted < present { attempt(wanted).map(Some) } else { Ok(None) };
    }
    let step = GIB / table.sector_len();
    let mut wanted = present;
    while wanted > step {
        wanted -= step;
        let (shrink, changed) = attempt(wanted)?;
        match create(&changed, grows, false) {
            Err(Error::NoSpace { .. }) => {}
            _ => return Ok(Some((shrink, changed))),
        }
    }
    Ok(None)
}

/// Finds room for each of `grows`: first fit, lowest free index; what an interrupted run has begun is used as it
/// is.
fn create(table: &Table, grows: &[Goal], preserve_numbers: bool) -> Result<(Table, Vec<Move>)> {
    let mut created = table.clone();
    let mut moves = Vec::new();
    for goal in grows {
        let original = entry(table, goal.index)?.clone();
        let guid = derived_guid(original.guid());
        let wanted = sectors(table, goal.len_bytes);
        let found = table.entries().find(|(_, entry)| entry.guid() == guid);
        let (new_index, to) = match found {
            Some((index, begun)) if begun.span().sectors() == wanted => (index, begun.span()),
            Some((index, begun)) => {
                let present_bytes = table.extent(begun.span()).len_bytes;
                return Err(
                    UsageError::Leftover { index, present_bytes, wanted_bytes: goal.len_bytes }.into()
                );
            }
            None => {
                let to = first_fit(&created, wanted, &original)?;
                let index = (1..=created.capacity())
                    .find(|index| created.entry(*index).is_none())
                    .ok_or(Error::NoFreeEntry { capacity: created.capacity() })?;
                created.set(index, original.renamed(resized_name(&original), guid)?.at(to)?);
                (index, to)
            }
        };
        moves.push(Move {
            index: goal.index,
            from: original.span(),
            to,
            new_index,
            final_index: if preserve_numbers { goal.index } else { new_index },
            begun: found.is_some(),
        });
    }
    Ok((created, moves))
}

fn first_fit(table: &Table, wanted_sectors: u64, original: &Entry) -> Result<Span> {
    let gaps = free_gaps(table);
    if let Some(gap) = gaps.iter().find(|gap| gap.sectors() >= wanted_sectors) {
        return Ok(Span::new(gap.first_lba, wanted_sectors));
    }
    let largest = gaps.iter().map(Span::sectors).max().unwrap_or(0);
    Err(Error::NoSpace {
        what: format!("partition `{}`", original.name().escape_debug()),
        needed_bytes: wanted_sectors * table.sector_len(),
        available_bytes: largest * table.sector_len(),
    })
}

/// The table once every new partition has taken its original's identity.
fn update(created: &Table, moves: &[Move]) -> Result<Table> {
    let mut updated = created.clone();
    for step in moves {
        updated.clear(step.index);
        updated.clear(step.new_index);
    }
    for step in moves {
        updated.set(step.final_index, entry(created, step.index)?.at(step.to)?);
    }
    Ok(updated)
}
