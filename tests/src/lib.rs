//! Samples that the tests share: a backbone with every kind of layer, one with every layout of maps,
//! and tasks with every encoding.

use bitvec::prelude::*;
use half::f16;
use seedmask::Model;
use seedmask::artifact::write::{Backbone, Learned, LearnedLayer, LearnedMask, artifact};
use seedmask::layer::{
    Add, Conv2d, Dense, Depthwise, Layer, Pool, PoolKind, Range, Relayout, Source, Tensor, Weights,
    Window,
};
use seedmask::mask::{Encoding, decode, encode, smallest};
use seedmask::plan::Goal;
use seedmask::random::{Generator, Stream};

/// The stream that samples are drawn from.
pub const SAMPLES: Stream = Stream::Host(0x5a);

const RELU: Range = Range::Activations { low: 0 };
const LINEAR: Range = Range::Activations { low: 0 };

/// Every kind of layer and source, zero points other than 0, odd sizes, a residual connection.
pub fn backbone() -> Backbone {
    let map = Tensor::map;
    let window = Window::square;
    let one = f16::ONE.to_bits();
    let tensors = vec![
        map(2, 9, 7, 3),       // 0 input
        map(2, 9, 7, 3),       // 1 with halo
        map(6, 9, 7, 64),      // 2 conv, linear
        map(6, 9, 7, 64),      // 3 depthwise, linear
        map(6, 9, 7, 0),       // 4 sum
        map(6, 4, 3, 0),       // 5 max pool
        map(8, 4, 3, 0),       // 6 conv of magnitudes
        map(8, 1, 1, 0),       // 7 average pool
        Tensor::vector(21, 0), // 8 stored int8
        Tensor::logits(5),     // 9
    ];
    let layers = vec![
        Layer::Relayout(Relayout { input: 0, output: 1 }),
        Layer::Conv2d(Conv2d {
            input: 1,
            output: 2,
            window: window(3, 1, 1),
            source: Source::SeededSigns,
            range: LINEAR,
        }),
        Layer::Depthwise(Depthwise {
            input: 2,
            output: 3,
            window: window(3, 1, 1),
            source: Source::SeededSigns,
            range: LINEAR,
        }),
        Layer::Add(Add {
            left: 3,
            right: 2,
            output: 4,
            scales: [one; 2],
            shift: f16::from_f32(-128.0).to_bits(),
            low: 0,
        }),
        Layer::Pool(Pool { input: 4, output: 5, window: window(2, 2, 0), kind: PoolKind::Max }),
        Layer::Conv2d(Conv2d {
            input: 5,
            output: 6,
            window: window(1, 1, 0),
            source: Source::SeededMagnitudes,
            range: RELU,
        }),
        Layer::Pool(Pool {
            input: 6,
            output: 7,
            window: Window { kernel: [4, 3], stride: [1, 1], padding: [0; 4] },
            kind: PoolKind::Average,
        }),
        Layer::Dense(Dense { input: 7, output: 8, source: Source::StoredInt8, range: RELU }),
        Layer::Dense(Dense {
            input: 8,
            output: 9,
            source: Source::SeededSigns,
            range: Range::Logits,
        }),
    ];
    let words = Generator::new(1, SAMPLES);
    let stored = (0..21 * 8).map(|i| words.word(i) as i8).collect();
    Backbone { seed: 0x5eed_0000_cafe, tensors, layers, stored: vec![stored], goal: Goal::Speed }
}

/// Maps that a plan splits, bands and makes in turns with the sum behind them.
pub fn layouts() -> Backbone {
    let map = Tensor::map;
    let one = f16::ONE.to_bits();
    let conv = |input, output, window| {
        Layer::Conv2d(Conv2d { input, output, window, source: Source::SeededSigns, range: RELU })
    };
    let tensors = vec![
        map(2, 18, 10, 3), // 0 input
        map(2, 18, 10, 3), // 1 split, for the convolution that steps by two
        map(6, 9, 5, 0),   // 2 of one band
        map(6, 8, 4, 0),   // 3 of one band
        map(6, 8, 4, 0),   // 4 banded
        map(6, 8, 4, 0),   // 5 banded
        map(6, 8, 4, 0),   // 6 joined with the sum
        map(6, 8, 4, 0),   // 7 sum
        map(6, 1, 1, 0),   // 8 average pool
        Tensor::logits(5), // 9
    ];
    let layers = vec![
        Layer::Relayout(Relayout { input: 0, output: 1 }),
        conv(1, 2, Window::square(3, 2, 1)),
        conv(2, 3, Window::square(2, 1, 0)),
        Layer::Relayout(Relayout { input: 3, output: 4 }),
        conv(4, 5, Window::square(3, 1, 1)),
        conv(5, 6, Window::square(3, 1, 1)),
        Layer::Add(Add { left: 6, right: 4, output: 7, scales: [one; 2], shift: 0, low: 0 }),
        Layer::Pool(Pool {
            input: 7,
            output: 8,
            window: Window { kernel: [8, 4], stride: [1, 1], padding: [0; 4] },
            kind: PoolKind::Average,
        }),
        Layer::Dense(Dense {
            input: 8,
            output: 9,
            source: Source::SeededSigns,
            range: Range::Logits,
        }),
    ];
    Backbone { seed: 0x1a_7007, tensors, layers, stored: vec![], goal: Goal::Speed }
}

/// Maps of 25 bytes that a plan fills up to whole words, between 1×1 windows.
pub fn pointwise() -> Backbone {
    let map = Tensor::map;
    let conv = |input, output| {
        let window = Window::square(1, 1, 0);
        Layer::Conv2d(Conv2d { input, output, window, source: Source::SeededSigns, range: RELU })
    };
    let tensors = vec![
        map(2, 5, 5, 0), // 0 input
        map(2, 5, 5, 0),
        map(6, 5, 5, 0), // 2 filled up to words, as the next two
        map(6, 5, 5, 0),
        map(9, 5, 5, 0),
        map(9, 1, 1, 0), // 5 average pool
        Tensor::logits(5),
    ];
    let layers = vec![
        Layer::Relayout(Relayout { input: 0, output: 1 }),
        conv(1, 2),
        Layer::Depthwise(Depthwise {
            input: 2,
            output: 3,
            window: Window::square(3, 1, 1),
            source: Source::SeededSigns,
            range: RELU,
        }),
        conv(3, 4),
        Layer::Pool(Pool {
            input: 4,
            output: 5,
            window: Window::square(5, 1, 0),
            kind: PoolKind::Average,
        }),
        Layer::Dense(Dense {
            input: 5,
            output: 6,
            source: Source::SeededSigns,
            range: Range::Logits,
        }),
    ];
    Backbone { seed: 0x25, tensors, layers, stored: vec![], goal: Goal::Speed }
}

/// Every sample with its name: the file's, in `golden`.
pub fn samples() -> [(&'static str, Vec<u8>); 3] {
    let layers = backbone();
    let (maps, points) = (layouts(), pointwise());
    let whole = task(&points, "whole", 0.4, |_| None);
    let positions = task(&points, "positions", 0.4, |index| {
        Some(if index == 3 { Encoding::SignedGaps } else { Encoding::Raw })
    });
    let counted = task(&maps, "counted", 0.4, |_| Some(Encoding::CountedRaw));
    let sparse = task(&maps, "sparse", 0.2, |_| None);
    let artifact = |backbone: &Backbone, tasks: &[Learned]| {
        artifact(backbone, tasks).expect("the sample is valid")
    };
    [
        ("v1", artifact(&layers, &tasks(&layers))),
        ("v1-layouts", artifact(&maps, &[counted, sparse])),
        ("v1-pointwise", artifact(&points, &[whole, positions])),
    ]
}

/// The weighted layers of `backbone` with their first generator words.
pub fn weighted(backbone: &Backbone) -> Vec<(Weights, u32)> {
    let mut first = 0u32;
    let tensor = |id: u8| &backbone.tensors[usize::from(id)];
    let layers = backbone.layers.iter();
    let weights = layers.filter_map(|l| l.weights(tensor(l.inputs().0), tensor(l.output())));
    weights
        .map(|weights| {
            let begin = first;
            first += weights.generator_words();
            (weights, begin)
        })
        .collect()
}

/// A random mask of `weights` with about `density` of its bits set.
pub fn random_mask(weights: Weights, density: f64, salt: u64) -> BitVec {
    let words = Generator::new(salt, SAMPLES);
    let below = (density * f64::from(u32::MAX)) as u32;
    (0..weights.len() as u32).map(|i| words.word(i) <= below).collect()
}

/// A task with random masks; `choose` picks the encoding of each weighted layer, the smallest where
/// it gives none.
pub fn task(
    backbone: &Backbone,
    name: &str,
    density: f64,
    choose: impl Fn(usize) -> Option<Encoding>,
) -> Learned {
    let layers = weighted(backbone).into_iter().enumerate().map(|(index, (weights, first))| {
        let salt = name.len() as u64 * 100 + index as u64;
        let bits = random_mask(weights, density, salt);
        let (encoding, bytes) = match choose(index) {
            Some(encoding @ (Encoding::Full | Encoding::Seeded { .. })) => (encoding, Vec::new()),
            Some(encoding) => {
                (encoding, encode(encoding, &bits, weights, backbone.seed, first).expect("fits"))
            }
            None => smallest(&bits, weights, backbone.seed, first),
        };
        let mask = LearnedMask::Own { encoding, bytes };
        LearnedLayer { mask, epilogue: epilogue(weights, salt) }
    });
    Learned {
        name: name.into(),
        classes: 5,
        labels: ["bag", "boot", "coat", "dress", "shirt"].map(String::from).to_vec(),
        layers: layers.collect(),
    }
}

/// Scales and shifts that keep most activations inside 0..=127.
pub fn epilogue(weights: Weights, salt: u64) -> Vec<(f16, f16)> {
    let words = Generator::new(salt, Stream::Host(0x5b));
    let reach = match weights.source {
        Source::SeededSigns => 1.0,
        Source::SeededMagnitudes => 2.0,
        Source::StoredInt8 => 64.0,
    } * (weights.inputs as f32).sqrt();
    (0..weights.rows)
        .map(|row| {
            let unit = (words.word(row) >> 8) as f32 / (1 << 24) as f32;
            (f16::from_f32((0.2 + unit) / reach), f16::from_f32(32.0 + 64.0 * unit))
        })
        .collect()
}

/// The tasks of [`backbone`]: every encoding that needs no count, and one task that shares a mask.
pub fn tasks(backbone: &Backbone) -> Vec<Learned> {
    let stored = 3;
    let mix = task(backbone, "mix", 0.3, |index| {
        Some(match index {
            0 => Encoding::RiceGaps { parameter: 1 },
            1 => Encoding::Raw,
            2 => Encoding::RiceGaps { parameter: 0 },
            i if i == stored => Encoding::Full,
            _ => Encoding::SignedGaps,
        })
    });
    let drawn = task(backbone, "drawn", 0.5, |index| {
        Some(if index == stored { Encoding::Full } else { Encoding::Seeded { density: 77 } })
    });
    let mut shared = task(backbone, "shared", 0.5, |_| None);
    shared.layers[0].mask = LearnedMask::SameAs(0);
    shared.layers[2].mask = LearnedMask::SameAs(0);
    shared.classes = 3;
    shared.labels.truncate(3);
    vec![mix, drawn, shared]
}

/// A pseudo-random input for `model`.
pub fn input(model: &Model<'_>, salt: u64) -> Vec<u8> {
    let words = Generator::new(salt, Stream::Host(0x5c));
    (0..model.input().elements().unwrap_or(0)).map(|i| words.word(i) as u8 >> 1).collect()
}

/// Density of the mask of every weighted layer of the first task, to see that a sample is one.
pub fn densities(model: &Model<'_>) -> Vec<f64> {
    let task = model.tasks().next().expect("the sample has tasks");
    let learned = task.program(model).filter_map(|op| op.learned);
    learned.map(|(w, _)| decode(&w).count_ones() as f64 / w.weights().len() as f64).collect()
}
