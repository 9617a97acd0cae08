//! The one table of layers for tests, benchmarks on the host and counts on boards.

use seedmask::layer::{
    Add, Conv2d, Dense, Depthwise, Layer, Pool, PoolKind, Range, Source, Tensor, Window,
};

/// A layer between tensor 0 and tensor 1, without its mask.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Kind, input and output, in a word.
    pub name: &'static str,
    /// The layer; its source is that of the [`Variant`].
    pub layer: Layer,
    /// Its input.
    pub input: Tensor,
    /// Its output.
    pub output: Tensor,
    /// Fits a board with 8 KB for the arena.
    pub small: bool,
}

/// How a mask is stored, before its parameter is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mask {
    /// Everything kept.
    Full,
    /// A bit a weight.
    Raw,
    /// A bit a weight, and a count a row.
    CountedRaw,
    /// Rice codes.
    Rice,
    /// Signed byte gaps.
    Gaps,
    /// Signed positions.
    Positions,
    /// Drawn from the seed.
    Seeded,
}

/// What a case is run with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Variant {
    /// Where the weights come from.
    pub source: Source,
    /// How the mask is stored.
    pub mask: Mask,
    /// Weights kept, per cent.
    pub density: u8,
}

/// Densities of the speed tables, per cent.
pub const DENSITIES: [u8; 6] = [5, 10, 20, 30, 50, 70];

const ALL_MASKS: [Mask; 7] = [
    Mask::Full,
    Mask::Raw,
    Mask::CountedRaw,
    Mask::Rice,
    Mask::Gaps,
    Mask::Positions,
    Mask::Seeded,
];

/// Every mask and source that go together, at `densities` per cent.
pub fn variants(densities: &[u8]) -> impl Iterator<Item = Variant> + '_ {
    const SOURCES: [Source; 3] =
        [Source::SeededSigns, Source::SeededMagnitudes, Source::StoredInt8];
    SOURCES.into_iter().flat_map(move |source| {
        let possible = move |mask: &Mask| {
            !matches!(mask, Mask::Gaps | Mask::Positions | Mask::CountedRaw)
                || source == Source::SeededSigns
        };
        ALL_MASKS.into_iter().filter(possible).flat_map(move |mask| {
            let densities = if mask == Mask::Full { &[100][..] } else { densities };
            densities.iter().map(move |&density| Variant { source, mask, density })
        })
    })
}

impl Variant {
    /// ±1 weights.
    pub const fn signs(mask: Mask, density: u8) -> Self {
        Self { source: Source::SeededSigns, mask, density }
    }

    /// Words for file names: `signs.raw.d10`.
    pub fn name(&self) -> String {
        let source = match self.source {
            Source::SeededSigns => "signs",
            Source::SeededMagnitudes => "magnitudes",
            Source::StoredInt8 => "int8",
        };
        let mask = match self.mask {
            Mask::Full => "full",
            Mask::Raw => "raw",
            Mask::CountedRaw => "counted",
            Mask::Rice => "rice",
            Mask::Gaps => "gaps",
            Mask::Positions => "positions",
            Mask::Seeded => "seeded",
        };
        format!("{source}.{mask}.d{}", self.density)
    }
}

const SIGNS: Source = Source::SeededSigns;
const RELU: Range = Range::Activations { low: 0 };

const fn dense(name: &'static str, inputs: u16, outputs: u16) -> Case {
    Case {
        name,
        layer: Layer::Dense(Dense { input: 0, output: 1, source: SIGNS, range: Range::Logits }),
        input: Tensor::vector(inputs, 0),
        output: Tensor::logits(outputs),
        small: inputs <= 1024 && outputs <= 64,
    }
}

/// The output of a window over `input`, which must fit.
const fn swept(channels: u16, input: &Tensor, window: &Window) -> Tensor {
    match window.output(input.height, input.width) {
        Some((height, width)) => Tensor::map(channels, height, width, 0),
        None => panic!("the window does not fit"),
    }
}

const fn fits_8_kb(input: &Tensor, output: &Tensor, window: &Window, taps: usize) -> bool {
    let halo = window.padding[0] as usize;
    let rows = input.height as usize + 2 * halo;
    let bytes = input.channels as usize * rows * (input.width as usize + halo)
        + output.channels as usize * output.height as usize * output.width as usize;
    bytes + 4 * taps <= 7 * 1024
}

const fn conv(name: &'static str, input: Tensor, outputs: u16, window: Window) -> Case {
    let output = swept(outputs, &input, &window);
    let taps = input.channels as usize * window.area() as usize;
    Case {
        name,
        layer: Layer::Conv2d(Conv2d { input: 0, output: 1, window, source: SIGNS, range: RELU }),
        input,
        output,
        small: fits_8_kb(&input, &output, &window, taps),
    }
}

const fn depthwise(name: &'static str, input: Tensor, window: Window) -> Case {
    let output = swept(input.channels, &input, &window);
    let layer = Depthwise { input: 0, output: 1, window, source: SIGNS, range: RELU };
    Case {
        name,
        layer: Layer::Depthwise(layer),
        input,
        output,
        small: fits_8_kb(&input, &output, &window, window.area() as usize),
    }
}

const fn pool(name: &'static str, input: Tensor, window: Window, kind: PoolKind) -> Case {
    let mut output = swept(input.channels, &input, &window);
    output.zero_point = input.zero_point;
    Case {
        name,
        layer: Layer::Pool(Pool { input: 0, output: 1, window, kind }),
        input,
        output,
        small: fits_8_kb(&input, &output, &window, 0),
    }
}

/// Shapes whose speed is compared with other runtimes.
pub const SPEED: [Case; 11] = [
    dense("fc_784x256", 784, 256),
    dense("fc_256x64", 256, 64),
    conv("conv1x1_16x16x64_64", Tensor::map(64, 16, 16, 0), 64, Window::square(1, 1, 0)),
    conv("conv3x3_16x16x16_32", Tensor::map(16, 16, 16, 0), 32, Window::square(3, 1, 1)),
    conv("conv3x3_16x16x32_64", Tensor::map(32, 16, 16, 0), 64, Window::square(3, 1, 1)),
    conv("conv3x3_8x8x64_64", Tensor::map(64, 8, 8, 0), 64, Window::square(3, 1, 1)),
    conv("conv3x3_4x4x64_64", Tensor::map(64, 4, 4, 0), 64, Window::square(3, 1, 1)),
    conv("conv3x3_32x32x3_16", Tensor::map(3, 32, 32, 0), 16, Window::square(3, 1, 1)),
    depthwise("dw3x3_16x16x64", Tensor::map(64, 16, 16, 0), Window::square(3, 1, 1)),
    pool("maxpool2x2_16x16x64", Tensor::map(64, 16, 16, 0), Window::square(2, 2, 0), PoolKind::Max),
    ADD,
];

const ADD: Case = add("add_16384", Tensor::map(64, 16, 16, 0), [0x3800, 0x3400], 0, 0);

/// A sum of two maps; scales and shift are bits of f16.
const fn add(name: &'static str, map: Tensor, scales: [u16; 2], shift: u16, low: u8) -> Case {
    let layer = Layer::Add(Add { left: 0, right: 0, output: 1, scales, shift, low });
    let small = map.channels as u32 * map.height as u32 * map.width as u32 <= 1024;
    Case { name, layer, input: map, output: map, small }
}

/// Shapes that a board with little RAM can hold, for counts and comparisons there.
pub const SMALL: [Case; 5] = [
    dense("fc_784x12", 784, 12),
    conv("conv1x1_8x8x32_32", Tensor::map(32, 8, 8, 0), 32, Window::square(1, 1, 0)),
    conv("conv3x3_8x8x16_32", Tensor::map(16, 8, 8, 0), 32, Window::square(3, 1, 1)),
    depthwise("dw3x3_8x8x32", Tensor::map(32, 8, 8, 0), Window::square(3, 1, 1)),
    pool("maxpool2x2_8x8x64", Tensor::map(64, 8, 8, 0), Window::square(2, 2, 0), PoolKind::Max),
];

/// A window that is not square, with all six numbers of its own.
const CROOKED: Window = Window { kernel: [2, 5], stride: [3, 1], padding: [1, 3, 0, 4] };

/// Higher than the map: most of it is padding.
const COLUMN: Window = Window { kernel: [8, 1], stride: [1, 1], padding: [7, 0, 7, 0] };

/// Steps of two with the padding behind, as TensorFlow puts it for maps of an even size.
const LATE: Window = Window { kernel: [3; 2], stride: [2; 2], padding: [0, 0, 1, 1] };

const ALL_OF_25X5: Window = Window { kernel: [25, 5], stride: [1; 2], padding: [0; 4] };

/// `case` with activations not below `low`.
const fn above(low: u8, mut case: Case) -> Case {
    match &mut case.layer {
        Layer::Dense(layer) => {
            layer.range = Range::Activations { low };
            case.output = Tensor::vector(case.output.channels, low);
        }
        Layer::Depthwise(layer) => layer.range = Range::Activations { low },
        _ => panic!("no low of its own"),
    }
    case
}

/// Shapes that are awkward: odd sizes, single rows, other strides, paddings and zero points.
pub const AWKWARD: [Case; 50] = [
    dense("fc_1x1", 1, 1),
    dense("fc_31x3", 31, 3),
    dense("fc_33x2", 33, 2),
    dense("fc_2500x5", 2500, 5),
    dense("fc_64x1", 64, 1),
    dense("fc_33x35", 33, 35),
    above(0, dense("fc_128x21", 128, 21)),
    dense("fc_9x300", 9, 300),
    dense("fc_300x45", 300, 45),
    above(7, dense("fc_1024x3", 1024, 3)),
    conv("conv3x3_4x4x64_3", Tensor::map(64, 4, 4, 9), 3, Window::square(3, 1, 1)),
    conv("conv3x3_8x13x4_3_by_2", Tensor::map(4, 8, 13, 7), 3, Window::square(3, 2, 1)),
    conv("conv3x3_7x9x5_3_by_2", Tensor::map(5, 7, 9, 31), 3, Window::square(3, 2, 1)),
    conv("conv3x3_17x35x2_1_by_2", Tensor::map(2, 17, 35, 127), 1, Window::square(3, 2, 1)),
    conv("conv3x3_5x3x2_2_by_2", Tensor::map(2, 5, 3, 6), 2, Window::square(3, 2, 1)),
    conv("conv3x3_6x14x3_2_by_2", Tensor::map(3, 6, 14, 0), 2, LATE),
    conv("conv5x5_13x22x3_2_by_3", Tensor::map(3, 13, 22, 5), 2, Window::square(5, 3, 2)),
    conv("conv2x5_9x11x4_3_crooked", Tensor::map(4, 9, 11, 77), 3, CROOKED),
    conv("conv1x1_1x3x40_7", Tensor::map(40, 1, 3, 0), 7, Window::square(1, 1, 0)),
    conv("conv1x1_3x3x40_7", Tensor::map(40, 3, 3, 9), 7, Window::square(1, 1, 0)),
    conv("conv1x1_4x5x40_7", Tensor::map(40, 4, 5, 9), 7, Window::square(1, 1, 0)),
    conv("conv1x1_5x5x12_6", Tensor::map(12, 5, 5, 0), 6, Window::square(1, 1, 0)),
    depthwise("dw3x3_9x6x5_by_2", Tensor::map(5, 9, 6, 12), Window::square(3, 2, 1)),
    depthwise("dw2x5_9x11x3_crooked", Tensor::map(3, 9, 11, 64), CROOKED),
    depthwise("dw3x3_25x5x4", Tensor::map(4, 25, 5, 0), Window::square(3, 1, 1)),
    depthwise("dw3x3_3x3x6", Tensor::map(6, 3, 3, 8), Window::square(3, 1, 1)),
    depthwise("dw3x3_3x3x29_to_1x1", Tensor::map(29, 3, 3, 0), Window::square(3, 1, 0)),
    depthwise("dw8x1_1x1x3", Tensor::map(3, 1, 1, 0), COLUMN),
    depthwise("dw3x3_1x7x3", Tensor::map(3, 1, 7, 9), Window::square(3, 1, 1)),
    depthwise("dw3x3_4x1x3", Tensor::map(3, 4, 1, 0), Window::square(3, 1, 1)),
    depthwise("dw3x3_6x6x5_by_2", Tensor::map(5, 6, 6, 0), LATE),
    depthwise("dw5x5_11x22x4_by_2", Tensor::map(4, 11, 22, 3), Window::square(5, 2, 2)),
    depthwise("dw6x6_9x9x2", Tensor::map(2, 9, 9, 0), Window::square(6, 1, 2)),
    above(5, depthwise("dw3x3_5x9x7_above_5", Tensor::map(7, 5, 9, 5), Window::square(3, 1, 1))),
    depthwise("dw3x3_3x3x5", Tensor::map(5, 3, 3, 0), Window::square(3, 1, 1)),
    depthwise("dw5x5_7x11x3", Tensor::map(3, 7, 11, 0), Window::square(5, 1, 2)),
    depthwise("dw3x3_7x9x3_by_2", Tensor::map(3, 7, 9, 0), Window::square(3, 2, 1)),
    depthwise("dw3x3_10x70x2_by_2", Tensor::map(2, 10, 70, 0), LATE),
    pool("avgpool3x3_9x7x3", Tensor::map(3, 9, 7, 40), Window::square(3, 2, 1), PoolKind::Average),
    pool("maxpool3x3_9x7x3", Tensor::map(3, 9, 7, 40), Window::square(3, 2, 1), PoolKind::Max),
    pool("maxpool2x2_7x9x3", Tensor::map(3, 7, 9, 0), Window::square(2, 2, 0), PoolKind::Max),
    pool("maxpool2x2_8x17x5", Tensor::map(5, 8, 17, 3), Window::square(2, 2, 0), PoolKind::Max),
    pool("maxpool2x2_6x24x2", Tensor::map(2, 6, 24, 0), Window::square(2, 2, 0), PoolKind::Max),
    pool("avgpool7x7_7x7x6", Tensor::map(6, 7, 7, 9), Window::square(7, 1, 0), PoolKind::Average),
    pool("avgpool25x5_25x5x6", Tensor::map(6, 25, 5, 0), ALL_OF_25X5, PoolKind::Average),
    add("add_halves", Tensor::map(3, 5, 7, 0), [0x3800, 0x3801], 0x4400, 0),
    add("add_below_one", Tensor::map(2, 8, 9, 12), [0x399a, 0x3b33], 0xcd00, 12),
    add("add_negative", Tensor::map(1, 3, 33, 64), [0xb5c3, 0x3a01], 0x5400, 5),
    add("add_beyond_one", Tensor::map(2, 3, 5, 0), [0x3e00, 0x4133], 0xd400, 0),
    add("add_fine", Tensor::map(2, 3, 5, 0), [0x1c01, 0x2403], 0x3c01, 0),
];

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    SPEED.iter().chain(&SMALL).chain(&AWKWARD)
}

impl Case {
    /// Whether the layer has weights, and so masks and sources.
    pub fn weighted(&self) -> bool {
        self.layer.weights(&self.input, &self.output).is_some()
    }

    /// Multiplications of the layer if nothing was masked; elements made for a layer without
    /// weights.
    pub fn macs(&self) -> u64 {
        let outputs = u64::from(self.output.elements().unwrap_or(0));
        match self.layer.weights(&self.input, &self.output) {
            Some(weights) => outputs * u64::from(weights.inputs),
            None => outputs,
        }
    }
}
