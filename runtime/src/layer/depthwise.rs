//! One window a channel.

use serde::{Deserialize, Serialize};

use super::{Element, Range, Source, Tensor, TensorId, Weights, Window};

/// `y[c] = epilogue(window of x[c])`: a convolution with as many groups as channels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Depthwise {
    /// A map whose halo covers the padding.
    pub input: TensorId,
    /// A map with as many channels.
    pub output: TensorId,
    /// Kernel, stride and padding.
    pub window: Window,
    /// Where the weights come from.
    pub source: Source,
    /// Activations; a convolution never makes logits.
    pub range: Range,
}

impl Depthwise {
    pub(crate) fn weights(&self, output: &Tensor) -> Weights {
        Weights {
            rows: u32::from(output.channels),
            inputs: self.window.area(),
            source: self.source,
        }
    }

    /// An offset of 4 bytes for every tap.
    pub(crate) fn scratch(&self) -> u64 {
        4 * u64::from(self.window.area())
    }

    pub(crate) fn fits(&self, input: &Tensor, output: &Tensor) -> bool {
        input.element == Element::Activation
            && input.channels == output.channels
            && self.window.output(input.height, input.width) == Some((output.height, output.width))
            && output.element == Element::Activation
            && super::range_fits(self.range, output)
    }
}
