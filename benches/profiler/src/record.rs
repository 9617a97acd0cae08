//! What the plugin writes (`plugin.c`).

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// Accesses of one instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Accesses {
    /// Loads.
    pub loads: u64,
    /// Stores.
    pub stores: u64,
    /// Those of both that take one more access: a halfword at an odd address, a word at a halfword.
    pub split_once: u64,
    /// Those that take two more: a word at an odd address.
    pub split_twice: u64,
}

/// What happened between two marks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Region {
    /// Instructions executed.
    pub instructions: u64,
    /// The instruction that the region began with.
    pub first: Option<u32>,
    /// How often the second instruction was executed right after the first.
    pub edges: BTreeMap<(u32, u32), u64>,
    /// Accesses by address of the instruction.
    pub accesses: BTreeMap<u32, Accesses>,
}

/// Reads the plugin's text.
///
/// # Errors
/// Names the line that is not the plugin's.
pub fn parse(text: &str) -> Result<Vec<Region>> {
    let mut regions = Vec::new();
    let mut region = Region::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let address = |word: &str| {
            u32::from_str_radix(word, 16).with_context(|| format!("no address in `{line}`"))
        };
        let number =
            |word: &str| word.parse::<u64>().with_context(|| format!("no number in `{line}`"));
        match words[..] {
            ["REGION", _, instructions] => {
                region = Region { instructions: number(instructions)?, ..Region::default() };
            }
            ["F", first, _] => region.first = Some(address(first)?),
            ["E", from, to, times] => {
                region.edges.insert((address(from)?, address(to)?), number(times)?);
            }
            ["M", at, loads, stores, once, twice] => {
                let (loads, stores) = (number(loads)?, number(stores)?);
                let (split_once, split_twice) = (number(once)?, number(twice)?);
                let accesses = Accesses { loads, stores, split_once, split_twice };
                region.accesses.insert(address(at)?, accesses);
            }
            ["END"] => regions.push(std::mem::take(&mut region)),
            _ => bail!("the plugin wrote `{line}`"),
        }
    }
    Ok(regions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_read_back() {
        let text = "REGION 0 3\nF 100 1\nE 100 102 2\nM 102 2 0 1 0\nEND\nREGION 1 0\nEND\n";
        let regions = parse(text).unwrap();
        let accesses = Accesses { loads: 2, stores: 0, split_once: 1, split_twice: 0 };
        let expected = Region {
            instructions: 3,
            first: Some(0x100),
            edges: BTreeMap::from([((0x100, 0x102), 2)]),
            accesses: BTreeMap::from([(0x102, accesses)]),
        };
        assert_eq!(regions, [expected, Region::default()]);
        assert!(parse("E 1").is_err());
    }
}
