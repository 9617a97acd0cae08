//! Convolutions: the lists of a row run over some vectors of outputs at a time.
//!
//! Outputs are made in a buffer and copied to their map from there. Where the window moves by one,
//! all rows of a map are taken as one: what comes out between the end of a row and the beginning of
//! the next is not looked at. Elsewhere every row has vectors of its own.

use core::mem::MaybeUninit;

use super::Vector;
use super::lists::{LEVELS, Lists, MOST_INPUTS, MOST_NARROW};
use crate::epilogue::Affine;
use crate::kernel::{BANDS, Convolution, Planes, Sink, Source};
use crate::layer::{self, Window};

/// Bytes of the buffer of outputs.
const BUFFER: usize = 4096;

/// Bytes behind a buffer that a vector may reach beyond its end.
const MARGIN: usize = 64;

/// Bytes of the largest vector.
const LARGEST: usize = 32;

/// Most vectors that fill the buffer: 8 bytes, or two of each 9.
const MOST_UNITS: usize = 1024;

/// Largest input that is copied where vectors would read beyond its end.
const COPY: usize = 32_768;

/// Bytes that are copied at once from the buffer.
const PIECE: usize = 16;

/// Makes the channels of `y`; `false`, and nothing done, where the shape or the weights are not for
/// these kernels.
///
/// # Safety
/// See [`super`].
#[inline(always)]
pub(in crate::kernel::processor) unsafe fn conv2d<V: Vector>(
    conv: &mut Convolution,
    x: Source,
    y: &mut Sink,
) -> bool {
    let inputs = x.planes.channels * conv.window.area() as usize;
    if inputs > MOST_INPUTS || conv.rows.source() == layer::Source::StoredInt8 {
        return false;
    }
    // The columns of a split map that windows begin at lie side by side.
    let step = match (conv.window.stride[1], x.planes.split) {
        (2, true) => 1,
        (1 | 2, false) => conv.window.stride[1],
        _ => return false,
    };
    // SAFETY: as for this function.
    unsafe {
        match (step, x.planes.bands) {
            (1, _) => by_steps::<V, Every>(conv, x, y),
            (_, 1) => by_steps::<V, EveryOther>(conv, x, y),
            _ => by_steps::<V, EveryOtherWord>(conv, x, y),
        }
    }
}

/// How far the window moves, and so how a vector of outputs is read.
///
/// # Safety
/// All functions: see [`super`]; `load`: the pointer is good for [`Steps::read`] bytes.
trait Steps {
    /// Halves of a vector that are read for one of outputs.
    const READ: usize;
    /// Halves of a vector that are made.
    const MADE: usize;

    fn read<V: Vector>() -> usize {
        Self::READ * V::BYTES / 2
    }

    fn made<V: Vector>() -> usize {
        Self::MADE * V::BYTES / 2
    }

    /// Bytes from the input of the first output of a row to that of output byte `output`.
    fn input(output: usize) -> usize;

    /// The bytes under one tap.
    unsafe fn load<V: Vector>(from: *const u8) -> V;

    /// Adds the bytes to sums of whole lanes, and of their odd bytes.
    #[inline(always)]
    unsafe fn add<V: Vector>([all, odd]: &mut [V; 2], bytes: V) {
        // SAFETY: as for this function.
        unsafe { (*all, *odd) = (all.add(bytes), odd.add(bytes.odd())) }
    }

    /// The same, taken away.
    #[inline(always)]
    unsafe fn sub<V: Vector>([all, odd]: &mut [V; 2], bytes: V) {
        // SAFETY: as for this function.
        unsafe { (*all, *odd) = (all.sub(bytes), odd.sub(bytes.odd())) }
    }

    /// The sums of the even bytes and of the odd ones. What the odd ones carried into the lanes is
    /// taken off: lanes wrap, so that only the result must fit.
    #[inline(always)]
    unsafe fn split<V: Vector>([all, odd]: [V; 2]) -> [V; 2] {
        // SAFETY: as for this function.
        unsafe { [all.sub(odd.to_odd()), odd] }
    }

    /// Puts output bytes in order.
    unsafe fn sort<V: Vector>(bytes: V) -> V;
}

/// By one byte; by one word of a banded map; by two columns of a split one.
struct Every;

impl Steps for Every {
    const READ: usize = 2;
    const MADE: usize = 2;

    fn input(output: usize) -> usize {
        output
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const u8) -> V {
        // SAFETY: as for this function.
        unsafe { V::load(from) }
    }

    #[inline(always)]
    unsafe fn sort<V: Vector>(bytes: V) -> V {
        bytes
    }
}

/// By two bytes: only the even ones are summed.
struct EveryOther;

impl Steps for EveryOther {
    const READ: usize = 2;
    const MADE: usize = 1;

    fn input(output: usize) -> usize {
        2 * output
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const u8) -> V {
        // SAFETY: as for this function.
        unsafe { V::load(from) }
    }

    #[inline(always)]
    unsafe fn add<V: Vector>([even, _]: &mut [V; 2], bytes: V) {
        // SAFETY: as for this function.
        unsafe { *even = even.add(bytes.even()) }
    }

    #[inline(always)]
    unsafe fn sub<V: Vector>([even, _]: &mut [V; 2], bytes: V) {
        // SAFETY: as for this function.
        unsafe { *even = even.sub(bytes.even()) }
    }

    #[inline(always)]
    unsafe fn split<V: Vector>(sums: [V; 2]) -> [V; 2] {
        sums
    }

    #[inline(always)]
    unsafe fn sort<V: Vector>(bytes: V) -> V {
        // SAFETY: as for this function.
        unsafe { bytes.evens(V::zero()) }
    }
}

/// By two words of a banded map.
struct EveryOtherWord;

impl Steps for EveryOtherWord {
    const READ: usize = 4;
    const MADE: usize = 2;

    fn input(output: usize) -> usize {
        let word = usize::from(BANDS);
        output / word * 2 * word + output % word
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const u8) -> V {
        // SAFETY: as for this function: good for two vectors.
        unsafe { V::load(from).even_words(V::load(from.add(V::BYTES))) }
    }

    #[inline(always)]
    unsafe fn sort<V: Vector>(bytes: V) -> V {
        // SAFETY: as for this function.
        unsafe { bytes.sort_words() }
    }
}

/// A vector of outputs.
#[derive(Clone, Copy)]
struct Unit {
    /// Where its inputs begin, from those of the first output on.
    input: u32,
    /// Where it goes in the buffer.
    output: u32,
}

/// The vectors of some rows in the order of their outputs.
type Units = heapless::Vec<Unit, MOST_UNITS>;

/// How the rows of a map are cut into vectors, group of rows by group of rows.
struct Walk {
    /// Bytes of a row of outputs.
    row_bytes: usize,
    /// Bytes from row to row in the buffer.
    pitch: usize,
    /// Bytes from the inputs of a row to those of the next.
    down: usize,
    /// Rows of a group.
    rows: usize,
    /// Bytes from the input of the first output on to the first byte under its window.
    corner: usize,
    /// The largest offset of a tap.
    reach: usize,
    /// Whether rows are taken as one.
    flat: bool,
}

impl Walk {
    /// `None` where rows are longer than the buffer.
    fn new<V: Vector, S: Steps>(x: &Planes, y: &Planes, window: &Window) -> Option<Self> {
        let [down, right] = window.stride.map(usize::from);
        let [top, left, ..] = window.padding.map(usize::from);
        let [height, width] = window.kernel.map(usize::from);
        let last = (0..width).map(|column| x.tap(left, height.saturating_sub(1), column)).max();
        let (row_bytes, stride) = (y.row_bytes(), x.stride());
        let flat = (down, right) == (1, 1) && row_bytes <= stride;
        let pitch = if flat { stride } else { row_bytes.max(S::made::<V>()) };
        let rows = (BUFFER / pitch.max(1)).min(y.rows());
        if rows == 0 {
            return None;
        }
        Some(Self {
            row_bytes,
            pitch,
            down: down * stride,
            rows,
            corner: x.corner(top, left)?,
            reach: x.channels.saturating_sub(1) * x.plane() + last.unwrap_or(0),
            flat,
        })
    }

    /// Cuts `rows` rows into vectors. The last one of a row ends with it, unless it is the only one.
    #[inline(always)]
    fn cut<V: Vector, S: Steps>(&self, rows: usize, units: &mut Units) {
        let made = S::made::<V>();
        let (rows, length) = match self.flat {
            true => (1, (rows - 1) * self.pitch + self.row_bytes),
            false => (rows, self.row_bytes),
        };
        units.clear();
        for row in 0..rows {
            for at in (0..length).step_by(made) {
                let at = at.min(length.saturating_sub(made));
                let (input, output) = (row * self.down + S::input(at), row * self.pitch + at);
                // `MOST_UNITS` fill more than the buffer.
                let _ = units.push(Unit { input: input as u32, output: output as u32 });
            }
        }
    }

    /// Bytes of the buffer in use.
    fn used(&self) -> usize {
        self.rows * self.pitch + MARGIN
    }
}

/// # Safety
/// See [`super`].
#[inline(always)]
unsafe fn by_steps<V: Vector, S: Steps>(conv: &mut Convolution, x: Source, y: &mut Sink) -> bool {
    let Some(walk) = Walk::new::<V, S>(&x.planes, &y.planes, conv.window) else { return false };
    let mut copy = [const { MaybeUninit::uninit() }; COPY + MARGIN];
    let bytes = copied(x.bytes, &mut copy);
    let mut buffer = [const { MaybeUninit::uninit() }; BUFFER + MARGIN];
    let buffer = zeroed(&mut buffer, walk.used());
    let mut lists = Lists::new(&x.planes, conv.window);
    let mut units = Units::new();
    let mut rows_cut = 0;
    for channel in 0..y.planes.channels {
        if lists.read(conv.rows).is_none() {
            break;
        }
        let affine = conv.epilogue.row(conv.first + channel);
        let narrow = if lists.is_narrow() { affine.narrow() } else { None };
        let mut first = 0;
        while first < y.planes.rows() {
            let rows = walk.rows.min(y.planes.rows() - first);
            if rows != rows_cut {
                walk.cut::<V, S>(rows, &mut units);
                rows_cut = rows;
            }
            let group = Group {
                lists: &lists,
                bytes: bytes.get(walk.corner + first * walk.down..).unwrap_or(&[]),
                reach: walk.reach,
                affine,
                low: conv.low,
            };
            // SAFETY: as for this function.
            unsafe {
                match narrow {
                    Some(narrow) => {
                        group.make::<V, S>(&units, &V::rule(narrow, conv.low), buffer);
                    }
                    None => group.make_wide::<V, S>(&units, buffer),
                }
            }
            let to = y.planes.row_start(channel, first);
            let to = y.bytes.get_mut(to..).unwrap_or(&mut []);
            copy_rows(buffer, walk.pitch, to, y.planes.stride(), walk.row_bytes, rows);
            first += rows;
        }
    }
    true
}

/// `bytes` with [`MARGIN`] more behind them, if they are few.
fn copied<'b>(bytes: &'b [u8], copy: &'b mut [MaybeUninit<u8>; COPY + MARGIN]) -> &'b [u8] {
    if bytes.len() > COPY {
        return bytes;
    }
    let (to, rest) = copy.split_at_mut(bytes.len());
    to.write_copy_of_slice(bytes);
    zeroed(rest, MARGIN);
    // SAFETY: both parts were written.
    unsafe { copy[..bytes.len() + MARGIN].assume_init_ref() }
}

/// The first `length` bytes, all 0.
fn zeroed(bytes: &mut [MaybeUninit<u8>], length: usize) -> &mut [u8] {
    let bytes = bytes.get_mut(..length).unwrap_or(&mut []);
    bytes.fill(MaybeUninit::new(0));
    // SAFETY: all of them were written.
    unsafe { bytes.assume_init_mut() }
}

/// Copies `rows` rows of `length` bytes in order, and maybe some of what follows each.
#[inline(always)]
fn copy_rows(
    from: &[u8],
    pitch: usize,
    to: &mut [u8],
    stride: usize,
    mut length: usize,
    mut rows: usize,
) {
    if pitch == stride {
        length += rows.saturating_sub(1) * pitch;
        rows = 1;
    }
    let (pieces, before) = (length.div_ceil(PIECE), rows.saturating_sub(1));
    let whole = pieces * PIECE;
    if before * pitch + whole <= from.len() && before * stride + whole <= to.len() {
        for row in 0..rows {
            for piece in 0..pieces {
                // SAFETY: no row is beyond the last, and that one ends, in whole pieces, within
                // both slices.
                unsafe {
                    let from = from.as_ptr().add(row * pitch + piece * PIECE);
                    let to = to.as_mut_ptr().add(row * stride + piece * PIECE);
                    *to.cast::<[u8; PIECE]>() = *from.cast();
                }
            }
        }
        return;
    }
    for row in 0..rows {
        let from = from.get(row * pitch..).unwrap_or(&[]).iter().take(length);
        let to = to.get_mut(row * stride..).unwrap_or(&mut []);
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }
}

/// Some rows of one channel.
struct Group<'g> {
    lists: &'g Lists<'g>,
    /// From the first byte under the window of the first output on.
    bytes: &'g [u8],
    /// The largest offset of a tap.
    reach: usize,
    affine: Affine,
    low: u8,
}

impl Group<'_> {
    /// Makes `units`, whose sums fit 16 bits.
    ///
    /// # Safety
    /// See [`super`].
    #[inline(always)]
    unsafe fn make<V: Vector, S: Steps>(&self, units: &[Unit], rule: &V::Rule, buffer: &mut [u8]) {
        const AT_ONCE: usize = 4;
        // Units are in the order of their inputs.
        let fits = |unit: &Unit| self.inputs::<V, S, 1>(&[*unit]).is_some();
        let within = match units.last() {
            Some(last) if !fits(last) => units.partition_point(fits),
            _ => units.len(),
        };
        let (units, beyond) = units.split_at_checked(within).unwrap_or_default();
        beyond.iter().for_each(|unit| self.single::<S>(*unit, S::made::<V>(), buffer));
        let (fours, rest) = units.as_chunks::<AT_ONCE>();
        // SAFETY: as for this function.
        unsafe {
            for units in fours {
                self.some::<V, S, AT_ONCE>(units, rule, buffer);
            }
            match *rest {
                [a] => self.some::<V, S, 1>(&[a], rule, buffer),
                [a, b] => self.some::<V, S, 2>(&[a, b], rule, buffer),
                [a, b, c] => self.some::<V, S, 3>(&[a, b, c], rule, buffer),
                _ => {}
            }
        }
    }

    /// Makes `units` in sums of 32 bits.
    ///
    /// # Safety
    /// See [`super`].
    #[inline(always)]
    unsafe fn make_wide<V: Vector, S: Steps>(&self, units: &[Unit], buffer: &mut [u8]) {
        for unit in units {
            // SAFETY: as for this function.
            unsafe { self.wide::<V, S>(*unit, buffer) }
        }
    }

    /// # Safety
    /// See [`super`].
    #[inline(always)]
    unsafe fn some<V: Vector, S: Steps, const N: usize>(
        &self,
        units: &[Unit; N],
        rule: &V::Rule,
        buffer: &mut [u8],
    ) {
        let Some(from) = self.inputs::<V, S, N>(units) else { return };
        // SAFETY: as for this function; `from` are good for every offset.
        unsafe {
            let mut sums = [[V::zero(); 2]; N];
            for level in self.lists.largest()..LEVELS.len() {
                let [plus, minus] = self.lists.level(level);
                for [all, odd] in &mut sums {
                    (*all, *odd) = (all.add(*all), odd.add(*odd));
                }
                each::<V, S, N, false>(&from, plus, &mut sums);
                each::<V, S, N, true>(&from, minus, &mut sums);
            }
            for (unit, sums) in units.iter().zip(sums) {
                let [even, odd] = S::split(sums);
                put(S::sort(V::activations(even, odd, rule)), *unit, buffer);
            }
        }
    }

    /// Where the inputs of `units` begin; `None` where a vector at the largest offset would not end
    /// within the bytes.
    #[inline(always)]
    fn inputs<V: Vector, S: Steps, const N: usize>(
        &self,
        units: &[Unit; N],
    ) -> Option<[*const u8; N]> {
        let last = units.iter().map(|unit| unit.input as usize).max().unwrap_or(0);
        let fits = last + self.reach + S::read::<V>() <= self.bytes.len();
        // Within `bytes`, as the last one is.
        fits.then(|| units.map(|unit| self.bytes.as_ptr().wrapping_add(unit.input as usize)))
    }

    /// Makes a unit in sums of 32 bits.
    ///
    /// # Safety
    /// See [`super`].
    #[inline(always)]
    unsafe fn wide<V: Vector, S: Steps>(&self, unit: Unit, buffer: &mut [u8]) {
        let Some(from) = self.inputs::<V, S, 1>(&[unit]) else {
            self.single::<S>(unit, S::made::<V>(), buffer);
            return;
        };
        let mut totals = [0; LARGEST];
        for (level, weight) in LEVELS.into_iter().enumerate() {
            let [plus, minus] = self.lists.level(level);
            for (list, weight) in [(plus, weight), (minus, -weight)] {
                for part in list.chunks(MOST_NARROW) {
                    let mut lanes = [[0_u16; LARGEST / 2]; 2];
                    // SAFETY: as for this function; `from` is good for every offset, and `lanes`
                    // for the largest vector each.
                    unsafe {
                        let mut sums = [[V::zero(); 2]];
                        each::<V, S, 1, false>(&from, part, &mut sums);
                        let [even, odd] = S::split(sums[0]);
                        even.store(lanes[0].as_mut_ptr().cast());
                        odd.store(lanes[1].as_mut_ptr().cast());
                    }
                    for (total, [even, odd]) in
                        totals.as_chunks_mut::<2>().0.iter_mut().zip(transposed(&lanes))
                    {
                        total[0] += weight * i32::from(even);
                        total[1] += weight * i32::from(odd);
                    }
                }
            }
        }
        let outputs = totals.map(|total| self.affine.activation(total, self.low));
        // SAFETY: as for this function; `outputs` are good for the largest vector.
        unsafe { put(S::sort(V::load(outputs.as_ptr())), unit, buffer) }
    }

    /// Makes `count` outputs one by one, for inputs that end before a vector does. Bytes beyond the
    /// end are for outputs between two rows.
    #[cold]
    fn single<S: Steps>(&self, unit: Unit, count: usize, buffer: &mut [u8]) {
        let outputs = buffer.iter_mut().skip(unit.output as usize).take(count);
        for (output, at) in outputs.zip(0..) {
            let start = unit.input as usize + S::input(at);
            let tap = |offset: &u32| self.bytes.get(start + *offset as usize).copied().unwrap_or(0);
            let sum = |list: &[u32]| list.iter().map(|offset| i32::from(tap(offset))).sum::<i32>();
            let levels = LEVELS.iter().enumerate().map(|(level, weight)| {
                let [plus, minus] = self.lists.level(level);
                weight * (sum(plus) - sum(minus))
            });
            *output = self.affine.activation(levels.sum(), self.low);
        }
    }
}

/// Pairs of numbers from a pair of rows.
fn transposed<const N: usize>([even, odd]: &[[u16; N]; 2]) -> impl Iterator<Item = [u16; 2]> {
    even.iter().zip(odd).map(|(even, odd)| [*even, *odd])
}

/// Adds the bytes at the offsets of a list to the sums of every unit, or takes them away. Two bytes
/// of at most 127 are added as bytes first.
///
/// # Safety
/// See [`super`]; the pointers are good for [`Steps::read`] bytes at every offset.
#[inline(always)]
unsafe fn each<V: Vector, S: Steps, const N: usize, const MINUS: bool>(
    from: &[*const u8; N],
    list: &[u32],
    sums: &mut [[V; 2]; N],
) {
    let (pairs, rest) = list.as_chunks::<2>();
    // SAFETY: as for this function.
    unsafe {
        for [first, second] in pairs {
            for (from, sums) in from.iter().zip(&mut *sums) {
                let second = S::load::<V>(from.add(*second as usize));
                let bytes = S::load::<V>(from.add(*first as usize)).add_bytes(second);
                if MINUS { S::sub(sums, bytes) } else { S::add(sums, bytes) }
            }
        }
        if let [offset] = rest {
            for (from, sums) in from.iter().zip(sums) {
                let bytes = S::load::<V>(from.add(*offset as usize));
                if MINUS { S::sub(sums, bytes) } else { S::add(sums, bytes) }
            }
        }
    }
}

/// Writes the outputs of a unit, and maybe some bytes that units behind it write again.
///
/// # Safety
/// See [`super`].
#[inline(always)]
unsafe fn put<V: Vector>(outputs: V, unit: Unit, buffer: &mut [u8]) {
    let to = buffer.get_mut(unit.output as usize..).unwrap_or(&mut []);
    if to.len() >= V::BYTES {
        // SAFETY: as for this function; `to` holds a vector.
        unsafe { outputs.store(to.as_mut_ptr()) }
    }
}
