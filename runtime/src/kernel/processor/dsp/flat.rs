//! Channels of a depthwise layer as one line: a copy for each column of the kernel, moved to the side
//! by as much as the column lies from the window's middle, has no halo left and right, so that outputs
//! follow each other across the ends of rows. Copies take longer than one with a halo, and tiles are
//! fewer where rows are no multiple of them.

use core::ops::Range;

use super::rows::copy_rows;
use super::window::{self, Run};
use crate::kernel::Planes;
use crate::layer::Window;
use crate::random::{WORD, bit_of};

/// Outputs of a tile.
const TILE: usize = 8;

/// Most columns of a kernel.
const COLUMNS: usize = 5;

/// How much of a map's tiles must fall away to pay for a second copy.
const SAVED: usize = 4;

/// The copies of a layer's channels.
pub(super) struct Flat {
    /// Offset of the input at each bit of a mask, from the highest down.
    pub table: [u32; WORD],
    /// The column of the input at each bit, likewise.
    column: [u8; WORD],
    /// Bits of the taps in each column, and where the first element lies in its copy.
    columns: [(u32, usize); COLUMNS],
    count: usize,
    /// Columns of padding left, which read what lies before an element.
    left: usize,
    /// Bytes of the memory for the copies, and of each of them.
    range: Range<usize>,
    /// Where the first window begins.
    corner: usize,
    width: usize,
    /// Elements of a channel of the input and of the output.
    inputs: usize,
    outputs: usize,
    zero: u8,
    /// Whether tiles are so much fewer that several copies pay.
    pays: bool,
}

impl Flat {
    /// `None` where the maps have no such form, or `range` no room.
    pub(super) fn new(
        window: &Window,
        x: &Planes,
        y: &Planes,
        range: Range<usize>,
    ) -> Option<Self> {
        let [rows, columns] = window.kernel.map(usize::from);
        let [top, left, bottom, _] = window.padding.map(usize::from);
        let width = x.width;
        // A margin for what moves aside before the first row and behind the last.
        let margin = columns.next_multiple_of(4);
        let lines = top + x.height + bottom;
        let size = (lines * width).next_multiple_of(4) + 2 * margin;
        let (inputs, outputs) = (x.height * width, y.height * y.width);
        // Left out where flash counts more than speed.
        let fits = !cfg!(seedmask_small)
            && window.stride == [1, 1]
            && (x.stride(), y.stride(), y.width) == (width, width, width)
            && columns <= width.min(COLUMNS)
            && columns * size <= range.len()
            // Rows are copied two bytes at a time at least.
            && inputs >= 2
            && outputs >= TILE;
        if !fits {
            return None;
        }
        let mut flat = Self {
            table: [0; WORD],
            column: [0; WORD],
            count: columns,
            columns: [(0, 0); COLUMNS],
            left,
            range,
            corner: margin,
            width,
            inputs,
            outputs,
            zero: x.zero_point,
            pays: width.div_ceil(4) * y.height.div_ceil(2) >= outputs.div_ceil(TILE) + SAVED,
        };
        for input in 0..rows * columns {
            let (row, column) = (input / columns.max(1), input % columns.max(1));
            let at = 31 - bit_of(input) as usize;
            *flat.table.get_mut(at)? = (column * size + row * width) as u32;
            *flat.column.get_mut(at)? = column as u8;
            let (bits, first) = flat.columns.get_mut(column)?;
            *bits |= 1 << bit_of(input);
            *first = column * size + margin + top * width;
        }
        Some(flat)
    }

    /// Fills the copies with the zero point, of which all but the channel itself stays.
    ///
    /// # Safety
    /// The range lies in the memory at `base`.
    pub(super) unsafe fn clear(&self, base: *mut u8) {
        // SAFETY: the caller's.
        unsafe { base.add(self.range.start).write_bytes(self.zero, self.range.len()) }
    }

    /// Copies the channel at `from` for the columns that `mask` keeps a tap of, and gives where the
    /// first window begins. `None` if another way is quicker.
    ///
    /// # Safety
    /// As for [`Flat::clear`]; a channel of inputs lies at `from`, outside of the range.
    #[inline(always)]
    pub(super) unsafe fn copy(
        &self,
        mask: u32,
        from: *const u8,
        base: *mut u8,
    ) -> Option<*const u8> {
        // SAFETY: `new` saw that there is room for each copy.
        unsafe {
            let first = *self.column.get_unchecked(mask.leading_zeros() as usize & 31) as usize;
            let columns = match mask & !self.columns.get_unchecked(first).0 {
                0 => first..first + 1,
                _ if self.pays => 0..self.count,
                _ => return None,
            };
            for column in columns {
                if mask & self.columns.get_unchecked(column).0 != 0 {
                    self.copy_for(column, from, base);
                }
            }
            Some(base.add(self.range.start + self.corner))
        }
    }

    /// # Safety
    /// As for [`Flat::copy`]; `column` is one of the kernel's.
    #[inline(always)]
    unsafe fn copy_for(&self, column: usize, from: *const u8, base: *mut u8) {
        // SAFETY: a copy has a margin before and behind.
        unsafe {
            let element = base.add(self.range.start + self.columns.get_unchecked(column).1);
            let to = element.wrapping_add(self.left).wrapping_sub(column);
            copy_rows(from, to, self.inputs, 1, 0, 0);
            // What belongs to the row before or behind is padding here.
            let (wrong, count) = match column.checked_sub(self.left) {
                Some(right) => (to, right),
                None => (element, self.left - column),
            };
            for at in 0..count {
                self.clear_column(wrong.add(at));
            }
        }
    }

    /// Writes the zero point in a column of all rows and of one more.
    ///
    /// # Safety
    /// These can be written.
    #[inline(always)]
    unsafe fn clear_column(&self, mut to: *mut u8) {
        let mut left = self.inputs + self.width;
        while left > 0 {
            // SAFETY: the caller's.
            unsafe { *to = self.zero };
            to = to.wrapping_add(self.width);
            left -= self.width;
        }
    }

    /// Makes all outputs of a channel.
    ///
    /// # Safety
    /// `x` is what [`Flat::copy`] gave, and the offset of a channel's only tap; `y` the first output;
    /// list and epilogue are set.
    #[inline(always)]
    pub(super) unsafe fn sums(&self, run: *mut Run, x: *const u8, y: *mut u8) {
        // SAFETY: a tile is two words side by side. What is left behind the last whole one is made by
        // steps of up to a word from that.
        unsafe {
            let left = self.outputs % TILE;
            (*run).y_below = 4;
            (*run).x_step = TILE;
            (*run).x = x;
            (*run).x_below = x.add(4);
            (*run).x_back = TILE;
            (*run).x_end = x.add(self.outputs - left);
            (*run).y = y;
            (*run).y_back = TILE;
            (*run).left = left as i32;
            window::run(run);
        }
    }
}
