//! The passes over one piece of numbers: rounding, pooling, slopes and sums, compiled for the vectors of
//! the processor at hand.

use super::Affine;
use crate::nn::pool::Pool;
use crate::nn::{Activation, LANES, MAX_BYTE, STEPS_PER_UNIT};
use crate::vectorised::vectorised;

/// How the gradient of one channel's sums comes from that of its outputs.
#[derive(Debug, Clone, Copy)]
pub struct Slope {
    pub(super) affine: Affine,
    pub(super) low: f32,
    pub(super) high: f32,
    pub(super) mean: f32,
    pub(super) constant: f32,
    pub(super) linear: f32,
}

impl Slope {
    /// The gradient where the value is not clamped.
    #[inline(always)]
    fn passed(&self, z: f32, gradient: f32) -> f32 {
        let v = self.affine.factor * z + self.affine.offset;
        if v > self.low && v < self.high { gradient } else { 0.0 }
    }

    /// The gradient of the sum.
    #[inline(always)]
    fn apply(&self, z: f32, gradient: f32) -> f32 {
        let centred = self.passed(z, gradient) - self.constant;
        self.affine.factor * (centred - (z - self.mean) * self.linear)
    }
}

vectorised! {
    /// Turns the sums of a piece into their gradient, in place.
    pub fn apply_slope(slope: &Slope, sums: &mut [f32], output_gradient: &[f32]) {
        for (z, &gradient) in sums.iter_mut().zip(output_gradient) {
            *z = slope.apply(*z, gradient);
        }
    }

    /// Turns the sums of a plane into their gradient, in place, from that of the max pool behind.
    pub fn apply_pooled_slope(
        pool: &Pool,
        slope: &Slope,
        sums: &mut [f32],
        output_gradient: &[f32],
        taps: &[u16],
    ) {
        let (sums, _) = sums.as_chunks_mut::<LANES>();
        let (gradients, _) = output_gradient.as_chunks::<LANES>();
        let (taps, _) = taps.as_chunks::<LANES>();
        for (pixel, (gradients, winners)) in gradients.iter().zip(taps).enumerate() {
            pool.each_seen(pixel, |tap, seen| {
                let routed = only_where(winners, tap, gradients);
                for (z, gradient) in sums[seen].iter_mut().zip(routed) {
                    *z = slope.apply(*z, gradient);
                }
            });
        }
    }

    /// Σ g and Σ g·(z − mean) over the gradients of a max pool's outputs that pass.
    pub(super) fn pooled_products_of(
        pool: &Pool,
        slope: &Slope,
        sums: &[f32],
        output_gradient: &[f32],
        taps: &[u16],
    ) -> [f64; 2] {
        let (sums, _) = sums.as_chunks::<LANES>();
        let (gradients, _) = output_gradient.as_chunks::<LANES>();
        let (taps, _) = taps.as_chunks::<LANES>();
        let mut totals = [0.0; 2];
        let rows = gradients.chunks(pool.output.width).zip(taps.chunks(pool.output.width));
        for (row, (gradients, taps)) in rows.enumerate() {
            let mut lanes = [[0f32; LANES]; 2];
            for (column, (gradients, winners)) in gradients.iter().zip(taps).enumerate() {
                let mut won = [0f32; LANES];
                pool.each_seen(row * pool.output.width + column, |tap, seen| {
                    let routed = only_where(winners, tap, &sums[seen]);
                    won.iter_mut().zip(routed).for_each(|(won, z)| *won += z);
                });
                for lane in 0..LANES {
                    let gradient = slope.passed(won[lane], gradients[lane]);
                    lanes[0][lane] += gradient;
                    lanes[1][lane] += gradient * (won[lane] - slope.mean);
                }
            }
            for (total, lanes) in totals.iter_mut().zip(&lanes) {
                *total += f64::from(lanes.iter().sum::<f32>());
            }
        }
        totals
    }

    /// The affine map, rounded, and the largest of each window with its tap (the first of equals).
    pub(super) fn round_and_pool(
        pool: &Pool,
        grid: &Grid,
        sums: &[f32],
        output: &mut [f32],
        taps: &mut [u16],
    ) {
        let (sums, _) = sums.as_chunks::<LANES>();
        let (output, _) = output.as_chunks_mut::<LANES>();
        let (taps, _) = taps.as_chunks_mut::<LANES>();
        for (pixel, (output, taps)) in output.iter_mut().zip(taps).enumerate() {
            let (mut best, mut winners) = ([-1i32; LANES], [0i32; LANES]);
            pool.each_seen(pixel, |tap, seen| {
                for ((best, winner), &z) in best.iter_mut().zip(&mut winners).zip(&sums[seen]) {
                    let byte = grid.byte(z);
                    *winner = if byte > *best { i32::from(tap) } else { *winner };
                    *best = if byte > *best { byte } else { *best };
                }
            });
            for ((y, tap), (&best, &winner)) in
                output.iter_mut().zip(taps).zip(best.iter().zip(&winners))
            {
                *y = grid.value(best);
                *tap = winner as u16;
            }
        }
    }

    /// Σ g and Σ g·(z − mean) over the gradients that pass.
    pub(super) fn products_of(slope: &Slope, sums: &[f32], gradient: &[f32]) -> [f64; 2] {
        block_sums(sums, gradient, |z, g| {
            let g = slope.passed(z, g);
            [g, g * (z - slope.mean)]
        })
    }

    /// Sum and sum of squares.
    pub fn moments(values: &[f32]) -> [f64; 2] {
        block_sums(values, values, |value, _| [value, value * value])
    }

    /// The affine map, rounded.
    pub(super) fn round_to_grid(grid: &Grid, sums: &[f32], output: &mut [f32]) {
        for (y, &z) in output.iter_mut().zip(sums) {
            *y = grid.value(grid.byte(z));
        }
    }
}

/// The values whose winner is `tap`, and 0 for the others.
#[inline(always)]
fn only_where(winners: &[u16; LANES], tap: u16, values: &[f32; LANES]) -> [f32; LANES] {
    let mut kept = *values;
    for (value, &winner) in kept.iter_mut().zip(winners) {
        // Without a branch: all bits or none.
        let mask = u32::from(u32::from(winner) == u32::from(tap)).wrapping_neg();
        *value = f32::from_bits(value.to_bits() & mask);
    }
    kept
}

/// The affine map and the rounding of one channel, in steps of the grid.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    factor: f32,
    offset: f32,
    zero: f32,
}

impl Grid {
    pub(super) fn new(affine: Affine, activation: Activation) -> Self {
        let zero = f32::from(activation.zero_point());
        Self {
            factor: affine.factor * STEPS_PER_UNIT,
            offset: affine.offset * STEPS_PER_UNIT + 0.5 + zero,
            zero,
        }
    }

    /// The sum as a device byte.
    #[inline(always)]
    #[expect(clippy::manual_clamp, reason = "`clamp` would let NaN through")]
    fn byte(&self, z: f32) -> i32 {
        // Not NaN, not negative: cutting off the fraction rounds down.
        let byte = (self.factor * z + self.offset).max(0.0).min(MAX_BYTE);
        // SAFETY: 0 ≤ byte ≤ 127 (`max` gives 0 for NaN).
        unsafe { byte.to_int_unchecked() }
    }

    /// A device byte as a real number.
    #[inline(always)]
    fn value(&self, byte: i32) -> f32 {
        (byte as f32 - self.zero) * (1.0 / STEPS_PER_UNIT)
    }
}

/// Numbers summed in single precision before the sum goes on in double.
const SUM_BLOCK: usize = 1024;

/// Σ term(a, b), two sums at once, in an order that depends on the length alone.
#[inline(always)]
fn block_sums(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> [f32; 2]) -> [f64; 2] {
    let mut totals = [0.0; 2];
    for (a, b) in a.chunks(SUM_BLOCK).zip(b.chunks(SUM_BLOCK)) {
        let mut lanes = [[0f32; LANES]; 2];
        let (a, a_rest) = a.as_chunks::<LANES>();
        let (b, b_rest) = b.as_chunks::<LANES>();
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                let [first, second] = term(a[lane], b[lane]);
                lanes[0][lane] += first;
                lanes[1][lane] += second;
            }
        }
        for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
            let [first, second] = term(a, b);
            lanes[0][lane] += first;
            lanes[1][lane] += second;
        }
        for (total, lanes) in totals.iter_mut().zip(&lanes) {
            *total += f64::from(lanes.iter().sum::<f32>());
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::moments;

    #[test]
    fn sums_do_not_depend_on_a_remainder() {
        let values: Vec<f32> = (0..2500).map(|v| (v % 7) as f32).collect();
        let [sum, squares] = moments(&values);
        let exact = values.iter().map(|&v| f64::from(v)).sum::<f64>();
        assert_eq!(sum, exact);
        assert_eq!(squares, values.iter().map(|&v| f64::from(v * v)).sum::<f64>());
    }
}
