//! Peak of the stack: start-up code paints the free RAM, and what no longer has its paint was used.

use cortex_m_rt::STACK_PAINT_VALUE;

unsafe extern "C" {
    // Set by cortex-m-rt's linker script. The stack grows down from `_stack_start`.
    static _stack_start: u32;
    static _stack_end: u32;
}

/// Bytes between the deepest word that the stack has reached so far and its start.
///
/// A word that happens to hold the paint's value is counted as untouched if nothing below it
/// was written.
pub fn peak() -> usize {
    let start = &raw const _stack_start as usize;
    let mut deepest = &raw const _stack_end;
    // SAFETY: `_stack_end.._stack_start` is aligned RAM that belongs to the stack alone and was
    // written by the start-up code; `read_volatile` because the stack lives there meanwhile.
    unsafe {
        while (deepest as usize) < start && deepest.read_volatile() == STACK_PAINT_VALUE {
            deepest = deepest.add(1);
        }
    }
    start - deepest as usize
}
