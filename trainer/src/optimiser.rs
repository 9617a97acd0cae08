//! Steps of gradient descent.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::vectorised::vectorised;

/// Numbers that one thread handles at a time.
const BLOCK: usize = 1 << 14;

/// A rule of descent with its constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Optimiser {
    /// v ← momentum·v + g + decay·p; p ← p − rate·v.
    Sgd {
        /// Momentum.
        momentum: f32,
        /// Weight decay.
        weight_decay: f32,
    },
    /// Adam (Kingma 2015), with β₁ = 0.9, β₂ = 0.999, ε = 10⁻⁸; the decay is added to the gradient.
    Adam {
        /// Weight decay.
        weight_decay: f32,
    },
}

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const ADAM_EPSILON: f32 = 1e-8;
/// Smaller numbers become 0: arithmetic on subnormal ones is many times slower.
const SMALLEST: f32 = 1e-30;

#[inline(always)]
fn flushed(value: f32) -> f32 {
    if value.abs() < SMALLEST { 0.0 } else { value }
}

/// What an optimiser remembers of one group of parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Running mean of gradients (or velocity).
    pub first: Vec<f32>,
    /// Running mean of squared gradients (Adam).
    pub second: Vec<f32>,
}

impl Memory {
    /// Zeros for `count` parameters.
    pub fn new(optimiser: Optimiser, count: usize) -> Self {
        let second = match optimiser {
            Optimiser::Adam { .. } => vec![0.0; count],
            Optimiser::Sgd { .. } => Vec::new(),
        };
        Self { first: vec![0.0; count], second }
    }
}

impl Optimiser {
    /// One step; `step` counts from 1.
    pub fn update(
        self,
        step: u64,
        rate: f32,
        parameters: &mut [f32],
        gradient: &[f32],
        memory: &mut Memory,
    ) {
        match self {
            Optimiser::Sgd { momentum, weight_decay } => {
                let first = memory.first.par_chunks_mut(BLOCK);
                parameters
                    .par_chunks_mut(BLOCK)
                    .zip(gradient.par_chunks(BLOCK))
                    .zip(first)
                    .for_each(|((parameters, gradient), velocity)| {
                        sgd([rate, momentum, weight_decay], parameters, gradient, velocity);
                    });
            }
            Optimiser::Adam { weight_decay } => {
                let step = step.min(i32::MAX as u64) as i32;
                let correction_1 = 1.0 - f64::from(BETA_1).powi(step);
                let correction_2 = (1.0 - f64::from(BETA_2).powi(step)).sqrt();
                let rate = (f64::from(rate) / correction_1) as f32;
                let scale = (1.0 / correction_2) as f32;
                let first = memory.first.par_chunks_mut(BLOCK);
                let second = memory.second.par_chunks_mut(BLOCK);
                parameters
                    .par_chunks_mut(BLOCK)
                    .zip(gradient.par_chunks(BLOCK))
                    .zip(first.zip(second))
                    .for_each(|((parameters, gradient), (first, second))| {
                        adam([rate, scale, weight_decay], parameters, gradient, first, second);
                    });
            }
        }
    }
}

vectorised! {
    /// Rate, momentum and decay; parameters; gradient; velocity.
    fn sgd(constants: [f32; 3], parameters: &mut [f32], gradient: &[f32], velocity: &mut [f32]) {
        let [rate, momentum, weight_decay] = constants;
        for ((p, g), v) in parameters.iter_mut().zip(gradient).zip(velocity) {
            *v = flushed(momentum * *v + g + weight_decay * *p);
            *p -= rate * *v;
        }
    }

    /// Rate, scale of the deviation and decay; parameters; gradient; both means.
    fn adam(
        constants: [f32; 3],
        parameters: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let [rate, scale, weight_decay] = constants;
        let means = first.iter_mut().zip(second);
        for ((p, g), (m, v)) in parameters.iter_mut().zip(gradient).zip(means) {
            let g = g + weight_decay * *p;
            *m = flushed(BETA_1 * *m + (1.0 - BETA_1) * g);
            *v = flushed(BETA_2 * *v + (1.0 - BETA_2) * g * g);
            *p -= rate * *m / (v.sqrt() * scale + ADAM_EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minimises (p − 3)².
    fn minimise(optimiser: Optimiser, rate: f32, steps: u64) -> f32 {
        let (mut p, mut memory) = ([0.0], Memory::new(optimiser, 1));
        for step in 1..=steps {
            let gradient = [2.0 * (p[0] - 3.0)];
            optimiser.update(step, rate, &mut p, &gradient, &mut memory);
        }
        p[0]
    }

    #[test]
    fn both_find_a_minimum() {
        let sgd = Optimiser::Sgd { momentum: 0.9, weight_decay: 0.0 };
        assert!((minimise(sgd, 0.02, 400) - 3.0).abs() < 1e-3);
        assert!((minimise(Optimiser::Adam { weight_decay: 0.0 }, 0.05, 1000) - 3.0).abs() < 1e-2);
    }

    #[test]
    fn the_first_step_of_adam_is_the_rate() {
        let p = minimise(Optimiser::Adam { weight_decay: 0.0 }, 0.1, 1);
        assert!((p - 0.1).abs() < 1e-6);
    }

    #[test]
    fn decay_pulls_to_zero() {
        let sgd = Optimiser::Sgd { momentum: 0.0, weight_decay: 0.5 };
        let (mut p, mut memory) = ([2.0], Memory::new(sgd, 1));
        sgd.update(1, 0.1, &mut p, &[0.0], &mut memory);
        assert!((p[0] - 1.9).abs() < 1e-6);
    }
}
