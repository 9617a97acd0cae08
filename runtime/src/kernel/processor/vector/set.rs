//! The set of kernels.

use crate::epilogue::Epilogue;
use crate::kernel::{
    Channelwise, Convolution, Kernels, Placed, Sink, Source, Target, Words, channel_by_channel,
};
use crate::layer::{Add, Pool};
use crate::mask::{Encoding, LayerWeights};

#[cfg(target_arch = "x86_64")]
use crate::kernel::processor::avx2 as instructions;
#[cfg(target_arch = "aarch64")]
use crate::kernel::processor::neon as instructions;

/// Vectors of bytes: AVX2 on an x86-64 that has it, NEON on aarch64. What the processor or a layer is not made for is
/// left to [`Words`].
#[derive(Clone, Copy, Debug)]
pub struct Vectors;

impl Kernels for Vectors {
    fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], mut target: Target) {
        let done = match weights.encoding {
            Encoding::SignedPositions { .. } => {
                instructions::positions(weights, epilogue, x, &mut target)
            }
            _ => instructions::dense(weights, epilogue, x, &mut target),
        };
        if !done {
            Words::dense(weights, epilogue, x, target);
        }
    }

    fn conv2d(conv: &mut Convolution, x: Source, mut y: Sink, scratch: &mut [u32]) {
        if !instructions::conv2d(conv, x, &mut y) {
            Words::conv2d(conv, x, y, scratch);
        }
    }

    fn depthwise(conv: &mut Convolution, memory: &mut [u8], maps: &Channelwise) -> Option<()> {
        if instructions::depthwise(conv, memory, maps) {
            return Some(());
        }
        channel_by_channel::<Self>(conv, memory, maps)
    }

    fn pool(pool: &Pool, memory: &mut [u8], x: &Placed, y: &Placed) {
        if !instructions::pool(pool, memory, *x, *y) {
            Words::pool(pool, memory, x, y);
        }
    }

    fn add(add: &Add, memory: &mut [u8], left: &Placed, right: &Placed, y: &Placed) {
        if !instructions::add(add, memory, *left, *right, *y) {
            Words::add(add, memory, left, right, y);
        }
    }
}
