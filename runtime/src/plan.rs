//! Arena offsets and layouts: made on the host, checked on load.
//!
//! A tensor lives from the layer that writes it to the last layer that reads it; the input lives
//! from the start, the output to the end. Tensors that live at the same time may not share bytes,
//! but for a layer that works in place (see [`in_place`]).
//!
//! A convolution whose output is read by nothing but the [`Add`](crate::layer::Add) right behind it is *joined* with it:
//! both run in turns of [`JOINED`] channels, so that only so many of the output exist at a time.

use crate::artifact::{MAX_TENSORS, Model, ParseError, Placement};
use crate::family::Family;
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

/// Lives of the tensors of a graph whose order was checked, by their index.
pub(crate) struct Lives([Life; MAX_TENSORS]);

impl Lives {
    pub(crate) fn new(layers: impl Iterator<Item = Layer>) -> Self {
        let mut lives = Self([Life::default(); MAX_TENSORS]);
        let mut before: Option<Layer> = None;
        let mut count = 0;
        for (index, layer) in (0u8..).zip(layers) {
            let (left, right) = layer.inputs();
            for id in [Some(left), right].into_iter().flatten() {
                lives.change(id, |life| {
                    (life.last, life.readers) = (index, life.readers.saturating_add(1));
                });
            }
            let joined = before.filter(|conv| joins(conv, &layer)).map(|conv| conv.output());
            // Whether something else reads the convolution is not known yet; then this sum lives a
            // layer longer than it must.
            let first = index - u8::from(joined.is_some());
            let life = Life { first, last: index, ..Life::default() };
            lives.change(layer.output(), |of| *of = life);
            if let Some(id) = joined {
                lives.change(id, |life| life.joined = true);
            }
            (before, count) = (Some(layer), index + 1);
        }
        if let Some(last) = before {
            lives.change(last.output(), |life| life.last = count);
        }
        lives.0.iter_mut().for_each(|life| life.joined &= life.readers == 1);
        lives
    }

    pub(crate) fn of(&self, id: TensorId) -> Life {
        self.0.get(usize::from(id)).copied().unwrap_or_default()
    }

    fn change(&mut self, id: TensorId, change: impl FnOnce(&mut Life)) {
        if let Some(life) = self.0.get_mut(usize::from(id)) {
            change(life);
        }
    }
}

/// Whether `next` adds something to the output of the convolution `layer` that this does not read.
fn joins(layer: &Layer, next: &Layer) -> bool {
    match (layer, next) {
        (Layer::Conv2d(conv), Layer::Add(add)) if Family::Add.is_linked() => {
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
    Planes::new(tensor, place.pad).banded(place.bands)
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
            let same_shape = x.height == y.height && x.width == y.width;
            !y.split && x.bands == 1 && y.bands == 1 && x.pad <= y.pad && (same_shape || y.pad == 0)
        }
        _ => false,
    }
}

/// Whether a layer can work between these layouts.
pub(crate) fn bands_fit(layer: &Layer, x: &Planes, right: Option<&Planes>, y: &Planes) -> bool {
    let steps =
        |down: u8| x.bands == y.bands && (x.bands == 1 || x.rows() == usize::from(down) * y.rows());
    let split = x.split || y.split;
    match layer {
        Layer::Dense(_) | Layer::Depthwise(_) => x.bands == 1 && y.bands == 1 && !split,
        Layer::Conv2d(conv) if x.split => conv.window.stride[1] == 2 && y.bands == 1 && !y.split,
        Layer::Conv2d(conv) => steps(conv.window.stride[0]) && !split,
        Layer::Pool(pool) => {
            (steps(pool.window.stride[0]) || (y.height == 1 && y.bands == 1)) && !split
        }
        Layer::Add(_) => {
            let equal = |right: &Planes| right.bands == y.bands && !right.split;
            x.bands == y.bands && right.is_none_or(equal) && !split
        }
        Layer::Relayout(_) => !x.split,
    }
}

/// The halo that the plan must give tensor `id`: the widest padding of the layers that read it as
/// a map, and none for the input, for vectors that a layer writes element after element, and for
/// inputs of dense layers. `None` where these collide.
pub(crate) fn halo(
    id: TensorId,
    tensor: &Tensor,
    layers: impl Iterator<Item = Layer>,
) -> Option<u8> {
    let mut halo = 0;
    let mut flat = id == 0 || tensor.element == Element::Logit;
    let vector = (tensor.height, tensor.width) == (1, 1);
    for layer in layers {
        let dense = matches!(layer, Layer::Dense(_));
        if layer.inputs().0 == id || layer.inputs().1 == Some(id) {
            halo = halo.max(layer.halo());
            flat |= dense;
        }
        // These write element after element.
        if layer.output() == id {
            flat |= dense || (vector && matches!(layer, Layer::Relayout(_)));
        }
    }
    (halo == 0 || !flat).then_some(halo)
}

/// Checks the plan of a model whose graph was checked: bounds, alignment, layouts, overlaps.
pub(crate) fn check(model: &Model<'_>) -> Result<(), ParseError> {
    let layers = || model.steps().map(|step| step.layer);
    let lives = Lives::new(layers());
    let mut ends: heapless::Vec<(u32, u32, Life), MAX_TENSORS> = heapless::Vec::new();

    for id in 0..model.tensor_count() {
        let (Some(tensor), Some(place)) = (model.tensor(id), model.placement(id)) else {
            return Err(ParseError::Tensor { tensor: id });
        };
        let expected = halo(id, &tensor, layers());
        if expected != Some(place.pad) {
            let expected = expected.unwrap_or(0);
            return Err(ParseError::Halo { tensor: id, found: place.pad, expected });
        }
        let plain = id == 0 || id == model.output_id();
        if planes(&tensor, place).is_none() || (plain && place.bands != 1) {
            return Err(ParseError::Bands { tensor: id, found: place.bands });
        }
        let part = part(&tensor, lives.of(id).joined);
        let bytes =
            storage(&part, place.pad, place.bands).ok_or(ParseError::Storage { tensor: id })?;
        let (start, end) = region(id, place.offset, bytes.into(), model.arena)?;
        let life = lives.of(id);
        for (other, &(other_start, other_end, other_life)) in (0u8..).zip(ends.iter()) {
            let overlaps = start < other_end && other_start < end;
            if overlaps && life.meets(other_life) && !shares(model, &lives, other, id) {
                return Err(ParseError::Overlap { first: other, second: id });
            }
        }
        ends.push((start, end, life)).ok();
    }

    for step in model.steps() {
        let layout = |id: TensorId| planes(&model.tensor(id)?, model.placement(id)?);
        let (left, right) = step.layer.inputs();
        let (x, right, y) = (layout(left), right.and_then(layout), layout(step.layer.output()));
        if !x.zip(y).is_some_and(|(x, y)| bands_fit(&step.layer, &x, right.as_ref(), &y)) {
            let tensor = step.layer.output();
            let found = model.placement(tensor).map_or(0, |place| place.bands);
            return Err(ParseError::Bands { tensor, found });
        }
        let bytes = step.layer.scratch(&step.input, &step.output);
        if bytes == 0 {
            continue;
        }
        let (start, end) = region(step.index, step.scratch, bytes, model.arena)?;
        for (tensor, &(other_start, other_end, life)) in (0u8..).zip(ends.iter()) {
            if start < other_end && other_start < end && life.holds(step.index) {
                return Err(ParseError::ScratchOverlap { layer: step.index, tensor });
            }
        }
    }
    Ok(())
}

/// Whether a layer works in place between the two tensors and nothing reads the first afterwards.
fn shares(model: &Model<'_>, lives: &Lives, one: TensorId, other: TensorId) -> bool {
    model.steps().any(|step| {
        let output = step.layer.output();
        let (left, right) = step.layer.inputs();
        [Some(left), right].into_iter().flatten().any(|input| {
            let pair = (input, output) == (one, other) || (input, output) == (other, one);
            let (Some(from), Some(to)) = (model.placement(input), model.placement(output)) else {
                return false;
            };
            let Some(tensor) = model.tensor(input) else { return false };
            pair && lives.of(input).last == step.index
                && in_place(&step.layer, input, (&tensor, from), (&step.output, to))
        })
    })
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
    let lives = Lives::new(model.steps().map(|step| step.layer));
    (0..model.tensor_count()).map(|id| [lives.of(id).first, lives.of(id).last]).collect()
}

#[cfg(feature = "write")]
pub use make::{Goal, Plan, PlanError, make};
