//! The network's graph as the device has it: flattening that costs nothing where a map lies
//! without halo, and copies where a tensor is read in two layouts.

use half::f16;
use seedmask::artifact::MAX_LAYERS;
use seedmask::layer::{
    Add, Conv2d, Dense, Depthwise, Layer, Pool, PoolKind, Range, Relayout, Source, Tensor, TensorId,
};

use super::ExportError;
use crate::nn::architecture::{Node, Sums, Weighted};
use crate::nn::epilogue::Output;
use crate::nn::spec::Head;
use crate::nn::{Architecture, INPUT_STEP, Kind, STEPS_PER_UNIT};
use crate::recipe::Recipe;

/// What the bytes of a tensor stand for: `(byte − zero point) · step`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// The real value of one step.
    pub step: f64,
    /// The byte that stands for 0.
    pub zero_point: u8,
}

/// Tensors and layers of a backbone.
#[derive(Debug, Clone)]
pub struct Graph {
    /// Shapes; index 0 is the input.
    pub tensors: Vec<Tensor>,
    /// The layers in their order.
    pub layers: Vec<Layer>,
    /// What the inputs of each weighted layer stand for.
    pub inputs: Vec<Grid>,
    /// For every tensor of the trained network: where it is.
    pub(super) places: Vec<TensorId>,
    /// For every tensor of the trained network: what its bytes stand for.
    pub(super) grids: Vec<Grid>,
    /// For every tensor of the trained network: its copy with a halo, where it needs one.
    padded: Vec<Option<TensorId>>,
}

impl Graph {
    /// Lowers the network of `recipe`.
    ///
    /// # Errors
    /// [`ExportError`] where the device has no such graph.
    pub fn new(recipe: &Recipe) -> Result<Self, ExportError> {
        let architecture = &recipe.architecture;
        let mut graph = Self {
            tensors: Vec::new(),
            layers: Vec::new(),
            inputs: Vec::new(),
            places: Vec::new(),
            grids: Vec::new(),
            padded: Vec::new(),
        };
        let input = graph.tensor(architecture, 0)?;
        let id = graph.push(input)?;
        let grid = Grid { step: INPUT_STEP.into(), zero_point: input.zero_point };
        graph.define(architecture, 0, id, grid)?;
        for index in 0..architecture.nodes.len() {
            graph.lower(architecture, index, super::source(recipe.source))?;
        }
        Ok(graph)
    }

    /// Adds the layer of node `index`, whose output is tensor `index + 1`.
    fn lower(
        &mut self,
        architecture: &Architecture,
        index: usize,
        source: Source,
    ) -> Result<(), ExportError> {
        let node = &architecture.nodes[index];
        let mut grid = self.grids[node.input];
        let input = self.places[node.input];
        if node.kind == Kind::Flatten && flattens_in_place(architecture, index) {
            return self.define(architecture, index + 1, input, grid);
        }
        let output = self.tensor(architecture, index + 1)?;
        let id = self.push(output)?;
        let layer = match node.kind {
            Kind::Weighted(weighted) => {
                self.inputs.push(grid);
                let input = match halo(node) {
                    0 => input,
                    _ => self.padded[node.input].unwrap_or(input),
                };
                weighted_layer(weighted, input, id, source)
            }
            Kind::MaxPool(pool) => {
                let window = pool.window;
                Layer::Pool(Pool { input, output: id, window, kind: PoolKind::Max })
            }
            Kind::AveragePool(_) if grid.step != UNIT_STEP => {
                return Err(ExportError::AverageOfInput { layer: node.name.clone() });
            }
            Kind::AveragePool(pool) => {
                let window = pool.window;
                Layer::Pool(Pool { input, output: id, window, kind: PoolKind::Average })
            }
            Kind::Flatten => Layer::Relayout(Relayout { input, output: id }),
            Kind::Add { other, .. } => {
                let (left, right) = (self.grids[node.input], self.grids[other]);
                Layer::Add(add(input, left, self.places[other], right, id, output.zero_point))
            }
        };
        if matches!(node.kind, Kind::Weighted(_) | Kind::Add { .. }) {
            grid = Grid { step: UNIT_STEP, zero_point: output.zero_point };
        }
        self.layers.push(layer);
        self.define(architecture, index + 1, id, grid)
    }

    /// Says that tensor `trained` of the network is `id` here; adds the copy that layers with
    /// padding read, where `id` cannot have a halo.
    fn define(
        &mut self,
        architecture: &Architecture,
        trained: usize,
        id: TensorId,
        grid: Grid,
    ) -> Result<(), ExportError> {
        let flat = trained == 0 || is_read_flat(architecture, trained);
        let padded = if flat && widest_halo(architecture, trained) > 0 {
            let copy = self.push(self.tensors[usize::from(id)])?;
            self.layers.push(Layer::Relayout(Relayout { input: id, output: copy }));
            Some(copy)
        } else {
            None
        };
        self.places.push(id);
        self.grids.push(grid);
        self.padded.push(padded);
        Ok(())
    }

    fn push(&mut self, tensor: Tensor) -> Result<TensorId, ExportError> {
        let found = self.tensors.len();
        let id = u8::try_from(found).ok().filter(|_| found <= MAX_LAYERS);
        self.tensors.push(tensor);
        id.ok_or(ExportError::Layers { found, most: MAX_LAYERS })
    }

    fn tensor(&self, architecture: &Architecture, trained: usize) -> Result<Tensor, ExportError> {
        let info = &architecture.tensors[trained];
        let layer = trained.checked_sub(1).map_or("input", |node| &architecture.nodes[node].name);
        let small = |found: usize| {
            let layer = layer.to_owned();
            u16::try_from(found).map_err(|_| ExportError::Size { layer, found })
        };
        let channels = small(info.shape.channels)?;
        if trained == architecture.nodes.len() && architecture.head() == Head::Logits {
            return Ok(Tensor::logits(channels));
        }
        let (height, width) = (small(info.shape.height)?, small(info.shape.width)?);
        Ok(Tensor::map(channels, height, width, info.zero_point))
    }
}

const UNIT_STEP: f64 = 1.0 / STEPS_PER_UNIT as f64;

/// The halo that a layer needs around its input.
fn halo(node: &Node) -> u8 {
    match node.kind {
        Kind::Weighted(Weighted { sums: Sums::Conv2d(conv), .. }) => conv.window.halo(),
        _ => 0,
    }
}

fn widest_halo(architecture: &Architecture, trained: usize) -> u8 {
    architecture.readers(trained).map(|(_, node)| halo(node)).max().unwrap_or(0)
}

/// Whether dense layers read the map itself, because it has no halo: its bytes lie in their order.
fn flattens_in_place(architecture: &Architecture, flatten: usize) -> bool {
    let input = architecture.nodes[flatten].input;
    let mut readers = architecture.readers(flatten + 1);
    widest_halo(architecture, input) == 0 && readers.all(|(_, node)| is_dense(node))
}

fn is_dense(node: &Node) -> bool {
    matches!(node.kind, Kind::Weighted(Weighted { sums: Sums::Dense(_), .. }))
}

/// Whether the tensor is one that must have no halo.
fn is_read_flat(architecture: &Architecture, trained: usize) -> bool {
    architecture.readers(trained).any(|(_, node)| is_dense(node))
}

fn weighted_layer(weighted: Weighted, input: TensorId, output: TensorId, source: Source) -> Layer {
    let range = match weighted.output {
        Output::Logits => Range::Logits,
        // ReLU has the zero point 0, and without it nothing but the byte's range clamps.
        Output::Activations(_) => Range::Activations { low: 0 },
    };
    match weighted.sums {
        Sums::Dense(_) => Layer::Dense(Dense { input, output, source, range }),
        Sums::Conv2d(conv) => {
            Layer::Conv2d(Conv2d { input, output, window: conv.window, source, range })
        }
        Sums::Depthwise(conv) => {
            Layer::Depthwise(Depthwise { input, output, window: conv.window, source, range })
        }
    }
}

/// The sum of two tensors on the grid of activations.
fn add(
    left: TensorId,
    left_grid: Grid,
    right: TensorId,
    right_grid: Grid,
    output: TensorId,
    zero_point: u8,
) -> Add {
    let scales = [left_grid, right_grid].map(|grid| f16::from_f64_const(grid.step / UNIT_STEP));
    let zeros = scales[0].to_f64_const() * f64::from(left_grid.zero_point)
        + scales[1].to_f64_const() * f64::from(right_grid.zero_point);
    let shift = f16::from_f64_const(f64::from(zero_point) - zeros);
    let (scales, shift) = (scales.map(f16::to_bits), shift.to_bits());
    Add { left, right, output, scales, shift, low: 0 }
}

#[cfg(test)]
mod tests {
    use seedmask::plan::Goal;

    use super::*;

    fn graph(layers: &str) -> Graph {
        let text = format!(
            "[network]\ninput = [1, 28, 28]\nseed = 1\nlayers = [{layers}]\n\
             [train]\nepochs = 1\n[[task]]\nname = \"a\"\ndata = \"clothes\"\n"
        );
        Graph::new(&Recipe::parse(&text).unwrap()).unwrap()
    }

    fn kinds(graph: &Graph) -> Vec<&'static str> {
        graph.layers.iter().map(Layer::kind).collect()
    }

    #[test]
    fn a_dense_layer_reads_a_map_without_halo_as_it_is() {
        let graph = graph("{ flatten = true }, { dense = 30 }, { dense = 10 }");
        assert_eq!(kinds(&graph), ["dense", "dense"]);
        assert_eq!(graph.places, [0, 0, 1, 2]);
        let grids: Vec<f64> = graph.inputs.iter().map(|grid| grid.step).collect();
        assert_eq!(grids, [f64::from(INPUT_STEP), UNIT_STEP]);
    }

    #[test]
    fn padding_of_the_input_needs_a_copy() {
        let graph =
            graph("{ conv = 4 }, { conv = 4, stride = 2 }, { flatten = true }, { dense = 10 }");
        assert_eq!(kinds(&graph), ["relayout", "conv2d", "conv2d", "dense"]);
        assert_eq!(graph.places, [0, 2, 3, 3, 4]);
    }

    #[test]
    fn a_map_with_a_halo_is_copied_to_be_flattened() {
        let layers = "{ conv = 4, padding = \"valid\", name = \"a\" }, { conv = 4 }, \
                      { add = \"a\" }, { conv = 4 }, { max_pool = 2 }, { flatten = true }, \
                      { dense = 10 }";
        let graph = graph(layers);
        let expected = ["conv2d", "conv2d", "add", "conv2d", "max pool", "dense"];
        assert_eq!(kinds(&graph), expected);
        let plan = seedmask::plan::make(&graph.tensors, &graph.layers, Goal::Speed).unwrap();
        let halos: Vec<u8> = plan.placements.iter().map(|place| place.pad).collect();
        assert_eq!(halos, [0, 1, 0, 1, 0, 0, 0]);
    }
}
