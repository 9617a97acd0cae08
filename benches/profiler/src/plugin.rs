//! The emulator with the plugin that counts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// The plugin, in C because QEMU loads shared libraries of that interface.
const SOURCE: &str = include_str!("../plugin.c");

/// Compiles the plugin into `folder` with `cc`, where it is not there yet; returns its path.
///
/// # Errors
/// Where there is no C compiler, or the folder cannot be written to.
pub fn compile(folder: &Path) -> Result<PathBuf> {
    let (source, library) = (folder.join("plugin.c"), folder.join("plugin.so"));
    if library.is_file() && fs::read_to_string(&source).is_ok_and(|text| text == SOURCE) {
        return Ok(library);
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // The library first: a compilation that fails leaves no source that seems to be compiled.
    let _ = fs::remove_file(&library);
    fs::write(&source, SOURCE).with_context(|| format!("cannot write {}", source.display()))?;
    let status = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status()
        .context("cannot start `cc`, which compiles the plugin: is a C compiler installed?")?;
    ensure!(status.success(), "`cc` could not compile {}", source.display());
    Ok(library)
}

/// The emulator's command line: `elf` on QEMU's `machine`, `pack` in its memory at `address`,
/// the record into `record`.
pub fn emulator(
    library: &Path,
    machine: &str,
    elf: &Path,
    pack: (&Path, u32),
    record: &Path,
) -> Command {
    let mut qemu = Command::new("qemu-system-arm");
    let (pack, address) = pack;
    qemu.args(["-machine", machine, "-display", "none", "-monitor", "none", "-serial", "none"])
        .args(["-chardev", "stdio,id=host"])
        .args(["-semihosting-config", "enable=on,target=native,chardev=host"])
        .arg("-device")
        .arg(format!("loader,file={},addr={address:#x},force-raw=on", pack.display()))
        .arg("-plugin")
        .arg(format!("{},out={}", library.display(), record.display()))
        .arg("-kernel")
        .arg(elf);
    qemu
}
