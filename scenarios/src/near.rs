//! Names that look like a misspelt one, for the hint at the end of an error.

/// At most so many are suggested.
const MOST: usize = 3;

/// The known names that `name` may have been meant as, nearest first.
pub(crate) fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .map(|known| (distance(name, known), known))
        .filter(|(distance, known)| {
            let begins = !name.is_empty() && (known.starts_with(name) || name.starts_with(known));
            begins || *distance <= known.chars().count() / 3
        })
        .collect();
    near.sort_unstable();
    near.into_iter().take(MOST).map(|(_, known)| known).collect()
}

/// Asks whether one of the known names was meant, where one looks like it.
pub(crate) fn hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    question(&near(name, known))
}

/// The question for names that were found to be near.
pub(crate) fn question(near: &[&str]) -> String {
    match near {
        [] => String::new(),
        names => format!(
            "; did you mean {}?",
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
        ),
    }
}

/// The hint to an error of serde's that names, between backquotes, first what it does not know and then what it does.
pub(crate) fn hint_in(message: &str) -> String {
    if !message.starts_with("unknown ") {
        return String::new();
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    quoted.next().map(|name| hint(name, quoted)).unwrap_or_default()
}

/// Levenshtein distance, row by row.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (place, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = place + 1;
        for (column, to) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits() {
        for (left, right, edits) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("same", "same", 0)]
        {
            assert_eq!(distance(left, right), edits, "{left} {right}");
        }
    }

    #[test]
    fn only_what_looks_alike_is_suggested_and_the_nearest_comes_first() {
        let known = ["baseline", "untouched", "content", "command"];
        for (name, expected) in [
            ("basline", &["baseline"][..]),
            ("comment", &["command", "content"]),
            ("un", &["untouched"]),
            ("fsck", &[]),
            ("", &[]),
        ] {
            assert_eq!(near(name, known), expected, "{name}");
        }
    }

    #[test]
    fn a_hint_is_read_from_what_serde_says() {
        let unknown = "unknown variant `untuoched`, expected one of `baseline`, `untouched`";
        assert_eq!(hint_in(unknown), "; did you mean `untouched`?");
        assert_eq!(hint_in("invalid type: string `untuoched`, expected `untouched`"), "");
        assert_eq!(hint_in("unknown field `x`, there are no fields"), "");
    }
}
