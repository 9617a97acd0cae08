//! Views of mask bytes: which weights of a layer a task keeps. One file an encoding.

use serde::{Deserialize, Serialize};

use crate::layer::Weights;
use crate::random::Generator;

/// How a mask section says which weights are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Encoding {
    /// All weights; no bytes.
    Full,
    /// A bit a weight: 32-bit little-endian words in the order (row pair, word, row in the pair),
    /// a last odd row alone; bits in the order of [`crate::random::bit_of`], padding bits 0.
    Raw,
    /// Golomb-Rice codes of the gaps between kept weights over the flat index `row · inputs + i`;
    /// `parameter` low bits each (0..=15).
    RiceGaps {
        /// Low bits of a gap stored as they are.
        parameter: u8,
    },
    /// Two lists of byte gaps a row, plus and minus: the signs are explicit. For ±1 weights only.
    SignedGaps,
    /// Positions drawn from the seed with probability `density`/256; no bytes.
    Seeded {
        /// 1..=255.
        density: u8,
    },
}

/// The weights of one layer under one task: seed, mask and stored bytes together.
#[derive(Clone, Copy, Debug)]
pub struct LayerWeights<'a> {
    /// Rows, inputs and source.
    pub weights: Weights,
    /// Seed of the backbone.
    pub seed: u64,
    /// Index of the layer's first generator word.
    pub first: u32,
    /// Encoding of the mask.
    pub encoding: Encoding,
    /// The mask's section.
    pub bytes: &'a [u8],
    /// Stored `i8` weights, row-major; empty for seeded ones.
    pub stored: &'a [u8],
}
