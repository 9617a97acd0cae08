//! Dense layers: mask words become vectors of 0 and ±1 beside 32 inputs, gaps are followed one by
//! one through a table of the inputs.

use super::Vector;
use crate::epilogue::Epilogue;
use crate::kernel::Target;
use crate::layer::Source;
use crate::mask::{LayerWeights, Row, WordRow};
use crate::random::WORD;

/// Most inputs that have a table for gaps.
const MOST_INPUTS: usize = 2048;

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
    let inputs = Inputs::new(x);
    let mut table = [0; MOST_INPUTS + 1];
    table.iter_mut().skip(1).zip(x).for_each(|(to, from)| *to = u32::from(*from));
    let table = table.get(..x.len() + 1);
    let mut rows = weights.rows();
    let mut output = 0;
    while let Some(mut row) = rows.next_row() {
        let sum = match &mut row {
            // SAFETY: as for this function.
            Row::Words(row) => unsafe { words::<V>(row, &inputs) },
            Row::Gaps(row) => match table {
                Some(table) => list(row.plus, table).wrapping_sub(list(row.minus, table)) as i32,
                None => row.map(|kept| product(kept, x)).sum(),
            },
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

/// Sum of the inputs that a list of gaps names; input `i` is `table[i + 1]`. Two gaps are loaded at
/// once, and one comparison serves eight indices, which never fall.
#[inline(always)]
fn list(gaps: &[u8], table: &[u32]) -> u32 {
    let (blocks, rest) = gaps.as_chunks::<8>();
    let mut index = 0_usize;
    let [mut even, mut odd] = [0_u32; 2];
    for block in blocks {
        let mut indices = [[0; 2]; 4];
        for (pair, indices) in block.as_chunks::<2>().0.iter().zip(&mut indices) {
            let pair = usize::from(u16::from_le_bytes(*pair));
            let first = index + (pair & 0xff);
            index = first + (pair >> 8);
            *indices = [first, index];
        }
        if index >= table.len() {
            return 0;
        }
        for [first, second] in indices {
            // SAFETY: no index is beyond the last one, which is within the table.
            unsafe {
                even += table.get_unchecked(first);
                odd += table.get_unchecked(second);
            }
        }
    }
    for gap in rest {
        index += usize::from(*gap);
        even += table.get(index).copied().unwrap_or(0);
    }
    even + odd
}

/// The inputs in blocks beside mask words, the last one filled up with zeros.
struct Inputs<'x> {
    blocks: &'x [[u8; WORD]],
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
    let words = row.words() as usize;
    let mut sum = 0;
    if let Some(signs) = row.signs() {
        let (mut plus, mut minus) = ([0; BLOCK], [0; BLOCK]);
        for start in (0..words).step_by(BLOCK) {
            let count = BLOCK.min(words - start);
            for (word, (plus, minus)) in
                (start as u32..).zip(plus.iter_mut().zip(&mut minus).take(count))
            {
                let (mask, signs) = (row.mask(word), signs.word(word));
                (*plus, *minus) = (mask & !signs, mask & signs);
            }
            // SAFETY: as for this function.
            sum += unsafe { kept::<V>(inputs, start, &plus[..count], &minus[..count]) };
        }
        return sum;
    }
    match row.source() {
        Source::SeededMagnitudes => {
            // A magnitude is 1, plus 1 where its first bit is set, plus 2 where both are.
            let (mut plus, mut minus) = ([[0; BLOCK]; 3], [[0; BLOCK]; 3]);
            for start in (0..words).step_by(BLOCK) {
                let count = BLOCK.min(words - start);
                for at in 0..count {
                    let (mask, [signs, high, low]) = row.next_word().unwrap_or_default();
                    for (part, bits) in
                        [mask, mask & high, mask & high & low].into_iter().enumerate()
                    {
                        (plus[part][at], minus[part][at]) = (bits & !signs, bits & signs);
                    }
                }
                for (weight, (plus, minus)) in [1, 1, 2].into_iter().zip(plus.iter().zip(&minus)) {
                    // SAFETY: as for this function.
                    let part = unsafe { kept::<V>(inputs, start, &plus[..count], &minus[..count]) };
                    sum += weight * part;
                }
            }
            sum
        }
        // SAFETY: as for this function.
        _ => unsafe { stored::<V>(row, inputs) },
    }
}

/// Sum of the inputs from block `start` on that `plus` names, less those that `minus` names: at most
/// [`BLOCK`] words each.
///
/// # Safety
/// See [`super`].
#[inline(always)]
unsafe fn kept<V: Vector>(inputs: &Inputs, start: usize, plus: &[u32], minus: &[u32]) -> i32 {
    // SAFETY: as for this function; a block has 32 bytes.
    unsafe {
        let mut sums = V::no_sums();
        for (word, (plus, minus)) in (start..).zip(plus.iter().zip(minus)) {
            sums = V::add_kept(sums, inputs.block(word).as_ptr(), *plus, *minus);
        }
        V::total(sums)
    }
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
