//! The TOML form of a recipe, and its checks.

use serde::Deserialize;

use super::{
    EarlyStop, LayerOptions, MAX_BATCH, MAX_EPOCHS, MAX_TASKS, Recipe, RecipeError, TaskOptions,
    TrainOptions,
};
use crate::data::augment::Augmentation;
use crate::data::catalog;
use crate::method::Method;
use crate::method::anneal::Anneal;
use crate::method::seeded::Source;
use crate::method::top_k::Ranking;
use crate::nn::spec::{Head, LayerSpec, Padding, SpecKind};
use crate::nn::{Activation, Architecture, Shape};
use crate::optimiser::Optimiser;
use crate::schedule::Schedule;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeFile {
    network: NetworkFile,
    train: TrainFile,
    task: Vec<TaskFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkFile {
    /// Channels, rows, columns.
    input: [usize; 3],
    seed: u64,
    #[serde(default)]
    weights: Source,
    /// Of layers that have none of their own.
    #[serde(default = "half")]
    density: f32,
    #[serde(default)]
    output: Head,
    layers: Vec<LayerFile>,
}

/// One layer: exactly one of the kinds, and its options.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct LayerFile {
    conv: Option<usize>,
    depthwise: Option<bool>,
    dense: Option<usize>,
    max_pool: Option<u8>,
    average_pool: Option<u8>,
    global_average_pool: Option<bool>,
    flatten: Option<bool>,
    add: Option<String>,

    name: Option<String>,
    from: Option<String>,
    kernel: Option<Pair>,
    stride: Option<Pair>,
    padding: Option<PaddingFile>,
    activation: Option<Activation>,
    density: Option<f32>,
    share: Option<String>,
}

/// One number for both directions, or rows and columns.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged)]
enum Pair {
    Both(u8),
    Each([u8; 2]),
}

impl Pair {
    fn sides(self) -> [u8; 2] {
        match self {
            Pair::Both(side) => [side; 2],
            Pair::Each(sides) => sides,
        }
    }
}

/// "same", "valid", one number for all sides, or top, left, bottom, right.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum PaddingFile {
    Named(PaddingName),
    All(u8),
    Each([u8; 4]),
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum PaddingName {
    Same,
    Valid,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum OptimiserName {
    Sgd,
    Adam,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrainFile {
    #[serde(default = "edge_popup")]
    method: Method,
    #[serde(default)]
    ranking: Ranking,
    #[serde(default = "adam")]
    optimiser: OptimiserName,
    affine_optimiser: Option<OptimiserName>,
    learning_rate: Option<f32>,
    affine_learning_rate: Option<f32>,
    #[serde(default = "momentum")]
    momentum: f32,
    #[serde(default)]
    weight_decay: f32,
    #[serde(default = "batch")]
    batch: usize,
    epochs: usize,
    #[serde(default)]
    schedule: Schedule,
    #[serde(default = "warmup")]
    warmup: f32,
    #[serde(default)]
    label_smoothing: f32,
    #[serde(default)]
    augment: AugmentFile,
    anneal: Option<Anneal>,
    early_stop: Option<EarlyStop>,
    #[serde(default)]
    average: f32,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(deny_unknown_fields, default)]
struct AugmentFile {
    shift: usize,
    flip: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskFile {
    name: String,
    data: Option<String>,
    /// Of a task without data.
    classes: Option<Vec<String>>,
    epochs: Option<usize>,
    augment: Option<AugmentFile>,
}

fn half() -> f32 {
    0.5
}

fn edge_popup() -> Method {
    Method::EdgePopup
}

fn adam() -> OptimiserName {
    OptimiserName::Adam
}

fn momentum() -> f32 {
    0.9
}

fn batch() -> usize {
    128
}

fn warmup() -> f32 {
    0.02
}

/// An error about `key` unless `valid`.
fn check(
    valid: bool,
    key: impl Into<String>,
    found: impl ToString,
    expected: impl Into<String>,
) -> Result<(), RecipeError> {
    if valid {
        return Ok(());
    }
    Err(RecipeError::Value { key: key.into(), found: found.to_string(), expected: expected.into() })
}

fn check_density(key: String, density: f32) -> Result<(), RecipeError> {
    check(density > 0.0 && density <= 1.0, key, density, "a fraction above 0 and at most 1")
}

pub(super) fn parse(text: &str) -> Result<Recipe, RecipeError> {
    let file: RecipeFile = toml::from_str(text).map_err(Box::new)?;
    let network = &file.network;
    check_density("network.density".to_owned(), network.density)?;
    let mut specs = Vec::with_capacity(network.layers.len());
    let mut layers = Vec::new();
    for (index, layer) in network.layers.iter().enumerate() {
        let spec = layer.spec(index)?;
        if layer.conv.is_some() || layer.depthwise.is_some() || layer.dense.is_some() {
            let density = layer.density.unwrap_or(network.density);
            check_density(format!("network.layers[{index}].density"), density)?;
            layers.push((index, LayerOptions { density, share: layer.share.clone() }));
        }
        specs.push(spec);
    }
    let [channels, height, width] = network.input;
    let input = Shape::map(channels, height, width);
    let architecture = Architecture::new(input, &specs, network.output)?;
    let train = file.train.options()?;
    let trained = network.weights == Source::Trained;
    check(
        trained == (train.method == Method::Dense),
        "train.method",
        format!("{:?}", train.method),
        format!(
            "dense with weights = \"trained\", and only there (weights: {:?})",
            network.weights
        ),
    )?;
    let tasks = tasks(&file, &architecture, train.augment)?;
    check(
        !trained || tasks.len() == 1,
        "task",
        format!("{} tasks", tasks.len()),
        "one task, as trained weights belong to one",
    )?;
    for (index, layer) in &layers {
        let Some(share) = &layer.share else { continue };
        check(
            tasks.iter().any(|task| task.name == *share),
            format!("network.layers[{index}].share"),
            share,
            "the name of a task",
        )?;
    }
    let layers = layers.into_iter().map(|(_, layer)| layer).collect();
    let (seed, source) = (network.seed, network.weights);
    Ok(Recipe { text: text.to_owned(), architecture, seed, source, layers, train, tasks })
}

fn tasks(
    file: &RecipeFile,
    architecture: &Architecture,
    augment: Augmentation,
) -> Result<Vec<TaskOptions>, RecipeError> {
    let count = file.task.len();
    check((1..=MAX_TASKS).contains(&count), "task", count, format!("1 to {MAX_TASKS} tasks"))?;
    let mut tasks: Vec<TaskOptions> = Vec::with_capacity(count);
    for (index, task) in file.task.iter().enumerate() {
        let key = |name: &str| format!("task[{index}].{name}");
        let length = task.name.len();
        check((1..=32).contains(&length), key("name"), &task.name, "a name of 1 to 32 bytes")?;
        let taken = tasks.iter().any(|other| other.name == task.name);
        check(!taken, key("name"), &task.name, "a name that no earlier task has")?;
        let classes = task.classes.clone().unwrap_or_default();
        match &task.data {
            Some(data) => {
                check(
                    architecture.head() == Head::Logits,
                    "network.output",
                    "activations",
                    "logits, from which classes are learned, or a task without data",
                )?;
                check_data(key("data"), data, architecture)?;
                let beside = "nothing beside `data`, which names them";
                check(task.classes.is_none(), key("classes"), "given", beside)?;
            }
            None => {
                let outputs = architecture.outputs();
                let short = classes.iter().all(|name| (1..=32).contains(&name.len()));
                check(
                    classes.len() <= outputs && short,
                    key("classes"),
                    format!("{classes:?}"),
                    format!("at most {outputs} names of 1 to 32 bytes, as the network has outputs"),
                )?;
            }
        }
        let epochs = task.epochs.unwrap_or(file.train.epochs);
        check_epochs(key("epochs"), epochs)?;
        let augment = match task.augment {
            Some(own) => own.checked(key("augment.shift"))?,
            None => augment,
        };
        let (name, data) = (task.name.clone(), task.data.clone());
        tasks.push(TaskOptions { name, data, classes, epochs, augment });
    }
    Ok(tasks)
}

/// Whether the network can learn from the data set `data`.
fn check_data(key: String, data: &str, architecture: &Architecture) -> Result<(), RecipeError> {
    let known = catalog::names().join(", ");
    let Ok(entry) = catalog::entry(data) else {
        return check(false, key, data, format!("one of {known}"));
    };
    let [height, width] = entry.set.size;
    let image = Shape::map(1, height, width);
    let input = architecture.tensors[0].shape;
    let (outputs, classes) = (architecture.outputs(), entry.set.classes.len());
    check(
        input == image && classes <= outputs,
        key,
        format!("{data} ({image}, {classes} classes)"),
        format!("images of {input} and at most {outputs} classes, as the network has"),
    )
}

fn check_epochs(key: String, epochs: usize) -> Result<(), RecipeError> {
    check((1..=MAX_EPOCHS).contains(&epochs), key, epochs, format!("1 to {MAX_EPOCHS}"))
}

impl AugmentFile {
    fn checked(self, key: String) -> Result<Augmentation, RecipeError> {
        check(self.shift <= 16, key, self.shift, "at most 16 pixels")?;
        Ok(Augmentation { shift: self.shift, flip: self.flip })
    }
}

impl TrainFile {
    fn options(&self) -> Result<TrainOptions, RecipeError> {
        check_epochs("train.epochs".to_owned(), self.epochs)?;
        let batch = self.batch;
        // BatchNorm needs something to compare an image with.
        check((2..=MAX_BATCH).contains(&batch), "train.batch", batch, format!("2 to {MAX_BATCH}"))?;
        let rate = |key: &str, given: Option<f32>, name| {
            let rate = given.unwrap_or(match name {
                OptimiserName::Sgd => 0.1,
                OptimiserName::Adam => 0.01,
            });
            check(rate > 0.0 && rate.is_finite(), key, rate, "a number above 0").map(|()| rate)
        };
        let affine_name = self.affine_optimiser.unwrap_or(self.optimiser);
        let learning_rate = rate("train.learning_rate", self.learning_rate, self.optimiser)?;
        let affine_learning_rate =
            rate("train.affine_learning_rate", self.affine_learning_rate, affine_name)?;
        let fraction = |key: &str, value: f32| {
            check((0.0..1.0).contains(&value), key, value, "a fraction of at least 0 and below 1")
        };
        fraction("train.momentum", self.momentum)?;
        fraction("train.weight_decay", self.weight_decay)?;
        fraction("train.warmup", self.warmup)?;
        fraction("train.label_smoothing", self.label_smoothing)?;
        fraction("train.average", self.average)?;
        if let Some(anneal) = self.anneal {
            check_density("train.anneal.from".to_owned(), anneal.from)?;
            check_density("train.anneal.over".to_owned(), anneal.over)?;
        }
        if let Some(EarlyStop { held_out, patience }) = self.early_stop {
            check(held_out > 0, "train.early_stop.held_out", held_out, "at least 1")?;
            check(patience > 0, "train.early_stop.patience", patience, "at least 1")?;
        }
        let (momentum, weight_decay) = (self.momentum, self.weight_decay);
        let optimiser = |name, weight_decay| match name {
            OptimiserName::Sgd => Optimiser::Sgd { momentum, weight_decay },
            OptimiserName::Adam => Optimiser::Adam { weight_decay },
        };
        Ok(TrainOptions {
            method: self.method,
            ranking: self.ranking,
            optimiser: optimiser(self.optimiser, weight_decay),
            affine_optimiser: optimiser(affine_name, 0.0),
            learning_rate,
            affine_learning_rate,
            batch,
            epochs: self.epochs,
            schedule: self.schedule,
            warmup: self.warmup,
            label_smoothing: self.label_smoothing,
            augment: self.augment.checked("train.augment.shift".to_owned())?,
            anneal: self.anneal,
            early_stop: self.early_stop,
            average: self.average,
        })
    }
}

impl LayerFile {
    /// The layer's kind with its options.
    fn spec(&self, index: usize) -> Result<LayerSpec, RecipeError> {
        let key = |name: &str| format!("network.layers[{index}].{name}");
        let activation = self.activation.unwrap_or_default();
        let kernel = self.kernel.map_or([3; 2], Pair::sides);
        let stride = self.stride.map_or([1; 2], Pair::sides);
        let padding = match &self.padding {
            None | Some(PaddingFile::Named(PaddingName::Same)) => Padding::Same,
            Some(PaddingFile::Named(PaddingName::Valid)) => Padding::Valid,
            Some(PaddingFile::All(side)) => Padding::Explicit([*side; 4]),
            Some(PaddingFile::Each(sides)) => Padding::Explicit(*sides),
        };
        let mut kinds = Vec::new();
        if let Some(channels) = self.conv {
            kinds.push(SpecKind::Conv2d { channels, kernel, stride, padding, activation });
        }
        if self.depthwise.is_some() {
            kinds.push(SpecKind::Depthwise { kernel, stride, padding, activation });
        }
        if let Some(outputs) = self.dense {
            kinds.push(SpecKind::Dense { outputs, activation });
        }
        // Pools do not overlap unless a stride says so.
        if let Some(side) = self.max_pool {
            let stride = self.stride.map_or([side; 2], Pair::sides);
            kinds.push(SpecKind::MaxPool { kernel: [side; 2], stride });
        }
        if let Some(side) = self.average_pool {
            let stride = self.stride.map_or([side; 2], Pair::sides);
            kinds.push(SpecKind::AveragePool { kernel: [side; 2], stride });
        }
        if self.global_average_pool.is_some() {
            kinds.push(SpecKind::GlobalAveragePool);
        }
        if self.flatten.is_some() {
            kinds.push(SpecKind::Flatten);
        }
        if let Some(with) = &self.add {
            kinds.push(SpecKind::Add { with: with.clone(), activation });
        }
        let layer = format!("network.layers[{index}]");
        for (name, flag) in [
            ("depthwise", self.depthwise),
            ("global_average_pool", self.global_average_pool),
            ("flatten", self.flatten),
        ] {
            check(flag != Some(false), key(name), "false", "true, or no such key")?;
        }
        let words: Vec<_> = kinds.iter().map(SpecKind::word).collect();
        let found = if words.is_empty() { "empty".to_owned() } else { words.join(" and ") };
        let (Some(kind), true) = (kinds.pop(), kinds.is_empty()) else {
            let expected = "exactly one of conv, depthwise, dense, max_pool, average_pool, \
                global_average_pool, flatten, add"
                .to_owned();
            return Err(RecipeError::Value { key: layer, found, expected });
        };
        self.check_options(&kind, key)?;
        Ok(LayerSpec { name: self.name.clone(), from: self.from.clone(), kind })
    }

    /// Refuses options that the kind has no use for.
    fn check_options(
        &self,
        kind: &SpecKind,
        key: impl Fn(&str) -> String,
    ) -> Result<(), RecipeError> {
        let convolution = matches!(kind, SpecKind::Conv2d { .. } | SpecKind::Depthwise { .. });
        let weighted = convolution || matches!(kind, SpecKind::Dense { .. });
        let pool = matches!(kind, SpecKind::MaxPool { .. } | SpecKind::AveragePool { .. });
        let active = weighted || matches!(kind, SpecKind::Add { .. });
        for (name, given, allowed) in [
            ("kernel", self.kernel.is_some(), convolution),
            ("stride", self.stride.is_some(), convolution || pool),
            ("padding", self.padding.is_some(), convolution),
            ("activation", self.activation.is_some(), active),
            ("density", self.density.is_some(), weighted),
            ("share", self.share.is_some(), weighted),
        ] {
            let word = kind.word();
            check(!given || allowed, key(name), "given", format!("nothing in a {word} layer"))?;
        }
        Ok(())
    }
}
