//! Columns of text.

use std::fmt;

/// Rows of cells; columns are as wide as their widest cell.
pub struct Table {
    headings: Vec<&'static str>,
    /// Columns that are aligned to the left, as words are; the others are numbers.
    words: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows. `words` are the columns that are not numbers.
    pub fn new(headings: &[&'static str], words: &[usize]) -> Self {
        Self { headings: headings.to_vec(), words: words.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell a column.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.headings.len(), "{cells:?}");
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(self.headings[column].chars().count())
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::new();
            for ((column, cell), &width) in cells.enumerate().zip(&widths) {
                if column > 0 {
                    text.push_str("  ");
                }
                if self.words.contains(&column) {
                    text.push_str(&format!("{cell:<width$}"));
                } else {
                    text.push_str(&format!("{cell:>width$}"));
                }
            }
            writeln!(f, "{}", text.trim_end())
        };
        line(&mut self.headings.iter().copied())?;
        self.rows.iter().try_for_each(|row| line(&mut row.iter().map(String::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_to_the_left_and_numbers_to_the_right() {
        let mut table = Table::new(&["layer", "bytes"], &[0]);
        table.row(vec!["a".into(), "12,345".into()]);
        table.row(vec!["bcdefg".into(), "7".into()]);
        assert_eq!(table.to_string(), "layer    bytes\na       12,345\nbcdefg       7\n");
    }
}
