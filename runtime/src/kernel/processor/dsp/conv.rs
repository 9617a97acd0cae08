//! Convolutions: rows of weights become programs, and the programs run over the map in tiles of
//! sixteen outputs. What has no such form (other weights than ±1, windows that step over the columns
//! of a plain map) is left to [`general`].

use super::codes::TURN;
use super::program::{self, Bits, Program, Writer};
use super::tiles::{Channel, QUICK, QUICK_ABOVE, STEEP};
use super::walk::Walk;
use crate::epilogue::{Affine, HALF, Narrow};
use crate::kernel::{Convolution, Planes, Sink, Source, general};
use crate::layer::Window;
use crate::random::WORD;

#[inline(never)]
pub(super) fn conv2d(conv: &mut Convolution, x: Source, mut y: Sink, scratch: &mut [u32]) {
    let inputs = x.planes.channels * conv.window.area() as usize;
    let signs = conv.rows.are_signs();
    let walk = |lone| Walk::new(&x, &y, conv.window, conv.low, lone).filter(|_| signs);
    let kept = conv.rows.kept();
    let shared = (kept * kept).checked_div(inputs).unwrap_or(0);
    // What codes cost more as masks is that of a word for every two.
    let more = if conv.rows.are_codes() { kept / 2 } else { 0 };
    let pairs = walk(false).is_some_and(|walk| walk.pays(shared, inputs.div_ceil(WORD) + more));
    match walk(!pairs) {
        Some(walk) => channels(conv, walk, pairs, &x, y, scratch),
        None => general::conv2d(conv, &x, &mut y, scratch),
    }
}

/// Makes the channels of `y`, in `pairs` or one by one.
fn channels(
    conv: &mut Convolution,
    mut walk: Walk,
    pairs: bool,
    x: &Source,
    mut y: Sink,
    scratch: &mut [u32],
) {
    let inputs = x.planes.channels * conv.window.area() as usize;
    let Some(mut scratch) = Scratch::new(scratch, inputs) else { return };
    // What two rows share is found in masks only.
    let coded = conv.rows.are_codes() && !pairs;
    if conv.first == 0 {
        scratch.fill_table(&x.planes, conv.window, coded);
    }
    let channels = y.planes.channels;
    let mut done = 0;
    while done < channels {
        if coded && scratch.make_coded(conv, &mut walk, done, inputs, &mut y).is_some() {
            done += 1;
            continue;
        }
        let count = if pairs { (channels - done).min(2) } else { 1 };
        if coded {
            scratch.fill_table(&x.planes, conv.window, false);
        }
        for row in scratch.bits.iter_mut().take(count) {
            let (masks, signs) = row.split_at_mut(row.len() / 2);
            conv.rows.next_mask(masks, signs);
        }
        scratch.make(conv, &mut walk, done, count, x, &mut y);
        if coded {
            scratch.fill_table(&x.planes, conv.window, true);
        }
        done += count;
    }
}

/// The scratch of a convolution in its parts.
struct Scratch<'s> {
    /// Mask and sign words of two rows.
    bits: [&'s mut [u32]; 2],
    program: &'s mut [u32],
    /// Offset of the input at each bit of a mask, from the highest of the first word down, or in the
    /// order of the inputs. Made with a layer's first channel.
    table: &'s mut [u16],
}

impl<'s> Scratch<'s> {
    fn new(scratch: &'s mut [u32], inputs: usize) -> Option<Self> {
        let words = inputs.div_ceil(WORD);
        let (table, rest) = scratch.split_at_mut_checked(words * WORD / 2)?;
        let (first, rest) = rest.split_at_mut_checked(2 * words)?;
        let (last, program) = rest.split_at_mut_checked(2 * words)?;
        let table = bytemuck::try_cast_slice_mut(table).ok()?;
        Some(Self { program, bits: [first, last], table })
    }

    /// `ordered` as the inputs, not as their bits.
    fn fill_table(&mut self, x: &Planes, window: &Window, ordered: bool) {
        let [height, width] = window.kernel.map(usize::from);
        let mut input = 0;
        for row in 0..height {
            for column in 0..width {
                // `Walk::new` saw that the largest fits.
                let tap = x.tap(window.padding[1].into(), row, column);
                for channel in 0..x.channels {
                    let input = channel * height * width + input;
                    let at = if ordered { input } else { program::table_at(input) };
                    if let Some(entry) = self.table.get_mut(at) {
                        *entry = (channel * x.plane() + tap) as u16;
                    }
                }
                input += 1;
            }
        }
    }

    /// Makes a channel of Rice codes with a table in order; `None`, with no code read, where its sums
    /// may pass 16 bits.
    #[inline(always)]
    fn make_coded(
        &mut self,
        conv: &mut Convolution,
        walk: &mut Walk,
        done: usize,
        inputs: usize,
        y: &mut Sink,
    ) -> Option<()> {
        let channel = channel(conv.epilogue.row(conv.first + done), conv.low)?;
        let signs = self.bits[0].get_mut(..inputs.div_ceil(WORD))?;
        let (reader, start) = conv.rows.next_codes(signs, TURN)?;
        let before = reader.clone();
        match Writer::new(self.table, self.program).coded(reader, start, inputs, signs) {
            Some(program) => run(walk, program, [(done, channel); 2], y),
            None => {
                conv.rows.go_back(before);
                return None;
            }
        }
        Some(())
    }

    /// Makes `count` channels, 1 or 2, from `done` on, whose bits are read.
    fn make(
        &mut self,
        conv: &Convolution,
        walk: &mut Walk,
        done: usize,
        count: usize,
        x: &Source,
        y: &mut Sink,
    ) {
        let Self { bits, program, table } = self;
        let [first, last] = [&*bits[0], &*bits[1]].map(|words| {
            let (masks, signs) = words.split_at(words.len() / 2);
            Bits { masks, signs }
        });
        let affine = |at: usize| conv.epilogue.row(conv.first + done + at);
        if count == 2
            && let (Some(one), Some(two)) =
                (channel(affine(0), conv.low), channel(affine(1), conv.low))
            && let Some(program) = Writer::new(table, program).two(first, last)
        {
            let mut channels = [(done, one), (done + 1, two)];
            if program.swapped {
                channels.swap(0, 1);
            }
            run(walk, program, channels, y);
            return;
        }
        for (at, bits) in [first, last].into_iter().enumerate().take(count) {
            match (channel(affine(at), conv.low), Writer::new(table, program).one(bits)) {
                (Some(channel), Some(program)) => {
                    run(walk, program, [(done + at, channel); 2], y);
                }
                // Sums or epilogue are too large for 16 and 32 bits.
                _ => general::channel(conv, bits.masks, bits.signs, program, done + at, x, y),
            }
        }
    }
}

fn run(walk: &mut Walk, program: Program, mut channels: [(usize, Channel); 2], y: &mut Sink) {
    for ((_, channel), negated) in channels.iter_mut().zip(program.negated) {
        if negated {
            channel.scale = -channel.scale;
        }
    }
    // SAFETY: the program's table is that of the window that the walk was made for.
    unsafe { walk.run(program.start, y, channels) };
}

/// The epilogue of sums of 16 bits, without a place; `None` where it does not fit 32 bits.
#[inline(always)]
fn channel(affine: Affine, low: u8) -> Option<Channel> {
    let y = core::ptr::null_mut();
    if let Some((scale, shift)) = quick(affine) {
        let rule = if low == 0 { QUICK } else { QUICK_ABOVE };
        return Some(Channel { scale, shift, rule, y });
    }
    if let Some((scale, shift)) = steep(affine) {
        return Some(Channel { scale, shift, rule: STEEP, y });
    }
    let Narrow { scale, shift, right } = affine.narrow()?;
    Some(Channel { scale, shift, rule: right as i32, y })
}

/// Scale and shift of [`QUICK`], where that is exactly the rule for sums of 16 bits and nothing
/// overflows.
#[inline(always)]
fn quick(affine: Affine) -> Option<(i32, i32)> {
    let Affine { scale, shift } = affine;
    let shift = shift + HALF;
    // The lowest 8 bits of a product are cut off before the shift is added, so that one of both must
    // have none.
    let exact = (scale as u8 == 0) || (shift as u8 == 0);
    // |sum·scale| >> 8 < 2³⁰, so that as much is left.
    let fits = scale.unsigned_abs() < 1 << 23 && (shift >> 8).unsigned_abs() < 1 << 30;
    (exact && fits).then_some((scale << 8, (shift >> 8) as i32))
}

/// The same of [`STEEP`].
fn steep(affine: Affine) -> Option<(i32, i32)> {
    let Affine { scale, shift } = affine;
    // What an f16 of ½ or more has is a multiple of 2¹³; 2¹² are cut off.
    let exact = scale.trailing_zeros() >= 12;
    let shift = (shift + HALF) >> 12;
    let fits = scale.unsigned_abs() < 1 << 27 && shift.unsigned_abs() < 1 << 30;
    (exact && fits).then_some((scale << 4, shift as i32))
}
