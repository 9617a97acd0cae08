//! What the bin `size` is but for the runtime: `cargo xtask size` weighs both.
#![no_std]
#![no_main]

use core::hint::black_box;

use board as _;
use seedmask_app::{
    content::{ARENA, IMAGES},
    quiet,
};
use seedmask_support::{exit, plain, stack};
use static_cell::ConstStaticCell;

static MEMORY: ConstStaticCell<[u8; ARENA]> = ConstStaticCell::new([0; ARENA]);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    exit::exit(false)
}

#[cortex_m_rt::entry]
fn main() -> ! {
    let right = quiet::bare(black_box(&IMAGES), MEMORY.take());
    plain::write("right", right.unwrap_or(0) as usize);
    plain::write("stack", stack::peak());
    exit::exit(right.is_some())
}
