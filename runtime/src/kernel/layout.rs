//! How a tensor lies in the arena: planes of rows, with a halo of zero points around them.

use crate::family::MAPS;
use crate::layer::{Element, Tensor};

/// Bands of a banded plane: as many as bytes in a word.
pub const BANDS: u8 = 4;

/// What a plan gives as the bands of a split plane, which has one.
pub const SPLIT: u8 = 2;

/// What a plan gives as the bands of a plain map, without halo, whose planes are filled up to whole words.
pub const WHOLE: u8 = 3;

/// Layout of an activation tensor: planes of rows with a halo of zero points around them.
///
/// A *plain* plane has one band. A *banded* plane ([`BANDS`]) is cut into four horizontal bands of
/// `height / 4` rows, and a 32-bit word holds one column of all four: every tap of a window is then
/// whole words away, and four outputs are summed at once without an unaligned load. Element
/// `(c, y, x)` is at `c·plane + (y mod rows + pad)·stride + (x + pad)·bands + y div rows`, with
/// `stride = (width + pad)·bands`: the halo right of a row is the halo left of the next, and in plain
/// planes that below a plane is that above the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Planes {
    /// Channels.
    pub channels: usize,
    /// Rows of the map, without halo.
    pub height: usize,
    /// Columns of the map, without halo.
    pub width: usize,
    /// Rows and columns of halo on each side.
    pub pad: usize,
    /// 1, or 4 where a word holds a column of four bands.
    pub bands: usize,
    /// Whether even and odd columns lie apart.
    pub split: bool,
    /// Bytes behind each plane that fill it up to whole words; 0 unless the plan says [`WHOLE`].
    pub filling: usize,
    /// What the halo holds.
    pub zero_point: u8,
}

impl Planes {
    /// The plain layout of `tensor` with a halo of `pad`.
    pub fn new(tensor: &Tensor, pad: u8) -> Self {
        Self {
            channels: usize::from(tensor.channels),
            height: usize::from(tensor.height),
            width: usize::from(tensor.width),
            pad: usize::from(pad),
            bands: 1,
            split: false,
            filling: 0,
            zero_point: tensor.zero_point,
        }
    }

    /// The same, plain, with `bands`, 1 or 4, or [`SPLIT`] or [`WHOLE`]; `None` where bands do not divide the
    /// height, where the halo would reach beyond a neighbouring band, and where whole words have one.
    pub fn banded(self, bands: u8) -> Option<Self> {
        let banded = match bands {
            SPLIT => Self { bands: 1, split: true, ..self },
            WHOLE => Self { bands: 1, filling: filling(self.height * self.width), ..self },
            _ => Self { bands: usize::from(bands), ..self },
        };
        let fits = match bands {
            1 | SPLIT => true,
            WHOLE => self.pad == 0,
            BANDS => self.height.is_multiple_of(usize::from(BANDS)) && self.pad <= banded.rows(),
            _ => false,
        };
        fits.then_some(banded)
    }

    /// Rows of a band.
    #[inline(always)]
    pub const fn rows(&self) -> usize {
        if self.bands == 1 { self.height } else { self.height / BANDS as usize }
    }

    /// Whether height and width are those of `other`.
    #[inline(always)]
    pub(crate) const fn is_as_large_as(&self, other: &Self) -> bool {
        self.height == other.height && self.width == other.width
    }

    /// Whether the map is of one row and one column.
    #[inline(always)]
    pub(crate) const fn is_vector(&self) -> bool {
        self.height == 1 && self.width == 1
    }

    /// Whether rows lie one behind the other, with no more than a halo between.
    #[inline(always)]
    pub(crate) const fn is_plain(&self) -> bool {
        self.bands == 1 && !self.split && self.filling == 0
    }

    /// Bytes of a row without halo.
    #[inline(always)]
    pub const fn row_bytes(&self) -> usize {
        self.width * self.bands
    }

    /// Bytes from one row to the next.
    #[cfg_attr(not(seedmask_small), inline(always))]
    pub const fn stride(&self) -> usize {
        if self.split {
            return (self.width + 2 * self.pad).next_multiple_of(2);
        }
        (self.width + self.pad) * self.bands
    }

    /// Where column `column` of a row with its halo lies in the row.
    const fn column(&self, column: usize) -> usize {
        if self.split {
            return column % 2 * (self.stride() / 2) + column / 2;
        }
        column * self.bands
    }

    /// Where the window of the first output begins whose padding is `top` rows and `left` columns, if
    /// the halo covers that; [`Planes::tap`] counts from there.
    pub const fn corner(&self, top: usize, left: usize) -> Option<usize> {
        match (self.pad.checked_sub(top), self.pad.checked_sub(left)) {
            (Some(rows), Some(_)) if self.split => Some(rows * self.stride()),
            (Some(rows), Some(columns)) => Some(rows * self.stride() + columns * self.bands),
            _ => None,
        }
    }

    /// Where row `row` and column `column` of a window begin that has `left` columns of padding.
    pub const fn tap(&self, left: usize, row: usize, column: usize) -> usize {
        let before = if self.split { self.pad.saturating_sub(left) } else { 0 };
        row * self.stride() + self.column(column + before)
    }

    /// Bytes from one plane to the next.
    #[cfg_attr(not(seedmask_small), inline(always))]
    pub const fn plane(&self) -> usize {
        (self.rows() + self.pad + self.below()) * self.stride() + self.filling
    }

    /// Rows of halo below a plane that are not those above the next: bands have neighbours of their
    /// own there.
    #[inline(always)]
    const fn below(&self) -> usize {
        if self.bands == 1 { 0 } else { self.pad }
    }

    /// Bytes of the whole tensor: the last plane's halo ends `pad` columns after its last row.
    pub const fn len(&self) -> usize {
        self.channels * self.plane() + self.tail()
    }

    /// Bytes of halo behind the last plane.
    const fn tail(&self) -> usize {
        let columns = if self.split { 0 } else { self.pad * self.bands };
        (self.pad - self.below()) * self.stride() + columns
    }

    /// Whether the tensor has no bytes. A checked artifact has no such tensor.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where row `row` of every band begins, without halo; of a split plane, with it.
    #[cfg_attr(not(seedmask_small), inline(always))]
    pub const fn row_start(&self, channel: usize, row: usize) -> usize {
        let halo = if self.split { 0 } else { self.pad * self.bands };
        channel * self.plane() + (row + self.pad) * self.stride() + halo
    }

    /// Where element `(channel, y, x)` lies.
    pub const fn index(&self, channel: usize, y: usize, x: usize) -> usize {
        let (band, row) = self.band_and_row(y);
        let column = if self.split { self.column(x + self.pad) } else { x * self.bands };
        self.row_start(channel, row) + column + band
    }

    /// The band of row `y` of the map, and its row there.
    const fn band_and_row(&self, y: usize) -> (usize, usize) {
        if self.bands == 1 {
            return (0, y);
        }
        // Three comparisons, as the smallest cores have no division.
        let (mut band, mut row) = (0, y);
        while row >= self.rows() && band < BANDS as usize - 1 {
            row -= self.rows();
            band += 1;
        }
        (band, row)
    }

    /// Writes every byte of the halo: the zero point around the map, and copies of the neighbouring
    /// rows around a band. The map itself must have been written.
    pub fn fill_halo(&self, bytes: &mut [u8]) {
        if self.pad == 0 || !MAPS {
            return;
        }
        let zero = self.zero_point;
        let (stride, rows) = (self.stride(), self.pad..self.pad + self.rows());
        // Columns before and behind those of the map; those behind it are before the next row if the map is
        // not split.
        let [left, right] = match self.split {
            true => [0..self.pad, self.pad + self.width..stride],
            false => [0..self.pad * self.bands, 0..0],
        };
        let (maps, tail) =
            bytes.split_at_mut_checked(self.channels * self.plane()).unwrap_or_default();
        for plane in maps.chunks_exact_mut(self.plane().max(1)) {
            for (at, row) in plane.chunks_exact_mut(stride.max(1)).enumerate() {
                if !rows.contains(&at) {
                    row.fill(zero);
                    continue;
                }
                for columns in [&left, &right] {
                    for column in columns.clone() {
                        put(row, if self.split { self.column(column) } else { column }, zero);
                    }
                }
            }
            if self.bands > 1 {
                self.join_bands(plane);
            }
        }
        tail.iter_mut().take(self.tail()).for_each(|byte| *byte = zero);
    }

    /// Copies the rows at the edges of each band into the halo of its neighbours.
    fn join_bands(&self, plane: &mut [u8]) {
        let (stride, margin) = (self.stride(), self.pad * self.bands);
        let word = |plane: &[u8], at: usize| {
            let bytes = plane.get(at..).and_then(|rest| rest.first_chunk::<4>());
            u32::from_le_bytes(bytes.copied().unwrap_or_default())
        };
        let zero = u32::from(self.zero_point);
        for row in 0..self.pad {
            let (above, last) = (row * stride, (self.rows() + row) * stride);
            let (below, first) =
                ((self.pad + self.rows() + row) * stride, (self.pad + row) * stride);
            for at in (margin..stride).step_by(BANDS.into()) {
                let down = word(plane, last + at) << 8 | zero;
                let up = word(plane, first + at) >> 8 | zero << 24;
                for (to, value) in [(above + at, down), (below + at, up)] {
                    if let Some(to) = plane.get_mut(to..).and_then(|rest| rest.first_chunk_mut()) {
                        *to = value.to_le_bytes();
                    }
                }
            }
        }
    }

    /// The bytes of row `row` of every band, without halo.
    pub fn row<'a>(&self, bytes: &'a [u8], channel: usize, row: usize) -> &'a [u8] {
        let start = self.row_start(channel, row);
        bytes.get(start..).and_then(|rest| rest.get(..self.row_bytes())).unwrap_or(&[])
    }

    /// The bytes of row `row` of every band, without halo, to be written.
    pub fn row_mut<'a>(&self, bytes: &'a mut [u8], channel: usize, row: usize) -> &'a mut [u8] {
        let start = self.row_start(channel, row);
        let rest = bytes.get_mut(start..).unwrap_or_default();
        rest.get_mut(..self.row_bytes()).unwrap_or_default()
    }
}

/// Writes a byte of a piece too short for a call.
#[inline(always)]
fn put(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}

/// Bytes that fill a plane of `bytes` up to whole words.
const fn filling(bytes: usize) -> usize {
    bytes.next_multiple_of(4) - bytes
}

/// Most arena bytes of a tensor, 16 MiB: kernels pack an offset and a weight into one word.
pub const MAX_STORAGE: u32 = 1 << 24;

/// Arena bytes of `tensor` with a halo of `pad` in `bands`; `None` where it cannot lie so, and beyond
/// [`MAX_STORAGE`]. Tensors without halo are rounded up to whole 32-byte blocks, so that dense kernels may
/// read whole words past the end, and narrow and split maps have 16 bytes behind, so that kernels may go
/// over rows in tiles of 16.
pub fn storage(tensor: &Tensor, pad: u8, bands: u8) -> Option<u32> {
    let (pad, bands) = if MAPS { (pad, bands) } else { (0, 1) };
    let planes = Planes::new(tensor, pad).banded(bands)?;
    planes.storage(planes.channels, tensor.element)
}

impl Planes {
    /// As [`storage`], of so many channels.
    pub(crate) fn storage(&self, channels: usize, element: Element) -> Option<u32> {
        let element = match element {
            Element::Activation => 1,
            Element::Logit => 4,
        };
        let vector = self.is_vector();
        // Element after element: all that there is without maps, and what dense layers work on, for which
        // a start and a session ask often.
        if !MAPS || (vector && self.pad == 0 && self.is_plain()) {
            let bytes = channels.checked_mul(self.height)?.checked_mul(self.width)?;
            let rounded = bytes.checked_mul(element)?.checked_next_multiple_of(32)?;
            return u32::try_from(rounded).ok().filter(|bytes| *bytes <= MAX_STORAGE);
        }
        let narrow = self.split || self.row_bytes() < 16 && !vector;
        let rows = self.rows() + self.pad + self.below();
        let plane = rows.checked_mul(self.stride())?.checked_add(self.filling)?;
        let bytes = channels.checked_mul(plane)?.checked_add(self.tail())?;
        let bytes = bytes.checked_mul(element)?.checked_add(if narrow { 16 } else { 0 })?;
        let rounded = bytes.checked_next_multiple_of(if self.pad == 0 { 32 } else { 4 })?;
        u32::try_from(rounded).ok().filter(|bytes| *bytes <= MAX_STORAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// Every element of a map `height` × 5 with its halo, written through [`Planes::index`].
    fn filled(height: u16, pad: u8, bands: u8) -> (Planes, Vec<u8>) {
        let planes = Planes::new(&Tensor::map(2, height, 5, 99), pad).banded(bands).unwrap();
        let mut bytes = vec![0xaa; planes.len()];
        for c in 0..2 {
            for y in 0..planes.height {
                for x in 0..5 {
                    bytes[planes.index(c, y, x)] = (40 * c + 5 * y + x) as u8;
                }
            }
        }
        planes.fill_halo(&mut bytes);
        (planes, bytes)
    }

    #[test]
    fn every_tap_of_a_banded_plane_is_whole_words_away() {
        for pad in [1, 2] {
            let (planes, bytes) = filled(8, pad, BANDS);
            let reach = i64::from(pad);
            for y in 0..8_i64 {
                for x in 0..5_i64 {
                    let here = planes.index(1, y as usize, x as usize) as i64;
                    for (dy, dx) in
                        (-reach..=reach).flat_map(|a| (-reach..=reach).map(move |b| (a, b)))
                    {
                        let there = here + dy * planes.stride() as i64 + 4 * dx;
                        let (row, column) = (y + dy, x + dx);
                        let inside = (0..8).contains(&row) && (0..5).contains(&column);
                        let expected = if inside { 40 + 5 * row + column } else { 99 };
                        assert_eq!(i64::from(bytes[there as usize]), expected, "{y} {x} {dy} {dx}");
                    }
                }
            }
        }
    }

    #[test]
    fn taps_of_a_split_plane_are_next_to_each_other() {
        for (pad, left) in [(1, 0), (1, 1), (2, 1), (3, 2)] {
            let (planes, bytes) = filled(5, pad, SPLIT);
            let corner = planes.corner(pad.into(), left).unwrap();
            for (output, row, column) in (0..2).flat_map(|o| (0..4).map(move |k| (o, k / 2, k % 2)))
            {
                let at = planes.plane() + corner + planes.tap(left, row, column) + output;
                let x = (2 * output + column).checked_sub(left).filter(|x| *x < 5);
                let y = row.checked_sub(pad.into());
                let expected = match (x, y) {
                    (Some(x), Some(y)) => 40 + 5 * y + x,
                    _ => 99,
                };
                assert_eq!(
                    usize::from(bytes[at]),
                    expected,
                    "{pad} {left} {output} {row} {column}"
                );
            }
        }
    }

    #[test]
    fn a_plain_halo_holds_the_zero_point() {
        let (planes, bytes) = filled(3, 2, 1);
        let inside = bytes.iter().filter(|byte| **byte != 99).count();
        assert_eq!((inside, bytes.contains(&0xaa)), (2 * 15, false));
        assert_eq!(planes.len(), 2 * 5 * 7 + 2 * 7 + 2);
    }

    #[test]
    fn storage_is_the_length_rounded_up() {
        let map = Tensor::map(3, 8, 5, 0);
        for (pad, bands, grain) in
            [(0, 1, 32), (1, 1, 4), (2, 1, 4), (0, 4, 32), (1, 4, 4), (2, 4, 4), (1, SPLIT, 4)]
        {
            let length = Planes::new(&map, pad).banded(bands).unwrap().len();
            // A row of 5 bytes is a narrow one.
            let behind = if bands == BANDS { 0 } else { 16 };
            let expected = (length + behind).next_multiple_of(grain) as u32;
            assert_eq!(storage(&map, pad, bands), Some(expected), "{pad} {bands}");
        }
    }

    #[test]
    fn planes_of_whole_words_begin_at_words() {
        for (height, width, plane) in [(25, 5, 128), (3, 3, 12), (2, 4, 8), (1, 1, 4)] {
            let map = Tensor::map(3, height, width, 0);
            let planes = Planes::new(&map, 0).banded(WHOLE).unwrap();
            assert_eq!((planes.plane(), planes.index(2, 0, 0)), (plane, 2 * plane));
            assert!(storage(&map, 0, WHOLE).unwrap() as usize >= planes.len());
        }
        assert!(Planes::new(&Tensor::map(3, 5, 5, 0), 1).banded(WHOLE).is_none());
    }

    #[test]
    fn bands_divide_the_height_and_span_the_halo() {
        let planes = |height, pad| Planes::new(&Tensor::map(1, height, 3, 0), pad);
        assert!(planes(8, 2).banded(4).is_some());
        assert!(planes(8, 3).banded(4).is_none());
        assert!(planes(6, 0).banded(4).is_none());
        assert!(planes(8, 0).banded(5).is_none());
    }
}
