//! A layer of the table as a file that a board can run.

use half::f16;
use seedmask::artifact::write::{self, Backbone, LearnedLayer, LearnedMask};
use seedmask::layer::{Add, Dense, Layer, Range, Relayout, Source, Tensor, TensorId};
use seedmask::mask::Encoding;
use seedmask::plan::Goal;

use crate::built::{Learned, with_source};
use crate::cases::{Case, Variant};

/// Seed of every case's backbone.
const SEED: u64 = 0x5eed;

/// `case` as the only layer of a network with one task, before it a relayout where it needs a halo,
/// after it (unless it makes logits itself) a dense layer that adds up every output, each with its
/// sign, to one logit. `None` where case and variant do not go together.
pub fn artifact(case: &Case, variant: Variant) -> Option<Vec<u8>> {
    network(case, variant, false).map(|(artifact, _)| artifact)
}

/// Like [`artifact`], with a relayout on either side of the layer (on its map sides), so that the
/// planner may lay out its tensors as it would in the middle of a network; and the layer's index.
pub fn isolated(case: &Case, variant: Variant) -> Option<(Vec<u8>, usize)> {
    network(case, variant, true)
}

fn network(case: &Case, variant: Variant, isolated: bool) -> Option<(Vec<u8>, usize)> {
    let mut tensors = vec![case.input];
    let mut layers = Vec::new();
    if isolated || case.layer.halo() > 0 {
        tensors.push(case.input);
        layers.push(Layer::Relayout(Relayout { input: 0, output: 1 }));
    }
    let right = (tensors.len() - 1) as TensorId;
    if let (Layer::Add(_), true) = (case.layer, isolated) {
        tensors.push(case.input);
        layers.push(Layer::Relayout(Relayout { input: 0, output: 2 }));
    }
    // The operands of a sum are to differ: the left one is half of the right one and some more.
    if let (Layer::Add(sum), false) = (case.layer, isolated) {
        let halved =
            Add { left: 0, right: 0, output: 1, scales: [0x3000, 0x3400], shift: 0x4900, ..sum };
        tensors.push(case.input);
        layers.push(Layer::Add(halved));
    }
    let input = (tensors.len() - 1) as TensorId;
    tensors.push(case.output);
    let mut layer = between(with_source(case.layer, variant.source), input, input + 1);
    if let Layer::Add(sum) = &mut layer {
        sum.right = right;
    }
    let index = layers.len();
    layers.push(layer);

    let mut learned = Vec::new();
    let mut stored = Vec::new();
    if let Some(weights) = case.layer.weights(&case.input, &case.output) {
        let layer = Learned::new(weights, variant, SEED, 0)?;
        stored.extend((variant.source == Source::StoredInt8).then_some(layer.stored));
        let mask = LearnedMask::Own { encoding: layer.encoding, bytes: layer.mask };
        learned.push(LearnedLayer { mask, epilogue: layer.epilogue });
    }
    if !matches!(case.layer, Layer::Dense(_)) {
        let mut input = input + 1;
        if isolated {
            let flat = case.output.elements().and_then(|elements| elements.try_into().ok())?;
            layers.push(Layer::Relayout(Relayout { input, output: input + 1 }));
            tensors.push(Tensor::vector(flat, case.output.zero_point));
            input += 1;
        }
        let (source, range) = (Source::SeededSigns, Range::Logits);
        layers.push(Layer::Dense(Dense { input, output: input + 1, source, range }));
        tensors.push(Tensor::logits(1));
        let mask = LearnedMask::Own { encoding: Encoding::Full, bytes: Vec::new() };
        // A sum of all outputs keeps its last digits: 2⁻¹⁶ · 2¹⁶ a unit.
        let scale = f16::from_f32(1.0 / 65536.0);
        learned.push(LearnedLayer { mask, epilogue: vec![(scale, f16::ZERO)] });
    }

    let backbone = Backbone { seed: SEED, tensors, layers, stored, goal: Goal::Speed };
    let classes = backbone.tensors.last()?.channels;
    let task =
        write::Learned { name: case.name.into(), classes, labels: Vec::new(), layers: learned };
    Some((write::artifact(&backbone, &[task]).expect("a case is a valid network"), index))
}

/// `layer` from tensor `from` to tensor `to`.
fn between(mut layer: Layer, from: TensorId, to: TensorId) -> Layer {
    let (input, output) = match &mut layer {
        Layer::Dense(layer) => (&mut layer.input, &mut layer.output),
        Layer::Conv2d(layer) => (&mut layer.input, &mut layer.output),
        Layer::Depthwise(layer) => (&mut layer.input, &mut layer.output),
        Layer::Pool(layer) => (&mut layer.input, &mut layer.output),
        Layer::Relayout(layer) => (&mut layer.input, &mut layer.output),
        Layer::Add(layer) => (&mut layer.left, &mut layer.output),
    };
    (*input, *output) = (from, to);
    layer
}
