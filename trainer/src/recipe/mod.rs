//! What to train: a network, a method and tasks, from a TOML file. Everything is checked here;
//! what comes out can be trained.

mod file;

use std::path::Path;

use seedmask::artifact::MAGIC;
use serde::{Deserialize, Serialize};

use crate::data::augment::Augmentation;
use crate::method::Method;
use crate::method::anneal::Anneal;
use crate::method::seeded::Source;
use crate::method::top_k::Ranking;
use crate::nn::{Architecture, ArchitectureError};
use crate::optimiser::Optimiser;
use crate::schedule::Schedule;

/// Most epochs of a task.
pub const MAX_EPOCHS: usize = 10_000;
/// Most images of a batch.
pub const MAX_BATCH: usize = 4096;
/// Most tasks of a recipe.
pub const MAX_TASKS: usize = 32;

/// A checked recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// The text that it was read from.
    pub text: String,
    /// The graph.
    pub architecture: Architecture,
    /// The seed of the backbone.
    pub seed: u64,
    /// Where the weights come from.
    pub source: Source,
    /// Options of the weighted layers, in order.
    pub layers: Vec<LayerOptions>,
    /// How to train.
    pub train: TrainOptions,
    /// What to train, one after the other over the same backbone.
    pub tasks: Vec<TaskOptions>,
}

/// Options of a weighted layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerOptions {
    /// Fraction of weights kept, in (0, 1].
    pub density: f32,
    /// The task whose mask all other tasks take over as it is.
    pub share: Option<String>,
}

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// The method.
    pub method: Method,
    /// Which scores are kept.
    pub ranking: Ranking,
    /// For scores or weights.
    pub optimiser: Optimiser,
    /// For scales and shifts.
    pub affine_optimiser: Optimiser,
    /// For scores or weights.
    pub learning_rate: f32,
    /// For scales and shifts.
    pub affine_learning_rate: f32,
    /// Images of a step.
    pub batch: usize,
    /// Passes over the training images.
    pub epochs: usize,
    /// The course of both learning rates.
    pub schedule: Schedule,
    /// The fraction of all steps in which the rates rise.
    pub warmup: f32,
    /// The share of the target that is spread over all classes, in [0, 1).
    pub label_smoothing: f32,
    /// Variation of the training images.
    pub augment: Augmentation,
    /// Falling densities.
    pub anneal: Option<Anneal>,
    /// When to stop before the last epoch.
    pub early_stop: Option<EarlyStop>,
    /// The decay per step of the running mean of all parameters that is kept in the end; 0: the
    /// parameters themselves.
    pub average: f32,
}

/// When to stop early. The images held out are the last of the training set, never the test set;
/// the parameters of the best epoch are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    /// Training images held out.
    pub held_out: usize,
    /// Epochs without a better accuracy on them before training ends.
    pub patience: usize,
}

/// A task to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskOptions {
    /// Its name in the artifact.
    pub name: String,
    /// Its data set. Without one the network can be built, but not trained.
    pub data: Option<String>,
    /// Names of its classes, where no data set gives them; may be fewer than there are outputs.
    pub classes: Vec<String>,
    /// Passes over the training images.
    pub epochs: usize,
    /// Variation of the training images.
    pub augment: Augmentation,
}

/// Why a recipe cannot be trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The file could not be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No text.
    #[error("{path}: {found}; expected a recipe, which is a TOML file")]
    NotText {
        /// The file.
        path: String,
        /// What it is instead.
        found: &'static str,
    },
    /// Not TOML, an unknown key, or a value of another type.
    #[error("{0}")]
    Toml(#[from] Box<toml::de::Error>),
    /// A value out of range.
    #[error("`{key}` is {found}, expected {expected}")]
    Value {
        /// Where, as `table.key`.
        key: String,
        /// What stands there.
        found: String,
        /// What may.
        expected: String,
    },
    /// The layers do not make a network.
    #[error("network.layers: {0}")]
    Architecture(#[from] ArchitectureError),
}

impl Recipe {
    /// Reads a file.
    ///
    /// # Errors
    /// [`RecipeError`], which names the key, what was found and what was expected.
    pub fn read(path: &Path) -> Result<Self, RecipeError> {
        let name = || path.display().to_string();
        let io = |source| RecipeError::Io { path: name(), source };
        let bytes = std::fs::read(path).map_err(io)?;
        let found = match bytes.starts_with(&MAGIC) {
            true => "an artifact",
            false => "not text in UTF-8",
        };
        let text = String::from_utf8(bytes);
        Self::parse(&text.map_err(|_| RecipeError::NotText { path: name(), found })?)
    }

    /// Takes the text of a recipe apart.
    ///
    /// # Errors
    /// As [`Recipe::read`].
    pub fn parse(text: &str) -> Result<Self, RecipeError> {
        file::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = r#"
        [network]
        input = [1, 28, 28]
        seed = 7
        density = 0.3
        layers = [
            { conv = 8, stride = 2, name = "a" },
            { conv = 8, activation = "linear", density = 0.1 },
            { add = "a" },
            { max_pool = 2 },
            { global_average_pool = true },
            { dense = 10, density = 0.5 },
        ]
        [train]
        epochs = 3
        augment = { shift = 2, flip = true }
        [[task]]
        name = "clothes"
        data = "clothes"
        [[task]]
        name = "numbers"
        data = "digits"
        epochs = 2
        augment = { shift = 1 }
    "#;

    fn error(from: &str, to: &str) -> String {
        assert!(RECIPE.contains(from), "{from}");
        Recipe::parse(&RECIPE.replace(from, to)).unwrap_err().to_string()
    }

    #[test]
    fn densities_and_overrides_are_resolved() {
        let recipe = Recipe::parse(RECIPE).unwrap();
        let densities: Vec<_> = recipe.layers.iter().map(|layer| layer.density).collect();
        assert_eq!(densities, [0.3, 0.1, 0.5]);
        assert_eq!(recipe.train.method, Method::EdgePopup);
        assert_eq!((recipe.tasks[0].epochs, recipe.tasks[1].epochs), (3, 2));
        assert_eq!(recipe.tasks[0].augment, Augmentation { shift: 2, flip: true });
        assert_eq!(recipe.tasks[1].augment, Augmentation { shift: 1, flip: false });
        assert_eq!(recipe.architecture.tensors[1].shape.to_string(), "8×14×14");
    }

    #[test]
    fn unknown_keys_and_wrong_types_are_named() {
        assert!(error("seed = 7", "sead = 7").contains("unknown field `sead`"));
        assert!(error("epochs = 3", "epochs = 3\nepoch = 1").contains("unknown field `epoch`"));
        assert!(error("{ max_pool = 2 }", "{ maxpool = 2 }").contains("unknown field `maxpool`"));
        assert!(error("seed = 7", "seed = \"x\"").contains("seed"));
    }

    #[test]
    fn values_out_of_range_are_named_with_what_is_expected() {
        for (from, to, expected) in [
            ("density = 0.1", "density = 0.0", "`network.layers[1].density` is 0, expected"),
            ("density = 0.1", "density = 1.5", "`network.layers[1].density` is 1.5, expected"),
            ("density = 0.3", "density = nan", "`network.density` is NaN"),
            ("epochs = 3", "epochs = 0", "`train.epochs` is 0"),
            ("epochs = 3", "epochs = 3\nbatch = 0", "`train.batch` is 0"),
            ("epochs = 3", "epochs = 3\nbatch = 1", "`train.batch` is 1"),
            ("epochs = 3", "epochs = 3\nlearning_rate = -1.0", "`train.learning_rate` is -1"),
            ("epochs = 3", "epochs = 3\nlabel_smoothing = 1.0", "`train.label_smoothing` is 1"),
            ("data = \"digits\"", "data = \"cats\"", "`task[1].data` is cats, expected one of"),
            ("name = \"numbers\"", "name = \"clothes\"", "`task[1].name` is clothes"),
            (
                "{ max_pool = 2 }",
                "{ max_pool = 2, dense = 3 }",
                "`network.layers[3]` is dense and max_pool",
            ),
            ("{ max_pool = 2 }", "{ max_pool = 2, density = 0.5 }", "`network.layers[3].density`"),
            ("{ max_pool = 2 }", "{}", "`network.layers[3]` is empty"),
            ("{ add = \"a\" }", "{ add = \"b\" }", "no earlier layer is named `b`"),
            (
                "density = 0.1",
                "density = 0.1, share = \"cats\"",
                "`network.layers[1].share` is cats",
            ),
            ("seed = 7", "seed = 7\nweights = \"trained\"", "`train.method`"),
            ("dense = 10", "dense = 9", "`task[0].data`"),
            ("data = \"digits\"", "data = \"digits\"\nclasses = []", "`task[1].classes` is given"),
            (
                "data = \"digits\"",
                "classes = [\"\"]",
                "`task[1].classes` is [\"\"], expected at most 10",
            ),
        ] {
            let message = error(from, to);
            assert!(message.contains(expected), "{to}: {message}");
        }
    }

    #[test]
    fn the_shipped_recipes_can_be_trained() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let recipes: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .collect();
        assert!(!recipes.is_empty());
        for path in recipes {
            Recipe::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
