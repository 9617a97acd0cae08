//! Depthwise layers of ±1 weights, whatever the height of the map: each channel is copied to words that
//! hold a column of four bands, over which its taps then run as in a banded convolution.

use super::banded::{Row, Scratch};
use crate::kernel::processor::columns::Outputs;
use crate::kernel::{BANDS, Channelwise, Convolution, Placed, Planes};

/// The copy of a channel in words: lane `b` of row `r` and column `c` holds the element
/// `(b·period + r − top, c − left)`, the zero point around the map. The columns right of a row are
/// those left of the next.
struct Bands {
    /// Rows of outputs in a band.
    outputs: usize,
    /// Rows from band to band.
    period: usize,
    /// Rows in all.
    rows: usize,
    /// Words from row to row.
    stride: usize,
    top: usize,
    left: usize,
}

impl Bands {
    /// `None` where more than the last band would have rows without outputs.
    fn new(conv: &Convolution, x: &Planes, y: &Planes) -> Option<Self> {
        let window = conv.window;
        let [height, width] = window.kernel.map(usize::from);
        let [down, right] = window.stride.map(usize::from);
        let [top, left, ..] = window.padding.map(usize::from);
        let outputs = y.height.div_ceil(BANDS.into());
        let columns = y.width.checked_sub(1)? * right + width;
        let bands = Self {
            outputs,
            period: outputs * down,
            rows: outputs.checked_sub(1)? * down + height,
            stride: (x.width + left).max(columns.saturating_sub(left)),
            top,
            left,
        };
        (y.height >= 3 * outputs && y.width >= 2 && right <= 2).then_some(bands)
    }

    /// Words of the copy.
    fn words(&self) -> usize {
        self.rows * self.stride + self.left
    }

    /// The row of the map that a band has as `row`, if there is one.
    fn source(&self, band: usize, row: usize, height: usize) -> Option<usize> {
        (band * self.period + row).checked_sub(self.top).filter(|source| *source < height)
    }

    /// Copies a channel of one band to `words`, around which the zero point stands already.
    fn copy(&self, x: Placed, memory: &[u8], words: &mut [u32]) {
        let zero = u32::from(x.planes.zero_point) << 24;
        let last = usize::from(BANDS) - 1;
        let spread = |words: &mut [u32], band, row| {
            if let Some(source) = self.source(band, row, x.planes.height) {
                let from = memory.get(x.row_start(0, source)..).unwrap_or_default();
                let to = words.get_mut(row * self.stride + self.left..).unwrap_or_default();
                let to = bytemuck::cast_slice_mut(to);
                columns_of(from, to.get_mut(band..).unwrap_or_default(), x.planes.width);
            }
        };
        for row in 0..self.rows {
            if row < self.period {
                (0..=last).for_each(|band| spread(words, band, row));
                continue;
            }
            // What a band has here the next one has at its beginning.
            let (before, here) = words.split_at_mut(row * self.stride);
            let before = before.get((row - self.period) * self.stride..).unwrap_or_default();
            for (to, from) in here.iter_mut().zip(before).take(self.stride) {
                *to = from >> 8 | zero;
            }
            spread(words, last, row);
        }
    }
}

/// Copies `count` bytes to every fourth one of `to`.
fn columns_of(from: &[u8], to: &mut [u8], count: usize) {
    let from = from.get(..count).unwrap_or_default();
    for (to, from) in to.chunks_mut(BANDS.into()).zip(from) {
        if let Some(to) = to.first_mut() {
            *to = *from;
        }
    }
}

/// Makes all channels; `Some(false)`, and nothing done, where map or weights have another form.
pub(super) fn channels(
    conv: &mut Convolution,
    memory: &mut [u8],
    maps: &Channelwise,
) -> Option<bool> {
    let Some(bands) = Bands::new(conv, &maps.x.planes, &maps.y.planes) else { return Some(false) };
    let area = conv.window.area() as usize;
    let [height, width] = conv.window.kernel.map(usize::from);
    let reach = 4 * (height.saturating_sub(1) * bands.stride + width.saturating_sub(1));
    let range = maps.copied.start..maps.lists.end;
    let room = range.len() / 4 >= bands.words() + Scratch::words(area);
    if !room || reach > u16::MAX.into() || !conv.rows.are_signs() {
        return Some(false);
    }
    let scratch: &mut [u32] = bytemuck::try_cast_slice_mut(memory.get_mut(range.clone())?).ok()?;
    let (copy, lists) = scratch.split_at_mut_checked(bands.words())?;
    copy.fill(u32::from(maps.x.planes.zero_point) * 0x0101_0101);
    Scratch::new(lists, area)?.fill_table(1, [0, 4 * bands.stride, 4], conv.window);
    for channel in 0..maps.y.planes.channels {
        let (x, y) = (maps.x.channels(channel, 1), maps.y.channels(channel, 1));
        let [from, scratch] =
            memory.get_disjoint_mut([x.start..x.start + x.planes.len(), range.clone()]).ok()?;
        let words = bytemuck::try_cast_slice_mut(scratch).ok()?;
        bands.copy(Placed { start: 0, ..x }, from, words);
        let [to, scratch] =
            memory.get_disjoint_mut([y.start..y.start + y.planes.len(), range.clone()]).ok()?;
        let words: &mut [u32] = bytemuck::try_cast_slice_mut(scratch).ok()?;
        let (copy, lists) = words.split_at_mut_checked(bands.words())?;
        let mut lists = Scratch::new(lists, area)?;
        let row = Row::read(conv, &mut lists, channel, reach);
        let step = usize::from(conv.window.stride[0]) * bands.stride;
        for line in 0..bands.outputs {
            let mut outputs = Outputs {
                bytes: to.get_mut(y.planes.row_start(0, line)..)?,
                columns: y.planes.width,
                column_step: 1,
                lane_step: bands.outputs * y.planes.stride(),
                ragged: 3 * bands.outputs + line >= y.planes.height,
            };
            row.line(conv, copy.get(line * step..)?, &mut outputs);
        }
    }
    Some(true)
}
