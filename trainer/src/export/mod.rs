//! From what was learned to an artifact: the graph for the device, masks in bytes, BatchNorm
//! folded into scales and shifts.

mod compare;
mod fold;
mod graph;

use bitvec::vec::BitVec;
use seedmask::artifact::Model;
use seedmask::artifact::write::{self, Backbone, Learned, LearnedLayer, LearnedMask, WriteError};
use seedmask::layer::{Source, Weights};
use seedmask::mask::{self, Encoding};
use seedmask::plan::Goal;

use crate::evaluate::{self, EvaluateError, HostArena};
use crate::method::seeded;
use crate::nn::architecture::{Sums, Weighted};
use crate::recipe::Recipe;
use crate::trained::{Mask, Trained};

pub use compare::{LayerError, compare};
pub use graph::Graph;

/// How masks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Masks {
    /// In the fewest bytes.
    #[default]
    Smallest,
    /// For speed: a byte for each kept weight in dense layers below density .4 and in convolutions below ⅛;
    /// above that a bit for each weight in dense layers, and the fewest bytes in convolutions.
    Fastest,
}

/// How maps lie in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Arena {
    /// As convolutions read them fastest.
    #[default]
    Fastest,
    /// In the fewest bytes.
    Smallest,
}

/// Why no artifact can be made of what was learned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A folded scale that the format cannot hold.
    #[error(
        "task {task}, layer {layer}, channel {channel}: a scale of {found}, expected one between \
         -128 and 128"
    )]
    Scale {
        /// The task.
        task: String,
        /// The layer's name.
        layer: String,
        /// The output channel.
        channel: usize,
        /// The scale, per unit of sum.
        found: f64,
    },
    /// A folded shift that the format cannot hold.
    #[error(
        "task {task}, layer {layer}, channel {channel}: a shift of {found}, expected one between \
         -65504 and 65504"
    )]
    Shift {
        /// The task.
        task: String,
        /// The layer's name.
        layer: String,
        /// The output channel.
        channel: usize,
        /// The shift.
        found: f64,
    },
    /// Averages of the network's input, which has a grid of its own.
    #[error("layer {layer}: an average of the network's input; put a weighted layer before it")]
    AverageOfInput {
        /// The layer's name.
        layer: String,
    },
    /// More layers or tensors than the format holds, with those that copy between layouts.
    #[error("{found} layers with those that copy between layouts; at most {most} are supported")]
    Layers {
        /// Layers.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// A size beyond the format's.
    #[error("layer {layer}: a size of {found}, expected at most 65535")]
    Size {
        /// The layer's name.
        layer: String,
        /// The size.
        found: usize,
    },
    /// A mask shared with a task that has none of its own.
    #[error("task {task}, layer {layer}: shares the mask of {share}, which has none of its own")]
    Share {
        /// The task.
        task: String,
        /// The layer's name.
        layer: String,
        /// The task named.
        share: String,
    },
    /// A patch for another backbone than the one that was trained.
    #[error(
        "the recipe's network is backbone {found:016x}, but the file's is {expected:016x}; seed, \
         layers and kind of weights must be those that the file was made with"
    )]
    OtherBackbone {
        /// Fingerprint of what was trained.
        found: u64,
        /// Fingerprint of the file's backbone.
        expected: u64,
    },
    /// The file could not be made.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The file could not be run.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

/// An artifact with every task of `trained`.
///
/// # Errors
/// [`ExportError`], which names the layer.
pub fn artifact(trained: &Trained, masks: Masks, arena: Arena) -> Result<Vec<u8>, ExportError> {
    let graph = Graph::new(&trained.recipe)?;
    let tasks = (0..trained.tasks.len()).map(|task| learned(trained, &graph, task, masks));
    let tasks: Vec<Learned> = tasks.collect::<Result<_, _>>()?;
    let goal = match arena {
        Arena::Fastest => Goal::Speed,
        Arena::Smallest => Goal::Memory,
    };
    let backbone = Backbone { goal, ..backbone(&trained.recipe, &graph, stored(trained)) };
    Ok(write::artifact(&backbone, &tasks)?)
}

/// A patch with task number `task` of `trained` for `model`, which must have the same backbone.
///
/// # Errors
/// [`ExportError::OtherBackbone`], or what is wrong with the task.
pub fn patch(
    trained: &Trained,
    task: usize,
    model: &Model,
    masks: Masks,
) -> Result<Vec<u8>, ExportError> {
    let graph = Graph::new(&trained.recipe)?;
    check_backbone(trained, &graph, model)?;
    Ok(write::patch(model, &learned(trained, &graph, task, masks)?)?)
}

/// Whether the network of a recipe, not trained yet, can be exported and run here once it is.
///
/// # Errors
/// [`ExportError`]: why it cannot.
pub fn check(recipe: &Recipe) -> Result<(), ExportError> {
    let zeros = |place: seeded::Place| vec![0; place.rows * place.fan_in];
    let stored = match recipe.source {
        seeded::Source::Trained => {
            seeded::places(&recipe.architecture).into_iter().map(zeros).collect()
        }
        seeded::Source::Signs | seeded::Source::Magnitudes => Vec::new(),
    };
    let file = write::artifact(&backbone(recipe, &Graph::new(recipe)?, stored), &[])?;
    let model = Model::parse(&file).map_err(WriteError::Invalid)?;
    evaluate::count_weights(&model)?;
    HostArena::new(&model)?;
    Ok(())
}

/// Whether the network of a recipe, not trained yet, is the backbone of `model`.
///
/// # Errors
/// [`ExportError::OtherBackbone`], or why the network is no backbone at all.
pub fn is_backbone(recipe: &Recipe, model: &Model) -> Result<(), ExportError> {
    let untrained = Trained { recipe: recipe.clone(), tasks: Vec::new() };
    check_backbone(&untrained, &Graph::new(recipe)?, model)
}

fn check_backbone(trained: &Trained, graph: &Graph, model: &Model) -> Result<(), ExportError> {
    let file = write::artifact(&backbone(&trained.recipe, graph, stored(trained)), &[])?;
    let found = Model::parse(&file).map_err(WriteError::Invalid)?.fingerprint();
    match model.fingerprint() {
        expected if expected == found => Ok(()),
        expected => Err(ExportError::OtherBackbone { found, expected }),
    }
}

/// The weights that the seed does not give, layer by layer.
fn stored(trained: &Trained) -> Vec<Vec<i8>> {
    match trained.recipe.source {
        seeded::Source::Trained => {
            (0..trained.recipe.layers.len()).map(|layer| trained.weights(layer)).collect()
        }
        seeded::Source::Signs | seeded::Source::Magnitudes => Vec::new(),
    }
}

fn backbone(recipe: &Recipe, graph: &Graph, stored: Vec<Vec<i8>>) -> Backbone {
    Backbone {
        seed: recipe.seed,
        tensors: graph.tensors.clone(),
        layers: graph.layers.clone(),
        stored,
        goal: Goal::default(),
    }
}

fn learned(
    trained: &Trained,
    graph: &Graph,
    task: usize,
    masks: Masks,
) -> Result<Learned, ExportError> {
    let it = &trained.tasks[task];
    let mut layers = Vec::with_capacity(it.layers.len());
    for (index, (node, weighted)) in trained.recipe.architecture.weighted().enumerate() {
        let mask = learned_mask(trained, task, &node.name, weighted, masks)?;
        let fold = fold::Fold {
            task: &it.name,
            layer: &node.name,
            output: weighted.output,
            input: graph.inputs[index],
        };
        layers.push(LearnedLayer { mask, epilogue: fold.epilogue(trained, task, index)? });
    }
    // A task whose classes have no names has as many as the head has outputs.
    let classes = match it.classes.len() {
        0 => trained.recipe.architecture.outputs(),
        named => named,
    };
    Ok(Learned {
        name: it.name.clone(),
        classes: classes as u16,
        labels: it.classes.clone(),
        layers,
    })
}

fn learned_mask(
    trained: &Trained,
    task: usize,
    name: &str,
    weighted: Weighted,
    masks: Masks,
) -> Result<LearnedMask, ExportError> {
    let recipe = &trained.recipe;
    let place = seeded::places(&recipe.architecture)[weighted.index];
    let weights = Weights {
        rows: place.rows as u32,
        inputs: place.fan_in as u32,
        source: source(recipe.source),
    };
    Ok(match &trained.tasks[task].layers[weighted.index].mask {
        Mask::Full => LearnedMask::Own { encoding: Encoding::Full, bytes: Vec::new() },
        &Mask::Seeded(density) => {
            LearnedMask::Own { encoding: Encoding::Seeded { density }, bytes: Vec::new() }
        }
        Mask::Kept(kept) => {
            let bits: BitVec = kept.iter().copied().collect();
            let encode = match (masks, weighted.sums) {
                (Masks::Fastest, Sums::Dense(_)) => mask::fastest,
                (Masks::Fastest, Sums::Conv2d(_)) => mask::fastest_in_convolutions,
                _ => mask::smallest,
            };
            let (encoding, bytes) = encode(&bits, weights, recipe.seed, place.first);
            LearnedMask::Own { encoding, bytes }
        }
        Mask::SameAs(share) => {
            let owner = trained.tasks[..task].iter().position(|task| task.name == *share);
            LearnedMask::SameAs(owner.ok_or_else(|| ExportError::Share {
                task: trained.tasks[task].name.clone(),
                layer: name.to_owned(),
                share: share.clone(),
            })? as u16)
        }
    })
}

fn source(source: seeded::Source) -> Source {
    match source {
        seeded::Source::Signs => Source::SeededSigns,
        seeded::Source::Magnitudes => Source::SeededMagnitudes,
        seeded::Source::Trained => Source::StoredInt8,
    }
}
