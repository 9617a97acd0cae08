//! Maximum or average under a window. A global average pool is a window as large as the map.

use super::{TensorId, Window};

/// What becomes of the activations under a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolKind {
    /// The largest of the taps inside the map; padding is not looked at.
    Max,
    /// The mean of all taps, padding counted as the zero point: `(sum·M + 2²³) >> 24` with
    /// `M = round(2²⁴ / area)`.
    Average,
}

/// Pools every channel on its own; zero point and step stay as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pool {
    /// A map. Kernels leave out taps beyond its edges themselves.
    pub input: TensorId,
    /// A map with as many channels. It may take the place of the input if there is no padding.
    pub output: TensorId,
    /// Kernel, stride and padding.
    pub window: Window,
    /// Maximum or average.
    pub kind: PoolKind,
}

impl Pool {
    /// `M` of [`PoolKind::Average`] for a window of `area` taps (1..=65025).
    pub const fn reciprocal(area: u32) -> u32 {
        match area {
            0 => 0,
            _ => ((1 << 24) + area / 2) / area,
        }
    }
}
