//! What was typed is at fault: an error that ends the program with exit code 2, and the names that may have
//! been meant.

use std::{error, fmt};

/// A fault of the command line, told in a sentence.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for Usage {}

/// At most this many names are offered.
const OFFERED: usize = 4;

/// The names of which a part is most like `typed`, the likest first; none where all are far from it.
pub fn near<'n>(typed: &str, names: &'n [String]) -> Vec<&'n str> {
    let most = typed.chars().count().div_ceil(3);
    let mut near: Vec<_> = names.iter().map(|name| (edits(typed, name), name.as_str())).collect();
    near.retain(|&(edits, _)| edits <= most);
    near.sort_by_key(|&(edits, _)| edits);
    near.into_iter().map(|(_, name)| name).take(OFFERED).collect()
}

/// The fewest letters to add, leave out or replace that make `typed` a part of `name` (Sellers 1980).
fn edits(typed: &str, name: &str) -> usize {
    let name: Vec<char> = name.chars().collect();
    // Of the letters so far and the best part that ends before each place of the name.
    let mut row = vec![0; name.len() + 1];
    for (at, letter) in typed.chars().enumerate() {
        let mut before = row[0];
        row[0] = at + 1;
        for (place, other) in name.iter().enumerate() {
            let replaced = before + usize::from(letter != *other);
            before = row[place + 1];
            row[place + 1] = replaced.min(before + 1).min(row[place] + 1);
        }
    }
    row.into_iter().min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted_to_the_likest_part() {
        let pairs =
            [("kws", "kws@0.1"), ("kws@.1", "kws@0.1"), ("16x32x64", "16x16x32_64"), ("", "a")];
        assert_eq!(pairs.map(|(typed, name)| edits(typed, name)), [0, 1, 1, 0]);
        assert_eq!(edits("abc", "xyz"), 3);
    }

    #[test]
    fn the_likest_names_come_first_and_strange_ones_not_at_all() {
        let names = ["ad@0.1", "kws@0.1", "kws@0.5"].map(str::to_owned);
        assert_eq!(near("kws@.1", &names), ["kws@0.1", "kws@0.5"]);
        assert!(near("nonexistent", &names).is_empty());
    }
}
