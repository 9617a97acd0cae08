//! One layer at a time: from the plan's offsets to the maps that kernels work on.

use core::ops::Range;

use crate::artifact::{Model, Op, Step};
use crate::family::Family;
use crate::kernel::{Convolution, Kernels, Placed, Planes, Sink, Source, Target, storage};
use crate::layer::{Depthwise, Element, Layer, TensorId};
use crate::plan::{self, JOINED};

/// A checked model and its arena. What it returns is `None` where the artifact no longer is what was
/// checked.
pub(super) struct Runner<'m, 'a> {
    pub(super) model: &'m Model<'m>,
    pub(super) arena: &'a mut [u8],
}

impl<'a> Runner<'_, 'a> {
    /// Layout and bytes of a tensor in the arena.
    pub(super) fn map(&mut self, id: TensorId) -> Option<(Planes, &mut [u8])> {
        let place = self.place(id)?;
        let range = self.region(id)?;
        Some((place.planes, self.arena.get_mut(range)?))
    }

    /// The bytes of a tensor, for as long as the arena is borrowed.
    pub(super) fn into_bytes(self, id: TensorId) -> Option<&'a [u8]> {
        let range = self.region(id)?;
        self.arena.get(range)
    }

    /// Where a tensor lies in the arena.
    fn place(&self, id: TensorId) -> Option<Placed> {
        let (tensor, place) = (self.model.tensor(id)?, self.model.placement(id)?);
        Some(Placed { planes: plan::planes(&tensor, place)?, start: place.offset as usize })
    }

    /// The bytes of a tensor in the arena.
    fn region(&self, id: TensorId) -> Option<Range<usize>> {
        let (tensor, place) = (self.model.tensor(id)?, self.model.placement(id)?);
        let (start, bytes) = (place.offset as usize, storage(&tensor, place.pad, place.bands)?);
        Some(start..start + bytes as usize)
    }

    /// The bytes of a layer's scratch.
    fn scratch(&self, step: &Step) -> Option<Range<usize>> {
        match usize::try_from(step.layer.scratch(&step.input, &step.output)).ok()? {
            // An empty piece within another would not be disjoint of it.
            0 => Some(0..0),
            bytes => Some(step.scratch as usize..(step.scratch as usize).checked_add(bytes)?),
        }
    }

    /// Runs one layer, but for the halo of its output.
    pub(super) fn run<K: Kernels>(&mut self, op: &Op) -> Option<()> {
        let layer = &op.step.layer;
        let (input, output) = (layer.inputs().0, layer.output());
        let (x, y) = (self.place(input)?, self.place(output)?);
        match (layer, &op.learned) {
            (Layer::Dense(dense), Some((weights, epilogue))) => {
                let ranges = [self.region(input)?, self.region(output)?, self.scratch(&op.step)?];
                let [x, y, scratch] = disjoint(self.arena, ranges)?;
                let target = match op.step.output.element {
                    Element::Logit => Target::Logits(bytemuck::try_cast_slice_mut(y).ok()?),
                    Element::Activation => Target::Activations { low: dense.range.low(), bytes: y },
                };
                K::dense(weights, epilogue, x, target, words(scratch)?);
            }
            (Layer::Conv2d(conv), Some((weights, epilogue))) => {
                let ranges = [self.region(input)?, self.region(output)?, self.scratch(&op.step)?];
                let [from, to, scratch] = disjoint(self.arena, ranges)?;
                let (low, window, mut rows) = (conv.range.low(), &conv.window, weights.rows());
                let mut conv = Convolution { rows: &mut rows, epilogue, first: 0, low, window };
                let x = Source { planes: x.planes, bytes: from };
                let y = Sink { planes: y.planes, bytes: to };
                K::conv2d(&mut conv, x, y, words(scratch)?);
            }
            (Layer::Depthwise(layer), Some(_)) if Family::Depthwise.is_linked() => {
                self.run_depthwise::<K>(layer, op, x, y)?;
            }
            (Layer::Pool(pool), _) if Family::Pool.is_linked() => K::pool(pool, self.arena, x, y),
            (Layer::Add(add), _) if Family::Add.is_linked() => {
                K::add(add, self.arena, x, self.place(add.right)?, y);
            }
            (Layer::Relayout(_), _) if x == y => {}
            (Layer::Relayout(_), _) => relayout(self.arena, x, y),
            _ => return None,
        }
        Some(())
    }

    /// Channel by channel: the input is then a copy, so that the output may take its place.
    fn run_depthwise<K: Kernels>(
        &mut self,
        layer: &Depthwise,
        op: &Op,
        x: Placed,
        y: Placed,
    ) -> Option<()> {
        let (weights, epilogue) = op.learned.as_ref()?;
        let (low, window, mut rows) = (layer.range.low(), &layer.window, weights.rows());
        let scratch = self.scratch(&op.step)?;
        let copy = Placed { planes: layer.copy(&x.planes), start: scratch.start };
        let copied = scratch.start..scratch.start + layer.copy_bytes(&op.step.input) as usize;
        let lists = copied.end..scratch.end;
        // Channels are written between the same halo.
        copy.planes.fill_halo(self.arena.get_mut(copied.clone())?);
        for first in 0..y.planes.channels {
            copy_map(self.arena, x.channels(first, 1), copy);
            let to = y.channels(first, 1);
            let written = to.start..to.start + to.planes.len();
            let [from, bytes, lists] =
                disjoint(self.arena, [copied.clone(), written, lists.clone()])?;
            let mut conv = Convolution { rows: &mut rows, epilogue, first, low, window };
            let x = Source { planes: copy.planes, bytes: from };
            K::conv2d(&mut conv, x, Sink { planes: to.planes, bytes }, words(lists)?);
        }
        Some(())
    }

    /// A convolution and the sum behind it, in turns of some channels.
    pub(super) fn run_joined<K: Kernels>(&mut self, conv: &Op, sum: &Op) -> Option<()> {
        let (Layer::Conv2d(layer), Layer::Add(add)) = (&conv.step.layer, &sum.step.layer) else {
            return None;
        };
        let (weights, epilogue) = conv.learned.as_ref()?;
        let (low, window, mut rows) = (layer.range.low(), &layer.window, weights.rows());
        let [x, part, left, right, y] =
            [layer.input, layer.output, add.left, add.right, add.output].map(|id| self.place(id));
        let (x, part, left, right, y) = (x?, part?, left?, right?, y?);
        let (read, scratch) = (self.region(layer.input)?, self.scratch(&conv.step)?);
        for first in (0..y.planes.channels).step_by(JOINED.into()) {
            let count = (y.planes.channels - first).min(JOINED.into());
            let part = part.channels(0, count);
            let written = part.start..part.start + part.planes.len();
            let [from, bytes, lists] =
                disjoint(self.arena, [read.clone(), written, scratch.clone()])?;
            let mut conv = Convolution { rows: &mut rows, epilogue, first, low, window };
            let from = Source { planes: x.planes, bytes: from };
            K::conv2d(&mut conv, from, Sink { planes: part.planes, bytes }, words(lists)?);
            let of_sum = |id: TensorId, map: Placed| {
                if id == layer.output { part } else { map.channels(first, count) }
            };
            let (left, right) = (of_sum(add.left, left), of_sum(add.right, right));
            K::add(add, self.arena, left, right, y.channels(first, count));
        }
        Some(())
    }
}

/// Three pieces of the arena that share no byte.
fn disjoint(arena: &mut [u8], ranges: [Range<usize>; 3]) -> Option<[&mut [u8]; 3]> {
    arena.get_disjoint_mut(ranges).ok()
}

fn words(scratch: &mut [u8]) -> Option<&mut [u32]> {
    bytemuck::try_cast_slice_mut(scratch).ok()
}

/// Copies element by element to a map of the same shape or to a vector. `y` may begin where `x` does,
/// if both are plain and no element of it lies before its own in `x`.
fn relayout(memory: &mut [u8], x: Placed, y: Placed) {
    let (from, to) = (x.planes, y.planes);
    let same_shape = from.width == to.width && from.height == to.height;
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
fn copy_map(memory: &mut [u8], x: Placed, y: Placed) -> Option<()> {
    let (from, to) = (x.planes, y.planes);
    let ranges = [x.start..x.start + from.len(), y.start..y.start + to.len()];
    let [source, target] = memory.get_disjoint_mut(ranges).ok()?;
    // A plan never reads a split map here, nor splits a banded one.
    let plain = from.bands == 1 && to.bands == 1;
    for channel in 0..from.channels {
        if plain {
            let rows = source.get(from.row_start(channel, 0)..)?.chunks(from.stride().max(1));
            let targets =
                target.get_mut(to.row_start(channel, 0)..)?.chunks_mut(to.stride().max(1));
            for (row, target) in rows.zip(targets).take(from.height) {
                let row = row.get(..from.width).unwrap_or(row);
                if to.split {
                    deal(row, target, to.pad);
                } else {
                    copy_row(row, target);
                }
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

/// Copies `row` to the beginning of `target`.
fn copy_row(row: &[u8], target: &mut [u8]) {
    let (words, rest) = row.as_chunks::<4>();
    let target = target.get_mut(..row.len()).unwrap_or_default();
    let (to_words, to_rest) = target.as_chunks_mut::<4>();
    to_words.iter_mut().zip(words).for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
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
