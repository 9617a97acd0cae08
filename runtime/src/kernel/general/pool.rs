//! Pools, output by output.

use crate::kernel::Placed;
use crate::kernel::reference::average;
use crate::layer::{Pool, PoolKind};

pub(super) fn pool(pool: &Pool, memory: &mut [u8], x: &Placed, y: &Placed) {
    for channel in 0..y.planes.channels {
        for row in 0..y.planes.rows() {
            windows(pool, memory, x, y, channel, row);
        }
    }
}

/// One row of outputs, of every band, under any window.
pub(in crate::kernel) fn windows(
    pool: &Pool,
    memory: &mut [u8],
    x: &Placed,
    y: &Placed,
    channel: usize,
    row: usize,
) {
    let [height, width] = pool.window.kernel;
    let [down, right] = pool.window.stride;
    let [top, left, ..] = pool.window.padding;
    for band in 0..y.planes.bands {
        let line = row + band * y.planes.rows();
        let lines = inside(line, down, top, height, x.planes.height);
        for column in 0..y.planes.width {
            let columns = inside(column, right, left, width, x.planes.width);
            let (mut most, mut sum) = (0, 0);
            for line in lines.clone() {
                let start = x.start + x.planes.index(channel, line, 0);
                for tap in columns.clone() {
                    let value = memory.get(start + tap * x.planes.bands).copied().unwrap_or(0);
                    most = most.max(value);
                    sum += i32::from(value);
                }
            }
            let value = match pool.kind {
                PoolKind::Max => most,
                PoolKind::Average => {
                    let area = pool.window.area();
                    let padding = area as usize - lines.len() * columns.len();
                    average(sum + padding as i32 * i32::from(x.planes.zero_point), area)
                }
            };
            if let Some(output) = memory.get_mut(y.start + y.planes.index(channel, line, column)) {
                *output = value;
            }
        }
    }
}

/// The rows (or columns) of the map under window number `at`.
fn inside(at: usize, stride: u8, before: u8, kernel: u8, size: usize) -> core::ops::Range<usize> {
    let start = at * usize::from(stride);
    let end = (start + usize::from(kernel)).saturating_sub(before.into()).min(size);
    start.saturating_sub(before.into())..end
}
