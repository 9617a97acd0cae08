//! Maps from one layout to another.

use core::ops::Range;

use super::{Placed, Sink, Source};

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
    /// Copies a channel, and gives [`Channelwise::pieces`].
    pub(super) fn channel<'m>(
        &self,
        memory: &'m mut [u8],
        channel: usize,
    ) -> Option<(Source<'m>, Sink<'m>, &'m mut [u32])> {
        copy_map(memory, self.x.channels(channel, 1), self.copy);
        self.pieces(memory, channel)
    }

    /// The copy, the output of a channel and the scratch; `None` where these share bytes.
    pub(super) fn pieces<'m>(
        &self,
        memory: &'m mut [u8],
        channel: usize,
    ) -> Option<(Source<'m>, Sink<'m>, &'m mut [u32])> {
        let to = self.y.channels(channel, 1);
        // Nothing behind the last row: where `y` takes the place of `x`, the next channel lies there.
        let last = to.planes.row_start(0, to.planes.rows().checked_sub(1)?);
        let written = to.start..to.start + last + to.planes.row_bytes();
        let pieces = [self.copied.clone(), written, self.lists.clone()];
        let [from, bytes, lists] = memory.get_disjoint_mut(pieces).ok()?;
        let x = Source { planes: self.copy.planes, bytes: from };
        Some((x, Sink { planes: to.planes, bytes }, bytemuck::try_cast_slice_mut(lists).ok()?))
    }
}

/// Copies element by element to a map of the same shape or to a vector. `y` may begin where `x` does,
/// if both are plain and no element of it lies before its own in `x`.
pub(crate) fn relayout(memory: &mut [u8], x: Placed, y: Placed) {
    let (from, to) = (x.planes, y.planes);
    let same_shape = from.is_as_large_as(&to);
    if same_shape && copy_map(memory, x, y).is_some() {
        return;
    }
    // From the last to the first.
    for channel in (0..from.channels).rev() {
        for line in (0..from.height).rev() {
            let start = x.start + from.index(channel, line, 0);
            let (target, step) = if same_shape {
                (y.start + to.index(channel, line, 0), to.bands)
            } else {
                let flat = (channel * from.height + line) * from.width;
                (y.start + to.row_start(0, 0) + flat, 1)
            };
            for column in (0..from.width).rev() {
                let value = memory.get(start + column * from.bands).copied().unwrap_or(0);
                if let Some(byte) = memory.get_mut(target + column * step) {
                    *byte = value;
                }
            }
        }
    }
}

/// Copies a map, row by row, to one of the same shape elsewhere; `None` where they share bytes.
#[inline(never)]
pub(super) fn copy_map(memory: &mut [u8], x: Placed, y: Placed) -> Option<()> {
    let (from, to) = (x.planes, y.planes);
    let ranges = [x.start..x.start + from.len(), y.start..y.start + to.len()];
    let [source, target] = memory.get_disjoint_mut(ranges).ok()?;
    // A plan never reads a split map here, nor splits a banded one.
    for channel in 0..from.channels {
        let start = to.row_start(channel, 0);
        if from.bands == 1 && to.bands == 1 {
            let rows = source.get(from.row_start(channel, 0)..)?;
            let targets = target.get_mut(start..)?;
            let (row, target) = (from.stride().max(1), to.stride().max(1));
            if to.split {
                let rows = rows.chunks(row).zip(targets.chunks_mut(target)).take(from.height);
                rows.for_each(|(row, target)| {
                    deal(row.get(..from.width).unwrap_or(row), target, to.pad)
                });
            } else {
                copy_rows(rows, row, targets, target, from.width, from.height);
            }
            continue;
        }
        for line in 0..from.height {
            let (row, bands) = (source.get(from.index(channel, line, 0)..)?, from.bands.max(1));
            let target = target.get_mut(to.index(channel, line, 0)..)?;
            let columns = row.chunks(bands).zip(target.chunks_mut(to.bands.max(1)));
            for (column, target) in columns.take(from.width) {
                if let (Some(value), Some(byte)) = (column.first(), target.first_mut()) {
                    *byte = *value;
                }
            }
        }
    }
    Some(())
}

/// Copies `height` rows of `width` bytes; the next row is `from_stride` and `to_stride` behind.
#[inline(never)]
fn copy_rows(
    mut from: &[u8],
    from_stride: usize,
    mut to: &mut [u8],
    to_stride: usize,
    width: usize,
    height: usize,
) {
    for _ in 0..height {
        if let (Some(row), Some(target)) = (from.get(..width), to.get_mut(..width)) {
            copy_bytes(row, target);
        }
        from = from.get(from_stride..).unwrap_or_default();
        to = to.get_mut(to_stride..).unwrap_or_default();
    }
}

/// Deals the columns of `row` out to the two halves of `target`, a row of a split plane with its halo
/// of `pad`.
fn deal(row: &[u8], target: &mut [u8], pad: usize) {
    let Some((even, odd)) = target.split_at_mut_checked(target.len() / 2) else { return };
    let (first, second) = if pad.is_multiple_of(2) {
        (even.get_mut(pad / 2..), odd.get_mut(pad / 2..))
    } else {
        (odd.get_mut(pad / 2..), even.get_mut(pad / 2 + 1..))
    };
    let (first, second) = (first.unwrap_or_default(), second.unwrap_or_default());
    let (pairs, rest) = row.as_chunks::<2>();
    first.iter_mut().zip(pairs).for_each(|(to, pair)| *to = pair[0]);
    second.iter_mut().zip(pairs).for_each(|(to, pair)| *to = pair[1]);
    if let (Some(to), Some(last)) = (first.get_mut(pairs.len()), rest.first()) {
        *to = *last;
    }
}

/// Copies `from` to `to`, which is as long: a row at a time is too short for a call.
#[inline(always)]
pub(in crate::kernel) fn copy_bytes(from: &[u8], to: &mut [u8]) {
    let (words, rest) = from.as_chunks::<4>();
    to.as_chunks_mut().0.iter_mut().zip(words).for_each(|(to, from)| *to = *from);
    if rest.is_empty() {
        return;
    }
    // The last word once more, or the few bytes that there are.
    match (from.last_chunk::<4>(), to.last_chunk_mut()) {
        (Some(from), Some(to)) => *to = *from,
        _ => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
    }
}
