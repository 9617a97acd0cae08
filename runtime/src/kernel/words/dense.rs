//! Dense layers: a row is a sum over mask words, or over lists of gaps.

use super::{FLUSH, Lanes};
use crate::epilogue::Epilogue;
use crate::kernel::Target;
use crate::layer::Source;
use crate::mask::{GapRow, LayerWeights, Row, WordRow};
use crate::random::WORD;

/// The lowest bit of each byte.
const ONES: u32 = 0x0101_0101;

pub(super) fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], mut target: Target) {
    let inputs = Inputs::new(x);
    let mut rows = weights.rows();
    let mut output = 0;
    while let Some(mut row) = rows.next_row() {
        let sum = match &mut row {
            Row::Words(row) => words(row, &inputs),
            Row::Gaps(row) => gaps(row, x),
            Row::Rice(row) => row.map(|kept| product(kept, x)).sum(),
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

fn gaps(row: &GapRow, x: &[u8]) -> i32 {
    list(row.plus, x) - list(row.minus, x)
}

/// Sum of the inputs that a list of gaps names.
fn list(gaps: &[u8], x: &[u8]) -> i32 {
    let mut index = usize::MAX;
    let mut sum = 0;
    for gap in gaps {
        index = index.wrapping_add((*gap).into());
        sum += x.get(index).map_or(0, |byte| i32::from(*byte));
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
    if let Some((masks, signs)) = row.raw_signs() {
        return signed(inputs, row.words(), |word| (masks.word(word), signs.word(word)));
    }
    if let Some(stored) = row.full_stored() {
        let weights = stored.iter().map(|byte| i32::from(*byte as i8));
        return weights.zip(inputs.bytes).map(|(weight, x)| weight * i32::from(*x)).sum();
    }
    // A magnitude is 1, plus 1 where its first bit is set, plus 2 where both are: ±1 weights under
    // three masks.
    let under = |select: fn([u32; 3]) -> u32| {
        let (words, mut row) = (row.words(), row.clone());
        signed(inputs, words, |_| {
            let (mask, block) = row.next_word().unwrap_or_default();
            (mask & select(block), block[0])
        })
    };
    match row.source() {
        Source::SeededSigns => under(|_| u32::MAX),
        Source::SeededMagnitudes => {
            under(|_| u32::MAX)
                + under(|[_, high, _]| high)
                + 2 * under(|[_, high, low]| high & low)
        }
        Source::StoredInt8 => row.map(|kept| product(kept, inputs.bytes)).sum(),
    }
}

/// `Σ ±x` over the inputs that the mask words keep. `next(word)` gives a mask and its signs.
#[inline(always)]
fn signed(inputs: &Inputs, words: u32, mut next: impl FnMut(u32) -> (u32, u32)) -> i32 {
    let mut blocks = inputs.blocks.iter().chain(core::iter::once(&inputs.last));
    let mut sum = 0;
    // A block adds four times to the lanes, two inputs at most in each byte.
    const BLOCKS: u32 = FLUSH as u32 / 8;
    for start in (0..words).step_by(BLOCKS as usize) {
        let mut lanes = Lanes::default();
        let mut negative = 0;
        for (word, block) in (start..words.min(start + BLOCKS)).zip(blocks.by_ref()) {
            let (mask, signs) = next(word);
            negative += (mask & signs).count_ones();
            block_sum(block, mask, signs, &mut lanes);
        }
        // A kept minus stands as 127 − x in the lanes.
        sum += lanes.sums().iter().sum::<i32>() - 127 * negative as i32;
    }
    sum
}

#[inline(always)]
fn block_sum(block: &[u8; WORD], mask: u32, signs: u32, lanes: &mut Lanes) {
    let (quads, _) = block.as_chunks::<8>();
    for (pair, shift) in quads.iter().zip([6, 4, 2, 0]) {
        let [a, b, c, d, e, f, g, h] = *pair;
        let first = select(u32::from_le_bytes([a, b, c, d]), mask, signs, shift + 1);
        let second = select(u32::from_le_bytes([e, f, g, h]), mask, signs, shift);
        // Two bytes of at most 127 make one of at most 254.
        lanes.add(first + second);
    }
}

/// Four inputs: x where the mask is set and the sign is 0, 127 − x where it is 1, 0 where masked.
#[inline(always)]
fn select(x: u32, mask: u32, signs: u32, shift: u32) -> u32 {
    let bytes = |bits: u32| {
        let ones = bits >> shift & ONES;
        (ones << 7) - ones
    };
    (x ^ bytes(signs)) & bytes(mask)
}
