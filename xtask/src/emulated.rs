//! What is checked on an emulated board: the counter, the case table and the demo's logits, bit for
//! bit against the host.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use seedmask::kernel::{Reference, Words};

use crate::{
    board::Board,
    firmware::{self, Content},
    host, qemu,
};

/// A demo that ran.
pub struct Demo {
    /// What the board printed.
    pub log: String,
    /// Images compared with the host, each under every task.
    pub compared: usize,
}

/// Checks the counter of instructions against loops of known length.
pub fn counter(board: &Board, content: &Content) -> Result<()> {
    let elf = firmware::build(board, "counter", content)?;
    qemu::run(board, &elf).map(drop)
}

/// Runs the case table on the board, built with more `arguments` for cargo, and compares its kernels with
/// the host's; the board's fastest must give what the plain ones do. Returns the number of cases.
pub fn cases(board: &Board, content: &Content, arguments: &[&str]) -> Result<usize> {
    let folder = content.cases.as_ref().context("no folder of cases was given")?;
    let elf = firmware::build_with(board, "cases", content, arguments)?;
    let log = qemu::run(board, &elf)?;
    let mut expected = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let artifact = fs::read(&path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("damaged") {
            expected.push(format!("case {name} survived"));
            continue;
        }
        let (reference, words) =
            (host::checksum::<Reference>(&artifact)?, host::checksum::<Words>(&artifact)?);
        expected.push(format!(
            "case {name} reference {reference:08x} words {words:08x} native {reference:08x}"
        ));
    }
    expected.sort();
    let mut found: Vec<&str> = log.lines().filter(|line| line.starts_with("case ")).collect();
    found.sort_unstable();
    if found != expected {
        let difference = expected.iter().find(|line| !found.contains(&line.as_str()));
        bail!("host and board differ; the host has\n  {difference:?}\nthe board printed\n{log}");
    }
    Ok(expected.len())
}

/// Runs the demo on the board and compares every logit with the host's. Its `content` names a model and
/// images.
pub fn demo(board: &Board, content: &Content) -> Result<Demo> {
    let elf = firmware::build(board, "demo", content)?;
    let log = qemu::run(board, &elf)?;
    let (artifact, images) = (read(&content.artifact)?, read(&content.images)?);
    let compared = host::compare(&host::logits(&artifact, &images)?, &host::logged(&log)?)
        .with_context(|| format!("{} differs from the host", board.name))?;
    Ok(Demo { log, compared })
}

/// The bytes of a file that a demo is about.
fn read(path: &Option<PathBuf>) -> Result<Vec<u8>> {
    let path = path.as_ref().context("a demo compares with a model and images that are named")?;
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

impl Demo {
    /// Instructions per inference under the task `name`.
    pub fn instructions(&self, name: &str) -> Result<u64> {
        let start = format!("{name}: ");
        self.log
            .lines()
            .filter_map(|line| {
                line.strip_prefix(&start)?.strip_suffix(" instructions per inference")
            })
            .find_map(|line| line.split_whitespace().next_back()?.parse().ok())
            .with_context(|| format!("no instructions for `{name}` in\n{}", self.log))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_read_from_the_log() {
        let log = "clothes: image 0 shows shoe, predicted shoe\n\
                   clothes: 9 of 10 right, 1234 instructions per inference\n\
                   digits: 8 of 10 right, 99 instructions per inference"
            .to_owned();
        let demo = Demo { log, compared: 10 };
        assert_eq!(demo.instructions("clothes").unwrap(), 1234);
        assert_eq!(demo.instructions("digits").unwrap(), 99);
        assert!(demo.instructions("shapes").is_err());
    }
}
