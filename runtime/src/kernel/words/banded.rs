//! Convolutions of ±1 weights over banded maps: every tap is whole words away, so that a column of
//! four outputs is a word, loaded as one. A row of weights becomes lists of taps in pairs, which run over
//! the map two columns at a time: as many as the registers of the smallest cores hold.

use crate::epilogue::{Affine, Narrow};
use crate::kernel::processor::columns::{self, Outputs, Pairs};
use crate::kernel::{BANDS, Convolution, Planes, Sink, Source};
use crate::layer::Window;
use crate::random::{WORD, bit_of};

/// Weights of one sign up to which sums of activations fit in 16 bits.
const SMALL: usize = 258;

/// Makes the channels of `y`; `false`, and nothing done, where map or weights have another form.
pub(super) fn windows(
    conv: &mut Convolution,
    x: &Source,
    y: &mut Sink,
    scratch: &mut [u32],
) -> bool {
    let bands = usize::from(BANDS);
    let (mut x, mut y) = (*x, Sink { planes: y.planes, bytes: &mut *y.bytes });
    if *conv.window == Window::square(1, 1, 0)
        && let (Some(from), Some(to)) = (flat(&x.planes), flat(&y.planes))
    {
        (x.planes, y.planes) = (from, to);
    }
    let (x, y) = (&x, &mut y);
    let reach = self::reach(x, conv.window);
    let inputs = x.planes.channels * conv.window.area() as usize;
    if (x.planes.bands, y.planes.bands) != (bands, bands)
        || y.planes.width < 2
        || conv.window.stride[1] > 2
        || reach > u16::MAX.into()
        || !conv.rows.are_signs()
    {
        return false;
    }
    let whole = x.bytes.get(..x.bytes.len() & !3).unwrap_or_default();
    let (Ok(words), Some(mut scratch)) =
        (bytemuck::try_cast_slice(whole), Scratch::new(scratch, inputs))
    else {
        return false;
    };
    if conv.first == 0 {
        let steps = [x.planes.plane(), x.planes.stride(), bands];
        scratch.fill_table(x.planes.channels, steps, conv.window);
    }
    for channel in 0..y.planes.channels {
        let taps = Row::read(conv, &mut scratch, conv.first + channel, reach);
        for row in 0..y.planes.rows() {
            let start = corner(x, conv.window, row) / bands;
            let mut outputs = Outputs {
                bytes: y.planes.row_mut(y.bytes, channel, row),
                columns: y.planes.width,
                column_step: bands,
                lane_step: 1,
                ragged: false,
            };
            taps.line(conv, words.get(start..).unwrap_or_default(), &mut outputs);
        }
    }
    true
}

/// The taps of a channel, and what becomes of their sums.
pub(super) enum Row<'s> {
    /// Minus and plus taps whose sums fit in 16 bits, and a scale and shift that fit in 32.
    Narrow([Pairs<'s>; 2], Narrow),
    /// Plus and minus taps, offsets in bytes.
    Wide([&'s [u32]; 2], Affine),
}

impl<'s> Row<'s> {
    /// Reads the next row, which is that of output channel `channel`. No offset is beyond `reach`.
    #[inline(always)]
    pub(super) fn read(
        conv: &mut Convolution,
        scratch: &'s mut Scratch,
        channel: usize,
        reach: usize,
    ) -> Self {
        conv.rows.next_mask(scratch.masks, scratch.signs);
        let affine = conv.epilogue.row(channel);
        let (plus, minus) = scratch.lists();
        match affine.narrow() {
            Some(narrow) if plus.len().max(minus.len()) <= SMALL => {
                Self::Narrow([minus, plus].map(|list| Pairs::new(list, reach)), narrow)
            }
            _ => Self::Wide([plus, minus], affine),
        }
    }

    /// One row of outputs; the first window begins at the first word of `x`.
    #[inline(always)]
    pub(super) fn line(&self, conv: &Convolution, x: &[u32], outputs: &mut Outputs) {
        let step = usize::from(conv.window.stride[1]);
        match self {
            Self::Narrow(lists, narrow) if step == 1 => {
                columns::line::<1>(lists, x, outputs, *narrow, conv.low);
            }
            Self::Narrow(lists, narrow) => {
                columns::line::<2>(lists, x, outputs, *narrow, conv.low);
            }
            Self::Wide(lists, affine) => wide(lists, *affine, conv.low, step, x, outputs),
        }
    }
}

/// One row of outputs, one after the other: for long rows and unusual scales.
#[inline(never)]
fn wide(
    [plus, minus]: &[&[u32]; 2],
    affine: Affine,
    low: u8,
    step: usize,
    x: &[u32],
    outputs: &mut Outputs,
) {
    let x: &[u8] = bytemuck::cast_slice(x);
    let bands = usize::from(BANDS);
    for column in 0..outputs.columns {
        for lane in 0..bands - usize::from(outputs.ragged) {
            let corner = column * step * bands + lane;
            let at =
                |offset: &u32| x.get(corner + *offset as usize).map_or(0, |byte| i32::from(*byte));
            let sum = plus.iter().map(at).sum::<i32>() - minus.iter().map(at).sum::<i32>();
            let to = column * outputs.column_step + lane * outputs.lane_step;
            if let Some(to) = outputs.bytes.get_mut(to) {
                *to = affine.activation(sum, low);
            }
        }
    }
}

/// A plain map without halo as one of a single row, with what fills it up: where its elements lie does not matter to windows of
/// one. `None` where its planes are no whole words.
fn flat(planes: &Planes) -> Option<Planes> {
    let (bands, plane) = (usize::from(BANDS), planes.plane());
    let whole = planes.bands == 1 && !planes.split && planes.pad == 0 && plane % bands == 0;
    whole.then_some(Planes { height: bands, width: plane / bands, bands, filling: 0, ..*planes })
}

/// Where the window of the first output of `line` begins; the halo covers the padding.
fn corner(x: &Source, window: &Window, line: usize) -> usize {
    let [top, left, ..] = window.padding.map(usize::from);
    let first = x.planes.corner(top, left).unwrap_or(0);
    line * usize::from(window.stride[0]) * x.planes.stride() + first
}

/// The largest offset of a tap.
fn reach(x: &Source, window: &Window) -> usize {
    let [height, width] = window.kernel.map(usize::from);
    let planes = x.planes.channels.saturating_sub(1) * x.planes.plane();
    // Of two neighbouring columns one is the farther, whichever way they lie.
    let column = |column| x.planes.tap(window.padding[1].into(), height.saturating_sub(1), column);
    planes + column(width.saturating_sub(1)).max(column(width.saturating_sub(2)))
}

/// The scratch of a convolution in its parts.
pub(super) struct Scratch<'s> {
    /// Offset of the input at each bit of a mask, from the highest of the first word down.
    /// Made with a layer's first channel.
    table: &'s mut [[u16; WORD]],
    masks: &'s mut [u32],
    signs: &'s mut [u32],
    /// A word for every input.
    offsets: &'s mut [u32],
}

impl<'s> Scratch<'s> {
    /// Words that rows of `inputs` inputs take.
    pub(super) const fn words(inputs: usize) -> usize {
        inputs.div_ceil(WORD) * (WORD / 2 + 2) + inputs
    }

    pub(super) fn new(scratch: &'s mut [u32], inputs: usize) -> Option<Self> {
        let words = inputs.div_ceil(WORD);
        let (table, rest) = scratch.split_at_mut_checked(words * WORD / 2)?;
        let (masks, rest) = rest.split_at_mut_checked(words)?;
        let (signs, rest) = rest.split_at_mut_checked(words)?;
        let offsets = rest.get_mut(..inputs)?;
        let table: &mut [u16] = bytemuck::try_cast_slice_mut(table).ok()?;
        Some(Self { table: table.as_chunks_mut().0, masks, signs, offsets })
    }

    /// Notes the offsets of the inputs of all `channels`, given the bytes from plane to plane, from row to
    /// row and from column to column.
    pub(super) fn fill_table(
        &mut self,
        channels: usize,
        [plane, stride, step]: [usize; 3],
        window: &Window,
    ) {
        let [height, width] = window.kernel.map(usize::from);
        let mut input = 0;
        for channel in 0..channels {
            for row in 0..height {
                let start = channel * plane + row * stride;
                for column in 0..width {
                    let at = WORD - 1 - bit_of(input % WORD) as usize;
                    let entry = self.table.get_mut(input / WORD).and_then(|word| word.get_mut(at));
                    if let Some(entry) = entry {
                        // The caller saw that the largest fits.
                        *entry = (start + column * step) as u16;
                    }
                    input += 1;
                }
            }
        }
    }

    /// The offsets of the plus and the minus weights that the bits keep.
    fn lists(&mut self) -> (&mut [u32], &mut [u32]) {
        let (mut front, mut back) = (0, self.offsets.len());
        for ((mask, signs), table) in self.masks.iter().zip(&*self.signs).zip(&*self.table) {
            let (mut mask, mut bit) = (*mask, 0);
            // Bit by bit: to find the next one that is set takes more on cores without CLZ.
            while mask != 0 {
                if (mask as i32) < 0
                    && let Some(offset) = table.get(bit as usize)
                {
                    let minus = ((signs << bit) as i32) < 0;
                    let slot = if minus { back.wrapping_sub(1) } else { front };
                    if let Some(entry) = self.offsets.get_mut(slot) {
                        *entry = (*offset).into();
                    }
                    if minus { back = slot } else { front += 1 }
                }
                mask <<= 1;
                bit += 1;
            }
        }
        let (rest, minus) = self.offsets.split_at_mut_checked(back).unwrap_or_default();
        (rest.get_mut(..front).unwrap_or_default(), minus)
    }
}
