//! `cargo xtask run BOARD [BIN]`: what `cargo run --release` does in a board's folder, with the
//! compiler that works here.

use anyhow::{Context, Result};

use crate::{
    board::{BOARDS, Board},
    command,
    toolchain::Toolchain,
    usage::Usage,
};

/// Builds a program of a board and runs it in the emulator, its messages on the terminal.
pub fn run(board: &str, bin: &str) -> Result<()> {
    let board = Board::find(board).with_context(|| {
        let names: Vec<_> = BOARDS.iter().map(|board| board.name).collect();
        Usage(format!("no board is called `{board}`; there are {}", names.join(", ")))
    })?;
    let mut cargo = Toolchain::require()?.cargo("run");
    cargo.args(["--release", "--locked", "--bin", bin]).current_dir(board.folder());
    command::run(&mut cargo)
}
