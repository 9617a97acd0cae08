//! Checks the counter of instructions against loops of known length.
#![no_std]
#![no_main]

use defmt_semihosting as _;
use seedmask_support::exit;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    exit::panicked(info)
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let counter = board::counter();
    let mut ok = true;
    // The longest lasts for several turns of SysTick.
    for turns in [100, 10_000, 1_000_000, 30_000_000] {
        let (expected, counted) = counter.check(turns);
        // Two for the granularity of a tick, and a few for each of SysTick's interrupts.
        let slack = 2 + expected / 200_000;
        ok &= counted.abs_diff(expected) <= slack;
        defmt::info!("loop of {=u64} instructions: counted {=u64}", expected, counted);
    }
    exit::exit(ok)
}
