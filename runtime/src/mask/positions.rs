//! Signed positions: rows in blocks of inputs, a byte for each kept weight, and half a byte for the count
//! of a block.
//!
//! Whatever the bytes of a section are, reading it stays inside of it: nothing here, and no kernel, relies
//! on a check.

use super::MaskError;
use super::row::toggle;
use crate::layer::Weights;
use crate::random::WORD;

/// Inputs of a block: a position has seven bits. The last block of a row may have less.
pub(crate) const BLOCK: usize = 128;

/// Most blocks of a row that routines for it take.
#[cfg(any(feature = "write", seedmask_dsp))]
pub(crate) const MOST_BLOCKS: usize = 8;

/// Mask words beside a block.
const WORDS: usize = BLOCK / WORD;

/// Blocks whose counts share a word.
pub(crate) const GROUP: usize = 8;

/// Half a byte that says that the count stands elsewhere, in a byte of its own.
pub(super) const ELSEWHERE: u8 = 15;

/// No count is read as more than this: a block keeps at most [`BLOCK`].
pub(crate) const MOST: u8 = 254;

/// Blocks of all rows.
fn blocks(weights: Weights) -> usize {
    weights.rows as usize * (weights.inputs as usize).div_ceil(BLOCK)
}

/// The halves of a group, a byte each from the lowest on.
fn halves(group: [u8; GROUP / 2]) -> u64 {
    const HALVES: u32 = 0x0f0f_0f0f;
    let group = u32::from_le_bytes(group);
    u64::from(group & HALVES) | u64::from(group >> 4 & HALVES) << 32
}

/// How many weights each block keeps.
#[derive(Clone, Debug)]
pub(crate) struct Counts<'a> {
    groups: &'a [[u8; GROUP / 2]],
    /// What is behind the groups: at the end, from the last byte on, the counts that stand elsewhere.
    rest: &'a [u8],
    base: u8,
}

/// Halves of groups, what they are less than counts, and what ends with the counts that stand elsewhere.
#[cfg(seedmask_dsp)]
type Groups<'a> = (&'a [[u8; GROUP / 2]], u8, &'a [u8]);

impl<'a> Counts<'a> {
    /// Those of a section, and its positions. Nothing where it is too short.
    pub(crate) fn new(section: &'a [u8], weights: Weights, base: u8) -> (Self, &'a [u8]) {
        let bytes = GROUP / 2 * blocks(weights).div_ceil(GROUP);
        let (groups, rest) = section.split_at_checked(bytes).unwrap_or_default();
        (Self { groups: groups.as_chunks().0, rest, base: base.min(MOST - ELSEWHERE) }, rest)
    }

    /// The halves of the next groups, what they are less than counts, and the counts that stand elsewhere,
    /// which are read from the last one on. `None` where the section is too short.
    #[cfg(seedmask_dsp)]
    pub(crate) fn next(&mut self, groups: usize) -> Option<Groups<'a>> {
        let (groups, behind) = self.groups.split_at_checked(groups)?;
        self.groups = behind;
        Some((groups, self.base, self.rest))
    }

    /// Leaves of the counts that stand elsewhere only the first `left`.
    #[cfg(seedmask_dsp)]
    pub(crate) fn leave(&mut self, left: usize) {
        self.rest = self.rest.get(..left).unwrap_or_default();
    }

    /// The counts of the next eight blocks, a byte of at most [`MOST`] each from the lowest on; 0 where the
    /// section is too short.
    #[cfg(seedmask_vectors)]
    #[inline(always)]
    pub(crate) fn next_group(&mut self) -> u64 {
        const ONES: u64 = 0x0101_0101_0101_0101;
        let Some((group, behind)) = self.groups.split_first() else { return 0 };
        self.groups = behind;
        let halves = halves(*group);
        match (halves + ONES) & ONES << 4 {
            0 => halves + u64::from(self.base) * ONES,
            _ => self.read_elsewhere(halves),
        }
    }

    /// The counts of a group, some of which stand elsewhere.
    #[cfg(seedmask_vectors)]
    #[cold]
    #[inline(never)]
    fn read_elsewhere(&mut self, halves: u64) -> u64 {
        u64::from_le_bytes(halves.to_le_bytes().map(|half| self.count(half)))
    }

    /// The count that half a byte says, those before it having been asked for.
    fn count(&mut self, half: u8) -> u8 {
        if half != ELSEWHERE {
            return half + self.base;
        }
        let (last, rest) = self.rest.split_last().unwrap_or((&0, &[]));
        self.rest = rest;
        (*last).min(MOST)
    }
}

/// The blocks of a section: those of the first row, then those of the next.
#[derive(Clone, Debug)]
pub(crate) struct Blocks<'a> {
    counts: Counts<'a>,
    block: usize,
    positions: &'a [u8],
    /// Whether a block is a row.
    #[cfg(seedmask_dsp)]
    are_rows: bool,
}

impl<'a> Blocks<'a> {
    pub(crate) fn new(section: &'a [u8], weights: Weights, base: u8) -> Self {
        let (counts, positions) = Counts::new(section, weights, base);
        Self {
            counts,
            block: 0,
            positions,
            #[cfg(seedmask_dsp)]
            are_rows: weights.inputs as usize <= BLOCK,
        }
    }

    /// Whether a block is a row.
    #[cfg(seedmask_dsp)]
    pub(super) fn are_rows(&self) -> bool {
        self.are_rows
    }

    /// Halves from the next block's on, a byte each from the lowest on, up to the end of its group; `None`
    /// behind the last group.
    fn halves(&self) -> Option<u64> {
        let group = self.counts.groups.get(self.block / GROUP)?;
        Some(halves(*group) >> (8 * (self.block % GROUP)))
    }

    /// The positions from the next block on, and the counts of some blocks, one at least.
    #[cfg(seedmask_dsp)]
    pub(super) fn ahead(&self) -> Option<(&'a [u8], [u8; GROUP], usize)> {
        let mut counts = self.counts.clone();
        let some = self.halves()?.to_le_bytes().map(|half| counts.count(half));
        Some((self.positions, some, GROUP - self.block % GROUP))
    }

    /// Leaves out `blocks` of those; the others' positions are the last `left` bytes.
    #[cfg(seedmask_dsp)]
    pub(super) fn skip(&mut self, blocks: usize, left: usize) {
        for half in self.halves().unwrap_or(0).to_le_bytes().into_iter().take(blocks) {
            self.counts.count(half);
        }
        self.block += blocks;
        let read = self.positions.len().saturating_sub(left);
        self.positions = self.positions.get(read..).unwrap_or_default();
    }

    /// Sets the bits of what the next blocks keep in `masks`, and of weights −1 in `signs`; both are all
    /// 0, and begin and end with a block.
    pub(super) fn read(&mut self, masks: &mut [u32], signs: &mut [u32]) {
        for (masks, signs) in masks.chunks_mut(WORDS).zip(signs.chunks_mut(WORDS)) {
            for position in self.next().unwrap_or_default() {
                toggle(masks, signs, usize::from(position % 128), u32::from(position / 128));
            }
        }
    }
}

impl<'a> Iterator for Blocks<'a> {
    /// A byte for each weight, its input in the lower seven bits, 1 in the eighth for −1.
    type Item = &'a [u8];

    /// The positions of the next block; `None` where the section ends before they do.
    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let half = self.halves()? as u8;
        self.block += 1;
        let count = self.counts.count(half);
        let (block, rest) = self.positions.split_at_checked(count.into())?;
        self.positions = rest;
        Some(block)
    }
}

/// One row, weight by weight in the order of the inputs.
#[derive(Clone, Debug)]
pub struct PositionRow<'a> {
    blocks: core::iter::Take<Blocks<'a>>,
    /// What is left of the block before these.
    block: &'a [u8],
    /// The input that it begins behind.
    end: u32,
}

impl<'a> PositionRow<'a> {
    /// Takes the next row of `inputs` inputs.
    pub(super) fn split(blocks: &mut Blocks<'a>, inputs: u32) -> Self {
        let count = (inputs as usize).div_ceil(BLOCK);
        let row = Self { blocks: blocks.clone().take(count), block: &[], end: 0 };
        blocks.by_ref().take(count).for_each(|_| ());
        row
    }
}

impl Iterator for PositionRow<'_> {
    type Item = (u32, i32);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((position, rest)) = self.block.split_first() {
                self.block = rest;
                let weight = if *position < 128 { 1 } else { -1 };
                return Some((self.end - BLOCK as u32 + u32::from(position % 128), weight));
            }
            self.block = self.blocks.next()?;
            self.end += BLOCK as u32;
        }
    }
}

/// A function of its own, whose loops have the registers to themselves.
#[inline(never)]
pub(super) fn check(bytes: &[u8], weights: Weights, base: u8) -> Result<(), MaskError> {
    let mut blocks = Blocks::new(bytes, weights, base);
    for row in 0..weights.rows {
        let mut inputs = weights.inputs;
        while inputs > 0 {
            let block = blocks.next().ok_or(MaskError::Truncated { row })?;
            let (found, limit) = (block.len() as u32, inputs.min(BLOCK as u32));
            if found > limit {
                return Err(MaskError::TooManyEntries { row, found, limit });
            }
            let mut next = 0;
            for position in block {
                let input = u32::from(position % 128);
                if input < next {
                    return Err(MaskError::Order { row });
                }
                next = input + 1;
            }
            if next > inputs {
                return Err(MaskError::Outside { row });
            }
            inputs -= limit;
        }
    }
    if unused_halves(bytes, self::blocks(weights)) {
        return Err(MaskError::Padding { row: weights.rows });
    }
    // Behind the positions are the counts that stand elsewhere, and nothing else.
    let taken = Counts::new(bytes, weights, base).1.len() - blocks.counts.rest.len();
    match (bytes.len() - blocks.positions.len() + taken, bytes.len()) {
        (expected, found) if expected == found => Ok(()),
        (expected, found) => {
            Err(MaskError::Length { found: found as u32, expected: expected as u32 })
        }
    }
}

/// Whether halves behind the last block's are not 0.
fn unused_halves(bytes: &[u8], blocks: usize) -> bool {
    let used = (blocks - 1) % GROUP + 1;
    let last = (blocks - 1) / GROUP * (GROUP / 2);
    let Some(group) = bytes.get(last..).and_then(<[u8]>::first_chunk::<4>) else { return false };
    let half = |block: usize| group.get(block % 4).map_or(0, |byte| byte >> (block / 4 * 4) & 15);
    (used..GROUP).any(|block| half(block) != 0)
}
