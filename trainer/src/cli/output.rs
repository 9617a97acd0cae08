//! What a command tells: text, or JSON for scripts.

use std::io::{self, BufWriter, Stdout, Write};

use serde::Serialize;

/// Standard output.
pub struct Output {
    json: bool,
    stream: BufWriter<Stdout>,
}

impl Output {
    /// With `json`, only [`Output::report`]'s values are printed.
    pub fn new(json: bool) -> Self {
        Self { json, stream: BufWriter::new(io::stdout()) }
    }

    /// Prints `value` as one line of JSON, or else what `text` makes of it.
    pub fn report<T: Serialize>(
        &mut self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut self.stream, value)?;
            self.stream.write_all(b"\n")?;
        } else {
            self.stream.write_all(printable(&text(value)).as_bytes())?;
        }
        // A reader sees each report when it is made.
        self.flush()
    }

    /// Hands everything to the system.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The text without control characters but line ends: names come from files, and must not command
/// the terminal.
pub fn printable(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n×"), "a\u{fffd}[2Jb\u{fffd}\n×");
    }

    #[test]
    fn groups_of_three() {
        let texts = [0, 12, 999, 1000, 123_456, 1_234_567].map(thousands);
        assert_eq!(texts, ["0", "12", "999", "1,000", "123,456", "1,234,567"]);
    }
}
