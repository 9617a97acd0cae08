//! Arena offsets and layouts: made on the host, checked on load.
//!
//! A tensor lives from the layer that writes it to the last layer that reads it; the input lives
//! from the start, the output to the end. Tensors that live at the same time may not share bytes,
//! but for a layer that works in place: a sum, a depthwise layer, a pool or a relayout that may write
//! its output over its input.
//!
//! A convolution whose output is read by nothing but the [`Add`](crate::layer::Add) right behind it is *joined* with it:
//! both run in turns of [`JOINED`] channels, so that only so many of the output exist at a time.

use crate::artifact::{MAX_TENSORS, Model, ParseError, Placement};
use crate::family::{Family, MAPS};
use crate::kernel::{Planes, storage};
use crate::layer::{Element, Layer, Tensor, TensorId};

/// Alignment of every tensor and scratch in the arena.
pub const ALIGNMENT: u32 = 4;

/// Channels of a joined convolution that exist at a time.
pub const JOINED: u16 = 2;

/// The span of layers during which a tensor's bytes are spoken for, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Life {
    /// The layer that writes it; 0 for the input.
    pub first: u8,
    /// The last layer that reads it; one past the last layer for the output.
    pub last: u8,
    /// How many layers read it.
    readers: u8,
    /// Whether it is the output of a convolution that is joined with the sum behind it.
    pub joined: bool,
}

impl Life {
    fn meets(self, other: Life) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    pub(crate) fn holds(self, layer: u8) -> bool {
        (self.first..=self.last).contains(&layer)
    }
}

/// What the layers of a graph whose order is right ask of the plan of each tensor.
pub(crate) struct Needs {
    tensors: [Need; MAX_TENSORS],
    before: Option<Layer>,
    layers: u8,
}

#[derive(Clone, Copy, Default)]
struct Need {
    life: Life,
    /// The widest padding of the layers that read the tensor as a map.
    halo: u8,
    /// Whether a layer reads or writes it element after element.
    flat: bool,
}

impl Needs {
    pub(crate) fn new() -> Self {
        Self { tensors: [Need::default(); MAX_TENSORS], before: None, layers: 0 }
    }

    #[cfg(feature = "write")]
    pub(crate) fn of_layers<'l>(
        tensors: &[Tensor],
        layers: impl IntoIterator<Item = &'l Layer>,
    ) -> Self {
        let mut needs = Self::new();
        for layer in layers {
            let output = tensors.get(usize::from(layer.output())).copied();
            needs.add(layer, &output.unwrap_or(Tensor::vector(0, 0)));
        }
        needs.end();
        needs
    }

    /// Takes the next layer, which writes `output`.
    pub(crate) fn add(&mut self, layer: &Layer, output: &Tensor) {
        let index = self.layers;
        let (left, right) = layer.inputs();
        let (halo, dense) = (layer.halo(), matches!(layer, Layer::Dense(_)));
        for id in [Some(left), right].into_iter().flatten() {
            self.change(id, |need| {
                need.life.last = index;
                need.life.readers = need.life.readers.saturating_add(1);
                need.halo = need.halo.max(halo);
                need.flat |= dense;
            });
        }
        let joined = self.before.filter(|conv| joins(conv, layer)).map(|conv| conv.output());
        // Whether something else reads the convolution is not known yet; then this sum lives a
        // layer longer than it must.
        let first = index - u8::from(joined.is_some());
        let vector = (output.height, output.width) == (1, 1);
        let relayout = matches!(layer, Layer::Relayout(_));
        let flat = output.element == Element::Logit || dense || (vector && relayout);
        let life = Life { first, last: index, ..Life::default() };
        self.change(layer.output(), |of| *of = Need { life, halo: 0, flat });
        if let Some(id) = joined {
            self.change(id, |need| need.life.joined = true);
        }
        (self.before, self.layers) = (Some(*layer), index.saturating_add(1));
    }

    /// Takes note that no layer follows.
    pub(crate) fn end(&mut self) {
        let layers = self.layers;
        if let Some(last) = self.before {
            self.change(last.output(), |need| need.life.last = layers);
        }
        self.change(0, |input| input.flat = true);
        self.tensors.iter_mut().for_each(|need| need.life.joined &= need.life.readers == 1);
    }

    /// The span of layers for which a tensor's bytes are spoken for.
    pub(crate) fn life(&self, id: TensorId) -> Life {
        self.of(id).life
    }

    /// The halo that the plan must give a tensor: the widest padding of the layers that read it as
    /// a map, and none for the input, for vectors that a layer writes element after element, and for
    /// inputs of dense layers. `None` where these collide.
    pub(crate) fn halo(&self, id: TensorId) -> Option<u8> {
        let Need { halo, flat, .. } = self.of(id);
        (halo == 0 || !flat).then_some(halo)
    }

    /// A bit for every layer whose output is joined with the sum behind it.
    pub(crate) fn joined(&self) -> u64 {
        let joined = self.tensors.iter().filter(|need| need.life.joined);
        joined.fold(0, |bits, need| bits | 1u64.unbounded_shl(need.life.first.into()))
    }

    fn of(&self, id: TensorId) -> Need {
        self.tensors.get(usize::from(id)).copied().unwrap_or_default()
    }

    fn change(&mut self, id: TensorId, change: impl FnOnce(&mut Need)) {
        if let Some(need) = self.tensors.get_mut(usize::from(id)) {
            change(need);
        }
    }
}

/// Whether `next` adds something to the output of the convolution `layer` that this does not read.
fn joins(layer: &Layer, next: &Layer) -> bool {
    match (layer, next) {
        (Layer::Conv2d(conv), Layer::Add(add))
            if Family::Conv2d.is_linked() && Family::Add.is_linked() =>
        {
            let inputs = [add.left, add.right];
            let of_this = inputs.iter().filter(|input| **input == conv.output).count();
            of_this == 1 && !inputs.contains(&conv.input)
        }
        _ => false,
    }
}

/// What exists of `tensor` at a time, where the layer that writes it is `joined`.
pub(crate) fn part(tensor: &Tensor, joined: bool) -> Tensor {
    let channels = if joined { tensor.channels.min(JOINED) } else { tensor.channels };
    Tensor { channels, ..*tensor }
}

/// Layout of a tensor: its shape, halo and bands.
pub(crate) fn planes(tensor: &Tensor, place: Placement) -> Option<Planes> {
    let planes = Planes::new(tensor, place.pad);
    if MAPS { planes.banded(place.bands) } else { Some(planes) }
}

/// Whether `layer` may write its output over its input `over`, given where both lie: a relayout that
/// does not move elements to the front, a sum, and layers that go through planes or rows in order and
/// make less of them.
pub(crate) fn in_place(
    layer: &Layer,
    over: TensorId,
    input: (&Tensor, Placement),
    output: (&Tensor, Placement),
) -> bool {
    if !MAPS {
        return false;
    }
    let (Some(x), Some(y)) = (planes(input.0, input.1), planes(output.0, output.1)) else {
        return false;
    };
    if input.1.offset != output.1.offset {
        return false;
    }
    match layer {
        Layer::Add(add) if Family::Add.is_linked() => {
            input.1 == output.1 && add.left != add.right && [add.left, add.right].contains(&over)
        }
        Layer::Depthwise(_) if Family::Depthwise.is_linked() => y.plane() <= x.plane(),
        Layer::Pool(pool) if Family::Pool.is_linked() => {
            let vector = y.height == 1 && y.width == 1;
            pool.window.padding == [0; 4]
                && y.pad == 0
                && (x.bands == y.bands || vector)
                && y.plane() <= x.plane()
                && y.stride() <= x.stride()
        }
        // Element after element from the last: none goes to an address before its own.
        Layer::Relayout(_) => {
            !y.split
                && x.filling <= y.filling
                && x.bands == 1
                && y.bands == 1
                && x.pad <= y.pad
                && (x.is_as_large_as(&y) || y.pad == 0)
        }
        _ => false,
    }
}

/// Whether a layer can work between these layouts.
pub(crate) fn bands_fit(layer: &Layer, x: &Planes, right: Option<&Planes>, y: &Planes) -> bool {
    if !MAPS {
        return true;
    }
    let steps =
        |down: u8| x.bands == y.bands && (x.bands == 1 || x.rows() == usize::from(down) * y.rows());
    let split = x.split || y.split;
    let filled = x.filling > 0 || y.filling > 0;
    match layer {
        Layer::Dense(_) | Layer::Add(_) if filled => false,
        Layer::Dense(_) | Layer::Depthwise(_) => x.bands == 1 && y.bands == 1 && !split,
        Layer::Conv2d(conv) if x.split => conv.window.stride[1] == 2 && y.bands == 1 && !y.split,
        Layer::Conv2d(conv) => steps(conv.window.stride[0]) && !split,
        Layer::Pool(pool) => {
            (steps(pool.window.stride[0]) || (y.height == 1 && y.bands == 1)) && !split
        }
        Layer::Add(_) => {
            let equal =
                |right: &Planes| right.bands == y.bands && !right.split && right.filling == 0;
            x.bands == y.bands && right.is_none_or(equal) && !split
        }
        // A vector that is made of a map has its bytes side by side.
        Layer::Relayout(_) => !x.split && (x.is_as_large_as(y) || (!y.split && y.filling == 0)),
    }
}

/// Checks the plan of a model whose graph was checked: bounds, alignment, layouts, overlaps.
pub(crate) fn check(model: &Model<'_>, needs: &Needs) -> Result<(), ParseError> {
    let mut ends: heapless::Vec<(u32, u32), MAX_TENSORS> = heapless::Vec::new();
    for id in 0..model.tensor_count() {
        let (Some(tensor), Some(place)) = (model.tensor(id), model.placement(id)) else {
            return Err(ParseError::Tensor { tensor: id });
        };
        let expected = needs.halo(id);
        if expected != Some(place.pad) {
            let expected = expected.unwrap_or(0);
            return Err(ParseError::Halo { tensor: id, found: place.pad, expected });
        }
        let plain = id == 0 || id == model.output_id();
        let plain = plain || !MAPS;
        if (plain && place.bands != 1) || planes(&tensor, place).is_none() {
            return Err(ParseError::Bands { tensor: id, found: place.bands });
        }
        let part = part(&tensor, needs.life(id).joined);
        let bytes =
            storage(&part, place.pad, place.bands).ok_or(ParseError::Storage { tensor: id })?;
        ends.push(region(id, place.offset, bytes.into(), model.arena)?).ok();
    }

    let end = |id: TensorId| ends.get(usize::from(id)).copied().unwrap_or_default();
    let mut written: heapless::Vec<TensorId, MAX_TENSORS> = heapless::Vec::new();
    written.push(0).ok();
    for step in model.steps() {
        let at = |id: TensorId| Some((model.tensor(id)?, model.placement(id)?));
        let layout = |id: TensorId| at(id).and_then(|(tensor, place)| planes(&tensor, place));
        let ((left, right), output) = (step.layer.inputs(), step.layer.output());
        let (x, sum, y) = (layout(left), right.and_then(layout), layout(output));
        if !x.zip(y).is_some_and(|(x, y)| bands_fit(&step.layer, &x, sum.as_ref(), &y)) {
            let found = model.placement(output).map_or(0, |place| place.bands);
            return Err(ParseError::Bands { tensor: output, found });
        }
        // With every tensor that was written before: so no pair is left out.
        let (life, (start, stop)) = (needs.life(output), end(output));
        for &other in &written {
            let (other_life, (other_start, other_stop)) = (needs.life(other), end(other));
            if start >= other_stop || other_start >= stop || !life.meets(other_life) {
                continue;
            }
            // A layer may work in place where nothing reads its input afterwards. Of what a joined
            // convolution writes there is only a part at a time.
            let read = other == left || Some(other) == right;
            let shares = read
                && !other_life.joined
                && other_life.last == step.index
                && at(other).zip(at(output)).is_some_and(|((from, x), (to, y))| {
                    in_place(&step.layer, other, (&from, x), (&to, y))
                });
            if !shares {
                let (first, second) = (other.min(output), other.max(output));
                return Err(ParseError::Overlap { first, second });
            }
        }
        written.push(output).ok();

        let bytes = step.layer.scratch(&step.input, &step.output);
        if bytes == 0 {
            continue;
        }
        let (start, stop) = region(step.index, step.scratch, bytes, model.arena)?;
        for (tensor, &(other_start, other_stop)) in (0u8..).zip(ends.iter()) {
            let overlaps = start < other_stop && other_start < stop;
            if overlaps && needs.life(tensor).holds(step.index) {
                return Err(ParseError::ScratchOverlap { layer: step.index, tensor });
            }
        }
    }
    Ok(())
}

fn region(index: u8, offset: u32, bytes: u64, arena: u32) -> Result<(u32, u32), ParseError> {
    let end = u64::from(offset).saturating_add(bytes);
    match u32::try_from(end) {
        Ok(end) if end <= arena && offset.is_multiple_of(ALIGNMENT) => Ok((offset, end)),
        _ => Err(ParseError::Placement { index, end, arena }),
    }
}

#[cfg(feature = "write")]
mod make;
#[cfg(feature = "write")]
mod place;
#[cfg(all(test, feature = "write"))]
mod tests;

/// For every tensor the first and the last layer during which its bytes are spoken for; one past the
/// last layer for the output.
#[cfg(feature = "write")]
pub fn spans(model: &Model<'_>) -> alloc::vec::Vec<[u8; 2]> {
    let mut needs = Needs::new();
    model.steps().for_each(|step| needs.add(&step.layer, &step.output));
    needs.end();
    let span = |id| [needs.life(id).first, needs.life(id).last];
    (0..model.tensor_count()).map(span).collect()
}

#[cfg(feature = "write")]
pub use make::{Goal, Plan, PlanError, make};
