//! How far the device's integers are from the floating point that was trained.

use serde::Serialize;

use seedmask::artifact::{Model, Task};
use seedmask::kernel::Words;

use super::ExportError;
use super::graph::Graph;
use crate::data::Images;
use crate::evaluate::HostArena;
use crate::nn::Mode;
use crate::nn::spec::Head;
use crate::trained::Trained;
use crate::verify::trace;

/// Differences of one layer's outputs, in steps of the device's bytes, or in logits. They come
/// from scales and shifts rounded to f16, and from values that lie half between two steps; a later
/// layer has those of the layers before it too.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerError {
    /// The layer's name in the recipe.
    pub layer: String,
    /// The largest difference.
    pub largest: f64,
    /// The mean absolute difference.
    pub mean: f64,
    /// The fraction of values that differ at all.
    pub differing: f64,
}

/// Runs task number `task` of `trained`, and `exported`, which was made of it, on the first
/// `count` of `images`; one entry a layer of the recipe that is a layer of its own on the device.
///
/// # Errors
/// [`ExportError::Evaluate`].
pub fn compare(
    trained: &Trained,
    task: usize,
    model: &Model,
    exported: Task,
    images: &Images,
    count: usize,
) -> Result<Vec<LayerError>, ExportError> {
    let graph = Graph::new(&trained.recipe)?;
    let nodes = &trained.recipe.architecture.nodes;
    let head = trained.recipe.architecture.head();
    let mut network = trained.network(task, 1);
    let mut arena = HostArena::new(model)?;
    let mut errors: Vec<(f64, f64, u64, u64)> = vec![(0.0, 0.0, 0, 0); nodes.len()];
    for image in (0..count.min(images.len())).map(|index| images.image(index)) {
        network.load([image].into_iter());
        network.forward(Mode::Evaluate);
        let device = trace::<Words>(model, exported, &mut arena, image)?;
        for (index, errors) in errors.iter_mut().enumerate() {
            let device = &device[usize::from(graph.places[index + 1])];
            let grid = graph.grids[index + 1];
            let logits = index + 1 == nodes.len() && head == Head::Logits;
            for (&real, &device) in network.tensor(index + 1).iter().zip(device) {
                let difference = if logits {
                    f64::from(real) - f64::from(device) / 65_536.0
                } else {
                    f64::from(real) / grid.step + f64::from(grid.zero_point) - f64::from(device)
                };
                // An f32 on the grid of bytes over 127 is off by its own rounding.
                let difference = difference.abs();
                errors.0 = errors.0.max(difference);
                errors.1 += difference;
                errors.2 += u64::from(difference > 1e-3);
                errors.3 += 1;
            }
        }
    }
    let layers = nodes.iter().zip(&errors).enumerate();
    Ok(layers
        .filter(|(index, _)| graph.places[index + 1] != graph.places[nodes[*index].input])
        .map(|(_, (node, &(largest, sum, differing, count)))| LayerError {
            layer: node.name.clone(),
            largest,
            mean: sum / count.max(1) as f64,
            differing: differing as f64 / count.max(1) as f64,
        })
        .collect())
}
