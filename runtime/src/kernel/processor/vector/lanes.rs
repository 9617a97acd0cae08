//! Dense layers of mask words, two rows that share generator words at a time: a mask bit and a sign
//! bit become a weight of two bits in its byte, beside its input. A plus counts 2, a masked weight 1
//! and a minus 0, so that no product has a sign; what is too much is the sum of all inputs.

use core::mem::MaybeUninit;

use super::{AT_ONCE, Vector, write_rows};
use crate::epilogue::Epilogue;
use crate::kernel::Target;
use crate::layer::Source;
use crate::mask::{Encoding, LayerWeights, Row, Rows};
use crate::random::{Generator, Stream, WORD};

/// Most inputs that are put in order.
pub(super) const MOST_INPUTS: usize = 8192;

/// Mask words of a row in a block.
const WORDS: usize = 4;

const MOST_WORDS: usize = MOST_INPUTS / WORD;
const MOST_BLOCKS: usize = MOST_WORDS / WORDS;

/// 128 inputs, twice: the bytes of vector `bit` lie beside bit `bit` of the bytes of [`Masks`].
pub(in crate::kernel::processor) type Inputs = [[u64; WORDS]; 8];

/// Four mask words of two rows, word by word.
pub(in crate::kernel::processor) type Masks = [u8; 8 * WORDS];

/// Makes the outputs of `target` from at most [`MOST_INPUTS`] inputs and weights that are drawn, under
/// an encoding that gives mask words.
///
/// # Safety
/// See [`super`].
#[inline(always)]
pub(super) unsafe fn dense<V: Vector>(
    weights: &LayerWeights,
    epilogue: &Epilogue,
    x: &[u8],
    target: &mut Target,
) {
    // What fills up the tensor behind them may be anything, and lanes of 16 bits hold no byte above 127.
    let x = x.get(..weights.weights.inputs as usize).unwrap_or(x);
    let mut inputs = [const { MaybeUninit::uninit() }; MOST_BLOCKS];
    let inputs = in_order(x, &mut inputs);
    let too_much: i32 = x.iter().map(|byte| i32::from(*byte)).sum();
    let magnitudes: &[i32] = match weights.weights.source {
        Source::SeededMagnitudes => &[4, 2, 1],
        Source::SeededSigns | Source::StoredInt8 => &[1],
    };
    let raw = matches!(weights.encoding, Encoding::Raw | Encoding::CountedRaw);
    let direct = if raw && magnitudes.len() == 1 { weights.bytes } else { &[] };
    let mut other = Other { rows: weights.rows(), masks: [[0; 8 * WORDS]; MOST_BLOCKS] };
    let (start, key) = Generator::new(weights.seed, Stream::Signs).parts();
    let (rows, words) = (weights.weights.rows as usize, weights.weights.words() as usize);
    for start_row in (0..rows).step_by(AT_ONCE) {
        let mut sums = [[0; 2]; AT_ONCE / 2];
        let some = AT_ONCE.min(rows - start_row);
        for (at, sums) in sums.iter_mut().enumerate().take(some.div_ceil(2)) {
            let first = start_row + 2 * at;
            let before = first / 2 * words;
            let section = direct.get(8 * before..).unwrap_or(&[]).as_chunks().0;
            let section = if first + 1 < rows { section.get(..inputs.len()) } else { None };
            let index = start.wrapping_add(weights.first).wrapping_add(before as u32);
            for &magnitude in magnitudes {
                let masks = section.unwrap_or_else(|| other.pair(first, magnitude, words));
                // SAFETY: as for this function.
                let [even, odd] = unsafe { V::pair_of_sums(masks, index, key, inputs) };
                sums[0] += magnitude * (even - too_much);
                sums[1] += magnitude * (odd - too_much);
            }
        }
        write_rows(start_row, &sums.as_flattened()[..some], epilogue, target);
    }
}

/// The inputs in blocks, the last one filled up with zeros.
#[inline(always)]
fn in_order<'i>(x: &[u8], blocks: &'i mut [MaybeUninit<Inputs>; MOST_BLOCKS]) -> &'i [Inputs] {
    let count = x.len().div_ceil(WORDS * WORD).min(MOST_BLOCKS);
    let blocks = &mut blocks[..count];
    let (whole, rest) = x.as_chunks::<{ WORDS * WORD }>();
    let mut last = [0; WORDS * WORD];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    for (block, x) in blocks.iter_mut().zip(whole.iter().chain([&last])) {
        let mut ordered = [[0; WORDS]; 8];
        for (at, quad) in x.as_chunks::<4>().0.iter().enumerate() {
            // See `random::bit_of`.
            ordered[7 - at % 8][at / 8] = u64::from(u32::from_le_bytes(*quad)) * 0x1_0000_0001;
        }
        block.write(ordered);
    }
    // SAFETY: there are as many blocks of inputs, the last one included.
    unsafe { blocks.assume_init_ref() }
}

/// Masks that do not lie in a section as a vector wants them.
struct Other<'a> {
    rows: Rows<'a>,
    masks: [Masks; MOST_BLOCKS],
}

impl Other<'_> {
    /// Those of the weights of `magnitude` in row `first` and the one behind it.
    #[inline(never)]
    fn pair(&mut self, first: usize, magnitude: i32, words: usize) -> &[Masks] {
        self.rows.go_to(first as u32);
        self.masks.as_flattened_mut().fill(0);
        for odd in 0..2 {
            let Some(Row::Words(row)) = self.rows.next_row() else { break };
            let (mut masks, mut signs) = ([0; MOST_WORDS], [0; MOST_WORDS]);
            let words = words.min(MOST_WORDS);
            row.fill(0, magnitude, &mut masks[..words], &mut signs[..words]);
            let pairs = self.masks.as_flattened_mut().as_chunks_mut::<4>().0;
            for (to, mask) in pairs[odd..].iter_mut().step_by(2).zip(&masks[..words]) {
                *to = mask.to_le_bytes();
            }
        }
        &self.masks
    }
}
