//! One layer at a time: from the plan's offsets to the maps that kernels work on.

use core::ops::Range;

use crate::artifact::{Model, Work};
use crate::family::Family;
use crate::kernel::{
    Channelwise, Convolution, Kernels, Placed, Planes, Sink, Source, Target, disjoint,
};
use crate::layer::{Depthwise, Element, Layer, TensorId};
use crate::plan::JOINED;

/// A checked model and its arena. What it returns is `None` where the artifact no longer is what was
/// checked.
pub(super) struct Runner<'m, 'a> {
    pub(super) model: &'m Model<'m>,
    pub(super) arena: &'a mut [u8],
}

impl<'a> Runner<'_, 'a> {
    /// Layout and bytes of a tensor in the arena.
    pub(super) fn map(&mut self, id: TensorId) -> Option<(Planes, &mut [u8])> {
        let (map, bytes) = (self.model.placed(id)?, self.region(id)?);
        Some((map.planes, self.arena.get_mut(bytes)?))
    }

    /// The bytes of a tensor, for as long as the arena is borrowed.
    pub(super) fn into_bytes(self, id: TensorId) -> Option<&'a [u8]> {
        let bytes = self.region(id)?;
        self.arena.get(bytes)
    }

    /// The bytes of a tensor.
    fn region(&self, id: TensorId) -> Option<Range<usize>> {
        let bytes = self.model.region(id)?;
        Some(bytes.start as usize..bytes.end as usize)
    }

    /// The bytes of a layer's scratch.
    fn scratch(&self, op: &Work) -> Option<Range<usize>> {
        let bytes = self.model.scratch(op.id)?;
        Some(bytes.start as usize..bytes.end as usize)
    }

    /// Runs one layer, but for the halo of its output.
    pub(super) fn run<K: Kernels>(&mut self, op: &Work) -> Option<()> {
        let layer = &op.layer;
        let input = layer.inputs().0;
        let (from, to) = (self.region(input)?, self.region(op.id)?);
        if let (Layer::Dense(dense), Some((weights, epilogue))) = (layer, &op.learned) {
            let [x, y, _] = disjoint(self.arena, [from, to, 0..0])?;
            let target = match op.output.element {
                Element::Logit => Target::Logits(bytemuck::try_cast_slice_mut(y).ok()?),
                Element::Activation => Target::Activations { low: dense.range.low(), bytes: y },
            };
            K::dense(weights, epilogue, x, target);
            return Some(());
        }
        let scratch = self.scratch(op)?;
        let (x, y) = (self.model.placed(input)?, self.model.placed(op.id)?);
        match (layer, &op.learned) {
            (Layer::Conv2d(conv), Some((weights, epilogue))) if Family::Conv2d.is_linked() => {
                let [from, to, scratch] = disjoint(self.arena, [from, to, scratch])?;
                let (low, window, mut rows) = (conv.range.low(), &conv.window, weights.rows());
                let mut conv = Convolution { rows: &mut rows, epilogue, first: 0, low, window };
                let x = Source { planes: x.planes, bytes: from };
                let y = Sink { planes: y.planes, bytes: to };
                K::conv2d(&mut conv, x, y, words(scratch)?);
            }
            (Layer::Depthwise(layer), Some(_)) if Family::Depthwise.is_linked() => {
                self.run_depthwise::<K>(layer, op, x, y, scratch)?;
            }
            (Layer::Pool(pool), _) if Family::Pool.is_linked() => K::pool(pool, self.arena, &x, &y),
            (Layer::Add(add), _) if Family::Add.is_linked() => {
                K::add(add, self.arena, &x, &self.model.placed(add.right)?, &y);
            }
            (Layer::Relayout(_), _) if Family::Relayout.is_linked() => {
                if x != y {
                    K::relayout(self.arena, &x, &y);
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn run_depthwise<K: Kernels>(
        &mut self,
        layer: &Depthwise,
        op: &Work,
        x: Placed,
        y: Placed,
        scratch: Range<usize>,
    ) -> Option<()> {
        let (weights, epilogue) = op.learned.as_ref()?;
        let (low, window, mut rows) = (layer.range.low(), &layer.window, weights.rows());
        let copy = Placed { planes: layer.copy(&x.planes), start: scratch.start };
        let copied = scratch.start..scratch.start + layer.copy_bytes(&op.input) as usize;
        // Channels are copied between the same halo.
        copy.planes.fill_halo(self.arena.get_mut(copied.clone())?);
        let lists = copied.end..scratch.end;
        let mut conv = Convolution { rows: &mut rows, epilogue, first: 0, low, window };
        K::depthwise(&mut conv, self.arena, &Channelwise { x, copy, copied, lists, y })
    }

    /// A convolution and the sum behind it, in turns of some channels.
    pub(super) fn run_joined<K: Kernels>(&mut self, conv: &Work, sum: &Work) -> Option<()> {
        let (Layer::Conv2d(layer), Layer::Add(add)) = (&conv.layer, &sum.layer) else {
            return None;
        };
        let (weights, epilogue) = conv.learned.as_ref()?;
        let (low, window, mut rows) = (layer.range.low(), &layer.window, weights.rows());
        let other = if add.left == layer.output { add.right } else { add.left };
        let (x, from) = (self.model.placed(layer.input)?, self.region(layer.input)?);
        let mut part = self.model.placed(layer.output)?;
        let (mut other, mut y) = (self.model.placed(other)?, self.model.placed(add.output)?);
        let (scratch, channels) = (self.scratch(conv)?, y.planes.channels);
        for first in (0..channels).step_by(JOINED.into()) {
            let count = (channels - first).min(JOINED.into());
            for map in [&mut part, &mut other, &mut y] {
                map.planes.channels = count;
            }
            let written = part.start..part.start + part.planes.len();
            let pieces = [from.clone(), written, scratch.clone()];
            let [bytes, to, lists] = disjoint(self.arena, pieces)?;
            let mut conv = Convolution { rows: &mut rows, epilogue, first, low, window };
            let from = Source { planes: x.planes, bytes };
            K::conv2d(&mut conv, from, Sink { planes: part.planes, bytes: to }, words(lists)?);
            let (left, right) = match add.left == layer.output {
                true => (&part, &other),
                false => (&other, &part),
            };
            K::add(add, self.arena, left, right, &y);
            for map in [&mut other, &mut y] {
                map.start += count * map.planes.plane();
            }
        }
        Some(())
    }
}

fn words(scratch: &mut [u8]) -> Option<&mut [u32]> {
    bytemuck::try_cast_slice_mut(scratch).ok()
}
