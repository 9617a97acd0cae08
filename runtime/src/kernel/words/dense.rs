//! Dense layers: a row is a sum over mask words, or over lists of gaps.

use super::{BLOCK, WORDS};
use crate::epilogue::Epilogue;
use crate::family::Family;
use crate::kernel::Target;
#[cfg(seedmask_thumb)]
use crate::kernel::processor::thumb::{epilogue as rules, gaps, lanes};
use crate::layer::Source;
use crate::mask::{LayerWeights, Row, Rows, WordRow};
use crate::random::WORD;

/// Rows whose sums are held at a time.
const ROWS: usize = 16;

pub(super) fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], target: Target) {
    let mut sums = Sums::new(weights, x);
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
    Rows(Rows<'a>, Inputs<'a>),
}

impl<'a> Sums<'a> {
    fn new(weights: &LayerWeights<'a>, x: &'a [u8]) -> Self {
        #[cfg(seedmask_thumb)]
        if Family::Gaps.is_linked()
            && let Some(lists) = gaps::Lists::new(weights, x)
        {
            return Self::Lists(lists);
        }
        Self::Rows(weights.rows(), Inputs::new(x))
    }

    /// Those of the next rows, as many as there is room for.
    fn next(&mut self, sums: &mut [i32]) {
        match self {
            #[cfg(seedmask_thumb)]
            Self::Lists(lists) => lists.sums(sums),
            Self::Rows(rows, inputs) => sums.iter_mut().for_each(|sum| *sum = row(rows, inputs)),
        }
    }
}

/// The sum of the next row.
fn row(rows: &mut Rows, inputs: &Inputs) -> i32 {
    let Some(mut row) = rows.next_row_inline() else { return 0 };
    let sum = match &mut row {
        Row::Words(row) => words(row, inputs),
        Row::Rice(row) if Family::Rice.is_linked() => {
            let mut sum = 0;
            row.visit(|kept| sum += product(kept, inputs.bytes));
            sum
        }
        Row::Gaps(row) if Family::Gaps.is_linked() => {
            list(row.plus, inputs.bytes) - list(row.minus, inputs.bytes)
        }
        Row::Positions(row) if Family::Gaps.is_linked() => {
            row.map(|kept| product(kept, inputs.bytes)).sum()
        }
        // Families that are off give no such rows.
        _ => 0,
    };
    rows.resume(row);
    sum
}

/// `weight · x[index]`.
#[inline(always)]
fn product((index, weight): (u32, i32), x: &[u8]) -> i32 {
    weight * x.get(index as usize).map_or(0, |byte| i32::from(*byte))
}

/// Sum of the inputs that a list of gaps names.
fn list(gaps: &[u8], x: &[u8]) -> i32 {
    let mut index = usize::MAX;
    let inputs = gaps.iter().map(|gap| {
        index = index.wrapping_add((*gap).into());
        x.get(index).map_or(0, |byte| i32::from(*byte))
    });
    inputs.sum()
}

/// The inputs in blocks beside mask words.
struct Inputs<'x> {
    bytes: &'x [u8],
    /// Whole blocks; none where the inputs do not lie at a multiple of 4.
    blocks: &'x [[u32; BLOCK]],
    /// What is left, filled up with zeros.
    last: [u32; BLOCK],
}

impl<'x> Inputs<'x> {
    fn new(bytes: &'x [u8]) -> Self {
        let (blocks, rest) = bytes.as_chunks::<WORD>();
        let blocks = bytemuck::try_cast_slice(blocks.as_flattened()).unwrap_or_default();
        let mut last = [0; BLOCK];
        for (to, from) in last.iter_mut().zip(rest.chunks(4)) {
            *to = from.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        Self { bytes, blocks: <[u32]>::as_chunks(blocks).0, last }
    }

    /// Whether every input of rows of `words` words lies in a block.
    fn cover(&self, words: u32) -> bool {
        words as usize <= self.blocks.len() + 1 && self.bytes.len() / WORD == self.blocks.len()
    }
}

/// A row that gives mask words.
fn words(row: &mut WordRow, inputs: &Inputs) -> i32 {
    if let Some(stored) = row.full_stored() {
        let weights = stored.iter().map(|byte| i32::from(*byte as i8));
        return weights.zip(inputs.bytes).map(|(weight, x)| weight * i32::from(*x)).sum();
    }
    match row.source() {
        Source::SeededSigns if inputs.cover(row.words()) => signed(row, 1, inputs),
        Source::SeededMagnitudes if Family::Magnitudes.is_linked() && inputs.cover(row.words()) => {
            [1, 2, 4].map(|level| level * signed(row, level, inputs)).iter().sum()
        }
        _ => row.map(|kept| product(kept, inputs.bytes)).sum(),
    }
}

/// `Σ ±x` over the inputs that the mask words keep, of weights ±`level`.
fn signed(row: &WordRow, level: i32, inputs: &Inputs) -> i32 {
    let mut blocks = inputs.blocks;
    let mut sum = 0;
    let mut words = [[0; WORDS]; 2];
    for first in (0..row.words()).step_by(WORDS) {
        let count = WORDS.min((row.words() - first) as usize);
        let [masks, signs] =
            words.each_mut().map(|words| words.get_mut(..count).unwrap_or_default());
        row.fill(first, level, masks, signs);
        let (now, after) = blocks.split_at_checked(count).unwrap_or((blocks, &[]));
        sum += lanes::sum(&words, now);
        blocks = after;
        if now.len() < count {
            let last = |of: [u32; WORDS]| {
                let mut words = [0; WORDS];
                words[0] = of.get(now.len()).copied().unwrap_or(0);
                words
            };
            sum += lanes::sum(&words.map(last), &[inputs.last]);
        }
    }
    sum
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
