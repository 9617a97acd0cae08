//! Everything that can run an artifact here must agree in every activation and logit: the real
//! numbers of [`Twin`], the runtime's plain kernels, and its fast ones.

use rayon::prelude::*;
use seedmask::Session;
use seedmask::artifact::{Model, Task};
use seedmask::kernel::{Kernels, Reference, Source, Words};
use seedmask::layer::{Element, Layer, Pool, PoolKind, Tensor};
use serde::Serialize;

use crate::evaluate::{EvaluateError, HostArena};
use crate::twin::Twin;

/// The first value, in the order of execution, that is not the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// Place of the image among those given.
    pub image: usize,
    /// Place of the layer.
    pub layer: usize,
    /// What the layer does.
    pub kind: &'static str,
    /// Channel, row and column in the layer's output.
    pub element: [usize; 3],
    /// The value in real numbers: an activation, or a logit in Q16.
    pub twin: f64,
    /// The value from the plain kernels.
    pub reference: i32,
    /// The value from the fast kernels.
    pub words: i32,
}

/// What was compared, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Activations and logits compared, of all images.
    pub values: u64,
    /// Where they differ.
    pub difference: Option<Difference>,
}

/// Runs `model` under `task` on images of device bytes, each as large as the model's input.
///
/// # Errors
/// [`EvaluateError`] where the model cannot be run.
pub fn verify<'a>(
    model: &Model,
    task: Task,
    images: impl IntoParallelIterator<Item = &'a [u8], Iter: IndexedParallelIterator>,
) -> Result<Comparison, EvaluateError> {
    let twin = Twin::new(model, &task);
    let arena = HostArena::new(model)?;
    let per_image: u64 =
        model.steps().map(|step| u64::from(step.output.elements().unwrap_or(0))).sum();
    let check = |(arena, second): &mut (HostArena, HostArena), (image, pixels): (usize, &[u8])| {
        let reference = trace::<Reference>(model, task, arena, pixels)?;
        let words = trace::<Words>(model, task, second, pixels)?;
        let difference = first_difference(model, &twin.run(pixels), &reference, &words);
        Ok::<_, EvaluateError>(difference.map(|difference| Difference { image, ..difference }))
    };
    let results: Vec<_> = images
        .into_par_iter()
        .enumerate()
        .map_init(|| (arena.clone(), arena.clone()), check)
        .collect::<Result<_, _>>()?;
    let difference = results.iter().flatten().next().copied();
    Ok(Comparison { values: per_image * results.len() as u64, difference })
}

/// Every tensor that the runtime makes of one image, by its index: activations, or logits in Q16.
/// The input's place is left empty.
///
/// # Errors
/// [`EvaluateError`] where the model cannot be run.
pub fn trace<K: Kernels>(
    model: &Model,
    task: Task,
    arena: &mut HostArena,
    image: &[u8],
) -> Result<Vec<Vec<i32>>, EvaluateError> {
    let mut tensors = vec![Vec::new(); usize::from(model.tensor_count())];
    let mut session = Session::new(*model, arena)?;
    session.input().copy_from_slice(image);
    session.infer_observed::<K>(task, |step, output| {
        tensors[usize::from(step.layer.output())] = values(&step.output, &output);
    })?;
    Ok(tensors)
}

fn values(tensor: &Tensor, output: &Source) -> Vec<i32> {
    let count = tensor.elements().unwrap_or(0) as usize;
    match tensor.element {
        Element::Logit => {
            let logits = output.bytes.as_chunks::<4>().0.iter();
            logits.map(|logit| i32::from_ne_bytes(*logit)).take(count).collect()
        }
        Element::Activation => (0..output.planes.channels)
            .flat_map(|channel| (0..output.planes.height).map(move |row| (channel, row)))
            .flat_map(|(channel, row)| output.planes.row(output.bytes, channel, row))
            .map(|&byte| byte.into())
            .collect(),
    }
}

fn first_difference(
    model: &Model,
    twin: &[Vec<f64>],
    reference: &[Vec<i32>],
    words: &[Vec<i32>],
) -> Option<Difference> {
    model.steps().find_map(|step| {
        let id = usize::from(step.layer.output());
        let all = twin[id].iter().zip(reference[id].iter().zip(&words[id]));
        let (at, (&twin, (&reference, &words))) =
            all.enumerate().find(|(_, (twin, (reference, words)))| {
                **twin != f64::from(**reference) || reference != words
            })?;
        let [_, height, width] = crate::evaluate::size(&step.output);
        Some(Difference {
            image: 0,
            layer: step.index.into(),
            kind: kind(&step.layer),
            element: [at / (height * width), at / width % height, at % width],
            twin,
            reference,
            words,
        })
    })
}

/// What a layer does, in a word.
pub fn kind(layer: &Layer) -> &'static str {
    match layer {
        Layer::Dense(_) => "dense",
        Layer::Conv2d(_) => "conv2d",
        Layer::Depthwise(_) => "depthwise",
        Layer::Pool(Pool { kind: PoolKind::Max, .. }) => "max pool",
        Layer::Pool(Pool { kind: PoolKind::Average, .. }) => "average pool",
        Layer::Add(_) => "add",
        Layer::Relayout(_) => "relayout",
    }
}
