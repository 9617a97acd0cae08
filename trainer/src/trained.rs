//! What training gives: everything that an artifact is made of.

use serde::{Deserialize, Serialize};

use crate::data::Images;
use crate::method::seeded::{self, Source};
use crate::nn::epilogue::{Affine, Epilogue};
use crate::nn::layer::Layer;
use crate::nn::loss::{self, Outcome};
use crate::nn::{Mode, Network, Precision};
use crate::recipe::Recipe;

/// Which weights of a layer a task keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mask {
    /// All.
    Full,
    /// Those marked, row-major.
    Kept(Vec<bool>),
    /// Those that the seed gives at this density in parts of 256.
    Seeded(u8),
    /// Those of the task of this name.
    SameAs(String),
}

/// What a task learned about one weighted layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainedLayer {
    /// The weights that it keeps.
    pub mask: Mask,
    /// Trained weights, row-major; empty where the seed gives them.
    pub weights: Vec<i8>,
    /// What a stored weight of 1 is worth, per row.
    pub unit: Vec<f32>,
    /// γ per row.
    pub gamma: Vec<f32>,
    /// β per row.
    pub beta: Vec<f32>,
    /// Mean of the sums, per row.
    pub mean: Vec<f32>,
    /// Variance of the sums, per row.
    pub variance: Vec<f32>,
}

/// What was learned for one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainedTask {
    /// Its name.
    pub name: String,
    /// Names of its classes, in the order of the outputs.
    pub classes: Vec<String>,
    /// Epochs that led to it.
    pub epochs: usize,
    /// The weighted layers, in order.
    pub layers: Vec<TrainedLayer>,
}

/// A backbone and its tasks.
#[derive(Debug, Clone)]
pub struct Trained {
    /// What was asked for: the graph, the seed, the source of the weights.
    pub recipe: Recipe,
    /// What was learned, in the order of the recipe.
    pub tasks: Vec<TrainedTask>,
}

impl Trained {
    /// The stored weights of weighted layer `layer` before any mask, row-major: what the device
    /// regenerates from the seed, or reads. Panics where there is no such layer.
    pub fn weights(&self, layer: usize) -> Vec<i8> {
        if self.recipe.source == Source::Trained {
            return self
                .tasks
                .first()
                .map_or(Vec::new(), |task| task.layers[layer].weights.clone());
        }
        let place = seeded::places(&self.recipe.architecture)[layer];
        let weights = seeded::weights(self.recipe.seed, self.recipe.source, place);
        weights.into_iter().map(|weight| weight as i8).collect()
    }

    /// Which weights of layer `layer` the task keeps, row-major, whatever form its mask has.
    /// Panics where there is no such task or layer.
    pub fn mask(&self, task: usize, layer: usize) -> Vec<bool> {
        resolve(&self.recipe, &self.tasks, &self.tasks[task].layers[layer].mask, layer)
    }

    /// The affine map of each output channel of layer `layer`: from the sum of kept weights times
    /// input values to the value before rounding (or the logit). An input value is (byte − zero
    /// point) / 32, or byte / 127 for the network's input.
    pub fn affine(&self, task: usize, layer: usize) -> Vec<Affine> {
        let output = self.recipe.architecture.weighted().nth(layer).map(|(_, w)| w.output);
        let trained = &self.tasks[task].layers[layer];
        let Some(output) = output else { return Vec::new() };
        let mut epilogue = Epilogue::new(output, trained.gamma.len());
        trained.write_epilogue(&mut epilogue);
        (0..trained.gamma.len()).map(|row| epilogue.affine(row, trained.unit[row])).collect()
    }

    /// The network of one task in floating point, for batches of up to `capacity` images: the twin
    /// of what the device computes. Panics where there is no such task.
    pub fn network(&self, task: usize, capacity: usize) -> Network {
        let architecture = self.recipe.architecture.clone();
        let mut network = Network::new(architecture, capacity, Precision::Quantised);
        for (index, layer) in network.layers.iter_mut().enumerate() {
            let trained = &self.tasks[task].layers[index];
            let (weights, mask) = (self.weights(index), self.mask(task, index));
            for ((value, weight), kept) in layer.matrix.iter_mut().zip(weights).zip(mask) {
                *value = if kept { f32::from(weight) } else { 0.0 };
            }
            layer.unit.copy_from_slice(&trained.unit);
            trained.write_epilogue(&mut layer.epilogue);
        }
        network
    }
}

impl TrainedLayer {
    /// What `layer` has learned beside its mask and stored weights.
    pub fn new(mask: Mask, weights: Vec<i8>, layer: &Layer) -> Self {
        let Epilogue { gamma, beta, mean, variance, .. } = &layer.epilogue;
        Self {
            mask,
            weights,
            unit: layer.unit.clone(),
            gamma: gamma.clone(),
            beta: beta.clone(),
            mean: mean.clone(),
            variance: variance.clone(),
        }
    }

    /// Puts γ, β and the statistics in force.
    pub fn write_epilogue(&self, epilogue: &mut Epilogue) {
        epilogue.gamma.copy_from_slice(&self.gamma);
        epilogue.beta.copy_from_slice(&self.beta);
        epilogue.mean.copy_from_slice(&self.mean);
        epilogue.variance.copy_from_slice(&self.variance);
    }
}

/// A mask as one flag a weight; a task that `SameAs` names is looked for among `tasks`.
pub(crate) fn resolve(
    recipe: &Recipe,
    tasks: &[TrainedTask],
    mask: &Mask,
    layer: usize,
) -> Vec<bool> {
    let place = seeded::places(&recipe.architecture)[layer];
    match mask {
        Mask::Full => vec![true; place.rows * place.fan_in],
        Mask::Kept(kept) => kept.clone(),
        Mask::Seeded(q) => seeded::mask(recipe.seed, *q, place),
        Mask::SameAs(name) => match tasks.iter().find(|task| task.name == *name) {
            Some(task) => resolve(recipe, tasks, &task.layers[layer].mask, layer),
            None => vec![true; place.rows * place.fan_in],
        },
    }
}

/// Loss and accuracy of `network` on `images`, with the statistics in force.
pub fn evaluate(network: &mut Network, images: &Images) -> Outcome {
    let mut outcome = Outcome::default();
    let classes = images.classes.len();
    for first in (0..images.len()).step_by(network.capacity()) {
        let last = images.len().min(first + network.capacity());
        network.load((first..last).map(|index| images.image(index)));
        let logits = network.forward(Mode::Evaluate);
        outcome += loss::cross_entropy(logits, &images.labels[first..last], classes, 0.0, None);
    }
    outcome
}
