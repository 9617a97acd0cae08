//! Dense layers of signed gaps: every gap is an addition to an index and one from a table of the
//! inputs. What ends a list costs as much as ten gaps, so that lists end in whole blocks.

use crate::epilogue::Epilogue;
use crate::kernel::Target;
use crate::mask::LayerWeights;

/// Most inputs that have a table.
pub(super) const MOST_INPUTS: usize = 2048;

/// Gaps that are followed at once.
const BLOCK: usize = 8;

/// The inputs behind a 0: an index begins at 0, one before the first input.
type Table = [u32];

/// Makes the outputs of `target`, from at most [`MOST_INPUTS`] inputs.
pub(super) fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], target: &mut Target) {
    let mut table = [0; MOST_INPUTS + 1];
    table.iter_mut().skip(1).zip(x).for_each(|(to, from)| *to = u32::from(*from));
    let table = &table[..x.len().min(MOST_INPUTS) + 1];
    let mut section = weights.bytes;
    for output in 0..weights.weights.rows as usize {
        let Some(([p0, p1, m0, m1], rest)) = section.split_first_chunk() else { return };
        let [plus, minus] = [[*p0, *p1], [*m0, *m1]].map(|count| u16::from_le_bytes(count).into());
        let sum = list(rest, plus, table);
        // Lists fill whole words.
        let rest = rest.get(plus.next_multiple_of(4)..).unwrap_or(&[]);
        let sum = sum as i32 - list(rest, minus, table) as i32;
        section = rest.get(minus.next_multiple_of(4)..).unwrap_or(&[]);
        target.write(output, epilogue.row(output), sum);
    }
}

/// Sum of the inputs that the first `count` of `gaps` name.
#[inline(always)]
fn list(gaps: &[u8], count: usize, table: &Table) -> u32 {
    let whole = count / BLOCK * BLOCK;
    let (mut index, mut sum) = (0, 0);
    let Some((blocks, last)) = gaps.get(..whole + BLOCK).and_then(<[u8]>::split_last_chunk) else {
        return one_by_one(gaps, count, table);
    };
    for block in blocks.as_chunks::<BLOCK>().0 {
        sum += follow(block, &mut index, table);
    }
    // Distances of 0 behind the last gap name its input again.
    let kept = !(u64::MAX << (8 * (count - whole)));
    sum += follow(&(u64::from_le_bytes(*last) & kept).to_le_bytes(), &mut index, table);
    let again = (whole + BLOCK - count) as u32;
    sum - again * table.get(index).copied().unwrap_or(0)
}

/// Follows gaps from `index` on; 0 where they lead out of the table. One comparison serves all
/// indices, which never fall, and two gaps are loaded at once.
#[inline(always)]
fn follow(gaps: &[u8; BLOCK], index: &mut usize, table: &Table) -> u32 {
    let mut indices = [[0; 2]; BLOCK / 2];
    for (gaps, indices) in gaps.as_chunks::<2>().0.iter().zip(&mut indices) {
        let gaps = usize::from(u16::from_le_bytes(*gaps));
        let first = *index + (gaps & 0xff);
        *index = first + (gaps >> 8);
        *indices = [first, *index];
    }
    if *index >= table.len() {
        return 0;
    }
    let [mut even, mut odd] = [0; 2];
    for [first, second] in indices {
        // SAFETY: no index is beyond the last one, which is within the table.
        unsafe {
            even += table.get_unchecked(first);
            odd += table.get_unchecked(second);
        }
    }
    even + odd
}

/// The same where the section ends before a whole block does.
#[cold]
fn one_by_one(gaps: &[u8], count: usize, table: &Table) -> u32 {
    let mut index = 0;
    let inputs = gaps.iter().take(count).map(|gap| {
        index += usize::from(*gap);
        table.get(index).copied().unwrap_or(0)
    });
    inputs.sum()
}
