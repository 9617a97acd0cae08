//! One window a channel.

use crate::kernel::{Planes, SPLIT, storage};

use super::{Range, Source, Tensor, TensorId, Weights, Window};

/// `y[c] = epilogue(window of x[c])`: a convolution with as many groups as channels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Depthwise {
    /// A plain map; its padding is made in scratch, plane by plane.
    pub input: TensorId,
    /// A plain map with as many channels. It may take the place of the input if its planes are not
    /// larger.
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

    /// The layout of the copy of one channel, with the padding around it: split where windows step by
    /// two columns.
    pub fn copy(&self, input: &Planes) -> Planes {
        let split = self.window.stride[1] == 2;
        Planes {
            channels: 1,
            pad: self.window.halo().into(),
            bands: 1,
            split,
            filling: 0,
            ..*input
        }
    }

    /// Bytes of that copy.
    pub fn copy_bytes(&self, input: &Tensor) -> u32 {
        let channel = Tensor { channels: 1, ..*input };
        let bands = if self.window.stride[1] == 2 { SPLIT } else { 1 };
        storage(&channel, self.window.halo(), bands).unwrap_or(u32::MAX)
    }

    /// The copy of one channel, then what a convolution of one channel needs.
    pub(crate) fn scratch(&self, input: &Tensor) -> u32 {
        self.copy_bytes(input).saturating_add(super::conv2d::lists(self.window.area()))
    }
}
