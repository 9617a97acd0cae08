//! The layers in floating point, each with an explicit forward and backward pass, named as in the
//! runtime.
//!
//! A tensor is `[block][channel][pixel][lane]`: images go in blocks of [`LANES`], and the same pixel
//! of a block's images lies side by side, which is what vector registers want. A block of images is
//! also what one thread works on.
//!
//! Activations are real numbers on the device's grid: integers over 32, -64..=63 or (after ReLU)
//! 0..=127. Weights are the integers that the device has; what one of them is worth is part of the
//! epilogue.
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
pub mod layer;
pub mod loss;
pub mod matrix;
pub mod network;
pub mod pool;
mod sparse;
pub mod spec;
mod winograd;

pub use architecture::{Architecture, ArchitectureError, Kind, Node, Weighted};
pub use network::{Mode, Network};

/// Images of a block.
pub const LANES: usize = 16;
/// Steps of the activation grid in 1.0.
pub const STEPS_PER_UNIT: f32 = 32.0;
/// The largest device byte of an activation.
pub const MAX_BYTE: f32 = 127.0;
/// The real value of one step of the network's input: a device byte 127 is 1.0.
pub const INPUT_STEP: f32 = 1.0 / MAX_BYTE;

/// How the images of a batch are cut into blocks: depends on their number alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Images in all.
    pub images: usize,
    /// Images of a block: the largest divisor of `images` up to [`LANES`].
    pub lanes: usize,
}

impl Batch {
    /// A batch of at least one image.
    pub fn new(images: usize) -> Self {
        let lanes =
            (1..=LANES.min(images)).rev().find(|lanes| images.is_multiple_of(*lanes)).unwrap_or(1);
        Self { images, lanes }
    }

    /// `[block][row][lane]` to `[row][image]`.
    pub fn gather(self, blocks: &[f32], rows: &mut [f32]) {
        let count = rows.len() / self.images;
        for (block, from) in blocks.chunks_exact(count * self.lanes).enumerate() {
            for (row, from) in from.chunks_exact(self.lanes).enumerate() {
                let start = row * self.images + block * self.lanes;
                rows[start..start + self.lanes].copy_from_slice(from);
            }
        }
    }

    /// `[row][image]` to `[block][row][lane]`.
    pub fn scatter(self, rows: &[f32], blocks: &mut [f32]) {
        let count = rows.len() / self.images;
        for (block, to) in blocks.chunks_exact_mut(count * self.lanes).enumerate() {
            for (row, to) in to.chunks_exact_mut(self.lanes).enumerate() {
                let start = row * self.images + block * self.lanes;
                to.copy_from_slice(&rows[start..start + self.lanes]);
            }
        }
    }
}

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
