//! Kernels for cores with the DSP extension.

mod conv;
mod program;
mod tiles;
mod walk;

use crate::epilogue::Epilogue;
use crate::kernel::{Convolution, Kernels, Placed, Sink, Source, Target, Words};
use crate::layer::{Add, Pool};
use crate::mask::LayerWeights;

/// The sums, for cores with the DSP extension.
#[derive(Clone, Copy, Debug)]
pub struct Dsp;

impl Kernels for Dsp {
    fn dense(
        weights: &LayerWeights,
        epilogue: &Epilogue,
        x: &[u8],
        target: Target,
        scratch: &mut [u32],
    ) {
        Words::dense(weights, epilogue, x, target, scratch);
    }

    fn conv2d(conv: &mut Convolution, x: Source, y: Sink, scratch: &mut [u32]) {
        conv::conv2d(conv, x, y, scratch);
    }

    fn pool(pool: &Pool, memory: &mut [u8], x: Placed, y: Placed) {
        Words::pool(pool, memory, x, y);
    }

    fn add(add: &Add, memory: &mut [u8], left: Placed, right: Placed, y: Placed) {
        Words::add(add, memory, left, right, y);
    }
}
