//! Convolutions of ±1 weights over banded maps: every tap is whole words away, so that a column of
//! four outputs is a word, loaded as one. A row of weights becomes lists of taps in pairs, which run over
//! the map two columns at a time: as many as the registers of the smallest cores hold.

use super::taps::Taps;
use super::window::{self, Plane, corner};
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
    let reach = window::reach(x, conv.window);
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
        scratch.fill_table(&x.planes, conv.window);
    }
    for channel in 0..y.planes.channels {
        conv.rows.next_mask(scratch.masks, scratch.signs);
        let affine = conv.epilogue.row(conv.first + channel);
        let (plus, minus) = scratch.lists();
        match affine.narrow() {
            Some(narrow) if plus.len().max(minus.len()) <= SMALL => {
                let lists = [Pairs::new(minus, reach), Pairs::new(plus, reach)];
                for row in 0..y.planes.rows() {
                    let start = corner(x, conv.window, row) / bands;
                    let x = words.get(start..).unwrap_or_default();
                    let mut outputs = Outputs {
                        bytes: y.planes.row_mut(y.bytes, channel, row),
                        columns: y.planes.width,
                        column_step: bands,
                        lane_step: 1,
                        ragged: false,
                    };
                    if conv.window.stride[1] == 1 {
                        columns::line::<1>(&lists, x, &mut outputs, narrow, conv.low);
                    } else {
                        columns::line::<2>(&lists, x, &mut outputs, narrow, conv.low);
                    }
                }
            }
            _ => {
                let taps = Taps::of_signs(plus, minus);
                Plane::new(&taps, conv, affine, x).lines(channel, x, y);
            }
        }
    }
    true
}

/// A plain map without halo as one of a single row: where its elements lie does not matter to windows of
/// one. `None` where its planes are no whole words.
fn flat(planes: &Planes) -> Option<Planes> {
    let (bands, plane) = (usize::from(BANDS), planes.plane());
    let whole = planes.bands == 1 && !planes.split && planes.pad == 0 && plane % bands == 0;
    whole.then_some(Planes { height: bands, width: plane / bands, bands, ..*planes })
}

/// The scratch of a convolution in its parts.
struct Scratch<'s> {
    /// Offset of the input at each bit of a mask, from the highest of the first word down.
    /// Made with a layer's first channel.
    table: &'s mut [[u16; WORD]],
    masks: &'s mut [u32],
    signs: &'s mut [u32],
    /// A word for every input.
    offsets: &'s mut [u32],
}

impl<'s> Scratch<'s> {
    fn new(scratch: &'s mut [u32], inputs: usize) -> Option<Self> {
        let words = inputs.div_ceil(WORD);
        let (table, rest) = scratch.split_at_mut_checked(words * WORD / 2)?;
        let (masks, rest) = rest.split_at_mut_checked(words)?;
        let (signs, rest) = rest.split_at_mut_checked(words)?;
        let offsets = rest.get_mut(..inputs)?;
        let table: &mut [u16] = bytemuck::try_cast_slice_mut(table).ok()?;
        Some(Self { table: table.as_chunks_mut().0, masks, signs, offsets })
    }

    fn fill_table(&mut self, x: &Planes, window: &Window) {
        let [height, width] = window.kernel.map(usize::from);
        let mut input = 0;
        for channel in 0..x.channels {
            for row in 0..height {
                let start = channel * x.plane() + row * x.stride();
                for column in 0..width {
                    let at = WORD - 1 - bit_of(input % WORD) as usize;
                    let entry = self.table.get_mut(input / WORD).and_then(|word| word.get_mut(at));
                    if let Some(entry) = entry {
                        // `windows` saw that the largest fits.
                        *entry = (start + column * x.bands) as u16;
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
