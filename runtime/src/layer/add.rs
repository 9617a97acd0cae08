//! Sum of two tensors: a residual connection.

use super::TensorId;
use half::f16;

/// `y = clamp((l·Sl + r·Sr + B + 2²³) >> 24, low, 127)`, the epilogue's rule with two inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Add {
    /// A tensor.
    pub left: TensorId,
    /// A tensor of the same shape.
    pub right: TensorId,
    /// A tensor of the same shape.
    pub output: TensorId,
    /// Bits of the f16 scales of left and right: finite, |scale| < 128.
    pub scales: [u16; 2],
    /// Bits of the f16 shift, which corrects the zero points: finite.
    pub shift: u16,
    /// Smallest output.
    pub low: u8,
}

impl Add {
    /// Scales and shift in units of 2⁻²⁴, or `None` where one is out of range.
    pub fn fixed_point(&self) -> Option<([i32; 2], i64)> {
        let [left, right] = self.scales.map(|bits| crate::epilogue::scale(f16::from_bits(bits)));
        Some(([left?, right?], crate::epilogue::shift(f16::from_bits(self.shift))?))
    }
}
