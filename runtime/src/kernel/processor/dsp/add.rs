//! Residual connections, four bytes at a time.

use core::arch::asm;

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
/// a register: exact where the scales have no finer digits, as none above 2⁻⁵ has.
#[derive(Clone, Copy)]
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

    /// Four outputs.
    #[inline(always)]
    fn apply(self, left: u32, right: u32) -> u32 {
        let sum;
        // SAFETY: registers only.
        unsafe {
            asm!(
                // No activation has the bit that would move into its neighbour.
                "lsl {l}, {l}, {doubled}",
                "lsl {r}, {r}, {doubled}",
                // [l0 l1 r0 r1] and [l2 l3 r2 r3], then one left and one right in two halves
                "pkhbt {a}, {l}, {r}, lsl #16",
                "pkhtb {c}, {r}, {l}, asr #16",
                "uxtb16 {b}, {a}, ror #8",
                "uxtb16 {a}, {a}",
                "uxtb16 {d}, {c}, ror #8",
                "uxtb16 {c}, {c}",
                "smlad {a}, {a}, {scales}, {shift}",
                "smlad {b}, {b}, {scales}, {shift}",
                "smlad {c}, {c}, {scales}, {shift}",
                "smlad {d}, {d}, {scales}, {shift}",
                // Upper halves side by side, clamped, then bytes in their order.
                "pkhtb {a}, {c}, {a}, asr #16",
                "pkhtb {b}, {d}, {b}, asr #16",
                "usat16 {a}, #7, {a}",
                "usat16 {b}, #7, {b}",
                "orr {a}, {a}, {b}, lsl #8",
                "usub8 {b}, {a}, {low}",
                "sel {a}, {a}, {low}",
                l = inout(reg) left => _,
                r = inout(reg) right => _,
                scales = in(reg) self.scales,
                shift = in(reg) self.shift,
                doubled = in(reg) self.doubled,
                low = in(reg) self.low,
                a = out(reg) sum,
                b = out(reg) _,
                c = out(reg) _,
                d = out(reg) _,
                options(pure, nomem, nostack),
            );
        }
        sum
    }
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
    let [left, right, out] = starts.map(|start| unsafe { base.add(start) });
    let whole = bytes & !3;
    for at in (0..whole).step_by(4) {
        // SAFETY: four bytes of each from `at` on were checked; no alignment is assumed.
        unsafe {
            let word = |map: *mut u8| map.add(at).cast::<u32>().read_unaligned();
            let sum = rule.apply(word(left), word(right));
            out.add(at).cast::<u32>().write_unaligned(sum);
        }
    }
    for at in whole..bytes {
        // SAFETY: one byte of each at `at` was checked.
        unsafe {
            let byte = |map: *mut u8| u32::from(map.add(at).read());
            out.add(at).write(rule.apply(byte(left), byte(right)) as u8);
        }
    }
    Some(())
}
