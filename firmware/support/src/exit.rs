//! The end of a program: an exit code through semihosting, which QEMU makes its own.

use core::panic::PanicInfo;

/// Ends the emulator with exit code 0 if `ok`, else 1.
pub fn exit(ok: bool) -> ! {
    semihosting::process::exit(if ok { 0 } else { 1 })
}

/// Reports where a program panicked and ends it with exit code 1; for `#[panic_handler]`.
///
/// The message's text is left out: formatting it would link `core::fmt`.
pub fn panicked(info: &PanicInfo) -> ! {
    match info.location() {
        Some(at) => defmt::error!("panicked at {=str}:{=u32}", at.file(), at.line()),
        None => defmt::error!("panicked"),
    }
    exit(false)
}
