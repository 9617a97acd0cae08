//! Copies a tensor to another layout: adds or removes a halo, flattens a map.

use super::{Element, Tensor, TensorId};

/// `y = x`, element by element in the order `(channel, y, x)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relayout {
    /// A tensor.
    pub input: TensorId,
    /// A tensor of as many elements, the same map or a vector.
    pub output: TensorId,
}

impl Relayout {
    pub(crate) fn fits(&self, input: &Tensor, output: &Tensor) -> bool {
        let shape = |tensor: &Tensor| (tensor.channels, tensor.height, tensor.width);
        let flattened = (output.height, output.width) == (1, 1)
            && input.elements() == Some(u32::from(output.channels));
        input.element == Element::Activation
            && output.element == Element::Activation
            && input.zero_point == output.zero_point
            && (shape(input) == shape(output) || flattened)
    }
}
