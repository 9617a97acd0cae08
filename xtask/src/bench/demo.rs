//! Instructions of the demo's network on the boards themselves, compiled for size as they are: what the
//! table's programs, compiled for speed, do not tell.

use std::fs;

use anyhow::{Context, Result};

use super::expected::Counts;
use crate::{board::Board, emulated, firmware::Content, host, sample};

/// The names of its counts, one a task: `demo clothes`.
pub fn names() -> Result<Vec<String>> {
    Ok(tasks()?.iter().map(|task| name(task)).collect())
}

fn name(task: &str) -> String {
    format!("demo {task}")
}

/// Instructions per inference under every task of the sample's model, on the board of this key: means over
/// the sample's images. `content` is the sample's.
pub fn count(key: &str, content: &Content) -> Result<Counts> {
    let board = Board::find(key).with_context(|| format!("no board is called {key}"))?;
    let demo = emulated::demo(board, content)?;
    tasks()?.iter().map(|task| Ok((name(task), demo.instructions(task)?))).collect()
}

/// The tasks of the sample's model.
fn tasks() -> Result<Vec<String>> {
    let path = sample::artifact();
    let artifact = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(host::parse(&artifact)?.tasks().map(|task| task.name().to_owned()).collect())
}
