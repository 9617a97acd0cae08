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
    let Some(mut walk) = walk(!pairs) else { return general::conv2d(conv, &x, &mut y, scratch) };
    let Some(mut scratch) = Scratch::new(scratch, inputs) else { return };
    // What two rows share is found in masks only.
    let coded = conv.rows.are_codes() && !pairs;
    if conv.first == 0 {
        scratch.fill_table(&x.planes, conv.window, coded);
    }
    if pairs {
        scratch.make_pairs(conv, &mut walk, &x, &mut y);
        return;
    }
    // Turned once a channel, or in every tile.
    let turn = walk.count() * 8 > kept;
    for done in 0..y.planes.channels {
        let made = coded && scratch.make_coded(conv, &mut walk, done, turn, inputs, &mut y);
        if made {
            continue;
        }
        if coded {
            scratch.fill_table(&x.planes, conv.window, false);
        }
        scratch.make_masked(conv, &mut walk, done, turn, &x, &mut y);
        if coded {
            scratch.fill_table(&x.planes, conv.window, true);
        }
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

    /// Makes a channel of Rice codes with a table in order. Gives whether it did; if not, since its sums
    /// may pass 16 bits, no code is read.
    #[inline(never)]
    fn make_coded(
        &mut self,
        conv: &mut Convolution,
        walk: &mut Walk,
        done: usize,
        turn: bool,
        inputs: usize,
        y: &mut Sink,
    ) -> bool {
        let Some(channel) = channel(conv, done) else { return false };
        let Some(signs) = self.bits[0].get_mut(..inputs.div_ceil(WORD)) else { return false };
        let Some((reader, start)) = conv.rows.next_codes(signs, TURN) else { return false };
        let before = reader.place();
        let writer = Writer::new(self.table, self.program);
        match writer.coded(turn, reader, start, inputs, signs) {
            Some(program) => run_lone(walk, program, done, channel, y),
            None => {
                conv.rows.go_back(before);
                return false;
            }
        }
        true
    }

    /// Makes a channel of any weights.
    #[inline(never)]
    fn make_masked(
        &mut self,
        conv: &mut Convolution,
        walk: &mut Walk,
        done: usize,
        turn: bool,
        x: &Source,
        y: &mut Sink,
    ) {
        let bits = &mut *self.bits[0];
        let (masks, signs) = bits.split_at_mut(bits.len() / 2);
        conv.rows.next_mask(masks, signs);
        let bits = Bits { masks, signs };
        let channel = channel(conv, done);
        match (channel, Writer::new(self.table, self.program).one(turn, bits)) {
            (Some(channel), Some(program)) => run_lone(walk, program, done, channel, y),
            // Sums or epilogue are too large for 16 and 32 bits.
            _ => general::channel(conv, masks, signs, self.program, done, x, y),
        }
    }

    /// Makes all channels, two at a time.
    #[inline(never)]
    fn make_pairs(&mut self, conv: &mut Convolution, walk: &mut Walk, x: &Source, y: &mut Sink) {
        let channels = y.planes.channels;
        for done in (0..channels).step_by(2) {
            if done + 1 == channels {
                return self.make_masked(conv, walk, done, true, x, y);
            }
            for row in &mut self.bits {
                let (masks, signs) = row.split_at_mut(row.len() / 2);
                conv.rows.next_mask(masks, signs);
            }
            let [first, last] = [&*self.bits[0], &*self.bits[1]].map(|words| {
                let (masks, signs) = words.split_at(words.len() / 2);
                Bits { masks, signs }
            });
            let both = [channel(conv, done), channel(conv, done + 1)];
            if let [Some(one), Some(two)] = both
                && let Some(program) = Writer::new(self.table, self.program).two(first, last)
            {
                let mut channels = [(done, one), (done + 1, two)];
                if program.swapped {
                    channels.swap(0, 1);
                }
                for ((_, channel), negated) in channels.iter_mut().zip(program.negated) {
                    channel.negate_if(negated);
                }
                // SAFETY: the program's table is that of the window that the walk was made for.
                unsafe { walk.run(program.start, y, channels) };
                continue;
            }
            for ((at, channel), bits) in (done..).zip(both).zip([first, last]) {
                match (channel, Writer::new(self.table, self.program).one(true, bits)) {
                    (Some(channel), Some(program)) => run_lone(walk, program, at, channel, y),
                    _ => general::channel(conv, bits.masks, bits.signs, self.program, at, x, y),
                }
            }
        }
    }
}

#[inline(always)]
fn run_lone(walk: &mut Walk, program: Program, at: usize, mut channel: Channel, y: &mut Sink) {
    channel.negate_if(program.negated[1]);
    // SAFETY: the program's table is that of the window that the walk was made for.
    unsafe { walk.run_lone(program.start, y, at, channel) };
}

/// The epilogue of channel `done` of a turn, without a place; `None` where sums of 16 bits do not
/// suffice.
#[inline(always)]
fn channel(conv: &Convolution, done: usize) -> Option<Channel> {
    let affine = conv.epilogue.row_inline(conv.first + done);
    match quick(affine) {
        Some((scale, shift)) => {
            let rule = if conv.low == 0 { QUICK } else { QUICK_ABOVE };
            Some(Channel { scale, shift, rule, y: core::ptr::null_mut() })
        }
        None => other_channel(affine),
    }
}

/// The same by other rules.
#[inline(never)]
fn other_channel(affine: Affine) -> Option<Channel> {
    let y = core::ptr::null_mut();
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
