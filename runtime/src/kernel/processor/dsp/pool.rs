//! Pools: the maximum of 2×2 windows, and averages over whole maps.

use core::arch::naked_asm;

use super::holds;
use crate::kernel::reference::average;
use crate::kernel::{BANDS, General, Kernels, Placed};
use crate::layer::{Pool, PoolKind, Window};

pub(super) fn pool(pool: &Pool, memory: &mut [u8], x: &Placed, y: &Placed) {
    let halving = pool.window == Window::square(2, 2, 0) && pool.kind == PoolKind::Max;
    let whole = pool.kind == PoolKind::Average && y.planes.is_vector();
    let done = match () {
        () if halving && x.planes.bands == y.planes.bands => halve(memory, x, y),
        () if whole && pool.window.padding == [0; 4] => means(pool, memory, x, y),
        () => None,
    };
    if done.is_none() {
        General::pool(pool, memory, x, y);
    }
}

/// Maximum over 2×2, stride 2; `None` where a map does not lie in `memory`, and where it is banded and
/// a row of outputs is no two columns or begins at an address that is no multiple of 4.
fn halve(memory: &mut [u8], x: &Placed, y: &Placed) -> Option<()> {
    let (from, to) = (&x.planes, &y.planes);
    let banded = from.bands == usize::from(BANDS);
    let block = if banded { 2 } else { 4 };
    let whole = to.width.is_multiple_of(block);
    let base = memory.as_mut_ptr();
    let fits = to.channels <= from.channels
        && to.width <= from.width / 2
        && to.rows() <= from.rows() / 2
        && to.width > 0
        && to.rows() > 0
        && holds(memory, x)
        && holds(memory, y);
    let starts = base.align_offset(4) == 0 && (x.start | y.start).is_multiple_of(4);
    if !fits || banded && !(whole && starts) {
        return None;
    }
    let step = from.stride();
    for channel in 0..to.channels {
        // SAFETY: `x` has two rows of at least `2 · width` columns for each row of `y`, and all of both
        // maps lies inside of `memory`; a banded map's rows begin at multiples of 4.
        unsafe {
            let plane = Plane {
                x: base.add(x.row_start(channel, 0)),
                y: base.add(y.row_start(channel, 0)),
                step,
                blocks: to.width / block,
                x_next: 2 * step - 2 * to.row_bytes(),
                y_next: to.stride() - to.row_bytes(),
                rows: to.rows(),
            };
            match banded {
                true => halve_banded_plane(&plane),
                false if whole => halve_plain_plane(&plane),
                false => halve_narrow_plane(&plane, to.width),
            }
        }
    }
    Some(())
}

/// A plane whose rows are whole blocks; the assembly knows the order of the fields.
#[repr(C)]
struct Plane {
    /// The first row of inputs.
    x: *const u8,
    /// The first row of outputs.
    y: *mut u8,
    /// Bytes from a row of inputs to the next.
    step: usize,
    /// Blocks of a row: eight bytes or four words of inputs.
    blocks: usize,
    /// Bytes from the end of a row's inputs to the row after the next.
    x_next: usize,
    /// Bytes from the end of a row of outputs to the next.
    y_next: usize,
    /// Rows of outputs.
    rows: usize,
}

/// Maximum over 2×2, four outputs at a time.
///
/// # Safety
/// All of the plane's rows can be read and written, and it has at least one block; outputs lie where
/// inputs that are still to be read do not.
#[unsafe(naked)]
unsafe extern "C" fn halve_plain_plane(plane: &Plane) {
    naked_asm!(
        cpu!(),
        "push {{r4-r11, lr}}",
        // r0 upper, r2 out, lr step, r9 blocks, r10 and r11 to the next row, r12 rows
        "ldr lr, [r0, #8]",
        "ldr r2, [r0, #4]",
        "ldr r9, [r0, #12]",
        "ldr r10, [r0, #16]",
        "ldr r11, [r0, #20]",
        "ldr r12, [r0, #24]",
        "ldr r0, [r0]",
        "2:",
        "mov r3, r9",
        "add r1, r0, lr",
        ".p2align 2",
        "3:",
        "ldr r4, [r1, #4]",
        "ldr r5, [r1], #8",
        "ldr r6, [r0, #4]",
        "ldr r7, [r0], #8",
        "usub8 r8, r5, r7",
        "sel r5, r5, r7",
        "usub8 r8, r4, r6",
        "sel r4, r4, r6",
        // [0 1 2 3] and [4 5 6 7] to [0 1 4 5] and [2 3 6 7]
        "pkhbt r6, r5, r4, lsl #16",
        "pkhtb r7, r4, r5, asr #16",
        // to [0 2 4 6] and [1 3 5 7]
        "uxtb16 r4, r6",
        "uxtb16 r5, r7",
        "orr r4, r4, r5, lsl #8",
        "uxtb16 r6, r6, ror #8",
        "uxtb16 r7, r7, ror #8",
        "orr r6, r6, r7, lsl #8",
        "usub8 r8, r4, r6",
        "sel r4, r4, r6",
        "str r4, [r2], #4",
        "subs r3, #1",
        "bne 3b",
        "add r0, r10",
        "add r2, r11",
        "subs r12, #1",
        "bne 2b",
        "pop {{r4-r11, pc}}",
    )
}

/// Maximum over 2×2, two columns of four bands at a time.
///
/// # Safety
/// As for [`halve_plain_plane`]; all rows begin at multiples of 4.
#[unsafe(naked)]
unsafe extern "C" fn halve_banded_plane(plane: &Plane) {
    naked_asm!(
        cpu!(),
        "push {{r4-r11, lr}}",
        // r0 upper, r2 out, r9 plane, r10 rows, r11 step
        "mov r9, r0",
        "ldr r2, [r9, #4]",
        "ldr r10, [r9, #24]",
        "ldr r11, [r9, #8]",
        "ldr r0, [r9]",
        "2:",
        "ldr r3, [r9, #12]",
        "add r1, r0, r11",
        ".p2align 2",
        "3:",
        "ldm r0!, {{r4, r5, r6, r7}}",
        "ldm r1!, {{r8, r12}}",
        "usub8 lr, r4, r8",
        "sel r4, r4, r8",
        "usub8 lr, r5, r12",
        "sel r5, r5, r12",
        "usub8 lr, r4, r5",
        "sel r4, r4, r5",
        "ldm r1!, {{r8, r12}}",
        "usub8 lr, r6, r8",
        "sel r6, r6, r8",
        "usub8 lr, r7, r12",
        "sel r7, r7, r12",
        "usub8 lr, r6, r7",
        "sel r6, r6, r7",
        "stm r2!, {{r4, r6}}",
        "subs r3, #1",
        "bne 3b",
        "ldrd r4, r5, [r9, #16]",
        "add r0, r4",
        "add r2, r5",
        "subs r10, #1",
        "bne 2b",
        "pop {{r4-r11, pc}}",
    )
}

/// Maximum over 2×2, rows of `width` outputs, byte by byte.
///
/// # Safety
/// As for [`halve_plain_plane`]; the plane needs no block.
#[inline(never)]
unsafe fn halve_narrow_plane(plane: &Plane, width: usize) {
    let (mut upper, mut out) = (plane.x, plane.y);
    for _ in 0..plane.rows {
        for _ in 0..width {
            // SAFETY: the caller's; outputs are written behind what was read.
            unsafe {
                let pair = |row: *const u8| row.read().max(row.add(1).read());
                out.write(pair(upper).max(pair(upper.add(plane.step))));
                (upper, out) = (upper.add(2), out.add(1));
            }
        }
        (upper, out) = (upper.wrapping_add(plane.x_next), out.wrapping_add(plane.y_next));
    }
}

/// Averages over whole maps; `None` where a map does not lie in `memory`.
fn means(pool: &Pool, memory: &mut [u8], x: &Placed, y: &Placed) -> Option<()> {
    let area = pool.window.area();
    let (from, to) = (&x.planes, &y.planes);
    let whole = (from.height * from.width) as u32 == area && to.channels <= from.channels;
    if !whole || from.split || !holds(memory, x) {
        return None;
    }
    // Rows without a halo between them are one.
    let (rows, row) = match from.stride() == from.row_bytes() {
        true => (1, from.rows() * from.row_bytes()),
        false => (from.rows(), from.row_bytes()),
    };
    let step = from.stride();
    let mut start = x.row_start(0, 0);
    for channel in 0..to.channels {
        // SAFETY: all rows of `x` lie in `memory`.
        let sum = unsafe { sum_rows(memory.as_ptr().add(start), row, rows, step) };
        *memory.get_mut(y.start + to.index(channel, 0, 0))? = average(sum as i32, area);
        start += from.plane();
    }
    Some(())
}

/// The sum of all bytes in `rows` rows of `len`, which begin `step` bytes apart.
///
/// # Safety
/// There is at least one row, and all rows can be read.
#[unsafe(naked)]
unsafe extern "C" fn sum_rows(from: *const u8, len: usize, rows: usize, step: usize) -> u32 {
    naked_asm!(
        cpu!(),
        "push {{r4-r8, lr}}",
        // r0 row, r1 bytes, r2 rows, r3 from the end of a row's words to the next row, r4 sum, r12
        // zero, lr bytes beyond words.
        "movs r4, #0",
        "mov r12, #0",
        "and lr, r1, #3",
        "bic r1, r1, #3",
        "subs r3, r3, r1",
        "2:",
        "subs r5, r1, #16",
        "blo 4f",
        "3:",
        "ldr r6, [r0], #4",
        "ldr r7, [r0], #4",
        "usada8 r4, r6, r12, r4",
        "ldr r6, [r0], #4",
        "ldr r8, [r0], #4",
        "usada8 r4, r7, r12, r4",
        "usada8 r4, r6, r12, r4",
        "usada8 r4, r8, r12, r4",
        "subs r5, r5, #16",
        "bhs 3b",
        "4:",
        "adds r5, r5, #16",
        "beq 6f",
        "5:",
        "ldr r6, [r0], #4",
        "subs r5, r5, #4",
        "usada8 r4, r6, r12, r4",
        "bne 5b",
        "6:",
        "mov r5, lr",
        "cbz r5, 8f",
        "7:",
        "subs r5, r5, #1",
        "ldrb r6, [r0, r5]",
        "add r4, r4, r6",
        "bne 7b",
        "8:",
        "add r0, r0, r3",
        "subs r2, r2, #1",
        "bne 2b",
        "mov r0, r4",
        "pop {{r4-r8, pc}}",
    )
}
