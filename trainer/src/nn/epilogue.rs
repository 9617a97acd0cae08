//! What follows the sums of a weighted layer: BatchNorm (Ioffe 2015), activation, and the rounding
//! to seven bits, in one pass forward and two backward. The last layer has scale and shift only.
//!
//! With `unit` = what a weight of 1 is worth: `v = γ·(unit·z − μ)/√(σ² + ε) + β` per channel, and
//! `y = (clamp(⌊32·v + ½⌋ + zero point, 0, 127) − zero point) / 32`.

use rayon::prelude::*;

use super::{Activation, MAX_BYTE, Precision, STEPS_PER_UNIT, vectorised};

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
    /// Σ mean, Σ variance, and number of batches since the statistics were reset.
    gathered: (Vec<f64>, Vec<f64>, u32),
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

    /// Takes mean and variance of each channel from this batch.
    pub fn measure(&mut self, channel_len: usize, sums: &[f32]) {
        if self.output == Output::Logits {
            return;
        }
        sums.par_chunks(channel_len)
            .zip(self.mean.par_iter_mut())
            .zip(self.variance.par_iter_mut())
            .for_each(|((sums, mean), variance)| {
                let (sum, squares) = moments(sums);
                let average = sum / channel_len as f64;
                *mean = average as f32;
                *variance = (squares / channel_len as f64 - average * average).max(0.0) as f32;
            });
    }

    /// Forgets the statistics gathered.
    pub fn reset_statistics(&mut self) {
        self.gathered.0.fill(0.0);
        self.gathered.1.fill(0.0);
        self.gathered.2 = 0;
    }

    /// Counts the present batch's statistics in.
    pub fn gather_statistics(&mut self) {
        let (means, variances, count) = &mut self.gathered;
        means.iter_mut().zip(&self.mean).for_each(|(sum, &mean)| *sum += f64::from(mean));
        variances.iter_mut().zip(&self.variance).for_each(|(sum, &v)| *sum += f64::from(v));
        *count += 1;
    }

    /// Puts the mean of the gathered statistics in force.
    pub fn adopt_statistics(&mut self) {
        let (means, variances, count) = &self.gathered;
        let count = f64::from((*count).max(1));
        self.mean.iter_mut().zip(means).for_each(|(mean, &sum)| *mean = (sum / count) as f32);
        self.variance.iter_mut().zip(variances).for_each(|(v, &sum)| *v = (sum / count) as f32);
    }

    /// Sums to outputs; `unit` is what a weight of 1 is worth in each channel.
    pub fn forward(
        &self,
        precision: Precision,
        unit: &[f32],
        channel_len: usize,
        sums: &[f32],
        output: &mut [f32],
    ) {
        output.par_chunks_mut(channel_len).zip(sums.par_chunks(channel_len)).enumerate().for_each(
            |(channel, (output, sums))| {
                let affine = self.affine(channel, unit[channel]);
                vectorised(|| match (self.output, precision) {
                    (Output::Activations(activation), Precision::Quantised) => {
                        Grid::new(affine, activation).apply(sums, output);
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
                });
            },
        );
    }

    /// Turns the sums into their gradient, in place, from the gradient of the outputs; also leaves
    /// the gradients of γ and β. Rounding is passed straight through, clamping stops gradients.
    pub fn backward(
        &mut self,
        precision: Precision,
        unit: &[f32],
        channel_len: usize,
        sums: &mut [f32],
        output_gradient: &[f32],
    ) {
        let mut gamma_gradient = std::mem::take(&mut self.gamma_gradient);
        let mut beta_gradient = std::mem::take(&mut self.beta_gradient);
        let this = &*self;
        sums.par_chunks_mut(channel_len)
            .zip(output_gradient.par_chunks(channel_len))
            .zip(gamma_gradient.par_iter_mut().zip(&mut beta_gradient))
            .enumerate()
            .for_each(|(channel, ((sums, gradient), (gamma_gradient, beta_gradient)))| {
                (*gamma_gradient, *beta_gradient) = vectorised(|| {
                    this.backward_channel(precision, channel, unit[channel], sums, gradient)
                });
            });
        self.gamma_gradient = gamma_gradient;
        self.beta_gradient = beta_gradient;
    }

    /// Returns the gradients of γ and β.
    #[inline(always)]
    fn backward_channel(
        &self,
        precision: Precision,
        channel: usize,
        unit: f32,
        sums: &mut [f32],
        gradient: &[f32],
    ) -> (f32, f32) {
        let affine = self.affine(channel, unit);
        let Output::Activations(activation) = self.output else {
            let products = block_sums(sums, gradient, |z, g| [g, g * z]);
            sums.iter_mut().zip(gradient).for_each(|(z, g)| *z = affine.factor * g);
            return ((products[1] * f64::from(unit)) as f32, products[0] as f32);
        };
        let (low, high) = match (precision, activation) {
            (Precision::Quantised, Activation::Relu) => (0.0, MAX_BYTE / STEPS_PER_UNIT),
            (Precision::Quantised, Activation::Linear) => {
                (-64.0 / STEPS_PER_UNIT, 63.0 / STEPS_PER_UNIT)
            }
            (Precision::Exact, Activation::Relu) => (0.0, f32::INFINITY),
            (Precision::Exact, Activation::Linear) => (f32::NEG_INFINITY, f32::INFINITY),
        };
        let mean = self.mean[channel];
        let inverse = self.inverse_deviation(channel, unit);
        let passes = |z: f32, g: f32| {
            let v = affine.factor * z + affine.offset;
            if v > low && v < high { g } else { 0.0 }
        };
        // β's gradient is Σ g, γ's is Σ g·x̂ with x̂ = (z − mean)·inverse.
        let [beta_gradient, centred] = block_sums(sums, gradient, |z, g| {
            let g = passes(z, g);
            [g, g * (z - mean)]
        });
        let gamma_gradient = centred * f64::from(inverse);
        let count = gradient.len() as f64;
        let mean_gradient = (beta_gradient / count) as f32;
        // x̂·mean(g·x̂) as a multiple of (z − mean).
        let slope = (gamma_gradient / count) as f32 * inverse;
        for (z, &g) in sums.iter_mut().zip(gradient) {
            let passed = passes(*z, g);
            *z = affine.factor * (passed - mean_gradient - (*z - mean) * slope);
        }
        (gamma_gradient as f32, beta_gradient as f32)
    }
}

/// The affine map and the rounding of one channel, in steps of the grid.
#[derive(Clone, Copy)]
struct Grid {
    factor: f32,
    offset: f32,
    zero: f32,
}

impl Grid {
    fn new(affine: Affine, activation: Activation) -> Self {
        let zero = f32::from(activation.zero_point());
        Self {
            factor: affine.factor * STEPS_PER_UNIT,
            offset: affine.offset * STEPS_PER_UNIT + 0.5 + zero,
            zero,
        }
    }

    #[inline(always)]
    fn apply(self, sums: &[f32], output: &mut [f32]) {
        for (y, &z) in output.iter_mut().zip(sums) {
            // Not NaN, not negative: cutting off the fraction rounds down.
            let byte = (self.factor * z + self.offset).max(0.0).min(MAX_BYTE);
            // SAFETY: 0 ≤ byte ≤ 127 (`max` gives 0 for NaN).
            let byte: i32 = unsafe { byte.to_int_unchecked() };
            *y = (byte as f32 - self.zero) * (1.0 / STEPS_PER_UNIT);
        }
    }
}

/// Independent partial sums, which is what a vector register holds.
const LANES: usize = 16;
/// Numbers summed in single precision before the sum goes on in double.
const SUM_BLOCK: usize = 1024;

/// Sum and sum of squares.
fn moments(values: &[f32]) -> (f64, f64) {
    vectorised(|| {
        let [sum, squares] = block_sums(values, values, |v, _| [v, v * v]);
        (sum, squares)
    })
}

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
    use super::*;
    use crate::nn::check::{dot, random};

    /// γ, β and sums moved by `step` along a direction; returns Σ r·y.
    fn loss(epilogue: &Epilogue, unit: &[f32], sums: &[f32], r: &[f32], len: usize) -> f64 {
        let mut epilogue = epilogue.clone();
        let mut output = vec![0.0; sums.len()];
        epilogue.measure(len, sums);
        epilogue.forward(Precision::Exact, unit, len, sums, &mut output);
        dot(r, &output)
    }

    fn moved(values: &[f32], direction: &[f32], step: f32) -> Vec<f32> {
        values.iter().zip(direction).map(|(v, d)| v + step * d).collect()
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
            worked.measure(len, &sums);
            worked.backward(Precision::Exact, &unit, len, &mut gradient, &r);
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

    #[test]
    fn sums_do_not_depend_on_a_remainder() {
        let values: Vec<f32> = (0..2500).map(|v| (v % 7) as f32).collect();
        let (sum, squares) = moments(&values);
        let exact = values.iter().map(|&v| f64::from(v)).sum::<f64>();
        assert_eq!(sum, exact);
        assert_eq!(squares, values.iter().map(|&v| f64::from(v * v)).sum::<f64>());
    }
}
