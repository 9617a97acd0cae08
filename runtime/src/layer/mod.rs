//! What a backbone is made of: tensors and the layers between them. One file a layer holds
//! what it is made of and its scratch need, [`Layer::fits`] the rules of shapes; sums are left to
//! [`crate::kernel`].

mod add;
mod conv2d;
mod dense;
mod depthwise;
mod pool;
mod relayout;

pub use add::Add;
pub use conv2d::Conv2d;
pub use dense::Dense;
pub use depthwise::Depthwise;
pub use pool::{Pool, PoolKind};
pub use relayout::Relayout;

use crate::family::Family;

/// Index of a tensor in the backbone's table.
pub type TensorId = u8;

/// The largest activation: seven bits, the eighth is room for sign tricks.
pub const MAX_ACTIVATION: u8 = 127;

/// What the bytes of a tensor are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Element {
    /// Activations 0..=127, a byte each.
    Activation,
    /// Logits in Q16, an `i32` each: the output of the last layer.
    Logit,
}

/// Shape and zero point of a tensor, independent of where it lies. `(channels, height, width)`; a
/// vector is `(n, 1, 1)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tensor {
    /// Channels, or length of a vector: 1..=65535.
    pub channels: u16,
    /// Rows: 1..=65535.
    pub height: u16,
    /// Columns: 1..=65535.
    pub width: u16,
    /// The byte that stands for the real number 0: 0..=127.
    pub zero_point: u8,
    /// Activations or logits.
    pub element: Element,
}

impl Tensor {
    /// A vector of `n` activations.
    pub const fn vector(n: u16, zero_point: u8) -> Self {
        Self::map(n, 1, 1, zero_point)
    }

    /// A map of activations.
    pub const fn map(channels: u16, height: u16, width: u16, zero_point: u8) -> Self {
        Self { channels, height, width, zero_point, element: Element::Activation }
    }

    /// A vector of `n` logits.
    pub const fn logits(n: u16) -> Self {
        Self { channels: n, height: 1, width: 1, zero_point: 0, element: Element::Logit }
    }

    /// Whether it is of one row and one column.
    pub(crate) const fn is_vector(&self) -> bool {
        self.height == 1 && self.width == 1
    }

    /// Whether it has the same channels, rows and columns.
    fn is_shaped_as(&self, other: &Self) -> bool {
        let shape = |tensor: &Self| (tensor.channels, tensor.height, tensor.width);
        shape(self) == shape(other)
    }

    /// Elements: `channels · height · width`, or `None` beyond `u32`.
    pub const fn elements(&self) -> Option<u32> {
        match (self.channels as u32).checked_mul(self.height as u32) {
            Some(planes) => planes.checked_mul(self.width as u32),
            None => None,
        }
    }
}

/// Where the weights of a layer come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Source {
    /// ±1 from the seed.
    SeededSigns,
    /// ±{1, 2, 4} from the seed, with probabilities ½, ¼, ¼.
    SeededMagnitudes,
    /// Trained weights, `i8`, row-major `[rows][inputs]`, in a section of the backbone.
    StoredInt8,
}

/// What a weighted layer writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Range {
    /// Activations clamped to `low..=127`; a ReLU's `low` is the output's zero point.
    Activations {
        /// Smallest output.
        low: u8,
    },
    /// Logits in Q16.
    Logits,
}

impl Range {
    /// The smallest output; 0 for logits, which are not clamped.
    pub(crate) fn low(self) -> u8 {
        match self {
            Range::Activations { low } => low,
            Range::Logits => 0,
        }
    }
}

/// A window that slides over a map, in rows and columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Height and width: 1..=255.
    pub kernel: [u8; 2],
    /// Step down and right: 1..=255.
    pub stride: [u8; 2],
    /// Rows above, columns left, rows below, columns right that read the zero point.
    pub padding: [u8; 4],
}

impl Window {
    /// A square window with the same padding on all sides.
    pub const fn square(kernel: u8, stride: u8, padding: u8) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 4] }
    }

    /// Weights under the window in one channel.
    pub const fn area(&self) -> u32 {
        self.kernel[0] as u32 * self.kernel[1] as u32
    }

    /// The halo that an input needs for this window.
    pub fn halo(&self) -> u8 {
        self.padding.into_iter().max().unwrap_or(0)
    }

    /// Output height and width for an input of `height` × `width`; `None` where the window does
    /// not fit, a size is 0, or the padding is as large as the kernel (taps that see nothing).
    pub const fn output(&self, height: u16, width: u16) -> Option<(u16, u16)> {
        let [top, left, bottom, right] = self.padding;
        let rows = extent(height, self.kernel[0], self.stride[0], top, bottom);
        let columns = extent(width, self.kernel[1], self.stride[1], left, right);
        match (rows, columns) {
            (Some(rows), Some(columns)) => Some((rows, columns)),
            _ => None,
        }
    }
}

const fn extent(size: u16, kernel: u8, stride: u8, before: u8, after: u8) -> Option<u16> {
    if kernel == 0 || stride == 0 || before >= kernel || after >= kernel {
        return None;
    }
    let padded = size as u32 + before as u32 + after as u32;
    let Some(rest) = padded.checked_sub(kernel as u32) else { return None };
    let steps = rest / stride as u32 + 1;
    if steps > u16::MAX as u32 { None } else { Some(steps as u16) }
}

/// One layer of a backbone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layer {
    /// Every input to every output.
    Dense(Dense),
    /// Two-dimensional convolution, one group.
    Conv2d(Conv2d),
    /// One window a channel.
    Depthwise(Depthwise),
    /// Maximum or average under a window.
    Pool(Pool),
    /// Sum of two tensors: a residual connection.
    Add(Add),
    /// Copies a tensor to another layout: adds or removes a halo, flattens a map.
    Relayout(Relayout),
}

/// Rows and inputs a row of a weighted layer, and where its weights come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weights {
    /// Output channels.
    pub rows: u32,
    /// Inputs of each, in the order `(channel, y, x)`.
    pub inputs: u32,
    /// Where the weights come from.
    pub source: Source,
}

impl Weights {
    /// Mask words a row.
    pub const fn words(&self) -> u32 {
        self.inputs.div_ceil(crate::random::WORD as u32)
    }

    /// Generator words of the layer: two rows share one.
    pub const fn generator_words(&self) -> u32 {
        self.rows.div_ceil(2).wrapping_mul(self.words())
    }

    /// Weights in all.
    pub const fn len(&self) -> u64 {
        self.rows as u64 * self.inputs as u64
    }

    /// Whether there are none. A checked artifact has no such layer.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Layer {
    /// What it does, in a word or two.
    pub const fn kind(&self) -> &'static str {
        match self {
            Layer::Dense(_) => "dense",
            Layer::Conv2d(_) => "conv2d",
            Layer::Depthwise(_) => "depthwise",
            Layer::Pool(Pool { kind: PoolKind::Max, .. }) => "max pool",
            Layer::Pool(Pool { kind: PoolKind::Average, .. }) => "average pool",
            Layer::Add(_) => "add",
            Layer::Relayout(_) => "relayout",
        }
    }

    /// The tensors read: one, or two for [`Layer::Add`].
    pub fn inputs(&self) -> (TensorId, Option<TensorId>) {
        match self {
            Layer::Dense(layer) => (layer.input, None),
            Layer::Conv2d(layer) => (layer.input, None),
            Layer::Depthwise(layer) => (layer.input, None),
            Layer::Pool(layer) => (layer.input, None),
            Layer::Add(layer) => (layer.left, Some(layer.right)),
            Layer::Relayout(layer) => (layer.input, None),
        }
    }

    /// The tensor written.
    pub fn output(&self) -> TensorId {
        match self {
            Layer::Dense(layer) => layer.output,
            Layer::Conv2d(layer) => layer.output,
            Layer::Depthwise(layer) => layer.output,
            Layer::Pool(layer) => layer.output,
            Layer::Add(layer) => layer.output,
            Layer::Relayout(layer) => layer.output,
        }
    }

    /// Rows, inputs and source of a weighted layer, given its input and output; `None` for the
    /// others.
    pub fn weights(&self, input: &Tensor, output: &Tensor) -> Option<Weights> {
        match self {
            Layer::Dense(layer) => Some(layer.weights(input, output)),
            Layer::Conv2d(layer) if Family::Conv2d.is_linked() => {
                Some(layer.weights(input, output))
            }
            Layer::Depthwise(layer) if Family::Depthwise.is_linked() => Some(layer.weights(output)),
            _ => None,
        }
    }

    /// The halo that this layer needs around its (first) input.
    pub fn halo(&self) -> u8 {
        match self {
            Layer::Conv2d(layer) if Family::Conv2d.is_linked() => layer.window.halo(),
            _ => 0,
        }
    }

    /// Scratch bytes (a multiple of 4) that the hungriest kernel wants for this layer, so that one
    /// artifact runs on every target.
    pub fn scratch(&self, input: &Tensor, output: &Tensor) -> u32 {
        match self {
            Layer::Conv2d(layer) if Family::Conv2d.is_linked() => layer.scratch(input, output),
            Layer::Depthwise(layer) if Family::Depthwise.is_linked() => layer.scratch(input),
            _ => 0,
        }
    }

    /// Whether the shapes of the tensors are those that this layer makes.
    pub fn fits(&self, left: &Tensor, right: Option<&Tensor>, output: &Tensor) -> bool {
        let range = match self {
            Layer::Dense(layer) => layer.range,
            Layer::Conv2d(Conv2d { range, .. }) | Layer::Depthwise(Depthwise { range, .. }) => {
                *range
            }
            Layer::Add(layer) => Range::Activations { low: layer.low },
            Layer::Pool(_) | Layer::Relayout(_) => Range::Activations { low: 0 },
        };
        let dense = matches!(self, Layer::Dense(_));
        let reads = |tensor: &Tensor| tensor.element == Element::Activation;
        if !(range_fits(range, output) && (dense || reads(output)))
            || !(reads(left) && right.is_none_or(reads))
        {
            return false;
        }
        let same_channels = left.channels == output.channels;
        let slides = |window: &Window| {
            window.output(left.height, left.width) == Some((output.height, output.width))
        };
        match self {
            Layer::Dense(_) => output.is_vector(),
            Layer::Conv2d(layer) if Family::Conv2d.is_linked() => slides(&layer.window),
            Layer::Depthwise(layer) if Family::Depthwise.is_linked() => {
                same_channels && slides(&layer.window)
            }
            Layer::Pool(layer) if Family::Pool.is_linked() => {
                same_channels && left.zero_point == output.zero_point && slides(&layer.window)
            }
            Layer::Add(layer) if Family::Add.is_linked() => {
                let same = right.is_some_and(|right| right.is_shaped_as(output));
                same && left.is_shaped_as(output) && layer.fixed_point().is_some()
            }
            Layer::Relayout(_) if Family::Relayout.is_linked() => {
                let elements = Some(u32::from(output.channels));
                let flattened = output.is_vector() && left.elements() == elements;
                left.zero_point == output.zero_point && (left.is_shaped_as(output) || flattened)
            }
            // What this build leaves out.
            _ => false,
        }
    }
}

fn range_fits(range: Range, output: &Tensor) -> bool {
    match range {
        Range::Activations { low } => {
            output.element == Element::Activation && low <= MAX_ACTIVATION
        }
        Range::Logits => output.element == Element::Logit,
    }
}
