//! Arena offsets and layouts: made on the host, checked on load.
//!
//! A tensor lives from the layer that writes it to the last layer that reads it; the input lives
//! from the start, the output to the end. Tensors that live at the same time may not share bytes,
//! but for a layer that works in place: a sum, a depthwise layer, a pool or a relayout that may write
//! its output over its input.
//!
//! A convolution whose output is read by nothing but the [`Add`](crate::layer::Add) right behind it is *joined* with it:
//! both run in turns of [`JOINED`] channels, so that only so many of the output exist at a time.

use crate::artifact::{MAX_TENSORS, Model, ParseError, Part, Placement};
use crate::family::{Family, MAPS};
use crate::kernel::{Placed, Planes};
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
    /// Whether it is the output of a convolution and an input of the sum behind it.
    summed: bool,
}

impl Life {
    const NONE: Self = Self { first: 0, last: 0, readers: 0, summed: false };

    fn meets(self, other: Life) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Whether it is the output of a convolution that is joined with the sum behind it.
    pub(crate) fn is_joined(self) -> bool {
        JOINS && self.summed && self.readers == 1
    }
}

/// What the layers of a graph whose order is right ask of the plan of each tensor.
pub(crate) struct Needs {
    tensors: [Need; MAX_TENSORS],
    layers: u8,
}

#[derive(Clone, Copy, Default)]
struct Need {
    life: Life,
    /// The widest padding of the layers that read the tensor as a map.
    halo: u8,
    /// Whether a layer reads or writes it element after element.
    flat: bool,
    /// [`Placement::bands`]. Of two bytes, so that nothing is left between fields, and a table of zeros
    /// is no copy of one in flash.
    bands: u16,
    /// First byte, and that behind the last.
    bytes: [u32; 2],
}

impl Need {
    const NONE: Self = Self { life: Life::NONE, halo: 0, flat: false, bands: 0, bytes: [0; 2] };

    /// The halo that the plan must give a tensor: the widest padding of the layers that read it as
    /// a map, and none for the input, for vectors that a layer writes element after element, and for
    /// inputs of dense layers. `None` where these collide.
    fn halo(&self) -> Option<u8> {
        (self.halo == 0 || !self.flat).then_some(self.halo)
    }

    /// Whether both have a byte at the same time.
    fn meets(&self, other: &Need) -> bool {
        let ([start, end], [other_start, other_end]) = (self.bytes, other.bytes);
        start < other_end && other_start < end && self.life.meets(other.life)
    }
}

impl Needs {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        const { Self { tensors: [Need::NONE; MAX_TENSORS], layers: 0 } }
    }

    #[cfg(feature = "write")]
    pub(crate) fn of_layers(tensors: &[Tensor], layers: &[Layer]) -> Self {
        let mut needs = Self::new();
        for (index, layer) in layers.iter().enumerate() {
            let output = tensors.get(usize::from(layer.output())).copied();
            let before = || layers.get(index.checked_sub(1)?).copied();
            needs.add(layer, &output.unwrap_or(Tensor::vector(0, 0)), before);
        }
        needs.end(layers.last().map_or(0, Layer::output));
        needs
    }

    /// Takes the next layer, which writes `output`, and runs after the layer `before`.
    pub(crate) fn add(
        &mut self,
        layer: &Layer,
        output: &Tensor,
        before: impl FnOnce() -> Option<Layer>,
    ) {
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
        let mut first = index;
        if let Layer::Add(_) = layer
            && JOINS
            && let Some(conv) = before().filter(|conv| joins(conv, layer))
        {
            // Whether something else reads the convolution is not known yet; then this sum lives a
            // layer longer than it must.
            first = index - 1;
            self.change(conv.output(), |need| need.life.summed = true);
        }
        let vector = (output.height, output.width) == (1, 1);
        let relayout = matches!(layer, Layer::Relayout(_));
        let flat = output.element == Element::Logit || dense || (vector && relayout);
        let life = Life { first, last: index, ..Life::NONE };
        self.change(layer.output(), |of| *of = Need { life, flat, ..Need::NONE });
        self.layers = index.saturating_add(1);
    }

    /// Takes note that no layer follows the one that wrote `output`.
    pub(crate) fn end(&mut self, output: TensorId) {
        let layers = self.layers;
        self.change(output, |need| need.life.last = layers);
        self.change(0, |input| input.flat = true);
    }

    /// The span of layers for which a tensor's bytes are spoken for.
    #[cfg(feature = "write")]
    pub(crate) fn life(&self, id: TensorId) -> Life {
        self.of(id).life
    }

    /// The halo that the plan must give a tensor; `None` where the layers around it collide.
    #[cfg(feature = "write")]
    pub(crate) fn halo(&self, id: TensorId) -> Option<u8> {
        self.of(id).halo()
    }

    /// Whether the layer that writes a tensor is joined with the sum behind it.
    #[cfg(feature = "write")]
    pub(crate) fn joined(&self, id: TensorId) -> bool {
        self.of(id).life.is_joined()
    }

    #[cfg(feature = "write")]
    fn of(&self, id: TensorId) -> Need {
        self.tensors.get(usize::from(id)).copied().unwrap_or_default()
    }

    fn change(&mut self, id: TensorId, change: impl FnOnce(&mut Need)) {
        if let Some(need) = self.tensors.get_mut(usize::from(id)) {
            change(need);
        }
    }
}

/// Whether a layer can be joined with the one behind it.
pub(crate) const JOINS: bool = Family::Conv2d.is_linked() && Family::Add.is_linked();

/// Whether `next` adds something to the output of the convolution `layer` that this does not read.
fn joins(layer: &Layer, next: &Layer) -> bool {
    match (layer, next) {
        (Layer::Conv2d(conv), Layer::Add(add)) => {
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

/// Layout of a tensor, and where it begins.
pub(crate) fn placed(tensor: &Tensor, place: Placement) -> Option<Placed> {
    Some(Placed { planes: planes(tensor, place)?, start: place.offset as usize })
}

/// Whether `layer` may write its output over its input `over`, given where both lie: a relayout that
/// does not move elements to the front, a sum, and layers that go through planes or rows in order and
/// make less of them.
pub(crate) fn in_place(layer: &Layer, over: TensorId, input: &Placed, output: &Placed) -> bool {
    if input.start != output.start {
        return false;
    }
    let (x, y) = (&input.planes, &output.planes);
    match layer {
        Layer::Add(add) if Family::Add.is_linked() => {
            x.pad == y.pad
                && (x.bands, x.split, x.filling) == (y.bands, y.split, y.filling)
                && add.left != add.right
                && [add.left, add.right].contains(&over)
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
                && (x.is_as_large_as(y) || y.pad == 0)
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
pub(crate) fn check(model: &Model<'_>, needs: &mut Needs) -> Result<(), ParseError> {
    for (id, need) in (0..model.tensor_count()).zip(&mut needs.tensors) {
        let (Some(node), Some(place)) = (model.node(id), model.placement(id)) else {
            return Err(ParseError::Tensor { tensor: id });
        };
        let expected = need.halo();
        if expected != Some(place.pad) {
            let expected = expected.unwrap_or(0);
            return Err(ParseError::Halo { tensor: id, found: place.pad, expected });
        }
        let joined = need.life.is_joined();
        if node.is_joined() != joined {
            return Err(ParseError::Malformed(Part::Tensor(id)));
        }
        let plain = id == 0 || id == model.output_id() || !MAPS;
        let part = part(&node.tensor(), joined);
        let planes = planes(&part, place).filter(|_| !plain || place.bands == 1);
        let planes = planes.ok_or(ParseError::Bands { tensor: id, found: place.bands })?;
        let bytes = planes.storage(part.element).ok_or(ParseError::Storage { tensor: id })?;
        need.bytes = region(id, place.offset, bytes, model.arena)?;
        need.bands = place.bands.into();
    }

    let needs = &needs.tensors;
    for id in 1..model.tensor_count() {
        let layer = model.layer_of(id)?;
        let ((left, right), index) = (layer.inputs(), id - 1);
        let at = |id| model.placed(id);
        // Any layer can work between plain maps.
        let is_plain = |id| needs.get(usize::from(id)).is_some_and(|need: &Need| need.bands == 1);
        let plain = is_plain(left) && is_plain(id) && right.is_none_or(is_plain);
        if MAPS && !plain {
            let (x, sum) = (at(left), right.and_then(at));
            let (sum, y) = (sum.as_ref().map(|sum| &sum.planes), at(id));
            let fit = |(x, y): (Placed, Placed)| bands_fit(&layer, &x.planes, sum, &y.planes);
            if !x.zip(y).is_some_and(fit) {
                let found = model.placement(id).map_or(0, |place| place.bands);
                return Err(ParseError::Bands { tensor: id, found });
            }
        }
        // With every tensor that was written before: so no pair is left out.
        let (before, rest) = needs.split_at_checked(id.into()).unwrap_or_default();
        let Some(need) = rest.first() else { continue };
        for (other, other_need) in (0..).zip(before) {
            if !need.meets(other_need) {
                continue;
            }
            // A layer may work in place where nothing reads its input afterwards. Of what a joined
            // convolution writes there is only a part at a time.
            let read = other == left || Some(other) == right;
            let life = other_need.life;
            let shares = read
                && !life.is_joined()
                && life.last == index
                && MAPS
                && at(other).zip(at(id)).is_some_and(|(x, y)| in_place(&layer, other, &x, &y));
            if !shares {
                return Err(ParseError::Overlap { first: other, second: id });
            }
        }

        let (input, output) = (model.tensor(left), model.tensor(id));
        let bytes = input.zip(output).map_or(0, |(input, output)| layer.scratch(&input, &output));
        if bytes == 0 {
            continue;
        }
        let offset = model.scratch_of(id).unwrap_or(0);
        let life = Life { first: index, last: index, ..Life::NONE };
        let bytes = region(index, offset, bytes, model.arena)?;
        let scratch = Need { life, bytes, ..Need::NONE };
        let mut tensors = (0..model.tensor_count()).zip(needs);
        if let Some((tensor, _)) = tensors.find(|(_, need)| scratch.meets(need)) {
            return Err(ParseError::ScratchOverlap { layer: index, tensor });
        }
    }
    Ok(())
}

/// `bytes` from `offset` on, which lie in the arena.
fn region(index: u8, offset: u32, bytes: u32, arena: u32) -> Result<[u32; 2], ParseError> {
    let end = offset.saturating_add(bytes);
    if end > arena || !offset.is_multiple_of(ALIGNMENT) {
        return Err(ParseError::Placement { index, end, arena });
    }
    Ok([offset, end])
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
    let tensors: alloc::vec::Vec<Tensor> =
        (0..model.tensor_count()).filter_map(|id| model.tensor(id)).collect();
    let layers: alloc::vec::Vec<Layer> = model.steps().map(|step| step.layer).collect();
    let needs = Needs::of_layers(&tensors, &layers);
    let span = |id| [needs.life(id).first, needs.life(id).last];
    (0..model.tensor_count()).map(span).collect()
}

#[cfg(feature = "write")]
pub use make::{Goal, Plan, PlanError, make};
