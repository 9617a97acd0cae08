//! Depthwise layers of ±1 weights, whatever the height of the map: each channel is copied to words that
//! hold a column of four bands, over which its taps then run as in a banded convolution.

use super::Rows;
use super::banded::{Row, Scratch};
use crate::kernel::processor::columns::Outputs;
#[cfg(seedmask_thumb)]
use crate::kernel::processor::thumb::spread::spread;
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

    /// Copies a channel of one band to `words`, around which the zero point stands already.
    fn copy(&self, x: Placed, memory: &[u8], words: &mut [u32]) {
        let last = usize::from(BANDS) - 1;
        let here = self.period.min(self.rows);
        (0..=last).for_each(|band| self.spread(x, memory, words, band, 0..here));
        // What a band has behind its rows the next one has at its beginning.
        let zero = u32::from(x.planes.zero_point) << 24;
        for row in self.period..self.rows {
            let (before, behind) =
                words.split_at_mut_checked(row * self.stride).unwrap_or_default();
            let before = before.get((row - self.period) * self.stride..).unwrap_or_default();
            for (to, from) in behind.iter_mut().zip(before).take(self.stride) {
                *to = from >> 8 | zero;
            }
            self.spread(x, memory, words, last, row..row + 1);
        }
    }

    /// Copies `rows` of `band`, as far as the map has them.
    fn spread(
        &self,
        x: Placed,
        memory: &[u8],
        words: &mut [u32],
        band: usize,
        rows: core::ops::Range<usize>,
    ) {
        // Rows of the map, `top` too large.
        let first = (band * self.period + rows.start).max(self.top);
        let end = (band * self.period + rows.end).min(x.planes.height + self.top);
        let from = memory.get(x.row_start(0, first - self.top)..).unwrap_or_default();
        let row = first - band * self.period;
        let to = words.get_mut(row * self.stride + self.left..).unwrap_or_default();
        let to = bytemuck::cast_slice_mut(to).get_mut(band..).unwrap_or_default();
        let rows = Rows {
            count: end.saturating_sub(first),
            width: x.planes.width,
            from_stride: x.planes.stride(),
            to_stride: 4 * self.stride,
        };
        spread(from, to, &rows);
    }
}

/// Copies `rows` of `from` to every fourth byte of `to`; nothing where either is too short.
#[cfg(not(seedmask_thumb))]
fn spread(from: &[u8], to: &mut [u8], rows: &Rows) {
    for row in 0..rows.count {
        let from = from.get(row * rows.from_stride..).unwrap_or_default();
        let to = to.get_mut(row * rows.to_stride..).unwrap_or_default();
        for (to, from) in to.iter_mut().step_by(4).zip(from).take(rows.width) {
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
