//! Dense layers: rows of sums from the assembly, then the epilogue.

use super::{gaps, lanes};
use crate::epilogue::Epilogue;
use crate::family::Family;
use crate::kernel::{Kernels, Target, Words};
use crate::layer::Source;
use crate::mask::{Encoding, LayerWeights};
use crate::random::{Generator, PAIR_ROTATION, Stream, WORD};

/// Rows whose sums are held at a time.
const ROWS: usize = 32;

pub(super) fn dense(
    weights: &LayerWeights,
    epilogue: &Epilogue,
    x: &[u8],
    target: Target,
    scratch: &mut [u32],
) {
    let signs = weights.weights.source == Source::SeededSigns;
    match weights.encoding {
        Encoding::Raw if signs && let Some(mut rows) = Pairs::new(weights, x) => {
            blocks(weights, epilogue, target, |sums| rows.sums(sums));
        }
        Encoding::SignedGaps if Family::Gaps.is_linked() => {
            let mut rows = Lists { section: weights.bytes, x };
            blocks(weights, epilogue, target, |sums| rows.sums(sums));
        }
        _ => Words::dense(weights, epilogue, x, target, scratch),
    }
}

/// Puts the sums that `next` gives for as many rows as it is asked for through the epilogue.
#[inline(always)]
fn blocks(
    weights: &LayerWeights,
    epilogue: &Epilogue,
    mut target: Target,
    mut next: impl FnMut(&mut [i32]),
) {
    let rows = weights.weights.rows as usize;
    for first in (0..rows).step_by(ROWS) {
        let mut sums = [0; ROWS];
        let count = (rows - first).min(ROWS);
        let sums = sums.get_mut(..count).unwrap_or_default();
        next(sums);
        for (row, sum) in (first..).zip(sums) {
            target.write(row, epilogue.row(row), *sum);
        }
    }
}

/// Rows of raw masks and seeded signs.
struct Pairs<'a> {
    x: &'a [u8],
    masks: &'a [[u8; 4]],
    generator: Generator,
    /// Index of the next pair's first generator word.
    index: u32,
    words: usize,
}

impl<'a> Pairs<'a> {
    /// `None` where the inputs are not whole blocks of 32 at a multiple of 4, or a mask is missing.
    fn new(weights: &LayerWeights<'a>, x: &'a [u8]) -> Option<Self> {
        let words = weights.weights.words() as usize;
        let masks = weights.bytes.as_chunks().0;
        let x = x.get(..words * WORD)?;
        let fits = masks.len() == weights.weights.rows as usize * words
            && words > 0
            && x.as_ptr().align_offset(4) == 0;
        let generator = Generator::new(weights.seed, Stream::Signs);
        fits.then_some(Self { x, masks, generator, index: weights.first, words })
    }

    /// The sums of the next rows: an even count, but for the last rows.
    fn sums(&mut self, sums: &mut [i32]) {
        let (pairs, lone) = sums.as_chunks_mut::<2>();
        let of_pairs = 2 * self.words * pairs.len();
        let (masks, rest) = self.masks.split_at_checked(of_pairs).unwrap_or_default();
        self.pairs(self.x, masks, self.index, pairs.as_flattened_mut());
        for (pair, masks) in pairs.iter_mut().zip(masks.chunks((2 * self.words).max(1))) {
            for (sum, minus) in pair.iter_mut().zip(self.minus(masks)) {
                *sum -= 128 * minus;
            }
            self.index = self.index.wrapping_add(self.words as u32);
        }
        self.masks = rest;
        if let [sum] = lone {
            *sum = self.lone();
        }
    }

    /// `Σ |t − b|` of pairs of rows: see [`lanes`].
    fn pairs(&self, x: &[u8], masks: &[[u8; 4]], index: u32, sums: &mut [i32]) {
        let words = x.len() / WORD;
        if sums.is_empty() || masks.len() < words * sums.len() {
            return;
        }
        let x = x.as_ptr_range();
        let (start, key) = self.generator.parts();
        let sums = sums.as_mut_ptr_range();
        let mut pairs = lanes::Pairs {
            x: x.start,
            x_end: x.end,
            masks: masks.as_ptr().cast(),
            counter: start.wrapping_add(index).wrapping_sub(x.start.addr() as u32 >> 5),
            key,
            words: words as u32,
            sums: sums.start,
            sums_end: sums.end,
        };
        // SAFETY: `new` saw to whole blocks at a multiple of 4; `masks` holds the words of all rows that
        // `sums` has room for, an even count.
        unsafe { lanes::sums(&mut pairs) };
    }

    /// Kept weights −1 of both rows of a pair.
    fn minus(&self, masks: &[[u8; 4]]) -> [i32; 2] {
        let mut counts = [0; 2];
        for (word, pair) in masks.as_chunks::<2>().0.iter().enumerate() {
            let signs = self.generator.word(self.index.wrapping_add(word as u32));
            let signs = [signs, signs.rotate_left(PAIR_ROTATION)];
            for ((count, mask), signs) in counts.iter_mut().zip(pair).zip(signs) {
                *count += (u32::from_le_bytes(*mask) & signs).count_ones() as i32;
            }
        }
        counts
    }

    /// The sum of a last row that has no partner: it gets one that keeps nothing, block by block.
    fn lone(&self) -> i32 {
        const BLOCKS: usize = 4;
        let mut total = 0;
        let chunks = self.x.chunks(BLOCKS * WORD).zip(self.masks.chunks(BLOCKS));
        let mut index = self.index;
        for (x, masks) in chunks {
            let mut paired = [[0; 4]; 2 * BLOCKS];
            let mut sums = [0; 2];
            for (word, (to, mask)) in paired.iter_mut().step_by(2).zip(masks).enumerate() {
                *to = *mask;
                let signs = self.generator.word(index.wrapping_add(word as u32));
                total -= 128 * (u32::from_le_bytes(*mask) & signs).count_ones() as i32;
            }
            self.pairs(x, &paired, index, &mut sums);
            index = index.wrapping_add(BLOCKS as u32);
            total += sums[0];
        }
        total
    }
}

/// Rows of signed gaps.
struct Lists<'a> {
    section: &'a [u8],
    x: &'a [u8],
}

impl Lists<'_> {
    /// The sums of the next rows.
    fn sums(&mut self, sums: &mut [i32]) {
        if sums.is_empty() {
            return;
        }
        let start = self.section.as_ptr();
        let before = self.x.as_ptr().wrapping_sub(1);
        let sums = sums.as_mut_ptr_range();
        // SAFETY: a mask was checked before it comes here: its rows are whole, name inputs of the layer
        // only, and end with two words of 0.
        let next = unsafe { gaps::sums(start, before, sums.start, sums.end) };
        self.section = self.section.get(next.addr() - start.addr()..).unwrap_or_default();
    }
}
