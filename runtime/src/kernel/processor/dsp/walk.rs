//! How tiles of sixteen outputs cover a plane.

use super::tiles::{self, Channel, END, Tiles};
use crate::kernel::copy::copy_bytes;
use crate::kernel::{BANDS, Sink, Source};
use crate::layer::Window;

/// Bytes of a tile.
const TILE: usize = 16;

/// Tiles that are made at once where they do not lie in the output as they lie in the input.
const GATHERED: usize = 12;

/// Tiles side by side in rows.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// First bytes in the input and in a plane of the output.
    x: usize,
    y: usize,
    /// Tiles of a row.
    tiles: usize,
    rows: usize,
}

/// The way over a plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// Bytes from a row to the next.
    x_stride: usize,
    y_stride: usize,
    /// Bytes of the input under a tile: 16, or 32 where windows step by two words.
    step: usize,
    /// Bytes of a row of outputs.
    row: usize,
    rows: usize,
    /// The blocks, or the whole plane in the input's rows, to be gathered.
    blocks: [Option<Block>; 2],
    gathered: bool,
}

impl Walk {
    /// `None` where tiles cannot cover the plane, or where they would read beyond the input.
    pub(super) fn new(x: &Source, y: &Sink, window: &Window) -> Option<Self> {
        let [down, right] = window.stride.map(usize::from);
        let [top, left, ..] = window.padding.map(usize::from);
        // Windows over a split plane go from byte to byte.
        let right = if x.planes.split { 1 } else { right };
        let banded = x.planes.bands == usize::from(BANDS);
        if x.planes.bands != y.planes.bands || !(right == 1 || (right == 2 && banded)) {
            return None;
        }
        let corner = x.planes.corner(top, left)?;
        let (row, rows) = (y.planes.row_bytes(), y.planes.rows());
        let mut walk = Self {
            x_stride: down * x.planes.stride(),
            y_stride: y.planes.stride(),
            step: right * TILE,
            row,
            rows,
            blocks: [None; 2],
            gathered: false,
        };
        let start = Block { x: corner, y: y.planes.row_start(0, 0), tiles: row / TILE, rows };
        // The last tile of a row that is no multiple of them begins within the one before.
        let rest = Block {
            x: start.x + right * row.saturating_sub(TILE),
            y: start.y + row.saturating_sub(TILE),
            tiles: 1,
            ..start
        };
        let flat = rows.checked_sub(1)? * walk.y_stride + row;
        let by_rows = rows * row.div_ceil(TILE);
        let flows = right == 1 && walk.x_stride == walk.y_stride && flat >= TILE;
        if flows && (row < TILE || flat.div_ceil(TILE) < by_rows) {
            // Rows lie alike in both, so they are one; what lies between them is the output's halo.
            let end = flat - TILE;
            let all = Block { tiles: flat / TILE, rows: 1, ..start };
            let last = Block { x: start.x + end, y: start.y + end, tiles: 1, rows: 1 };
            walk.blocks = [Some(all), (!flat.is_multiple_of(TILE)).then_some(last)];
        } else if row >= TILE {
            walk.blocks = [Some(start), (!row.is_multiple_of(TILE)).then_some(rest)];
        } else if right == 1 {
            let flat = ((rows - 1) * walk.x_stride + row).div_ceil(TILE);
            let all = if flat < rows {
                Block { tiles: flat, rows: 1, ..start }
            } else {
                Block { tiles: 1, rows, ..start }
            };
            walk.blocks = [Some(all), None];
            walk.gathered = true;
        } else {
            return None;
        }
        walk.fits(x, y, window).then_some(walk)
    }

    /// Whether every tile under every tap is inside of the input, every output inside of its plane,
    /// and offsets fit their table.
    fn fits(&self, x: &Source, y: &Sink, window: &Window) -> bool {
        let [height, width] = window.kernel.map(|size| usize::from(size).saturating_sub(1));
        // Of two neighbouring columns one is the farther, whichever way they lie.
        let column = |column| x.planes.tap(window.padding[1].into(), height, column);
        let reach = x.planes.channels.saturating_sub(1) * x.planes.plane()
            + column(width).max(column(width.saturating_sub(1)));
        let room = y.bytes.len().min(y.planes.len());
        let last_plane = y.planes.channels.saturating_sub(1) * y.planes.plane();
        let inside = |block: &Block| {
            // The last of four words that lie apart ends a word earlier.
            let read = if self.step == TILE { TILE } else { self.step - 4 };
            let x_end = (block.tiles.saturating_sub(1)) * self.step + read;
            let y_end = block.tiles * TILE;
            let below = block.rows.saturating_sub(1);
            let x_end = block.x + below * self.x_stride + x_end + reach;
            let y_end = last_plane + block.y + below * self.y_stride + y_end;
            x_end <= x.bytes.len() && (self.gathered || y_end <= room)
        };
        // Addresses below the mark of an end tell taps from ends.
        let below_mark = x.bytes.as_ptr_range().end as usize <= END as usize;
        let gathers =
            last_plane + y.planes.row_start(0, self.rows.saturating_sub(1)) + self.row <= room;
        below_mark
            && reach <= usize::from(u16::MAX)
            && self.blocks.iter().flatten().all(inside)
            && (!self.gathered || gathers)
    }

    /// Whether two channels in one program are faster than one after the other, if they share
    /// `shared` inputs of `words` mask words: a tap of a tile takes 15 cycles, the ends of more lists
    /// 110, and two more passes over the mask 40 a word.
    pub(super) fn pays(&self, shared: usize, words: usize) -> bool {
        let tiles: usize = self.blocks.iter().flatten().map(|block| block.tiles * block.rows).sum();
        tiles * (15 * shared).saturating_sub(110) > 40 * words
    }

    /// Runs `program`, whose channels are `channels` of `y`, over the plane.
    ///
    /// # Safety
    /// The walk was made for `x` and `y`, and the offsets of `program` are those of its window.
    pub(super) unsafe fn run(
        &self,
        program: *const u32,
        low: u8,
        x: &Source,
        y: &mut Sink,
        channels: [(usize, Channel); 2],
    ) {
        let planes = y.planes;
        let low = u32::from(low) * 0x0101_0101;
        for block in self.blocks.iter().flatten() {
            if self.gathered {
                // SAFETY: as below.
                unsafe { self.gather(block, program, low, x, y, channels) };
                continue;
            }
            let (x_row, y_row) = (block.tiles * self.step, block.tiles * TILE);
            // SAFETY: `fits` saw that no tile leaves input and output.
            unsafe {
                let start = x.bytes.as_ptr().add(block.x);
                let [first, last] = channels.map(|(channel, epilogue)| {
                    let at = channel * planes.plane() + block.y;
                    Channel { y: y.bytes.as_mut_ptr().add(at), ..epilogue }
                });
                self.routine()(&Tiles {
                    program,
                    x: start,
                    x_end: start.add(x_row),
                    x_row,
                    x_skip: self.x_stride.wrapping_sub(x_row),
                    y_skip: self.y_stride.wrapping_sub(y_row),
                    rows: block.rows,
                    low,
                    first,
                    last,
                });
            }
        }
    }

    fn routine(&self) -> unsafe extern "C" fn(*const Tiles) {
        if self.step == TILE { tiles::every_word } else { tiles::every_other_word }
    }

    /// Makes some tiles after the other in a buffer and copies what lies under columns of the output.
    ///
    /// # Safety
    /// As [`Walk::run`].
    unsafe fn gather(
        &self,
        block: &Block,
        program: *const u32,
        low: u32,
        x: &Source,
        y: &mut Sink,
        channels: [(usize, Channel); 2],
    ) {
        let mut buffers = [[0_u8; GATHERED * TILE]; 2];
        let by_rows = block.rows > 1;
        let count = block.tiles.max(block.rows);
        let (x_skip, x_step) =
            if by_rows { (self.x_stride.wrapping_sub(TILE), self.x_stride) } else { (0, TILE) };
        for begin in (0..count).step_by(GATHERED) {
            let made = (count - begin).min(GATHERED);
            let [one, two] = &mut buffers;
            let [(one_channel, first), (two_channel, last)] = channels;
            let x_row = if by_rows { TILE } else { made * TILE };
            // SAFETY: `fits` saw that no tile leaves the input; the buffers hold the tiles.
            unsafe {
                let start = x.bytes.as_ptr().add(block.x + begin * x_step);
                tiles::every_word(&Tiles {
                    program,
                    x: start,
                    x_end: start.add(x_row),
                    x_row,
                    x_skip,
                    y_skip: 0,
                    rows: if by_rows { made } else { 1 },
                    low,
                    first: Channel { y: one.as_mut_ptr(), ..first },
                    last: Channel { y: two.as_mut_ptr(), ..last },
                });
            }
            if one_channel != two_channel {
                self.scatter(one, by_rows, begin, made, one_channel, y);
            }
            self.scatter(two, by_rows, begin, made, two_channel, y);
        }
    }

    /// Copies `count` tiles from the `begin`th on to `channel`: a row each, or what they hold of rows
    /// that lie as in the input.
    fn scatter(
        &self,
        made: &[u8],
        by_rows: bool,
        begin: usize,
        count: usize,
        channel: usize,
        y: &mut Sink,
    ) {
        let stride = if by_rows { TILE } else { self.x_stride };
        let len = count * TILE;
        let start = begin * TILE;
        let mut row = start.checked_div(stride).unwrap_or(0);
        let column = start - row * stride;
        let mut from = 0;
        let mut to = y.planes.row_start(channel, row);
        if column > 0 {
            // What is left of a row that the tiles before began.
            let count = self.row.saturating_sub(column).min(len);
            let outputs = y.bytes.get_mut(to + column..to + column + count);
            if let (Some(outputs), Some(made)) = (outputs, made.get(..count)) {
                copy_bytes(made, outputs);
            }
            from = stride - column;
            (row, to) = (row + 1, to + self.y_stride);
        }
        let whole = (self.rows - row.min(self.rows))
            .min((len + stride - self.row).saturating_sub(from).checked_div(stride).unwrap_or(0));
        let (made_end, to_end) = (from + whole * stride, to + whole * self.y_stride);
        let inside = made_end <= made.len() + stride - self.row
            && to_end <= y.bytes.len() + self.y_stride - self.row;
        if whole > 0 && inside {
            // SAFETY: the last of the whole rows ends inside of both.
            unsafe {
                let (made, to) = (made.as_ptr().add(from), y.bytes.as_mut_ptr().add(to));
                copy_whole_rows(made, stride, to, self.y_stride, self.row, whole);
            }
        }
        (from, to, row) = (made_end, to_end, row + whole);
        if from < len && row < self.rows {
            let count = self.row.min(len - from);
            let outputs = y.bytes.get_mut(to..to + count);
            if let (Some(outputs), Some(made)) = (outputs, made.get(from..from + count)) {
                copy_bytes(made, outputs);
            }
        }
    }
}

/// Copies rows of `width` bytes.
///
/// # Safety
/// `rows` rows, the strides apart, can be read and written.
#[inline(never)]
unsafe fn copy_whole_rows(
    mut from: *const u8,
    from_stride: usize,
    mut to: *mut u8,
    to_stride: usize,
    width: usize,
    rows: usize,
) {
    for _ in 0..rows {
        // SAFETY: at most `width` bytes of a row, by the caller.
        unsafe {
            let mut at = 0;
            while at + 4 <= width {
                to.add(at)
                    .cast::<u32>()
                    .write_unaligned(from.add(at).cast::<u32>().read_unaligned());
                at += 4;
            }
            while at < width {
                *to.add(at) = *from.add(at);
                at += 1;
            }
        }
        (from, to) = (from.wrapping_add(from_stride), to.wrapping_add(to_stride));
    }
}
