//! Running the command, and a small artifact to run it on.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// What a command gave.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Answer {
    /// The lines of standard output as JSON.
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The command with the sample data, before its arguments.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seedmask"));
    command.env("SEEDMASK_DATA", sample()).env_remove("RAYON_NUM_THREADS").stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub fn seedmask<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Answer {
    answer(command().args(arguments))
}

/// Runs `command` to its end. It never panics, whatever it is given.
pub fn answer(command: &mut Command) -> Answer {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!err.contains("panicked"), "{command:?}\n{err}");
    Answer { code: output.status.code(), out, err }
}

/// Runs the command with arguments that are given in one line; it must succeed.
pub fn ok(line: &str) -> Answer {
    let answer = seedmask(line.split_whitespace());
    assert_eq!(answer.code, Some(0), "{line}\n{answer:?}");
    answer
}

/// Runs the command; it must fail with exit code 2 and one message that contains every one of
/// `parts`.
pub fn refused(line: &str, parts: &[&str]) {
    let answer = seedmask(line.split_whitespace());
    assert_eq!(answer.code, Some(2), "{line}\n{answer:?}");
    assert_eq!(answer.out, "", "{line}");
    for part in parts {
        assert!(answer.err.contains(part), "{line}: {part:?} is not in {}", answer.err);
    }
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The images that the repository ships.
pub fn sample() -> PathBuf {
    repository("tests/data")
}

/// A network that trains in a blink: every kind of layer, two tasks.
pub const RECIPE: &str = r#"
[network]
input = [1, 28, 28]
seed = 11
density = 0.3
layers = [
    { conv = 6, stride = 2, name = "a" },
    { conv = 6, activation = "linear" },
    { add = "a" },
    { max_pool = 2 },
    { depthwise = true },
    { flatten = true },
    { dense = 10 },
]
[train]
epochs = 2
batch = 32
[[task]]
name = "clothes"
data = "clothes"
[[task]]
name = "digits"
data = "digits"
"#;

/// The recipe with one task, for `--backbone`.
pub fn one_task(name: &str) -> String {
    let (network, _) = RECIPE.split_once("[[task]]").unwrap();
    format!("{network}[[task]]\nname = \"{name}\"\ndata = \"clothes-rotated\"\n")
}

/// A folder with `two.smk`, trained from [`RECIPE`], and `third.smk`, a patch for it.
pub struct Fixture {
    folder: TempDir,
    /// What the training of `two.smk` printed.
    pub trained: Answer,
}

impl Fixture {
    /// The path of a file in the folder, as text.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// The folder; made once for all tests, which add no file of the same name to it.
pub fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("two.toml"), RECIPE).unwrap();
        std::fs::write(path("third.toml"), one_task("third")).unwrap();
        let line = format!(
            "train {} -o {} --report {}",
            path("two.toml"),
            path("two.smk"),
            path("two.json")
        );
        let trained = ok(&line);
        let (recipe, patch, base) = (path("third.toml"), path("third.smk"), path("two.smk"));
        ok(&format!("train {recipe} -o {patch} --backbone {base}"));
        Fixture { folder, trained }
    })
}
