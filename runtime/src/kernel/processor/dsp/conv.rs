//! Convolutions: rows of weights become programs, and the programs run over the map in tiles of
//! sixteen outputs. What has no such form (other weights than ±1, windows that step over the columns
//! of a plain map) is left to [`general`].

use super::codes::TURN;
use super::program::{self, Bits, Program, Writer};
use super::tiles::Channel;
use super::walk::Walk;
use crate::epilogue::Narrow;
use crate::kernel::{Convolution, Planes, Sink, Source, general};
use crate::layer::Window;
use crate::random::WORD;

#[inline(never)]
pub(super) fn conv2d(conv: &mut Convolution, x: Source, mut y: Sink, scratch: &mut [u32]) {
    match walk(conv, &x, &y) {
        Some(walk) => channels(conv, &walk, x, y, scratch),
        None => general::conv2d(conv, &x, &mut y, scratch),
    }
}

/// How tiles cover `y`; `None` where map or weights have no such form.
fn walk(conv: &Convolution, x: &Source, y: &Sink) -> Option<Walk> {
    Walk::new(x, y, conv.window).filter(|_| conv.rows.are_signs())
}

/// Makes the channels of `y`, two at a time.
#[inline(always)]
fn channels(conv: &mut Convolution, walk: &Walk, x: Source, mut y: Sink, scratch: &mut [u32]) {
    let inputs = x.planes.channels * conv.window.area() as usize;
    let Some(mut scratch) = Scratch::new(scratch, inputs) else { return };
    let words = inputs.div_ceil(WORD);
    // What two rows share is found in masks only.
    let coded = conv.rows.kept_by_codes().is_some_and(|kept| {
        let shared = (kept * kept).checked_div(inputs).unwrap_or(0);
        !walk.pays(shared, words + kept / 2)
    });
    if conv.first == 0 {
        scratch.fill_table(&x.planes, conv.window, coded);
    }
    let channels = y.planes.channels;
    let mut done = 0;
    while done < channels {
        if coded && scratch.make_coded(conv, walk, done, inputs, &x, &mut y).is_some() {
            done += 1;
            continue;
        }
        let count = if coded { 1 } else { (channels - done).min(2) };
        if coded {
            scratch.fill_table(&x.planes, conv.window, false);
        }
        for row in scratch.bits.iter_mut().take(count) {
            let (masks, signs) = row.split_at_mut(row.len() / 2);
            conv.rows.next_mask(masks, signs);
        }
        scratch.make(conv, walk, done, count, &x, &mut y);
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
        walk: &Walk,
        done: usize,
        inputs: usize,
        x: &Source,
        y: &mut Sink,
    ) -> Option<()> {
        let narrow = conv.epilogue.row(conv.first + done).narrow()?;
        let signs = &mut *self.bits[0];
        let (reader, start) =
            conv.rows.next_codes(signs.get_mut(..inputs.div_ceil(WORD))?, TURN)?;
        let before = reader.clone();
        match Writer::new(self.table, self.program).coded(reader, start, signs, inputs) {
            Some(program) => run(walk, program, [(done, narrow); 2], conv.low, x, y),
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
        walk: &Walk,
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
            && walk.pays(program::shared(first, last), first.masks.len())
            && let (Some(one), Some(two)) = (affine(0).narrow(), affine(1).narrow())
            && let Some(program) = Writer::new(table, program).two(first, last)
        {
            let mut channels = [(done, one), (done + 1, two)];
            if program.swapped {
                channels.swap(0, 1);
            }
            run(walk, program, channels, conv.low, x, y);
            return;
        }
        for (at, bits) in [first, last].into_iter().enumerate().take(count) {
            match (affine(at).narrow(), Writer::new(table, program).one(bits)) {
                (Some(narrow), Some(program)) => {
                    run(walk, program, [(done + at, narrow); 2], conv.low, x, y);
                }
                // Sums or epilogue are too large for 16 and 32 bits.
                _ => general::channel(conv, bits.masks, bits.signs, program, done + at, x, y),
            }
        }
    }
}

fn run(
    walk: &Walk,
    program: Program,
    channels: [(usize, Narrow); 2],
    low: u8,
    x: &Source,
    y: &mut Sink,
) {
    let [(first, one), (last, two)] = channels;
    let [one_negated, two_negated] = program.negated;
    let channels = [(first, channel(one, one_negated)), (last, channel(two, two_negated))];
    // SAFETY: the program's table is that of the window that the walk was made for.
    unsafe { walk.run(program.start, low, x, y, channels) };
}

/// The epilogue of sums of the opposite sign, or of sums as they are.
fn channel(narrow: Narrow, negated: bool) -> Channel {
    let Narrow { scale, shift, right } = narrow;
    let scale = if negated { -scale } else { scale };
    let y = core::ptr::null_mut();
    match quick(scale, shift, right) {
        Some([scale, shift]) => Channel { scale, shift, right: 0, y },
        None => Channel { scale, shift, right, y },
    }
}

/// Scale and shift of `((sum·scale >> 16) + shift) >> 16`, where that is exactly
/// `(sum·scale + shift) >> right` for sums of 16 bits and nothing overflows.
fn quick(scale: i32, shift: i32, right: u32) -> Option<[i32; 2]> {
    // |scale| < 2¹¹, so `right` from 12 on fits.
    let up = 32u32.checked_sub(right).filter(|up| *up <= 20)?;
    let scale = scale << up;
    let shift = match up.checked_sub(16) {
        Some(more) => shift.checked_mul(1 << more)?,
        // The bits below 2⁻¹⁶ of a product are cut off before the shift is added, so that it must have
        // none.
        None => {
            let cut = 16 - up;
            if shift.trailing_zeros() < cut {
                return None;
            }
            shift >> cut
        }
    };
    // |sum·scale| < 2¹⁵·2³¹, so that 2³⁰ are left.
    (shift.unsigned_abs() < 1 << 30).then_some([scale, shift])
}
