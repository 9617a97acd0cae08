//! What a network is asked to be: layers in order, before their shapes are known.

use super::Activation;

/// Rows above, columns left, rows below, columns right that read 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// The output has as many rows and columns as the input, divided by the stride and rounded up.
    Same,
    /// None.
    Valid,
    /// As given.
    Explicit([u8; 4]),
}

/// What the last layer gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// One number a class, not rounded to a byte.
    #[default]
    Logits,
    /// Bytes as any other layer: what an auto-encoder rebuilds.
    Activations,
}

/// A layer as asked for, before its shapes are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSpec {
    /// A name that a later layer refers to.
    pub name: Option<String>,
    /// The layer whose output it reads; the layer before where none is named.
    pub from: Option<String>,
    /// What it does.
    pub kind: SpecKind,
}

/// The kinds of layers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SpecKind {
    Conv2d {
        channels: usize,
        kernel: [u8; 2],
        stride: [u8; 2],
        padding: Padding,
        activation: Activation,
    },
    Depthwise {
        kernel: [u8; 2],
        stride: [u8; 2],
        padding: Padding,
        activation: Activation,
    },
    Dense {
        outputs: usize,
        activation: Activation,
    },
    MaxPool {
        kernel: [u8; 2],
        stride: [u8; 2],
    },
    AveragePool {
        kernel: [u8; 2],
        stride: [u8; 2],
    },
    GlobalAveragePool,
    Flatten,
    Add {
        with: String,
        activation: Activation,
    },
}

impl SpecKind {
    /// The word that recipes use.
    pub fn word(&self) -> &'static str {
        match self {
            SpecKind::Conv2d { .. } => "conv",
            SpecKind::Depthwise { .. } => "depthwise",
            SpecKind::Dense { .. } => "dense",
            SpecKind::MaxPool { .. } => "max_pool",
            SpecKind::AveragePool { .. } => "average_pool",
            SpecKind::GlobalAveragePool => "global_average_pool",
            SpecKind::Flatten => "flatten",
            SpecKind::Add { .. } => "add",
        }
    }
}
