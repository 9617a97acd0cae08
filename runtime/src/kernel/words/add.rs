//! Residual connections: a byte at a time, over rows of equal bands.

use crate::epilogue::Affine;
use crate::kernel::Placed;
use crate::layer::Add;

pub(super) fn add(add: &Add, memory: &mut [u8], left: Placed, right: Placed, y: Placed) {
    let Some((scales, shift)) = add.fixed_point() else { return };
    let rule = Affine { scale: 0, shift };
    for channel in 0..y.planes.channels {
        for row in 0..y.planes.rows() {
            let [l, r, out] = [left, right, y].map(|map| map.row_start(channel, row));
            for at in 0..y.planes.row_bytes() {
                let term = |start: usize, scale: i32| {
                    let value = memory.get(start + at).copied().unwrap_or(0);
                    i64::from(value) * i64::from(scale)
                };
                let sum = rule.after(term(l, scales[0]) + term(r, scales[1]), add.low);
                if let Some(byte) = memory.get_mut(out + at) {
                    *byte = sum;
                }
            }
        }
    }
}
