//! Signed lists of several rows at once, as the kernels of DSP cores read them.

use super::Rows;
use super::positions::GROUP;
use super::row::LayerMasks;
use crate::family::Family;

/// Signed lists of some rows.
pub(crate) struct RowLists<'a> {
    /// Where they begin, up to the section's end.
    pub bytes: &'a [u8],
    /// The count of each row for [`Encoding::SignedPositions`]; [`Encoding::SignedGaps`] have theirs among
    /// the bytes.
    ///
    /// [`Encoding::SignedPositions`]: super::Encoding::SignedPositions
    /// [`Encoding::SignedGaps`]: super::Encoding::SignedGaps
    pub counts: Option<[u8; GROUP]>,
    /// How many rows, one at least.
    pub rows: usize,
}

impl<'a> Rows<'a> {
    /// Lists of the rows that come next; `None` where weights are no lists, and after the last row.
    pub(crate) fn next_lists(&mut self) -> Option<RowLists<'a>> {
        let rows = self.layer.weights.rows.saturating_sub(self.row) as usize;
        let (bytes, counts, rows) = match &mut self.masks {
            LayerMasks::Gaps(bytes) if Family::Gaps.is_linked() => (*bytes, None, rows),
            LayerMasks::Positions(lists) if Family::Gaps.is_linked() && lists.are_rows() => {
                let (bytes, counts, counted) = lists.ahead()?;
                (bytes, Some(counts), rows.min(counted))
            }
            _ => return None,
        };
        (rows > 0).then_some(RowLists { bytes, counts, rows })
    }

    /// Leaves out `rows` of those that [`Rows::next_lists`] gave; `left` of its bytes are the others'.
    pub(crate) fn skip_lists(&mut self, rows: usize, left: usize) {
        match &mut self.masks {
            LayerMasks::Gaps(bytes) if Family::Gaps.is_linked() => {
                *bytes = bytes.get(bytes.len().saturating_sub(left)..).unwrap_or_default();
            }
            LayerMasks::Positions(lists) if Family::Gaps.is_linked() => lists.skip(rows, left),
            _ => (),
        }
        self.row = self.row.saturating_add(rows as u32);
    }

    /// Whether [`Rows::next_lists`] reads the rows.
    pub(crate) fn are_lists(&self) -> bool {
        let listed = match &self.masks {
            LayerMasks::Gaps(_) => true,
            LayerMasks::Positions(lists) => lists.are_rows(),
            _ => false,
        };
        Family::Gaps.is_linked() && listed && self.are_signs()
    }
}
