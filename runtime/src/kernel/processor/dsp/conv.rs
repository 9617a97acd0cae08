//! Convolutions: rows of weights become programs, and the programs run over the map in tiles of
//! sixteen outputs. What has no such form (other weights than ±1, sums beyond 16 bits, windows that
//! step over the columns of a plain map) is left to [`Words`].

use super::program::{self, Bits, Writer};
use super::tiles::Channel;
use super::walk::Walk;
use crate::epilogue::Narrow;
use crate::kernel::{Convolution, Kernels, Planes, Sink, Source, Words};
use crate::layer::Window;
use crate::mask::Rows;
use crate::random::WORD;

pub(super) fn conv2d(conv: &mut Convolution, x: Source, mut y: Sink, scratch: &mut [u32]) {
    let inputs = x.planes.channels * conv.window.area() as usize;
    let (Some(walk), Some(mut scratch)) =
        (Walk::new(&x, &y, conv.window), Scratch::new(scratch, inputs))
    else {
        return Words::conv2d(conv, x, y, scratch);
    };
    if conv.first == 0 {
        scratch.fill_table(&x.planes, conv.window);
    }
    let channels = y.planes.channels;
    let mut done = 0;
    while done < channels {
        let before = conv.rows.clone();
        let made = scratch.make(conv, &walk, done, &x, &mut y);
        let count = made.unwrap_or(1);
        if made.is_none() {
            *conv.rows = before;
            let planes = Planes { channels: 1, ..y.planes };
            let bytes = y.bytes.get_mut(done * planes.plane()..).unwrap_or_default();
            let mut one = Convolution {
                rows: conv.rows,
                epilogue: conv.epilogue,
                first: conv.first + done,
                low: conv.low,
                window: conv.window,
            };
            Words::conv2d(&mut one, x, Sink { planes, bytes }, scratch.program);
        }
        done += count;
    }
}

/// The scratch of a convolution in its parts.
struct Scratch<'s> {
    inputs: usize,
    program: &'s mut [u32],
    bits: [&'s mut [u32]; 2],
    /// Offset of the input at each bit of a mask, from the highest of the first word down. Made with
    /// a layer's first channel.
    table: &'s mut [u16],
}

impl<'s> Scratch<'s> {
    fn new(scratch: &'s mut [u32], inputs: usize) -> Option<Self> {
        let words = inputs.div_ceil(WORD);
        let (table, rest) = scratch.split_at_mut_checked(words * WORD / 2)?;
        let (first, rest) = rest.split_at_mut_checked(2 * words)?;
        let (last, program) = rest.split_at_mut_checked(2 * words)?;
        Some(Self { inputs, program, bits: [first, last], table: bytemuck::cast_slice_mut(table) })
    }

    fn fill_table(&mut self, x: &Planes, window: &Window) {
        let [height, width] = window.kernel.map(usize::from);
        let mut input = 0;
        for channel in 0..x.channels {
            for row in 0..height {
                let start = channel * x.plane() + row * x.stride();
                for column in 0..width {
                    if let Some(entry) = self.table.get_mut(program::table_at(input)) {
                        // `Walk::new` saw that the largest fits.
                        *entry = (start + column * x.bands) as u16;
                    }
                    input += 1;
                }
            }
        }
    }

    /// Makes channel `done` and, where that is faster, the next one with it. Gives how many were
    /// made; `None` where these tiles cannot make this one.
    fn make(
        &mut self,
        conv: &mut Convolution,
        walk: &Walk,
        done: usize,
        x: &Source,
        y: &mut Sink,
    ) -> Option<usize> {
        let [first, last] = &mut self.bits;
        let one = read(conv.rows, first)?;
        let epilogue = |at: usize| conv.epilogue.row(conv.first + done + at).narrow();
        let here = epilogue(0)?;
        if done + 1 < y.planes.channels
            && let Some(there) = epilogue(1)
        {
            let after = conv.rows.clone();
            if let Some(two) = read(conv.rows, last)
                && walk.pays(program::shared(one, two), one.masks.len())
                && let Some(writer) = Writer::new(self.table, self.program, self.inputs)
                && let Some(program) = writer.two(one, two)
            {
                let [first, last] = [(here, 0), (there, 1)]
                    .map(|(narrow, at)| (done + at, channel(narrow, program.negated)));
                // SAFETY: the table is that of the window that the walk was made for.
                unsafe { walk.run(program.start, conv.low, x, y, [first, last]) };
                return Some(2);
            }
            *conv.rows = after;
        }
        let program = Writer::new(self.table, self.program, self.inputs)?.one(one)?;
        let only = (done, channel(here, program.negated));
        // SAFETY: as above.
        unsafe { walk.run(program.start, conv.low, x, y, [only; 2]) };
        Some(1)
    }
}

/// The next row; `None` where its weights are not ±1 from the seed.
fn read<'s>(rows: &mut Rows, words: &'s mut [u32]) -> Option<Bits<'s>> {
    let mut row = rows.next_row()?;
    let bits = Bits::read(&mut row, words);
    rows.resume(row);
    bits
}

/// The epilogue of sums that a program gives with the opposite sign, or as they are.
fn channel(narrow: Narrow, negated: bool) -> Channel {
    let scale = if negated { -narrow.scale } else { narrow.scale };
    Channel { scale, shift: narrow.shift, right: narrow.right, y: core::ptr::null_mut() }
}
