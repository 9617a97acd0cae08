//! Seed → weights. Every weight of a backbone is a function of its seed and its address, so any row
//! can be regenerated in any order and nothing is ever stored.
//!
//! The generator is `lowbias32` (Wellons, "Prospecting for Hash Functions", 2018) over a counter,
//! with a key added to the counter and a second key mixed in between its two rounds. The seed is
//! hashed into the keys first: counters that start at neighbouring *unhashed* seeds overlap.
//! Frozen by the test vectors below and in FORMAT.md; `tests/` holds the statistics behind it.

/// Weights per generator word, and mask bits per mask word.
pub const WORD: usize = 32;

/// How far the words of an odd row are rotated. 12 bits are about 16 inputs: rows of up to 16 inputs
/// share no bit, and longer ones share none between inputs that lie side by side in an image, as a
/// rotation by whole bytes would.
pub const PAIR_ROTATION: u32 = 12;

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

    /// What is added to an index, and the key between the rounds: for kernels that make words of their
    /// own.
    #[cfg(any(seedmask_dsp, seedmask_vectors))]
    pub(crate) const fn parts(self) -> (u32, u32) {
        (self.start, self.key)
    }

    /// The words of row `row` in a layer of `words` mask words a row whose words begin at `first`.
    /// Two neighbouring rows share their generator words, the odd one rotated: half the generator's
    /// cost in kernels that run rows in pairs.
    #[inline(always)]
    pub const fn row(self, first: u32, row: u32, words: u32) -> RowWords {
        let begin = first.wrapping_add((row / 2).wrapping_mul(words));
        let generator = Self { start: self.start.wrapping_add(begin), key: self.key };
        RowWords { generator, rotation: PAIR_ROTATION * (row & 1) }
    }
}

/// The words of one row of a layer: see [`Generator::row`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowWords {
    generator: Generator,
    rotation: u32,
}

impl RowWords {
    /// The same words, turned further to the left.
    #[cfg(any(seedmask_dsp, seedmask_vectors))]
    pub(crate) const fn turned(self, bits: u32) -> Self {
        Self { rotation: self.rotation + bits, ..self }
    }

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

/// The input whose position is `bit` (0..32): the inverse of [`bit_of`].
#[inline(always)]
pub const fn input_at(bit: u32) -> u32 {
    4 * (7 - bit % 8) + bit / 8 % 4
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

#[cfg(test)]
mod tests {
    use super::Stream::{MagnitudeHigh, MagnitudeLow, MaskPlane, Signs};
    use super::*;

    /// Words 0, 1, 1000 and 2³² − 1, from an independent implementation of FORMAT.md.
    const VECTORS: [(u64, Stream, [u32; 4]); 20] = [
        (0x0000000000000000, Signs, [0x1dc7_7e74, 0x244f_c809, 0xa20c_165b, 0x0f31_eedf]),
        (0x0000000000000000, MagnitudeHigh, [0xc684_eb09, 0x8202_25bb, 0x1e89_9581, 0xa837_03bb]),
        (0x0000000000000000, MagnitudeLow, [0xe79c_e181, 0x484c_1398, 0x28c8_7823, 0x062d_18dc]),
        (0x0000000000000000, MaskPlane(0), [0x3628_8726, 0x5860_7b03, 0x55d1_dfda, 0x3051_6901]),
        (0x0000000000000000, MaskPlane(7), [0xf50f_d136, 0x4d25_6d03, 0x9ab2_da85, 0xfa31_a96d]),
        (0x0000000000000001, Signs, [0xd455_c0bb, 0x0a6a_2c61, 0x5bc2_8be7, 0x25e3_6091]),
        (0x0000000000000001, MagnitudeHigh, [0xd71e_57fd, 0x8c6b_7837, 0x3b37_30cc, 0x363f_f9ce]),
        (0x0000000000000001, MagnitudeLow, [0x458a_609c, 0x174b_3da3, 0xf3ec_d555, 0x3b39_d4da]),
        (0x0000000000000001, MaskPlane(0), [0xfa54_246f, 0xe07d_52a3, 0x900d_cc04, 0x4bb8_a919]),
        (0x0000000000000001, MaskPlane(7), [0xa420_7897, 0xcf2c_b57a, 0x9ae3_773a, 0x76b5_1bb3]),
        (0x0123456789abcdef, Signs, [0x2f29_bf1c, 0x76cd_9903, 0x6936_ce65, 0xde4d_2e4c]),
        (0x0123456789abcdef, MagnitudeHigh, [0x384a_0f48, 0xd3ca_85a1, 0x92b9_ec31, 0xe98e_9157]),
        (0x0123456789abcdef, MagnitudeLow, [0x898c_9f2a, 0x4c35_7171, 0xa108_dced, 0x2347_ca4d]),
        (0x0123456789abcdef, MaskPlane(0), [0x9e0c_54ff, 0x228f_8dd9, 0x6465_8c90, 0x6cb1_3ab6]),
        (0x0123456789abcdef, MaskPlane(7), [0x6240_1070, 0x28f9_5e88, 0xd6eb_9cc9, 0x33df_3f65]),
        (0xffffffffffffffff, Signs, [0x9d9a_8538, 0x1637_8b54, 0xda16_5b08, 0x090d_66f9]),
        (0xffffffffffffffff, MagnitudeHigh, [0x0ad7_a5ca, 0x521f_6b33, 0x7668_9211, 0xe092_010b]),
        (0xffffffffffffffff, MagnitudeLow, [0x445f_8ecf, 0xe341_fec8, 0x908f_9b4b, 0xadc6_5ef2]),
        (0xffffffffffffffff, MaskPlane(0), [0xefb2_566e, 0xb206_164f, 0xf134_2fcb, 0x919a_0406]),
        (0xffffffffffffffff, MaskPlane(7), [0xe5cd_db71, 0x1382_4ce6, 0x0aac_cb29, 0x13a7_bb79]),
    ];

    #[test]
    fn words_are_frozen() {
        for (seed, stream, expected) in VECTORS {
            let generator = Generator::new(seed, stream);
            let found = [0, 1, 1000, u32::MAX].map(|index| generator.word(index));
            assert_eq!(found, expected, "seed {seed:#x}, {stream:?}");
        }
    }

    #[test]
    fn rows_and_seeded_masks_are_frozen() {
        let (first, words) = (100, 3);
        let signs = Generator::new(1, Stream::Signs);
        let expected = [
            [0x1fab_8bb3, 0xbbb0_4b05, 0xe6db_0810],
            [0xb8bb_31fa, 0x04b0_5bbb, 0xb081_0e6d],
            [0x799f_4fb1, 0x0d2e_8614, 0xadb9_6d3f],
            [0xf4fb_1799, 0xe861_40d2, 0x96d3_fadb],
        ];
        for (row, expected) in (0..).zip(expected) {
            let row = signs.row(first, row, words);
            assert_eq!([0, 1, 2].map(|word| row.word(word)), expected);
        }
        let planes = mask_planes(1);
        for (q, expected) in [
            (1, [0, 0]),
            (26, [0x0204_0018, 0x4001_8020]),
            (128, [0x0b0c_4b3b, 0xc4b3_b0b0]),
            (255, [u32::MAX, u32::MAX]),
        ] {
            let row = |row| planes.map(|plane| plane.row(first, row, words));
            let found = [0, 1].map(|index| seeded_mask_word(&row(index), q, 0));
            assert_eq!(found, expected, "q = {q}");
        }
    }

    #[test]
    fn short_rows_of_a_pair_share_no_bit() {
        let used = (0..16).fold(0_u32, |bits, input| bits | 1 << bit_of(input));
        assert_eq!(used & used.rotate_left(PAIR_ROTATION), 0);
    }

    #[test]
    fn every_input_has_a_bit_of_its_own() {
        let bits = (0..WORD).fold(0_u32, |bits, input| bits | 1 << bit_of(input));
        assert_eq!(bits, u32::MAX);
        assert_eq!([0, 1, 4, 31].map(bit_of), [7, 15, 6, 24]);
        assert!((0..WORD).all(|input| input_at(bit_of(input)) == input as u32));
    }
}
