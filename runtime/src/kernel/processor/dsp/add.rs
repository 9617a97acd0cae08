//! Residual connections, four bytes at a time.

use core::arch::naked_asm;

use super::holds;
use crate::kernel::{General, Kernels, Placed};
use crate::layer::Add;

pub(super) fn add(add: &Add, memory: &mut [u8], left: Placed, right: Placed, y: Placed) {
    let rule = equal_steps(add).or_else(|| scaled(add));
    let done = rule.and_then(|rule| rows(rule, memory, &left, &right, &y));
    if done.is_none() {
        General::add(add, memory, left, right, y);
    }
}

/// A rule as one of the routines has it.
#[derive(Clone, Copy)]
struct Rule {
    constants: [u32; 4],
    routine: unsafe extern "C" fn(*const u8, *const u8, *mut u8, *mut u8, &[u32; 4]),
}

/// A byte four times.
fn bytes(byte: u8) -> u32 {
    u32::from(byte) * 0x0101_0101
}

/// Scales of 1: left and right and a whole number.
fn equal_steps(add: &Add) -> Option<Rule> {
    const ONE: i32 = 1 << 24;
    let ([ONE, ONE], shift) = add.fixed_point()? else { return None };
    let whole = (shift + (1 << 23)) >> 24;
    let part = |value: i64| bytes(value.clamp(0, 255) as u8);
    let constants = [part(-whole), part(whole), bytes(127), bytes(add.low)];
    Some(Rule { constants, routine: add_equal_steps })
}

/// Scales in units of 2⁻¹⁶ (2⁻¹⁵ and every input doubled), so that an output is the upper half of a
/// register: exact where the scales have no finer digits, as none above 2⁻⁵ has.
fn scaled(add: &Add) -> Option<Rule> {
    /// Inputs times scales are at most 2·127·2¹⁶ below this.
    const LIMIT: i64 = 1 << 30;
    let (scales, shift) = add.fixed_point()?;
    let shift = (shift + (1 << 23)) >> 8;
    [0, 1].into_iter().find_map(|doubled| {
        let [left, right] = scales.map(|scale| {
            let units = scale >> (8 + doubled);
            i16::try_from(units).ok().filter(|_| units << (8 + doubled) == scale)
        });
        let scales = u32::from(left? as u16) | u32::from(right? as u16) << 16;
        let fits = (-LIMIT..LIMIT).contains(&shift);
        let constants = [scales, shift as u32, doubled, bytes(add.low)];
        fits.then_some(Rule { constants, routine: add_scaled })
    })
}

/// Adds four bytes at a time until the end of the sums, which is not their start. The constants: what
/// is taken off, what is added, 127 and the smallest output, each in every byte.
///
/// # Safety
/// As [`add_scaled`].
#[unsafe(naked)]
unsafe extern "C" fn add_equal_steps(
    left: *const u8,
    right: *const u8,
    sums: *mut u8,
    end: *mut u8,
    constants: &[u32; 4],
) {
    naked_asm!(
        cpu!(),
        "push {{r4-r9, lr}}",
        "ldr r4, [sp, #28]",
        "ldm r4, {{r4, r5, r6, r7}}",
        ".p2align 2",
        "2:",
        "ldr r8, [r0], #4",
        "ldr r9, [r1], #4",
        // Two of seven bits are one of eight.
        "add r8, r8, r9",
        "uqsub8 r8, r8, r4",
        "uqadd8 r8, r8, r5",
        "usub8 r9, r8, r6",
        "sel r8, r6, r8",
        "usub8 r9, r8, r7",
        "sel r8, r8, r7",
        "str r8, [r2], #4",
        "cmp r2, r3",
        "bne 2b",
        "pop {{r4-r9, pc}}",
    )
}

/// Adds four bytes at a time until the end of the sums, which is not their start. The constants: scales
/// of left (lower half) and right as `i16`, shift and rounding, 0 or 1 where the inputs are doubled, the
/// smallest output in every byte.
///
/// # Safety
/// Left, right and sums are `end − sums` bytes each, a multiple of 4; the sums may lie where left or
/// right does.
#[unsafe(naked)]
unsafe extern "C" fn add_scaled(
    left: *const u8,
    right: *const u8,
    sums: *mut u8,
    end: *mut u8,
    constants: &[u32; 4],
) {
    naked_asm!(
        cpu!(),
        "push {{r4-r11, lr}}",
        "ldr r4, [sp, #36]",
        "ldm r4, {{r4, r5, r6, r7}}",
        ".p2align 2",
        "2:",
        "ldr r8, [r0], #4",
        "ldr r9, [r1], #4",
        // No activation has the bit that would move into its neighbour.
        "lsl r8, r8, r6",
        "lsl r9, r9, r6",
        // [l0 l1 r0 r1] and [l2 l3 r2 r3], then one left and one right in two halves
        "pkhbt r10, r8, r9, lsl #16",
        "pkhtb r11, r9, r8, asr #16",
        "uxtb16 r8, r10",
        "uxtb16 r9, r10, ror #8",
        "uxtb16 r10, r11",
        "uxtb16 r11, r11, ror #8",
        "smlad r8, r8, r4, r5",
        "smlad r9, r9, r4, r5",
        "smlad r10, r10, r4, r5",
        "smlad r11, r11, r4, r5",
        // Upper halves side by side, clamped, then bytes in their order.
        "pkhtb r8, r10, r8, asr #16",
        "pkhtb r9, r11, r9, asr #16",
        "usat16 r8, #7, r8",
        "usat16 r9, #7, r9",
        "orr r8, r8, r9, lsl #8",
        "usub8 r9, r8, r7",
        "sel r8, r8, r7",
        "str r8, [r2], #4",
        "cmp r2, r3",
        "bne 2b",
        "pop {{r4-r11, pc}}",
    )
}

/// Adds row by row, or all at once where the three are laid out alike: their halos are sums of halos
/// then, until the caller fills them. `None` where a map does not lie in `memory`.
fn rows(rule: Rule, memory: &mut [u8], left: &Placed, right: &Placed, y: &Placed) -> Option<()> {
    let shape = |map: &Placed| {
        let planes = map.planes;
        (planes.channels, planes.rows(), planes.row_bytes(), planes.pad)
    };
    let maps = [left, right, y];
    if !maps.into_iter().all(|map| holds(memory, map)) {
        return None;
    }
    if maps.into_iter().all(|map| shape(map) == shape(y)) {
        return run(rule, memory, maps.map(|map| map.start), y.planes.len());
    }
    let within = |map: &Placed| {
        let ((channels, rows, bytes, _), whole) = (shape(y), shape(map));
        channels <= whole.0 && rows <= whole.1 && bytes <= whole.2
    };
    if !maps.into_iter().all(within) {
        return None;
    }
    for channel in 0..y.planes.channels {
        for row in 0..y.planes.rows() {
            let starts = maps.map(|map| map.row_start(channel, row));
            run(rule, memory, starts, y.planes.row_bytes())?;
        }
    }
    Some(())
}

/// Adds `bytes` bytes; the last start is that of the sums. `None` where they do not lie in `memory`.
#[inline(always)]
fn run(rule: Rule, memory: &mut [u8], starts: [usize; 3], bytes: usize) -> Option<()> {
    let ends = starts.map(|start| start.checked_add(bytes));
    if !ends.into_iter().all(|end| end.is_some_and(|end| end <= memory.len())) {
        return None;
    }
    let base = memory.as_mut_ptr();
    // SAFETY: `bytes` bytes from each start on lie inside of `memory`.
    let [left, right, sums] = starts.map(|start| unsafe { base.add(start) });
    let whole = bytes & !3;
    if whole > 0 {
        // SAFETY: `whole` bytes of each were checked; no alignment is assumed.
        unsafe { (rule.routine)(left, right, sums, sums.add(whole), &rule.constants) };
    }
    for at in whole..bytes {
        let mut sum = [0; 4];
        // SAFETY: one byte of each at `at` was checked; the words have four of their own.
        unsafe {
            let word = |map: *mut u8| [map.add(at).read(), 0, 0, 0];
            let (left, right, out) = (word(left), word(right), sum.as_mut_ptr());
            (rule.routine)(left.as_ptr(), right.as_ptr(), out, out.add(4), &rule.constants);
            sums.add(at).write(sum[0]);
        }
    }
    Some(())
}
