//! How tiles of sixteen outputs cover a plane.

use super::channels::Channels;
use super::tiles::{self, Channel, END, QUICK, STEPS, Tiles};
use crate::kernel::{BANDS, Sink, Source};
use crate::layer::Window;

/// Bytes of a tile.
const TILE: usize = 16;

/// Tiles side by side in rows; none where another block has all.
#[derive(Clone, Copy)]
struct Block {
    /// First bytes in the input and in a plane of the output.
    x: usize,
    y: usize,
    /// Tiles of a row.
    tiles: usize,
}

/// The way over a plane, from lower addresses to higher ones.
pub(super) struct Walk {
    /// Bytes from a row to the next.
    x_stride: usize,
    y_stride: usize,
    /// Bytes of the input under a tile.
    step: usize,
    /// Rows that the tiles cover, and bytes of a row of outputs. Rows that lie alike in both maps are one.
    rows: usize,
    row: usize,
    blocks: [Block; 2],
    /// Whether a tile may write beyond its row, over what is made later: following rows and channels,
    /// the halo, and what the output has behind its planes.
    overruns: bool,
}

/// Tiles without a place.
const NOWHERE: Channel = Channel { scale: 0, shift: 0, rule: QUICK, y: core::ptr::null_mut() };

impl Walk {
    /// `lone` where no program makes two channels. `None` where tiles cannot cover the plane, or where
    /// they would read beyond the input or write beyond the output.
    #[inline(never)]
    pub(super) fn new(x: &Source, y: &Sink, window: &Window, lone: bool) -> Option<Self> {
        let [down, right] = window.stride.map(usize::from);
        let [top, left, ..] = window.padding.map(usize::from);
        // Windows over a split plane go from byte to byte.
        let right = if x.planes.split { 1 } else { right };
        let banded = x.planes.bands == usize::from(BANDS);
        if x.planes.bands != y.planes.bands || !(right == 1 || (right == 2 && banded)) {
            return None;
        }
        let corner = x.planes.corner(top, left)?;
        let (x_stride, y_stride) = (down * x.planes.stride(), y.planes.stride());
        let (mut row, mut rows) = (y.planes.row_bytes(), y.planes.rows());
        // What lies between rows that are one is the output's halo.
        let flat = rows.checked_sub(1)? * y_stride + row;
        if right == 1 && x_stride == y_stride && flat.div_ceil(TILE) <= rows * row.div_ceil(TILE) {
            (row, rows) = (flat, 1);
        }
        let whole = row.is_multiple_of(TILE);
        let all = Block { x: corner, y: y.planes.row_start(0, 0), tiles: row.div_ceil(TILE) };
        let overruns = !whole && right == 1 && (lone || row < TILE);
        let (step, blocks) = (right * TILE, [all, Block { tiles: 0, ..all }]);
        let mut walk = Self { x_stride, y_stride, step, rows, row, blocks, overruns };
        if overruns && walk.fits(x, y, window) {
            return Some(walk);
        }
        // The last tile of a row that is no multiple of them begins within the one before.
        let last = row.checked_sub(TILE)?;
        let behind = Block { x: all.x + right * last, y: all.y + last, tiles: (!whole).into() };
        walk.blocks = [Block { tiles: row / TILE, ..all }, behind];
        walk.overruns = false;
        walk.fits(x, y, window).then_some(walk)
    }

    /// The tiles of both blocks of the input `x`, but for program and channels; none are made of a block that
    /// has none.
    pub(super) fn tiles(&self, x: &Source, low: u8) -> [Tiles; 2] {
        core::array::from_fn(|at| {
            let block = &self.blocks[at];
            let x = x.bytes.as_ptr().wrapping_add(block.x);
            let x_row = block.tiles * self.step;
            let end = x as usize + x_row;
            let [x_end, wide_end] = STEPS.map(|step| if step == self.step { end } else { 0 });
            Tiles {
                program: core::ptr::null(),
                x_end,
                step: self.step,
                x_row,
                x_skip: self.x_stride.wrapping_sub(x_row),
                y_skip: self.y_stride.wrapping_sub(block.tiles * TILE),
                rows: self.rows,
                low: u32::from(low) * 0x0101_0101,
                first: NOWHERE,
                last: NOWHERE,
                x,
                wide_end,
                more: (at == 0 && self.blocks[1].tiles > 0).into(),
            }
        })
    }

    /// Whether every tile under every tap is inside of the input, every tile of outputs inside of the
    /// output, and offsets fit their table.
    fn fits(&self, x: &Source, y: &Sink, window: &Window) -> bool {
        let [height, width] = window.kernel.map(|size| usize::from(size).saturating_sub(1));
        // Of two neighbouring columns one is the farther, whichever way they lie.
        let column = |column| x.planes.tap(window.padding[1].into(), height, column);
        let reach = x.planes.channels.saturating_sub(1) * x.planes.plane()
            + column(width).max(column(width.saturating_sub(1)));
        let last_plane = y.planes.channels.saturating_sub(1) * y.planes.plane();
        let inside = |block: &Block| {
            // The last of four words that lie apart ends a word earlier.
            let read = if self.step == TILE { TILE } else { self.step - 4 };
            let x_end = (block.tiles.saturating_sub(1)) * self.step + read;
            let y_end = block.tiles * TILE;
            let below = self.rows - 1;
            let x_end = block.x + below * self.x_stride + x_end + reach;
            let y_end = last_plane + block.y + below * self.y_stride + y_end;
            x_end <= x.bytes.len() && y_end <= y.bytes.len()
        };
        // Addresses below the mark of an end tell taps from ends.
        let below_mark = x.bytes.as_ptr_range().end as usize <= END as usize;
        below_mark && reach <= usize::from(u16::MAX) && self.blocks.iter().all(inside)
    }

    /// Tiles of a plane.
    pub(super) fn count(&self) -> usize {
        self.rows * self.blocks.iter().map(|block| block.tiles).sum::<usize>()
    }

    /// Whether two channels in one program are possible, and faster than one after the other, if they
    /// share `shared` inputs of `words` mask words: a tap of a tile takes 15 cycles, the ends of more
    /// lists 110, and two more passes over the mask 40 a word.
    pub(super) fn pays(&self, shared: usize, words: usize) -> bool {
        let tiles = self.count();
        let faster = tiles * (15 * shared).saturating_sub(110) > 40 * words;
        faster && (!self.overruns || tiles == 1)
    }

    /// Runs the programs of `channels` over their planes. Channels are made in their order.
    ///
    /// # Safety
    /// As for [`tiles::run`]; the walk and its `tiles` were made for the maps of `channels`, and its window's
    /// offsets are those of the table.
    #[inline(always)]
    pub(super) unsafe fn run_channels(&self, tiles: &mut [Tiles; 2], channels: &mut Channels) {
        for (tiles, block) in tiles.iter_mut().zip(&self.blocks) {
            tiles.last.y = core::ptr::without_provenance_mut(block.y);
        }
        // SAFETY: `fits` saw that no tile leaves input and output.
        unsafe { tiles::run(tiles.as_ptr(), channels) };
    }

    /// Runs `program` of two channels of `y` over the plane. Channels are made in their order.
    ///
    /// # Safety
    /// The walk was made for `x` and `y`, and `tiles` by it; the offsets of `program` are those of its window;
    /// two channels were found to pay.
    pub(super) unsafe fn run(
        &self,
        tiles: &mut [Tiles; 2],
        program: *const u32,
        y: &mut Sink,
        channels: [(usize, Channel); 2],
    ) {
        let (plane, base) = (y.planes.plane(), y.bytes.as_mut_ptr());
        let [(one, first), (two, last)] = channels;
        // The last channel, if it is the lower one, would write over what the first one made.
        let lower = self.overruns && two < one;
        let mut aside = [0_u8; TILE];
        for (tiles, block) in tiles.iter_mut().zip(&self.blocks) {
            if block.tiles == 0 {
                break;
            }
            let at = |channel: usize| base.wrapping_add(channel * plane + block.y);
            tiles.program = program;
            tiles.first = Channel { y: at(one), ..first };
            tiles.last = Channel { y: if lower { aside.as_mut_ptr() } else { at(two) }, ..last };
            // SAFETY: `fits` saw that no tile leaves input and output; a single tile is put aside.
            unsafe { tiles::run(tiles, core::ptr::null_mut()) };
        }
        if lower {
            let start = y.planes.row_start(two, 0);
            let outputs = y.bytes.get_mut(start..start + self.row).unwrap_or_default();
            outputs.iter_mut().zip(aside).for_each(|(output, made)| *output = made);
        }
    }
}
