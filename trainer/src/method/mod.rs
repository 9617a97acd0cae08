//! How the weights of a layer come about: frozen under a trained mask, trained, or frozen whole.

pub mod affine;
pub mod anneal;
pub mod dense;
pub mod edge_popup;
pub mod seeded;
pub mod top_k;

use serde::{Deserialize, Serialize};

pub use affine::Frozen;
pub use dense::Dense;
pub use edge_popup::EdgePopup;

use crate::nn::layer::Layer;

/// A training method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Frozen seeded weights, trained mask, scales and shifts (Ramanujan 2020).
    EdgePopup,
    /// Trained eight-bit weights: the baseline.
    Dense,
    /// Frozen seeded weights under a frozen mask; trained scales and shifts (Frankle 2020).
    Affine,
}

/// The parameters of one weighted layer.
#[derive(Debug, Clone)]
pub enum Parameters {
    /// A mask by scores.
    EdgePopup(EdgePopup),
    /// Trained weights.
    Dense(Dense),
    /// Nothing to train.
    Frozen(Frozen),
}

impl Parameters {
    /// Writes the weights in force into `layer`: the stored integers under the mask, and what one
    /// of them is worth. `density` is the fraction of weights that a trained mask keeps now.
    pub fn materialise(&self, density: f32, layer: &mut Layer) {
        match self {
            Parameters::EdgePopup(it) => it.materialise(density, layer),
            Parameters::Dense(it) => it.materialise(layer),
            Parameters::Frozen(it) => it.materialise(layer),
        }
    }

    /// Turns the gradient of the matrix, in place, into that of what is trained.
    pub fn gradient(&self, layer: &mut Layer) {
        match self {
            Parameters::EdgePopup(it) => it.gradient(&mut layer.matrix_gradient),
            Parameters::Dense(it) => it.gradient(layer),
            Parameters::Frozen(_) => {}
        }
    }

    /// What is trained, if anything: scores or weights.
    pub fn trained(&self) -> Option<&[f32]> {
        match self {
            Parameters::EdgePopup(it) => Some(&it.scores),
            Parameters::Dense(it) => Some(&it.weights),
            Parameters::Frozen(_) => None,
        }
    }

    /// What is trained, to be changed.
    pub fn trained_mut(&mut self) -> Option<&mut Vec<f32>> {
        match self {
            Parameters::EdgePopup(it) => Some(&mut it.scores),
            Parameters::Dense(it) => Some(&mut it.weights),
            Parameters::Frozen(_) => None,
        }
    }
}
