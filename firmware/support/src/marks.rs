//! Marks around what the profiler of `benches/profiler` is to count: moves of a register to itself,
//! which have no effect and which no compiler emits. They are not counted themselves. Regions do
//! not nest.

use core::arch::asm;

/// Counting begins behind this.
#[inline(always)]
pub fn begin() {
    // Twice, as the emulator may not show the first instruction of a block that has no effect.
    // SAFETY: the instruction has no effect.
    unsafe { asm!("mov r10, r10", "mov r10, r10", options(nostack, preserves_flags)) }
}

/// Counting ends before this.
#[inline(always)]
pub fn end() {
    // SAFETY: the instruction has no effect.
    unsafe { asm!("mov r11, r11", options(nostack, preserves_flags)) }
}
