//! Copies a tensor to another layout: adds or removes a halo, flattens a map.

use super::TensorId;

/// `y = x`, element by element in the order `(channel, y, x)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relayout {
    /// A tensor.
    pub input: TensorId,
    /// A tensor of as many elements, the same map or a vector.
    pub output: TensorId,
}
