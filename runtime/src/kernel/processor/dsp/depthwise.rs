//! One window a channel: a channel of at most 32 weights becomes a short list of taps on the stack,
//! and [`super::window`] makes four columns of two rows at a time straight in the output.

use core::mem::MaybeUninit;

use super::flat::Flat;
use super::holds;
use super::rows::PlaneCopy;
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
    let Some(layer) = Layer::new(conv, memory, maps) else {
        return General::depthwise(conv, memory, maps);
    };
    let base = memory.as_mut_ptr();
    let mut frame = MaybeUninit::uninit();
    if let Some(flat) = &layer.flat {
        // SAFETY: `new` saw that the range lies in memory.
        unsafe { flat.clear(base) };
    }
    for channel in 0..maps.y.planes.channels {
        // SAFETY: `memory` is the one that `new` looked at.
        unsafe { layer.make(conv, base, maps, channel, &mut frame) };
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
    copy: PlaneCopy,
    /// Where windows step down by two: the taps that read even rows of the input, and odd ones.
    by_row: Option<[u32; 2]>,
    /// The quicker way over some maps.
    flat: Option<Flat>,
    handlers: &'static Handlers,
}

impl Layer {
    /// `None` where weights, windows or maps have no such form.
    #[inline(never)]
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
        let mut by_row = [0; 2];
        for row in 0..kernel[0].into() {
            for column in 0..kernel[1].into() {
                let tap = copy.tap(left, row, column);
                *table.get_mut(31 - bit_of(input) as usize)? = tap as u32;
                by_row[(row + top) % 2] |= 1 << bit_of(input);
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
            copy: PlaneCopy::new(&maps.x.planes, copy),
            by_row: (down == 2).then_some(by_row),
            flat: Flat::new(conv.window, &maps.x.planes, to, maps.lists.clone()),
            handlers: window::handlers(),
        };
        // The last tile of a map narrower than its columns reaches beyond it.
        let beyond = COLUMNS.saturating_sub(to.width);
        let last_row = to.height.checked_sub(1)?;
        let read = layer.corner + last_row * layer.down + to.width + beyond + reach;
        // What lies behind a narrow row is put back as a word.
        let behind = if beyond > 0 { size_of::<u32>() } else { 0 };
        let written = to.row_start(to.channels.checked_sub(1)?, last_row) + to.width + behind;
        let ends = [maps.copy.start + read.max(copy.len()), maps.lists.end, maps.y.start + written];
        let fits = (maps.x.planes.bands, to.bands) == (1, 1)
            && !(maps.x.planes.split || to.split)
            && maps.x.planes.channels >= to.channels
            && to.width > 0
            && holds(memory, &maps.x)
            && holds(memory, &maps.y)
            && ends.into_iter().all(|end| end <= memory.len());
        fits.then_some(layer)
    }

    /// Makes a channel; the rows of weights stand before it.
    ///
    /// # Safety
    /// `base` is the memory that [`Layer::new`] was called with, for the same maps.
    #[cfg_attr(not(seedmask_small), inline(always))]
    #[cfg_attr(seedmask_small, inline(never))]
    unsafe fn make(
        &self,
        conv: &mut Convolution,
        base: *mut u8,
        maps: &Channelwise,
        channel: usize,
        frame: &mut MaybeUninit<Frame>,
    ) {
        let affine = conv.epilogue.row_inline(conv.first + channel);
        let (mask, signs) = conv.rows.next_word();
        // SAFETY: `new` saw that the maps lie in memory.
        unsafe {
            let y = base.add(maps.y.row_start(channel, 0));
            if mask == 0 {
                self.fill(y, affine.activation(0, conv.low));
                return;
            }
            let from = base.add(maps.x.row_start(channel, 0));
            let flat = self.flat.as_ref();
            let flat = flat.and_then(|flat| Some((flat, flat.copy(mask, from, base)?)));
            let table = flat.as_ref().map_or(&self.table, |(flat, _)| &flat.table);
            let frame = frame.as_mut_ptr();
            let run = &raw mut (*frame).run;
            let taps = self.list(&raw mut (*frame).entries, table, mask & !signs, mask & signs);
            (*run).list = taps.list;
            self.set_rule(run, affine, taps.negated, conv.low);
            if let Some((flat, x)) = flat {
                flat.sums(run, x.add(taps.offset), y);
            } else {
                let copy = base.add(maps.copy.start);
                let every_other;
                let rows = match self.by_row {
                    Some([even, odd]) if mask & even == 0 || mask & odd == 0 => {
                        every_other = self.copy.every_other((mask & odd != 0).into());
                        &every_other
                    }
                    _ => &self.copy,
                };
                rows.plane(from, copy);
                self.sums(run, copy.add(self.corner + taps.offset), y);
            }
        }
    }

    /// Sets the epilogue of sums of 16 bits, or of these with the opposite sign.
    ///
    /// # Safety
    /// `run` can be written.
    #[inline(always)]
    unsafe fn set_rule(&self, run: *mut Run, affine: Affine, negated: bool, low: u8) {
        /// Bits cut off a product.
        const CUT: u32 = 13;
        const MASK: u32 = (1 << CUT) - 1;
        let scale = if negated { affine.scale.wrapping_neg() } else { affine.scale };
        let shift = affine.shift + HALF;
        // What is cut off cannot carry where it is 0 in all products or in the shift.
        let whole = scale as u32 & MASK == 0 || shift as u32 & MASK == 0;
        // SAFETY: the caller's.
        unsafe {
            (*run).scale = scale << 3;
            (*run).shift = (shift >> CUT) as i32;
            (*run).exact = 0;
            if !whole || low > 0 || scale.unsigned_abs() >= 1 << 28 {
                (*run).exact = 1;
                (*run).low = low.into();
                (*run).exact_scale = scale;
                (*run).exact_shift = [shift as u32, (shift >> 32) as u32];
            }
        }
    }

    /// # Safety
    /// `y` points at the first output of a plane.
    unsafe fn fill(&self, y: *mut u8, value: u8) {
        // SAFETY: all rows are inside of the plane.
        unsafe {
            let (rows, bytes) = match self.stride == self.width {
                true => (1, self.width * self.height),
                false => (self.height, self.width),
            };
            for row in 0..rows {
                y.add(row * self.stride).write_bytes(value, bytes);
            }
        }
    }

    /// Makes all outputs of a plane.
    ///
    /// # Safety
    /// `x` points at the first window of the copy, or at its only tap, `y` at the first output of a plane;
    /// list and epilogue are set.
    #[inline(always)]
    unsafe fn sums(&self, run: *mut Run, x: *const u8, y: *mut u8) {
        let last = self.height - 1;
        // SAFETY: tiles begin at rows up to the last but one, and at columns up to the fourth from the end.
        unsafe {
            // Where a row is narrower than a tile, the last one's end lies behind the plane.
            let narrow = self.width < COLUMNS;
            let behind = y.add(last * self.stride + self.width).cast::<u32>();
            let saved = if narrow { behind.read_unaligned() } else { 0 };
            // Pairs of rows; with none the only row of the map.
            let (mut first, mut pairs) = (0, self.height / 2);
            loop {
                let (below, y_below) = if pairs == 0 { (0, 0) } else { (self.down, self.stride) };
                let (x, y) = (x.add(first * self.down), y.add(first * self.stride));
                (*run).y_below = y_below;
                (*run).x_step = 2 * below;
                (*run).x = x;
                (*run).x_below = x.add(below);
                (*run).x_back = pairs * 2 * below;
                (*run).x_end = x.add(pairs * 2 * below);
                (*run).y = y;
                (*run).y_back = pairs * 2 * y_below;
                (*run).left = self.width as i32 - COLUMNS as i32;
                window::run(run);
                if pairs == 0 || first + 2 * pairs > last {
                    break;
                }
                // The last row together with the one before, once more.
                (first, pairs) = (last - 1, 1);
            }
            if narrow {
                behind.write_unaligned(saved);
            }
        }
    }

    /// Writes the taps, at least one.
    ///
    /// # Safety
    /// `entries` can be written.
    #[inline(always)]
    unsafe fn list(
        &self,
        entries: *mut [Entry; ENTRIES],
        table: &[u32; WORD],
        mut plus: u32,
        mut minus: u32,
    ) -> Taps {
        if (plus | minus).is_power_of_two() {
            // SAFETY: there is a bit.
            let offset = unsafe { next(table, &mut (plus | minus)) } as usize;
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
            let last = entries.cast::<Entry>().add(ENTRIES - 1);
            let mut at = last;
            let mut of_end = Entry { taps: [0; 2], then: end };
            while rest != 0 {
                let tap = next(table, &mut rest);
                if rest == 0 {
                    of_end = Entry { taps: [tap, 0], then: single };
                    break;
                }
                at = at.sub(1);
                *at = Entry { taps: [tap, next(table, &mut rest)], then: alike };
            }
            while minus != 0 {
                let taps = [next(table, &mut paired), next(table, &mut minus)];
                at = at.sub(1);
                *at = Entry { taps, then: unlike };
            }
            *last = of_end;
            // The first needs no sums before it.
            (*at).then = if (*at).then == unlike { first_unlike } else { first_alike };
            Taps { list: at, offset: 0, negated }
        }
    }
}

/// Takes the highest bit, and gives its entry.
///
/// # Safety
/// `bits` are not 0.
#[inline(always)]
unsafe fn next(table: &[u32; WORD], bits: &mut u32) -> u32 {
    let at = bits.leading_zeros();
    *bits &= !(1 << 31 >> at);
    // SAFETY: the caller's.
    unsafe { *table.get_unchecked(at as usize) }
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
