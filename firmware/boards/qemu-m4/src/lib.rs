//! `mps2-an386`: QEMU's Cortex-M4F, 25 MHz.
#![no_std]

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

unsafe extern "C" {
    /// cortex-m-rt's handler of interrupts that have none of their own.
    fn DefaultHandler();
}

/// The vectors of the machine's 32 interrupts, none of which is used. Without this table
/// cortex-m-rt links the longest that a Cortex-M4 may have: 240.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
pub static __INTERRUPTS: [unsafe extern "C" fn(); 32] = [DefaultHandler; 32];
