//! Trained weights, eight bits each: the baseline. Every output channel has its own scale, and
//! training sees the rounded weights (straight-through), so that storing them loses nothing.

use crate::nn::layer::Layer;
use crate::random::{Purpose, Stream};
use crate::vectorised::vectorised;

/// The largest stored weight.
const LARGEST: f32 = 127.0;
/// Added and taken away, it rounds numbers below 2²² to integers (ties to even).
const ROUNDING: f32 = (3u32 << 22) as f32;

/// Trained weights of one layer.
#[derive(Debug, Clone)]
pub struct Dense {
    /// The real weights, row-major.
    pub weights: Vec<f32>,
}

impl Dense {
    /// Normally distributed weights of variance 2/fan_in (He 2015).
    pub fn new(count: usize, seed: u64, layer: u64, fan_in: usize) -> Self {
        let mut stream = Stream::new(seed, Purpose::Initial, layer);
        let deviation = (2.0 / fan_in as f32).sqrt();
        Self { weights: (0..count).map(|_| stream.normal() * deviation).collect() }
    }

    /// The weights as integers -127..=127, and what 1 is worth in each row.
    pub fn materialise(&self, layer: &mut Layer) {
        let fan_in = layer.shape.fan_in;
        let rows = self.weights.chunks_exact(fan_in).zip(layer.matrix.chunks_exact_mut(fan_in));
        for ((weights, stored), unit) in rows.zip(&mut layer.unit) {
            let largest = weights.iter().fold(0f32, |largest, w| largest.max(w.abs()));
            *unit = if largest > 0.0 { largest / LARGEST } else { 1.0 };
            round_weights(1.0 / *unit, weights, stored);
        }
    }

    /// Gradient of the stored integers to that of the real weights.
    pub fn gradient(&self, layer: &mut Layer) {
        let rows = layer.matrix_gradient.chunks_exact_mut(layer.shape.fan_in);
        for (row, unit) in rows.zip(&layer.unit) {
            let per_weight = 1.0 / unit;
            row.iter_mut().for_each(|gradient| *gradient *= per_weight);
        }
    }
}

vectorised! {
    /// Weights in units, rounded.
    fn round_weights(per_weight: f32, weights: &[f32], stored: &mut [f32]) {
        for (stored, weight) in stored.iter_mut().zip(weights) {
            *stored = (weight * per_weight).clamp(-LARGEST, LARGEST) + ROUNDING - ROUNDING;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::spec::{Head, LayerSpec, SpecKind};
    use crate::nn::{Activation, Architecture, Network, Precision, Shape};

    #[test]
    fn stored_weights_are_integers_with_a_scale_per_row() {
        let kind = SpecKind::Dense { outputs: 3, activation: Activation::Relu };
        let layers = [LayerSpec { name: None, from: None, kind }];
        let architecture = Architecture::new(Shape::vector(4), &layers, Head::Logits).unwrap();
        let mut network = Network::new(architecture, 1, Precision::Quantised);
        let mut dense = Dense::new(12, 1, 0, 4);
        dense.weights[4..8].fill(0.0);
        let layer = &mut network.layers[0];
        dense.materialise(layer);
        for (row, weights) in dense.weights.chunks_exact(4).enumerate() {
            for (stored, weight) in layer.matrix[row * 4..][..4].iter().zip(weights) {
                assert_eq!(stored.fract(), 0.0);
                assert!((stored * layer.unit[row] - weight).abs() <= layer.unit[row] * 0.501);
            }
        }
        assert!(layer.matrix[..4].iter().any(|stored| stored.abs() == 127.0));
    }
}
