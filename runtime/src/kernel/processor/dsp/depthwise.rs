//! One window a channel: a channel of at most 32 weights becomes a short list of taps on the stack,
//! and [`super::window`] makes four columns of two rows at a time straight in the output.

use super::holds;
use super::rows::copy_plane;
use super::window::{self, Entry, Handlers, Run};
use crate::epilogue::{Affine, HALF};
use crate::kernel::{Channelwise, Convolution, General, Kernels};
use crate::layer::Window;
use crate::random::{WORD, bit_of};

/// Columns of a tile, of two rows.
const COLUMNS: usize = 4;

/// Pairs of taps, and the end.
const ENTRIES: usize = WORD / 2 + 1;

/// As [`Kernels::depthwise`].
pub(super) fn depthwise(
    conv: &mut Convolution,
    memory: &mut [u8],
    maps: &Channelwise,
) -> Option<()> {
    maps.pieces(memory, 0)?;
    let Some(layer) = Layer::new(conv, memory, maps) else {
        return General::depthwise(conv, memory, maps);
    };
    let base = memory.as_mut_ptr();
    for channel in 0..maps.y.planes.channels {
        // SAFETY: `memory` is the one that `new` looked at.
        unsafe { layer.make(conv, base, maps, channel) };
    }
    Some(())
}

/// A list of taps, written from its end to its beginning, and what the routine needs beside it.
#[repr(C)]
struct Frame {
    entries: [Entry; ENTRIES],
    run: Run,
}

/// What all channels share.
struct Layer {
    /// Offset of the input at each bit of a mask, from the highest down.
    table: [u32; WORD],
    /// Where the window of the first output begins in the copy.
    corner: usize,
    /// Bytes from the window of a row of outputs to that of the next, and from a row of outputs to
    /// the next.
    down: usize,
    stride: usize,
    width: usize,
    height: usize,
    handlers: &'static Handlers,
}

impl Layer {
    /// `None` where weights, windows or maps have no such form.
    fn new(conv: &Convolution, memory: &[u8], maps: &Channelwise) -> Option<Self> {
        let (copy, to) = (&maps.copy.planes, &maps.y.planes);
        let Window { kernel, stride, padding } = *conv.window;
        let [down, right] = stride.map(usize::from);
        let [top, left, ..] = padding.map(usize::from);
        let steps = if copy.split { 2 } else { 1 };
        if !conv.rows.are_signs() || conv.window.area() as usize > WORD || right != steps {
            return None;
        }
        let (mut table, mut reach, mut input) = ([0; WORD], 0, 0);
        for row in 0..kernel[0].into() {
            for column in 0..kernel[1].into() {
                let tap = copy.tap(left, row, column);
                *table.get_mut(31 - bit_of(input) as usize)? = tap as u32;
                (reach, input) = (reach.max(tap), input + 1);
            }
        }
        let layer = Self {
            table,
            corner: copy.corner(top, left)?,
            down: down * copy.stride(),
            stride: to.stride(),
            width: to.width,
            height: to.height,
            handlers: window::handlers(),
        };
        // The last tile of a map narrower than its columns reaches beyond it.
        let beyond = COLUMNS.saturating_sub(to.width);
        let last_row = to.height.checked_sub(1)?;
        let read = layer.corner + last_row * layer.down + to.width + beyond + reach;
        let written = to.row_start(to.channels.checked_sub(1)?, last_row) + to.width + beyond;
        let fits = maps.x.planes.bands == 1
            && to.bands == 1
            && !(maps.x.planes.split || to.split)
            && maps.x.planes.channels >= to.channels
            && to.width > 0
            && holds(memory, &maps.x)
            && holds(memory, &maps.y)
            && maps.copied.end <= memory.len()
            && copy.len() <= maps.copied.len()
            && maps.copied.start == maps.copy.start
            && maps.copy.start + read <= memory.len()
            && maps.y.start + written <= memory.len();
        fits.then_some(layer)
    }

    /// Makes a channel; the rows of weights stand before it.
    ///
    /// # Safety
    /// `base` is the memory that [`Layer::new`] was called with, for the same maps.
    #[inline(always)]
    unsafe fn make(
        &self,
        conv: &mut Convolution,
        base: *mut u8,
        maps: &Channelwise,
        channel: usize,
    ) {
        let affine = conv.epilogue.row(conv.first + channel);
        let (mut mask, mut signs) = ([0], [0]);
        conv.rows.next_mask(&mut mask, &mut signs);
        let (plus, minus) = (mask[0] & !signs[0], mask[0] & signs[0]);
        // SAFETY: `new` saw that the maps lie in memory.
        unsafe {
            let y = base.add(maps.y.row_start(channel, 0));
            if plus | minus == 0 {
                self.fill(y, affine.activation(0, conv.low));
                return;
            }
            let from = base.add(maps.x.row_start(channel, 0));
            copy_plane(from, &maps.x.planes, base.add(maps.copy.start), &maps.copy.planes);
            let x = base.add(maps.copy.start + self.corner);
            self.sums(x, y, plus, minus, affine, conv.low);
        }
    }

    /// # Safety
    /// `y` points at the first output of a plane.
    unsafe fn fill(&self, y: *mut u8, value: u8) {
        // SAFETY: all rows are inside of the plane.
        unsafe {
            if self.stride == self.width {
                y.write_bytes(value, self.width * self.height);
                return;
            }
            for row in 0..self.height {
                y.add(row * self.stride).write_bytes(value, self.width);
            }
        }
    }

    /// # Safety
    /// `x` points at the first window of the copy, `y` at the first output of a plane.
    #[inline(always)]
    unsafe fn sums(
        &self,
        x: *const u8,
        y: *mut u8,
        plus: u32,
        minus: u32,
        affine: Affine,
        low: u8,
    ) {
        let mut frame = core::mem::MaybeUninit::<Frame>::uninit();
        let frame = frame.as_mut_ptr();
        let pairs = self.height / 2;
        let (below, y_below) = if pairs == 0 { (0, 0) } else { (self.down, self.stride) };
        // SAFETY: the frame has room for the end and for half as many pairs as a word has bits; tiles
        // begin at rows up to the last but one, and at columns up to the fourth from the end.
        unsafe {
            let taps = self.list((&raw mut (*frame).entries).cast(), plus, minus);
            let rule = Rule::new(affine, taps.negated, low);
            let run = &raw mut (*frame).run;
            let x = x.add(taps.offset);
            let (x_back, y_back) = (pairs * 2 * below, pairs * 2 * y_below);
            let left = self.width as i32 - COLUMNS as i32;
            run.write(Run {
                exact: rule.exact.into(),
                y_below,
                x_step: 2 * below,
                list: taps.list,
                x_end: x.add(x_back),
                x,
                x_below: x.add(below),
                scale: rule.scale,
                shift: rule.shift,
                y,
                left,
                x_back,
                y_back,
                low: low.into(),
                exact_scale: rule.exact_scale,
                exact_shift: rule.exact_shift,
            });
            // Where a row is narrower than a tile, the last one's end lies behind the plane.
            let last = self.height - 1;
            let behind = y.add(last * self.stride + self.width).cast::<u32>();
            let narrow = self.width < COLUMNS;
            let saved = if narrow { behind.read_unaligned() } else { 0 };
            window::run(run);
            if self.height % 2 == 1 && pairs > 0 {
                // The last row together with the one before, once more.
                let x = x.add((last - 1) * self.down);
                ((*run).x, (*run).x_below) = (x, x.add(self.down));
                (*run).x_end = x.add(2 * self.down);
                (*run).y = y.add((last - 1) * self.stride);
                (*run).left = left;
                ((*run).x_back, (*run).y_back) = (2 * self.down, 2 * self.stride);
                window::run(run);
            }
            if narrow {
                behind.write_unaligned(saved);
            }
        }
    }

    /// Writes the taps, at least one.
    ///
    /// # Safety
    /// There is room for [`ENTRIES`].
    #[inline(always)]
    unsafe fn list(&self, entries: *mut Entry, mut plus: u32, mut minus: u32) -> Taps {
        if (plus | minus).is_power_of_two() {
            // SAFETY: there is a bit.
            let offset = unsafe { self.next(&mut (plus | minus)) } as usize;
            return Taps { list: core::ptr::null(), offset, negated: minus != 0 };
        }
        let Handlers { unlike, alike, first_unlike, first_alike, end, single } = *self.handlers;
        // What is left of one sign when every tap of the other has its partner.
        let (mut rest, mut other) = (plus, minus);
        while rest != 0 && other != 0 {
            rest &= rest - 1;
            other &= other - 1;
        }
        let negated = other != 0;
        if negated {
            (plus, minus, rest) = (minus, plus, other);
        }
        let mut paired = plus & !rest;
        // From the last to the first.
        // SAFETY: 32 bits are at most 16 pairs, or a tap at the end and less.
        unsafe {
            let last = entries.add(ENTRIES - 1);
            let mut at = last;
            let mut of_end = Entry { taps: [0; 2], then: end };
            while rest != 0 {
                let tap = self.next(&mut rest);
                if rest == 0 {
                    of_end = Entry { taps: [tap, 0], then: single };
                    break;
                }
                at = at.sub(1);
                *at = Entry { taps: [tap, self.next(&mut rest)], then: alike };
            }
            while minus != 0 {
                let taps = [self.next(&mut paired), self.next(&mut minus)];
                at = at.sub(1);
                *at = Entry { taps, then: unlike };
            }
            *last = of_end;
            // The first needs no sums before it.
            (*at).then = if (*at).then == unlike { first_unlike } else { first_alike };
            Taps { list: at, offset: 0, negated }
        }
    }

    /// Takes the highest bit.
    ///
    /// # Safety
    /// `bits` are not 0.
    #[inline(always)]
    unsafe fn next(&self, bits: &mut u32) -> u32 {
        let at = bits.leading_zeros();
        *bits &= !(1 << 31 >> at);
        // SAFETY: the caller's.
        unsafe { *self.table.get_unchecked(at as usize) }
    }
}

/// The taps of a channel.
struct Taps {
    /// The first entry, or null.
    list: *const Entry,
    /// Without a list: where the tap lies.
    offset: usize,
    /// Whether sums have the opposite sign.
    negated: bool,
}

/// The epilogue as [`Run`] has it.
struct Rule {
    exact: bool,
    scale: i32,
    shift: i32,
    exact_scale: i32,
    exact_shift: [u32; 2],
}

impl Rule {
    /// Of sums of 16 bits, or of these with the opposite sign.
    #[inline(always)]
    fn new(affine: Affine, negated: bool, low: u8) -> Self {
        /// Bits cut off a product.
        const CUT: u32 = 13;
        let scale = if negated { -affine.scale } else { affine.scale };
        let shift = affine.shift + HALF;
        // What is cut off cannot carry where it is 0 in all products or in the shift.
        let whole = (scale | 1 << CUT).trailing_zeros() >= CUT
            || (shift as u32 | 1 << CUT).trailing_zeros() >= CUT;
        let exact = !whole || low > 0 || scale.unsigned_abs() >= 1 << 28;
        Self {
            exact,
            scale: scale << 3,
            shift: (shift >> CUT) as i32,
            exact_scale: scale,
            exact_shift: [shift as u32, (shift >> 32) as u32],
        }
    }
}
