//! `microbit`: QEMU's nRF51822, a Cortex-M0 at 16 MHz with 256 KB of flash and 16 KB of RAM.
#![no_std]

use cortex_m_rt as _;
use seedmask_support::counter::{Counter, Rate};

/// At 16 MHz a tick lasts 62.5 ns, an instruction 64 ns.
const RATE: Rate = Rate { ticks: 128, instructions: 125 };

/// The counter of instructions. To be called once.
///
/// # Panics
/// When called a second time.
pub fn counter() -> Counter {
    Counter::new(cortex_m::Peripherals::take().unwrap().SYST, RATE)
}
