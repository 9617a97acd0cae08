//! Pools. The usual one, 2×2 by 2, compares four bytes at a time.

use crate::kernel::reference::average;
use crate::kernel::{Sink, Source};
use crate::layer::{Pool, PoolKind, Window};

/// The highest bit of each byte, which no activation uses.
const TOP: u32 = 0x8080_8080;

pub(super) fn pool(pool: &Pool, x: Source, y: Sink) {
    let halving = pool.window == Window::square(2, 2, 0) && pool.kind == PoolKind::Max;
    for channel in 0..y.planes.channels {
        for line in 0..y.planes.height {
            let outputs = y.planes.row_mut(y.bytes, channel, line);
            if halving {
                let upper = x.planes.row(x.bytes, channel, 2 * line);
                let lower = x.planes.row(x.bytes, channel, 2 * line + 1);
                halve(upper, lower, outputs);
            } else {
                windows(pool, &x, channel, line, outputs);
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

/// Maximum over 2×2, stride 2.
fn halve(upper: &[u8], lower: &[u8], outputs: &mut [u8]) {
    let (upper, upper_rest) = upper.as_chunks::<4>();
    let (lower, lower_rest) = lower.as_chunks::<4>();
    let (pairs, rest) = outputs.as_chunks_mut::<2>();
    for ((upper, lower), pair) in upper.iter().zip(lower).zip(pairs) {
        let down = max4(u32::from_le_bytes(*upper), u32::from_le_bytes(*lower));
        let [first, _, second, _] = max4(down, down >> 8).to_le_bytes();
        *pair = [first, second];
    }
    // An odd count of outputs: two columns are left, or three, of which the last has no window.
    if let ([.., output], [a, b, ..], [c, d, ..]) = (rest, upper_rest, lower_rest) {
        *output = (*a).max(*b).max(*c).max(*d);
    }
}

/// One row of outputs under any window.
fn windows(pool: &Pool, x: &Source, channel: usize, line: usize, outputs: &mut [u8]) {
    let [height, width] = pool.window.kernel;
    let [down, right] = pool.window.stride;
    let [top, left, ..] = pool.window.padding;
    let rows = inside(line, down, top, height, x.planes.height);
    for (column, output) in outputs.iter_mut().enumerate() {
        let columns = inside(column, right, left, width, x.planes.width);
        let taps = rows.clone().flat_map(|row| {
            x.planes.row(x.bytes, channel, row).get(columns.clone()).unwrap_or(&[])
        });
        *output = match pool.kind {
            PoolKind::Max => taps.copied().max().unwrap_or(0),
            PoolKind::Average => {
                let area = pool.window.area();
                let padding = area as usize - rows.len() * columns.len();
                let zeros = padding as i32 * i32::from(x.planes.zero_point);
                average(taps.map(|tap| i32::from(*tap)).sum::<i32>() + zeros, area)
            }
        };
    }
}

/// The rows (or columns) of the map under window number `at`.
fn inside(at: usize, stride: u8, before: u8, kernel: u8, size: usize) -> core::ops::Range<usize> {
    let start = at * usize::from(stride);
    let end = (start + usize::from(kernel)).saturating_sub(before.into()).min(size);
    start.saturating_sub(before.into())..end
}
