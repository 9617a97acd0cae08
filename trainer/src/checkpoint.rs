//! The state of a training on disk: complete, so that a resumed training gives the same bytes as
//! one that was never stopped; written beside the old one and renamed, so that a full disk or a
//! kill leaves the previous one as it was.
//!
//! Magic `SMCK`, version, SHA-256 of the recipe, CRC-32 of the rest, then the state in postcard.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crc::{CRC_32_ISO_HDLC, Crc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::nn::loss::Outcome;
use crate::optimiser::Memory;
use crate::recipe::Recipe;
use crate::trained::TrainedTask;

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
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    let mut write = |bytes: &[u8]| file.write_all(bytes).map_err(io);
    write(&MAGIC)?;
    write(&VERSION.to_le_bytes())?;
    write(&recipe_hash(recipe))?;
    write(&CRC.checksum(&body).to_le_bytes())?;
    write(&body)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
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
    let task_fits = |task: &TrainedTask| {
        task.layers.len() == shapes.len()
            && task.layers.iter().zip(&shapes).all(|(layer, [rows, weights])| {
                let mask = match &layer.mask {
                    crate::trained::Mask::Kept(kept) => kept.len() == *weights,
                    _ => true,
                };
                let all = [&layer.unit, &layer.gamma, &layer.beta, &layer.mean, &layer.variance];
                mask && all.iter().all(|values| values.len() == *rows)
                    && (layer.weights.is_empty() || layer.weights.len() == *weights)
            })
    };
    let memory_fits = |memory: &[Memory], of: &[Vec<f32>]| {
        memory.len() == of.len()
            && memory.iter().zip(of).all(|(memory, of)| {
                memory.first.len() == of.len()
                    && (memory.second.is_empty() || memory.second.len() == of.len())
            })
    };
    let checks = [
        ("the number of finished tasks", state.finished.len() <= recipe.tasks.len()),
        ("a finished task", state.finished.iter().all(task_fits)),
        ("the best epoch", state.best.iter().all(|best| task_fits(&best.task))),
        ("the parameters", fits(&state.values)),
        ("their mean", state.average.iter().all(fits)),
        ("the optimiser's memory", memory_fits(&state.memory, &state.values.trained)),
        ("the optimiser's memory of scales", memory_fits(&state.gamma_memory, &state.values.gamma)),
        ("the optimiser's memory of shifts", memory_fits(&state.beta_memory, &state.values.beta)),
    ];
    checks.into_iter().find(|(_, fits)| !fits).map(|(what, _)| what)
}
