//! `mps2-an386`: QEMU's Cortex-M4F, 25 MHz.
#![no_std]

use cortex_m_rt as _;
use seedmask_support::counter::{Counter, Rate};

/// At 25 MHz a tick lasts 40 ns, an instruction 64 ns.
const RATE: Rate = Rate { ticks: 8, instructions: 5 };

/// The counter of instructions. To be called once.
///
/// # Panics
/// When called a second time.
pub fn counter() -> Counter {
    Counter::new(cortex_m::Peripherals::take().unwrap().SYST, RATE)
}
