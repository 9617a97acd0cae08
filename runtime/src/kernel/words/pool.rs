//! Pools. The usual one, 2×2 by 2, compares four bytes at a time, a banded one whole columns.

use crate::kernel::general::pool::windows;
use crate::kernel::{BANDS, Placed};
use crate::layer::{Pool, PoolKind, Window};

/// The highest bit of each byte, which no activation uses.
const TOP: u32 = 0x8080_8080;

pub(super) fn pool(pool: &Pool, memory: &mut [u8], x: &Placed, y: &Placed) {
    let halving = pool.window == Window::square(2, 2, 0) && pool.kind == PoolKind::Max;
    for channel in 0..y.planes.channels {
        for row in 0..y.planes.rows() {
            let to = y.row_start(channel, row);
            if halving && x.planes.bands == y.planes.bands {
                let upper = x.row_start(channel, 2 * row);
                let lower = x.row_start(channel, 2 * row + 1);
                if x.planes.bands == BANDS.into() {
                    halve_banded(memory, upper, lower, to, y.planes.width);
                } else {
                    halve(memory, upper, lower, to, y.planes.width);
                }
            } else {
                windows(pool, memory, x, y, channel, row);
            }
        }
    }
}

/// The larger byte of each pair; bytes of at most 127.
#[inline(always)]
fn max4(a: u32, b: u32) -> u32 {
    // Bit 7 of a byte stays set where a ≥ b; no byte borrows from the next.
    let not_less = ((a | TOP) - b) & TOP;
    let choose = not_less - (not_less >> 7);
    b ^ ((a ^ b) & choose)
}

#[inline(always)]
fn word(memory: &[u8], at: usize) -> u32 {
    let bytes = memory.get(at..).and_then(|rest| rest.first_chunk());
    u32::from_le_bytes(bytes.copied().unwrap_or_default())
}

/// Maximum over 2×2, stride 2: one row of `width` outputs.
fn halve(memory: &mut [u8], upper: usize, lower: usize, to: usize, width: usize) {
    for column in (0..width / 2).map(|pair| 2 * pair) {
        let down = max4(word(memory, upper + 2 * column), word(memory, lower + 2 * column));
        let [first, _, second, _] = max4(down, down >> 8).to_le_bytes();
        let pair = memory.get_mut(to + column..).and_then(|rest| rest.first_chunk_mut());
        if let Some(pair) = pair {
            *pair = [first, second];
        }
    }
    if width % 2 == 1 {
        let columns = [2 * (width - 1), 2 * width - 1];
        let taps = [upper, lower].into_iter().flat_map(|row| columns.map(|column| row + column));
        let most = taps.filter_map(|at| memory.get(at).copied()).max().unwrap_or(0);
        if let Some(output) = memory.get_mut(to + width - 1) {
            *output = most;
        }
    }
}

/// The same on columns of four bands.
fn halve_banded(memory: &mut [u8], upper: usize, lower: usize, to: usize, width: usize) {
    for column in 0..width {
        let at = |row: usize, next: usize| word(memory, row + 8 * column + 4 * next);
        let most = max4(max4(at(upper, 0), at(upper, 1)), max4(at(lower, 0), at(lower, 1)));
        let out = to + 4 * column;
        if let Some(output) = memory.get_mut(out..).and_then(|rest| rest.first_chunk_mut()) {
            *output = most.to_le_bytes();
        }
    }
}
