//! What the layers of a graph ask of the plan of each tensor.

use super::{JOINS, joins, writes_flat};
use crate::artifact::MAX_TENSORS;
use crate::layer::{Layer, Tensor, TensorId};

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
}

impl Need {
    /// The halo that the plan must give a tensor: the widest padding of the layers that read it as
    /// a map, and none for the input, for vectors that a layer writes element after element, and for
    /// inputs of dense layers. `None` where these collide.
    fn halo(&self) -> Option<u8> {
        (self.halo == 0 || !self.flat).then_some(self.halo)
    }
}

impl Needs {
    pub(crate) fn new() -> Self {
        Self { tensors: [Need::default(); MAX_TENSORS], layers: 0 }
    }

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
        let flat = writes_flat(layer, output.is_vector());
        let life = Life { first, last: index, ..Life::default() };
        self.change(layer.output(), |of| *of = Need { life, flat, ..Need::default() });
        self.layers = index.saturating_add(1);
    }

    /// Takes note that no layer follows the one that wrote `output`.
    pub(crate) fn end(&mut self, output: TensorId) {
        let layers = self.layers;
        self.change(output, |need| need.life.last = layers);
        self.change(0, |input| input.flat = true);
    }

    /// The span of layers for which a tensor's bytes are spoken for.
    pub(crate) fn life(&self, id: TensorId) -> Life {
        self.of(id).life
    }

    /// The halo that the plan must give a tensor; `None` where the layers around it collide.
    pub(crate) fn halo(&self, id: TensorId) -> Option<u8> {
        self.of(id).halo()
    }

    /// Whether the layer that writes a tensor is joined with the sum behind it.
    pub(crate) fn joined(&self, id: TensorId) -> bool {
        self.of(id).life.is_joined()
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
