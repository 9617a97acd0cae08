//! The emulated boards.

use std::path::PathBuf;

use crate::paths;

/// A board that QEMU emulates.
#[derive(Debug, PartialEq, Eq)]
pub struct Board {
    /// Folder under `firmware/boards`, and the package's name.
    pub name: &'static str,
    /// What people call it in a table.
    pub title: &'static str,
    /// Short name, for keys of JSON.
    pub key: &'static str,
    /// Target triple.
    pub target: &'static str,
    /// QEMU's machine.
    pub machine: &'static str,
}

/// All of them.
pub const BOARDS: [Board; 2] = [
    Board {
        name: "qemu-m4",
        title: "Cortex-M4F (mps2-an386)",
        key: "m4",
        target: "thumbv7em-none-eabihf",
        machine: "mps2-an386",
    },
    Board {
        name: "qemu-m0",
        title: "Cortex-M0 (microbit)",
        key: "m0",
        target: "thumbv6m-none-eabi",
        machine: "microbit",
    },
];

impl Board {
    /// Its little project.
    pub fn folder(&self) -> PathBuf {
        paths::root().join("firmware/boards").join(self.name)
    }

    /// The board called `name`: `qemu-m4`, or `m4`.
    pub fn find(name: &str) -> Option<&'static Board> {
        BOARDS.iter().find(|board| board.name == name || board.key == name)
    }
}
