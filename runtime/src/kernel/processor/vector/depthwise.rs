//! Depthwise layers over maps without a halo: a channel is copied between margins of zeros, one copy
//! for each of the columns and rows that a window steps over, and outputs are made in vectors across
//! the ends of rows. What a tap would read beyond the end of a row is masked.
//!
//! A kept tap adds x, or 127 − x if it is negative, so that two fit a byte.

use core::mem::MaybeUninit;
use core::slice;

use super::Vector;
use crate::epilogue::Affine;
use crate::kernel::{Channelwise, Convolution};
use crate::layer::{Source, Window};
use crate::random::input_at;

/// Bytes of the copies of a channel.
const COPIES: usize = 12288;

/// Bytes of the masks of all columns of a window.
const MASKS: usize = 16384;

/// Most inputs of a window: its masks are one word.
const MOST_INPUTS: usize = 32;

/// Most columns of a window.
const MOST_COLUMNS: usize = 8;

/// Taps of a channel: a magnitude of four is four of them, and there is one to make them even.
const MOST_TAPS: usize = 4 * MOST_INPUTS + 1;

/// Bytes of the largest vector.
const LARGEST: usize = 32;

/// What is added by a minus of 0.
const MOST: u8 = 127;

/// Makes all channels; `false`, and nothing done, for other maps and windows, and for stored weights.
///
/// # Safety
/// See [`super`].
#[inline(always)]
pub(in crate::kernel::processor) unsafe fn depthwise<V: Vector>(
    conv: &mut Convolution,
    memory: &mut [u8],
    maps: &Channelwise,
) -> bool {
    let Some(shape) = Shape::new(conv, maps) else { return false };
    let (mut copies, mut masks) =
        ([const { MaybeUninit::uninit() }; COPIES], [const { MaybeUninit::uninit() }; MASKS]);
    let (copies, masks) =
        (filled(&mut copies, shape.copies()), filled(&mut masks, shape.masks(conv.window)));
    shape.mask_columns(conv.window, masks);
    let places = shape.places(conv.window);
    let mut taps = Taps::new();
    for channel in 0..maps.y.planes.channels {
        let minus = if read(conv, &places, &mut taps).is_some() { taps.end() } else { break };
        // SAFETY: as for this function; taps lie in the copies and masks of this shape.
        unsafe {
            shape.copy::<V>(memory, maps.x.start + channel * maps.x.planes.plane(), copies);
            let to = maps.y.start + channel * maps.y.planes.plane();
            let Some(to) = memory.get_mut(to..to + shape.output()) else { break };
            let affine = conv.epilogue.row(conv.first + channel);
            let channel = Channel { copies, masks, taps: &taps.0, minus, affine, low: conv.low };
            channel.make::<V>(to);
        }
    }
    true
}

/// The first `length` bytes, all 0.
fn filled(bytes: &mut [MaybeUninit<u8>], length: usize) -> &mut [u8] {
    let bytes = bytes.get_mut(..length).unwrap_or(&mut []);
    bytes.fill(MaybeUninit::new(0));
    // SAFETY: all of them were written.
    unsafe { bytes.assume_init_mut() }
}

/// A tap of any channel.
#[derive(Clone, Copy, Default)]
struct Place {
    /// From the copies on, for the first output.
    input: u32,
    /// From the masks on.
    mask: u32,
}

/// A kept tap of a channel.
#[derive(Clone, Copy)]
struct Tap {
    place: Place,
    /// 127 for a minus.
    flip: u8,
}

/// The kept taps of a channel.
struct Taps(heapless::Vec<Tap, MOST_TAPS>);

impl Taps {
    fn new() -> Self {
        Self(heapless::Vec::new())
    }

    #[inline(always)]
    fn push(&mut self, place: Place, weight: i32) {
        let flip = if weight < 0 { MOST } else { 0 };
        for _ in 0..weight.unsigned_abs() {
            // No channel has more.
            let _ = self.0.push(Tap { place, flip });
        }
    }

    /// Adds a tap that is masked everywhere where their number is odd. Gives how many are a minus.
    fn end(&mut self) -> usize {
        if self.0.len() % 2 == 1 {
            let _ = self.0.push(Tap { place: Place::default(), flip: 0 });
        }
        self.0.iter().filter(|tap| tap.flip != 0).count()
    }
}

/// Reads the next row.
#[inline(always)]
fn read(conv: &mut Convolution, places: &[Place; MOST_INPUTS], taps: &mut Taps) -> Option<()> {
    taps.0.clear();
    if conv.rows.are_signs() {
        let ([mut mask], [mut signs]) = ([0], [0]);
        let (masks, of_signs) = (slice::from_mut(&mut mask), slice::from_mut(&mut signs));
        conv.rows.next_mask(masks, of_signs);
        while mask != 0 {
            let bit = mask.trailing_zeros();
            let weight = if signs >> bit & 1 == 1 { -1 } else { 1 };
            taps.push(places[input_at(bit) as usize % MOST_INPUTS], weight);
            mask &= mask - 1;
        }
        return Some(());
    }
    let mut row = conv.rows.next_row()?;
    for (input, weight) in row.by_ref() {
        taps.push(places[input as usize % MOST_INPUTS], weight);
    }
    conv.rows.resume(row);
    Some(())
}

/// How a channel is copied, and where windows lie on its copies.
struct Shape {
    height: usize,
    width: usize,
    /// Rows and columns that a window steps over.
    steps: [usize; 2],
    /// Rows and columns of a copy; the columns are those of the output.
    rows: usize,
    columns: usize,
    outputs: usize,
    /// Zeros before a copy and behind it.
    margin: usize,
}

impl Shape {
    /// `None` where these kernels do not fit.
    fn new(conv: &Convolution, maps: &Channelwise) -> Option<Self> {
        let (x, y, window) = (maps.x.planes, maps.y.planes, conv.window);
        let [down, right] = window.stride.map(usize::from);
        let [top, left, ..] = window.padding.map(usize::from);
        let [height, width] = window.kernel.map(usize::from);
        let plain = [x, y].iter().all(|map| map.pad == 0 && map.bands == 1 && !map.split);
        let (rows, columns) = (x.height.div_ceil(down.max(1)), x.width.div_ceil(right.max(1)));
        let fits = plain
            && x.zero_point == 0
            && (1..=2).contains(&down)
            && (1..=2).contains(&right)
            && columns == y.width
            && y.height <= rows + height
            && width <= MOST_COLUMNS
            && height * width <= MOST_INPUTS
            && conv.rows.source() != Source::StoredInt8;
        let shape = Self {
            height: x.height,
            width: x.width,
            steps: [down, right],
            rows,
            columns,
            outputs: y.height * y.width,
            margin: (top.max(height) + height) * columns + left.max(width) + 2 * LARGEST,
        };
        let room = fits && shape.copies() <= COPIES && shape.masks(window) <= MASKS;
        room.then_some(shape)
    }

    /// Bytes of a channel of the input.
    fn input(&self) -> usize {
        self.height * self.width
    }

    /// Bytes of a channel of the output.
    fn output(&self) -> usize {
        self.outputs
    }

    /// Bytes from copy to copy.
    fn copy_bytes(&self) -> usize {
        self.rows * self.columns + 2 * self.margin
    }

    /// Bytes of all copies.
    fn copies(&self) -> usize {
        self.steps[0] * self.steps[1] * self.copy_bytes()
    }

    /// Bytes of a mask: whole vectors.
    fn mask(&self) -> usize {
        self.outputs + LARGEST
    }

    /// Bytes of the masks: one of zeros, and one for each column of the window.
    fn masks(&self, window: &Window) -> usize {
        (1 + usize::from(window.kernel[1])) * self.mask()
    }

    /// Masks, for each column of the window, the outputs where it lies on the map.
    fn mask_columns(&self, window: &Window, masks: &mut [u8]) {
        let (right, left) = (self.steps[1], usize::from(window.padding[1]));
        let all = masks.chunks_exact_mut(self.mask()).skip(1);
        for (tap, mask) in all.enumerate() {
            let (row, _) = mask.split_at_mut(self.columns);
            for (column, byte) in row.iter_mut().enumerate() {
                let inside =
                    (column * right + tap).checked_sub(left).is_some_and(|x| x < self.width);
                *byte = if inside { u8::MAX } else { 0 };
            }
            let mut done = self.columns;
            while done < self.outputs {
                let more = done.min(self.outputs - done);
                mask.copy_within(..more, done);
                done += more;
            }
        }
    }

    /// Where every tap of a window lies.
    fn places(&self, window: &Window) -> [Place; MOST_INPUTS] {
        let [down, right] = self.steps;
        let [top, left, ..] = window.padding.map(usize::from);
        let width = usize::from(window.kernel[1]).max(1);
        core::array::from_fn(|input| {
            // Rows and columns from `top` and `left` steps before the map on, to stay positive.
            let (row, column) =
                (input / width + (down - 1) * top, input % width + (right - 1) * left);
            let copy = (row % down) * right + column % right;
            let before = top * self.columns + left;
            let at = (row / down) * self.columns + column / right;
            Place {
                input: (copy * self.copy_bytes() + self.margin + at - before) as u32,
                mask: ((1 + input % width) * self.mask()) as u32,
            }
        })
    }

    /// Copies a channel that begins at `from`.
    ///
    /// # Safety
    /// See [`super`]; `copies` are those of this shape.
    #[inline(always)]
    unsafe fn copy<V: Vector>(&self, memory: &[u8], from: usize, copies: &mut [u8]) {
        let [down, right] = self.steps;
        let behind = 2 * V::BYTES;
        let mut last = [const { MaybeUninit::uninit() }; COPIES];
        let x = match memory.get(from..from + self.input() + behind) {
            Some(x) => x,
            None => {
                let last = filled(&mut last, self.input() + behind);
                let x = memory.get(from..from + self.input()).unwrap_or(&[]);
                last.iter_mut().zip(x).for_each(|(to, from)| *to = *from);
                last
            }
        };
        // All rows as one, or each on its own.
        let (rows, width) =
            if (down, right) == (1, 1) { (1, self.input()) } else { (self.height, self.width) };
        let part = self.copy_bytes();
        // SAFETY: as for this function; two vectors may be read behind the channel, and written over
        // the margin behind a copy, which is mended.
        unsafe {
            let to = copies.as_mut_ptr();
            for row in 0..rows {
                let from = x.as_ptr().add(row * width);
                // Not by division, which takes longer than the copy.
                let (phase, at) = if down == 1 { (0, row) } else { (row % 2, row / 2) };
                let to = to.add(phase * right * part + self.margin + at * self.columns);
                if right == 1 {
                    for at in (0..width).step_by(V::BYTES) {
                        V::load(from.add(at)).store(to.add(at));
                    }
                    continue;
                }
                for at in (0..width).step_by(2 * V::BYTES) {
                    let [first, next] =
                        [from.add(at), from.add(at + V::BYTES)].map(|from| V::load(from));
                    first.evens(next).store(to.add(at / 2));
                    first.odd().evens(next.odd()).store(to.add(part + at / 2));
                }
            }
            for row in 0..down {
                let rows = (self.height - row).div_ceil(down);
                for column in 0..right {
                    let end = (row * right + column) * part + self.margin + rows * self.columns;
                    V::zero().store(to.add(end));
                }
            }
        }
    }
}

/// A channel and its taps.
struct Channel<'c> {
    copies: &'c [u8],
    masks: &'c [u8],
    taps: &'c [Tap],
    /// Taps that are a minus.
    minus: usize,
    affine: Affine,
    low: u8,
}

impl Channel<'_> {
    /// Makes all outputs.
    ///
    /// # Safety
    /// See [`super`]; copies and masks go on for a vector behind every tap of every output.
    #[inline(always)]
    unsafe fn make<V: Vector>(&self, outputs: &mut [u8]) {
        const AT_ONCE: usize = 4;
        // SAFETY: as for this function; vectors that do not end within the outputs are written
        // elsewhere.
        unsafe {
            let rule = self.affine.narrow().map(|narrow| V::rule(narrow, self.low));
            let rule = rule.as_ref();
            let Some(last) = outputs.len().checked_sub(V::BYTES) else {
                let mut vector = [0; LARGEST];
                self.some::<V, 1>([0], rule, vector.as_mut_ptr());
                outputs.iter_mut().zip(vector).for_each(|(to, output)| *to = output);
                return;
            };
            let to = outputs.as_mut_ptr();
            // The last vector ends with the outputs.
            let place = |vector: usize| last.min(vector * V::BYTES);
            let count = outputs.len().div_ceil(V::BYTES);
            let mut first = 0;
            while first + AT_ONCE <= count {
                let places = core::array::from_fn(|at| place(first + at));
                self.some::<V, AT_ONCE>(places, rule, to);
                first += AT_ONCE;
            }
            match count - first {
                1 => self.some::<V, 1>([place(first)], rule, to),
                2 => self.some::<V, 2>([first, first + 1].map(place), rule, to),
                3 => self.some::<V, 3>([first, first + 1, first + 2].map(place), rule, to),
                _ => {}
            }
        }
    }

    /// Makes the vectors at `places`.
    ///
    /// # Safety
    /// See [`super`]; `to` is good for a vector at each, copies and masks as for [`Channel::make`].
    #[inline(always)]
    unsafe fn some<V: Vector, const N: usize>(
        &self,
        places: [usize; N],
        rule: Option<&V::Rule>,
        to: *mut u8,
    ) {
        // SAFETY: as for this function.
        unsafe {
            let nothing = -(usize::from(MOST) as i16 * self.minus as i16);
            // Whole lanes, and their odd bytes.
            let start = [V::splat_lane(nothing.wrapping_mul(0x101)), V::splat_lane(nothing)];
            let mut sums = [start; N];
            for taps in self.taps.as_chunks::<2>().0 {
                let [first, second] = taps.map(|tap| {
                    let place = tap.place;
                    let from = self.copies.as_ptr().add(place.input as usize);
                    (from, self.masks.as_ptr().add(place.mask as usize), V::splat(tap.flip))
                });
                for (at, [all, odd]) in places.iter().zip(&mut sums) {
                    let [first, second] = [first, second].map(|(from, mask, flip)| {
                        V::load(from.add(*at)).and(V::load(mask.add(*at))).xor(flip)
                    });
                    let bytes = first.add_bytes(second);
                    (*all, *odd) = (all.add(bytes), odd.add(bytes.odd()));
                }
            }
            for (at, [all, odd]) in places.iter().zip(sums) {
                let even = all.sub(odd.to_odd());
                let made = match rule {
                    Some(rule) => V::activations(even, odd, rule),
                    None => self.wide(even, odd),
                };
                made.store(to.add(*at));
            }
        }
    }

    /// The outputs of a rule that wants more than 32 bits.
    ///
    /// # Safety
    /// See [`super`].
    #[inline(always)]
    unsafe fn wide<V: Vector>(&self, even: V, odd: V) -> V {
        let mut lanes = [[0_i16; LARGEST / 2]; 2];
        let mut outputs = [[0; 2]; LARGEST / 2];
        // SAFETY: as for this function; all three arrays hold the largest vector.
        unsafe {
            even.store(lanes[0].as_mut_ptr().cast());
            odd.store(lanes[1].as_mut_ptr().cast());
            for (at, outputs) in outputs.iter_mut().enumerate() {
                *outputs = lanes.map(|lanes| self.affine.activation(lanes[at].into(), self.low));
            }
            V::load(outputs.as_ptr().cast())
        }
    }
}
