//! Dense layers: a row is a sum over mask words, or over lists of gaps.

use super::{BLOCK, WORDS};
use crate::epilogue::Epilogue;
use crate::family::Family;
#[cfg(seedmask_thumb)]
use crate::kernel::processor::thumb::{epilogue as rules, gaps, lanes};
use crate::kernel::{General, Kernels, Target};
#[cfg(not(seedmask_thumb))]
use crate::mask::Row;
use crate::mask::{Encoding, LayerWeights, Rows, positions};
use crate::random::WORD;

/// Rows whose sums are held at a time.
const ROWS: usize = 16;

pub(super) fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], target: Target) {
    let Some(mut sums) = Sums::new(weights, x) else {
        return General::dense(weights, epilogue, x, target);
    };
    let rows = weights.weights.rows as usize;
    match target {
        Target::Activations { low, bytes } => {
            let bytes = bytes.get_mut(..rows).unwrap_or_default();
            let mut block = [0; ROWS];
            for (bytes, first) in bytes.chunks_mut(ROWS).zip((0..).step_by(ROWS)) {
                let block = block.get_mut(..bytes.len()).unwrap_or_default();
                sums.next(block);
                activations(epilogue, first, block, low, bytes);
            }
        }
        Target::Logits(logits) => {
            let logits = logits.get_mut(..rows).unwrap_or_default();
            sums.next(logits);
            self::logits(epilogue, logits);
        }
    }
}

/// Puts `sums` of rows from `first` on through the epilogue.
#[cfg(seedmask_thumb)]
fn activations(epilogue: &Epilogue, first: usize, sums: &mut [i32], low: u8, bytes: &mut [u8]) {
    rules::activations(epilogue.bytes_from(first), sums);
    for (byte, sum) in bytes.iter_mut().zip(sums) {
        *byte = (*sum).max(low.into()).min(127) as u8;
    }
}

/// Puts the sums of all rows through the epilogue.
#[cfg(seedmask_thumb)]
fn logits(epilogue: &Epilogue, sums: &mut [i32]) {
    rules::logits(epilogue.bytes_from(0), sums);
}

/// Puts `sums` of rows from `first` on through the epilogue.
#[cfg(not(seedmask_thumb))]
fn activations(epilogue: &Epilogue, first: usize, sums: &mut [i32], low: u8, bytes: &mut [u8]) {
    for ((byte, sum), row) in bytes.iter_mut().zip(sums).zip(first..) {
        *byte = epilogue.row(row).activation(*sum, low);
    }
}

/// Puts the sums of all rows through the epilogue.
#[cfg(not(seedmask_thumb))]
fn logits(epilogue: &Epilogue, sums: &mut [i32]) {
    for (sum, row) in sums.iter_mut().zip(0..) {
        *sum = epilogue.row(row).logit(*sum);
    }
}

/// The sums of a layer, row after row.
enum Sums<'a> {
    #[cfg(seedmask_thumb)]
    Lists(gaps::Lists<'a>),
    #[cfg(not(seedmask_thumb))]
    Lists(Rows<'a>, &'a [u8]),
    Positions(positions::Blocks<'a>, &'a [u8]),
    Words(Rows<'a>, Inputs<'a>),
}

impl<'a> Sums<'a> {
    /// `None` where weights are others than ±1 or inputs are missing.
    fn new(weights: &'a LayerWeights<'a>, x: &'a [u8]) -> Option<Self> {
        let rows = weights.rows();
        if !rows.are_signs() {
            return None;
        }
        if Family::Gaps.is_linked() && weights.encoding == Encoding::SignedGaps {
            #[cfg(seedmask_thumb)]
            return gaps::Lists::new(weights, x).map(Self::Lists);
            #[cfg(not(seedmask_thumb))]
            return Some(Self::Lists(rows, x));
        }
        let inputs = weights.weights.inputs as usize;
        if Family::Gaps.is_linked()
            && let Encoding::SignedPositions { base } = weights.encoding
        {
            let blocks = positions::Blocks::new(weights.bytes, weights.weights, base);
            return Some(Self::Positions(blocks, x.get(..inputs)?));
        }
        Some(Self::Words(rows, Inputs::new(x, inputs)?))
    }

    /// Those of the next rows, as many as there is room for.
    fn next(&mut self, sums: &mut [i32]) {
        match self {
            #[cfg(seedmask_thumb)]
            Self::Lists(lists) => lists.sums(sums),
            #[cfg(not(seedmask_thumb))]
            Self::Lists(rows, x) => sums.iter_mut().for_each(|sum| *sum = listed(rows, x)),
            Self::Positions(blocks, x) => {
                sums.iter_mut().for_each(|sum| *sum = positioned(blocks, x));
            }
            Self::Words(rows, inputs) => sums.iter_mut().for_each(|sum| *sum = inputs.row(rows)),
        }
    }
}

/// The sum of the next row, of signed gaps.
#[cfg(not(seedmask_thumb))]
fn listed(rows: &mut Rows, x: &[u8]) -> i32 {
    let Some(Row::Gaps(row)) = rows.next_row() else { return 0 };
    let [plus, minus] = [row.plus, row.minus].map(|gaps| {
        let mut index = usize::MAX;
        let inputs = gaps.iter().map(|gap| {
            index = index.wrapping_add((*gap).into());
            x.get(index).map_or(0, |byte| i32::from(*byte))
        });
        inputs.sum::<i32>()
    });
    plus - minus
}

/// The sum of the next row, of signed positions. Whatever these are, no input outside of `x` is read.
fn positioned(blocks: &mut positions::Blocks, x: &[u8]) -> i32 {
    let mut sum = 0;
    for x in x.chunks(positions::BLOCK) {
        for position in blocks.next().unwrap_or_default() {
            let value = x.get(usize::from(position & 127)).map_or(0, |byte| i32::from(*byte));
            // −x is !x + 1.
            let minus = i32::from(position >> 7);
            sum += (value ^ -minus) + minus;
        }
    }
    sum
}

/// The inputs in blocks beside mask words.
struct Inputs<'x> {
    /// Whole blocks.
    blocks: &'x [[u32; BLOCK]],
    /// What is left, filled up with zeros.
    last: [u32; BLOCK],
    words: usize,
}

impl<'x> Inputs<'x> {
    /// `None` where there are less than `inputs`, or where these do not lie at a multiple of 4.
    fn new(bytes: &'x [u8], inputs: usize) -> Option<Self> {
        let (blocks, rest) = bytes.get(..inputs)?.as_chunks::<WORD>();
        let blocks = bytemuck::try_cast_slice(blocks.as_flattened()).ok()?;
        let mut last = [0; BLOCK];
        for (to, from) in last.iter_mut().zip(rest.chunks(4)) {
            *to = from.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        Some(Self { blocks: <[u32]>::as_chunks(blocks).0, last, words: inputs.div_ceil(WORD) })
    }

    /// `Σ ±x` over the inputs that the next row keeps.
    fn row(&self, rows: &mut Rows) -> i32 {
        let mut sum = 0;
        let mut words = [[0; WORDS]; 2];
        for first in (0..self.words).step_by(WORDS) {
            let count = WORDS.min(self.words - first);
            let [masks, signs] =
                words.each_mut().map(|words| words.get_mut(..count).unwrap_or_default());
            rows.read_words(first as u32, masks, signs);
            let blocks = self.blocks.get(first..).unwrap_or_default();
            let blocks = blocks.get(..count).unwrap_or(blocks);
            sum += lanes::sum(&words, blocks);
            if blocks.len() < count {
                for words in &mut words {
                    words[0] = words.get(blocks.len()).copied().unwrap_or(0);
                }
                sum += lanes::sum(&words, &[self.last]);
            }
        }
        rows.end_row();
        sum
    }
}

/// What cores without a routine of their own do.
#[cfg(not(seedmask_thumb))]
mod lanes {
    use crate::kernel::words::{BLOCK, Lanes, WORDS};

    /// The lowest bit of each byte.
    const ONES: u32 = 0x0101_0101;

    /// `Σ ±x` of the inputs in `blocks` that mask words keep, beside which there are sign words: as many
    /// of them as blocks.
    pub(super) fn sum([masks, signs]: &[[u32; WORDS]; 2], blocks: &[[u32; BLOCK]]) -> i32 {
        let (mut lanes, mut minus) = (Lanes::default(), 0);
        for ((mask, signs), block) in masks.iter().zip(signs).zip(blocks) {
            let words = [*mask, mask & signs];
            // Written out, for compilers that are told to save space. Two bytes of at most 127 make one
            // of at most 254.
            let [a, b, c, d, e, f, g, h] = *block;
            lanes.add(select(a, words, 7) + select(b, words, 6));
            lanes.add(select(c, words, 5) + select(d, words, 4));
            lanes.add(select(e, words, 3) + select(f, words, 2));
            lanes.add(select(g, words, 1) + select(h, words, 0));
            minus += words[1].count_ones();
        }
        lanes.total() - 127 * minus as i32
    }

    /// Four inputs: x where the weight is plus, 127 − x where it is minus, 0 where it is masked.
    #[inline(always)]
    fn select(x: u32, [mask, minus]: [u32; 2], shift: u32) -> u32 {
        let bytes = |bits: u32| {
            let ones = bits >> shift & ONES;
            (ones << 7) - ones
        };
        (x & bytes(mask)) ^ bytes(minus)
    }
}
