//! The runtime with every layer and the loop of the demo, without messages: what `cargo xtask size`
//! weighs.
#![no_std]
#![no_main]

use core::hint::black_box;

use board as _;
use seedmask::Arena;
use seedmask_app::{
    content::{ARENA, ARTIFACT, IMAGES},
    quiet,
};
use seedmask_support::{exit, plain, stack};
use static_cell::ConstStaticCell;

static MEMORY: ConstStaticCell<Arena<ARENA>> = ConstStaticCell::new(Arena::new());

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    exit::exit(false)
}

#[cortex_m_rt::entry]
fn main() -> ! {
    // Another model may be flashed beside this program: it is not made for one.
    let right = quiet::run(black_box(&ARTIFACT), black_box(&IMAGES), MEMORY.take());
    plain::write("right", right.unwrap_or(0) as usize);
    plain::write("stack", stack::peak());
    exit::exit(right.is_some())
}
