//! A part of a sweep, for one of several machines: states are divided by their content, so that no two machines judge
//! the same one, and each knows its own without asking.

use std::fmt;
use std::str::FromStr;

use fault_backend::ContentId;

/// One of so many parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 1.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

/// What is no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// It is no `I/N`.
    #[error("expected I/N, such as 1/4 for the first of four")]
    Form,
    /// There is no such one.
    #[error("there is no shard {index} of {of}: the first is 1/{of}, the last {of}/{of}")]
    Range {
        /// Which.
        index: u32,
        /// Of how many.
        of: u32,
    },
}

impl Shard {
    /// Whether a state of this content belongs to it.
    pub fn has(self, id: ContentId) -> bool {
        id.digest() % u128::from(self.of) == u128::from(self.index - 1)
    }

    /// Whether one of several things that have no content belongs to it, by its place among them.
    pub fn has_place(self, place: usize) -> bool {
        place as u64 % u64::from(self.of) == u64::from(self.index - 1)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let (index, of) = text.split_once('/').ok_or(ShardError::Form)?;
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| ShardError::Form);
        let (index, of) = (number(index)?, number(of)?);
        if (1..=of).contains(&index) { Ok(Self { index, of }) } else { Err(ShardError::Range { index, of }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_shard_says_why() {
        for (text, error) in [
            ("5/4", ShardError::Range { index: 5, of: 4 }),
            ("0/4", ShardError::Range { index: 0, of: 4 }),
            ("1/0", ShardError::Range { index: 1, of: 0 }),
            ("4", ShardError::Form),
            ("a/b", ShardError::Form),
            ("-1/4", ShardError::Form),
        ] {
            assert_eq!(text.parse::<Shard>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_content_belongs_to_exactly_one_shard(of in 1u32..20, id in "[0-9a-f]{32}", place in 0usize..1000) {
            let id: ContentId = id.parse().unwrap();
            let shards: Vec<Shard> = (1..=of).map(|index| Shard { index, of }).collect();
            prop_assert_eq!(shards.iter().filter(|shard| shard.has(id)).count(), 1);
            prop_assert_eq!(shards.iter().filter(|shard| shard.has_place(place)).count(), 1);
            prop_assert!(shards.iter().all(|shard| shard.to_string().parse() == Ok(*shard)));
        }
    }
}
