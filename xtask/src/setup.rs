//! `cargo xtask setup`: finds what is missing, installs it or says exactly what to type.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, bail};

use crate::{
    aarch64,
    board::BOARDS,
    command, data,
    toolchain::{DEBIAN_PACKAGES, Toolchain},
};

/// The runner that decodes the boards' messages, and the version that is known to work.
const QEMU_RUN: [&str; 2] = ["qemu-run", "0.3.1"];

/// rustup downloads some 30 MB, or is refused.
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);

/// Debian's package of [`aarch64::EMULATOR`].
const PROGRAM_EMULATOR: &str = "qemu-user";

/// Brings everything that the other chores need. What is there is left alone.
pub fn setup() -> Result<()> {
    let apt = Apt::find();
    let mut missing = Vec::new();
    tools(&apt, &mut missing);
    clothes(&apt, &mut missing);
    digits();
    complete(&missing)
}

/// Brings what the tests need: no data set, they have a sample.
pub fn for_tests() -> Result<()> {
    let mut missing = Vec::new();
    tools(&Apt::find(), &mut missing);
    complete(&missing)
}

fn tools(apt: &Apt, missing: &mut Vec<String>) {
    compiler(apt, missing);
    emulator(apt, missing);
    runner(missing);
    if !aarch64::IS_HOST {
        other_host(apt);
    }
}

/// Whether nothing is missing; else the lines to type.
fn complete(missing: &[String]) -> Result<()> {
    if !missing.is_empty() {
        bail!("still missing; please type:\n  {}", missing.join("\n  "));
    }
    Ok(())
}

/// A compiler for the boards: rustup's where it has or gets the targets, else Debian's.
fn compiler(apt: &Apt, missing: &mut Vec<String>) {
    let name = "compiler for the boards";
    match Toolchain::find() {
        Ok(Some(found)) => return there(name, found.describe()),
        Ok(None) => {}
        Err(error) => return missing.push(format!("# {error}")),
    }
    let targets: Vec<_> = BOARDS.iter().map(|board| board.target).collect();
    if Toolchain::wants_rustup() && command::exists("rustup") {
        let mut rustup = Command::new("rustup");
        rustup.args(["target", "add"]).args(&targets);
        match command::output_within(&mut rustup, RUSTUP_LIMIT) {
            Ok(_) => return installed(name, &format!("`{}`", command::line(&rustup))),
            Err(error) => println!("  {name}: rustup could not add the targets: {error:#}"),
        }
    }
    match apt.install(&DEBIAN_PACKAGES) {
        Ok(()) => installed(name, Toolchain::Debian.describe()),
        Err(error) => {
            println!("  {name}: {error:#}");
            missing.push(format!(
                "rustup target add {}\n  # or, on Debian 12: {}",
                targets.join(" "),
                Apt::to_type(&DEBIAN_PACKAGES)
            ));
        }
    }
}

/// QEMU for Arm.
fn emulator(apt: &Apt, missing: &mut Vec<String>) {
    let name = "emulator";
    if command::exists("qemu-system-arm") {
        return there(name, "qemu-system-arm");
    }
    match apt.install(&["qemu-system-arm"]) {
        Ok(()) => installed(name, "qemu-system-arm"),
        Err(error) => {
            println!("  {name}: {error:#}");
            missing.push(Apt::to_type(&["qemu-system-arm"]));
        }
    }
}

/// What emulates a host on aarch64. The tests of its kernels are left out where it cannot be had.
fn other_host(apt: &Apt) {
    let name = "host on aarch64, emulated";
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", aarch64::TARGET]);
    let missing = aarch64::missing().unwrap_or_default();
    match bring(&missing, &mut rustup, apt) {
        Ok(()) if missing.is_empty() => there(name, aarch64::EMULATOR),
        Ok(()) => installed(name, &missing.join(", ")),
        Err(error) => println!(
            "  {name}: {error:#}\n    to have it: {}; {}",
            command::line(&rustup),
            Apt::to_type(&[PROGRAM_EMULATOR])
        ),
    }
}

/// Brings what is `missing` for it.
fn bring(missing: &[&str], rustup: &mut Command, apt: &Apt) -> Result<()> {
    if missing.contains(&aarch64::TARGET) {
        command::output_within(rustup, RUSTUP_LIMIT)?;
    }
    if missing.contains(&aarch64::EMULATOR) {
        apt.install(&[PROGRAM_EMULATOR])?;
    }
    Ok(())
}

/// The runner that decodes messages.
fn runner(missing: &mut Vec<String>) {
    let [program, version] = QEMU_RUN;
    if command::exists(program) {
        return there("decoder of messages", program);
    }
    let mut cargo = Command::new("cargo");
    // It waits for the emulator most of the time: optimising it would only take longer.
    cargo.args(["install", program, "--version", version, "--locked", "--debug", "--quiet"]);
    println!("  decoder of messages: `{}`, about a minute …", command::line(&cargo));
    match command::run(cargo.env("CARGO_PROFILE_DEV_DEBUG", "0")) {
        Ok(()) => installed("decoder of messages", program),
        Err(error) => {
            println!("  decoder of messages: {error:#}");
            missing.push(format!("cargo install {program} --version {version} --locked"));
        }
    }
}

/// Fashion-MNIST: a Debian package, or a folder that is already there.
fn clothes(apt: &Apt, missing: &mut Vec<String>) {
    let name = "clothes (Fashion-MNIST)";
    if let Some(folder) = data::clothes() {
        return there(name, &folder.display().to_string());
    }
    match apt.install(&["dataset-fashion-mnist"]) {
        Ok(()) => installed(name, "dataset-fashion-mnist"),
        Err(error) => {
            println!("  {name}: {error:#}");
            missing.push(format!(
                "cargo run --release -p seedmask-trainer -- data fetch clothes\n  \
                 # or, on Debian: {}",
                Apt::to_type(&["dataset-fashion-mnist"])
            ));
        }
    }
}

/// MNIST is welcome, not needed: without it the demo's second task is clothes turned by 90°.
fn digits() {
    match data::digits() {
        Some(folder) => there("digits (MNIST)", &folder.display().to_string()),
        None => println!(
            "  digits (MNIST): nowhere found, so the demo's second task is clothes turned by 90°\n    \
             to have them: cargo run --release -p seedmask-trainer -- data fetch digits"
        ),
    }
}

fn there(name: &str, what: &str) {
    println!("  {name}: {what}");
}

fn installed(name: &str, what: &str) {
    println!("  {name}: installed {what}");
}

/// `apt-get`, as root or through a `sudo` that asks for no password.
struct Apt {
    /// The words before the arguments; empty where apt-get cannot be used.
    words: Vec<PathBuf>,
}

impl Apt {
    fn find() -> Self {
        let words: &[&str] = if !command::exists("apt-get") {
            &[]
        } else if succeeds(Command::new("sh").args(["-c", "test $(id -u) = 0"])) {
            &["apt-get"]
        } else if succeeds(Command::new("sudo").args(["-n", "true"])) {
            &["sudo", "-n", "apt-get"]
        } else {
            &[]
        };
        Self { words: words.iter().map(Path::new).map(PathBuf::from).collect() }
    }

    /// Installs Debian packages; brings the lists up to date first.
    fn install(&self, packages: &[&str]) -> Result<()> {
        let Some((program, words)) = self.words.split_first() else {
            bail!("apt-get is not there, or neither root nor `sudo -n` works");
        };
        println!("  apt-get install {} …", packages.join(" "));
        let apt = || {
            let mut command = Command::new(program);
            command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
            command
        };
        command::output(apt().args(["update", "-q"]))?;
        command::output(
            apt().args(["install", "-q", "-y", "--no-install-recommends"]).args(packages),
        )?;
        Ok(())
    }

    /// The line for people to type.
    fn to_type(packages: &[&str]) -> String {
        format!("sudo apt-get install {}", packages.join(" "))
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|out| out.status.success())
}
