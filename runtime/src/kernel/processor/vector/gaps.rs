//! Dense layers of signed gaps: every gap is an addition to an index and one from a table of the
//! inputs, in a register for vectors, as indices need all others.

use core::mem::MaybeUninit;

use super::{AT_ONCE, Vector, write_rows};
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
    let rows = weights.weights.rows as usize;
    for first in (0..rows).step_by(AT_ONCE) {
        let mut sums = [0; AT_ONCE];
        let sums = &mut sums[..AT_ONCE.min(rows - first)];
        for sum in &mut *sums {
            let Some((&[p0, p1, m0, m1], lists)) = section.split_first_chunk() else { break };
            let counts = [[p0, p1], [m0, m1]].map(|count| u16::from_le_bytes(count).into());
            // Lists fill whole words.
            let [plus, minus] = counts.map(|count: usize| (count + 3) & !3);
            // What a list's last block reads behind it is the next list, or the section's end.
            let Some(rest) = lists.get(plus + minus..).filter(|rest| rest.len() >= BLOCK) else {
                break;
            };
            // SAFETY: as for this function; a block is behind both lists.
            let [plus, minus] = unsafe {
                let lists = lists.as_ptr();
                [list::<V>(lists, counts[0], table), list::<V>(lists.add(plus), counts[1], table)]
            };
            *sum = plus.wrapping_sub(minus) as i32;
            section = rest;
        }
        write_rows(first, sums, epilogue, target);
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
/// See [`super`]; a block behind the `count` gaps may be read.
#[inline(always)]
unsafe fn list<V: Vector>(gaps: *const u8, count: usize, table: Table) -> u32 {
    let Some(whole) = count.checked_sub(1).map(|last| last / BLOCK * BLOCK) else { return 0 };
    let mut index = 0;
    // SAFETY: as for this function.
    unsafe {
        let mut sums = [V::no_sum(); 2];
        let (mut from, last) = (gaps, gaps.add(whole));
        while from < last {
            follow::<V>(&*from.cast(), &mut index, &mut sums, table);
            from = from.add(BLOCK);
        }
        // Distances of 0 behind the last gap name its input again.
        let again = whole + BLOCK - count;
        let kept = u64::from_le_bytes(*last.cast()) & u64::MAX >> (8 * again);
        follow::<V>(&kept.to_le_bytes(), &mut index, &mut sums, table);
        let [even, odd] = sums.map(|sum| V::first_word(sum));
        let last = table.words.get(index).copied().unwrap_or(0);
        even.wrapping_add(odd).wrapping_sub(again as u32 * last)
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
