//! The host's kernels on aarch64, on a host that is none: tests run in QEMU's emulation of programs.

use std::process::Command;

use anyhow::Result;

use crate::{command, test, toolchain};

/// Programs for it need no linker nor library but rustup's.
pub const TARGET: &str = "aarch64-unknown-linux-musl";

/// Runs them; in Debian's package `qemu-user`.
pub const EMULATOR: &str = "qemu-aarch64";

/// Whether the tests of this host are those of its vectors already.
pub const IS_HOST: bool = cfg!(target_arch = "aarch64");

/// What is missing for [`kernels`].
pub fn missing() -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    if !toolchain::has_target(TARGET)? {
        missing.push(TARGET);
    }
    if !command::exists(EMULATOR) {
        missing.push(EMULATOR);
    }
    Ok(missing)
}

/// Compares the kernels with the reference: the whole case table and random shapes, as on the host.
pub fn kernels() -> Result<()> {
    command::run(set_up(
        test::cargo().args(["test", "--quiet", "--locked", "--target", TARGET]).args([
            "-p",
            "seedmask-tests",
            "--test",
            "bit_exact",
        ]),
    ))
}

/// Says how to link and to run programs for [`TARGET`].
fn set_up(cargo: &mut Command) -> &mut Command {
    let key = TARGET.to_uppercase().replace('-', "_");
    cargo
        .env(format!("CARGO_TARGET_{key}_LINKER"), "rust-lld")
        .env(format!("CARGO_TARGET_{key}_RUSTFLAGS"), "-Clink-self-contained=yes")
        .env(format!("CARGO_TARGET_{key}_RUNNER"), EMULATOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_told_the_emulator() {
        let mut cargo = Command::new("cargo");
        let runner = set_up(&mut cargo)
            .get_envs()
            .find(|(key, _)| *key == "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER");
        assert_eq!(runner.and_then(|(_, value)| value), Some(EMULATOR.as_ref()));
    }
}
