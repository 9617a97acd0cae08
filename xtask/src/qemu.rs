//! Running a firmware in the emulator.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};

use crate::{board::Board, command};

/// An instruction lasts 64 ns of emulated time: SysTick counts them, exactly and repeatably. The
/// boards' `.cargo/config.toml` say the same.
const ICOUNT: &str = "shift=6,align=off,sleep=off";

/// No firmware of ours takes longer, unless it hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs a firmware that logs through defmt; returns its messages, a line each. A firmware that
/// ends with an exit code other than 0 is an error that shows them.
pub fn run(board: &Board, elf: &Path) -> Result<String> {
    let mut qemu_run = Command::new("qemu-run");
    qemu_run
        .args(["--machine", board.machine, "--arg", &format!("icount={ICOUNT}")])
        .args(["--log-format", "{s}"])
        .arg(elf);
    command::output_within(&mut qemu_run, LIMIT)
}

/// Runs a firmware that writes plain text through semihosting and returns that text.
pub fn run_plain(board: &Board, elf: &Path) -> Result<String> {
    let mut qemu = Command::new("qemu-system-arm");
    qemu.args(["-machine", board.machine, "-icount", ICOUNT, "-display", "none"])
        .args(["-monitor", "none", "-serial", "none", "-chardev", "stdio,id=host"])
        .args(["-semihosting-config", "enable=on,target=native,chardev=host", "-kernel"])
        .arg(elf);
    command::output_within(&mut qemu, LIMIT)
}

/// The number after `name=` in the messages of a firmware.
pub fn number(log: &str, name: &str) -> Result<u64> {
    let key = format!("{name}=");
    log.split_whitespace()
        .find_map(|word| word.strip_prefix(&key)?.parse().ok())
        .with_context(|| format!("the firmware printed no `{key}…`:\n{log}"))
}
