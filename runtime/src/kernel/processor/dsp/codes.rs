//! A row of Rice codes as two lists of offsets: a code at a time from the window to the list of its
//! weight's sign.

use core::arch::naked_asm;

use crate::mask::Reader;

/// How far sign words are turned to the left of what the generator gives.
pub(super) const TURN: u32 = 24;

/// Where the lists of a row go, and what their entries are.
pub(super) struct Lists<'s> {
    /// A word for every 32 inputs, turned by [`TURN`].
    pub signs: &'s [u32],
    /// The offset of each input.
    pub table: &'s [u16],
    /// The next entry of plus and of minus taps; those of a list are two words apart.
    pub plus: *mut u32,
    pub minus: *mut u32,
}

/// What [`read`] works on: r1 to r12.
#[repr(C)]
struct State {
    window: u32,
    bits: u32,
    /// Behind the window.
    next: *const u8,
    /// The last word that may be read.
    last: *const u8,
    /// Bits of a code without its zeros, and those below the first 1.
    code: u32,
    low: u32,
    /// Input of the kept weight that the reader stands at, and where to stop.
    index: u32,
    end: u32,
    signs: *const u32,
    table: *const u16,
    plus: *mut u32,
    minus: *mut u32,
}

impl Lists<'_> {
    /// Adds the kept weights before input `end` of the row whose flat indices begin at `start`; gives
    /// the input of the first one behind.
    ///
    /// # Safety
    /// `end` is at most the inputs of the row, and each list has room for every kept weight.
    pub(super) unsafe fn read(&mut self, reader: &mut Reader, start: u32, end: usize) -> usize {
        debug_assert!(end <= self.table.len() && end.div_ceil(32) <= self.signs.len());
        loop {
            let bytes = reader.bytes.as_ptr_range();
            let mut state = State {
                window: reader.window,
                bits: reader.bits,
                next: bytes.start.wrapping_add(reader.next),
                last: bytes.end.wrapping_sub(4),
                code: reader.parameter + 1,
                low: (1 << reader.parameter) - 1,
                index: reader.flat.wrapping_sub(start),
                end: end as u32,
                signs: self.signs.as_ptr(),
                table: self.table.as_ptr(),
                plus: self.plus,
                minus: self.minus,
            };
            // SAFETY: words are read up to the last of the bytes; the rest is the caller's.
            unsafe { read(&mut state) };
            (self.plus, self.minus) = (state.plus, state.minus);
            (reader.window, reader.bits) = (state.window, state.bits);
            reader.next = (state.next as usize).wrapping_sub(bytes.start as usize);
            reader.flat = start.saturating_add(state.index);
            if state.index >= end as u32 {
                return state.index as usize;
            }
            // The code behind this kept weight is a long one, or among the last bytes.
            reader.advance();
        }
    }
}

/// Writes the taps of the kept weights up to the one at or behind `end`, or to the one whose next code
/// does not lie in words of the stream whole; such a one is written.
///
/// # Safety
/// As [`Lists::read`]; the window ends at `next`, and words up to `last` can be read.
#[unsafe(naked)]
unsafe extern "C" fn read(state: *mut State) {
    naked_asm!(
        cpu!(),
        "push {{r0, r4-r11, lr}}",
        "ldm r0, {{r1-r12}}",
        "b 4f",
        ".balign 4",
        // The kept weight at r7. The sign of input 4q + r is at bit 8r − q − 1 of its turned word.
        "2:",
        "lsr r0, r7, #5",
        "and r4, r7, #3",
        "ubfx lr, r7, #2, #3",
        "ldr r0, [r9, r0, lsl #2]",
        "rsb lr, lr, r4, lsl #3",
        "ldrh r4, [r10, r7, lsl #1]",
        "rors r0, r0, lr",
        "ite mi",
        "strmi r4, [r12], #8",
        "strpl r4, [r11], #8",
        // The next code: zeros, a 1, low bits.
        "3:",
        "rbit r0, r1",
        "clz r0, r0",
        "add lr, r0, r5",
        "subs r2, r2, lr",
        "blo 5f",
        "lsr lr, r1, r0",
        "lsr r1, lr, r5",
        "and lr, r6, lr, lsr #1",
        "lsl r0, r0, r5",
        // The carry is set.
        "adc r7, r7, lr",
        "add r7, r7, r0, lsr #1",
        "4:",
        "cmp r7, r8",
        "blo 2b",
        "b 6f",
        // The window as of the first unread byte.
        "5:",
        "add r2, r2, lr",
        "cmp r2, #25",
        "bhs 6f",
        "ldr r4, [sp]",
        "add lr, r2, #7",
        "ldr r4, [r4, #12]",
        "sub r0, r3, lr, lsr #3",
        "cmp r0, r4",
        "bhi 6f",
        "negs lr, r2",
        "and lr, lr, #7",
        "ldr r1, [r0], #4",
        "rsb r2, lr, #32",
        "lsr r1, r1, lr",
        "mov r3, r0",
        "b 3b",
        "6:",
        "pop {{r0}}",
        "stm r0, {{r1-r3}}",
        "str r7, [r0, #24]",
        "strd r11, r12, [r0, #40]",
        "pop {{r4-r11, pc}}",
    )
}
