//! Edge-popup (Ramanujan 2020, "What's hidden in a randomly weighted neural network?"): weights are
//! frozen; each has a trained score, and those of the highest scores of the layer are kept. The
//! gradient of a score is what the weight would have got (straight-through, to all edges).

use crate::nn::layer::Layer;
use crate::random::{Purpose, Stream};

use super::top_k::{self, Ranking};

/// Scores over frozen weights.
#[derive(Debug, Clone)]
pub struct EdgePopup {
    /// The stored weights, row-major: ±1, or ±{1, 2, 4}.
    pub weights: Vec<f32>,
    /// The mean square of the weights' distribution.
    pub mean_square: f32,
    /// The trained scores.
    pub scores: Vec<f32>,
    /// Which scores are kept.
    pub ranking: Ranking,
}

impl EdgePopup {
    /// Scores drawn from U(±1/√fan_in) for layer number `layer` of the task `task`.
    pub fn new(
        weights: Vec<f32>,
        mean_square: f32,
        ranking: Ranking,
        seed: u64,
        [task, layer]: [u64; 2],
        fan_in: usize,
    ) -> Self {
        let mut stream = Stream::new(seed, Purpose::Initial, (task << 32) | layer);
        let bound = 1.0 / (fan_in as f32).sqrt();
        let scores = weights.iter().map(|_| stream.symmetric(bound)).collect();
        Self { weights, mean_square, scores, ranking }
    }

    /// The kept weights; a weight of 1 is worth `√(2 / (density · fan_in · mean square))`, which
    /// keeps the variance of activations (He 2015) under the mask.
    pub fn materialise(&self, density: f32, layer: &mut Layer) {
        let fan_in = layer.shape.fan_in as f32;
        layer.unit.fill((2.0 / (density * fan_in * self.mean_square)).sqrt());
        let k = top_k::kept(density, self.scores.len());
        let matrix = &mut layer.matrix;
        top_k::select(self.ranking, &self.scores, k, |index, kept| {
            matrix[index] = if kept { self.weights[index] } else { 0.0 };
        });
    }

    /// dW to ds = dW · w, times the score's sign where magnitudes are ranked.
    pub fn gradient(&self, gradient: &mut [f32]) {
        let weights = &self.weights;
        match self.ranking {
            Ranking::Value => {
                gradient.iter_mut().zip(weights).for_each(|(gradient, weight)| *gradient *= weight);
            }
            Ranking::Magnitude => {
                for ((gradient, weight), score) in
                    gradient.iter_mut().zip(weights).zip(&self.scores)
                {
                    *gradient *= weight.copysign(weight * score);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(it: &EdgePopup, k: usize) -> Vec<usize> {
        let mut all = Vec::new();
        top_k::select(it.ranking, &it.scores, k, |index, kept| all.extend(kept.then_some(index)));
        all.sort_unstable();
        all
    }

    #[test]
    fn the_gradient_reaches_every_edge() {
        let mut it =
            EdgePopup::new(vec![1.0, -1.0, 2.0, -4.0], 1.0, Ranking::Magnitude, 1, [0, 0], 4);
        it.scores = vec![0.5, 0.1, -0.2, -0.3];
        let mut gradient = vec![1.0, 1.0, 1.0, 1.0];
        it.gradient(&mut gradient);
        assert_eq!(gradient, [1.0, -1.0, -2.0, 4.0]);
        assert_eq!(kept(&it, 2), [0, 3]);
        it.ranking = Ranking::Value;
        let mut gradient = vec![1.0, 1.0, 1.0, 1.0];
        it.gradient(&mut gradient);
        assert_eq!(gradient, [1.0, -1.0, 2.0, -4.0]);
        assert_eq!(kept(&it, 2), [0, 1]);
    }

    #[test]
    fn scores_start_within_their_bound_and_differ_by_layer_and_task() {
        let scores = |task, layer| {
            EdgePopup::new(vec![1.0; 100], 1.0, Ranking::Value, 1, [task, layer], 25).scores
        };
        assert!(scores(0, 0).iter().all(|score| score.abs() <= 0.2));
        assert_ne!(scores(0, 0), scores(0, 1));
        assert_ne!(scores(0, 0), scores(1, 0));
    }
}
