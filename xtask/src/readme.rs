//! The programs in the repository's texts, made as a reader would make them: `firmware/README.md` has a whole
//! one, which is built and run for every board, `README.md` the lines that matter, which are built beside it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{board::BOARDS, command, firmware, paths, sample, toolchain::Toolchain};

/// A build from scratch, and two inferences.
const LIMIT: Duration = Duration::from_secs(600);

/// What the lines in `README.md` are taken from: a driver, bytes from the radio, and a caller that is told what
/// went wrong.
const AROUND: [&str; 2] = [
    r#"#![no_std]
#![deny(warnings)]

pub struct Camera;

impl Camera {
    fn read_into(&self, input: &mut [u8]) {
        input.fill(1);
    }
}

pub enum Fault {
    Parse(seedmask::ParseError),
    Session(seedmask::ArenaError),
    Infer(seedmask::InferError),
    Other(&'static str),
}

impl From<seedmask::ParseError> for Fault {
    fn from(error: seedmask::ParseError) -> Self {
        Self::Parse(error)
    }
}

impl From<seedmask::ArenaError> for Fault {
    fn from(error: seedmask::ArenaError) -> Self {
        Self::Session(error)
    }
}

impl From<seedmask::InferError> for Fault {
    fn from(error: seedmask::InferError) -> Self {
        Self::Infer(error)
    }
}

impl From<&'static str> for Fault {
    fn from(text: &'static str) -> Self {
        Self::Other(text)
    }
}

pub fn lines(camera: &Camera, patch: &[u8]) -> Result<[usize; 2], Fault> {
"#,
    "Ok([class, fresh.name().len()])
}
",
];

/// A block of code in a text.
#[derive(Debug, PartialEq)]
struct Block<'t> {
    /// The file's name that the line above it begins with.
    file: Option<&'t str>,
    /// What language it is in.
    language: &'t str,
    /// Its lines.
    text: &'t str,
}

/// Builds the programs, and runs the whole one: it must print what its text says.
pub fn check() -> Result<()> {
    let project = project()?;
    let text = read("firmware/README.md")?;
    let blocks = blocks(&text);
    let mut written = 0;
    for block in &blocks {
        if let Some(file) = block.file {
            write(&project.join(file), block.text)?;
            written += 1;
        }
    }
    ensure!(written == 4, "firmware/README.md has {written} files of a program, 4 expected");
    let short = read("README.md")?;
    let lines = self::blocks(&short).into_iter().find(|block| block.language == "rust");
    let lines = lines.context("README.md has no lines in Rust")?.text;
    write(&project.join("src/lib.rs"), &(AROUND[0].to_owned() + lines + AROUND[1]))?;
    let printed = blocks.iter().find(|block| block.file.is_none());
    let expected = printed.context("firmware/README.md does not say what it prints")?.text;
    for board in &BOARDS {
        let found = run(&project, board.target).with_context(|| format!("for {}", board.title))?;
        ensure!(
            found == expected,
            "{}: the program in firmware/README.md prints\n{found}where the text has\n{expected}",
            board.title
        );
    }
    Ok(())
}

/// A new folder with what the text takes for granted: the model, and a clone beside it. The versions of
/// dependencies are those of the boards.
fn project() -> Result<PathBuf> {
    let folder = firmware::scratch("readme/sensor/Cargo.lock")?;
    let folder = folder.parent().context("a file has a folder")?;
    fs::remove_dir_all(folder)?;
    fs::create_dir_all(folder.join("src"))?;
    let clone = folder.with_file_name("seedmask");
    // One that was copied along with a target folder leads to another clone.
    if fs::symlink_metadata(&clone).is_ok() {
        fs::remove_file(&clone)?;
    }
    symlink(paths::root(), &clone)?;
    for model in ["demo.smk", "src/clothes.smk"] {
        fs::copy(sample::artifact(), folder.join(model))?;
    }
    fs::copy(paths::root().join("firmware/Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(folder.to_owned())
}

/// What the program prints, built as its own configuration says.
fn run(project: &Path, target: &str) -> Result<String> {
    let toolchain = Toolchain::require()?;
    let mut cargo = toolchain.cargo("run");
    // The boards' programs have brought every dependency.
    cargo
        .args(["--release", "--quiet", "--offline", "--target", target])
        .env("CARGO_TARGET_DIR", toolchain.target_dir().join("readme"))
        .current_dir(project);
    command::output_within(&mut cargo, LIMIT)
}

fn read(name: &str) -> Result<String> {
    let path = paths::root().join(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The blocks of code of a text in Markdown.
fn blocks(text: &str) -> Vec<Block<'_>> {
    const FENCE: &str = "```";
    let (mut blocks, mut above, mut rest) = (Vec::new(), "", text);
    while let Some((line, after)) = rest.split_once('\n') {
        rest = after;
        if let Some(language) = line.strip_prefix(FENCE) {
            let end = rest.find(FENCE).unwrap_or(rest.len());
            let file = above.strip_prefix('`').and_then(|it| it.split_once('`')).map(|(it, _)| it);
            blocks.push(Block { file, language, text: &rest[..end] });
            rest = rest[end..].split_once('\n').map_or("", |(_, after)| after);
            above = "";
        } else if !line.is_empty() {
            above = line;
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_named_by_the_line_above_them() {
        let text = "Some words.\n\n`a/b.toml`, here:\n\n```toml\n[x]\n\ny = 1\n```\n\nIt prints\n```text\n3\n```\nend\n";
        let expected = [
            Block { file: Some("a/b.toml"), language: "toml", text: "[x]\n\ny = 1\n" },
            Block { file: None, language: "text", text: "3\n" },
        ];
        assert_eq!(blocks(text), expected);
        assert_eq!(blocks("no code\n"), []);
    }
}
