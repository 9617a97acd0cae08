//! The sums. [`Reference`] is the plain truth; every other kernel set equals it bit for bit.

mod layout;
mod reference;
mod words;

pub use layout::{MAX_STORAGE, Planes, storage};
pub use reference::Reference;
pub use words::Words;

use crate::epilogue::Epilogue;
use crate::layer::{Pool, Window};
use crate::mask::LayerWeights;

/// Where a dense layer writes.
pub enum Target<'a> {
    /// Activations clamped to `low..=127`.
    Activations {
        /// Smallest output.
        low: u8,
        /// A byte an output.
        bytes: &'a mut [u8],
    },
    /// Logits in Q16.
    Logits(&'a mut [i32]),
}

/// A map that is read: its layout and the bytes that begin with its halo.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Shape, halo and zero point.
    pub planes: Planes,
    /// [`Planes::len`] bytes, halo filled.
    pub bytes: &'a [u8],
}

/// A map that is written. The halo is filled by the caller.
pub struct Sink<'a> {
    /// Shape, halo and zero point.
    pub planes: Planes,
    /// [`Planes::len`] bytes.
    pub bytes: &'a mut [u8],
}

/// One implementation of every layer's sums. Chosen by type, so that a program links one set.
///
/// Shapes, masks and activations were checked before ([`LayerWeights::check`], bytes 0..=127), and
/// `scratch` holds at least [`crate::layer::Layer::scratch`] bytes; what is too short gives wrong
/// sums, never a panic.
pub trait Kernels {
    /// `target[o] = epilogue(Σ w[o][i]·x[i])`.
    fn dense(
        weights: &LayerWeights,
        epilogue: &Epilogue,
        x: &[u8],
        target: Target,
        scratch: &mut [u32],
    );

    /// See [`crate::layer::Conv2d`].
    fn conv2d(
        weights: &LayerWeights,
        epilogue: &Epilogue,
        low: u8,
        window: &Window,
        x: Source,
        y: Sink,
        scratch: &mut [u32],
    );

    /// See [`crate::layer::Depthwise`].
    fn depthwise(
        weights: &LayerWeights,
        epilogue: &Epilogue,
        low: u8,
        window: &Window,
        x: Source,
        y: Sink,
        scratch: &mut [u32],
    );

    /// See [`crate::layer::Pool`].
    fn pool(pool: &Pool, x: Source, y: Sink);
}
