//! Words and numbers to the host without any formatting machinery, for programs that are measured.

use semihosting::sys::arm_compat::sys_writec;

/// Writes `name=VALUE` and a line's end.
pub fn write(name: &str, value: usize) {
    text(name);
    sys_writec(b'=');
    digits(value);
    sys_writec(b'\n');
}

/// Writes words as they are.
pub fn text(words: &str) {
    words.bytes().for_each(sys_writec);
}

/// Writes a number in decimal.
pub fn digits(value: usize) {
    if value >= 10 {
        digits(value / 10);
    }
    sys_writec(b'0' + (value % 10) as u8);
}
