//! Residual connections, four bytes at a time.

use core::arch::naked_asm;

use super::holds;
use crate::kernel::{Kernels, Placed, Words};
use crate::layer::Add;

pub(super) fn add(add: &Add, memory: &mut [u8], left: Placed, right: Placed, y: Placed) {
    let done = Narrow::new(add).and_then(|rule| rows(rule, memory, &left, &right, &y));
    if done.is_none() {
        Words::add(add, memory, left, right, y);
    }
}

/// The rule in units of 2⁻¹⁶ (2⁻¹⁵ and every input doubled), so that an output is the upper half of
/// a register: exact where the scales have no finer digits, as none above 2⁻⁵ has. The assembly
/// knows the order of the fields.
#[derive(Clone, Copy)]
#[repr(C)]
struct Narrow {
    /// Scales of left (lower half) and right, as `i16`.
    scales: u32,
    /// Shift and rounding.
    shift: u32,
    /// 0, or 1 where the inputs are doubled.
    doubled: u32,
    /// The smallest output in every byte.
    low: u32,
}

impl Narrow {
    fn new(add: &Add) -> Option<Self> {
        /// Inputs times scales are at most 2·127·2¹⁶ below this.
        const LIMIT: i64 = 1 << 30;
        let (scales, shift) = add.fixed_point()?;
        let shift = (shift + (1 << 23)) >> 8;
        let low = u32::from(add.low) * 0x0101_0101;
        [0, 1].into_iter().find_map(|doubled| {
            let [left, right] = scales.map(|scale| {
                let units = scale >> (8 + doubled);
                i16::try_from(units).ok().filter(|_| units << (8 + doubled) == scale)
            });
            let scales = u32::from(left? as u16) | u32::from(right? as u16) << 16;
            let fits = (-LIMIT..LIMIT).contains(&shift);
            fits.then_some(Self { scales, shift: shift as u32, doubled, low })
        })
    }
}

/// Adds four bytes at a time until the end of the sums, which is not their start.
///
/// # Safety
/// Left, right and sums are `end − sums` bytes each, a multiple of 4; the sums may lie where left or
/// right does.
#[unsafe(naked)]
unsafe extern "C" fn add_words(
    left: *const u8,
    right: *const u8,
    sums: *mut u8,
    end: *mut u8,
    rule: &Narrow,
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
fn rows(rule: Narrow, memory: &mut [u8], left: &Placed, right: &Placed, y: &Placed) -> Option<()> {
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
fn run(rule: Narrow, memory: &mut [u8], starts: [usize; 3], bytes: usize) -> Option<()> {
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
        unsafe { add_words(left, right, sums, sums.add(whole), &rule) };
    }
    for at in whole..bytes {
        let mut sum = [0; 4];
        // SAFETY: one byte of each at `at` was checked; the words have four of their own.
        unsafe {
            let word = |map: *mut u8| [map.add(at).read(), 0, 0, 0];
            let (left, right, out) = (word(left), word(right), sum.as_mut_ptr());
            add_words(left.as_ptr(), right.as_ptr(), out, out.add(4), &rule);
            sums.add(at).write(sum[0]);
        }
    }
    Some(())
}
