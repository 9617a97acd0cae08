//! How tiles of sixteen outputs cover a plane.

use super::channels::Channels;
use super::tiles::{self, Channel, END, QUICK, STEPS, Tiles};
use crate::kernel::{BANDS, Sink, Source};
use crate::layer::Window;

/// Bytes of a tile.
const TILE: usize = 16;

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

/// The way over a plane, from lower addresses to higher ones.
pub(super) struct Walk {
    /// Bytes from a row to the next.
    x_stride: usize,
    y_stride: usize,
    /// Bytes of the input under a tile.
    step: usize,
    /// Bytes of a row of outputs.
    row: usize,
    rows: usize,
    blocks: [Option<Block>; 2],
    /// Whether a tile may write beyond its row, over what is made later: following rows and channels,
    /// the halo, and what the output has behind its planes.
    overruns: bool,
    /// The tiles of each block, but for program and channels.
    tiles: [Tiles; 2],
}

/// Tiles without a place.
const NOWHERE: Channel = Channel { scale: 0, shift: 0, rule: QUICK, y: core::ptr::null_mut() };

/// Tiles of which none is made.
const NO_TILES: Tiles = Tiles {
    program: core::ptr::null(),
    x_end: 0,
    step: TILE,
    x_row: 0,
    x_skip: 0,
    y_skip: 0,
    rows: 0,
    low: 0,
    first: NOWHERE,
    last: NOWHERE,
    x: core::ptr::null(),
    wide_end: 0,
    more: 0,
};

impl Walk {
    /// `lone` where no program makes two channels. `None` where tiles cannot cover the plane, or where
    /// they would read beyond the input or write beyond the output.
    pub(super) fn new(x: &Source, y: &Sink, window: &Window, low: u8, lone: bool) -> Option<Self> {
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
            overruns: false,
            tiles: [NO_TILES; 2],
        };
        let start = Block { x: corner, y: y.planes.row_start(0, 0), tiles: row / TILE, rows };
        // The last tile of a row that is no multiple of them begins within the one before.
        let behind = |bytes: usize, rows| Block {
            x: start.x + right * bytes.saturating_sub(TILE),
            y: start.y + bytes.saturating_sub(TILE),
            tiles: 1,
            rows,
        };
        // Rows that lie alike in both are one; what lies between them is the output's halo.
        let flat = rows.checked_sub(1)? * walk.y_stride + row;
        let flows = right == 1
            && walk.x_stride == walk.y_stride
            && flat.div_ceil(TILE) <= rows * row.div_ceil(TILE);
        let (bytes, rows) = if flows { (flat, 1) } else { (row, rows) };
        let whole = bytes.is_multiple_of(TILE);
        let beyond = Block { tiles: bytes.div_ceil(TILE), rows, ..start };
        if !whole && right == 1 && (lone || bytes < TILE) {
            walk.blocks = [Some(beyond), None];
            walk.overruns = true;
        }
        if !(walk.overruns && walk.fits(x, y, window)) {
            if bytes < TILE {
                return None;
            }
            let all = Block { tiles: bytes / TILE, rows, ..start };
            walk.blocks = [Some(all), (!whole).then(|| behind(bytes, rows))];
            walk.overruns = false;
            if !walk.fits(x, y, window) {
                return None;
            }
        }
        let x = x.bytes.as_ptr();
        let tiles = |block: Option<Block>| block.map(|block| walk.tiles(&block, x, low));
        walk.tiles = walk.blocks.map(|block| tiles(block).unwrap_or(NO_TILES));
        walk.tiles[0].more = walk.blocks[1].is_some().into();
        Some(walk)
    }

    /// The tiles of a block of the input at `x`.
    fn tiles(&self, block: &Block, x: *const u8, low: u8) -> Tiles {
        let x = x.wrapping_add(block.x);
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
            rows: block.rows,
            low: u32::from(low) * 0x0101_0101,
            first: NOWHERE,
            last: NOWHERE,
            x,
            wide_end,
            more: 0,
        }
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
            let below = block.rows.saturating_sub(1);
            let x_end = block.x + below * self.x_stride + x_end + reach;
            let y_end = last_plane + block.y + below * self.y_stride + y_end;
            x_end <= x.bytes.len() && y_end <= y.bytes.len()
        };
        // Addresses below the mark of an end tell taps from ends.
        let below_mark = x.bytes.as_ptr_range().end as usize <= END as usize;
        below_mark && reach <= usize::from(u16::MAX) && self.blocks.iter().flatten().all(inside)
    }

    /// Tiles of a plane.
    pub(super) fn count(&self) -> usize {
        self.blocks.iter().flatten().map(|block| block.tiles * block.rows).sum()
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
    /// As for [`tiles::run`]; the walk was made for the maps of `channels`, and its window's offsets are
    /// those of the table.
    #[inline(always)]
    pub(super) unsafe fn run_channels(&mut self, channels: &mut Channels) {
        for (tiles, block) in self.tiles.iter_mut().zip(self.blocks.iter().flatten()) {
            tiles.last.y = core::ptr::without_provenance_mut(block.y);
        }
        // SAFETY: `fits` saw that no tile leaves input and output.
        unsafe { tiles::run(self.tiles.as_ptr(), channels) };
    }

    /// Runs `program` of two channels of `y` over the plane. Channels are made in their order.
    ///
    /// # Safety
    /// The walk was made for `x` and `y`, and the offsets of `program` are those of its window; two
    /// channels were found to pay.
    pub(super) unsafe fn run(
        &mut self,
        program: *const u32,
        y: &mut Sink,
        channels: [(usize, Channel); 2],
    ) {
        let (plane, base) = (y.planes.plane(), y.bytes.as_mut_ptr());
        let [(one, first), (two, last)] = channels;
        // The last channel, if it is the lower one, would write over what the first one made.
        let lower = self.overruns && two < one;
        let mut aside = [0_u8; TILE];
        for (tiles, block) in self.tiles.iter_mut().zip(&self.blocks) {
            let Some(block) = block else { break };
            let at = |channel: usize| base.wrapping_add(channel * plane + block.y);
            tiles.program = program;
            tiles.first = Channel { y: at(one), ..first };
            tiles.last = Channel { y: if lower { aside.as_mut_ptr() } else { at(two) }, ..last };
            // SAFETY: `fits` saw that no tile leaves input and output; a single tile is put aside.
            unsafe { tiles::run(tiles, core::ptr::null_mut()) };
        }
        if lower {
            let start = y.planes.row_start(two, 0);
            let outputs = y.bytes.get_mut(start..start + self.flat()).unwrap_or_default();
            outputs.iter_mut().zip(aside).for_each(|(output, made)| *output = made);
        }
    }

    /// Bytes from a plane's first output to behind its last.
    fn flat(&self) -> usize {
        (self.rows - 1) * self.y_stride + self.row
    }
}
