//! Residual connections: a byte at a time, over rows of equal bands.

use crate::epilogue::HALF;
use crate::kernel::Placed;
use crate::layer::Add;

/// Bits of the low part of a factor. With it `a·2¹² + b` is computed in two words, as 32-bit cores
/// without a long multiplication need.
const LOW: u32 = 12;

pub(super) fn add(add: &Add, memory: &mut [u8], left: &Placed, right: &Placed, y: &Placed) {
    let Some((scales, shift)) = add.fixed_point() else { return };
    let low_bits = (1 << LOW) - 1;
    let (upper, lower) = (scales.map(|scale| scale >> LOW), scales.map(|scale| scale & low_bits));
    let shift = shift + HALF;
    // |shift| < 2⁴¹, and activations have 7 bits: no sum of either part passes 2³⁰.
    let (shift_upper, shift_lower) = ((shift >> LOW) as i32, shift as i32 & low_bits);
    let floor = i32::from(add.low);
    for channel in 0..y.planes.channels {
        for row in 0..y.planes.rows() {
            let [mut l, mut r, mut out] = [left, right, y].map(|map| map.row_start(channel, row));
            let end = out + y.planes.row_bytes();
            while out < end {
                let [a, b] = [l, r].map(|at| memory.get(at).map_or(0, |byte| i32::from(*byte)));
                let low = a * lower[0] + b * lower[1] + shift_lower;
                let high = a * upper[0] + b * upper[1] + shift_upper + (low >> LOW);
                if let Some(byte) = memory.get_mut(out) {
                    *byte = (high >> (24 - LOW)).max(floor).min(127) as u8;
                }
                (l, r, out) = (l + 1, r + 1, out + 1);
            }
        }
    }
}
