//! Dense layers: mask words become vectors of 0 and ±1 beside 32 inputs, gaps are followed one by
//! one through a table of the inputs.

use super::{Vector, gaps};
use crate::epilogue::Epilogue;
use crate::kernel::Target;
use crate::layer::Source;
use crate::mask::{Encoding, LayerWeights, Row, WordRow};
use crate::random::WORD;

/// Mask words that are summed before lanes of 16 bits are full.
const BLOCK: usize = 64;

/// Makes the outputs of `target`.
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
    if weights.encoding == Encoding::SignedGaps && x.len() <= gaps::MOST_INPUTS {
        gaps::dense(weights, epilogue, x, target);
        return true;
    }
    let inputs = Inputs::new(x);
    let mut rows = weights.rows();
    let mut output = 0;
    while let Some(mut row) = rows.next_row_inline() {
        let sum = match &mut row {
            // SAFETY: as for this function.
            Row::Words(row) => unsafe { words::<V>(row, &inputs) },
            Row::Gaps(row) => row.map(|kept| product(kept, x)).sum(),
            Row::Rice(row) => {
                let mut sum = 0;
                row.visit(|kept| sum += product(kept, x));
                sum
            }
        };
        rows.resume(row);
        target.write(output, epilogue.row(output), sum);
        output += 1;
    }
    true
}

/// `weight · x[index]`.
#[inline(always)]
fn product((index, weight): (u32, i32), x: &[u8]) -> i32 {
    weight * x.get(index as usize).map_or(0, |byte| i32::from(*byte))
}

/// The inputs in blocks beside mask words.
struct Inputs<'x> {
    blocks: &'x [[u8; WORD]],
    /// The last block, filled up with zeros.
    last: [u8; WORD],
}

impl<'x> Inputs<'x> {
    fn new(bytes: &'x [u8]) -> Self {
        let (blocks, rest) = bytes.as_chunks();
        let mut last = [0; WORD];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Self { blocks, last }
    }

    /// The inputs beside mask word `word`.
    #[inline(always)]
    fn block(&self, word: usize) -> &[u8; WORD] {
        self.blocks.get(word).unwrap_or(&self.last)
    }
}

/// A row that gives mask words.
///
/// # Safety
/// See [`super`].
#[inline(always)]
unsafe fn words<V: Vector>(row: &mut WordRow, inputs: &Inputs) -> i32 {
    match row.source() {
        // SAFETY: as for this function.
        Source::SeededSigns => unsafe { level::<V>(row, 1, inputs) },
        Source::SeededMagnitudes => {
            // SAFETY: as for this function.
            [4, 2, 1]
                .into_iter()
                .map(|magnitude| unsafe { level::<V>(row, magnitude, inputs) })
                .sum()
        }
        // SAFETY: as for this function.
        Source::StoredInt8 => unsafe { stored::<V>(row, inputs) },
    }
}

/// What the weights of one magnitude add.
///
/// # Safety
/// See [`super`].
#[inline(always)]
unsafe fn level<V: Vector>(row: &WordRow, magnitude: i32, inputs: &Inputs) -> i32 {
    let (mut plus, mut minus) = ([0; BLOCK], [0; BLOCK]);
    let mut sum = 0;
    for start in (0..row.words()).step_by(BLOCK) {
        let count = BLOCK.min((row.words() - start) as usize);
        let (plus, minus) = (&mut plus[..count], &mut minus[..count]);
        row.fill(start, magnitude, plus, minus);
        for (mask, sign) in plus.iter_mut().zip(&mut *minus) {
            (*mask, *sign) = (*mask & !*sign, *mask & *sign);
        }
        let blocks = (start as usize..).map(|word| inputs.block(word));
        // SAFETY: as for this function; a block has 32 bytes.
        unsafe {
            let mut sums = V::no_sums();
            for ((plus, minus), block) in plus.iter().zip(&*minus).zip(blocks) {
                sums = V::add_kept(sums, block.as_ptr(), plus, minus);
            }
            sum += V::total(sums);
        }
    }
    magnitude * sum
}

/// A row of stored weights.
///
/// # Safety
/// See [`super`].
#[inline(always)]
unsafe fn stored<V: Vector>(row: &mut WordRow, inputs: &Inputs) -> i32 {
    let Some(weights) = row.stored() else { return 0 };
    let (blocks, rest) = weights.as_chunks::<WORD>();
    let mut last = [0; WORD];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    // SAFETY: as for this function; blocks of inputs and of weights have 32 bytes.
    unsafe {
        let mut sums = V::zero();
        for word in 0..row.words() {
            let weights = blocks.get(word as usize).unwrap_or(&last);
            let x = inputs.block(word as usize);
            sums = sums.add_products(x.as_ptr(), weights.as_ptr(), row.mask(word));
        }
        sums.total_of_products()
    }
}
