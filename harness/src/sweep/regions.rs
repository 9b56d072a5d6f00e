//! What an op is about, in a person's terms: a structure or partition of the disk, a file, the scratch directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fault_backend::oplog::Op;

use crate::error::Error;
use crate::gpt::{Gpt, Layout, Place};
use crate::image::{VOLUME, View};
use crate::stage::Saved;
use crate::stage::recorded::is_in_volume;

/// What an op is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// For a person.
    pub name: Arc<str>,
    /// It is a structure by which the disk is read, such as its partition table.
    pub is_structure: bool,
}

impl From<&str> for Region {
    fn from(name: &str) -> Self {
        Self { name: name.into(), is_structure: false }
    }
}

/// Names for the ops of one phase.
#[derive(Debug, Default)]
pub struct Regions {
    /// The disk with a partition table, as it lies in a state, and where its structures are before and after the phase.
    disk: Option<(PathBuf, Vec<Layout>)>,
}

impl Regions {
    /// By the tables that the volume's disk has when the phase starts and when it is done.
    pub fn of_phase(disk: Option<&Path>, start: &Saved, baseline: &Saved) -> Result<Self, Error> {
        let Some(file) = disk else { return Ok(Self::default()) };
        let mut layouts = Vec::new();
        for state in [start, baseline] {
            let opened = state.memory.as_ref().map(|memory| View::Memory(memory).open(file));
            // A disk that is not there yet has no table.
            let Some(Ok(disk)) = opened else { continue };
            layouts.extend(Layout::of(&Gpt::read(&disk).map_err(Error::io(file))?));
        }
        Ok(Self { disk: Some((Path::new(VOLUME).join(file), layouts)) })
    }

    /// What an op is about.
    pub fn of(&self, op: &Op) -> Region {
        if op.is_flush() {
            return "flush".into();
        }
        if !is_in_volume(op) {
            return "scratch".into();
        }
        let path = op.path.as_deref();
        match (&self.disk, path, op.range()) {
            (Some((disk, layouts)), Some(path), Some(range)) if path == disk => {
                let places: Vec<Place> = layouts.iter().map(|layout| layout.place(range.start)).collect();
                // Space that is nobody's before may be a partition afterwards.
                let place = places.iter().find(|place| !matches!(place, Place::Unallocated(_)));
                place.or(places.first()).map_or_else(|| file_name(path), region)
            }
            (_, Some(path), _) => file_name(path),
            (_, None, _) => "volume".into(),
        }
    }
}

fn file_name(path: &Path) -> Region {
    let name = path.strip_prefix(VOLUME).unwrap_or(path).to_string_lossy();
    Region { name: name.into(), is_structure: false }
}

fn region(place: &Place) -> Region {
    let structure = |name: String| Region { name: name.into(), is_structure: true };
    match place {
        Place::ProtectiveMbr => structure("protective MBR".to_owned()),
        Place::Header(side, _) => structure(format!("{side} GPT header")),
        Place::Entry(side, ..) => structure(format!("{side} GPT array")),
        Place::Partition(label, _) => Region { name: format!("`{label}`").into(), is_structure: false },
        Place::Unallocated(_) => "unallocated".into(),
    }
}
