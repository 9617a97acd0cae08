//! Two-dimensional convolution, one group.

use crate::mask::MAX_INPUTS;
use crate::random::WORD;

use super::{Range, Source, Tensor, TensorId, Weights, Window};

/// `y[o][r][c] = epilogue(Σ w[o][i][ky][kx] · x[i][r·stride + ky − top][c·stride + kx − left])`;
/// taps outside the map read the input's zero point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conv2d {
    /// A map whose halo covers the padding.
    pub input: TensorId,
    /// A map.
    pub output: TensorId,
    /// Kernel, stride and padding.
    pub window: Window,
    /// Where the weights come from.
    pub source: Source,
    /// Activations; a convolution never makes logits.
    pub range: Range,
}

impl Conv2d {
    pub(crate) fn weights(&self, input: &Tensor, output: &Tensor) -> Weights {
        Weights {
            rows: u32::from(output.channels),
            inputs: u32::from(input.channels).saturating_mul(self.window.area()),
            source: self.source,
        }
    }

    pub(crate) fn scratch(&self, input: &Tensor, output: &Tensor) -> u32 {
        lists(self.weights(input, output).inputs)
    }
}

/// Scratch bytes for the kept weights of a pair of rows as lists of offsets: a word for every input
/// and some to sort them, mask and sign words of both rows, and a table of the offset of
/// every input in half a word each.
pub(super) fn lists(inputs: u32) -> u32 {
    // A layer with more is refused.
    let inputs = inputs.min(MAX_INPUTS);
    4 * (inputs + LIST_ENDS) + inputs.div_ceil(WORD as u32) * (4 * 4 + 64)
}

/// Words beside the offsets themselves: lists are sorted there.
const LIST_ENDS: u32 = 160;
