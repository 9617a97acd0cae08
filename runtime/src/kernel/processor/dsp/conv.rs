//! Convolutions: rows of weights become programs, and the programs run over the map in tiles of
//! sixteen outputs. What has no such form (other weights than ±1, windows that step over the columns
//! of a plain map) is left to [`general`].

use super::channels::{BESIDE, Channels, GAPS, MOST, WRITTEN};
use super::codes::{Lists, TURN};
use super::program::{self, Bits, Writer};
use super::tiles::{Channel, QUICK, QUICK_ABOVE, STEEP, Tiles};
use super::walk::Walk;
use crate::epilogue::{Affine, CHANNEL, HALF, Narrow};
use crate::kernel::{Convolution, Sink, Source, general};
use crate::random::WORD;

/// With fewer inputs that two channels share, their sums take longer together.
const LEAST_SHARED: usize = 7;

#[inline(never)]
pub(super) fn conv2d(conv: &mut Convolution, x: Source, mut y: Sink, scratch: &mut [u32]) {
    let inputs = x.planes.channels * conv.window.area() as usize;
    let kept = conv.rows.kept();
    let shared = (kept * kept).checked_div(inputs).unwrap_or(0);
    let (coded, listed) = (conv.rows.are_codes(), conv.rows.are_lists());
    // What these cost more as masks is that of a word for every two.
    let more = if coded || listed { kept / 2 } else { 0 };
    // Two channels in one program take much flash, and are not there if that is what counts.
    let both = match !cfg!(seedmask_small) && shared > LEAST_SHARED {
        true => Walk::new(&x, &y, conv.window, false),
        false => None,
    };
    let both = both.as_ref().filter(|walk| walk.pays(shared, inputs.div_ceil(WORD) + more));
    let pairs = both.is_some();
    let lone = if pairs { None } else { Walk::new(&x, &y, conv.window, true) };
    let (Some(walk), true) = (both.or(lone.as_ref()), conv.rows.are_signs()) else {
        return general::conv2d(conv, &x, &mut y, scratch);
    };
    // What two rows share is found in masks only.
    let (coded, listed) = (coded && !pairs, listed && !pairs);
    let first = conv.first == 0;
    let mut turn = Turn::new(conv, &x, &mut y, walk, scratch, coded || listed);
    // By reference, as a turn is large.
    let Some(turn) = &mut turn else { return };
    if first {
        turn.fill_table();
    }
    let channels = turn.y.planes.channels;
    while turn.done < channels {
        if listed {
            turn.make_listed();
            if turn.done == channels {
                break;
            }
        }
        if !(coded && turn.make_coded()) {
            turn.make_masked(if pairs { (channels - turn.done).min(2) } else { 1 });
        }
    }
}

/// Channels of a convolution, and the scratch in its parts.
struct Turn<'t, 'a, 'r, 'm> {
    conv: &'t mut Convolution<'a, 'r>,
    x: &'t Source<'t>,
    y: &'t mut Sink<'m>,
    /// How many are made.
    done: usize,
    walk: &'t Walk,
    tiles: [Tiles; 2],
    /// Mask and sign words of two rows.
    bits: [&'t mut [u32]; 2],
    program: &'t mut [u32],
    /// Offset of the input at each bit of a mask, from the highest of the first word down, or in the
    /// order of the inputs. Made with a layer's first channel.
    table: &'t mut [u16],
    /// Whether it is in the order of the inputs.
    ordered: bool,
    inputs: usize,
    /// What the assembly is to make.
    channels: Channels,
}

impl<'t, 'a, 'r, 'm> Turn<'t, 'a, 'r, 'm> {
    #[inline(always)]
    fn new(
        conv: &'t mut Convolution<'a, 'r>,
        x: &'t Source<'t>,
        y: &'t mut Sink<'m>,
        walk: &'t Walk,
        scratch: &'t mut [u32],
        ordered: bool,
    ) -> Option<Self> {
        /// What a position may be.
        const POSITIONS: usize = 128;
        let inputs = x.planes.channels * conv.window.area() as usize;
        let words = inputs.div_ceil(WORD);
        let entries = if ordered { (words * WORD).max(POSITIONS) } else { words * WORD };
        let (table, rest) = scratch.split_at_mut_checked(entries / 2)?;
        let (first, rest) = rest.split_at_mut_checked(2 * words)?;
        let (last, program) = rest.split_at_mut_checked(2 * words)?;
        let table: &mut [u16] = bytemuck::try_cast_slice_mut(table).ok()?;
        // Even a program without taps has an end.
        let room = program.len().checked_sub(BESIDE)?;
        let channels = Channels {
            lists: core::ptr::null(),
            end: core::ptr::null(),
            counts: WRITTEN,
            left: 0,
            table: table.as_ptr(),
            inputs: inputs.min(table.len()),
            program: program.as_mut_ptr(),
            // Of each sign, and what is left over once more.
            most: (room / 3).min(MOST),
            affine: core::ptr::null(),
            plane: y.planes.plane(),
            rule: QUICK,
            y: y.bytes.as_mut_ptr(),
            scale: 0,
            shift: 0,
        };
        let (tiles, bits) = (walk.tiles(x, conv.low), [first, last]);
        Some(Self {
            conv,
            x,
            y,
            done: 0,
            walk,
            tiles,
            bits,
            program,
            table,
            ordered,
            inputs,
            channels,
        })
    }

    fn fill_table(&mut self) {
        let (x, window) = (&self.x.planes, self.conv.window);
        let [height, width] = window.kernel.map(usize::from);
        let mut input = 0;
        for row in 0..height {
            for column in 0..width {
                // `Walk::new` saw that the largest fits.
                let tap = x.tap(window.padding[1].into(), row, column);
                for channel in 0..x.channels {
                    let input = channel * height * width + input;
                    let at = if self.ordered { input } else { program::table_at(input) };
                    if let Some(entry) = self.table.get_mut(at) {
                        *entry = (channel * x.plane() + tap) as u16;
                    }
                }
                input += 1;
            }
        }
        if self.ordered {
            // Whatever stands in lists, nothing outside of the map is read.
            let (inputs, rest) = self.table.split_at_mut_checked(self.inputs).unwrap_or_default();
            rest.fill(inputs.last().copied().unwrap_or(0));
        }
    }

    /// Makes channels of signed lists with a table in order, up to the first one whose sums or epilogue are
    /// too large for 16 and 32 bits.
    #[inline(never)]
    fn make_listed(&mut self) {
        while let left @ 1.. = self.y.planes.channels - self.done
            && let Some(lists) = self.conv.rows.next_lists()
        {
            let bytes = lists.bytes.as_ptr_range();
            let counts = lists.counts.as_ref().map_or(GAPS, |counts| counts.as_ptr());
            let rows = lists.rows.min(left);
            (self.channels.lists, self.channels.end) = (bytes.start, bytes.end);
            self.channels.counts = counts;
            // SAFETY: rows are read up to the section's end, and there are as many counts; the table holds
            // offsets of the walk's window for all inputs and all positions.
            let made = unsafe { self.run(rows) };
            let unread = (bytes.end as usize).saturating_sub(self.channels.lists as usize);
            self.conv.rows.skip_lists(made, unread);
            if made < rows {
                break;
            }
        }
    }

    /// Makes a channel of Rice codes with a table in order. Gives whether it did; if not, since its sums
    /// may pass 16 bits, no code is read.
    #[inline(never)]
    fn make_coded(&mut self) -> bool {
        let inputs = self.inputs;
        let Some(signs) = self.bits[0].get_mut(..inputs.div_ceil(WORD)) else { return false };
        let Some((reader, start)) = self.conv.rows.next_codes(signs, TURN) else { return false };
        let before = reader.place();
        let Some(mut lists) = Lists::new(self.table, self.program) else { return false };
        // SAFETY: `Lists::new` saw to the room.
        let whole = unsafe { lists.read_codes(reader, start, inputs, signs) };
        let taps = [lists.plus, lists.minus];
        // SAFETY: the taps are those of the walk's window.
        let made = whole && unsafe { self.run_taps(taps) };
        if !made {
            self.conv.rows.go_back(before);
        }
        made
    }

    /// Makes one or two channels of any weights.
    #[inline(never)]
    fn make_masked(&mut self, count: usize) {
        for row in self.bits.iter_mut().take(count) {
            let (masks, signs) = row.split_at_mut(row.len() / 2);
            self.conv.rows.next_mask(masks, signs);
        }
        if count == 2 && self.make_pair().is_some() {
            self.done += 2;
            return;
        }
        for row in 0..count {
            self.make_bits(row);
        }
    }

    /// Makes the next two channels from the words of both rows. `None` if sums or epilogues are too large for
    /// 16 and 32 bits.
    #[inline(never)]
    fn make_pair(&mut self) -> Option<()> {
        let (conv, done) = (&*self.conv, self.done);
        let [first, last] = self.bits.each_ref().map(|words| {
            let (masks, signs) = words.split_at(words.len() / 2);
            Bits { masks, signs }
        });
        let mut channels = [(done, channel(conv, done)?), (done + 1, channel(conv, done + 1)?)];
        let program = Writer::new(self.table, self.program)?.two(first, last)?;
        if program.swapped {
            channels.swap(0, 1);
        }
        for ((_, channel), negated) in channels.iter_mut().zip(program.negated) {
            channel.negate_if(negated);
        }
        // SAFETY: the program's table is that of the window that the walk was made for.
        unsafe { self.walk.run(&mut self.tiles, program.start, self.y, channels) };
        Some(())
    }

    /// Makes the next channel from the words of row `row`.
    #[inline(always)]
    fn make_bits(&mut self, row: usize) {
        let Some(bits) = self.bits.get(row) else { return };
        let (masks, signs) = bits.split_at(bits.len() / 2);
        let lists = Lists::new(self.table, self.program).filter(|_| !self.ordered);
        if let Some(mut lists) = lists {
            // SAFETY: `Lists::new` saw to the room.
            let whole = unsafe { lists.read_words(masks, signs) };
            let taps = [lists.plus, lists.minus];
            // SAFETY: the taps are those of the walk's window.
            if whole && unsafe { self.run_taps(taps) } {
                return;
            }
        }
        // Sums or epilogue are too large for 16 and 32 bits.
        let Some(bits) = self.bits.get(row) else { return };
        let (masks, signs) = bits.split_at(bits.len() / 2);
        general::channel(self.conv, masks, signs, self.program, self.done, self.x, self.y);
        self.done += 1;
    }

    /// Makes the next channel of taps that were written from the beginning of the program's memory on: plus
    /// taps at even places and minus taps at odd ones, up to `taps`. Gives whether it did.
    ///
    /// # Safety
    /// The taps are those of the walk's window.
    #[cfg_attr(not(seedmask_small), inline(always))]
    #[cfg_attr(seedmask_small, inline(never))]
    unsafe fn run_taps(&mut self, taps: [*mut u32; 2]) -> bool {
        let start = self.program.as_ptr() as usize;
        let [plus, minus] = taps.map(|end| (end as usize).wrapping_sub(start) / 8);
        let (most, least) = (plus.max(minus), plus.min(minus));
        if most > MOST || 3 * most - least + BESIDE > self.program.len() {
            return false;
        }
        let [lists, end] = taps.map(|end| end.cast_const().cast());
        (self.channels.lists, self.channels.end, self.channels.counts) = (lists, end, WRITTEN);
        // SAFETY: the caller's; there is room for the ends of the lists.
        unsafe { self.run(1) == 1 }
    }

    /// Makes the next `count` channels of the lists that are set. Gives how many: up to one that has no room
    /// or no rule.
    ///
    /// # Safety
    /// As for [`Walk::run_channels`], but for epilogues and outputs.
    #[cfg_attr(not(seedmask_small), inline(always))]
    #[cfg_attr(seedmask_small, inline(never))]
    unsafe fn run(&mut self, count: usize) -> usize {
        let (conv, channels) = (&*self.conv, &mut self.channels);
        let row = conv.first + self.done;
        let affine = conv.epilogue.as_bytes().get(CHANNEL * row..CHANNEL * (row + count));
        let Some(affine) = affine else { return 0 };
        let mut made = 0;
        channels.y = self.y.bytes.as_mut_ptr().wrapping_add(self.done * channels.plane);
        loop {
            channels.affine = affine.as_ptr().wrapping_add(CHANNEL * made);
            channels.rule = if conv.low == 0 { QUICK } else { QUICK_ABOVE };
            channels.left = count - made;
            // SAFETY: the caller's; there are as many epilogues.
            unsafe { self.walk.run_channels(&mut self.tiles, channels) };
            made = count - channels.left;
            if made == count {
                break;
            }
            // Another rule for the next one, if that is what it needs.
            let Some(other) = other_channel(conv.epilogue.row(row + made)) else { break };
            (channels.scale, channels.shift, channels.rule) =
                (other.scale, other.shift, other.rule);
            (channels.affine, channels.left) = (core::ptr::null(), 1);
            // SAFETY: as before.
            unsafe { self.walk.run_channels(&mut self.tiles, channels) };
            made += 1 - channels.left;
            if channels.left == 1 || made == count {
                break;
            }
        }
        self.done += made;
        made
    }
}

/// The epilogue of channel `done` of a turn, without a place; `None` where sums of 16 bits do not
/// suffice.
#[cfg_attr(not(seedmask_small), inline(always))]
#[cfg_attr(seedmask_small, inline(never))]
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
