//! Classifies the images that it carries, with every task of the model, and prints predictions,
//! instructions per inference and the peak of the stack.
#![no_std]
#![no_main]

use defmt_semihosting as _;
use seedmask::Arena;
use seedmask_app::{
    content::{ARENA, ARTIFACT, IMAGES},
    demo,
};
use seedmask_support::{exit, stack};
use static_cell::ConstStaticCell;

static MEMORY: ConstStaticCell<Arena<ARENA>> = ConstStaticCell::new(Arena::new());

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    exit::panicked(info)
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let counter = board::counter();
    let ok = demo::run(&ARTIFACT, &IMAGES, MEMORY.take(), || counter.instructions());
    defmt::info!("peak of the stack, messages included: {=usize} bytes", stack::peak());
    exit::exit(ok)
}
