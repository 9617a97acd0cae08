//! How a tensor lies in the arena: planes of rows, with a halo of zero points around them.

use crate::layer::{Element, Tensor};

/// Layout of an activation tensor. Element `(c, y, x)` is at
/// `c·plane + (y + pad)·stride + x + pad`, with `stride = width + pad`: the halo right of a row is
/// the halo left of the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Planes {
    /// Channels.
    pub channels: usize,
    /// Rows of a plane, without halo.
    pub height: usize,
    /// Columns of a plane, without halo.
    pub width: usize,
    /// Bytes of halo on each side.
    pub pad: usize,
    /// What the halo holds.
    pub zero_point: u8,
}

impl Planes {
    /// The layout of `tensor` with a halo of `pad`.
    pub fn new(tensor: &Tensor, pad: u8) -> Self {
        Self {
            channels: usize::from(tensor.channels),
            height: usize::from(tensor.height),
            width: usize::from(tensor.width),
            pad: usize::from(pad),
            zero_point: tensor.zero_point,
        }
    }

    /// Bytes from one row to the next.
    pub const fn stride(&self) -> usize {
        self.width + self.pad
    }

    /// Bytes from one plane to the next.
    pub const fn plane(&self) -> usize {
        (self.height + 2 * self.pad) * self.stride()
    }

    /// Bytes of the whole tensor: the last plane's halo ends `pad` bytes after its last row.
    pub const fn len(&self) -> usize {
        self.channels * self.plane() + self.pad
    }

    /// Whether the tensor has no bytes. A checked artifact has no such tensor.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where element `(channel, y, x)` lies.
    pub const fn index(&self, channel: usize, y: usize, x: usize) -> usize {
        channel * self.plane() + (y + self.pad) * self.stride() + x + self.pad
    }

    /// Writes the zero point to every byte of the halo.
    pub fn fill_halo(&self, bytes: &mut [u8]) {
        if self.pad == 0 {
            return;
        }
        let inside = self.pad..self.pad + self.height;
        for plane in bytes.chunks_mut(self.plane().max(1)).take(self.channels) {
            for (y, row) in plane.chunks_mut(self.stride().max(1)).enumerate() {
                let end = if inside.contains(&y) { self.pad } else { row.len() };
                row.iter_mut().take(end).for_each(|byte| *byte = self.zero_point);
            }
        }
        let tail = bytes.get_mut(self.channels * self.plane()..).unwrap_or(&mut []);
        tail.fill(self.zero_point);
    }

    /// The elements of one row, without halo.
    pub fn row<'a>(&self, bytes: &'a [u8], channel: usize, y: usize) -> &'a [u8] {
        let start = self.index(channel, y, 0);
        bytes.get(start..start + self.width).unwrap_or(&[])
    }

    /// The elements of one row, without halo, to be written.
    pub fn row_mut<'a>(&self, bytes: &'a mut [u8], channel: usize, y: usize) -> &'a mut [u8] {
        let start = self.index(channel, y, 0);
        bytes.get_mut(start..start + self.width).unwrap_or(&mut [])
    }
}

/// Most arena bytes of a tensor, 16 MiB: kernels pack an offset and a weight into one word.
pub const MAX_STORAGE: u32 = 1 << 24;

/// Arena bytes of `tensor` with a halo of `pad`; `None` beyond [`MAX_STORAGE`]. Tensors without halo are
/// rounded up to whole 32-byte blocks, so that dense kernels may read whole words past the end.
pub fn storage(tensor: &Tensor, pad: u8) -> Option<u32> {
    let pad = u64::from(pad);
    let element = match tensor.element {
        Element::Activation => 1,
        Element::Logit => 4,
    };
    let plane = (u64::from(tensor.height) + 2 * pad) * (u64::from(tensor.width) + pad);
    let bytes =
        u64::from(tensor.channels).checked_mul(plane)?.checked_add(pad)?.checked_mul(element)?;
    let rounded = bytes.next_multiple_of(if pad == 0 { 32 } else { 4 });
    u32::try_from(rounded).ok().filter(|bytes| *bytes <= MAX_STORAGE)
}
