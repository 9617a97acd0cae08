//! Residual connections, four bytes at a time.

use core::arch::naked_asm;

use super::holds;
use crate::epilogue::HALF;
use crate::kernel::{General, Kernels, Placed, Planes};
use crate::layer::Add;

pub(super) fn add(add: &Add, memory: &mut [u8], left: &Placed, right: &Placed, y: &Placed) {
    if rule(add).and_then(|rule| rows(&rule, memory, [left, right, y])).is_none() {
        General::add(add, memory, left, right, y);
    }
}

/// A rule as one of the routines has it.
struct Rule {
    constants: [u32; 4],
    routine: unsafe extern "C" fn(*const u8, *const u8, *mut u8, *mut u8, &[u32; 4]),
}

/// A byte four times.
fn bytes(byte: u8) -> u32 {
    u32::from(byte) * 0x0101_0101
}

/// Scales of 1 are left and right and a whole number. Others are in units of 2⁻¹⁶ (2⁻¹⁵ and every input
/// doubled), so that an output is the upper half of a register: exact where the scales have no finer
/// digits, as none above 2⁻⁵ has.
fn rule(add: &Add) -> Option<Rule> {
    const ONE: i32 = 1 << 24;
    /// Inputs times scales are at most 2·127·2¹⁶ below this.
    const LIMIT: u32 = 1 << 30;
    let (scales, shift) = add.fixed_point()?;
    // |shift| < 2⁴¹.
    let units = (shift + HALF) >> 8;
    let shift = i32::try_from(units).ok().filter(|shift| shift.unsigned_abs() < LIMIT)?;
    let low = bytes(add.low);
    if scales == [ONE, ONE] {
        let whole = shift >> 16;
        let part = |value: i32| bytes(value.clamp(0, 255) as u8);
        let constants = [part(-whole), part(whole), bytes(127), low];
        return Some(Rule { constants, routine: add_equal_steps });
    }
    let right = if scales.iter().all(|scale| i16::try_from(scale >> 8).is_ok()) { 8 } else { 9 };
    let halves = scales.map(|scale| scale >> right);
    let exact = |at: usize| scales[at] == halves[at] << right && i16::try_from(halves[at]).is_ok();
    let constants =
        [halves[0] as u32 & 0xffff | (halves[1] as u32) << 16, shift as u32, right - 8, low];
    (exact(0) && exact(1)).then_some(Rule { constants, routine: add_scaled })
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
/// then, until the caller fills them. `None` where a map does not lie in `memory`, and where rows are no
/// whole words.
fn rows(rule: &Rule, memory: &mut [u8], maps: [&Placed; 3]) -> Option<()> {
    let y = maps[2].planes;
    let [mut channels, mut rows, mut bytes] = [y.channels, y.rows(), y.row_bytes()];
    let (mut alike, mut fit) = (true, true);
    for map in maps {
        let size = [map.planes.channels, map.planes.rows(), map.planes.row_bytes()];
        alike &= Planes { zero_point: y.zero_point, ..map.planes } == y;
        fit &= size[0] >= channels && size[1] >= rows && size[2] >= bytes && holds(memory, map);
    }
    if alike {
        [channels, rows, bytes] = [1, 1, y.len()];
        // What is less than a word behind a halo's beginning is filled afterwards.
        if y.pad > 0 {
            bytes &= !3;
        }
    }
    if !fit || bytes % 4 != 0 || bytes == 0 {
        return None;
    }
    let base = memory.as_mut_ptr();
    for channel in 0..channels {
        for row in 0..rows {
            let start = |map: &Placed| if alike { map.start } else { map.row_start(channel, row) };
            // SAFETY: `memory` holds all maps, whose rows have as many bytes and more; no alignment is
            // assumed.
            unsafe {
                let [left, right, sums] = maps.map(|map| base.add(start(map)));
                (rule.routine)(left, right, sums, sums.add(bytes), &rule.constants);
            }
        }
    }
    Some(())
}
