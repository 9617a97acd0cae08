//! Dense layers of signed positions: the inputs of a block are a table, in which those that several
//! positions name are looked up at once.
//!
//! Whatever the bytes of a section are, nothing outside of it is read: a position has seven bits, as tables
//! have 128 entries, and what is read of a block is compared with what is there.

use core::slice;

use super::{AT_ONCE, Vector, write_rows};
use crate::epilogue::Epilogue;
use crate::kernel::Target;
use crate::mask::positions::{BLOCK, Counts, GROUP, MOST};
use crate::mask::{Encoding, LayerWeights};

/// Positions that are looked up at once.
pub(in crate::kernel::processor) const RUN: usize = 16;

/// The inputs of a block.
pub(in crate::kernel::processor) type Table = [[[u8; 16]; 4]; 2];

/// Runs of the longest block.
const MOST_RUNS: usize = (MOST as usize).div_ceil(RUN);

/// All bits of as many bytes as a block may have, then a run of zeros.
static FIRST: [[u8; RUN]; MOST_RUNS + 1] = {
    let mut bytes = [[0xff; RUN]; MOST_RUNS + 1];
    bytes[MOST_RUNS] = [0; RUN];
    bytes
};

/// [`RUN`] bytes, all bits of the first `count` of which are set, and none of the others.
///
/// # Safety
/// `count` is at most [`MOST`].
#[inline(always)]
pub(in crate::kernel::processor) unsafe fn first(count: usize) -> *const u8 {
    // SAFETY: the caller says so.
    unsafe { FIRST.as_ptr_range().end.cast::<u8>().sub(RUN + count) }
}

/// Makes the outputs of `target`; `false`, and nothing done, where weights have no positions.
///
/// # Safety
/// See [`super`].
#[inline(always)]
pub(in crate::kernel::processor) unsafe fn positions<V: Vector>(
    weights: &LayerWeights,
    epilogue: &Epilogue,
    x: &[u8],
    target: &mut Target,
) -> bool {
    let Encoding::SignedPositions { base } = weights.encoding else { return false };
    // What fills up the tensor behind them may be anything.
    let x = x.get(..weights.weights.inputs as usize).unwrap_or(x);
    let (whole, rest) = x.as_chunks::<BLOCK>();
    let mut last = [0; BLOCK];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let last = if rest.is_empty() { &[] } else { slice::from_ref(&last) };
    let (counts, positions) = Counts::new(weights.bytes, weights.weights, base);
    let mut left = Rows { inputs: [whole, last], counts, group: 0, some: 0, positions };
    let rows = weights.weights.rows as usize;
    for first in (0..rows).step_by(AT_ONCE) {
        let mut sums = [0; AT_ONCE];
        let sums = &mut sums[..AT_ONCE.min(rows - first)];
        // SAFETY: as for this function.
        unsafe { V::sums_of_positions(&mut left, sums) };
        write_rows(first, sums, epilogue, target);
    }
    true
}

/// The rows that are left of a layer.
pub(in crate::kernel::processor) struct Rows<'a> {
    /// Blocks of inputs: whole ones, and the last one.
    inputs: [&'a [[u8; BLOCK]]; 2],
    counts: Counts<'a>,
    /// Counts of the next blocks, a byte each from the lowest on.
    group: u64,
    /// How many of them are left.
    some: usize,
    positions: &'a [u8],
}

impl Rows<'_> {
    /// The sums of the next rows.
    ///
    /// # Safety
    /// See [`super`].
    #[inline(always)]
    pub(in crate::kernel::processor) unsafe fn sums<V: Vector>(&mut self, sums: &mut [i32]) {
        let (mut group, mut some, mut positions) = (self.group, self.some, self.positions);
        let [whole, last] = self.inputs;
        for sum in sums {
            // SAFETY: as for this function.
            unsafe {
                let mut few = V::no_few();
                for x in whole.iter().chain(last) {
                    if some == 0 {
                        (group, some) = (self.counts.next_group(), GROUP);
                    }
                    let count = usize::from(group as u8);
                    (group, some) = (group >> 8, some - 1);
                    let table = bytemuck::cast_ref(x);
                    // Behind a block is a run, but near the end of the section.
                    if count + RUN <= positions.len() {
                        few = add::<V>(few, positions.as_ptr(), count, table);
                        positions = positions.get_unchecked(count..);
                    } else {
                        let (block, rest) = positions.split_at(count.min(positions.len()));
                        let behind = with_run(block);
                        few = add::<V>(few, behind.as_ptr(), block.len(), table);
                        positions = rest;
                    }
                }
                *sum = V::total_of_few(few);
            }
        }
        (self.group, self.some, self.positions) = (group, some, positions);
    }
}

/// `block`, of at most [`MOST`] positions, and a run behind it.
#[cold]
#[inline(never)]
fn with_run(block: &[u8]) -> [u8; MOST as usize + RUN] {
    let mut bytes = [0; MOST as usize + RUN];
    bytes.iter_mut().zip(block).for_each(|(to, from)| *to = *from);
    bytes
}

/// Adds the inputs of `table` that `count` positions name.
///
/// # Safety
/// See [`super`]; `positions` is good for `count` and [`RUN`] bytes more.
#[inline(always)]
unsafe fn add<V: Vector>(
    mut few: V::Few,
    positions: *const u8,
    count: usize,
    table: &Table,
) -> V::Few {
    let mut at = 0;
    loop {
        // SAFETY: as for this function; the last run begins before the end of the block.
        few = unsafe { V::add_positions(few, positions.add(at), count - at, table) };
        at += RUN;
        if at >= count {
            return few;
        }
    }
}
