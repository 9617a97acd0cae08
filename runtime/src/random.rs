//! Seed → weights. Every weight of a backbone is a function of its seed and its address, so any row
//! can be regenerated in any order and nothing is ever stored.
//!
//! The generator is `lowbias32` (Wellons, "Prospecting for Hash Functions", 2018) over a counter,
//! with a key added to the counter and a second key mixed in between its two rounds. The seed is
//! hashed into the keys first: counters that start at neighbouring *unhashed* seeds overlap.
//! Frozen by the test vectors below and in FORMAT.md; `tests/` holds the statistics behind it.

/// Weights per generator word, and mask bits per mask word.
pub const WORD: usize = 32;

/// What a generator word is drawn for. Streams of one seed are independent of each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Sign bits: 1 is −1.
    Signs,
    /// First bit of a magnitude: 0 is 1.
    MagnitudeHigh,
    /// Second bit of a magnitude, where the first is 1: 0 is 2, 1 is 4.
    MagnitudeLow,
    /// Bit planes 0..8 of the numbers that decide a seeded mask.
    MaskPlane(u8),
    /// Numbers for the trainer (initial scores, shuffles): never part of an artifact.
    Host(u16),
}

impl Stream {
    const fn id(self) -> u32 {
        match self {
            Stream::Signs => 0,
            Stream::MagnitudeHigh => 1,
            Stream::MagnitudeLow => 2,
            Stream::MaskPlane(plane) => 8 + plane as u32,
            Stream::Host(channel) => 0x1_0000 + channel as u32,
        }
    }
}

/// A keyed, addressable stream of 32-bit words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Generator {
    start: u32,
    key: u32,
}

/// The published permutation; bias 0.17 (sum of the avalanche errors, per thousand).
const fn lowbias32(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

impl Generator {
    /// The generator of one stream of `seed`.
    pub const fn new(seed: u64, stream: Stream) -> Self {
        // (low, high) → (a, b) → (start, key) is one to one, so no two seeds share a stream. 2³²/φ
        // keeps the seed 0 off the fixed point of lowbias32.
        let a = lowbias32((seed as u32).wrapping_add(0x9e37_79b9));
        let b = lowbias32((seed >> 32) as u32 ^ a);
        let start = lowbias32(b.wrapping_add(0x9e37_79b9));
        let key =
            lowbias32(a ^ b.rotate_left(16) ^ lowbias32(stream.id().wrapping_add(0x85eb_ca6b)));
        // Streams that differed in the key alone would be one multiplication apart at every index.
        Self { start: start.wrapping_add(lowbias32(key)), key }
    }

    /// The word at `index`. 7–8 instructions on a Cortex-M4, 11 on a Cortex-M0+.
    #[inline(always)]
    pub const fn word(self, index: u32) -> u32 {
        let mut x = self.start.wrapping_add(index);
        x ^= x >> 16;
        x = x.wrapping_mul(0x7feb_352d);
        x ^= self.key;
        x ^= x >> 15;
        x = x.wrapping_mul(0x846c_a68b);
        x ^ (x >> 16)
    }

    /// The words of row `row` in a layer of `words` mask words a row whose words begin at `first`.
    /// Two neighbouring rows share their generator words, the odd one rotated by 8: half the
    /// generator's cost in kernels that run rows in pairs.
    #[inline(always)]
    pub const fn row(self, first: u32, row: u32, words: u32) -> RowWords {
        let begin = first.wrapping_add((row / 2).wrapping_mul(words));
        let generator = Self { start: self.start.wrapping_add(begin), key: self.key };
        RowWords { generator, rotation: 8 * (row & 1) }
    }
}

/// The words of one row of a layer: see [`Generator::row`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowWords {
    generator: Generator,
    rotation: u32,
}

impl RowWords {
    /// The word beside mask word `word` of the row.
    #[inline(always)]
    pub const fn word(self, word: u32) -> u32 {
        self.generator.word(word).rotate_left(self.rotation)
    }
}

/// Position of input `i` (0..32) in its 32-bit word: byte `i mod 4`, from the top bit down. One
/// layout serves every kernel; on DSP cores `UADD8 m, m, m` moves the next four bits into the flags.
#[inline(always)]
pub const fn bit_of(i: usize) -> u32 {
    (8 * (i % 4) + 7 - (i % WORD) / 4) as u32
}

/// Mask word `word` of a row of a seeded mask of density `q`/256, given the row's words of
/// [`mask_planes`]: each bit is set with that probability. Horner's scheme over the bits of `q`:
/// `or` where the bit is 1, `and` where it is 0.
pub fn seeded_mask_word(planes: &[RowWords; 8], q: u8, word: u32) -> u32 {
    planes.iter().enumerate().fold(0, |mask, (bit, plane)| {
        let random = plane.word(word);
        if q >> bit & 1 == 1 { mask | random } else { mask & random }
    })
}

/// The eight generators behind [`seeded_mask_word`].
pub fn mask_planes(seed: u64) -> [Generator; 8] {
    core::array::from_fn(|plane| Generator::new(seed, Stream::MaskPlane(plane as u8)))
}
