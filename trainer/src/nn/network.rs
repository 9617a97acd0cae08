//! A network at work: tensors, weights and epilogues of one task, forward and backward.

use super::architecture::{Architecture, Kind};
use super::layer::{Layer, Pass};
use super::matrix::Scratch;
use super::pool::Pool;
use super::{Batch, INPUT_STEP, LANES, Precision, add};

/// Whether statistics of the batch or those in force are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics, as gradients need them.
    Train,
    /// Batch statistics, which are also gathered for [`super::epilogue::Epilogue::adopt_statistics`].
    Gather,
    /// The statistics in force, as on the device.
    Evaluate,
}

/// The numbers of a tensor for the images of a batch, `[block][channel][pixel][lane]`.
#[derive(Default)]
struct Tensor {
    value: Vec<f32>,
    gradient: Vec<f32>,
}

/// A network for batches of up to a fixed number of images.
pub struct Network {
    architecture: Architecture,
    capacity: usize,
    batch: Batch,
    precision: Precision,
    tensors: Vec<Tensor>,
    /// The weighted layers, in order.
    pub layers: Vec<Layer>,
    /// For each max pool, by node: the taps that won.
    taps: Vec<Vec<u16>>,
    /// For each layer, by node: the max pool behind it that can be done along with it.
    pooled: Vec<Option<Pool>>,
    /// Whether the last forward pass did so.
    fused: bool,
    /// For each tensor: whether the backward pass has written its gradient.
    written: Vec<bool>,
    /// The logits and their gradient, `[output][image]`.
    logits: Tensor,
    scratch: Scratch,
}

impl Network {
    /// A network with all weights 0; `capacity` is the largest batch.
    pub fn new(architecture: Architecture, capacity: usize, precision: Precision) -> Self {
        let tensors = architecture
            .tensors
            .iter()
            .map(|info| Tensor { value: vec![0.0; info.shape.len() * capacity], gradient: vec![] })
            .collect();
        let layers = architecture
            .nodes
            .iter()
            .zip(&architecture.tensors[1..])
            .filter_map(|(node, output)| match node.kind {
                Kind::Weighted(shape) => Some(Layer::new(shape, output.shape.len() * capacity)),
                _ => None,
            })
            .collect();
        let taps = architecture
            .nodes
            .iter()
            .map(|node| match node.kind {
                Kind::MaxPool(pool) => vec![0; pool.output.len() * capacity],
                _ => Vec::new(),
            })
            .collect();
        Self {
            pooled: (0..architecture.nodes.len())
                .map(|node| pool_behind(&architecture, node))
                .collect(),
            fused: false,
            written: vec![false; architecture.tensors.len()],
            architecture,
            capacity,
            batch: Batch::new(1),
            precision,
            tensors,
            layers,
            taps,
            logits: Tensor::default(),
            scratch: Scratch::default(),
        }
    }

    /// The graph.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The largest batch.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Starts a batch of `images` images of device bytes, each `[channel][row][column]`. Panics
    /// beyond the capacity or where an image has another size.
    pub fn load<'a>(&mut self, images: impl ExactSizeIterator<Item = &'a [u8]>) {
        let length = self.architecture.tensors[0].shape.len();
        assert!((1..=self.capacity).contains(&images.len()), "a batch of {}", images.len());
        self.batch = Batch::new(images.len());
        let lanes = self.batch.lanes;
        for (index, image) in images.enumerate() {
            assert_eq!(image.len(), length, "bytes of an image");
            let start = index / lanes * lanes * length + index % lanes;
            let values = self.tensors[0].value[start..].iter_mut().step_by(lanes);
            for (value, &byte) in values.zip(image) {
                *value = f32::from(byte) * INPUT_STEP;
            }
        }
    }

    /// Runs the batch through; returns the logits, `[output][image]`.
    pub fn forward(&mut self, mode: Mode) -> &[f32] {
        let batch = self.batch;
        let shapes = &self.architecture.tensors;
        let quantised = self.precision == Precision::Quantised;
        self.fused = mode != Mode::Evaluate && quantised && batch.lanes == LANES;
        let pass = Pass { precision: self.precision, batch, scratch: &self.scratch };
        for (index, node) in self.architecture.nodes.iter().enumerate() {
            if self.fused && index > 0 && self.pooled[index - 1].is_some() {
                continue;
            }
            let pool = self.pooled[index].filter(|_| self.fused);
            let (before, after) = self.tensors.split_at_mut(index + 1);
            let input = &before[node.input].value[..shapes[node.input].shape.len() * batch.images];
            let behind = usize::from(pool.is_some());
            let output_len = shapes[index + 1 + behind].shape.len() * batch.images;
            let output = &mut after[behind].value[..output_len];
            match node.kind {
                Kind::Weighted(weighted) => {
                    let layer = &mut self.layers[weighted.index];
                    let steps = match self.precision {
                        Precision::Exact => None,
                        Precision::Quantised => Some(self.architecture.steps(node.input)),
                    };
                    let pooled = match &pool {
                        Some(pool) => Some((pool, &mut self.taps[index + 1][..output_len])),
                        None => None,
                    };
                    layer.forward(pass, mode, steps, input, output, pooled);
                }
                Kind::MaxPool(pool) => {
                    let taps = &mut self.taps[index][..output.len()];
                    pool.forward_max(batch.lanes, input, output, taps);
                }
                Kind::AveragePool(pool) => {
                    let zero_point = shapes[node.input].zero_point;
                    let lanes = batch.lanes;
                    pool.forward_average(self.precision, lanes, zero_point, input, output);
                }
                // The order of the numbers is that of a vector already.
                Kind::Flatten => output.copy_from_slice(input),
                Kind::Add { other, activation } => {
                    let other = &before[other].value[..input.len()];
                    add::forward(activation, self.precision, input, other, output);
                }
            }
        }
        let length = self.architecture.outputs() * batch.images;
        self.logits.value.resize(length, 0.0);
        batch.gather(&self.tensors[shapes.len() - 1].value[..length], &mut self.logits.value);
        &self.logits.value
    }

    /// The values of a tensor after [`Network::forward`], `[block][channel][pixel][lane]`. Panics
    /// where there is no such tensor.
    pub fn tensor(&self, index: usize) -> &[f32] {
        let length = self.architecture.tensors[index].shape.len();
        &self.tensors[index].value[..length * self.batch.images]
    }

    /// The logits, `[output][image]`, and their gradient, to be written before
    /// [`Network::backward`].
    pub fn head(&mut self) -> (&[f32], &mut [f32]) {
        let Tensor { value, gradient } = &mut self.logits;
        gradient.resize(value.len(), 0.0);
        (value, gradient)
    }

    /// Gradients of everything from the logits' gradient, after a forward pass in
    /// [`Mode::Train`]. They are left in [`Layer::matrix_gradient`] and in the epilogues.
    pub fn backward(&mut self) {
        let batch = self.batch;
        let shapes = &self.architecture.tensors;
        let last = &mut self.tensors[shapes.len() - 1].gradient;
        last.resize(last.len().max(self.logits.gradient.len()), 0.0);
        batch.scatter(&self.logits.gradient, &mut last[..self.logits.gradient.len()]);
        // A tensor that is read twice gets the sum of two gradients.
        self.written.fill(false);
        let written = &mut self.written;
        let pass = Pass { precision: self.precision, batch, scratch: &self.scratch };
        for (index, node) in self.architecture.nodes.iter().enumerate().rev() {
            if self.fused && index > 0 && self.pooled[index - 1].is_some() {
                continue;
            }
            let pool = self.pooled[index].filter(|_| self.fused);
            let (before, after) = self.tensors.split_at_mut(index + 1);
            let behind = usize::from(pool.is_some());
            let output_len = shapes[index + 1 + behind].shape.len() * batch.images;
            let output = &after[behind].value[..output_len];
            let output_gradient = &after[behind].gradient[..output_len];
            let input_len = shapes[node.input].shape.len() * batch.images;
            let Tensor { value: input, gradient } = &mut before[node.input];
            let input = &input[..input_len];
            let wanted = node.input > 0;
            if wanted {
                gradient.resize(gradient.len().max(input_len), 0.0);
            }
            let add_to_earlier = written[node.input];
            let mut run = |target: Option<&mut [f32]>| match (node.kind, target) {
                (Kind::Weighted(weighted), target) => {
                    let taps =
                        pool.as_ref().map(|pool| (pool, &self.taps[index + 1][..output_len]));
                    let layer = &mut self.layers[weighted.index];
                    layer.backward(pass, input, output_gradient, taps, target);
                }
                (_, None) => {}
                (Kind::MaxPool(pool), Some(target)) => {
                    let taps = &self.taps[index][..output_len];
                    pool.backward_max(batch.lanes, output_gradient, taps, target);
                }
                (Kind::AveragePool(pool), Some(target)) => {
                    pool.backward_average(batch.lanes, output_gradient, target);
                }
                (Kind::Flatten, Some(target)) => target.copy_from_slice(output_gradient),
                (Kind::Add { activation, .. }, Some(target)) => {
                    add::backward(activation, self.precision, output, output_gradient, target);
                }
            };
            if !wanted {
                run(None);
            } else if add_to_earlier {
                self.scratch.with(input_len, |part| {
                    run(Some(part));
                    add_into(&mut gradient[..input_len], part);
                });
            } else {
                run(Some(&mut gradient[..input_len]));
            }
            written[node.input] = true;
            if let Kind::Add { other, activation } = node.kind {
                let target = &mut before[other].gradient;
                target.resize(target.len().max(input_len), 0.0);
                let target = &mut target[..input_len];
                self.scratch.with(input_len, |part| {
                    add::backward(activation, self.precision, output, output_gradient, part);
                    if written[other] {
                        add_into(target, part)
                    } else {
                        target.copy_from_slice(part)
                    }
                });
                written[other] = true;
            }
        }
    }
}

/// The max pool behind node `node` that alone reads what it gives, where its windows tile the map.
fn pool_behind(architecture: &Architecture, node: usize) -> Option<Pool> {
    let nodes = &architecture.nodes;
    let Kind::Weighted(_) = nodes[node].kind else { return None };
    let Kind::MaxPool(pool) = nodes.get(node + 1)?.kind else { return None };
    (pool.tiles() && architecture.readers(node + 1).count() == 1).then_some(pool)
}

fn add_into(target: &mut [f32], part: &[f32]) {
    target.iter_mut().zip(part).for_each(|(target, part)| *target += part);
}

#[cfg(test)]
mod tests {
    use super::super::check::{dot, random};
    use super::super::spec::{Head, LayerSpec, Padding, SpecKind};
    use super::super::{Activation, Shape, loss::cross_entropy};
    use super::*;

    /// Two blocks.
    const IMAGES: usize = 32;

    fn labels() -> Vec<u8> {
        (0..IMAGES).map(|image| (image * image % 3) as u8).collect()
    }

    fn spec(name: &str, kind: SpecKind) -> LayerSpec {
        LayerSpec { name: Some(name.to_owned()), from: None, kind }
    }

    /// Every kind of layer, with a skip connection and a branch.
    fn architecture() -> Architecture {
        let conv = |channels, stride: u8, activation| SpecKind::Conv2d {
            channels,
            kernel: [3; 2],
            stride: [stride; 2],
            padding: Padding::Same,
            activation,
        };
        let relu = Activation::Relu;
        let layers = [
            spec("a", conv(8, 1, relu)),
            spec("b", conv(8, 1, Activation::Linear)),
            spec("c", SpecKind::Add { with: "a".to_owned(), activation: relu }),
            LayerSpec { from: Some("a".to_owned()), ..spec("k", conv(8, 1, Activation::Linear)) },
            spec("l", SpecKind::Add { with: "c".to_owned(), activation: relu }),
            spec("d", SpecKind::MaxPool { kernel: [2; 2], stride: [2; 2] }),
            spec(
                "e",
                SpecKind::Depthwise {
                    kernel: [3; 2],
                    stride: [1; 2],
                    padding: Padding::Same,
                    activation: relu,
                },
            ),
            spec("f", conv(6, 2, relu)),
            spec("g", SpecKind::AveragePool { kernel: [2; 2], stride: [1; 2] }),
            spec("h", SpecKind::Flatten),
            spec("i", SpecKind::Dense { outputs: 8, activation: relu }),
            spec("j", SpecKind::Dense { outputs: 3, activation: relu }),
        ];
        Architecture::new(Shape::map(2, 8, 8), &layers, Head::Logits).unwrap()
    }

    fn network(precision: Precision) -> Network {
        let mut network = Network::new(architecture(), IMAGES, precision);
        for (index, layer) in network.layers.iter_mut().enumerate() {
            layer.matrix = random(layer.matrix.len(), index as u64);
            layer.unit.fill(0.3);
        }
        network
    }

    fn load(network: &mut Network, images: usize) {
        let bytes: Vec<u8> =
            random(128 * images, 9).iter().map(|v| ((v + 1.0) * 63.5) as u8).collect();
        network.load(bytes.chunks_exact(128));
    }

    fn step(network: &mut Network, labels: &[u8]) -> f64 {
        network.forward(Mode::Train);
        let (logits, gradient) = network.head();
        cross_entropy(logits, labels, 3, 0.0, Some(gradient)).mean_loss()
    }

    #[test]
    fn whole_network_gradients_are_those_of_differences() {
        let mut network = network(Precision::Exact);
        load(&mut network, IMAGES);
        step(&mut network, &labels());
        network.backward();
        for index in 0..network.layers.len() {
            let original = network.layers[index].matrix.clone();
            let gradient = network.layers[index].matrix_gradient.clone();
            let direction = random(original.len(), 50 + index as u64);
            let mut at = |step_length: f32| {
                let moved = original.iter().zip(&direction).map(|(w, d)| w + step_length * d);
                network.layers[index].matrix = moved.collect();
                step(&mut network, &labels())
            };
            let length = 2e-4;
            let expected = (at(length) - at(-length)) / (2.0 * f64::from(length));
            network.layers[index].matrix = original;
            let found = dot(&gradient, &direction);
            assert!(
                (found - expected).abs() < 0.03 * expected.abs().max(0.1),
                "layer {index}: {found}, expected {expected}"
            );
        }
    }

    #[test]
    fn a_pool_done_along_with_its_layer_is_the_pool() {
        let run = |fused: bool| {
            let relu = Activation::Relu;
            let conv = |channels, activation| SpecKind::Conv2d {
                channels,
                kernel: [3; 2],
                stride: [1; 2],
                padding: Padding::Same,
                activation,
            };
            let pool = SpecKind::MaxPool { kernel: [2; 2], stride: [2; 2] };
            let layers = [
                spec("a", conv(8, relu)),
                spec("b", pool.clone()),
                spec("c", conv(8, Activation::Linear)),
                spec("d", pool),
                spec("e", SpecKind::Flatten),
                spec("f", SpecKind::Dense { outputs: 3, activation: relu }),
            ];
            let architecture =
                Architecture::new(Shape::map(2, 8, 8), &layers, Head::Logits).unwrap();
            let mut network = Network::new(architecture, IMAGES, Precision::Quantised);
            assert_eq!(network.pooled.iter().flatten().count(), 2);
            if !fused {
                network.pooled.fill(None);
            }
            for (index, layer) in network.layers.iter_mut().enumerate() {
                layer.matrix = random(layer.matrix.len(), index as u64);
                layer.epilogue.gamma = random(layer.shape.rows, 20 + index as u64);
            }
            load(&mut network, IMAGES);
            step(&mut network, &labels());
            network.backward();
            network
        };
        let (fused, apart) = (run(true), run(false));
        for tensor in [2, 4, 5] {
            assert_eq!(fused.tensor(tensor), apart.tensor(tensor));
        }
        for (fused, apart) in fused.layers.iter().zip(&apart.layers) {
            let near = |a: &[f32], b: &[f32]| {
                let largest = b.iter().fold(1e-3f32, |largest, b| largest.max(b.abs()));
                a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3 * largest)
            };
            assert!(near(&fused.matrix_gradient, &apart.matrix_gradient));
            assert!(near(&fused.epilogue.gamma_gradient, &apart.epilogue.gamma_gradient));
            assert!(near(&fused.epilogue.beta_gradient, &apart.epilogue.beta_gradient));
        }
    }

    #[test]
    fn activations_are_integers_on_the_grid() {
        let mut network = network(Precision::Quantised);
        load(&mut network, 5);
        network.forward(Mode::Train);
        let last = network.tensors.len() - 1;
        for (index, tensor) in network.tensors[..last].iter().enumerate().skip(1) {
            let info = network.architecture.tensors[index];
            for value in &tensor.value[..info.shape.len() * 5] {
                let byte = value * 32.0 + f32::from(info.zero_point);
                assert!(byte == byte.round() && (0.0..=127.0).contains(&byte), "{index}: {byte}");
            }
        }
    }

    #[test]
    fn an_image_has_the_same_logits_in_any_batch() {
        let mut network = network(Precision::Quantised);
        load(&mut network, IMAGES);
        for layer in &mut network.layers {
            layer.epilogue.reset_statistics();
        }
        network.forward(Mode::Gather);
        for layer in &mut network.layers {
            layer.epilogue.adopt_statistics();
        }
        let together = network.forward(Mode::Evaluate).to_vec();
        load(&mut network, 1);
        let alone = network.forward(Mode::Evaluate).to_vec();
        let first: Vec<f32> = together.chunks_exact(IMAGES).map(|row| row[0]).collect();
        for (alone, first) in alone.iter().zip(first) {
            assert!((alone - first).abs() < 1e-4);
        }
    }

    #[test]
    fn gradients_have_the_same_bits_at_any_number_of_threads() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut network = network(Precision::Quantised);
                load(&mut network, IMAGES);
                step(&mut network, &labels());
                network.backward();
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                let gradients = network.layers.iter().map(|l| bits(&l.matrix_gradient));
                gradients.collect::<Vec<_>>()
            })
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(3));
    }
}
