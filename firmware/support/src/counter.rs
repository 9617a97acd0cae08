//! Instructions counted by SysTick.
//!
//! Under QEMU's `-icount shift=6` an instruction lasts 64 ns of the emulated clock, whatever it
//! is, and SysTick runs at the core's clock: so ticks tell instructions, exactly and repeatably.
//! They are instructions, not cycles.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::{SYST, syst::SystClkSource};
use cortex_m_rt::exception;

/// SysTick counts down through this many values: all its 24 bits.
const PERIOD: u32 = 1 << 24;

/// Times that SysTick has wrapped since the counter was made.
static WRAPS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    // One writer, which nothing interrupts: no read-modify-write instruction is needed, and the
    // M0 has none.
    WRAPS.store(WRAPS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// How many ticks an instruction lasts, as a fraction: it depends on the board's core clock.
#[derive(Clone, Copy)]
pub struct Rate {
    /// Ticks that `instructions` last.
    pub ticks: u32,
    /// Instructions that last `ticks`.
    pub instructions: u32,
}

/// A counter of the instructions executed since it was made.
///
/// A wrap of SysTick, every 10 to 16 million instructions, adds the handful that its handler
/// takes.
pub struct Counter {
    _syst: SYST,
    rate: Rate,
}

impl Counter {
    /// Starts SysTick at its longest period, with its interrupt.
    pub fn new(mut syst: SYST, rate: Rate) -> Self {
        syst.set_clock_source(SystClkSource::Core);
        syst.set_reload(PERIOD - 1);
        syst.clear_current();
        syst.enable_interrupt();
        syst.enable_counter();
        // The first tick loads the counter.
        while SYST::get_current() == 0 {}
        Self { _syst: syst, rate }
    }

    /// Instructions since the counter was made; exact to one or two.
    pub fn instructions(&self) -> u64 {
        let ticks = loop {
            let before = WRAPS.load(Ordering::Relaxed);
            let now = SYST::get_current();
            if before == WRAPS.load(Ordering::Relaxed) {
                break u64::from(before) * u64::from(PERIOD) + u64::from(PERIOD - 1 - now);
            }
        };
        ticks * u64::from(self.rate.instructions) / u64::from(self.rate.ticks)
    }

    /// Counts a loop of known length and returns `(expected, counted)`: differences of two runs,
    /// so that what surrounds the loop does not enter.
    pub fn check(&self, turns: u32) -> (u64, u64) {
        let short = self.count_loop(1);
        let long = self.count_loop(1 + turns);
        (2 * u64::from(turns), long - short)
    }

    /// Instructions counted around a loop of two instructions a turn; `turns` must not be 0.
    #[inline(never)]
    fn count_loop(&self, turns: u32) -> u64 {
        let start = self.instructions();
        // SAFETY: counts a register down to zero, touches flags only.
        unsafe {
            core::arch::asm!(
                "2:",
                "subs {n}, {n}, #1",
                "bne 2b",
                n = inout(reg) turns => _,
                options(nomem, nostack)
            );
        }
        self.instructions() - start
    }
}
