//! The state of a training on disk: complete, so that a resumed training gives the same bytes as
//! one that was never stopped; written beside the old one and renamed, so that a full disk or a
//! kill leaves the previous one as it was.
//!
//! Magic `SMCK`, version, SHA-256 of the recipe, CRC-32 of the rest, then the state in postcard.

use std::io::Read;
use std::path::{Path, PathBuf};

use crc::{CRC_32_ISO_HDLC, Crc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::method::seeded::Source;
use crate::nn::loss::Outcome;
use crate::optimiser::{Memory, Optimiser};
use crate::recipe::Recipe;
use crate::replace::replace;
use crate::trained::{Mask, TrainedLayer, TrainedTask};

const MAGIC: [u8; 4] = *b"SMCK";
const VERSION: u32 = 1;
const HEADER: usize = 4 + 4 + 32 + 4;
/// A larger file is none of ours.
const MAX_BYTES: u64 = 1 << 31;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What changes during training, for every weighted layer in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Values {
    /// Scores or weights; empty for a frozen layer.
    pub trained: Vec<Vec<f32>>,
    /// γ.
    pub gamma: Vec<Vec<f32>>,
    /// β.
    pub beta: Vec<Vec<f32>>,
}

/// The best epoch so far on the images held out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Images that were right.
    pub correct: usize,
    /// The task as it was then.
    pub task: TrainedTask,
}

/// Everything that a training needs to go on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Tasks that are done.
    pub finished: Vec<TrainedTask>,
    /// Steps done of the present task.
    pub step: u64,
    /// The parameters.
    pub values: Values,
    /// Their running mean, where one is kept.
    pub average: Option<Values>,
    /// The optimiser's memory of scores or weights.
    pub memory: Vec<Memory>,
    /// The optimiser's memory of γ.
    pub gamma_memory: Vec<Memory>,
    /// The optimiser's memory of β.
    pub beta_memory: Vec<Memory>,
    /// The best epoch so far.
    pub best: Option<Best>,
    /// Epochs since then.
    pub stale: usize,
    /// Loss and accuracy since the epoch began.
    pub running: Running,
    /// Seconds spent so far on all tasks; for reports only.
    pub seconds: f64,
}

/// Sums of an epoch, as numbers that serialise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Running {
    loss: f64,
    correct: usize,
    images: usize,
}

impl Running {
    /// Counts a batch in.
    pub fn add(&mut self, outcome: Outcome) {
        self.loss += outcome.loss;
        self.correct += outcome.correct;
        self.images += outcome.images;
    }

    /// The sums.
    pub fn outcome(&self) -> Outcome {
        Outcome { loss: self.loss, correct: self.correct, images: self.images }
    }
}

/// Why a checkpoint cannot be used or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not a checkpoint of this version, or damaged.
    #[error("{}: {what} is {found}, expected {expected}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The part.
        what: &'static str,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// Made by another recipe.
    #[error(
        "{}: belongs to the recipe with SHA-256 {found}, this one has {expected}", path.display()
    )]
    OtherRecipe {
        /// The file.
        path: PathBuf,
        /// The recipe that it belongs to.
        found: String,
        /// The recipe given.
        expected: String,
    },
}

fn recipe_hash(recipe: &Recipe) -> [u8; 32] {
    Sha256::digest(recipe.text.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes `state` to `path`, in one piece or not at all.
///
/// # Errors
/// [`CheckpointError::Io`]: the file at `path`, if there was one, is as it was.
pub fn save(path: &Path, recipe: &Recipe, state: &State) -> Result<(), CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.to_owned(), source };
    let body = postcard::to_allocvec(state).map_err(|e| io(std::io::Error::other(e)))?;
    let (version, checksum) = (VERSION.to_le_bytes(), CRC.checksum(&body).to_le_bytes());
    replace(path, &[&MAGIC, &version, &recipe_hash(recipe), &checksum, &body]).map_err(io)
}

/// Reads the state of a training of `recipe` from `path`.
///
/// # Errors
/// [`CheckpointError`]: names what was found and what was expected. Never panics, whatever the
/// bytes; a state that does not fit the recipe's network is refused.
pub fn load(path: &Path, recipe: &Recipe) -> Result<State, CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.to_owned(), source };
    let invalid = |what, found: String, expected: String| CheckpointError::Invalid {
        path: path.to_owned(),
        what,
        found,
        expected,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(io)?;
    let Some((header, body)) = bytes.split_first_chunk::<HEADER>() else {
        let expected = format!("at least {HEADER} bytes");
        return Err(invalid("the length", format!("{} bytes", bytes.len()), expected));
    };
    let field = |start: usize| {
        u32::from_le_bytes([header[start], header[start + 1], header[start + 2], header[start + 3]])
    };
    if header[..4] != MAGIC {
        return Err(invalid("the magic", hex(&header[..4]), hex(&MAGIC)));
    }
    if field(4) != VERSION {
        return Err(invalid("the version", field(4).to_string(), VERSION.to_string()));
    }
    let checksum = CRC.checksum(body);
    if field(40) != checksum {
        return Err(invalid("the CRC-32", format!("{checksum:08x}"), format!("{:08x}", field(40))));
    }
    let expected = recipe_hash(recipe);
    if header[8..40] != expected {
        let (found, expected) = (hex(&header[8..40]), hex(&expected));
        return Err(CheckpointError::OtherRecipe { path: path.to_owned(), found, expected });
    }
    let state: State = postcard::from_bytes(body)
        .map_err(|error| invalid("the state", error.to_string(), "a postcard record".to_owned()))?;
    match misfit(recipe, &state) {
        None => Ok(state),
        Some(what) => Err(invalid(what, "another".to_owned(), "what the recipe gives".to_owned())),
    }
}

/// The part of `state` that does not fit the network of `recipe`, if any.
fn misfit(recipe: &Recipe, state: &State) -> Option<&'static str> {
    let shapes: Vec<[usize; 2]> =
        recipe.architecture.weighted().map(|(_, w)| [w.rows, w.rows * w.fan_in]).collect();
    let rows = |values: &[Vec<f32>]| {
        values.len() == shapes.len() && values.iter().zip(&shapes).all(|(v, s)| v.len() == s[0])
    };
    let weights = |values: &[Vec<f32>]| {
        values.len() == shapes.len()
            && values.iter().zip(&shapes).all(|(v, s)| v.is_empty() || v.len() == s[1])
    };
    let fits = |v: &Values| weights(&v.trained) && rows(&v.gamma) && rows(&v.beta);
    let lengths = |v: &Values| v.trained.iter().map(Vec::len).collect::<Vec<_>>();
    let memory_fits = |optimiser: Optimiser, memory: &[Memory], of: &[Vec<f32>]| {
        memory.len() == of.len()
            && memory.iter().zip(of).all(|(memory, of)| {
                let second = match optimiser {
                    Optimiser::Adam { .. } => of.len(),
                    Optimiser::Sgd { .. } => 0,
                };
                memory.first.len() == of.len() && memory.second.len() == second
            })
    };
    let State { finished, values, average, best, running, .. } = state;
    let finished_fit = |index: usize| task_fits(recipe, &finished[..index], &finished[index]);
    let train = &recipe.train;
    let (scores, affine) = (train.optimiser, train.affine_optimiser);
    // Counters that go on from here must not overflow.
    let countable = |count: usize| u32::try_from(count).is_ok();
    let checks = [
        ("the number of finished tasks", finished.len() <= recipe.tasks.len()),
        ("a finished task", (0..finished.len()).all(finished_fit)),
        ("the best epoch", best.iter().all(|best| task_fits(recipe, finished, &best.task))),
        ("the parameters", fits(values)),
        ("their mean", average.iter().all(|mean| fits(mean) && lengths(mean) == lengths(values))),
        ("the optimiser's memory", memory_fits(scores, &state.memory, &values.trained)),
        (
            "the optimiser's memory of scales",
            memory_fits(affine, &state.gamma_memory, &values.gamma),
        ),
        ("the optimiser's memory of shifts", memory_fits(affine, &state.beta_memory, &values.beta)),
        (
            "a count of the epoch",
            [state.stale, running.correct, running.images].into_iter().all(countable),
        ),
    ];
    checks.into_iter().find(|(_, fits)| !fits).map(|(what, _)| what)
}

/// Whether `task` can be what `recipe` learns next after the tasks `before`.
fn task_fits(recipe: &Recipe, before: &[TrainedTask], task: &TrainedTask) -> bool {
    let named = recipe.tasks.get(before.len()).is_some_and(|options| options.name == task.name);
    let mut weighted = recipe.architecture.weighted();
    let layer_fits = |(index, layer): (usize, &TrainedLayer)| {
        let Some((_, shape)) = weighted.next() else { return false };
        let weights = shape.rows * shape.fan_in;
        let stored = if recipe.source == Source::Trained { weights } else { 0 };
        let mask = match &layer.mask {
            Mask::Full | Mask::Seeded(_) => true,
            Mask::Kept(kept) => kept.len() == weights,
            // One step leads to the mask: no circle, no chain.
            Mask::SameAs(name) => before.iter().any(|owner| {
                let theirs = owner.layers.get(index).map(|layer| &layer.mask);
                owner.name == *name && !matches!(theirs, None | Some(Mask::SameAs(_)))
            }),
        };
        let all = [&layer.unit, &layer.gamma, &layer.beta, &layer.mean, &layer.variance];
        mask && layer.weights.len() == stored && all.iter().all(|v| v.len() == shape.rows)
    };
    named
        && task.layers.len() == recipe.layers.len()
        && task.layers.iter().enumerate().all(layer_fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = r#"
        [network]
        input = [1, 28, 28]
        seed = 1
        layers = [{ flatten = true }, { dense = 4, share = "a" }, { dense = 10 }]
        [train]
        epochs = 1
        average = 0.9
        [[task]]
        name = "a"
        data = "clothes"
        [[task]]
        name = "b"
        data = "digits"
    "#;
    /// Rows and weights of the layers.
    const SHAPES: [[usize; 2]; 2] = [[4, 3136], [10, 40]];

    fn task(name: &str, mask: Mask) -> TrainedTask {
        let layer = |[rows, _]: [usize; 2]| TrainedLayer {
            mask: mask.clone(),
            weights: Vec::new(),
            unit: vec![1.0; rows],
            gamma: vec![1.0; rows],
            beta: vec![0.0; rows],
            mean: vec![0.0; rows],
            variance: vec![1.0; rows],
        };
        let layers = SHAPES.map(layer).to_vec();
        TrainedTask { name: name.to_owned(), classes: Vec::new(), epochs: 1, layers }
    }

    /// The state of a training within its second task.
    fn state(recipe: &Recipe) -> State {
        let values = Values {
            trained: SHAPES.map(|[_, weights]| vec![0.0; weights]).to_vec(),
            gamma: SHAPES.map(|[rows, _]| vec![1.0; rows]).to_vec(),
            beta: SHAPES.map(|[rows, _]| vec![0.0; rows]).to_vec(),
        };
        let memory = |values: &[Vec<f32>]| {
            values.iter().map(|v| Memory::new(recipe.train.optimiser, v.len())).collect()
        };
        State {
            finished: vec![task("a", Mask::Full)],
            memory: memory(&values.trained),
            gamma_memory: memory(&values.gamma),
            beta_memory: memory(&values.beta),
            average: Some(values.clone()),
            best: Some(Best { correct: 1, task: task("b", Mask::SameAs("a".to_owned())) }),
            values,
            ..State::default()
        }
    }

    /// What loading says about the state of `recipe` after `change`.
    fn loaded(recipe: &str, change: impl FnOnce(&mut State)) -> Result<State, String> {
        let recipe = Recipe::parse(recipe).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.ckpt");
        let mut state = state(&recipe);
        change(&mut state);
        save(&path, &recipe, &state).unwrap();
        load(&path, &recipe).map_err(|error| error.to_string())
    }

    fn refused(change: impl FnOnce(&mut State), part: &str) {
        let message = loaded(RECIPE, change).unwrap_err();
        assert!(message.contains(part), "{part:?} is not in {message}");
    }

    #[test]
    fn a_sound_state_is_read_back() {
        let recipe = Recipe::parse(RECIPE).unwrap();
        assert_eq!(loaded(RECIPE, |_| {}).unwrap(), state(&recipe));
    }

    #[test]
    fn a_mask_is_taken_over_from_an_earlier_owner_only() {
        let same_as = |name: &str| Mask::SameAs(name.to_owned());
        for name in ["a", "b", "cats"] {
            refused(|state| state.finished[0] = task("a", same_as(name)), "a finished task");
        }
        for name in ["b", "cats"] {
            let best = |state: &mut State| {
                state.best = Some(Best { correct: 1, task: task("b", same_as(name)) });
            };
            refused(best, "the best epoch");
        }
        let circle = |state: &mut State| {
            state.best = None;
            state.finished = vec![task("a", same_as("b")), task("b", same_as("a"))];
        };
        refused(circle, "a finished task");
    }

    #[test]
    fn tasks_stand_in_the_order_of_the_recipe() {
        refused(|state| state.finished[0].name = "b".to_owned(), "a finished task");
        refused(|state| state.finished.push(task("c", Mask::Full)), "a finished task");
    }

    #[test]
    fn lengths_are_those_of_the_network() {
        refused(|state| state.average.as_mut().unwrap().trained[1].clear(), "their mean");
        refused(|state| state.values.trained[0].truncate(7), "the parameters");
        refused(|state| state.finished[0].layers[0].weights = vec![1; 3136], "a finished task");
        refused(|state| state.finished[0].layers[1].unit.clear(), "a finished task");
        refused(|state| state.finished[0].layers.truncate(1), "a finished task");
        refused(
            |state| state.finished[0].layers[1].mask = Mask::Kept(vec![true; 39]),
            "a finished task",
        );
        refused(|state| state.memory[0].second.clear(), "the optimiser's memory");
        refused(|state| state.stale = usize::MAX, "a count");
    }

    #[test]
    fn a_trained_backbone_has_its_weights() {
        let (head, tasks) = RECIPE.split_once("[[task]]").unwrap();
        let first = tasks.split_once("[[task]]").unwrap().0;
        let recipe = format!("{head}[[task]]{first}")
            .replace("seed = 1", "seed = 1\nweights = \"trained\"")
            .replace("epochs = 1", "epochs = 1\nmethod = \"dense\"");
        let with = |lengths: [usize; 2]| {
            loaded(&recipe, |state| {
                state.best = None;
                for (layer, length) in state.finished[0].layers.iter_mut().zip(lengths) {
                    layer.weights = vec![1; length];
                }
            })
        };
        assert!(with([3136, 40]).is_ok());
        for lengths in [[0, 0], [3136, 0], [3136, 41]] {
            assert!(with(lengths).unwrap_err().contains("a finished task"), "{lengths:?}");
        }
    }
}
