//! A layer with mask, epilogue, input and memory: everything that a kernel is given.

use bitvec::prelude::*;
use half::f16;
use seedmask::epilogue::Epilogue;
use seedmask::kernel::{
    Channelwise, Convolution, Kernels, Placed, Planes, SPLIT, Sink, Source as Input, Target, WHOLE,
    storage,
};
use seedmask::layer::{Depthwise, Element, Layer, Range, Source, Tensor, Weights};
use seedmask::mask::{Encoding, LayerWeights, encode};
use seedmask::random::{Generator, Stream};

use crate::cases::{Case, Mask, Variant};

/// Input byte `i` of a case, for tests on both sides of a cable: the upper seven bits of word `i`
/// of the host's stream 1 of the artifact's seed.
pub fn input_byte(seed: u64, i: u32) -> u8 {
    (Generator::new(seed, Stream::Host(1)).word(i) >> 25) as u8
}

/// How the maps around a layer lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// Halo beyond what the layer needs, on both maps.
    pub extra: u8,
    /// Whether both maps are banded.
    pub banded: bool,
    /// Whether the input is split.
    pub split: bool,
    /// Whether planes without halo take whole words.
    pub whole: bool,
}

/// A layer that is ready to run.
#[derive(Clone, Debug)]
pub struct Built {
    layer: Layer,
    input: Placed,
    /// The right input of a sum.
    right: Placed,
    output: Placed,
    learned: Option<Learned>,
    /// The section of `learned`'s epilogue.
    epilogue: Vec<u8>,
    /// Input, right input and output; behind them the scratch of a depthwise layer.
    memory: Vec<u8>,
    logits: Vec<i32>,
    scratch: Vec<u32>,
}

/// What a weighted layer has on top.
#[derive(Clone, Debug)]
pub struct Learned {
    /// Rows, inputs, source.
    pub weights: Weights,
    /// How the mask is stored.
    pub encoding: Encoding,
    /// The mask's section.
    pub mask: Vec<u8>,
    /// Scale and shift of every output channel.
    pub epilogue: Vec<(f16, f16)>,
    /// Stored weights, or none.
    pub stored: Vec<i8>,
    /// Seed of the backbone.
    pub seed: u64,
    /// Index of the layer's first generator word.
    pub first: u32,
}

impl Learned {
    /// A random mask and an epilogue that spreads the sums over the activations; `None` for an
    /// encoding that cannot express the mask.
    pub fn new(weights: Weights, variant: Variant, seed: u64, first: u32) -> Option<Self> {
        let weights = Weights { source: variant.source, ..weights };
        let random = Generator::new(seed, Stream::Host(2));
        let threshold = u64::from(variant.density) * (1 << 32) / 100;
        let mut bits: BitVec = (0..weights.len() as u32)
            .map(|flat| u64::from(random.word(flat)) < threshold)
            .collect();
        let encoding = match variant.mask {
            Mask::Full => {
                bits.fill(true);
                Encoding::Full
            }
            Mask::Raw => Encoding::Raw,
            Mask::CountedRaw => Encoding::CountedRaw,
            Mask::Rice => Encoding::RiceGaps { parameter: rice_parameter(variant.density) },
            Mask::Gaps => Encoding::SignedGaps,
            Mask::Positions => {
                let kept = weights.inputs.min(128) * u32::from(variant.density) / 100;
                Encoding::SignedPositions { base: kept.saturating_sub(7) as u8 }
            }
            Mask::Seeded => {
                let density = (u32::from(variant.density) * 256 / 100).clamp(1, 255) as u8;
                Encoding::Seeded { density }
            }
        };
        let mask = match encoding {
            Encoding::Seeded { .. } => Vec::new(),
            _ => encode(encoding, &bits, weights, seed, first).ok()?,
        };
        let random = Generator::new(seed, Stream::Host(3));
        let count = if weights.source == Source::StoredInt8 { weights.len() as u32 } else { 0 };
        let stored = (0..count).map(|flat| (random.word(flat) >> 24) as i8).collect();
        let typical = match weights.source {
            Source::SeededSigns => 1.0,
            Source::SeededMagnitudes => 2.3,
            Source::StoredInt8 => 74.0,
        };
        let kept = f32::from(variant.density) / 100.0 * weights.inputs as f32;
        let spread = 30.0 / (64.0 * typical * kept.max(1.0).sqrt());
        let epilogue = (0..weights.rows)
            .map(|row| {
                let (scale, shift) = ((row % 5) as f32 * 0.3 - 0.7, (row % 7) as f32 * 9.0);
                (f16::from_f32(scale * spread), f16::from_f32(30.0 + shift))
            })
            .collect();
        Some(Self { weights, encoding, mask, epilogue, stored, seed, first })
    }

    fn epilogue_bytes(&self) -> Vec<u8> {
        let channel = |(scale, shift): &(f16, f16)| [scale.to_le_bytes(), shift.to_le_bytes()];
        self.epilogue.iter().flat_map(channel).flatten().collect()
    }

    fn layer(&self) -> LayerWeights<'_> {
        let Self { weights, seed, first, encoding, mask, stored, .. } = self;
        let stored = bytemuck::cast_slice(stored);
        LayerWeights::new(*weights, *seed, *first, *encoding, mask, stored)
            .expect("a mask of our own making")
    }
}

/// The Rice parameter for a density per cent: the logarithm of the mean gap, roughly.
fn rice_parameter(density: u8) -> u8 {
    let mean = 100.0 / f32::from(density.max(1)) * 0.69;
    mean.log2().round().max(0.0) as u8
}

impl Built {
    /// `case` as `variant`, on random inputs, in the layout that a plan gives it; `None` where they do
    /// not go together.
    pub fn new(case: &Case, variant: Variant, seed: u64) -> Option<Self> {
        let build = |banded| {
            let layout = Layout { banded, ..Layout::default() };
            Self::layer(case.layer, case.input, case.output, variant, seed, layout)
        };
        let wide = matches!(case.layer, Layer::Conv2d(conv) if conv.window.area() > 1);
        if wide { build(true).or_else(|| build(false)) } else { build(false) }
    }

    /// `layer` from `input` to `output` in `layout`; `None` where these do not go together.
    pub fn layer(
        layer: Layer,
        input: Tensor,
        output: Tensor,
        variant: Variant,
        seed: u64,
        layout: Layout,
    ) -> Option<Self> {
        if matches!(layer, Layer::Relayout(_)) {
            return None;
        }
        let weights = layer.weights(&input, &output);
        let learned = match weights {
            Some(weights) => Some(Learned::new(weights, variant, seed, seed as u32 % 1000)?),
            None => None,
        };
        let layer = with_source(layer, variant.source);
        let flat = matches!(layer, Layer::Dense(_) | Layer::Depthwise(_));
        let (bands, extra) = match (layout.banded, layer) {
            (true, _) if flat => return None,
            (true, _) => (4, layout.extra),
            (false, Layer::Dense(_)) => (1, 0),
            (false, _) => (1, layout.extra),
        };
        let split = matches!(layer, Layer::Conv2d(conv) if conv.window.stride[1] == 2);
        let x_bands = match layout.split {
            true if split && !layout.banded => SPLIT,
            true => return None,
            false => bands,
        };
        let whole = |pad: u8, bands: u8| match layer {
            Layer::Conv2d(_) | Layer::Depthwise(_) if layout.whole && pad == 0 && bands == 1 => {
                WHOLE
            }
            _ => bands,
        };
        let (x_bands, bands) = (whole(layer.halo() + extra, x_bands), whole(extra, bands));
        let x = Planes::new(&input, layer.halo() + extra).banded(x_bands)?;
        let y = Planes::new(&output, extra).banded(bands)?;
        let down = match layer {
            Layer::Conv2d(conv) => usize::from(conv.window.stride[0]),
            Layer::Pool(pool) => usize::from(pool.window.stride[0]),
            _ => 1,
        };
        if y.bands > 1 && x.rows() != down * y.rows() {
            return None;
        }
        let right = storage(&input, layer.halo() + extra, x_bands)? as usize;
        let start = right + if matches!(layer, Layer::Add(_)) { right } else { 0 };
        let scratch = layer.scratch(&input, &output) as usize;
        let end = match layer {
            Layer::Depthwise(layer) => {
                let placed = |planes, start| Placed { planes, start };
                channelwise(&layer, placed(x, 0), placed(y, start)).lists.end
            }
            _ => start + y.len(),
        };
        let classes = match output.element {
            Element::Activation => 0,
            Element::Logit => usize::from(output.channels),
        };
        let mut built = Self {
            layer,
            input: Placed { planes: x, start: 0 },
            right: Placed { planes: x, start: start.min(right) },
            output: Placed { planes: y, start },
            epilogue: learned.as_ref().map(Learned::epilogue_bytes).unwrap_or_default(),
            learned,
            memory: vec![0; end],
            logits: vec![0; classes],
            scratch: vec![0; scratch / 4],
        };
        let mut next = 0;
        built.fill(|| {
            next += 1;
            input_byte(seed, next - 1)
        });
        Some(built)
    }

    /// Writes the inputs, element by element in the order `(channel, y, x)`, and their halo.
    pub fn fill(&mut self, mut value: impl FnMut() -> u8) {
        let maps = match self.layer {
            Layer::Add(_) => vec![self.input, self.right],
            _ => vec![self.input],
        };
        for map in maps {
            let bytes = &mut self.memory[map.start..map.start + map.planes.len()];
            for_elements(&map.planes, |at| bytes[at] = value());
            map.planes.fill_halo(bytes);
        }
    }

    /// Runs the layer with the kernels `K` and gives its outputs, in the order `(channel, y, x)`:
    /// activations, then logits. Whatever the memory held before is overwritten with `dirt`.
    pub fn outputs<K: Kernels>(&mut self, dirt: u8) -> (Vec<u8>, Vec<i32>) {
        self.memory[self.output.start..].fill(dirt);
        self.logits.fill(dirt.into());
        self.scratch.fill(u32::from(dirt) * 0x0101_0101);
        Run::new(self).run::<K>();
        let mut outputs = Vec::new();
        if self.logits.is_empty() {
            let bytes = &self.memory[self.output.start..];
            for_elements(&self.output.planes, |at| outputs.push(bytes[at]));
        }
        (outputs, self.logits.clone())
    }
}

/// The maps of a depthwise layer, with its scratch behind the output.
fn channelwise(layer: &Depthwise, x: Placed, y: Placed) -> Channelwise {
    let tensor = |map: &Planes| {
        let [channels, height, width] = [map.channels, map.height, map.width].map(|n| n as u16);
        Tensor::map(channels, height, width, map.zero_point)
    };
    let (input, output) = (tensor(&x.planes), tensor(&y.planes));
    let bands = if y.planes.filling > 0 { WHOLE } else { 1 };
    let bytes = storage(&output, y.planes.pad as u8, bands).expect("it is small");
    let start = y.start + bytes as usize;
    let copied = start..start + layer.copy_bytes(&input) as usize;
    let lists = copied.end..start + Layer::Depthwise(*layer).scratch(&input, &output) as usize;
    Channelwise { x, copy: Placed { planes: layer.copy(&x.planes), start }, copied, lists, y }
}

/// Calls `each` with the place of every element, in the order `(channel, y, x)`.
fn for_elements(planes: &Planes, mut each: impl FnMut(usize)) {
    for channel in 0..planes.channels {
        for y in 0..planes.height {
            (0..planes.width).for_each(|x| each(planes.index(channel, y, x)));
        }
    }
}

/// `layer` with weights from `source`.
pub(crate) fn with_source(mut layer: Layer, source: Source) -> Layer {
    match &mut layer {
        Layer::Dense(layer) => layer.source = source,
        Layer::Conv2d(layer) => layer.source = source,
        Layer::Depthwise(layer) => layer.source = source,
        Layer::Pool(_) | Layer::Add(_) | Layer::Relayout(_) => (),
    }
    layer
}

/// A [`Built`] layer with its weights checked, to be run many times.
pub struct Run<'b> {
    layer: Layer,
    /// Input, right input and output.
    maps: [Placed; 3],
    learned: Option<(LayerWeights<'b>, Epilogue<'b>)>,
    memory: &'b mut [u8],
    logits: &'b mut [i32],
    scratch: &'b mut [u32],
}

impl<'b> Run<'b> {
    /// # Panics
    /// Where mask or epilogue are not what the runtime accepts.
    pub fn new(built: &'b mut Built) -> Self {
        let Built { layer, input, right, output, learned, epilogue, memory, logits, scratch } =
            built;
        let learned = learned.as_ref().map(|learned| {
            let epilogue = Epilogue::new(epilogue, learned.weights.rows as usize);
            (learned.layer(), epilogue.expect("one of our own making"))
        });
        Self { layer: *layer, maps: [*input, *right, *output], learned, memory, logits, scratch }
    }

    /// Runs the layer once with the kernels `K`.
    pub fn run<K: Kernels>(&mut self) {
        let Self { layer, maps: [input, right, output], learned, memory, logits, scratch } = self;
        let low = |range| match range {
            Range::Activations { low } => low,
            Range::Logits => 0,
        };
        match (&*layer, &*learned) {
            (Layer::Pool(pool), _) => return K::pool(pool, memory, input, output),
            (Layer::Add(add), _) => return K::add(add, memory, input, right, output),
            (Layer::Depthwise(depthwise), Some((weights, epilogue))) => {
                let (low, window) = (low(depthwise.range), &depthwise.window);
                let rows = &mut weights.rows();
                let mut conv = Convolution::new(rows, epilogue, low, window);
                let maps = channelwise(depthwise, *input, *output);
                maps.copy.planes.fill_halo(&mut memory[maps.copied.clone()]);
                return K::depthwise(&mut conv, memory, &maps).expect("the maps lie in memory");
            }
            _ => (),
        }
        let (x, y) = memory.split_at_mut(output.start);
        let (weights, epilogue) = learned.as_ref().expect("the others have weights");
        let mut rows = weights.rows();
        match layer {
            Layer::Dense(dense) => {
                let target = match dense.range {
                    Range::Activations { low } => Target::Activations { low, bytes: y },
                    Range::Logits => Target::Logits(logits),
                };
                K::dense(weights, epilogue, x, target);
            }
            Layer::Conv2d(conv) => {
                let x = Input { planes: input.planes, bytes: x };
                let y = Sink { planes: output.planes, bytes: y };
                let (low, window) = (low(conv.range), &conv.window);
                let mut conv = Convolution::new(&mut rows, epilogue, low, window);
                K::conv2d(&mut conv, x, y, scratch);
            }
            Layer::Depthwise(_) | Layer::Pool(_) | Layer::Add(_) | Layer::Relayout(_) => {
                unreachable!("handled above")
            }
        }
    }
}
