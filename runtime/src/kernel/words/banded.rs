//! Convolutions of ±1 weights over banded maps: every tap is whole words away, so that a column of
//! four outputs is a word, loaded as one. A row of weights becomes a [`Program`], which runs over the
//! map two columns at a time: as many as the eight low registers of the smallest cores hold.

use super::Lanes;
use super::taps::Taps;
use super::window::{Plane, corner, reach};
use crate::epilogue::Narrow;
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
    let inputs = x.planes.channels * conv.window.area() as usize;
    if (x.planes.bands, y.planes.bands) != (bands, bands)
        || y.planes.width < 2
        || conv.window.stride[1] > 2
        || reach(x, conv.window) > 4 * usize::from(u16::MAX)
        || !conv.rows.have_masks()
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
        if !conv.rows.next_mask(scratch.masks, scratch.signs) {
            break;
        }
        let affine = conv.epilogue.row(conv.first + channel);
        let (plus, minus) = scratch.lists();
        match affine.narrow() {
            Some(narrow) if plus.len().max(minus.len()) <= SMALL => {
                let program = Program::new(plus, minus);
                for line in 0..y.planes.rows() {
                    let start = corner(x, conv.window, line) / bands;
                    let outputs = y.planes.row_mut(y.bytes, channel, line);
                    let x = words.get(start..).unwrap_or_default();
                    if conv.window.stride[1] == 1 {
                        program.line::<1>(x, outputs, narrow, conv.low);
                    } else {
                        program.line::<2>(x, outputs, narrow, conv.low);
                    }
                }
            }
            _ => {
                for offset in plus.iter_mut().chain(minus.iter_mut()) {
                    *offset *= u32::from(BANDS);
                }
                let taps = Taps::of_signs(plus, minus);
                Plane::new(&taps, conv, affine, x).lines(channel, x, y);
            }
        }
    }
    true
}

/// The scratch of a convolution in its parts.
struct Scratch<'s> {
    /// Offset, in words, of the input at each bit of a mask, from the highest of the first word down.
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
                let start = (channel * x.plane() + row * x.stride()) / usize::from(BANDS);
                for column in 0..width {
                    let at = WORD - 1 - bit_of(input % WORD) as usize;
                    let entry = self.table.get_mut(input / WORD).and_then(|word| word.get_mut(at));
                    if let Some(entry) = entry {
                        // `windows` saw that the largest fits.
                        *entry = (start + column) as u16;
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

/// A row of weights as pairs of taps of one sign: the bytes of two activations are added before they
/// are spread over lanes.
struct Program<'s> {
    /// Minus and plus taps.
    lists: [Pairs<'s>; 2],
}

/// Taps of one sign.
struct Pairs<'s> {
    /// Two offsets each.
    pairs: &'s [u32],
    /// What is left over.
    single: Option<u32>,
}

impl<'s> Pairs<'s> {
    /// Packs `offsets`, of 16 bits each.
    fn new(offsets: &'s mut [u32]) -> Self {
        let single = offsets.last().copied().filter(|_| offsets.len() % 2 == 1);
        let count = offsets.len() / 2;
        for at in 0..count {
            let pair = offsets.get(2 * at).zip(offsets.get(2 * at + 1));
            let pair = pair.map(|(one, two)| one | two << 16);
            if let (Some(entry), Some(pair)) = (offsets.get_mut(at), pair) {
                *entry = pair;
            }
        }
        Self { pairs: offsets.get(..count).unwrap_or_default(), single }
    }
}

impl<'s> Program<'s> {
    fn new(plus: &'s mut [u32], minus: &'s mut [u32]) -> Self {
        Self { lists: [Pairs::new(minus), Pairs::new(plus)] }
    }

    /// One row of outputs, whose windows are `STEP` words apart; the first begins at the first word.
    #[inline(always)]
    fn line<const STEP: usize>(&self, x: &[u32], outputs: &mut [u8], narrow: Narrow, low: u8) {
        let columns = outputs.len() / usize::from(BANDS);
        let mut done = 0;
        while done < columns {
            // The last tile may begin within the one before: it then writes the same bytes again.
            let at = done.min(columns - 2);
            let to = outputs.get_mut(usize::from(BANDS) * at..).unwrap_or_default();
            let [first, second] = self.tile::<STEP>(x.get(at * STEP..).unwrap_or_default());
            let (to, rest) = to.split_at_mut_checked(BANDS.into()).unwrap_or_default();
            write(first, to, narrow, low);
            write(second, rest, narrow, low);
            done = at + 2;
        }
    }

    /// The sums of two columns.
    #[inline(never)]
    fn tile<const STEP: usize>(&self, x: &[u32]) -> [Lanes; 2] {
        let (mut one, mut two) = (Lanes::default(), Lanes::default());
        // One look at the length for both loads.
        let columns = |offset: u32| {
            let offset = (offset & 0xffff) as usize;
            x.get(offset..offset + STEP + 1).map(|words| (words[0], words[STEP]))
        };
        for Pairs { pairs, single } in &self.lists {
            // What was added before were the minus taps.
            (one, two) = (one.negated(), two.negated());
            for pair in *pairs {
                if let (Some(left), Some(right)) = (columns(*pair), columns(*pair >> 16)) {
                    one.add(left.0.wrapping_add(right.0));
                    two.add(left.1.wrapping_add(right.1));
                }
            }
            if let Some((first, second)) = single.and_then(columns) {
                one.add(first);
                two.add(second);
            }
        }
        [one, two]
    }
}

/// Puts the sums of a column through the epilogue.
#[inline(never)]
fn write(lanes: Lanes, outputs: &mut [u8], narrow: Narrow, low: u8) {
    let even = lanes.all.wrapping_sub(lanes.high << 8);
    if let Some([a, b, c, d]) = outputs.first_chunk_mut::<{ BANDS as usize }>() {
        for (lanes, lower, upper) in [(even, a, c), (lanes.high, b, d)] {
            *lower = narrow.activation((lanes as i16).into(), low);
            // The carry of a lower lane below zero is taken back.
            *upper = narrow.activation(lanes.wrapping_add(0x8000) as i32 >> 16, low);
        }
    }
}
