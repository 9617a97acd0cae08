//! A network at work: tensors, weights and epilogues of one task, forward and backward.

use rayon::prelude::*;

use super::architecture::{Architecture, Kind, Sums, Weighted};
use super::epilogue::Epilogue;
use super::matrix::Scratch;
use super::{INPUT_STEP, Precision, add};

/// Whether statistics of the batch or those in force are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics, as gradients need them.
    Train,
    /// Batch statistics, which are also gathered for [`Epilogue::adopt_statistics`].
    Gather,
    /// The statistics in force, as on the device.
    Evaluate,
}

/// The numbers of a tensor for the images of a batch, `[channel][image][pixel]`.
#[derive(Default)]
struct Tensor {
    value: Vec<f32>,
    gradient: Vec<f32>,
}

/// What a weighted layer computes with, and the gradients that it leaves.
pub struct Layer {
    /// Its shapes.
    pub shape: Weighted,
    /// The stored weights under the mask, `[row][input]`: integers on the device.
    pub matrix: Vec<f32>,
    /// Gradient of `matrix`, after [`Network::backward`].
    pub matrix_gradient: Vec<f32>,
    /// What a stored weight of 1 is worth, per row.
    pub unit: Vec<f32>,
    /// Scales, shifts and statistics.
    pub epilogue: Epilogue,
    /// The sums; after the backward pass, their gradient.
    sums: Vec<f32>,
}

/// A network for batches of up to a fixed number of images.
pub struct Network {
    architecture: Architecture,
    capacity: usize,
    batch: usize,
    precision: Precision,
    tensors: Vec<Tensor>,
    /// The weighted layers, in order.
    pub layers: Vec<Layer>,
    /// For each max pool, by node: the taps that won.
    taps: Vec<Vec<u16>>,
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
                Kind::Weighted(shape) => Some(Layer {
                    shape,
                    matrix: vec![0.0; shape.rows * shape.fan_in],
                    matrix_gradient: vec![0.0; shape.rows * shape.fan_in],
                    unit: vec![1.0; shape.rows],
                    epilogue: Epilogue::new(shape.output, shape.rows),
                    sums: vec![0.0; output.shape.len() * capacity],
                }),
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
        let scratch = Scratch::default();
        Self { architecture, capacity, batch: 0, precision, tensors, layers, taps, scratch }
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
        let shape = self.architecture.tensors[0].shape;
        let (batch, pixels) = (images.len(), shape.pixels());
        assert!((1..=self.capacity).contains(&batch), "a batch of {batch}");
        self.batch = batch;
        let input = &mut self.tensors[0].value;
        for (index, image) in images.enumerate() {
            assert_eq!(image.len(), shape.len(), "bytes of an image");
            for (channel, plane) in image.chunks_exact(pixels).enumerate() {
                let start = (channel * batch + index) * pixels;
                for (value, &byte) in input[start..start + pixels].iter_mut().zip(plane) {
                    *value = f32::from(byte) * INPUT_STEP;
                }
            }
        }
    }

    /// Runs the batch through; returns the logits, `[output][image]`.
    pub fn forward(&mut self, mode: Mode) -> &[f32] {
        let batch = self.batch;
        let shapes = &self.architecture.tensors;
        for (index, node) in self.architecture.nodes.iter().enumerate() {
            let (before, after) = self.tensors.split_at_mut(index + 1);
            let input = &before[node.input].value[..shapes[node.input].shape.len() * batch];
            let output = &mut after[0].value[..shapes[index + 1].shape.len() * batch];
            match node.kind {
                Kind::Weighted(weighted) => {
                    let layer = &mut self.layers[weighted.index];
                    layer.forward(mode, self.precision, batch, input, output, &self.scratch);
                }
                Kind::MaxPool(pool) => {
                    pool.forward_max(input, output, &mut self.taps[index][..output.len()]);
                }
                Kind::AveragePool(pool) => {
                    let zero_point = shapes[node.input].zero_point;
                    pool.forward_average(self.precision, zero_point, input, output);
                }
                Kind::Flatten => {
                    let pixels = shapes[node.input].shape.pixels();
                    transpose(input, output, pixels, batch);
                }
                Kind::Add { other, activation } => {
                    let other = &before[other].value[..input.len()];
                    add::forward(activation, self.precision, input, other, output);
                }
            }
        }
        &self.tensors[shapes.len() - 1].value[..self.architecture.outputs() * batch]
    }

    /// The values of a tensor after [`Network::forward`], `[channel][image][pixel]`. Panics where
    /// there is no such tensor.
    pub fn tensor(&self, index: usize) -> &[f32] {
        let length = self.architecture.tensors[index].shape.len();
        &self.tensors[index].value[..length * self.batch]
    }

    /// The logits' gradient, to be written before [`Network::backward`]; and the logits.
    pub fn head(&mut self) -> (&[f32], &mut [f32]) {
        let length = self.architecture.outputs() * self.batch;
        let last = self.architecture.tensors.len() - 1;
        let Tensor { value, gradient } = &mut self.tensors[last];
        gradient.resize(gradient.len().max(length), 0.0);
        (&value[..length], &mut gradient[..length])
    }

    /// Gradients of everything from the logits' gradient, after a forward pass in
    /// [`Mode::Train`]. They are left in [`Layer::matrix_gradient`] and in the epilogues.
    pub fn backward(&mut self) {
        let batch = self.batch;
        let shapes = &self.architecture.tensors;
        // A tensor that is read twice gets the sum of two gradients.
        let mut written = vec![false; shapes.len()];
        for (index, node) in self.architecture.nodes.iter().enumerate().rev() {
            let (before, after) = self.tensors.split_at_mut(index + 1);
            let output_len = shapes[index + 1].shape.len() * batch;
            let output = &after[0].value[..output_len];
            let output_gradient = &after[0].gradient[..output_len];
            let input_len = shapes[node.input].shape.len() * batch;
            let Tensor { value: input, gradient } = &mut before[node.input];
            let input = &input[..input_len];
            let wanted = node.input > 0;
            if wanted {
                gradient.resize(gradient.len().max(input_len), 0.0);
            }
            let add_to_earlier = written[node.input];
            let mut run = |target: Option<&mut [f32]>| match (node.kind, target) {
                (Kind::Weighted(weighted), target) => self.layers[weighted.index].backward(
                    self.precision,
                    batch,
                    input,
                    output_gradient,
                    target,
                    &self.scratch,
                ),
                (_, None) => {}
                (Kind::MaxPool(pool), Some(target)) => {
                    pool.backward_max(output_gradient, &self.taps[index][..output_len], target);
                }
                (Kind::AveragePool(pool), Some(target)) => {
                    pool.backward_average(output_gradient, target);
                }
                (Kind::Flatten, Some(target)) => {
                    transpose(output_gradient, target, batch, shapes[node.input].shape.pixels());
                }
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

impl Layer {
    fn forward(
        &mut self,
        mode: Mode,
        precision: Precision,
        batch: usize,
        input: &[f32],
        output: &mut [f32],
        scratch: &Scratch,
    ) {
        let sums = &mut self.sums[..output.len()];
        match self.shape.sums {
            Sums::Conv2d(conv) => conv.forward(batch, input, &self.matrix, sums, scratch),
            Sums::Depthwise(depthwise) => depthwise.forward(batch, input, &self.matrix, sums),
            Sums::Dense(dense) => dense.forward(batch, input, &self.matrix, sums, scratch),
        }
        let channel_len = sums.len() / self.shape.rows;
        if mode != Mode::Evaluate {
            self.epilogue.measure(channel_len, sums);
        }
        if mode == Mode::Gather {
            self.epilogue.gather_statistics();
        }
        self.epilogue.forward(precision, &self.unit, channel_len, sums, output);
    }

    fn backward(
        &mut self,
        precision: Precision,
        batch: usize,
        input: &[f32],
        output_gradient: &[f32],
        input_gradient: Option<&mut [f32]>,
        scratch: &Scratch,
    ) {
        let sums = &mut self.sums[..output_gradient.len()];
        let channel_len = sums.len() / self.shape.rows;
        self.epilogue.backward(precision, &self.unit, channel_len, sums, output_gradient);
        let (matrix, gradient) = (&self.matrix, &mut self.matrix_gradient);
        match self.shape.sums {
            Sums::Conv2d(conv) => {
                conv.backward(batch, input, matrix, sums, gradient, input_gradient, scratch);
            }
            Sums::Depthwise(depthwise) => {
                depthwise.backward(batch, input, matrix, sums, gradient, input_gradient);
            }
            Sums::Dense(dense) => {
                dense.backward(batch, input, matrix, sums, gradient, input_gradient);
            }
        }
    }
}

/// `[block][row][column]` to `[block][column][row]`, blocks of `rows` × `columns` transposed; here
/// `[channel][image][pixel]` to `[channel][pixel][image]` and back.
fn transpose(from: &[f32], to: &mut [f32], columns: usize, rows: usize) {
    let block = rows * columns;
    to.par_chunks_mut(block).zip(from.par_chunks(block)).with_min_len(8).for_each(|(to, from)| {
        for (column, to) in to.chunks_exact_mut(rows).enumerate() {
            for (row, value) in to.iter_mut().enumerate() {
                *value = from[row * columns + column];
            }
        }
    });
}

fn add_into(target: &mut [f32], part: &[f32]) {
    target.iter_mut().zip(part).for_each(|(target, part)| *target += part);
}

#[cfg(test)]
mod tests {
    use super::super::architecture::{LayerSpec, Padding, SpecKind};
    use super::super::check::{dot, random};
    use super::super::{Activation, Shape, loss::cross_entropy};
    use super::*;

    fn spec(name: &str, kind: SpecKind) -> LayerSpec {
        LayerSpec { name: Some(name.to_owned()), kind }
    }

    /// Every kind of layer, with a skip connection.
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
            spec("a", conv(4, 1, relu)),
            spec("b", conv(4, 1, Activation::Linear)),
            spec("c", SpecKind::Add { with: "a".to_owned(), activation: relu }),
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
        Architecture::new(Shape::map(2, 8, 8), &layers).unwrap()
    }

    fn network(precision: Precision) -> Network {
        let mut network = Network::new(architecture(), 6, precision);
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
        let labels = [0, 1, 2, 1, 0, 2];
        let mut network = network(Precision::Exact);
        load(&mut network, 6);
        step(&mut network, &labels);
        network.backward();
        for index in 0..network.layers.len() {
            let original = network.layers[index].matrix.clone();
            let gradient = network.layers[index].matrix_gradient.clone();
            let direction = random(original.len(), 50 + index as u64);
            let mut at = |step_length: f32| {
                let moved = original.iter().zip(&direction).map(|(w, d)| w + step_length * d);
                network.layers[index].matrix = moved.collect();
                step(&mut network, &labels)
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
        load(&mut network, 6);
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
        let first: Vec<f32> = together.chunks_exact(6).map(|row| row[0]).collect();
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
                load(&mut network, 6);
                step(&mut network, &[0, 1, 2, 1, 0, 2]);
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
