//! Everything that can run an artifact here must agree in every activation and logit: the real
//! numbers of [`Twin`], the runtime's plain kernels, its portable ones, and those of this processor.

use std::fmt;

use rayon::prelude::*;
use seedmask::Session;
use seedmask::artifact::{Model, Task};
use seedmask::kernel::{Kernels, Native, Reference, Source, Words};
use seedmask::layer::{Element, Tensor};
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
    /// The value from the portable kernels.
    pub words: i32,
    /// The value from this processor's kernels.
    pub native: i32,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layer, kind, element: [channel, row, column], twin, .. } = self;
        let Self { reference, words, native, .. } = self;
        write!(f, "layer {layer} ({kind}), channel {channel}, row {row}, column {column}: ")?;
        write!(f, "real numbers {twin}, plain kernels {reference}, ")?;
        write!(f, "portable {words}, native {native}")
    }
}

/// What was compared, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Activations and logits compared, of all images.
    pub values: u64,
    /// Where they differ.
    pub difference: Option<Difference>,
}

/// Runs `model` under `task` on `count` images: device bytes, as many as the model's input has.
///
/// # Errors
/// [`EvaluateError`] where the model cannot be run.
pub fn verify(
    model: &Model,
    task: Task,
    count: usize,
    image: impl Fn(usize) -> Vec<u8> + Sync,
) -> Result<Comparison, EvaluateError> {
    let twin = Twin::new(model, &task)?;
    let arena = HostArena::new(model)?;
    let check = |arena: &mut HostArena, index: usize| {
        let pixels = image(index);
        let traces = [
            trace::<Reference>(model, task, arena, &pixels)?,
            trace::<Words>(model, task, arena, &pixels)?,
            trace::<Native>(model, task, arena, &pixels)?,
        ];
        let values: usize = traces[0].iter().map(Vec::len).sum();
        let difference = first_difference(model, &twin.run(&pixels), &traces);
        let difference = difference.map(|difference| Difference { image: index, ..difference });
        Ok((values as u64, difference))
    };
    let results: Vec<_> = (0..count)
        .into_par_iter()
        .map_init(|| arena.clone(), check)
        .collect::<Result<_, EvaluateError>>()?;
    let values = results.iter().map(|(values, _)| values).sum();
    let difference = results.iter().find_map(|(_, difference)| *difference);
    Ok(Comparison { values, difference })
}

/// Every tensor that the runtime makes of one image, by its index: activations, or logits in Q16.
/// The places of the input, and of convolutions that never exist as a whole, are left empty.
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
        Element::Activation => {
            let planes = &output.planes;
            let lines = (0..planes.channels)
                .flat_map(|channel| (0..planes.height).map(move |line| (channel, line)));
            let element = |(c, y, x)| i32::from(output.bytes[planes.index(c, y, x)]);
            lines
                .flat_map(|(c, y)| (0..planes.width).map(move |x| (c, y, x)))
                .map(element)
                .collect()
        }
    }
}

/// `traces` are those of the plain, the portable and the processor's kernels.
fn first_difference(
    model: &Model,
    twin: &[Vec<f64>],
    traces: &[Vec<Vec<i32>>; 3],
) -> Option<Difference> {
    model.steps().find_map(|step| {
        let id = usize::from(step.layer.output());
        let [_, height, width] = crate::evaluate::size(&step.output);
        // Nothing is shown of a convolution that never exists as a whole.
        let shown = traces.iter().map(|trace| trace[id].len()).max()?;
        (0..shown).find_map(|at| {
            let real = twin[id][at];
            let [reference, words, native] = traces.each_ref().map(|trace| trace[id][at]);
            let equal = [reference, words, native].iter().all(|&value| f64::from(value) == real);
            (!equal).then(|| Difference {
                image: 0,
                layer: step.index.into(),
                kind: step.layer.kind(),
                element: [at / (height * width), at / width % height, at % width],
                twin: real,
                reference,
                words,
                native,
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_found_by_layer_and_place() {
        let file = include_bytes!("../../tests/golden/v1.smk");
        let model = Model::parse(file).unwrap();
        let task = model.task("mix").unwrap();
        let image: Vec<u8> = (0..126).collect();
        let mut arena = HostArena::new(&model).unwrap();
        let twin = Twin::new(&model, &task).unwrap().run(&image);
        let reference = trace::<Reference>(&model, task, &mut arena, &image).unwrap();
        let equal = [reference.clone(), reference.clone(), reference.clone()];
        assert_eq!(first_difference(&model, &twin, &equal), None);
        // Tensor 4 is layer 3's sum of two maps of 6×9×7; tensor 9 are the logits.
        for set in 0..3 {
            let mut traces = equal.clone();
            traces[set][9][2] += 1;
            traces[set][4][2 * 63 + 5 * 7 + 6] += 1;
            let found = first_difference(&model, &twin, &traces).unwrap();
            assert_eq!((found.layer, found.kind, found.element), (3, "add", [2, 5, 6]));
            let values = [found.reference, found.words, found.native];
            let more = values.map(|value| f64::from(value) - found.twin);
            assert_eq!((more[set], more.iter().sum::<f64>()), (1.0, 1.0));
        }
    }
}
