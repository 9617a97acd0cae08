//! A row of weights as two lists of offsets: a Rice code or a mask bit at a time, to the list of its
//! weight's sign.

use core::arch::naked_asm;

use crate::mask::Reader;
use crate::random::WORD;

/// How far sign words are turned to the left of what the generator gives.
pub(super) const TURN: u32 = 24;

/// Words that lists may take beyond their limit: as many taps of a sign as a window has codes, and the one
/// that was read before it.
pub(super) const BEYOND: usize = 2 * (WORD + 1);

/// Where the lists of a row go, and what their entries are.
pub(super) struct Lists<'s> {
    /// The offset of each input: in the order of the inputs for codes, of their bits for masks.
    pub table: &'s [u16],
    /// The next entry of plus and of minus taps; those of a list are two words apart.
    pub plus: *mut u32,
    pub minus: *mut u32,
    /// [`BEYOND`] words from here on can be written.
    pub limit: *const u32,
}

/// What [`read_codes`] works on: r1 to r12.
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
    limit: *const u32,
}

/// What [`read_words`] works on: r1 to r7.
#[repr(C)]
struct Words {
    masks: *const u32,
    end: *const u32,
    signs: *const u32,
    table: *const u16,
    plus: *mut u32,
    minus: *mut u32,
    limit: *const u32,
}

impl<'s> Lists<'s> {
    /// Lists from the beginning of `memory` on: plus taps at even places, minus taps at odd ones. `None`
    /// where there is no room.
    pub(super) fn new(table: &'s [u16], memory: &mut [u32]) -> Option<Self> {
        let limit = memory.len().checked_sub(BEYOND)?;
        let plus = memory.as_mut_ptr();
        let limit = plus.wrapping_add(limit).cast_const();
        Some(Self { table, plus, minus: plus.wrapping_add(1), limit })
    }

    /// Adds the kept weights of the row of `inputs` whose flat indices begin at `start`: the reader stands
    /// at the first one. `signs` has a word for every 32 inputs, turned by [`TURN`]. Gives whether
    /// there was room for all.
    ///
    /// # Safety
    /// Words up to the limit and [`BEYOND`] can be written where the lists go.
    pub(super) unsafe fn read_codes(
        &mut self,
        reader: &mut Reader,
        start: u32,
        inputs: usize,
        signs: &[u32],
    ) -> bool {
        let end = inputs.min(self.table.len()).min(signs.len() * WORD) as u32;
        while self.has_room() {
            let bytes = reader.bytes.as_ptr_range();
            let mut state = State {
                window: reader.window,
                bits: reader.bits,
                next: bytes.start.wrapping_add(reader.next),
                last: bytes.end.wrapping_sub(4),
                code: reader.parameter + 1,
                low: (1 << reader.parameter) - 1,
                index: reader.flat.wrapping_sub(start),
                end,
                signs: signs.as_ptr(),
                table: self.table.as_ptr(),
                plus: self.plus,
                minus: self.minus,
                limit: self.limit,
            };
            // SAFETY: words are read up to the last of the bytes, the table and signs up to `end`; the
            // rest is the caller's.
            unsafe { read_codes(&mut state) };
            (self.plus, self.minus) = (state.plus, state.minus);
            (reader.window, reader.bits) = (state.window, state.bits);
            reader.next = (state.next as usize).wrapping_sub(bytes.start as usize);
            reader.flat = start.saturating_add(state.index);
            if state.index >= end {
                return true;
            }
            // The code behind this kept weight is a long one, or among the last bytes.
            reader.advance_beyond_window();
        }
        false
    }

    /// Adds the kept weights of mask words with their sign words; gives whether there was room for all.
    ///
    /// # Safety
    /// As [`Lists::read_codes`].
    pub(super) unsafe fn read_words(&mut self, masks: &[u32], signs: &[u32]) -> bool {
        let count = masks.len().min(signs.len()).min(self.table.len() / WORD);
        let mut words = Words {
            masks: masks.as_ptr(),
            end: masks.as_ptr().wrapping_add(count),
            signs: signs.as_ptr(),
            table: self.table.as_ptr(),
            plus: self.plus,
            minus: self.minus,
            limit: self.limit,
        };
        // SAFETY: all of `count` words, and 32 entries of the table for each; the rest is the caller's.
        unsafe { read_words(&mut words) };
        (self.plus, self.minus) = (words.plus, words.minus);
        words.masks == words.end
    }

    /// Whether a window of codes surely has.
    fn has_room(&self) -> bool {
        self.plus.cast_const() <= self.limit && self.minus.cast_const() <= self.limit
    }
}

/// Writes the taps of the kept weights up to the one at or behind `end`, or to the one whose next code
/// does not lie in words of the stream whole, or where a list is beyond its limit; such a one is
/// written.
///
/// # Safety
/// As [`Lists::read_codes`]; the window ends at `next`, and words up to `last` can be read.
#[unsafe(naked)]
unsafe extern "C" fn read_codes(state: *mut State) {
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
        "ldr lr, [r4, #48]",
        "ldr r4, [r4, #12]",
        "cmp r11, lr",
        "bhi 6f",
        "cmp r12, lr",
        "bhi 6f",
        "add lr, r2, #7",
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

/// Writes the taps of all words, or of those before a list is beyond its limit.
///
/// # Safety
/// As [`Lists::read_words`].
#[unsafe(naked)]
unsafe extern "C" fn read_words(words: *mut Words) {
    naked_asm!(
        cpu!(),
        "push {{r0, r4-r11, lr}}",
        "ldm r0, {{r1-r7}}",
        "mov r8, #0x80000000",
        "b 3f",
        ".balign 4",
        // The highest bit of r9, whose sign is at the same bit of r10.
        "1:",
        "clz r11, r9",
        "lsls r12, r10, r11",
        "ldrh r12, [r4, r11, lsl #1]",
        "lsr r0, r8, r11",
        "ite mi",
        "strmi r12, [r6], #8",
        "strpl r12, [r5], #8",
        "bics r9, r9, r0",
        "bne 1b",
        "2:",
        "adds r4, #64",
        // The next word.
        "3:",
        "cmp r1, r2",
        "beq 4f",
        "cmp r5, r7",
        "bhi 4f",
        "cmp r6, r7",
        "bhi 4f",
        "ldr r9, [r1], #4",
        "ldr r10, [r3], #4",
        "cmp r9, #0",
        "bne 1b",
        "b 2b",
        "4:",
        "pop {{r0}}",
        "str r1, [r0]",
        "strd r5, r6, [r0, #16]",
        "pop {{r4-r11, pc}}",
    )
}
