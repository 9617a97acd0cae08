//! What a network is made of: layers in order, each with its shapes, checked.

use seedmask::layer::Window;

use super::conv2d::Conv2d;
use super::dense::Dense;
use super::depthwise::Depthwise;
use super::epilogue::Output;
use super::pool::Pool;
use super::spec::{Head, LayerSpec, Padding, SpecKind};
use super::{Activation, INPUT_STEP, STEPS_PER_UNIT, Shape};

/// Most layers: those of an artifact.
pub const MAX_LAYERS: usize = seedmask::artifact::MAX_LAYERS;
/// Most elements of a tensor that the trainer takes.
pub const MAX_TENSOR: usize = 1 << 20;
/// Most weights of a backbone that the trainer takes.
pub const MAX_WEIGHTS: usize = 1 << 24;

/// A layer whose weights come from the seed or are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weighted {
    /// Its place among the weighted layers.
    pub index: usize,
    /// The sums it computes.
    pub sums: Sums,
    /// Output channels.
    pub rows: usize,
    /// Inputs of an output channel.
    pub fan_in: usize,
    /// What follows the sums.
    pub output: Output,
}

/// The sums of a weighted layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Sums {
    Conv2d(Conv2d),
    Depthwise(Depthwise),
    Dense(Dense),
}

/// What a layer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Weighted(Weighted),
    MaxPool(Pool),
    AveragePool(Pool),
    /// To a vector in the order (channel, row, column).
    Flatten,
    /// Adds the output of tensor `other`.
    Add {
        other: usize,
        activation: Activation,
    },
}

/// A layer with its tensors. The output of node `i` is tensor `i + 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name, given or made of kind and position.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// The tensor that it reads.
    pub input: usize,
}

/// Shape and zero point of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its shape.
    pub shape: Shape,
    /// The byte that stands for 0.
    pub zero_point: u8,
}

/// A checked network: tensor 0 is the input, tensor `i + 1` the output of node `i`; the last node
/// is a dense layer that gives what [`Head`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// The tensors.
    pub tensors: Vec<TensorInfo>,
    /// The layers, in the order of execution.
    pub nodes: Vec<Node>,
}

/// Why layers do not make a network. `layer` counts from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum ArchitectureError {
    #[error("{found} layers, expected 1 to {MAX_LAYERS}")]
    LayerCount { found: usize },
    #[error("input of {found}, expected 1 to {MAX_TENSOR} elements")]
    Input { found: Shape },
    #[error("layer {layer} ({name}): {what} is {found}, expected {expected}")]
    Size { layer: usize, name: String, what: &'static str, found: usize, expected: String },
    #[error(
        "layer {layer} ({name}): a window of {}×{} with stride {}×{} and padding {padding:?} does not fit an input of {input}",
        kernel[0], kernel[1], stride[0], stride[1]
    )]
    Window {
        layer: usize,
        name: String,
        kernel: [u8; 2],
        stride: [u8; 2],
        padding: [u8; 4],
        input: Shape,
    },
    #[error(
        "layer {layer} ({name}): a dense layer reads a vector, found a map of {found}; put `flatten = true` before it"
    )]
    NotAVector { layer: usize, name: String, found: Shape },
    #[error("layer {layer} ({name}): no earlier layer is named `{found}`; named: {known}")]
    UnknownName { layer: usize, name: String, found: String, known: String },
    #[error("layer {layer} ({name}): adds {other} to {found}; the shapes must be equal")]
    AddShapes { layer: usize, name: String, found: Shape, other: Shape },
    #[error("layer {layer}: the name `{name}` is taken by an earlier layer")]
    DuplicateName { layer: usize, name: String },
    #[error("layer {layer} ({name}): no later layer reads its output")]
    Unread { layer: usize, name: String },
    #[error("the last layer is {found}, expected a dense layer, which gives the output")]
    Head { found: String },
    #[error("{found} weights in all, expected at most {MAX_WEIGHTS}")]
    Weights { found: usize },
}

impl Architecture {
    /// Builds the graph and checks every shape.
    ///
    /// # Errors
    /// [`ArchitectureError`]: names the layer, what was found and what was expected.
    pub fn new(input: Shape, layers: &[LayerSpec], head: Head) -> Result<Self, ArchitectureError> {
        if layers.is_empty() || layers.len() > MAX_LAYERS {
            return Err(ArchitectureError::LayerCount { found: layers.len() });
        }
        let fits = |size: usize| (1..=usize::from(u16::MAX)).contains(&size);
        let sizes = [input.channels, input.height, input.width];
        if !sizes.into_iter().all(fits) || input.len() > MAX_TENSOR {
            return Err(ArchitectureError::Input { found: input });
        }
        let first = TensorInfo { shape: input, zero_point: 0 };
        let mut built = Self { tensors: vec![first], nodes: Vec::new() };
        let mut weights = 0usize;
        for (layer, spec) in layers.iter().enumerate() {
            let name = spec.name.clone().unwrap_or_else(|| format!("{}{layer}", spec.kind.word()));
            if built.nodes.iter().any(|node| node.name == name) {
                return Err(ArchitectureError::DuplicateName { layer, name });
            }
            let logits = layer + 1 == layers.len() && head == Head::Logits;
            let input = match &spec.from {
                Some(from) => built.output_of(layer, &name, from)?,
                None => layer,
            };
            let (kind, output) = built.resolve(layer, &name, &spec.kind, input, logits)?;
            let elements = output.shape.len();
            if elements == 0 || elements > MAX_TENSOR {
                return Err(ArchitectureError::Size {
                    layer,
                    name,
                    what: "the number of output elements",
                    found: elements,
                    expected: format!("1 to {MAX_TENSOR}"),
                });
            }
            if let Kind::Weighted(weighted) = kind {
                weights += weighted.rows * weighted.fan_in;
                if weights > MAX_WEIGHTS {
                    return Err(ArchitectureError::Weights { found: weights });
                }
            }
            built.nodes.push(Node { name, kind, input });
            built.tensors.push(output);
        }
        let inner = built.nodes.iter().enumerate().take(layers.len() - 1);
        if let Some((layer, node)) =
            inner.clone().find(|(layer, _)| built.readers(layer + 1).next().is_none())
        {
            return Err(ArchitectureError::Unread { layer, name: node.name.clone() });
        }
        match built.nodes.last().map(|node| &node.kind) {
            Some(Kind::Weighted(Weighted { sums: Sums::Dense(_), .. })) => Ok(built),
            _ => {
                let found = layers.last().map_or("none", |spec| spec.kind.word());
                Err(ArchitectureError::Head { found: found.to_owned() })
            }
        }
    }

    /// The weighted layers in order, each with its node.
    pub fn weighted(&self) -> impl Iterator<Item = (&Node, Weighted)> {
        self.nodes.iter().filter_map(|node| match node.kind {
            Kind::Weighted(weighted) => Some((node, weighted)),
            _ => None,
        })
    }

    /// Multiplications and additions of all weighted layers in a dense network of this shape.
    pub fn macs(&self) -> u64 {
        let outputs = |node: &Node| match node.kind {
            Kind::Weighted(Weighted { sums: Sums::Conv2d(conv), .. }) => conv.output.pixels(),
            Kind::Weighted(Weighted { sums: Sums::Depthwise(conv), .. }) => conv.output.pixels(),
            _ => 1,
        };
        self.weighted()
            .map(|(node, weighted)| (weighted.rows * weighted.fan_in * outputs(node)) as u64)
            .sum()
    }

    /// What the last layer gives.
    pub fn head(&self) -> Head {
        match self.nodes.last().map(|node| node.kind) {
            Some(Kind::Weighted(Weighted { output: Output::Activations(_), .. })) => {
                Head::Activations
            }
            _ => Head::Logits,
        }
    }

    /// The nodes that read tensor `tensor`, each with its index.
    pub fn readers(&self, tensor: usize) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter(move |(_, node)| {
            node.input == tensor || matches!(node.kind, Kind::Add { other, .. } if other == tensor)
        })
    }

    /// How many steps of the device's grid for tensor `tensor` are in 1.0: the input's as far as max
    /// pools and flattening carry it, else the activations'.
    pub fn steps(&self, mut tensor: usize) -> f32 {
        while let Some(node) = tensor.checked_sub(1).map(|node| &self.nodes[node]) {
            match node.kind {
                Kind::MaxPool(_) | Kind::Flatten => tensor = node.input,
                Kind::Weighted(_) | Kind::AveragePool(_) | Kind::Add { .. } => {
                    return STEPS_PER_UNIT;
                }
            }
        }
        1.0 / INPUT_STEP
    }

    /// The output of the earlier layer that layer `layer` calls `found`.
    fn output_of(&self, layer: usize, name: &str, found: &str) -> Result<usize, ArchitectureError> {
        if let Some(node) = self.nodes.iter().position(|node| node.name == found) {
            return Ok(node + 1);
        }
        let known: Vec<_> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        Err(ArchitectureError::UnknownName {
            layer,
            name: name.to_owned(),
            found: found.to_owned(),
            known: known.join(", "),
        })
    }

    /// Outputs of the last layer.
    pub fn outputs(&self) -> usize {
        self.tensors.last().map_or(0, |tensor| tensor.shape.channels)
    }

    /// The layer's kind with its shapes, and its output tensor; `input` is the tensor that it reads.
    fn resolve(
        &self,
        layer: usize,
        name: &str,
        spec: &SpecKind,
        input: usize,
        logits: bool,
    ) -> Result<(Kind, TensorInfo), ArchitectureError> {
        let input = self.tensors[input];
        let shape = input.shape;
        let output_of = |activation| {
            if logits { Output::Logits } else { Output::Activations(activation) }
        };
        let index = self.weighted().count();
        Ok(match *spec {
            SpecKind::Conv2d { channels, kernel, stride, padding, activation } => {
                check_count(layer, name, "the number of channels", channels, u16::MAX as usize)?;
                let (window, height, width) = place(layer, name, shape, kernel, stride, padding)?;
                let conv =
                    Conv2d { input: shape, output: Shape::map(channels, height, width), window };
                let kind = Kind::Weighted(Weighted {
                    index,
                    sums: Sums::Conv2d(conv),
                    rows: channels,
                    fan_in: conv.fan_in(),
                    output: output_of(activation),
                });
                (kind, TensorInfo { shape: conv.output, zero_point: activation.zero_point() })
            }
            SpecKind::Depthwise { kernel, stride, padding, activation } => {
                let (window, height, width) = place(layer, name, shape, kernel, stride, padding)?;
                let output = Shape::map(shape.channels, height, width);
                let kind = Kind::Weighted(Weighted {
                    index,
                    sums: Sums::Depthwise(Depthwise { input: shape, output, window }),
                    rows: shape.channels,
                    fan_in: window.area() as usize,
                    output: output_of(activation),
                });
                (kind, TensorInfo { shape: output, zero_point: activation.zero_point() })
            }
            SpecKind::Dense { outputs, activation } => {
                check_count(layer, name, "the number of outputs", outputs, u16::MAX as usize)?;
                if shape.pixels() != 1 {
                    let name = name.to_owned();
                    return Err(ArchitectureError::NotAVector { layer, name, found: shape });
                }
                let kind = Kind::Weighted(Weighted {
                    index,
                    sums: Sums::Dense(Dense { inputs: shape.channels, outputs }),
                    rows: outputs,
                    fan_in: shape.channels,
                    output: output_of(activation),
                });
                let zero_point = activation.zero_point();
                (kind, TensorInfo { shape: Shape::vector(outputs), zero_point })
            }
            SpecKind::MaxPool { kernel, stride } | SpecKind::AveragePool { kernel, stride } => {
                let valid = Padding::Valid;
                let (window, height, width) = place(layer, name, shape, kernel, stride, valid)?;
                let output = Shape::map(shape.channels, height, width);
                let pool = Pool { input: shape, output, window };
                let kind = match spec {
                    SpecKind::MaxPool { .. } => Kind::MaxPool(pool),
                    _ => Kind::AveragePool(pool),
                };
                (kind, TensorInfo { shape: output, ..input })
            }
            SpecKind::GlobalAveragePool => {
                let side = |what, size: usize| {
                    u8::try_from(size).map_err(|_| ArchitectureError::Size {
                        layer,
                        name: name.to_owned(),
                        what,
                        found: size,
                        expected: "1 to 255".to_owned(),
                    })
                };
                let kernel = [
                    side("the number of rows", shape.height)?,
                    side("the number of columns", shape.width)?,
                ];
                let window = Window { kernel, stride: [1; 2], padding: [0; 4] };
                let output = Shape::vector(shape.channels);
                let pool = Pool { input: shape, output, window };
                (Kind::AveragePool(pool), TensorInfo { shape: output, ..input })
            }
            SpecKind::Flatten => {
                check_count(layer, name, "the length", shape.len(), u16::MAX as usize)?;
                (Kind::Flatten, TensorInfo { shape: Shape::vector(shape.len()), ..input })
            }
            SpecKind::Add { ref with, activation } => {
                let other = self.output_of(layer, name, with)?;
                if self.tensors[other].shape != shape {
                    return Err(ArchitectureError::AddShapes {
                        layer,
                        name: name.to_owned(),
                        found: shape,
                        other: self.tensors[other].shape,
                    });
                }
                let zero_point = activation.zero_point();
                (Kind::Add { other, activation }, TensorInfo { shape, zero_point })
            }
        })
    }
}

fn check_count(
    layer: usize,
    name: &str,
    what: &'static str,
    found: usize,
    limit: usize,
) -> Result<(), ArchitectureError> {
    if (1..=limit).contains(&found) {
        return Ok(());
    }
    let (name, expected) = (name.to_owned(), format!("1 to {limit}"));
    Err(ArchitectureError::Size { layer, name, what, found, expected })
}

/// The window with its padding, and the rows and columns of its output.
fn place(
    layer: usize,
    name: &str,
    input: Shape,
    kernel: [u8; 2],
    stride: [u8; 2],
    padding: Padding,
) -> Result<(Window, usize, usize), ArchitectureError> {
    let padding = match padding {
        Padding::Valid => [0; 4],
        Padding::Explicit(padding) => padding,
        Padding::Same => {
            let [top, bottom] = same(input.height, kernel[0], stride[0]);
            let [left, right] = same(input.width, kernel[1], stride[1]);
            [top, left, bottom, right]
        }
    };
    let window = Window { kernel, stride, padding };
    // Sizes of tensors fit 16 bits: checked for the input, and outputs are no larger.
    match window.output(input.height as u16, input.width as u16) {
        Some((height, width)) => Ok((window, height.into(), width.into())),
        None => {
            let name = name.to_owned();
            Err(ArchitectureError::Window { layer, name, kernel, stride, padding, input })
        }
    }
}

/// Padding before and after for an output of ⌈size / stride⌉: half of the kernel before, and as
/// much after as the last window needs.
fn same(size: usize, kernel: u8, stride: u8) -> [u8; 2] {
    let before = kernel.saturating_sub(1) / 2;
    let last = (size.max(1) - 1) / usize::from(stride.max(1)) * usize::from(stride.max(1));
    let after = (last + usize::from(kernel)).saturating_sub(size + usize::from(before));
    [before, after.min(usize::from(u8::MAX)) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(channels: usize, kernel: u8, stride: u8) -> SpecKind {
        SpecKind::Conv2d {
            channels,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: Padding::Same,
            activation: Activation::Relu,
        }
    }

    fn dense(outputs: usize) -> SpecKind {
        SpecKind::Dense { outputs, activation: Activation::Relu }
    }

    fn build(kinds: Vec<SpecKind>) -> Result<Architecture, ArchitectureError> {
        let layers: Vec<_> = kinds
            .into_iter()
            .enumerate()
            .map(|(i, kind)| LayerSpec { name: Some(format!("l{i}")), from: None, kind })
            .collect();
        Architecture::new(Shape::map(1, 28, 28), &layers, Head::Logits)
    }

    #[test]
    fn max_pools_and_flattening_keep_the_grid_of_the_input() {
        let pool = SpecKind::MaxPool { kernel: [2; 2], stride: [2; 2] };
        let kinds = vec![pool.clone(), conv(4, 3, 1), pool, SpecKind::Flatten, dense(10)];
        let steps: Vec<f32> = {
            let built = build(kinds).unwrap();
            (0..built.nodes.len()).map(|tensor| built.steps(tensor)).collect()
        };
        assert_eq!(steps, [127.0, 127.0, 32.0, 32.0, 32.0]);
    }

    #[test]
    fn same_padding_keeps_the_size_divided_by_the_stride() {
        for (kernel, stride, expected) in
            [(3, 1, 28), (3, 2, 14), (5, 2, 14), (4, 1, 28), (1, 2, 14), (5, 3, 10)]
        {
            let built = build(vec![conv(4, kernel, stride), SpecKind::Flatten, dense(10)]).unwrap();
            assert_eq!(
                built.tensors[1].shape,
                Shape::map(4, expected, expected),
                "{kernel} {stride}"
            );
        }
    }

    #[test]
    fn a_layer_may_read_an_earlier_one_but_none_is_in_vain() {
        let named = |name: &str, from: Option<&str>, kind| LayerSpec {
            name: Some(name.to_owned()),
            from: from.map(str::to_owned),
            kind,
        };
        let mut layers = vec![
            named("a", None, conv(4, 3, 2)),
            named("b", None, conv(4, 3, 2)),
            named("c", Some("a"), conv(4, 1, 2)),
            named("d", None, SpecKind::Add { with: "b".to_owned(), activation: Activation::Relu }),
            named("e", None, SpecKind::GlobalAveragePool),
            named("f", None, dense(10)),
        ];
        let built = Architecture::new(Shape::map(1, 28, 28), &layers, Head::Logits).unwrap();
        let inputs: Vec<_> = built.nodes.iter().map(|node| node.input).collect();
        assert_eq!(inputs, [0, 1, 1, 3, 4, 5]);
        assert_eq!(built.macs(), (9 * 4 * 196 + 36 * 4 * 49 + 4 * 4 * 49 + 4 * 10) as u64);

        layers[2].from = Some("x".to_owned());
        let error = Architecture::new(Shape::map(1, 28, 28), &layers, Head::Logits).unwrap_err();
        assert_eq!(error.to_string(), "layer 2 (c): no earlier layer is named `x`; named: a, b");
        layers.remove(3);
        layers[2].from = Some("a".to_owned());
        let error = Architecture::new(Shape::map(1, 28, 28), &layers, Head::Logits).unwrap_err();
        assert!(matches!(error, ArchitectureError::Unread { layer: 1, .. }), "{error}");
    }

    #[test]
    fn only_the_last_layer_gives_logits() {
        let built = build(vec![SpecKind::Flatten, dense(30), dense(10)]).unwrap();
        let outputs: Vec<_> = built.weighted().map(|(_, weighted)| weighted.output).collect();
        assert_eq!(outputs, [Output::Activations(Activation::Relu), Output::Logits]);
        assert_eq!(built.outputs(), 10);
    }

    #[test]
    fn impossible_shapes_are_named() {
        let error = |kinds| build(kinds).unwrap_err();
        assert!(matches!(error(vec![]), ArchitectureError::LayerCount { found: 0 }));
        assert!(matches!(error(vec![dense(10)]), ArchitectureError::NotAVector { layer: 0, .. }));
        assert!(matches!(error(vec![SpecKind::Flatten]), ArchitectureError::Head { .. }));
        assert!(matches!(error(vec![conv(0, 3, 1)]), ArchitectureError::Size { found: 0, .. }));
        assert!(matches!(error(vec![conv(4, 3, 0)]), ArchitectureError::Window { .. }));
        assert!(matches!(
            error(vec![SpecKind::MaxPool { kernel: [40; 2], stride: [1; 2] }]),
            ArchitectureError::Window { layer: 0, .. }
        ));
        assert!(matches!(error(vec![conv(60_000, 3, 1)]), ArchitectureError::Size { .. }));
        let add =
            |with: &str| SpecKind::Add { with: with.to_owned(), activation: Activation::Relu };
        assert!(matches!(error(vec![add("x")]), ArchitectureError::UnknownName { .. }));
        assert!(matches!(
            error(vec![conv(4, 3, 1), conv(5, 3, 1), add("l0")]),
            ArchitectureError::AddShapes { layer: 2, .. }
        ));
        let message = error(vec![dense(10)]).to_string();
        assert!(message.contains("1×28×28") && message.contains("flatten"), "{message}");
    }
}
