//! Views of mask bytes: which weights of a layer a task keeps, and what those weights are.
//!
//! [`LayerWeights`] brings seed, mask section and stored bytes together. It is checked once, when a
//! file is parsed; after that no row can fail. Of a file that is opened no more than the form is: rows are
//! then read without harm, whatever they keep. [`Rows`] then walks the layer row by row: `gaps`, `positions`
//! and `rice` read one encoding each, `words` the others, `values` says what the kept weights are.
//! `write` makes sections (host only).

mod check;
mod gaps;
#[cfg(seedmask_dsp)]
mod lists;
pub(crate) mod positions;
mod rice;
mod row;
mod values;
mod words;
#[cfg(feature = "write")]
mod write;

pub use check::MaskError;
pub use gaps::GapRow;
pub use positions::PositionRow;
#[cfg(seedmask_dsp)]
pub(crate) use rice::Reader;
pub use rice::RiceRow;
pub(crate) use row::Visit;
pub use row::{Row, Rows};
pub use words::WordRow;
#[cfg(feature = "write")]
pub use write::{EncodeError, decode, encode, fastest, fastest_in_convolutions, smallest};

use crate::layer::Weights;

/// Most inputs that a row may have: sums of `i8 · 127` then fit `i32`, indices fit 16 bits, and the
/// flat index of a layer fits `u32`.
pub const MAX_INPUTS: u32 = 65_535;

/// Most rows that a layer may have.
pub const MAX_ROWS: u32 = 65_535;

/// Largest parameter of [`Encoding::RiceGaps`].
pub const MAX_RICE_PARAMETER: u8 = 15;

/// How a mask section says which weights are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// All weights; no bytes.
    Full,
    /// A bit a weight: 32-bit little-endian words in the order (row pair, word, row in the pair),
    /// a last odd row alone; bits in the order of [`crate::random::bit_of`], padding bits 0.
    Raw,
    /// Golomb-Rice codes of the gaps between kept weights over the flat index `row · inputs + i`:
    /// a `u32` little-endian count of kept weights, then one code each in a stream that fills bytes
    /// from their lowest bit. A code says how many weights lie between its own and the one before:
    /// the quotient by `2^parameter` as so many 0 bits and a 1, then `parameter` low bits, lowest
    /// first. The last byte is filled with 0 bits.
    RiceGaps {
        /// Low bits of a gap stored as they are: 0..=15.
        parameter: u8,
    },
    /// Two lists of byte gaps a row, so that signs are explicit: `u16` count of plus entries, `u16`
    /// count of minus entries, then a byte each, both lists filled up to a multiple of four with 0.
    /// A byte is the distance (1..=255) from the index before, which begins at −1. An index in both
    /// lists cancels: it bridges a longer distance. Eight bytes of 0 end the section.
    /// For [`crate::layer::Source::SeededSigns`] only, with the seed's signs.
    SignedGaps,
    /// Positions drawn from the seed with probability `density`/256; no bytes.
    Seeded {
        /// 1..=255.
        density: u8,
    },
    /// As [`Encoding::Raw`], then for each row a `u16`: how many of its kept weights are −1. Kernels that
    /// add up distances need to know, and have no quick way to count. For
    /// [`crate::layer::Source::SeededSigns`] only.
    CountedRaw,
    /// Rows in blocks of 128 inputs, the last one of what is left; of each block a byte a kept weight: its
    /// input within the block, plus 128 where the weight is −1. Positions stand in the order of rows,
    /// blocks and inputs. Before them the counts, half a byte a block: four bytes for eight blocks, in
    /// byte `k` block `k` of these in the lower half and block `k + 4` in the upper one. A count is `base`
    /// more than its half byte; where that is 15, it is a byte at the end of the section, the first such
    /// block's last. For [`crate::layer::Source::SeededSigns`] only, with the seed's signs.
    SignedPositions {
        /// Least count of half a byte.
        base: u8,
    },
}

impl Encoding {
    /// The variant's number in the format, and its parameter or 0.
    pub(crate) const fn id(self) -> [u8; 2] {
        match self {
            Encoding::Full => [0, 0],
            Encoding::Raw => [1, 0],
            Encoding::RiceGaps { parameter } => [2, parameter],
            Encoding::SignedGaps => [3, 0],
            Encoding::Seeded { density } => [4, density],
            Encoding::CountedRaw => [5, 0],
            Encoding::SignedPositions { base } => [6, base],
        }
    }

    /// The encoding of this number and parameter; the parameter of one that has none is not looked at.
    pub(crate) const fn from_id([number, parameter]: [u8; 2]) -> Option<Self> {
        Some(match number {
            0 => Encoding::Full,
            1 => Encoding::Raw,
            2 => Encoding::RiceGaps { parameter },
            3 => Encoding::SignedGaps,
            4 => Encoding::Seeded { density: parameter },
            5 => Encoding::CountedRaw,
            6 => Encoding::SignedPositions { base: parameter },
            _ => return None,
        })
    }
}

/// The weights of one layer under one task: seed, mask and stored bytes together. Kernels rely on
/// their having been checked, so nothing outside of the runtime makes them unchecked.
#[derive(Clone, Copy, Debug)]
pub struct LayerWeights<'a> {
    /// Rows, inputs and source.
    pub(crate) weights: Weights,
    /// Seed of the backbone.
    pub(crate) seed: u64,
    /// Index of the layer's first generator word.
    pub(crate) first: u32,
    /// Encoding of the mask.
    pub(crate) encoding: Encoding,
    /// The mask's section.
    pub(crate) bytes: &'a [u8],
    /// Stored `i8` weights, row-major; empty for seeded ones.
    pub(crate) stored: &'a [u8],
}

/// The bits of a mask word that the first `inputs` (0..=32) of its inputs use.
const fn used_bits(inputs: usize) -> u32 {
    let mut bits = 0;
    let mut i = 0;
    while i < inputs {
        bits |= 1 << crate::random::bit_of(i);
        i += 1;
    }
    bits
}

impl<'a> LayerWeights<'a> {
    /// The weights of a layer whose generator words begin at `first`, for the mask that the section
    /// `bytes` holds in `encoding`. `stored` has an `i8` a weight, row-major, or nothing for seeded
    /// weights. Work is bounded by the bytes given.
    ///
    /// # Errors
    /// The first thing found wrong with mask or stored weights.
    pub fn new(
        weights: Weights,
        seed: u64,
        first: u32,
        encoding: Encoding,
        bytes: &'a [u8],
        stored: &'a [u8],
    ) -> Result<Self, MaskError> {
        let layer = Self { weights, seed, first, encoding, bytes, stored };
        layer.check()?;
        Ok(layer)
    }

    /// Rows, inputs and source.
    pub fn weights(&self) -> Weights {
        self.weights
    }

    /// Encoding of the mask, and its section.
    pub fn mask(&self) -> (Encoding, &'a [u8]) {
        (self.encoding, self.bytes)
    }

    /// The rows in order.
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(self)
    }

    /// What an [`Encoding::CountedRaw`] says of `row`: how many of its kept weights are −1.
    #[inline(always)]
    pub(crate) fn minus_count(&self, row: u32) -> u32 {
        let words = self.weights.rows as usize * self.weights.words() as usize;
        let counts = self.bytes.get(4 * words..).unwrap_or_default().as_chunks().0;
        counts.get(row as usize).map_or(0, |count| u16::from_le_bytes(*count).into())
    }

    /// The bits that the last word of a row uses.
    const fn tail(&self) -> u32 {
        match self.weights.inputs as usize % crate::random::WORD {
            0 => u32::MAX,
            inputs => used_bits(inputs),
        }
    }
}
