//! What follows the sums of a weighted layer: BatchNorm (Ioffe 2015), activation, and the rounding
//! to seven bits, in one pass forward and two backward. The last layer has scale and shift only.
//!
//! With `unit` = what a weight of 1 is worth: `v = γ·(unit·z − μ)/√(σ² + ε) + β` per channel, and
//! `y = (clamp(⌊32·v + ½⌋ + zero point, 0, 127) − zero point) / 32`.

mod passes;

use rayon::prelude::*;

use super::pool::Pool;
use super::{Activation, LANES, MAX_BYTE, Precision, STEPS_PER_UNIT};
use passes::{Grid, pooled_products_of, products_of, round_and_pool, round_to_grid};
pub use passes::{Slope, apply_pooled_slope, apply_slope, moments};

/// Numbers below which a piece is not worth a thread of its own.
const MIN_WORK: usize = 1 << 13;

/// Added to the variance (in units of the real sum).
pub const EPSILON: f32 = 1e-5;

/// What a weighted layer gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// BatchNorm, then activations on the device's grid.
    Activations(Activation),
    /// Scale and shift only: the logits.
    Logits,
}

/// The scales and shifts of one layer for one task, and the statistics under them.
#[derive(Debug, Clone)]
pub struct Epilogue {
    /// What is given out.
    pub output: Output,
    /// γ of each channel.
    pub gamma: Vec<f32>,
    /// β of each channel.
    pub beta: Vec<f32>,
    /// Gradient of γ.
    pub gamma_gradient: Vec<f32>,
    /// Gradient of β.
    pub beta_gradient: Vec<f32>,
    /// Mean of the sums `z`, of the batch or of many.
    pub mean: Vec<f32>,
    /// Variance of the sums `z`.
    pub variance: Vec<f32>,
    /// Σ mean, Σ (variance + mean²), and number of batches since the statistics were reset.
    gathered: (Vec<f64>, Vec<f64>, u32),
    /// What turns the sums of each channel into their gradient, after [`Epilogue::backward`].
    pub slopes: Vec<Slope>,
    /// The affine map of each channel, and what each piece adds to the gradients: buffers.
    affine: Vec<Affine>,
    products: Vec<[f64; 2]>,
}

/// The affine map of one channel from sums to activations before rounding, as `factor·z + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Per unit of sum.
    pub factor: f32,
    /// Added.
    pub offset: f32,
}

impl Epilogue {
    /// γ = 1 and β = 0 for every channel.
    pub fn new(output: Output, channels: usize) -> Self {
        Self {
            output,
            gamma: vec![1.0; channels],
            beta: vec![0.0; channels],
            gamma_gradient: vec![0.0; channels],
            beta_gradient: vec![0.0; channels],
            mean: vec![0.0; channels],
            variance: vec![1.0; channels],
            gathered: (vec![0.0; channels], vec![0.0; channels], 0),
            slopes: Vec::with_capacity(channels),
            affine: Vec::with_capacity(channels),
            products: Vec::new(),
        }
    }

    /// 1/√(σ² + ε) of the sums `z` of a channel whose weights are worth `unit`.
    fn inverse_deviation(&self, channel: usize, unit: f32) -> f32 {
        1.0 / (self.variance[channel] + EPSILON / (unit * unit)).sqrt()
    }

    /// BatchNorm (or the last layer's scale and shift) as one affine map of the sum of stored
    /// weights times inputs, with the statistics that are in force.
    pub fn affine(&self, channel: usize, unit: f32) -> Affine {
        let (gamma, beta) = (self.gamma[channel], self.beta[channel]);
        match self.output {
            Output::Logits => Affine { factor: gamma * unit, offset: beta },
            Output::Activations(_) => {
                let factor = gamma * self.inverse_deviation(channel, unit);
                Affine { factor, offset: beta - factor * self.mean[channel] }
            }
        }
    }

    /// Takes mean and variance of each channel from the moments of its pieces, `[block][channel]`,
    /// of `count` numbers in all.
    pub fn measure(&mut self, moments: &[[f64; 2]], count: usize) {
        let channels = self.gamma.len();
        for channel in 0..channels {
            let [mut sum, mut squares] = [0.0; 2];
            for piece in moments.chunks_exact(channels) {
                sum += piece[channel][0];
                squares += piece[channel][1];
            }
            let mean = sum / count as f64;
            self.mean[channel] = mean as f32;
            self.variance[channel] = (squares / count as f64 - mean * mean).max(0.0) as f32;
        }
    }

    /// Forgets the statistics gathered.
    pub fn reset_statistics(&mut self) {
        self.gathered.0.fill(0.0);
        self.gathered.1.fill(0.0);
        self.gathered.2 = 0;
    }

    /// Counts the present batch's statistics in.
    pub fn gather_statistics(&mut self) {
        let (means, squares, count) = &mut self.gathered;
        let present = self.mean.iter().zip(&self.variance);
        for ((sum, squares), (&mean, &variance)) in means.iter_mut().zip(squares).zip(present) {
            *sum += f64::from(mean);
            *squares += f64::from(variance) + f64::from(mean) * f64::from(mean);
        }
        *count += 1;
    }

    /// Puts the statistics of all gathered batches together in force.
    pub fn adopt_statistics(&mut self) {
        let (means, squares, count) = &self.gathered;
        let count = f64::from((*count).max(1));
        let present = self.mean.iter_mut().zip(&mut self.variance);
        for ((mean, variance), (sum, squares)) in present.zip(means.iter().zip(squares)) {
            let all = sum / count;
            *mean = all as f32;
            *variance = (squares / count - all * all).max(0.0) as f32;
        }
    }

    /// Sums to outputs; `unit` is what a weight of 1 is worth in each channel. Both are cut into
    /// pieces of `piece` numbers, `[block][channel]`.
    pub fn forward(
        &mut self,
        precision: Precision,
        unit: &[f32],
        piece: usize,
        sums: &[f32],
        output: &mut [f32],
    ) {
        self.prepare_affine(unit);
        let (given, affine) = (self.output, &self.affine);
        output
            .par_chunks_mut(piece)
            .zip(sums.par_chunks(piece))
            .enumerate()
            .with_min_len(MIN_WORK.div_ceil(piece))
            .for_each(|(index, (output, sums))| {
                let affine = affine[index % affine.len()];
                match (given, precision) {
                    (Output::Activations(activation), Precision::Quantised) => {
                        round_to_grid(&Grid::new(affine, activation), sums, output);
                    }
                    (Output::Activations(Activation::Relu), Precision::Exact) => {
                        for (y, &z) in output.iter_mut().zip(sums) {
                            *y = (affine.factor * z + affine.offset).max(0.0);
                        }
                    }
                    _ => {
                        for (y, &z) in output.iter_mut().zip(sums) {
                            *y = affine.factor * z + affine.offset;
                        }
                    }
                }
            });
    }

    /// Sums to the outputs of the max pool behind, on the grid, and the taps that won, as
    /// [`Epilogue::forward`] and [`Pool::forward_max`] give them. The pool tiles the map.
    pub fn forward_pooled(
        &mut self,
        pool: &Pool,
        unit: &[f32],
        sums: &[f32],
        output: &mut [f32],
        taps: &mut [u16],
    ) {
        let Output::Activations(activation) = self.output else { return };
        self.prepare_affine(unit);
        let affine = &self.affine;
        let (from, to) = (pool.input.pixels() * LANES, pool.output.pixels() * LANES);
        output
            .par_chunks_mut(to)
            .zip(taps.par_chunks_mut(to))
            .zip(sums.par_chunks(from))
            .enumerate()
            .with_min_len(MIN_WORK.div_ceil(from))
            .for_each(|(index, ((output, taps), sums))| {
                let grid = Grid::new(affine[index % affine.len()], activation);
                round_and_pool(pool, &grid, sums, output, taps);
            });
    }

    fn prepare_affine(&mut self, unit: &[f32]) {
        let mut affine = std::mem::take(&mut self.affine);
        affine.clear();
        let channels = unit.iter().enumerate();
        affine.extend(channels.map(|(channel, &unit)| self.affine(channel, unit)));
        self.affine = affine;
    }

    /// First pass of the gradients, over pieces as in [`Epilogue::forward`]: leaves those of γ and
    /// β, and in `slopes` what turns the sums of each channel into their gradient. Rounding is
    /// passed straight through, clamping stops gradients. Where the gradient is that of a max
    /// pool's outputs, `pooled` is the pool and the taps that won.
    pub fn backward(
        &mut self,
        precision: Precision,
        unit: &[f32],
        piece: usize,
        sums: &[f32],
        output_gradient: &[f32],
        pooled: Option<(&Pool, &[u16])>,
    ) {
        let channels = unit.len();
        let mut slopes = std::mem::take(&mut self.slopes);
        slopes.clear();
        slopes.extend((0..channels).map(|channel| self.slope(precision, channel, unit[channel])));
        self.products.resize(sums.len() / piece, [0.0; 2]);
        let gradient_piece = output_gradient.len() / self.products.len();
        self.products
            .par_iter_mut()
            .zip(sums.par_chunks(piece))
            .zip(output_gradient.par_chunks(gradient_piece))
            .enumerate()
            .with_min_len(MIN_WORK.div_ceil(piece))
            .for_each(|(index, ((products, sums), gradient))| {
                let slope = &slopes[index % channels];
                *products = match pooled {
                    None => products_of(slope, sums, gradient),
                    Some((pool, taps)) => {
                        let taps = &taps[index * gradient_piece..][..gradient_piece];
                        pooled_products_of(pool, slope, sums, gradient, taps)
                    }
                };
            });
        let count = (sums.len() / channels) as f64;
        for (channel, slope) in slopes.iter_mut().enumerate() {
            let [mut passed, mut centred] = [0.0; 2];
            for piece in self.products.chunks_exact(channels) {
                passed += piece[channel][0];
                centred += piece[channel][1];
            }
            self.beta_gradient[channel] = passed as f32;
            if self.output == Output::Logits {
                self.gamma_gradient[channel] = (centred * f64::from(unit[channel])) as f32;
            } else {
                // With x̂ = (z − mean)·inverse: γ's gradient is Σ g·x̂, and the gradient of z is
                // factor·(g − mean(g) − x̂·mean(g·x̂)).
                let inverse = f64::from(self.inverse_deviation(channel, unit[channel]));
                self.gamma_gradient[channel] = (centred * inverse) as f32;
                slope.constant = (passed / count) as f32;
                slope.linear = (centred * inverse * inverse / count) as f32;
            }
        }
        self.slopes = slopes;
    }

    /// What the gradient of a channel's sums needs, but for the means over the batch.
    fn slope(&self, precision: Precision, channel: usize, unit: f32) -> Slope {
        let affine = self.affine(channel, unit);
        let (low, high) = match (precision, self.output) {
            (Precision::Quantised, Output::Activations(activation)) => {
                let zero = f32::from(activation.zero_point());
                (-zero / STEPS_PER_UNIT, (MAX_BYTE - zero) / STEPS_PER_UNIT)
            }
            (Precision::Exact, Output::Activations(Activation::Relu)) => (0.0, f32::INFINITY),
            _ => (f32::NEG_INFINITY, f32::INFINITY),
        };
        let mean = if self.output == Output::Logits { 0.0 } else { self.mean[channel] };
        Slope { affine, low, high, mean, constant: 0.0, linear: 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::{dot, random};

    /// γ, β and sums moved by `step` along a direction; returns Σ r·y.
    fn loss(epilogue: &Epilogue, unit: &[f32], sums: &[f32], r: &[f32], len: usize) -> f64 {
        let mut epilogue = epilogue.clone();
        let mut output = vec![0.0; sums.len()];
        let measured: Vec<_> = sums.chunks_exact(len).map(moments).collect();
        epilogue.measure(&measured, len);
        epilogue.forward(Precision::Exact, unit, len, sums, &mut output);
        dot(r, &output)
    }

    fn moved(values: &[f32], direction: &[f32], step: f32) -> Vec<f32> {
        values.iter().zip(direction).map(|(v, d)| v + step * d).collect()
    }

    #[test]
    fn gathered_statistics_are_those_of_all_batches_together() {
        let mut epilogue = Epilogue::new(Output::Activations(Activation::Relu), 1);
        let all: Vec<f32> =
            random(96, 1).iter().enumerate().map(|(i, v)| v + (i / 32) as f32).collect();
        epilogue.measure(&[moments(&all)], 96);
        let expected = [epilogue.mean[0], epilogue.variance[0]];
        epilogue.reset_statistics();
        for batch in all.chunks_exact(32) {
            epilogue.measure(&[moments(batch)], 32);
            epilogue.gather_statistics();
        }
        epilogue.adopt_statistics();
        assert!((epilogue.mean[0] - expected[0]).abs() < 1e-5);
        assert!((epilogue.variance[0] - expected[1]).abs() < 1e-5);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let (channels, len) = (3, 50);
        for output in [
            Output::Activations(Activation::Relu),
            Output::Activations(Activation::Linear),
            Output::Logits,
        ] {
            let mut epilogue = Epilogue::new(output, channels);
            epilogue.gamma = vec![0.7, -1.2, 1.5];
            epilogue.beta = vec![0.2, 0.1, -0.3];
            let unit = [0.1, 0.2, 0.3];
            let sums: Vec<f32> = random(channels * len, 1).iter().map(|v| 9.0 * v + 2.0).collect();
            let r = random(channels * len, 2);
            let (du, dg, db) = (random(channels * len, 3), random(3, 4), random(3, 5));
            let mut gradient = sums.clone();
            let mut worked = epilogue.clone();
            let measured: Vec<_> = sums.chunks_exact(len).map(moments).collect();
            worked.measure(&measured, len);
            worked.backward(Precision::Exact, &unit, len, &sums, &r, None);
            for (index, slope) in worked.slopes.iter().enumerate() {
                let range = index * len..(index + 1) * len;
                apply_slope(slope, &mut gradient[range.clone()], &r[range]);
            }
            let step = 1e-3;
            let difference = |plus: f64, minus: f64| (plus - minus) / (2.0 * f64::from(step));
            let at = |step: f32| loss(&epilogue, &unit, &moved(&sums, &du, step), &r, len);
            let close = |found: f64, expected: f64, what: &str| {
                assert!(
                    (found - expected).abs() < 0.01 * expected.abs().max(0.2),
                    "{output:?} {what}: {found} {expected}"
                );
            };
            close(dot(&gradient, &du), difference(at(step), at(-step)), "sums");
            let at = |step: f32| {
                let gamma = moved(&epilogue.gamma, &dg, step);
                loss(&Epilogue { gamma, ..epilogue.clone() }, &unit, &sums, &r, len)
            };
            close(dot(&worked.gamma_gradient, &dg), difference(at(step), at(-step)), "gamma");
            let at = |step: f32| {
                let beta = moved(&epilogue.beta, &db, step);
                loss(&Epilogue { beta, ..epilogue.clone() }, &unit, &sums, &r, len)
            };
            close(dot(&worked.beta_gradient, &db), difference(at(step), at(-step)), "beta");
        }
    }

    #[test]
    fn outputs_are_bytes_rounded_half_up() {
        for (activation, sums, expected) in [
            (Activation::Relu, [-1.0, 0.49, 0.5, 1.49, 126.6, 400.0], [0, 0, 1, 1, 127, 127]),
            (Activation::Linear, [-90.0, -64.0, -0.6, -0.5, 0.4, 63.5], [0, 0, 63, 64, 64, 127]),
        ] {
            let mut epilogue = Epilogue::new(Output::Activations(activation), 1);
            epilogue.variance = vec![STEPS_PER_UNIT * STEPS_PER_UNIT];
            let mut output = [0.0; 6];
            epilogue.forward(Precision::Quantised, &[1e9], 6, &sums, &mut output);
            let bytes = output.map(|y| (y * STEPS_PER_UNIT) as i32);
            let zero = i32::from(activation.zero_point());
            assert_eq!(bytes.map(|byte| byte + zero), expected);
        }
    }
}
