//! Matrix products on parts of tensors, and reused buffers.

use std::sync::Mutex;

use crate::vectorised::vectorised;

/// A matrix in a slice: element (r, c) at `r·row_step + c·column_step`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> View<'a> {
    /// A row-major matrix whose rows begin `row_step` apart.
    ///
    /// Panics where it does not lie within `data`.
    pub fn new(data: &'a [f32], rows: usize, columns: usize, row_step: usize) -> Self {
        assert!(extent(rows, columns, row_step) <= data.len(), "matrix beyond its slice");
        Self { data, rows, columns, row_step, column_step: 1 }
    }

    /// The same matrix with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }

    #[inline(always)]
    fn at(&self, row: usize, column: usize) -> f32 {
        self.data[row * self.row_step + column * self.column_step]
    }

    /// `N` numbers that lie side by side.
    #[inline(always)]
    fn contiguous<const N: usize>(&self, start: usize) -> &'a [f32; N] {
        self.data[start..].first_chunk().expect("the matrix lies within its slice")
    }
}

/// Elements from the first to the last of a row-major matrix.
fn extent(rows: usize, columns: usize, row_step: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_step + columns }
}

/// `a·b` written (or added) to `output`, a row-major matrix whose rows are `row_step` apart. The
/// order of the sums depends on the shapes alone.
///
/// Panics where sizes do not chain, the matrix is not within `output`, or neither the rows of `b`
/// nor those of both transposed matrices are contiguous.
pub fn multiply(output: &mut [f32], row_step: usize, a: View<'_>, b: View<'_>, accumulate: bool) {
    assert_eq!(a.columns, b.rows, "inner sizes differ");
    assert!(extent(a.rows, b.columns, row_step) <= output.len(), "product beyond its slice");
    if b.column_step == 1 {
        by_columns(output, row_step, a, b, accumulate);
    } else {
        assert!(a.column_step == 1 && b.row_step == 1, "neither product is of contiguous rows");
        by_dots(output, row_step, a, b, accumulate);
    }
}

/// Numbers of a vector register.
const WIDTH: usize = 8;
/// Columns of the output that [`by_columns`] holds in registers.
const COLUMNS: usize = 2 * WIDTH;

vectorised! {
    /// The product where rows of `b` are contiguous: multiples of them are added up.
    fn by_columns(output: &mut [f32], row_step: usize, a: View<'_>, b: View<'_>, accumulate: bool) {
        let whole = b.columns - b.columns % COLUMNS;
        for column in (0..whole).step_by(COLUMNS) {
            let mut row = 0;
            while row < a.rows {
                let output = &mut output[row * row_step + column..];
                // As even as possible: a part needs enough sums at once to hide their latency.
                row += match a.rows - row {
                    1 => multiples::<1>(output, row_step, a, row, b, column, accumulate),
                    2 => multiples::<2>(output, row_step, a, row, b, column, accumulate),
                    3 => multiples::<3>(output, row_step, a, row, b, column, accumulate),
                    4 | 8 => multiples::<4>(output, row_step, a, row, b, column, accumulate),
                    5 => multiples::<5>(output, row_step, a, row, b, column, accumulate),
                    _ => multiples::<6>(output, row_step, a, row, b, column, accumulate),
                };
            }
        }
        for row in 0..a.rows {
            for column in whole..b.columns {
                let mut sum = 0.0;
                for inner in 0..a.columns {
                    sum = a.at(row, inner).mul_add(b.at(inner, column), sum);
                }
                put(&mut output[row * row_step + column], sum, accumulate);
            }
        }
    }

    /// The product where rows of `a` and columns of `b` are contiguous: each number is a dot
    /// product.
    fn by_dots(output: &mut [f32], row_step: usize, a: View<'_>, b: View<'_>, accumulate: bool) {
        let mut row = 0;
        while row < a.rows {
            let rows = match a.rows - row {
                1 => 1,
                2 | 3 => 2,
                _ => 4,
            };
            let mut column = 0;
            while column < b.columns {
                let output = &mut output[row * row_step + column..];
                let columns = match b.columns - column {
                    1 => 1,
                    2 | 4 => 2,
                    _ => 3,
                };
                let at = [row, column];
                match (rows, columns) {
                    (4, 3) => dots::<4, 3>(output, row_step, a, b, at, accumulate),
                    (4, 2) => dots::<4, 2>(output, row_step, a, b, at, accumulate),
                    (4, _) => dots::<4, 1>(output, row_step, a, b, at, accumulate),
                    (2, 3) => dots::<2, 3>(output, row_step, a, b, at, accumulate),
                    (2, 2) => dots::<2, 2>(output, row_step, a, b, at, accumulate),
                    (2, _) => dots::<2, 1>(output, row_step, a, b, at, accumulate),
                    (_, 3) => dots::<1, 3>(output, row_step, a, b, at, accumulate),
                    (_, 2) => dots::<1, 2>(output, row_step, a, b, at, accumulate),
                    (_, _) => dots::<1, 1>(output, row_step, a, b, at, accumulate),
                }
                column += columns;
            }
            row += rows;
        }
    }
}

/// a·b + sum, each.
#[inline(always)]
fn fused(a: [f32; WIDTH], b: [f32; WIDTH], mut sum: [f32; WIDTH]) -> [f32; WIDTH] {
    for lane in 0..WIDTH {
        sum[lane] = a[lane].mul_add(b[lane], sum[lane]);
    }
    sum
}

#[inline(always)]
fn put(to: &mut f32, value: f32, accumulate: bool) {
    *to = if accumulate { *to + value } else { value };
}

/// `R` rows of `a` from `row` times the columns of `b` from `column`, to the beginning of
/// `output`. Returns `R`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn multiples<const R: usize>(
    output: &mut [f32],
    row_step: usize,
    a: View<'_>,
    row: usize,
    b: View<'_>,
    column: usize,
    accumulate: bool,
) -> usize {
    let mut sums = [[0f32; COLUMNS]; R];
    for inner in 0..a.columns {
        let values: &[f32; COLUMNS] = b.contiguous(inner * b.row_step + column);
        for (index, sums) in sums.iter_mut().enumerate() {
            let factor = a.at(row + index, inner);
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = factor.mul_add(*value, *sum);
            }
        }
    }
    for (index, sums) in sums.iter().enumerate() {
        let output = &mut output[index * row_step..][..COLUMNS];
        output.iter_mut().zip(sums).for_each(|(to, &sum)| put(to, sum, accumulate));
    }
    R
}

/// `R` rows of `a` times `C` columns of `b`, from `(row, column)`, to the beginning of `output`.
#[inline(always)]
fn dots<const R: usize, const C: usize>(
    output: &mut [f32],
    row_step: usize,
    a: View<'_>,
    b: View<'_>,
    [row_of, column]: [usize; 2],
    accumulate: bool,
) {
    let steps = a.columns / WIDTH;
    let whole = steps * WIDTH;
    // Cut to their length once, not at every step.
    let left: [*const [f32; WIDTH]; R] = std::array::from_fn(|index| {
        a.data[(row_of + index) * a.row_step..][..whole].as_ptr().cast()
    });
    let right: [*const [f32; WIDTH]; C] = std::array::from_fn(|index| {
        b.data[(column + index) * b.column_step..][..whole].as_ptr().cast()
    });
    let mut sums = [[[0f32; WIDTH]; C]; R];
    for step in 0..steps {
        // SAFETY: `step` is less than the registers' worth of numbers of each row.
        let right: [_; C] = std::array::from_fn(|index| unsafe { *right[index].add(step) });
        for r in 0..R {
            // SAFETY: as above.
            let left = unsafe { *left[r].add(step) };
            for c in 0..C {
                sums[r][c] = fused(left, right[c], sums[r][c]);
            }
        }
    }
    for c in 0..C {
        // Missing rows are summed in vain: the others need no code of their own then.
        let row = |index: usize| if index < R { sums[index][c] } else { [0.0; WIDTH] };
        let totals = totals(row(0), row(1), row(2), row(3));
        for (index, &total) in totals.iter().take(R).enumerate() {
            let mut sum = total;
            for inner in whole..a.columns {
                sum = a.at(row_of + index, inner).mul_add(b.at(inner, column + c), sum);
            }
            put(&mut output[index * row_step + c], sum, accumulate);
        }
    }
}

/// The sum of each of four registers.
#[inline(always)]
fn totals(a: [f32; WIDTH], b: [f32; WIDTH], c: [f32; WIDTH], d: [f32; WIDTH]) -> [f32; WIDTH / 2] {
    let (ab, cd) = (interleaved_sums(a, b), interleaved_sums(c, d));
    // ab = a b a b a b a b
    let first = [ab[0], ab[1], cd[0], cd[1], ab[4], ab[5], cd[4], cd[5]];
    let second = [ab[2], ab[3], cd[2], cd[3], ab[6], ab[7], cd[6], cd[7]];
    let mut quarters = first;
    for lane in 0..WIDTH {
        quarters[lane] += second[lane];
    }
    let [a0, b0, c0, d0, a1, b1, c1, d1] = quarters;
    [a0 + a1, b0 + b1, c0 + c1, d0 + d1]
}

/// Neighbours of two registers added, in turn.
#[inline(always)]
fn interleaved_sums(a: [f32; WIDTH], b: [f32; WIDTH]) -> [f32; WIDTH] {
    let mut low = [a[0], b[0], a[1], b[1], a[4], b[4], a[5], b[5]];
    let high = [a[2], b[2], a[3], b[3], a[6], b[6], a[7], b[7]];
    for lane in 0..WIDTH {
        low[lane] += high[lane];
    }
    low
}

/// Buffers that outlive a step, so that no step allocates once every size has been seen.
#[derive(Default)]
pub struct Scratch(Mutex<Pool>);

/// The buffers that nobody has borrowed, and the largest size that anybody asked for.
#[derive(Default)]
struct Pool {
    free: Vec<Vec<f32>>,
    largest: usize,
}

impl Scratch {
    /// Lends `work` a buffer of `length` numbers of any value.
    pub fn with<R>(&self, length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
        let lock = || self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (mut buffer, largest) = {
            let mut pool = lock();
            pool.largest = pool.largest.max(length);
            (pool.free.pop().unwrap_or_default(), pool.largest)
        };
        if buffer.len() < length {
            // All become as large: any of them fits any need then. Pages that nobody touches cost
            // nothing.
            buffer = vec![0.0; largest];
        }
        let result = work(&mut buffer[..length]);
        lock().free.push(buffer);
        result
    }
}

vectorised! {
    /// Adds the `parts` of equal length, one after the other, into `sum`.
    pub fn sum_in_order(sum: &mut [f32], parts: &[f32]) {
        let mut parts = parts.chunks_exact(sum.len());
        if let Some(first) = parts.next() {
            sum.copy_from_slice(first);
        }
        for part in parts {
            for (total, value) in sum.iter_mut().zip(part) {
                *total += value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::check::random;

    #[test]
    fn products_land_where_they_should() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let b = [1.0, 0.0, 1.0, 1.0];
        let mut output = [0.0; 8];
        let left = View::new(&a, 2, 2, 3);
        multiply(&mut output[1..], 4, left, View::new(&b, 2, 2, 2).transposed(), true);
        assert_eq!(output, [0.0, 1.0, 3.0, 0.0, 0.0, 4.0, 9.0, 0.0]);
    }

    #[test]
    fn products_of_every_size_are_the_definition() {
        for (rows, inner, columns) in (1..=13).flat_map(|rows| {
            [1, 7, 8, 21].into_iter().flat_map(move |inner| {
                [1, 2, 3, 4, 5, 16, 37].into_iter().map(move |columns| (rows, inner, columns))
            })
        }) {
            let (a, b) = (random(rows * inner, 1), random(inner * columns, 2));
            let normal = View::new(&a, rows, inner, inner);
            let turned = View::new(&a, inner, rows, rows).transposed();
            let right = View::new(&b, inner, columns, columns);
            let dotted = View::new(&b, columns, inner, inner).transposed();
            for (a, b) in [(normal, right), (turned, right), (normal, dotted)] {
                for accumulate in [false, true] {
                    let mut output = vec![1.0; rows * (columns + 1)];
                    multiply(&mut output, columns + 1, a, b, accumulate);
                    for (index, &found) in output.iter().enumerate() {
                        let (row, column) = (index / (columns + 1), index % (columns + 1));
                        let product: f32 = if column == columns {
                            1.0 // Between the rows.
                        } else {
                            (0..inner).map(|i| a.at(row, i) * b.at(i, column)).sum()
                        };
                        let before = f32::from(u8::from(accumulate && column < columns));
                        let expected = before + product;
                        assert!((found - expected).abs() < 1e-4, "{rows}×{inner}×{columns}");
                    }
                }
            }
        }
    }

    #[test]
    fn scratch_buffers_are_reused() {
        let scratch = Scratch::default();
        let first = scratch.with(100, |buffer| buffer.as_ptr() as usize);
        let second = scratch.with(50, |buffer| buffer.as_ptr() as usize);
        assert_eq!(first, second);
    }
}
