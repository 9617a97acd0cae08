//! Pools: the maximum of 2×2 windows, and averages over whole maps.

use core::arch::asm;

use super::holds;
use crate::kernel::reference::average;
use crate::kernel::{BANDS, Kernels, Placed, Words};
use crate::layer::{Pool, PoolKind, Window};

pub(super) fn pool(pool: &Pool, memory: &mut [u8], x: Placed, y: Placed) {
    let halving = pool.window == Window::square(2, 2, 0) && pool.kind == PoolKind::Max;
    let whole = pool.kind == PoolKind::Average && (y.planes.height, y.planes.width) == (1, 1);
    let done = match () {
        () if halving && x.planes.bands == y.planes.bands => halve(memory, &x, &y),
        () if whole && pool.window.padding == [0; 4] => means(pool, memory, &x, &y),
        () => None,
    };
    if done.is_none() {
        Words::pool(pool, memory, x, y);
    }
}

/// The larger byte of each pair.
#[inline(always)]
fn max4(a: u32, b: u32) -> u32 {
    let most;
    // SAFETY: registers only.
    unsafe {
        asm!(
            "usub8 {most}, {a}, {b}",
            "sel {most}, {a}, {b}",
            a = in(reg) a,
            b = in(reg) b,
            most = out(reg) most,
            options(pure, nomem, nostack),
        );
    }
    most
}

/// Maximum over 2×2, stride 2; `None` where a map does not lie in `memory` or is banded at an
/// address that is no multiple of 4.
fn halve(memory: &mut [u8], x: &Placed, y: &Placed) -> Option<()> {
    let (from, to) = (&x.planes, &y.planes);
    let fits = to.channels <= from.channels
        && to.width <= from.width / 2
        && to.rows() <= from.rows() / 2
        && holds(memory, x)
        && holds(memory, y);
    let banded = from.bands == usize::from(BANDS);
    let base = memory.as_mut_ptr();
    let starts = base.align_offset(4) == 0 && (x.start | y.start).is_multiple_of(4);
    if !fits || (banded && !starts) {
        return None;
    }
    let step = from.stride();
    for channel in 0..to.channels {
        let mut upper = x.row_start(channel, 0);
        let mut out = y.row_start(channel, 0);
        for _ in 0..to.rows() {
            // SAFETY: `x` has two rows of at least `2 · width` columns for this row of `y`, and all of
            // both maps lies inside of `memory`; a banded map's rows begin at multiples of 4.
            unsafe {
                let (a, b, out) = (base.add(upper), base.add(upper + step), base.add(out));
                if banded {
                    halve_columns(a.cast(), b.cast(), out.cast(), to.width);
                } else {
                    halve_row(a, b, out, to.width);
                }
            }
            upper += 2 * step;
            out += to.stride();
        }
    }
    Some(())
}

/// A row of `width` outputs, each the maximum over two columns, in four bands.
///
/// # Safety
/// `upper` and `lower` point at `2 · width` words, `out` at `width`; `out` may be at or before `upper`.
#[inline(always)]
unsafe fn halve_columns(upper: *const u32, lower: *const u32, out: *mut u32, width: usize) {
    for column in 0..width {
        // SAFETY: the caller's; outputs are written behind what was read.
        unsafe {
            let (a, b) = (upper.add(2 * column), lower.add(2 * column));
            let most = max4(max4(a.read(), a.add(1).read()), max4(b.read(), b.add(1).read()));
            out.add(column).write(most);
        }
    }
}

/// The same for one band, at any alignment.
///
/// # Safety
/// `upper` and `lower` point at `2 · width` bytes, `out` at `width`; `out` may be at or before `upper`.
#[inline(always)]
unsafe fn halve_row(upper: *const u8, lower: *const u8, out: *mut u8, width: usize) {
    // SAFETY: the caller's; outputs are written behind what was read.
    unsafe {
        let word = |row: *const u8, at: usize| row.add(at).cast::<u32>().read_unaligned();
        for quad in 0..width / 4 {
            let at = 8 * quad;
            let left = max4(word(upper, at), word(lower, at));
            let right = max4(word(upper, at + 4), word(lower, at + 4));
            out.add(4 * quad).cast::<u32>().write_unaligned(neighbours(left, right));
        }
        for column in width & !3..width {
            let pair =
                |row: *const u8| row.add(2 * column).read().max(row.add(2 * column + 1).read());
            out.add(column).write(pair(upper).max(pair(lower)));
        }
    }
}

/// The larger byte of each pair of neighbours in eight.
#[inline(always)]
fn neighbours(left: u32, right: u32) -> u32 {
    let most;
    // SAFETY: registers only.
    unsafe {
        asm!(
            // [0 1 2 3] and [4 5 6 7] to [0 1 4 5] and [2 3 6 7]
            "pkhbt {a}, {left}, {right}, lsl #16",
            "pkhtb {b}, {right}, {left}, asr #16",
            // to [0 2 4 6] and [1 3 5 7]
            "uxtb16 {even}, {a}",
            "uxtb16 {t}, {b}",
            "orr {even}, {even}, {t}, lsl #8",
            "uxtb16 {a}, {a}, ror #8",
            "uxtb16 {b}, {b}, ror #8",
            "orr {a}, {a}, {b}, lsl #8",
            "usub8 {t}, {even}, {a}",
            "sel {most}, {even}, {a}",
            left = in(reg) left,
            right = in(reg) right,
            a = out(reg) _,
            b = out(reg) _,
            t = out(reg) _,
            even = out(reg) _,
            most = lateout(reg) most,
            options(pure, nomem, nostack),
        );
    }
    most
}

/// Averages over whole maps; `None` where a map does not lie in `memory`.
fn means(pool: &Pool, memory: &mut [u8], x: &Placed, y: &Placed) -> Option<()> {
    let area = pool.window.area();
    if (x.planes.height * x.planes.width) as u32 != area {
        return None;
    }
    for channel in 0..y.planes.channels {
        let mut sum = 0;
        for row in 0..x.planes.rows() {
            let start = x.row_start(channel, row);
            sum = add_bytes(memory.get(start..start + x.planes.row_bytes())?, sum);
        }
        *memory.get_mut(y.start + y.planes.index(channel, 0, 0))? = average(sum as i32, area);
    }
    Some(())
}

/// `sum` and all of `bytes`.
#[inline(always)]
fn add_bytes(bytes: &[u8], mut sum: u32) -> u32 {
    let (words, rest) = bytes.as_chunks();
    for word in words {
        // SAFETY: registers only.
        unsafe {
            asm!(
                "usada8 {sum}, {word}, {zero}, {sum}",
                word = in(reg) u32::from_le_bytes(*word),
                zero = in(reg) 0,
                sum = inout(reg) sum,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
    }
    rest.iter().fold(sum, |sum, byte| sum + u32::from(*byte))
}
