//! The layers in floating point, each with an explicit forward and backward pass, named as in the
//! runtime.
//!
//! A tensor is `[channel][image][row · width + column]`, so that a convolution or dense layer of a
//! group of images is one matrix product and a channel is one contiguous row. Activations are real
//! numbers on the device's grid: integers over 32, -64..=63 or (after ReLU) 0..=127. Weights are
//! the integers that the device has; what one of them is worth is part of the epilogue. So the
//! sums of every layer but the first (whose inputs are bytes over 127) are exact.
//!
//! Work is cut at boundaries that depend on shapes alone and partial sums are added in order:
//! results are the same bits at any number of threads.

pub mod add;
pub mod architecture;
#[cfg(test)]
mod check;
pub mod conv2d;
pub mod dense;
pub mod depthwise;
pub mod epilogue;
pub mod loss;
pub mod matrix;
pub mod network;
pub mod pool;

pub use architecture::{Architecture, ArchitectureError, Kind, Node, Weighted};
pub use network::{Mode, Network};

/// Steps of the activation grid in 1.0.
pub const STEPS_PER_UNIT: f32 = 32.0;
/// The largest device byte of an activation.
pub const MAX_BYTE: f32 = 127.0;
/// The real value of one step of the network's input: a device byte 127 is 1.0.
pub const INPUT_STEP: f32 = 1.0 / MAX_BYTE;

/// Channels, rows and columns of a tensor; a vector is `n` × 1 × 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Channels, or length of a vector.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// A map.
    pub const fn map(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// A vector.
    pub const fn vector(length: usize) -> Self {
        Self::map(length, 1, 1)
    }

    /// Pixels of one channel.
    pub const fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Elements of one image.
    pub const fn len(&self) -> usize {
        self.channels * self.pixels()
    }

    /// Whether a dimension is 0.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{}×{}", self.channels, self.height, self.width)
    }
}

/// What follows the affine part of an epilogue, or the sum of a residual add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// max(x, 0); zero point 0.
    #[default]
    Relu,
    /// x; zero point 64.
    Linear,
}

impl Activation {
    /// The byte that stands for 0.
    pub const fn zero_point(self) -> u8 {
        match self {
            Activation::Relu => 0,
            Activation::Linear => 64,
        }
    }
}

/// Whether activations are put on the device's grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// As on the device.
    Quantised,
    /// Neither rounded nor clamped (but by ReLU): for gradient checks.
    Exact,
}

/// Runs `work` compiled for the widest vectors that this processor has. The operations and their
/// order stay those written down, so the results do too.
pub(crate) fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
