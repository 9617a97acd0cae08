//! The sums. [`Reference`] is the plain truth; every other kernel set equals it bit for bit.

mod copy;
mod general;
mod layout;
mod processor;
mod reference;
mod words;

pub use copy::Channelwise;
pub(crate) use copy::disjoint;
pub use general::General;
pub use layout::{BANDS, MAX_STORAGE, Planes, SPLIT, WHOLE, storage};
#[cfg(seedmask_dsp)]
pub use processor::Dsp;
#[cfg(seedmask_vectors)]
pub use processor::Vectors;
pub use reference::Reference;
pub use words::Words;

/// The fastest set for this target.
#[cfg(seedmask_vectors)]
pub type Native = Vectors;
/// The fastest set for this target.
#[cfg(seedmask_dsp)]
pub type Native = Dsp;
/// The fastest set for this target.
#[cfg(not(any(seedmask_vectors, seedmask_dsp)))]
pub type Native = Words;

use crate::epilogue::Epilogue;
use crate::layer::{Add, Pool, Window};
use crate::mask::{LayerWeights, Rows};

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

/// A map that is written, but for its halo, which the caller fills afterwards.
pub struct Sink<'a> {
    /// Shape, halo and zero point.
    pub planes: Planes,
    /// [`Planes::len`] bytes.
    pub bytes: &'a mut [u8],
}

/// A map in a block of memory that holds others too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// Shape, halo and zero point.
    pub planes: Planes,
    /// First byte of the halo.
    pub start: usize,
}

impl Placed {
    /// `count` channels from `first` on, as a map of their own.
    pub fn channels(self, first: usize, count: usize) -> Self {
        Self {
            planes: Planes { channels: count, ..self.planes },
            start: self.start + first * self.planes.plane(),
        }
    }

    /// Where row `row` of every band begins in the memory, without halo.
    pub fn row_start(&self, channel: usize, row: usize) -> usize {
        self.start + self.planes.row_start(channel, row)
    }
}

/// Some output channels of a convolution.
pub struct Convolution<'a, 'r> {
    /// Stands at the first channel's row; a kernel takes a row for each channel that it writes.
    pub(crate) rows: &'r mut Rows<'a>,
    /// Scale and shift of every channel of the layer.
    pub(crate) epilogue: &'r Epilogue<'a>,
    /// The first channel. Where it is not 0, the scratch is as the channels before left it: kernels rely
    /// on that, so that nothing outside of the runtime says so.
    pub(crate) first: usize,
    /// Smallest output.
    pub(crate) low: u8,
    /// Kernel, stride and padding.
    pub(crate) window: &'r Window,
}

impl<'a, 'r> Convolution<'a, 'r> {
    /// The channels of a layer from the first on: `rows` of all of them, scale and shift of each, the
    /// smallest output (at most 127), and kernel, stride and padding.
    pub fn new(
        rows: &'r mut Rows<'a>,
        epilogue: &'r Epilogue<'a>,
        low: u8,
        window: &'r Window,
    ) -> Self {
        Self { rows, epilogue, first: 0, low, window }
    }
}

/// One implementation of every layer's sums. Chosen by type, so that a program links one set.
///
/// Shapes and activations were checked before (bytes 0..=127), masks at least in their form, and
/// `scratch` holds at least [`crate::layer::Layer::scratch`] bytes; what is too short gives wrong
/// sums, never a panic.
pub trait Kernels: Sized {
    /// `target[o] = epilogue(Σ w[o][i]·x[i])`.
    fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], target: Target);

    /// As many channels as `y` has of a [`crate::layer::Conv2d`], or one of a
    /// [`crate::layer::Depthwise`], `x` being a copy of that channel. The halo of `x` covers the
    /// padding. `x` and `y` are both plain, or both banded, and then each band of `x` has as many rows
    /// for one of `y` as the window steps down; or `x` is split and `y` plain, and the window steps by two
    /// columns.
    fn conv2d(conv: &mut Convolution, x: Source, y: Sink, scratch: &mut [u32]);

    /// See [`crate::layer::Depthwise`]. `None` at most where the maps do not lie in `memory` or share bytes
    /// of the scratch.
    fn depthwise(conv: &mut Convolution, memory: &mut [u8], maps: &Channelwise) -> Option<()> {
        channel_by_channel::<Self>(conv, memory, maps)
    }

    /// See [`crate::layer::Pool`]. `y` may begin where `x` does, if [`crate::plan`] allows it: a
    /// kernel goes through the outputs in the order of their addresses, and none lies behind an
    /// input that is still to be read. `x` and `y` have the same bands as in a convolution, but for
    /// windows as large as the map.
    fn pool(pool: &Pool, memory: &mut [u8], x: &Placed, y: &Placed);

    /// See [`crate::layer::Add`]. All three have the same bands; `y` may lie where one of the others
    /// does.
    fn add(add: &Add, memory: &mut [u8], left: &Placed, right: &Placed, y: &Placed);

    /// See [`crate::layer::Relayout`]: element by element to a map of the same shape or to a vector. `y`
    /// may begin where `x` does, if [`crate::plan`] allows it.
    fn relayout(memory: &mut [u8], x: &Placed, y: &Placed) {
        copy::relayout(memory, x, y);
    }
}

/// A depthwise layer as convolutions of one channel.
#[inline(never)]
fn channel_by_channel<K: Kernels>(
    conv: &mut Convolution,
    memory: &mut [u8],
    maps: &Channelwise,
) -> Option<()> {
    for channel in 0..maps.y.planes.channels {
        conv.first = channel;
        let (x, y, scratch) = maps.channel(memory, channel)?;
        K::conv2d(conv, x, y, scratch);
    }
    Some(())
}
