//! Kernels for cores with the DSP extension: Cortex-M4, M7, M33 and later. Four bytes or two halves
//! of a register at a time, and `SEL`, which picks bytes by the flags of the comparison before.
//!
//! `dense` chooses between `lanes` (a mask bit a weight), `gaps` and `positions` (lists); `finish` follows
//! the sums of the first two. `conv` runs `channels` over `tiles`, from lists, `codes` or masks, or two at a
//! time from a `program`. `pool` and `add` are a few instructions each. `depthwise` writes lists of
//! taps for `window`, over copies of channels that `rows` makes, or `flat` as one line. What has no
//! routine here is left to [`crate::kernel::General`].

/// Armv8-M has these instructions or not, and assemblers take them for a core that does.
#[cfg(seedmask_armv8m)]
macro_rules! cpu {
    () => {
        ".cpu cortex-m33"
    };
}

/// Armv7E-M always has them.
#[cfg(not(seedmask_armv8m))]
macro_rules! cpu {
    () => {
        ""
    };
}

mod add;
mod channels;
mod codes;
mod conv;
mod dense;
mod depthwise;
mod finish;
mod flat;
mod gaps;
mod lanes;
mod outputs;
mod pool;
mod positions;
mod program;
mod rows;
mod tiles;
mod walk;
mod window;

use crate::epilogue::Epilogue;
use crate::kernel::{Channelwise, Convolution, Kernels, Placed, Planes, Sink, Source, Target};
use crate::layer::{Add, Pool};
use crate::mask::LayerWeights;

/// The sums, for cores with the DSP extension.
#[derive(Clone, Copy, Debug)]
pub struct Dsp;

impl Kernels for Dsp {
    fn dense(weights: &LayerWeights, epilogue: &Epilogue, x: &[u8], target: Target) {
        dense::dense(weights, epilogue, x, target);
    }

    fn conv2d(conv: &mut Convolution, x: Source, y: Sink, scratch: &mut [u32]) {
        conv::conv2d(conv, x, y, scratch);
    }

    fn depthwise(conv: &mut Convolution, memory: &mut [u8], maps: &Channelwise) -> Option<()> {
        depthwise::depthwise(conv, memory, maps)
    }

    fn pool(pool: &Pool, memory: &mut [u8], x: &Placed, y: &Placed) {
        pool::pool(pool, memory, x, y);
    }

    fn add(add: &Add, memory: &mut [u8], left: &Placed, right: &Placed, y: &Placed) {
        add::add(add, memory, left, right, y);
    }

    fn relayout(memory: &mut [u8], x: &Placed, y: &Placed) {
        rows::relayout(memory, x, y);
    }
}

/// Whether all of `map` lies inside of `memory`, whose shape may be anything.
fn holds(memory: &[u8], map: &Placed) -> bool {
    let Planes { channels, width, pad, bands, split, filling, .. } = map.planes;
    let bytes = || {
        let halo = pad.checked_mul(2)?;
        let stride = match split {
            true => width.checked_add(halo)?.checked_next_multiple_of(2)?,
            false => width.checked_add(pad)?.checked_mul(bands)?,
        };
        // Bands have a halo of their own below; else that is the one above the next plane, but for the last.
        let [below, behind] = if bands == 1 { [0, pad] } else { [pad, 0] };
        let rows = map.planes.rows().checked_add(pad)?.checked_add(below)?;
        let plane = rows.checked_mul(stride)?.checked_add(filling)?;
        let tail = behind.checked_mul(stride)?.checked_add(pad.checked_mul(bands)?)?;
        map.start.checked_add(channels.checked_mul(plane)?.checked_add(tail)?)
    };
    bytes().is_some_and(|end| end <= memory.len())
}
