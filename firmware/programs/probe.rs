//! Links every public entry to the runtime. It is looked at, not run: `cargo xtask test` finds no
//! panic, no formatting and, on a core without floating point, no float helper in it.
#![no_std]
#![no_main]

use core::hint::black_box;

use board as _;
use seedmask_app::probe;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    a_panic_is_reachable()
}

/// In the program only if something can panic.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn a_panic_is_reachable() -> ! {
    loop {
        black_box(());
    }
}

/// What the checks must find: proof that they look.
#[cfg(feature = "faulty-probe")]
fn fault(bytes: &[u8]) -> usize {
    let float = black_box(bytes.len() as f32) * black_box(1.5);
    usize::from(bytes[black_box(3)]) + float as usize
}

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut ARENA: [u32; 256] = [0; 256];
    let bytes = black_box(&[1u8, 2, 3][..]);
    let arena = ARENA.as_mut_slice();
    // SAFETY: any bytes make four-byte words and the reverse.
    let (_, arena, _) = unsafe { arena.align_to_mut::<u8>() };
    loop {
        black_box(probe::call_everything(bytes, bytes, arena));
        #[cfg(feature = "faulty-probe")]
        black_box(fault(bytes));
    }
}
