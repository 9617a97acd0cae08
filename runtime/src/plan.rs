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
/// changes nothing, a sum, and layers that go through planes or rows in order and make less of them.
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
        Layer::Relayout(_) => x.pad == 0 && y.pad == 0 && x.bands == 1 && y.bands == 1,
        _ => false,
    }
}

/// Whether a layer can work between these layouts.
pub(crate) fn bands_fit(layer: &Layer, x: &Planes, right: Option<&Planes>, y: &Planes) -> bool {
    let steps =
        |down: u8| x.bands == y.bands && (x.bands == 1 || x.rows() == usize::from(down) * y.rows());
    match layer {
        Layer::Dense(_) | Layer::Depthwise(_) => x.bands == 1 && y.bands == 1,
        Layer::Conv2d(conv) => steps(conv.window.stride[0]),
        Layer::Pool(pool) => steps(pool.window.stride[0]) || (y.height == 1 && y.bands == 1),
        Layer::Add(_) => x.bands == y.bands && right.is_none_or(|right| right.bands == y.bands),
        Layer::Relayout(_) => true,
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
pub use make::{Plan, PlanError, make};

/// The planner: greedy by size, the common choice for such arenas (TFLM's, and Pisarchyk & Lee,
/// "Efficient Memory Management for Deep Neural Net Inference", 2020, §5.2).
#[cfg(feature = "write")]
mod make {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::{Life, Lives, bands_fit, halo, in_place, part, planes};
    use crate::artifact::{MAX_LAYERS, MAX_TENSORS, Placement};
    use crate::kernel::{BANDS, MAX_STORAGE, storage};
    use crate::layer::{Layer, Tensor, TensorId};

    /// Where everything lies.
    #[derive(Clone, PartialEq, Eq, Debug)]
    pub struct Plan {
        /// One entry a tensor.
        pub placements: Vec<Placement>,
        /// One offset a layer; 0 where a layer has no scratch.
        pub scratch: Vec<u32>,
        /// Bytes in all.
        pub arena: u32,
    }

    /// Why no plan can be made.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum PlanError {
        /// The tensor is read both with padding and without: put a relayout between.
        Halo(TensorId),
        /// No tensors, or more than [`MAX_TENSORS`] tensors or [`MAX_LAYERS`] layers.
        Count,
        /// The layer of this index names a tensor that is not there.
        Missing(usize),
        /// The tensor would take more than [`MAX_STORAGE`] bytes.
        Tensor(TensorId),
        /// The arena would pass 4 GiB.
        TooLarge,
    }

    impl core::fmt::Display for PlanError {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            match self {
                Self::Halo(id) => write!(
                    f,
                    "tensor {id} is the input, a vector, or the input of a dense layer, and is \
                     read with padding as well: it needs a relayout between"
                ),
                Self::Count => write!(
                    f,
                    "1 to {MAX_TENSORS} tensors and at most {MAX_LAYERS} layers are supported"
                ),
                Self::Missing(layer) => {
                    write!(f, "layer {layer} names a tensor that is not there")
                }
                Self::Tensor(id) => {
                    write!(f, "tensor {id} would take more than {MAX_STORAGE} bytes")
                }
                Self::TooLarge => write!(f, "the arena would pass 4 GiB"),
            }
        }
    }

    impl core::error::Error for PlanError {}

    struct Block {
        bytes: u64,
        life: Life,
        /// A tensor, or the scratch of a layer.
        tensor: Option<TensorId>,
        layer: u8,
        /// Block whose place it takes over (work in place).
        over: Option<usize>,
    }

    /// Places `tensors` (index 0 the input) and the scratch of `layers`, which must be in order.
    ///
    /// # Errors
    /// A [`PlanError`] that names the tensor.
    pub fn make(tensors: &[Tensor], layers: &[Layer]) -> Result<Plan, PlanError> {
        if tensors.is_empty() || tensors.len() > MAX_TENSORS || layers.len() > MAX_LAYERS {
            return Err(PlanError::Count);
        }
        let missing = |layer: &Layer| {
            let (left, right) = layer.inputs();
            let ids = [Some(left), right, Some(layer.output())];
            ids.into_iter().flatten().any(|id| usize::from(id) >= tensors.len())
        };
        if let Some(index) = layers.iter().position(missing) {
            return Err(PlanError::Missing(index));
        }
        let lives = Lives::new(layers.iter().copied());
        let mut placements = Vec::new();
        for (id, tensor) in (0u8..).zip(tensors) {
            let pad = halo(id, tensor, layers.iter().copied()).ok_or(PlanError::Halo(id))?;
            placements.push(Placement { offset: 0, pad, bands: 1 });
        }
        choose_bands(tensors, layers, &mut placements);
        let mut blocks: Vec<Block> = Vec::new();
        for ((id, tensor), place) in (0u8..).zip(tensors).zip(&placements) {
            let life = lives.of(id);
            let bytes = storage(&part(tensor, life.joined), place.pad, place.bands);
            let bytes = bytes.ok_or(PlanError::Tensor(id))?.into();
            blocks.push(Block { bytes, life, tensor: Some(id), layer: 0, over: None });
        }
        for (index, layer) in (0u8..).zip(layers) {
            let (left, right) = layer.inputs();
            let output = usize::from(layer.output());
            let dies = |id: &TensorId| {
                let place = |id: usize| (&tensors[id], placements[id]);
                let input = usize::from(*id);
                lives.of(*id).last == index
                    && !lives.of(*id).joined
                    && *id != 0
                    && in_place(layer, *id, place(input), place(output))
            };
            // A chain of tensors that work in place is one block, from its first life to its last.
            if let Some(input) = [Some(left), right].into_iter().flatten().find(dies) {
                let input = usize::from(input);
                let root = blocks[input].over.unwrap_or(input);
                blocks[output].over = Some(root);
                blocks[root].life.last = blocks[root].life.last.max(blocks[output].life.last);
                blocks[root].bytes = blocks[root].bytes.max(blocks[output].bytes);
            }
        }
        for (index, layer) in (0u8..).zip(layers) {
            let input = &tensors[usize::from(layer.inputs().0)];
            let bytes = layer.scratch(input, &tensors[usize::from(layer.output())]);
            if bytes > 0 {
                let life = Life { first: index, last: index, ..Life::default() };
                blocks.push(Block { bytes, life, tensor: None, layer: index, over: None });
            }
        }
        let offsets = place(&blocks).ok_or(PlanError::TooLarge)?;
        let mut plan = Plan { placements, scratch: vec![0; layers.len()], arena: 0 };
        for (block, &offset) in blocks.iter().zip(&offsets) {
            let end = u32::try_from(u64::from(offset) + block.bytes);
            plan.arena = plan.arena.max(end.map_err(|_| PlanError::TooLarge)?);
            match block.tensor {
                Some(id) => plan.placements[usize::from(id)].offset = offset,
                None => plan.scratch[usize::from(block.layer)] = offset,
            }
        }
        Ok(plan)
    }

    /// Bands the maps around convolutions with windows larger than 1×1 wherever all layers between
    /// them can use it: their taps are then aligned words.
    fn choose_bands(tensors: &[Tensor], layers: &[Layer], placements: &mut [Placement]) {
        let whole = |layer: &Layer| match layer {
            Layer::Pool(pool) => tensors[usize::from(pool.output)].height == 1,
            Layer::Relayout(_) => true,
            _ => false,
        };
        let last = layers.last().map(Layer::output);
        for ((id, tensor), place) in (0u8..).zip(tensors).zip(placements.iter_mut()) {
            let banded = Placement { bands: BANDS, ..*place };
            // Input and output are seen from outside, in the order of their elements.
            let inside = id > 0 && Some(id) != last;
            if inside && planes(tensor, banded).is_some() {
                *place = banded;
            }
        }
        // Layers that cannot work between banded maps make theirs plain, until none is left.
        loop {
            let mut changed = false;
            for layer in layers.iter().filter(|layer| !whole(layer)) {
                let (left, right) = layer.inputs();
                let at =
                    |id: TensorId| planes(&tensors[usize::from(id)], placements[usize::from(id)]);
                let (x, right_planes, y) = (at(left), right.and_then(at), at(layer.output()));
                let fits = match (x, y) {
                    (Some(x), Some(y)) => bands_fit(layer, &x, right_planes.as_ref(), &y),
                    _ => false,
                };
                if !fits {
                    for id in [Some(left), right, Some(layer.output())].into_iter().flatten() {
                        changed |= placements[usize::from(id)].bands != 1;
                        placements[usize::from(id)].bands = 1;
                    }
                }
            }
            for layer in layers.iter().filter(|layer| whole(layer)) {
                if let Layer::Pool(pool) = layer {
                    placements[usize::from(pool.output)].bands = 1;
                }
            }
            if !changed {
                break;
            }
        }
        // Of the maps that are left, those pay that a wide window reads, and those joined to them.
        let mut pays = vec![false; tensors.len()];
        loop {
            let before = pays.clone();
            for layer in layers.iter().filter(|layer| !whole(layer)) {
                let (left, right) = layer.inputs();
                let wide = matches!(layer, Layer::Conv2d(conv) if conv.window.area() > 1);
                let ids = [Some(left), right, Some(layer.output())];
                let ids: Vec<usize> = ids.into_iter().flatten().map(usize::from).collect();
                let any = wide || ids.iter().any(|id| pays[*id]);
                ids.iter().for_each(|id| pays[*id] |= any && placements[*id].bands != 1);
            }
            if pays == before {
                break;
            }
        }
        placements
            .iter_mut()
            .zip(pays)
            .filter(|(_, pays)| !pays)
            .for_each(|(place, _)| place.bands = 1);
    }

    /// Largest first, each at the lowest offset that is free during its life.
    fn place(blocks: &[Block]) -> Option<Vec<u32>> {
        let mut order: Vec<usize> =
            (0..blocks.len()).filter(|&i| blocks[i].over.is_none()).collect();
        order.sort_by_key(|&i| (core::cmp::Reverse(blocks[i].bytes), blocks[i].life.first));
        let mut offsets = vec![0u32; blocks.len()];
        let mut placed: Vec<usize> = Vec::new();
        for &index in &order {
            let block = &blocks[index];
            let mut taken: Vec<(u64, u64)> = placed
                .iter()
                .filter(|&&other| blocks[other].life.meets(block.life))
                .map(|&other| {
                    (offsets[other].into(), u64::from(offsets[other]) + blocks[other].bytes)
                })
                .collect();
            taken.sort_unstable();
            let mut offset = 0u64;
            for (start, end) in taken {
                if offset + block.bytes <= start {
                    break;
                }
                offset = offset.max(end.next_multiple_of(super::ALIGNMENT.into()));
            }
            offsets[index] = u32::try_from(offset).ok()?;
            placed.push(index);
        }
        for (index, block) in blocks.iter().enumerate() {
            if let Some(root) = block.over {
                offsets[index] = offsets[root];
            }
        }
        Some(offsets)
    }
}

#[cfg(all(test, feature = "write"))]
mod tests {
    use super::*;
    use crate::layer::{Add, Conv2d, Dense, Pool, PoolKind, Range, Relayout, Source, Window};
    use half::f16;

    const RELU: Range = Range::Activations { low: 0 };
    const SIGNS: Source = Source::SeededSigns;

    fn conv(input: TensorId, output: TensorId) -> Layer {
        let window = Window::square(3, 1, 1);
        Layer::Conv2d(Conv2d { input, output, window, source: SIGNS, range: RELU })
    }

    fn dense(input: TensorId, output: TensorId, range: Range) -> Layer {
        Layer::Dense(Dense { input, output, source: SIGNS, range })
    }

    /// Input 0 → padded 1 → conv 2 → conv 3 → add(2, 3) 4 → pooled 5 → logits 6.
    fn residual() -> (alloc::vec::Vec<Tensor>, alloc::vec::Vec<Layer>) {
        let map = |channels, size| Tensor::map(channels, size, size, 0);
        let one = f16::ONE.to_bits();
        let add = Add { left: 2, right: 3, output: 4, scales: [one; 2], shift: 0, low: 0 };
        let window = Window::square(8, 8, 0);
        let pool = Pool { input: 4, output: 5, window, kind: PoolKind::Average };
        let tensors =
            [map(1, 8), map(1, 8), map(4, 8), map(4, 8), map(4, 8), map(4, 1), Tensor::logits(3)];
        let layers = [
            Layer::Relayout(Relayout { input: 0, output: 1 }),
            conv(1, 2),
            conv(2, 3),
            Layer::Add(add),
            Layer::Pool(pool),
            dense(5, 6, Range::Logits),
        ];
        (tensors.to_vec(), layers.to_vec())
    }

    #[test]
    fn lives_end_with_the_last_reader() {
        let (_, layers) = residual();
        let lives = Lives::new(layers.into_iter());
        let ends: alloc::vec::Vec<_> =
            (0..7).map(|id| (lives.of(id).first, lives.of(id).last)).collect();
        assert_eq!(ends, [(0, 0), (0, 1), (1, 3), (2, 3), (3, 4), (4, 5), (5, 6)]);
    }

    #[test]
    fn a_residual_block_needs_two_maps_and_some_channels_of_a_third() {
        let map = Tensor::map(16, 8, 8, 0);
        let one = f16::ONE.to_bits();
        let add = Add { left: 3, right: 1, output: 4, scales: [one; 2], shift: 0, low: 0 };
        let layers = [
            Layer::Relayout(Relayout { input: 0, output: 1 }),
            conv(1, 2),
            conv(2, 3),
            Layer::Add(add),
            conv(4, 5),
        ];
        let plan = make(&[map; 6], &layers).unwrap();
        let lives = Lives::new(layers.iter().copied());
        assert!(lives.of(3).joined);
        assert_eq!(lives.of(4).first, 2);
        assert_eq!(plan.placements[1], plan.placements[4], "the sum takes the place of its input");
        let places = plan.placements.iter();
        let layouts: alloc::vec::Vec<_> = places.map(|place| (place.pad, place.bands)).collect();
        assert_eq!(layouts, [(0, 1), (1, 4), (1, 4), (0, 4), (1, 4), (0, 4)]);
        let banded = storage(&map, 1, 4).unwrap();
        assert_eq!(banded, 4 * (16 * (2 + 2) * (8 + 1) + 1));
        let scratch = layers[1].scratch(&map, &map) as u32;
        assert_eq!(plan.arena, 2 * banded + 2 * 64 + scratch);
    }

    #[test]
    fn halos_cover_the_padding_of_the_readers() {
        let (tensors, layers) = residual();
        let plan = make(&tensors, &layers).unwrap();
        let pads: alloc::vec::Vec<_> = plan.placements.iter().map(|place| place.pad).collect();
        assert_eq!(pads, [0, 1, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn an_input_read_with_padding_needs_a_relayout() {
        let tensors = [Tensor::map(1, 8, 8, 0), Tensor::map(1, 8, 8, 0)];
        assert_eq!(make(&tensors, &[conv(0, 1)]), Err(PlanError::Halo(0)));
    }

    #[test]
    fn vectors_that_are_written_in_a_row_have_no_halo() {
        let tensors = [Tensor::vector(8, 0), Tensor::vector(6, 0), Tensor::vector(4, 0)];
        let after_dense = [dense(0, 1, RELU), conv(1, 2)];
        assert_eq!(make(&tensors, &after_dense), Err(PlanError::Halo(1)));
        let tensors = [Tensor::map(2, 3, 1, 0), Tensor::vector(6, 0), Tensor::vector(4, 0)];
        let after_flatten = [Layer::Relayout(Relayout { input: 0, output: 1 }), conv(1, 2)];
        assert_eq!(make(&tensors, &after_flatten), Err(PlanError::Halo(1)));
    }

    #[test]
    fn graphs_that_name_what_is_not_there_are_errors() {
        let tensors = [Tensor::vector(8, 0); 66];
        assert_eq!(make(&tensors, &[]), Err(PlanError::Count));
        assert_eq!(make(&[], &[]), Err(PlanError::Count));
        assert_eq!(make(&tensors[..2], &[dense(0, 9, RELU)]), Err(PlanError::Missing(0)));
        let huge = [Tensor::map(60_000, 60_000, 1, 0)];
        assert_eq!(make(&huge, &[]), Err(PlanError::Tensor(0)));
    }

    #[test]
    fn a_chain_needs_its_largest_neighbours_and_no_more() {
        let tensors: alloc::vec::Vec<_> = [64, 256, 32, 32]
            .map(|n| Tensor::vector(n, 0))
            .into_iter()
            .chain([Tensor::logits(8)])
            .collect();
        let layers =
            [dense(0, 1, RELU), dense(1, 2, RELU), dense(2, 3, RELU), dense(3, 4, Range::Logits)];
        assert_eq!(make(&tensors, &layers).unwrap().arena, 256 + 64);
    }

    #[test]
    fn adds_work_over_their_left_input_where_it_dies() {
        let (tensors, mut layers) = residual();
        if let Layer::Add(add) = &mut layers[3] {
            (add.left, add.right) = (3, 2);
        }
        let plan = make(&tensors, &layers).unwrap();
        assert_eq!(plan.placements[3], plan.placements[4]);
    }
}
