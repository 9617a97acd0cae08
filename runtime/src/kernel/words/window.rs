//! Convolutions: a row of weights becomes lists of taps, and the lists run over the output plane tile
//! by tile. Padding is read from the input's halo; a banded plane is one of fewer and longer rows.

use super::taps::{Geometry, Taps};
use super::tile;
use crate::epilogue::{Affine, Narrow};
use crate::kernel::{BANDS, Convolution, Sink, Source};
use crate::layer::Window;

pub(super) fn windows(conv: &mut Convolution, x: &Source, y: &mut Sink, scratch: &mut [u32]) {
    let geometry = Geometry::new(&x.planes, conv.window);
    for channel in 0..y.planes.channels {
        let Some(row) = conv.rows.next_row() else { return };
        let taps = Taps::read(conv.rows, row, &geometry, scratch);
        let affine = conv.epilogue.row(conv.first + channel);
        Plane::new(&taps, conv, affine, x).lines(channel, x, y);
    }
}

/// Where the window of the first output of `line` begins; the halo covers the padding.
pub(super) fn corner(x: &Source, window: &Window, line: usize) -> usize {
    let [top, left, ..] = window.padding.map(usize::from);
    let first = x.planes.corner(top, left).unwrap_or(0);
    line * usize::from(window.stride[0]) * x.planes.stride() + first
}

/// The largest offset of a tap.
pub(super) fn reach(x: &Source, window: &Window) -> usize {
    let [height, width] = window.kernel.map(usize::from);
    let planes = x.planes.channels.saturating_sub(1) * x.planes.plane();
    // Of two neighbouring columns one is the farther, whichever way they lie.
    let column = |column| x.planes.tap(window.padding[1].into(), height.saturating_sub(1), column);
    planes + column(width.saturating_sub(1)).max(column(width.saturating_sub(2)))
}

/// Whether there are tiles of four words: fewer looks at the lists, and 1.6 KB of flash.
const WIDE: bool = cfg!(feature = "wide-tiles");

/// One output channel.
pub(super) struct Plane<'t> {
    taps: &'t Taps<'t>,
    window: &'t Window,
    affine: Affine,
    /// The same in 32 bits.
    narrow: Option<Narrow>,
    low: u8,
    reach: usize,
    stride: usize,
    bands: usize,
}

impl<'t> Plane<'t> {
    pub(super) fn new(
        taps: &'t Taps<'t>,
        conv: &Convolution<'_, 't>,
        affine: Affine,
        x: &Source,
    ) -> Self {
        let window = conv.window;
        Self {
            taps,
            window,
            affine,
            narrow: affine.narrow(),
            low: conv.low,
            reach: reach(x, window),
            stride: if x.planes.split { 1 } else { window.stride[1].into() },
            bands: x.planes.bands,
        }
    }

    /// Every row of outputs of `channel`.
    #[inline(never)]
    pub(super) fn lines(&self, channel: usize, x: &Source, y: &mut Sink) {
        for line in 0..y.planes.rows() {
            let start = corner(x, self.window, line);
            let outputs = y.planes.row_mut(y.bytes, channel, line);
            self.line(x.bytes.get(start..).unwrap_or(&[]), outputs);
        }
    }

    /// The epilogue, in 32 bits where these suffice.
    #[inline]
    fn activation(&self, sum: i32) -> u8 {
        match self.narrow {
            Some(narrow) if sum.unsigned_abs() <= 1 << 15 => narrow.activation(sum, self.low),
            _ => self.affine.activation(sum, self.low),
        }
    }

    /// One row of outputs; the window of the first begins at the first byte of `x`.
    fn line(&self, x: &[u8], outputs: &mut [u8]) {
        if self.bands > 1 && self.stride > 1 {
            return self.columns(x, outputs);
        }
        let len = outputs.len();
        let mut done = 0;
        while done < len {
            let size = self.tile_size(len, done, x.len());
            // The last tile may begin within the one before: it then writes the same bytes again.
            let at = done.min(len - size);
            let x = x.get(at * self.stride..).unwrap_or(&[]);
            let mut outputs = outputs.get_mut(at..at + size).unwrap_or(&mut []).iter_mut();
            let write = |sum| {
                if let Some(output) = outputs.next() {
                    *output = self.activation(sum);
                }
            };
            self.tile(size, x, write);
            done = at + size;
        }
    }

    /// One row of banded outputs whose windows step by more than a column: a word each.
    fn columns(&self, x: &[u8], outputs: &mut [u8]) {
        for (column, outputs) in
            outputs.as_chunks_mut::<{ BANDS as usize }>().0.iter_mut().enumerate()
        {
            let start = column * self.bands * self.stride;
            let mut outputs = outputs.iter_mut();
            tile::by_one::<u32>(x.get(start..).unwrap_or(&[]), self.taps, |sum| {
                if let Some(output) = outputs.next() {
                    *output = self.activation(sum);
                }
            });
        }
    }

    /// Outputs to make at once where `done` of `len` are made: a tile of which more than half is
    /// new, and whose words end with the `bytes` of the input.
    fn tile_size(&self, len: usize, done: usize, bytes: usize) -> usize {
        let largest = match self.stride {
            1 if WIDE => 16,
            1 => 8,
            2 if WIDE => 8,
            2 => 4,
            _ => return 1,
        };
        let fits = |size: usize| {
            let Some(last) = len.checked_sub(size) else { return false };
            let end = (done.min(last) + size) * self.stride + self.reach;
            size <= largest && (size == 4 || len - done > size / 2) && end <= bytes
        };
        [16, 8, 4].into_iter().find(|size| fits(*size)).unwrap_or(1)
    }

    /// Calls `write` with the sums of `size` outputs, the window of the first at the first byte.
    fn tile(&self, size: usize, x: &[u8], mut write: impl FnMut(i32)) {
        type Two = (u32, u32);
        type Four = (Two, Two);
        let taps = self.taps;
        match (self.stride, size) {
            (1, 16) if WIDE => tile::by_one::<Four>(x, taps, write),
            (1, 8) => tile::by_one::<Two>(x, taps, write),
            (1, 4) => tile::by_one::<u32>(x, taps, write),
            (2, 8) if WIDE => tile::by_two::<Four>(x, taps, write),
            (2, 4) => tile::by_two::<Two>(x, taps, write),
            _ => write(tile::single(x, taps)),
        }
    }
}
