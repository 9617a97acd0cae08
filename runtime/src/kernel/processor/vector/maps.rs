//! Pools and sums of maps, in place where these lie so: nothing is written before all that it is made
//! from, and nothing behind it, was read.

use super::Vector;
use crate::epilogue::Affine;
use crate::kernel::Placed;
use crate::kernel::reference::average;
use crate::layer::{Add, Pool, PoolKind, Window};

/// The maximum under 2×2 by 2, and the average of a whole map; `false`, and nothing done, for other
/// pools and for rows shorter than a vector.
///
/// # Safety
/// See [`super`].
#[inline(always)]
pub(in crate::kernel::processor) unsafe fn pool<V: Vector>(
    pool: &Pool,
    memory: &mut [u8],
    x: Placed,
    y: Placed,
) -> bool {
    let bands = y.planes.bands;
    let [height, width] = pool.window.kernel.map(usize::from);
    let all = y.planes.is_vector()
        && (height, width) == (x.planes.height, x.planes.width)
        && pool.window.padding == [0; 4];
    if all && pool.kind == PoolKind::Average && x.planes.bands == 1 {
        average_of_all(memory, x, y, pool.window.area());
        return true;
    }
    let halving = pool.window == Window::square(2, 2, 0) && pool.kind == PoolKind::Max;
    if !halving || x.planes.bands != bands || y.planes.row_bytes() < V::BYTES {
        return false;
    }
    for channel in 0..y.planes.channels {
        for row in 0..y.planes.rows() {
            let upper = x.row_start(channel, 2 * row);
            let lower = x.row_start(channel, 2 * row + 1);
            let (to, length) = (y.row_start(channel, row), y.planes.row_bytes());
            let mut at = 0;
            while at + V::BYTES <= length {
                // SAFETY: as for this function.
                let done =
                    unsafe { halve::<V>(memory, [upper + 2 * at, lower + 2 * at], to + at, bands) };
                if !done {
                    break;
                }
                at += V::BYTES;
            }
            while at < length {
                let column = 2 * (at / bands) * bands + at % bands;
                let taps = [upper, lower].map(|row| [row + column, row + column + bands]);
                let values = taps.as_flattened().iter().map(|tap| memory.get(*tap).copied());
                let most = values.map(Option::unwrap_or_default).max();
                if let Some(byte) = memory.get_mut(to + at) {
                    *byte = most.unwrap_or(0);
                }
                at += 1;
            }
        }
    }
    true
}

/// The average of each channel of a plain map.
#[inline(always)]
fn average_of_all(memory: &mut [u8], x: Placed, y: Placed, area: u32) {
    let (stride, width) = (x.planes.stride(), x.planes.width);
    for channel in 0..y.planes.channels {
        let rows = memory.get(x.row_start(channel, 0)..).unwrap_or(&[]);
        let sum_of = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let sum = if stride == width {
            sum_of(rows.get(..x.planes.height * stride).unwrap_or(&[]))
        } else {
            let rows = rows.chunks(stride).take(x.planes.height);
            rows.map(|row| sum_of(row.get(..width).unwrap_or(row))).sum()
        };
        if let Some(byte) = memory.get_mut(y.row_start(channel, 0)) {
            *byte = average(sum as i32, area);
        }
    }
}

/// A vector of maxima from two rows; `false` where the memory ends.
///
/// # Safety
/// See [`super`].
#[inline(always)]
unsafe fn halve<V: Vector>(memory: &mut [u8], rows: [usize; 2], to: usize, bands: usize) -> bool {
    let sources = rows.map(|row| memory.get(row..row + 2 * V::BYTES).map(<[u8]>::as_ptr));
    let ([Some(upper), Some(lower)], true) = (sources, to + V::BYTES <= memory.len()) else {
        return false;
    };
    // SAFETY: as for this function; the pointers are good for two vectors, `to` for one.
    unsafe {
        let first = V::load(upper).max_bytes(V::load(lower));
        let next = V::load(upper.add(V::BYTES)).max_bytes(V::load(lower.add(V::BYTES)));
        let most = if bands == 1 {
            first.max_bytes(first.odd()).evens(next.max_bytes(next.odd()))
        } else {
            first.even_words(next).max_bytes(first.odd_words(next)).sort_words()
        };
        most.store(memory.as_mut_ptr().add(to));
    }
    true
}

/// See [`crate::layer::Add`]; `false`, and nothing done, where the scales do not fit 16 bits.
///
/// # Safety
/// See [`super`].
#[inline(always)]
pub(in crate::kernel::processor) unsafe fn add<V: Vector>(
    add: &Add,
    memory: &mut [u8],
    left: Placed,
    right: Placed,
    y: Placed,
) -> bool {
    let Some((scales, shift)) = add.fixed_point() else { return true };
    let Some(pair) = Pair::new(scales, Affine { scale: 0, shift }) else { return false };
    // SAFETY: as for this function.
    let rule = unsafe { V::pair(pair.scales, pair.shift, pair.right, add.low) };
    let planes = y.planes;
    let alike = |map: &Placed| (map.planes.pad, map.planes.plane()) == (planes.pad, planes.plane());
    let (channels, rows, length) = if alike(&left) && alike(&right) {
        // All of it as one row. The halo is filled afterwards.
        let last = planes.row_start(planes.channels.saturating_sub(1), planes.rows() - 1);
        (1, 1, last + planes.row_bytes() - planes.row_start(0, 0))
    } else {
        (planes.channels, planes.rows(), planes.row_bytes())
    };
    for channel in 0..channels {
        for row in 0..rows {
            let starts = [left, right, y].map(|map| map.row_start(channel, row));
            if starts.iter().any(|start| start + length > memory.len()) {
                continue;
            }
            let mut at = 0;
            while at + V::BYTES <= length {
                let [left, right, to] = starts.map(|start| start + at);
                // SAFETY: as for this function; all three have a vector, as just compared.
                unsafe {
                    let memory = memory.as_mut_ptr();
                    let (left, right) = (V::load(memory.add(left)), V::load(memory.add(right)));
                    V::sum_of_two(left, right, &rule).store(memory.add(to));
                }
                at += V::BYTES;
            }
            for at in at..length {
                let [left, right, to] = starts.map(|start| start + at);
                memory[to] = pair.activation(memory[left], memory[right], add.low);
            }
        }
    }
    true
}

/// The rule of a sum in 32 bits.
struct Pair {
    scales: [i16; 2],
    shift: i32,
    right: u32,
}

impl Pair {
    /// `None` where scales have more than 15 bits between the highest of the larger and the lowest of the
    /// smaller, or where the shift needs more than 32.
    fn new(scales: [i32; 2], affine: Affine) -> Option<Self> {
        // As in `Affine::narrow`, for the power of two that both scales have.
        let power = scales.map(i32::trailing_zeros).into_iter().fold(20, u32::min);
        let [left, right] = scales.map(|scale| i16::try_from(scale >> power).ok());
        let scales = [left?, right?];
        let most: i64 = scales.iter().map(|scale| 127 * i64::from(scale.unsigned_abs())).sum();
        let limit = i64::from(i32::MAX) - most;
        let shift = (affine.shift + (1 << 23)) >> power;
        let right = 24 - power;
        if shift > limit && (limit - most) >> right < 127 {
            return None;
        }
        Some(Self { scales, shift: shift.clamp(-limit, limit) as i32, right })
    }

    fn activation(&self, left: u8, right: u8, low: u8) -> u8 {
        let [l, r] = self.scales.map(i32::from);
        let sum = i32::from(left) * l + i32::from(right) * r + self.shift;
        (sum >> self.right).max(low.into()).min(127) as u8
    }
}
