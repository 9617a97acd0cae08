//! 3×3 convolutions of stride 1 by Winograd's F(4×4, 3×3) (Lavin and Gray 2016, section 4.3): an
//! output tile of 4×4 pixels from an input tile of 6×6, with 36 multiplications a channel pair
//! instead of 144. The backward pass is the transpose of the forward pass, step by step.
//!
//! `V = Bᵀ d B` (input), `U = G g Gᵀ` (filter), `M = Σ U ⊙ V` (36 matrix products over channels),
//! `Y = Aᵀ M A` (output). Results differ from plain sums in the last bits only.

use super::LANES;
use super::conv2d::Conv2d;
use super::matrix::{Scratch, View, multiply};
use crate::vectorised::vectorised;

/// Pixels of an output tile's side.
const TILE: usize = 4;
/// Pixels of an input tile's side.
const SPAN: usize = 6;
/// Points of a transformed tile.
const POINTS: usize = SPAN * SPAN;
/// Numbers that a transform handles at a time: one register.
const WIDTH: usize = 8;
/// Numbers of the transformed tiles, input and output, of one chunk: what a cache holds.
const CHUNK: usize = 1 << 19;
/// Channels below which plain products are faster.
const MIN_CHANNELS: usize = 8;
/// Between the points of a chunk, so that they do not all fall on the same cache lines.
const GAP: usize = 16;

type Lane = [f32; WIDTH];

#[inline(always)]
fn add(mut a: Lane, b: Lane) -> Lane {
    for i in 0..WIDTH {
        a[i] += b[i];
    }
    a
}

#[inline(always)]
fn sub(mut a: Lane, b: Lane) -> Lane {
    for i in 0..WIDTH {
        a[i] -= b[i];
    }
    a
}

#[inline(always)]
fn scale(factor: f32, mut a: Lane) -> Lane {
    for value in &mut a {
        *value *= factor;
    }
    a
}

/// a + factor·b
#[inline(always)]
fn plus(a: Lane, factor: f32, b: Lane) -> Lane {
    add(a, scale(factor, b))
}

/// One side of a transform: a column or row of a tile.
trait Side<const FROM: usize, const TO: usize> {
    fn apply(from: [Lane; FROM]) -> [Lane; TO];
}

/// Bᵀ·d
struct Input;
/// B·t
struct InputTransposed;
/// Aᵀ·m
struct Output;
/// A·y
struct OutputTransposed;

impl Side<SPAN, SPAN> for Input {
    #[inline(always)]
    fn apply(d: [Lane; SPAN]) -> [Lane; SPAN] {
        let (a, b) = (plus(d[4], -4.0, d[2]), plus(d[3], -4.0, d[1]));
        let (c, e) = (sub(d[4], d[2]), scale(2.0, sub(d[3], d[1])));
        [
            plus(plus(d[4], -5.0, d[2]), 4.0, d[0]),
            add(a, b),
            sub(a, b),
            add(c, e),
            sub(c, e),
            plus(plus(d[5], -5.0, d[3]), 4.0, d[1]),
        ]
    }
}

impl Side<SPAN, SPAN> for InputTransposed {
    #[inline(always)]
    fn apply(t: [Lane; SPAN]) -> [Lane; SPAN] {
        let (sum_1, difference_1) = (add(t[1], t[2]), sub(t[1], t[2]));
        let (sum_2, difference_2) = (add(t[3], t[4]), sub(t[3], t[4]));
        [
            scale(4.0, t[0]),
            plus(scale(4.0, sub(t[5], difference_1)), -2.0, difference_2),
            plus(plus(scale(-1.0, sum_2), -4.0, sum_1), -5.0, t[0]),
            plus(plus(difference_1, 2.0, difference_2), -5.0, t[5]),
            add(t[0], add(sum_1, sum_2)),
            t[5],
        ]
    }
}

impl Side<SPAN, TILE> for Output {
    #[inline(always)]
    fn apply(m: [Lane; SPAN]) -> [Lane; TILE] {
        let (sum_1, difference_1) = (add(m[1], m[2]), sub(m[1], m[2]));
        let (sum_2, difference_2) = (add(m[3], m[4]), sub(m[3], m[4]));
        [
            add(m[0], add(sum_1, sum_2)),
            plus(difference_1, 2.0, difference_2),
            plus(sum_1, 4.0, sum_2),
            add(plus(difference_1, 8.0, difference_2), m[5]),
        ]
    }
}

impl Side<TILE, SPAN> for OutputTransposed {
    #[inline(always)]
    fn apply(y: [Lane; TILE]) -> [Lane; SPAN] {
        let (even_1, odd_1) = (add(y[0], y[2]), add(y[1], y[3]));
        let (even_2, odd_2) = (plus(y[0], 4.0, y[2]), scale(2.0, plus(y[1], 4.0, y[3])));
        [y[0], add(even_1, odd_1), sub(even_1, odd_1), add(even_2, odd_2), sub(even_2, odd_2), y[3]]
    }
}

/// G·g
fn filter(g: [f32; 3]) -> [f32; SPAN] {
    let (outer, far) = ((g[0] + g[2]) / -6.0, g[0] / 24.0 + g[2] / 6.0);
    [g[0] / 4.0, outer - g[1] / 6.0, outer + g[1] / 6.0, far + g[1] / 12.0, far - g[1] / 12.0, g[2]]
}

/// Gᵀ·u
fn filter_transposed(u: [f32; SPAN]) -> [f32; 3] {
    let (near, far) = (u[1] + u[2], u[3] + u[4]);
    [
        u[0] / 4.0 - near / 6.0 + far / 24.0,
        (u[2] - u[1]) / 6.0 + (u[3] - u[4]) / 12.0,
        (far - near) / 6.0 + u[5],
    ]
}

/// Both sides of a transform: the columns, then the rows. `load(y, x)` gives a number of the tile
/// before, `store(y, x, value)` takes one of the tile after.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "the columns of `half` are not contiguous")]
fn both_sides<S: Side<FROM, TO>, const FROM: usize, const TO: usize>(
    load: impl Fn(usize, usize) -> Lane,
    mut store: impl FnMut(usize, usize, Lane),
) {
    let mut half = [[[0.0; WIDTH]; FROM]; TO];
    for x in 0..FROM {
        let mut column = [[0.0; WIDTH]; FROM];
        for (y, value) in column.iter_mut().enumerate() {
            *value = load(y, x);
        }
        let column = S::apply(column);
        for y in 0..TO {
            half[y][x] = column[y];
        }
    }
    for (y, row) in half.iter().enumerate() {
        let row = S::apply(*row);
        for (x, value) in row.iter().enumerate() {
            store(y, x, *value);
        }
    }
}

/// Whether a convolution is of this kind and large enough.
pub fn applies(conv: &Conv2d, lanes: usize) -> bool {
    lanes == LANES
        && conv.window.kernel == [3; 2]
        && conv.window.stride == [1; 2]
        && conv.input.channels >= MIN_CHANNELS
        && conv.output.channels >= MIN_CHANNELS
}

/// Transforms `matrix` (`[output channel][input channel][3][3]`) to `U`, `[point][output
/// channel][input channel]`.
pub fn transform_filters(matrix: &[f32], filters: &mut Vec<f32>) {
    let pairs = matrix.len() / 9;
    filters.resize(POINTS * pairs, 0.0);
    for (pair, kernel) in matrix.as_chunks::<9>().0.iter().enumerate() {
        let columns: [[f32; SPAN]; 3] =
            std::array::from_fn(|x| filter([kernel[x], kernel[3 + x], kernel[6 + x]]));
        for y in 0..SPAN {
            let row = filter([columns[0][y], columns[1][y], columns[2][y]]);
            for (x, value) in row.into_iter().enumerate() {
                filters[(y * SPAN + x) * pairs + pair] = value;
            }
        }
    }
}

/// The transpose of [`transform_filters`]: gradient of `U` to gradient of the matrix. `U` has
/// `padded` inputs for each output, of which the first are those of the matrix.
fn transform_filters_transposed(
    filters: &[f32],
    [outputs, inputs, padded]: [usize; 3],
    matrix: &mut [f32],
) {
    for (pair, kernel) in matrix.as_chunks_mut::<9>().0.iter_mut().enumerate() {
        let at = pair / inputs * padded + pair % inputs;
        let point = |y: usize, x: usize| filters[(y * SPAN + x) * outputs * padded + at];
        let columns: [[f32; 3]; SPAN] =
            std::array::from_fn(|x| filter_transposed(std::array::from_fn(|y| point(y, x))));
        for y in 0..3 {
            let row = filter_transposed(std::array::from_fn(|x| columns[x][y]));
            kernel[3 * y..3 * y + 3].copy_from_slice(&row);
        }
    }
}

/// A convolution cut into chunks of tiles.
struct Tiling<'a> {
    conv: &'a Conv2d,
    tiles_x: usize,
    tiles: usize,
    /// Tiles of a chunk.
    chunk: usize,
}

impl<'a> Tiling<'a> {
    fn new(conv: &'a Conv2d) -> Self {
        let tiles_x = conv.output.width.div_ceil(TILE);
        let tiles = tiles_x * conv.output.height.div_ceil(TILE);
        let per_tile = POINTS * (conv.input.channels + conv.output.channels) * LANES;
        let most = (CHUNK / per_tile).clamp(2, tiles.max(2));
        // Chunks of equal size.
        let chunk = tiles.div_ceil(tiles.div_ceil(most));
        Self { conv, tiles_x, tiles, chunk }
    }

    /// Numbers between the points of a transformed chunk.
    fn step(&self, channels: usize) -> usize {
        channels * self.chunk * LANES + GAP
    }

    /// First tile and number of tiles of each chunk.
    fn chunks(&self) -> impl Iterator<Item = (usize, usize)> {
        let (tiles, chunk) = (self.tiles, self.chunk);
        (0..tiles).step_by(chunk).map(move |first| (first, chunk.min(tiles - first)))
    }

    /// Row and column of the first output pixel of a tile.
    fn corner(&self, tile: usize) -> (usize, usize) {
        (tile / self.tiles_x * TILE, tile % self.tiles_x * TILE)
    }

    /// Where input pixel (y, x) of a tile lies in its plane; `None` in the padding.
    #[inline(always)]
    fn input_pixel(&self, (top, left): (usize, usize), y: usize, x: usize) -> Option<usize> {
        let y = (top + y).wrapping_sub(self.conv.window.padding[0] as usize);
        let x = (left + x).wrapping_sub(self.conv.window.padding[1] as usize);
        let (height, width) = (self.conv.input.height, self.conv.input.width);
        (y < height && x < width).then(|| y * width + x)
    }

    /// Where output pixel (y, x) of a tile lies in its plane; `None` beyond the map.
    #[inline(always)]
    fn output_pixel(&self, (top, left): (usize, usize), y: usize, x: usize) -> Option<usize> {
        let (y, x) = (top + y, left + x);
        let (height, width) = (self.conv.output.height, self.conv.output.width);
        (y < height && x < width).then(|| y * width + x)
    }
}

vectorised! {
    /// `V` of a chunk, `[point][input channel][tile][lane]`.
    fn transform_input(tiling: &Tiling<'_>, input_block: &[f32], chunk: (usize, usize), v: &mut [f32]) {
        let (first, tiles) = chunk;
        let (channels, pixels) = (tiling.conv.input.channels, tiling.conv.input.pixels());
        let step = tiling.step(channels);
        for (channel, plane) in input_block.chunks_exact(pixels * LANES).enumerate() {
            for tile in 0..tiles {
                let corner = tiling.corner(first + tile);
                let to = (channel * tiles + tile) * LANES;
                for part in [0, WIDTH] {
                    both_sides::<Input, _, _>(
                        |y, x| match tiling.input_pixel(corner, y, x) {
                            Some(pixel) => read(plane, pixel * LANES + part),
                            None => [0.0; WIDTH],
                        },
                        |y, x, value| write(v, (y * SPAN + x) * step + to + part, value),
                    );
                }
            }
        }
    }

    /// The gradient of `M` of a chunk, `[point][output channel][tile][lane]`.
    fn transform_output_gradient(
        tiling: &Tiling<'_>,
        gradient: &[f32],
        chunk: (usize, usize),
        m: &mut [f32],
    ) {
        let (first, tiles) = chunk;
        let (channels, pixels) = (tiling.conv.output.channels, tiling.conv.output.pixels());
        let step = tiling.step(channels);
        for (channel, plane) in gradient.chunks_exact(pixels * LANES).enumerate() {
            for tile in 0..tiles {
                let corner = tiling.corner(first + tile);
                let to = (channel * tiles + tile) * LANES;
                for part in [0, WIDTH] {
                    both_sides::<OutputTransposed, _, _>(
                        |y, x| match tiling.output_pixel(corner, y, x) {
                            Some(pixel) => read(plane, pixel * LANES + part),
                            None => [0.0; WIDTH],
                        },
                        |y, x, value| write(m, (y * SPAN + x) * step + to + part, value),
                    );
                }
            }
        }
    }

    /// `M` of a chunk to its output pixels.
    fn transform_output(
        tiling: &Tiling<'_>,
        m: &[f32],
        chunk: (usize, usize),
        output_block: &mut [f32],
    ) {
        let (first, tiles) = chunk;
        let (channels, pixels) = (tiling.conv.output.channels, tiling.conv.output.pixels());
        let step = tiling.step(channels);
        for (channel, plane) in output_block.chunks_exact_mut(pixels * LANES).enumerate() {
            for tile in 0..tiles {
                let corner = tiling.corner(first + tile);
                let from = (channel * tiles + tile) * LANES;
                for part in [0, WIDTH] {
                    both_sides::<Output, _, _>(
                        |y, x| read(m, (y * SPAN + x) * step + from + part),
                        |y, x, value| {
                            if let Some(pixel) = tiling.output_pixel(corner, y, x) {
                                write(plane, pixel * LANES + part, value);
                            }
                        },
                    );
                }
            }
        }
    }

    /// The gradient of `V` of a chunk, added to its input pixels.
    fn transform_input_gradient(
        tiling: &Tiling<'_>,
        v: &[f32],
        chunk: (usize, usize),
        gradient: &mut [f32],
    ) {
        let (first, tiles) = chunk;
        let (channels, pixels) = (tiling.conv.input.channels, tiling.conv.input.pixels());
        // As far apart as the points of the transformed input, in whose place this is.
        let step = tiling.step(padded(channels));
        for (channel, plane) in gradient.chunks_exact_mut(pixels * LANES).enumerate() {
            for tile in 0..tiles {
                let corner = tiling.corner(first + tile);
                let from = (channel * tiles + tile) * LANES;
                for part in [0, WIDTH] {
                    both_sides::<InputTransposed, _, _>(
                        |y, x| read(v, (y * SPAN + x) * step + from + part),
                        |y, x, value| {
                            if let Some(pixel) = tiling.input_pixel(corner, y, x) {
                                let at = pixel * LANES + part;
                                write(plane, at, add(read(plane, at), value));
                            }
                        },
                    );
                }
            }
        }
    }
}

#[inline(always)]
fn read(values: &[f32], at: usize) -> Lane {
    let mut lane = [0.0; WIDTH];
    lane.copy_from_slice(&values[at..at + WIDTH]);
    lane
}

#[inline(always)]
fn write(values: &mut [f32], at: usize, lane: Lane) {
    values[at..at + WIDTH].copy_from_slice(&lane);
}

/// The convolution of one block of images.
pub fn forward(
    conv: &Conv2d,
    input_block: &[f32],
    filters: &[f32],
    output_block: &mut [f32],
    scratch: &Scratch,
) {
    let tiling = Tiling::new(conv);
    let (inputs, outputs) = (conv.input.channels, conv.output.channels);
    let (v_step, m_step) = (tiling.step(inputs), tiling.step(outputs));
    scratch.with(POINTS * (v_step + m_step), |buffer| {
        let (v, m) = buffer.split_at_mut(POINTS * v_step);
        for chunk in tiling.chunks() {
            transform_input(&tiling, input_block, chunk, v);
            let columns = chunk.1 * LANES;
            for (point, u) in filters.chunks_exact(inputs * outputs).enumerate() {
                multiply(
                    &mut m[point * m_step..],
                    columns,
                    View::new(u, outputs, inputs, inputs),
                    View::new(&v[point * v_step..], inputs, columns, columns),
                    false,
                );
            }
            transform_output(&tiling, m, chunk, output_block);
        }
    });
}

/// Gradients for one block of images: of the weights, and of the input where it is wanted.
pub fn backward(
    conv: &Conv2d,
    input_block: &[f32],
    filters: &[f32],
    output_gradient: &[f32],
    matrix_gradient: &mut [f32],
    mut input_gradient: Option<&mut [f32]>,
    scratch: &Scratch,
) {
    let tiling = Tiling::new(conv);
    let (inputs, outputs) = (conv.input.channels, conv.output.channels);
    let padded = padded(inputs);
    let (v_step, m_step) = (tiling.step(padded), tiling.step(outputs));
    let (pairs, u_step) = (inputs * outputs, padded * outputs);
    if let Some(gradient) = input_gradient.as_deref_mut() {
        gradient.fill(0.0);
    }
    let turned_len = conv.input.pixels() * LANES * padded;
    scratch.with(turned_len + POINTS * (v_step + m_step + u_step), |buffer| {
        let (turned, rest) = buffer.split_at_mut(turned_len);
        let (v, rest) = rest.split_at_mut(POINTS * v_step);
        let (m, u_gradient) = rest.split_at_mut(POINTS * m_step);
        turn(inputs, input_block, turned);
        for (index, chunk) in tiling.chunks().enumerate() {
            transform_turned_input(&tiling, turned, chunk, v);
            transform_output_gradient(&tiling, output_gradient, chunk, m);
            let columns = chunk.1 * LANES;
            for point in 0..POINTS {
                let m = View::new(&m[point * m_step..], outputs, columns, columns);
                multiply(
                    &mut u_gradient[point * u_step..],
                    padded,
                    m,
                    View::new(&v[point * v_step..], columns, padded, padded),
                    index > 0,
                );
                if input_gradient.is_some() {
                    let u = View::new(&filters[point * pairs..], outputs, inputs, inputs);
                    multiply(&mut v[point * v_step..], columns, u.transposed(), m, false);
                }
            }
            if let Some(gradient) = input_gradient.as_deref_mut() {
                transform_input_gradient(&tiling, v, chunk, gradient);
            }
        }
        transform_filters_transposed(u_gradient, [outputs, inputs, padded], matrix_gradient);
    });
}

/// Input channels with those that fill the last registers, which are 0.
fn padded(channels: usize) -> usize {
    channels.next_multiple_of(2 * WIDTH)
}

/// `[row][column]` to `[column][row]`.
#[inline(always)]
fn transposed(rows: [Lane; WIDTH]) -> [Lane; WIDTH] {
    let [a, b, c, d, e, f, g, h] = rows;
    let pairs = |a: Lane, b: Lane| {
        [
            [a[0], b[0], a[1], b[1], a[4], b[4], a[5], b[5]],
            [a[2], b[2], a[3], b[3], a[6], b[6], a[7], b[7]],
        ]
    };
    let quads = |a: Lane, b: Lane| {
        [
            [a[0], a[1], b[0], b[1], a[4], a[5], b[4], b[5]],
            [a[2], a[3], b[2], b[3], a[6], a[7], b[6], b[7]],
        ]
    };
    let halves = |a: Lane, b: Lane| {
        [
            [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]],
            [a[4], a[5], a[6], a[7], b[4], b[5], b[6], b[7]],
        ]
    };
    let ([ab_01, ab_23], [cd_01, cd_23]) = (pairs(a, b), pairs(c, d));
    let ([ef_01, ef_23], [gh_01, gh_23]) = (pairs(e, f), pairs(g, h));
    let ([first_0, first_1], [first_2, first_3]) = (quads(ab_01, cd_01), quads(ab_23, cd_23));
    let ([last_0, last_1], [last_2, last_3]) = (quads(ef_01, gh_01), quads(ef_23, gh_23));
    let [row_0, row_4] = halves(first_0, last_0);
    let [row_1, row_5] = halves(first_1, last_1);
    let [row_2, row_6] = halves(first_2, last_2);
    let [row_3, row_7] = halves(first_3, last_3);
    [row_0, row_1, row_2, row_3, row_4, row_5, row_6, row_7]
}

vectorised! {
    /// A block `[channel][pixel][lane]` to `[pixel][lane][channel]`, filled up with channels of 0.
    fn turn(channels: usize, block: &[f32], turned: &mut [f32]) {
        let (step, padded) = (block.len() / channels, padded(channels));
        for pixel in (0..step).step_by(WIDTH) {
            for channel in (0..padded).step_by(WIDTH) {
                let mut rows = [[0.0; WIDTH]; WIDTH];
                for (index, row) in rows.iter_mut().enumerate().take(channels.saturating_sub(channel)) {
                    *row = read(block, (channel + index) * step + pixel);
                }
                for (index, row) in transposed(rows).into_iter().enumerate() {
                    write(turned, (pixel + index) * padded + channel, row);
                }
            }
        }
    }

    /// `V` of a chunk, `[point][tile][lane][input channel]`, from what [`turn`] gives.
    fn transform_turned_input(
        tiling: &Tiling<'_>,
        turned: &[f32],
        chunk: (usize, usize),
        v: &mut [f32],
    ) {
        let (first, tiles) = chunk;
        let padded = padded(tiling.conv.input.channels);
        let (step, size) = (tiling.step(padded), LANES * padded);
        for tile in 0..tiles {
            let corner = tiling.corner(first + tile);
            for part in (0..size).step_by(WIDTH) {
                both_sides::<Input, _, _>(
                    |y, x| match tiling.input_pixel(corner, y, x) {
                        Some(pixel) => read(turned, pixel * size + part),
                        None => [0.0; WIDTH],
                    },
                    |y, x, value| write(v, (y * SPAN + x) * step + tile * size + part, value),
                );
            }
        }
    }
}
