//! Maps from one layout to another.

use core::ops::Range;

use super::{Placed, Planes, Sink, Source};

/// A layer of one window a channel: each channel is copied with its padding, so that the output may
/// take the input's place.
pub struct Channelwise {
    /// The input, plain.
    pub x: Placed,
    /// One channel of it with its halo, which is filled.
    pub copy: Placed,
    /// The bytes of the copy.
    pub copied: Range<usize>,
    /// The bytes of what is left of the scratch.
    pub lists: Range<usize>,
    /// The output, plain.
    pub y: Placed,
}

impl Channelwise {
    /// Copies a channel, and gives the copy, the output of the channel and the scratch; `None` where these
    /// share bytes.
    #[inline(never)]
    pub(super) fn channel<'m>(
        &self,
        memory: &'m mut [u8],
        channel: usize,
    ) -> Option<(Source<'m>, Sink<'m>, &'m mut [u32])> {
        copy_map(memory, &self.x.channels(channel, 1), &self.copy);
        let planes = Planes { channels: 1, ..self.y.planes };
        let start = self.y.start + channel * planes.plane();
        // Nothing behind the last row: where `y` takes the place of `x`, the next channel lies there.
        let last = planes.row_start(0, planes.rows().checked_sub(1)?);
        let written = start..start + last + planes.row_bytes();
        let pieces = [self.copied.clone(), written, self.lists.clone()];
        let [from, bytes, lists] = disjoint(memory, pieces)?;
        let x = Source { planes: self.copy.planes, bytes: from };
        Some((x, Sink { planes, bytes }, bytemuck::try_cast_slice_mut(lists).ok()?))
    }
}

/// Three pieces of a memory that share no byte.
#[inline(never)]
pub(crate) fn disjoint(memory: &mut [u8], ranges: [Range<usize>; 3]) -> Option<[&mut [u8]; 3]> {
    // One by one, since all together would be copied by a call.
    let [first, second, third] = memory.get_disjoint_mut(ranges).ok()?;
    Some([first, second, third])
}

/// Copies element by element to a map of the same shape or to a vector. `y` may begin where `x` does,
/// if both are plain and no element of it lies before its own in `x`.
pub(crate) fn relayout(memory: &mut [u8], x: &Placed, y: &Placed) {
    if x.planes.is_as_large_as(&y.planes) {
        return copy_map(memory, x, y);
    }
    // The elements of a vector lie as those of a plain map.
    let planes = Planes { pad: 0, bands: 1, split: false, filling: 0, ..x.planes };
    copy_map(memory, x, &Placed { planes, start: y.row_start(0, 0) });
}

/// Copies a map to one of the same shape, from the last element to the first.
#[inline(never)]
fn copy_map(memory: &mut [u8], x: &Placed, y: &Placed) {
    let (from, to) = (&x.planes, &y.planes);
    for channel in (0..from.channels).rev() {
        for line in (0..from.height).rev() {
            let from_at = x.start + from.index(channel, line, 0);
            let [first, second] = [0, 1].map(|column| y.start + to.index(channel, line, column));
            let (bands, width) = (from.bands, from.width);
            if to.split {
                // A plan never reads a split map here, nor splits one in its place.
                copy_row(memory, [from_at, first], [2 * bands, 1], width.div_ceil(2));
                copy_row(memory, [from_at + bands, second], [2 * bands, 1], width / 2);
            } else {
                copy_row(memory, [from_at, first], [bands, to.bands], width);
            }
        }
    }
}

/// Copies `count` bytes, the last one first: where source and target begin, and how many bytes it is
/// there to the next one.
#[inline(never)]
fn copy_row(memory: &mut [u8], [from, to]: [usize; 2], steps: [usize; 2], count: usize) {
    if steps == [1, 1] && from.abs_diff(to) >= count {
        let (low, high) = memory.split_at_mut_checked(from.max(to)).unwrap_or_default();
        let low = low.get_mut(from.min(to)..).unwrap_or_default();
        let (from, to) = if from < to { (low, high) } else { (high, low) };
        return to.iter_mut().zip(from).take(count).for_each(|(to, from)| *to = *from);
    }
    for at in (0..count).rev() {
        let value = memory.get(from + at * steps[0]).copied().unwrap_or(0);
        if let Some(byte) = memory.get_mut(to + at * steps[1]) {
            *byte = value;
        }
    }
}
