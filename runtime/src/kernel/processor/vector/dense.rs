//! Dense layers but those of positions: mask words are taken in pairs of rows, gaps are followed one by
//! one through a table of the inputs.

use super::{AT_ONCE, Vector, gaps, lanes, write_rows};
use crate::epilogue::Epilogue;
use crate::kernel::Target;
use crate::layer::Source;
use crate::mask::{Encoding, LayerWeights, MAX_INPUTS, Row, Rows, WordRow};
use crate::random::{WORD, bit_of};

/// Mask words of the longest row.
const MOST_WORDS: usize = (MAX_INPUTS as usize).div_ceil(WORD);

/// Makes the outputs of `target`; `false`, and nothing done, where there are too many inputs. Not for
/// [`Encoding::SignedPositions`].
///
/// # Safety
/// See [`super`].
#[inline(always)]
pub(in crate::kernel::processor) unsafe fn dense<V: Vector>(
    weights: &LayerWeights,
    epilogue: &Epilogue,
    x: &[u8],
    target: &mut Target,
) -> bool {
    let lists = matches!(weights.encoding, Encoding::SignedGaps | Encoding::RiceGaps { .. });
    let stored = weights.weights.source == Source::StoredInt8;
    // SAFETY: as for this function.
    unsafe {
        if weights.encoding == Encoding::SignedGaps && x.len() <= gaps::MOST_INPUTS {
            gaps::dense::<V>(weights, epilogue, x, target);
        } else if lists || stored {
            row_by_row::<V>(weights, epilogue, x, target);
        } else if x.len() <= lanes::MOST_INPUTS {
            lanes::dense::<V>(weights, epilogue, x, target);
        } else {
            return false;
        }
    }
    true
}

/// Layers of lists, and of stored weights.
///
/// # Safety
/// See [`super`].
#[inline(always)]
unsafe fn row_by_row<V: Vector>(
    weights: &LayerWeights,
    epilogue: &Epilogue,
    x: &[u8],
    target: &mut Target,
) {
    let inputs = Blocks::new(x);
    let mut signs = [0; MOST_WORDS];
    let signs = &mut signs[..MOST_WORDS.min(weights.weights.words() as usize)];
    let (mut rows, count) = (weights.rows(), weights.weights.rows as usize);
    let coded = rows.are_codes();
    for first in (0..count).step_by(AT_ONCE) {
        let mut sums = [0; AT_ONCE];
        let sums = &mut sums[..AT_ONCE.min(count - first)];
        for sum in &mut *sums {
            if coded {
                *sum = codes(&mut rows, weights.weights.inputs, signs, x);
                continue;
            }
            let Some(mut row) = rows.next_row_inline() else { break };
            *sum = match &mut row {
                // SAFETY: as for this function.
                Row::Words(row) => unsafe { stored::<V>(row, &inputs) },
                Row::Gaps(row) => row.map(|kept| product(kept, x)).sum(),
                // Another kernel has these.
                Row::Positions(_) => 0,
                Row::Rice(row) => {
                    let mut sum = 0;
                    row.visit(|kept| sum += product(kept, x));
                    sum
                }
            };
            rows.resume(row);
        }
        write_rows(first, sums, epilogue, target);
    }
}

/// A row of Rice codes of ±1. A function of its own, whose loop has the registers to itself.
#[inline(never)]
fn codes(rows: &mut Rows, inputs: u32, signs: &mut [u32], x: &[u8]) -> i32 {
    let Some((reader, start)) = rows.next_codes(signs, 0) else { return 0 };
    let mut sum = 0;
    reader.visit(start.saturating_add(inputs), |flat| {
        let input = flat.wrapping_sub(start) as usize;
        if let (Some(x), Some(signs)) = (x.get(input), signs.get(input / WORD)) {
            // −x is !x + 1: no branch, as signs cannot be foreseen.
            let minus = (signs >> bit_of(input % WORD) & 1) as i32;
            sum += (i32::from(*x) ^ -minus) + minus;
        }
    });
    sum
}

/// `weight · x[index]`.
#[inline(always)]
fn product((index, weight): (u32, i32), x: &[u8]) -> i32 {
    weight * x.get(index as usize).map_or(0, |byte| i32::from(*byte))
}

/// The bytes beside mask words, the last ones filled up with zeros.
struct Blocks<'b> {
    whole: &'b [[u8; WORD]],
    last: [u8; WORD],
}

impl<'b> Blocks<'b> {
    #[inline(always)]
    fn new(bytes: &'b [u8]) -> Self {
        let (whole, rest) = bytes.as_chunks();
        let mut last = [0; WORD];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Self { whole, last }
    }

    /// Those beside mask word `word`.
    #[inline(always)]
    fn at(&self, word: usize) -> &[u8; WORD] {
        self.whole.get(word).unwrap_or(&self.last)
    }
}

/// A row of stored weights.
///
/// # Safety
/// See [`super`].
#[inline(always)]
unsafe fn stored<V: Vector>(row: &mut WordRow, inputs: &Blocks) -> i32 {
    let Some(weights) = row.stored() else { return 0 };
    let weights = Blocks::new(weights);
    // SAFETY: as for this function; blocks have 32 bytes.
    unsafe {
        let mut sums = V::zero();
        for word in 0..row.words() {
            let [x, weights] = [inputs, &weights].map(|blocks| blocks.at(word as usize).as_ptr());
            sums = sums.add_products(x, weights, row.mask(word));
        }
        sums.total_of_products()
    }
}
