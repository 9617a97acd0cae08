//! Every input to every output.

use super::{Range, Source, Tensor, TensorId, Weights};

/// `y[o] = epilogue(Σ w[o][i]·x[i])`, `i` over the input in its order `(channel, y, x)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dense {
    /// A tensor without halo.
    pub input: TensorId,
    /// A vector.
    pub output: TensorId,
    /// Where the weights come from.
    pub source: Source,
    /// Activations or logits.
    pub range: Range,
}

impl Dense {
    pub(crate) fn weights(&self, input: &Tensor, output: &Tensor) -> Weights {
        Weights {
            rows: u32::from(output.channels),
            inputs: input.elements().unwrap_or(0),
            source: self.source,
        }
    }
}
