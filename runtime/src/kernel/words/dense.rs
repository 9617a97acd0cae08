//! Dense layers: a row is a sum over mask words, or over lists of gaps.

use super::{FLUSH, Lanes};
use crate::epilogue::Epilogue;
use crate::family::Family;
use crate::kernel::Target;
use crate::layer::Source;
use crate::mask::{Encoding, LayerWeights, Row, WordRow};
use crate::random::{RowWords, WORD, input_at};

/// The lowest bit of each byte.
const ONES: u32 = 0x0101_0101;

pub(super) fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], mut target: Target) {
    let mut rows = weights.rows();
    let mut output = 0;
    if Family::Gaps.is_linked() && weights.encoding == Encoding::SignedGaps {
        while let Some([plus, minus]) = rows.next_lists() {
            let sum = list(plus, x) - list(minus, x);
            target.write(output, epilogue.row(output), sum);
            output += 1;
        }
        return;
    }
    let inputs = Inputs::new(x);
    while let Some(mut row) = rows.next_row() {
        let sum = match &mut row {
            Row::Words(row) => words(row, &inputs),
            Row::Rice(row) if Family::Rice.is_linked() => {
                let mut sum = 0;
                row.visit(|kept| sum += product(kept, x));
                sum
            }
            // Lists are done, and families that are off give no such rows.
            _ => 0,
        };
        rows.resume(row);
        target.write(output, epilogue.row(output), sum);
        output += 1;
    }
}

/// `weight · x[index]`.
#[inline(always)]
fn product((index, weight): (u32, i32), x: &[u8]) -> i32 {
    weight * x.get(index as usize).map_or(0, |byte| i32::from(*byte))
}

/// Sum of the inputs that a list of gaps names.
#[inline(never)]
fn list(gaps: &[u8], x: &[u8]) -> i32 {
    let mut index = usize::MAX;
    let mut sum = 0;
    let mut add = |gap: u8| {
        index = index.wrapping_add(gap.into());
        if let Some(byte) = x.get(index) {
            sum += i32::from(*byte);
        }
    };
    // Written out, for compilers that are told to save space.
    let (quads, rest) = gaps.as_chunks::<4>();
    for [a, b, c, d] in quads {
        add(*a);
        add(*b);
        add(*c);
        add(*d);
    }
    for gap in rest {
        add(*gap);
    }
    sum
}

/// The inputs in blocks beside mask words, the last one filled up with zeros.
struct Inputs<'x> {
    bytes: &'x [u8],
    blocks: &'x [[u8; WORD]],
    last: [u8; WORD],
}

impl<'x> Inputs<'x> {
    fn new(bytes: &'x [u8]) -> Self {
        let (blocks, rest) = bytes.as_chunks();
        let mut last = [0; WORD];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Self { bytes, blocks, last }
    }
}

/// A row that gives mask words.
fn words(row: &mut WordRow, inputs: &Inputs) -> i32 {
    if let Some(signs) = row.signs() {
        return signed(row, signs, inputs);
    }
    if let Some(stored) = row.full_stored() {
        let weights = stored.iter().map(|byte| i32::from(*byte as i8));
        return weights.zip(inputs.bytes).map(|(weight, x)| weight * i32::from(*x)).sum();
    }
    match row.source() {
        Source::SeededMagnitudes if Family::Magnitudes.is_linked() => magnitudes(row, inputs),
        Source::StoredInt8 if Family::Stored.is_linked() => {
            row.map(|kept| product(kept, inputs.bytes)).sum()
        }
        _ => 0,
    }
}

/// Kept weights of a word up to which they are taken one by one.
const FEW: u32 = 5;

/// `Σ ±x` over the inputs that the mask words keep. One loop for every encoding: a second one would
/// take 1 KB of flash.
fn signed(row: &WordRow, signs: RowWords, inputs: &Inputs) -> i32 {
    let words = row.words();
    let mut blocks = inputs.blocks.iter().chain(core::iter::once(&inputs.last));
    let mut sum = 0;
    // A block adds eight inputs to a lane.
    const BLOCKS: u32 = FLUSH as u32 / 8;
    for start in (0..words).step_by(BLOCKS as usize) {
        let mut lanes = Lanes::default();
        for (word, block) in (start..words.min(start + BLOCKS)).zip(blocks.by_ref()) {
            let (mask, signs) = (row.mask(word), signs.word(word));
            if mask.count_ones() <= FEW {
                sum += few(mask, |bit| {
                    let x = input(block, bit);
                    if signs >> bit & 1 == 1 { -x } else { x }
                });
            } else {
                sum -= block_sum(block, mask, signs, &mut lanes);
            }
        }
        sum += lanes.total();
    }
    sum
}

/// Like [`signed`] with weights ±{1, 2, 4}: a magnitude is 1, plus 1 where its first bit is set, plus
/// 2 where both are, so that ±1 weights under three masks give the sum.
fn magnitudes(row: &mut WordRow, inputs: &Inputs) -> i32 {
    let mut blocks = inputs.blocks.iter().chain(core::iter::once(&inputs.last));
    let mut sum = 0;
    // A block adds sixteen inputs to a lane of the first.
    const BLOCKS: u32 = FLUSH as u32 / 16;
    let words = row.words();
    for start in (0..words).step_by(BLOCKS as usize) {
        let (mut once, mut twice) = (Lanes::default(), Lanes::default());
        for (word, block) in (start..words.min(start + BLOCKS)).zip(blocks.by_ref()) {
            let (mask, [signs, high, low]) = row.next_word().unwrap_or_default();
            if mask.count_ones() <= 2 * FEW {
                let first = word * WORD as u32;
                sum +=
                    few(mask, |bit| row.weight_at(bit, first + input_at(bit)) * input(block, bit));
                continue;
            }
            sum -= block_sum(block, mask, signs, &mut once);
            sum -= block_sum(block, mask & high, signs, &mut once);
            sum -= 2 * block_sum(block, mask & high & low, signs, &mut twice);
        }
        sum += once.total() + 2 * twice.total();
    }
    sum
}

/// Sum of what `term` gives for each bit of `mask`.
#[inline(always)]
fn few(mut mask: u32, term: impl Fn(u32) -> i32) -> i32 {
    let mut sum = 0;
    while mask != 0 {
        sum += term(mask.trailing_zeros());
        mask &= mask - 1;
    }
    sum
}

/// The input at `bit`.
#[inline(always)]
fn input(block: &[u8; WORD], bit: u32) -> i32 {
    block.get(input_at(bit) as usize).map_or(0, |byte| i32::from(*byte))
}

/// Adds a block to `lanes`, a kept plus as x and a kept minus as 127 − x; gives what is too much.
#[inline(always)]
fn block_sum(block: &[u8; WORD], mask: u32, signs: u32, lanes: &mut Lanes) -> i32 {
    let Some(quads) = block.as_chunks::<4>().0.first_chunk::<8>() else { return 0 };
    // Written out, for compilers that are told to save space. Two bytes of at most 127 make one of
    // at most 254.
    let [a, b, c, d, e, f, g, h] = *quads;
    lanes.add(select(a, mask, signs, 7) + select(b, mask, signs, 6));
    lanes.add(select(c, mask, signs, 5) + select(d, mask, signs, 4));
    lanes.add(select(e, mask, signs, 3) + select(f, mask, signs, 2));
    lanes.add(select(g, mask, signs, 1) + select(h, mask, signs, 0));
    127 * (mask & signs).count_ones() as i32
}

/// Four inputs: x where the mask is set and the sign is 0, 127 − x where it is 1, 0 where masked.
#[inline(always)]
fn select(x: [u8; 4], mask: u32, signs: u32, shift: u32) -> u32 {
    let bytes = |bits: u32| {
        let ones = bits >> shift & ONES;
        (ones << 7) - ones
    };
    (u32::from_le_bytes(x) ^ bytes(signs)) & bytes(mask)
}
