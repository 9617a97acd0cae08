//! A region's instructions and cycles.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use crate::code::{Code, Kind};
use crate::model::{Core, Cycles};
use crate::record::Region;

/// What one instruction of the program came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Share {
    times: u64,
    cycles: Cycles,
}

/// What a region came to.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Instructions executed.
    pub instructions: u64,
    /// Cycles of the core.
    pub cycles: Cycles,
    shares: BTreeMap<u32, Share>,
}

/// An instruction in which much time is spent.
#[derive(Clone, PartialEq, Debug)]
pub struct Hot {
    /// Its address.
    pub address: u32,
    /// Times executed.
    pub times: u64,
    /// Cycles each time, on the average.
    pub cycles: f64,
    /// As in assembly.
    pub text: String,
    /// The function that it is in.
    pub function: String,
}

impl Profile {
    /// Weighs a region with the timings of `core`.
    ///
    /// # Errors
    /// Where the record does not add up, or has an instruction without a timing.
    pub fn new(region: &Region, code: &mut Code, core: Core) -> Result<Self> {
        let mut shares: BTreeMap<u32, Share> = BTreeMap::new();
        if let Some(first) = region.first {
            let cycles = core.executed(None, code.at(first));
            let share = shares.entry(first).or_default();
            share.times += 1;
            share.cycles.add(cycles, 1);
        }
        for (&(from, to), &times) in &region.edges {
            let before = code.at(from).clone();
            let this = code.at(to);
            let cycles = core.executed(Some(&before), this);
            let share = shares.entry(to).or_default();
            share.times += times;
            share.cycles.add(cycles, times);
            if to != from + before.size {
                let cycles = core.taken(&before, this, to);
                shares.entry(from).or_default().cycles.add(cycles, times);
            }
        }
        for (&address, share) in &mut shares {
            let this = code.at(address);
            if this.kind == Kind::Unknown {
                bail!("no timing for `{}` at {address:#x}", this.text);
            }
            let accesses = region.accesses.get(&address).copied().unwrap_or_default();
            let made = accesses.loads + accesses.stores;
            if matches!(this.kind, Kind::Load { .. }) && made < share.times {
                // Skipped by a condition.
                share.cycles.add(Cycles::exactly(-1), share.times - made);
            }
            let splits = accesses.split_once + 2 * accesses.split_twice;
            share.cycles.add(Cycles::exactly(1), splits);
        }
        let instructions: u64 = shares.values().map(|share| share.times).sum();
        ensure!(
            instructions == region.instructions,
            "the record has {instructions} instructions where {} were counted",
            region.instructions
        );
        let mut cycles = Cycles::default();
        shares.values().for_each(|share| cycles.add(share.cycles, 1));
        Ok(Self { instructions, cycles, shares })
    }

    /// The `count` instructions that take the most cycles, in the order of their addresses.
    pub fn hottest(&self, code: &mut Code, count: usize) -> Vec<Hot> {
        let mut addresses: Vec<u32> = self.shares.keys().copied().collect();
        addresses.sort_by_key(|address| std::cmp::Reverse(self.shares[address].cycles.nominal));
        addresses.truncate(count);
        addresses.sort_unstable();
        let hot = addresses.into_iter().map(|address| {
            let Share { times, cycles } = self.shares[&address];
            let cycles = cycles.nominal as f64 / times.max(1) as f64;
            let function = code.function(address).to_owned();
            Hot { address, times, cycles, text: code.at(address).text.clone(), function }
        });
        hot.collect()
    }

    /// Functions by cycles, the most first: name, instructions, cycles.
    pub fn functions(&self, code: &Code) -> Vec<(String, u64, i64)> {
        let mut functions: BTreeMap<&str, (u64, i64)> = BTreeMap::new();
        for (&address, share) in &self.shares {
            let sum = functions.entry(code.function(address)).or_default();
            sum.0 += share.times;
            sum.1 += share.cycles.nominal;
        }
        let mut functions: Vec<_> = functions
            .into_iter()
            .map(|(name, (instructions, cycles))| (name.to_owned(), instructions, cycles))
            .collect();
        functions.sort_by_key(|&(_, _, cycles)| std::cmp::Reverse(cycles));
        functions
    }
}
