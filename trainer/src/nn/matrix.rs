//! Matrix products on parts of tensors, from several threads at once, and reused buffers.

use std::marker::PhantomData;
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
}

/// Elements from the first to the last of a row-major matrix.
fn extent(rows: usize, columns: usize, row_step: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_step + columns }
}

/// A slice that several threads write to, each its own part.
pub struct Shared<'a> {
    pointer: *mut f32,
    length: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: every access goes through `unsafe` functions whose callers keep the parts disjoint.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// Takes the whole slice for the time of `'a`.
    pub fn new(slice: &'a mut [f32]) -> Self {
        Self { pointer: slice.as_mut_ptr(), length: slice.len(), lifetime: PhantomData }
    }

    /// The part `start..start + length`. Panics where it is not within the slice.
    ///
    /// # Safety
    /// Nobody else accesses any element of the part while it is borrowed.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, start: usize, length: usize) -> &mut [f32] {
        assert!(start.checked_add(length).is_some_and(|end| end <= self.length));
        // SAFETY: in bounds by the assertion, exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), length) }
    }

    /// `a·b` written (or added) to the row-major matrix at `start` whose rows are `row_step` apart.
    /// Panics where sizes do not chain or the matrix is not within the slice.
    ///
    /// # Safety
    /// Nobody else accesses any element of that matrix during the call.
    pub unsafe fn multiply(
        &self,
        start: usize,
        row_step: usize,
        a: View<'_>,
        b: View<'_>,
        accumulate: bool,
    ) {
        assert_eq!(a.columns, b.rows, "inner sizes differ");
        let end = start.checked_add(extent(a.rows, b.columns, row_step));
        assert!(end.is_some_and(|end| end <= self.length), "product beyond its slice");
        // SAFETY: all three matrices lie within their slices (asserted here and in `View::new`);
        // the written one is exclusive by the caller's promise.
        unsafe {
            gemm::gemm(
                a.rows,
                b.columns,
                a.columns,
                self.pointer.add(start),
                1,
                row_step as isize,
                accumulate,
                a.data.as_ptr(),
                a.column_step as isize,
                a.row_step as isize,
                b.data.as_ptr(),
                b.column_step as isize,
                b.row_step as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

/// `a·b` written (or added) to `output`, a row-major matrix whose rows are `row_step` apart.
pub fn multiply(output: &mut [f32], row_step: usize, a: View<'_>, b: View<'_>, accumulate: bool) {
    // SAFETY: `output` is borrowed exclusively.
    unsafe { Shared::new(output).multiply(0, row_step, a, b, accumulate) }
}

/// Buffers that outlive a step, so that no step allocates once every size has been seen.
#[derive(Default)]
pub struct Scratch(Mutex<Vec<Vec<f32>>>);

impl Scratch {
    /// Lends `work` a buffer of `length` numbers of any value.
    pub fn with<R>(&self, length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
        let lock = || self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut buffer = {
            let mut free = lock();
            // The smallest that is large enough, else the largest.
            let fitting = free.iter().position(|buffer| buffer.len() >= length);
            match fitting.or(free.len().checked_sub(1)) {
                Some(index) => free.remove(index),
                None => Vec::new(),
            }
        };
        if buffer.len() < length {
            buffer.resize(length, 0.0);
        }
        let result = work(&mut buffer[..length]);
        let mut free = lock();
        let place = free.partition_point(|other| other.len() < buffer.len());
        free.insert(place, buffer);
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

    #[test]
    fn products_land_where_they_should() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let b = [1.0, 0.0, 1.0, 1.0];
        let mut output = [0.0; 8];
        // SAFETY: one thread.
        unsafe {
            Shared::new(&mut output).multiply(
                1,
                4,
                View::new(&a, 2, 2, 3),
                View::new(&b, 2, 2, 2).transposed(),
                true,
            );
        }
        assert_eq!(output, [0.0, 1.0, 3.0, 0.0, 0.0, 4.0, 9.0, 0.0]);
    }

    #[test]
    fn scratch_buffers_are_reused() {
        let scratch = Scratch::default();
        let first = scratch.with(100, |buffer| buffer.as_ptr() as usize);
        let second = scratch.with(50, |buffer| buffer.as_ptr() as usize);
        assert_eq!(first, second);
    }
}
