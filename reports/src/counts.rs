//! Named counters that keep the order in which their names first came. JSON objects made from it read in the
//! pipeline's order rather than the alphabet's, and reading one back keeps that order.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// Counters by name, in order of first appearance. Meant for a handful of names: look-up is a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(Vec<(String, u64)>);

impl Counts {
    /// Makes sure that `name` is listed, at 0 where it is new.
    pub fn declare(&mut self, name: &str) {
        self.add(name, 0);
    }

    /// Adds `n` to `name`, which goes to the end where it is new.
    pub fn add(&mut self, name: &str, n: u64) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, count)) => *count += n,
            None => self.0.push((name.to_owned(), n)),
        }
    }

    /// The count of `name`; 0 where it never appeared.
    pub fn get(&self, name: &str) -> u64 {
        self.0.iter().find(|(known, _)| known == name).map_or(0, |(_, count)| *count)
    }

    /// All names and counts in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no name is listed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sum of all counts.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Counts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of counts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Counts, A::Error> {
                let mut counts = Counts::default();
                while let Some((name, n)) = map.next_entry::<String, u64>()? {
                    if counts.0.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format_args!("`{name}` is counted twice")));
                    }
                    counts.0.push((name, n));
                }
                Ok(counts)
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Counts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Counts".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        std::collections::BTreeMap::<String, u64>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_the_order_of_first_appearance() {
        let mut counts = Counts::default();
        counts.declare("start");
        counts.add("preflight", 2);
        counts.add("copy", 1);
        counts.add("preflight", 1);
        let json = serde_json::to_string(&counts).unwrap();
        assert_eq!(json, r#"{"start":0,"preflight":3,"copy":1}"#);
        assert_eq!(serde_json::from_str::<Counts>(&json).unwrap(), counts);
        assert_eq!((counts.total(), counts.len(), counts.get("copy")), (4, 3, 1));
    }

    #[test]
    fn a_name_counted_twice_is_refused() {
        let error = serde_json::from_str::<Counts>(r#"{"a":1,"a":2}"#).unwrap_err();
        assert!(error.to_string().starts_with("`a` is counted twice"), "{error}");
    }
}
