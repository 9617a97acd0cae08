//! Runs the case table with every kernel.
#![no_std]
#![no_main]

use board as _;
use defmt_semihosting as _;
use seedmask::Arena;
use seedmask_app::{
    cases,
    content::{CASES, CASES_ARENA},
};
use seedmask_support::exit;
use static_cell::ConstStaticCell;

static MEMORY: ConstStaticCell<Arena<CASES_ARENA>> = ConstStaticCell::new(Arena::new());

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    exit::panicked(info)
}

#[cortex_m_rt::entry]
fn main() -> ! {
    exit::exit(cases::run(CASES, MEMORY.take()))
}
