//! Dense layers of signed gaps: every gap is an addition to an index and one from a table of the
//! inputs, in a register for vectors, as indices need all others.

use core::mem::MaybeUninit;

use super::Vector;
use crate::epilogue::Epilogue;
use crate::kernel::Target;
use crate::mask::LayerWeights;

/// Most inputs that have a table.
pub(super) const MOST_INPUTS: usize = 2048;

/// Gaps that are followed at once.
const BLOCK: usize = 8;

/// Words behind the table that are loaded with its last one.
const BEHIND: usize = 3;

/// The inputs behind a 0: an index begins at 0, one before the first input.
#[derive(Clone, Copy)]
struct Table<'t> {
    words: &'t [u32],
    /// Words of `words` without those behind the table.
    length: usize,
}

/// Makes the outputs of `target`, from at most [`MOST_INPUTS`] inputs.
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
    let mut words = [const { MaybeUninit::uninit() }; 1 + MOST_INPUTS + BEHIND];
    let table = table(x, &mut words);
    let mut section = weights.bytes;
    for output in 0..weights.weights.rows as usize {
        let Some(([p0, p1, m0, m1], rest)) = section.split_first_chunk() else { return };
        let [plus, minus] = [[*p0, *p1], [*m0, *m1]].map(|count| u16::from_le_bytes(count).into());
        // SAFETY: as for this function.
        let sum = unsafe { list::<V>(rest, plus, table) };
        // Lists fill whole words.
        let rest = rest.get(plus.next_multiple_of(4)..).unwrap_or(&[]);
        // SAFETY: as for this function.
        let sum = sum as i32 - unsafe { list::<V>(rest, minus, table) } as i32;
        section = rest.get(minus.next_multiple_of(4)..).unwrap_or(&[]);
        target.write(output, epilogue.row(output), sum);
    }
}

/// The table of `x`, as far as it has room.
fn table<'t>(x: &[u8], words: &'t mut [MaybeUninit<u32>; 1 + MOST_INPUTS + BEHIND]) -> Table<'t> {
    let length = x.len().min(MOST_INPUTS) + 1;
    let words = &mut words[..length + BEHIND];
    let (first, rest) = words.split_at_mut(1);
    first[0].write(0);
    let (inputs, behind) = rest.split_at_mut(length - 1);
    inputs.iter_mut().zip(x).for_each(|(to, from)| {
        to.write(u32::from(*from));
    });
    behind.iter_mut().for_each(|word| {
        word.write(0);
    });
    // SAFETY: all three parts were written.
    Table { words: unsafe { words.assume_init_ref() }, length }
}

/// Sum of the inputs that the first `count` of `gaps` name.
///
/// # Safety
/// See [`super`].
#[inline(always)]
unsafe fn list<V: Vector>(gaps: &[u8], count: usize, table: Table) -> u32 {
    let Some(whole) = count.checked_sub(1).map(|last| last / BLOCK * BLOCK) else { return 0 };
    let Some((blocks, last)) = gaps.get(..whole + BLOCK).and_then(<[u8]>::split_last_chunk) else {
        return one_by_one(gaps, count, table);
    };
    let mut index = 0;
    // SAFETY: as for this function.
    unsafe {
        let mut sums = [V::no_sum(); 2];
        for block in blocks.as_chunks::<BLOCK>().0 {
            follow::<V>(block, &mut index, &mut sums, table);
        }
        // Distances of 0 behind the last gap name its input again.
        let kept = u64::MAX >> (8 * (whole + BLOCK - count));
        let last = (u64::from_le_bytes(*last) & kept).to_le_bytes();
        follow::<V>(&last, &mut index, &mut sums, table);
        let again = (whole + BLOCK - count) as u32;
        let [even, odd] = sums.map(|sum| V::first_word(sum));
        let last = table.words.get(index).copied().unwrap_or(0);
        even.wrapping_add(odd).wrapping_sub(again * last)
    }
}

/// Follows gaps from `index` on; nothing is added where they lead out of the table. One comparison
/// serves all indices, which never fall, and two gaps are loaded at once.
///
/// # Safety
/// See [`super`].
#[inline(always)]
unsafe fn follow<V: Vector>(
    gaps: &[u8; BLOCK],
    index: &mut usize,
    [even, odd]: &mut [V::Sum; 2],
    table: Table,
) {
    let mut indices = [[0; 2]; BLOCK / 2];
    for (gaps, indices) in gaps.as_chunks::<2>().0.iter().zip(&mut indices) {
        let gaps = usize::from(u16::from_le_bytes(*gaps));
        let first = *index + (gaps & 0xff);
        *index = first + (gaps >> 8);
        *indices = [first, *index];
    }
    if *index >= table.length {
        return;
    }
    let words = table.words.as_ptr();
    for [first, second] in indices {
        // SAFETY: as for this function; no index is beyond the last one, which is within the table,
        // and there are three words behind that.
        unsafe {
            *even = V::add_word(*even, words.add(first));
            *odd = V::add_word(*odd, words.add(second));
        }
    }
}

/// The same where the section ends before a whole block does.
#[cold]
fn one_by_one(gaps: &[u8], count: usize, table: Table) -> u32 {
    let mut index = 0;
    let inputs = gaps.iter().take(count).map(|gap| {
        index += usize::from(*gap);
        table.words.get(index).copied().unwrap_or(0)
    });
    inputs.sum()
}
