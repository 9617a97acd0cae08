//! One layer at a time: from the plan's offsets to the maps that kernels work on.

use core::ops::Range;

use crate::artifact::{Model, Work};
use crate::family::Family;
use crate::kernel::{
    Channelwise, Convolution, Kernels, Placed, Planes, Sink, Source, Target, disjoint,
};
use crate::layer::{Depthwise, Element, Layer, TensorId};
use crate::plan::{JOINED, Located};

/// A checked model and its arena. What it returns is `None` where the artifact no longer is what was
/// checked.
pub(super) struct Runner<'m, 'a> {
    model: &'m Model<'m>,
    arena: &'a mut [u8],
    /// The tensor that was written last, at first the input, and where it lies.
    last: (TensorId, Located),
}

impl<'m, 'a> Runner<'m, 'a> {
    pub(super) fn new(model: &'m Model<'m>, arena: &'a mut [u8]) -> Option<Self> {
        Some(Self { last: (0, model.located(0)?), model, arena })
    }

    /// Whether the tensor that was written last has a halo.
    pub(super) fn wrote_beside_halo(&self) -> bool {
        self.last.1.map.planes.pad > 0
    }

    /// Layout and bytes of the tensor that was written last.
    pub(super) fn written(&mut self) -> Option<(Planes, &mut [u8])> {
        let located = &self.last.1;
        Some((located.map.planes, self.arena.get_mut(located.bytes())?))
    }

    /// The bytes of that tensor, for as long as the arena is borrowed.
    pub(super) fn into_written(self) -> Option<&'a [u8]> {
        self.arena.get(self.last.1.bytes())
    }

    /// Where a tensor lies. To find that out takes longer than to remember the last.
    #[cfg_attr(feature = "relayout", inline(never))]
    fn located(&self, id: TensorId) -> Option<Located> {
        if id == self.last.0 { Some(self.last.1) } else { self.model.located(id) }
    }

    /// The bytes of a layer's scratch.
    fn scratch(&self, work: &Work) -> Option<Range<usize>> {
        let Work { id, layer, input, output, .. } = work;
        let bytes = self.model.scratch_for(*id, layer, input, output)?;
        Some(bytes.start as usize..bytes.end as usize)
    }

    /// Runs one layer, but for the halo of its output.
    pub(super) fn run<K: Kernels>(&mut self, work: &Work) -> Option<()> {
        let layer = &work.layer;
        let (x, y) = (self.located(layer.inputs().0)?, self.model.located(work.id)?);
        self.last = (work.id, y);
        if let (Layer::Dense(dense), Some((weights, epilogue))) = (layer, &work.learned) {
            let [x, y, _] = disjoint(self.arena, [x.bytes(), y.bytes(), 0..0])?;
            let target = match work.output.element {
                Element::Logit => Target::Logits(bytemuck::try_cast_slice_mut(y).ok()?),
                Element::Activation => Target::Activations { low: dense.range.low(), bytes: y },
            };
            K::dense(weights, epilogue, x, target);
            return Some(());
        }
        let scratch = self.scratch(work)?;
        match (layer, &work.learned) {
            (Layer::Conv2d(conv), Some((weights, epilogue))) if Family::Conv2d.is_linked() => {
                let [from, to, scratch] = disjoint(self.arena, [x.bytes(), y.bytes(), scratch])?;
                let (low, window, mut rows) = (conv.range.low(), &conv.window, weights.rows());
                let mut conv = Convolution::new(&mut rows, epilogue, low, window);
                let x = Source { planes: x.map.planes, bytes: from };
                let y = Sink { planes: y.map.planes, bytes: to };
                K::conv2d(&mut conv, x, y, words(scratch)?);
            }
            (Layer::Depthwise(layer), Some(_)) if Family::Depthwise.is_linked() => {
                self.run_depthwise::<K>(layer, work, &x.map, &y.map, scratch)?;
            }
            (Layer::Pool(pool), _) if Family::Pool.is_linked() => {
                K::pool(pool, self.arena, &x.map, &y.map);
            }
            (Layer::Add(add), _) if Family::Add.is_linked() => {
                let right = self.located(add.right)?;
                K::add(add, self.arena, &x.map, &right.map, &y.map);
            }
            (Layer::Relayout(_), _) if Family::Relayout.is_linked() => {
                if x.map != y.map {
                    K::relayout(self.arena, &x.map, &y.map);
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn run_depthwise<K: Kernels>(
        &mut self,
        layer: &Depthwise,
        work: &Work,
        x: &Placed,
        y: &Placed,
        scratch: Range<usize>,
    ) -> Option<()> {
        let (weights, epilogue) = work.learned.as_ref()?;
        let (low, window, mut rows) = (layer.range.low(), &layer.window, weights.rows());
        let copy = Placed { planes: layer.copy(&x.planes), start: scratch.start };
        let copied = scratch.start..scratch.start + layer.copy_bytes(&work.input) as usize;
        // Channels are copied between the same halo.
        copy.planes.fill_halo(self.arena.get_mut(copied.clone())?);
        let lists = copied.end..scratch.end;
        let mut conv = Convolution::new(&mut rows, epilogue, low, window);
        K::depthwise(&mut conv, self.arena, &Channelwise { x: *x, copy, copied, lists, y: *y })
    }

    /// A convolution and the sum behind it, in turns of some channels.
    pub(super) fn run_joined<K: Kernels>(&mut self, conv: &Work, sum: &Work) -> Option<()> {
        let (Layer::Conv2d(layer), Layer::Add(add)) = (&conv.layer, &sum.layer) else {
            return None;
        };
        let (weights, epilogue) = conv.learned.as_ref()?;
        let (low, window, mut rows) = (layer.range.low(), &layer.window, weights.rows());
        let other = if add.left == layer.output { add.right } else { add.left };
        let x = self.located(layer.input)?;
        let mut part = self.model.located(layer.output)?.map;
        let mut other = self.located(other)?.map;
        let written = self.model.located(add.output)?;
        self.last = (add.output, written);
        let mut y = written.map;
        let (scratch, channels) = (self.scratch(conv)?, y.planes.channels);
        for first in (0..channels).step_by(JOINED.into()) {
            let count = (channels - first).min(JOINED.into());
            for map in [&mut part, &mut other, &mut y] {
                map.planes.channels = count;
            }
            let written = part.start..part.start + part.planes.len();
            let pieces = [x.bytes(), written, scratch.clone()];
            let [bytes, to, lists] = disjoint(self.arena, pieces)?;
            let mut conv = Convolution { rows: &mut rows, epilogue, first, low, window };
            let from = Source { planes: x.map.planes, bytes };
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
