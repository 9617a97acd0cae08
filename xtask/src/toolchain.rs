//! Which compiler builds the firmware: rustup's where it has the targets, else Debian's, which
//! compiles `core` itself.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{board::BOARDS, command, paths};

/// Debian's packages for the second way, on Debian 12.
pub const DEBIAN_PACKAGES: [&str; 5] =
    ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy", "lld-19"];

/// Chooses between the two ways where both would do; for tests of the second.
const CHOICE: &str = "SEEDMASK_FIRMWARE_COMPILER";

/// A compiler that can build for every board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The one that runs this program: rustup added the targets.
    Rustup,
    /// `/usr/bin/cargo` with `-Zbuild-std=core` and LLVM's linker.
    Debian,
}

impl Toolchain {
    /// The one that works here, if any.
    pub fn find() -> Result<Option<Self>> {
        let choice = env::var(CHOICE).ok();
        match choice.as_deref() {
            Some("rustup") => Ok(rustup_has_targets()?.then_some(Self::Rustup)),
            Some("debian") => Ok(debian_is_complete().then_some(Self::Debian)),
            Some(other) => bail!("{CHOICE} is `{other}`; expected `rustup` or `debian`"),
            None if rustup_has_targets()? => Ok(Some(Self::Rustup)),
            None => Ok(debian_is_complete().then_some(Self::Debian)),
        }
    }

    /// Like [`Toolchain::find`]; none is an error that says what to type.
    pub fn require() -> Result<Self> {
        Self::find()?.context(
            "no compiler for the boards was found: neither rustup's targets nor Debian's compiler\n\
             type: cargo xtask setup",
        )
    }

    /// Whether rustup is to be asked to add the targets.
    pub fn wants_rustup() -> bool {
        env::var(CHOICE).as_deref() != Ok("debian")
    }

    /// `cargo SUBCOMMAND`, to be given arguments and a folder. Its target folder is its own.
    pub fn cargo(self, subcommand: &str) -> Command {
        let mut command = match self {
            Self::Rustup => Command::new(env::var_os("CARGO").unwrap_or("cargo".into())),
            Self::Debian => Command::new("/usr/bin/cargo"),
        };
        if self == Self::Debian {
            let path = env::var("PATH").unwrap_or_default();
            command
                .env("PATH", format!("/usr/bin:{path}"))
                .env("RUSTC", "/usr/bin/rustc")
                // Debian's compiler is a stable release; this lets it build `core`.
                .env("RUSTC_BOOTSTRAP", "1")
                // Behind the subcommand: clippy's does not see what is before it.
                .args([subcommand, "-Zbuild-std=core"]);
            for board in &BOARDS {
                let target = board.target.to_uppercase().replace('-', "_");
                command.env(format!("CARGO_TARGET_{target}_LINKER"), "ld.lld-19");
            }
        } else {
            command.arg(subcommand);
        }
        command.env("CARGO_TARGET_DIR", self.target_dir());
        command
    }

    /// Where this compiler builds the firmware.
    pub fn target_dir(self) -> PathBuf {
        paths::target().join(match self {
            Self::Rustup => "firmware",
            Self::Debian => "firmware-debian",
        })
    }

    /// What its compiler calls itself: `rustc 1.95.0 (59807616e 2026-04-14)`.
    pub fn version(self) -> Result<String> {
        let rustc = match self {
            Self::Rustup => env::var_os("RUSTC").unwrap_or("rustc".into()),
            Self::Debian => "/usr/bin/rustc".into(),
        };
        Ok(command::output(Command::new(rustc).arg("--version"))?.trim().to_owned())
    }

    /// What to call it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Rustup => "rustup's compiler with its targets",
            Self::Debian => "Debian's compiler, building core",
        }
    }
}

fn rustup_has_targets() -> Result<bool> {
    let libraries = libraries()?;
    Ok(BOARDS.iter().all(|board| is_in(&libraries, board.target)))
}

/// Whether the compiler that runs this program has the library of `target`.
pub fn has_target(target: &str) -> Result<bool> {
    Ok(is_in(&libraries()?, target))
}

fn is_in(libraries: &Path, target: &str) -> bool {
    libraries.join(target).join("lib").is_dir()
}

/// The folder of the compiler's targets.
fn libraries() -> Result<PathBuf> {
    let sysroot = command::output(
        Command::new(env::var_os("RUSTC").unwrap_or("rustc".into())).args(["--print", "sysroot"]),
    )?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib"))
}

fn debian_is_complete() -> bool {
    ["/usr/bin/rustc", "/usr/bin/cargo", "/usr/bin/clippy-driver", "/usr/bin/ld.lld-19"]
        .iter()
        .all(|program| Path::new(program).is_file())
        && Path::new("/usr/lib/rustlib/src/rust/library/core").is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_compilers_build_apart() {
        assert_ne!(Toolchain::Rustup.target_dir(), Toolchain::Debian.target_dir());
        assert_ne!(Toolchain::Rustup.target_dir(), paths::target());
    }

    #[test]
    fn debian_gets_its_own_compiler_and_linker() {
        let cargo = Toolchain::Debian.cargo("build");
        assert_eq!(command::line(&cargo), "/usr/bin/cargo build -Zbuild-std=core");
        let linker =
            cargo.get_envs().find(|(key, _)| *key == "CARGO_TARGET_THUMBV6M_NONE_EABI_LINKER");
        assert_eq!(linker.and_then(|(_, value)| value), Some("ld.lld-19".as_ref()));
    }
}
