//! Images from files: PGM and PPM (binary), or camera bytes as they are.

use std::path::Path;

use super::{Failure, file};

/// Reads an image as device bytes (camera byte >> 1), `[channel][row][column]`, of `size` =
/// channels, rows, columns. A file that begins with `P5` or `P6` is a PGM or PPM; any other is
/// `size` camera bytes and nothing else.
pub fn read(path: &Path, size: [usize; 3]) -> Result<Vec<u8>, Failure> {
    let bytes = file::read(path)?;
    let pixels = match bytes.get(..2) {
        Some(b"P5") => netpbm(&bytes, 1, size),
        Some(b"P6") => netpbm(&bytes, 3, size),
        _ => raw(&bytes, size),
    };
    pixels.map_err(|fault| Failure::Input(format!("{}: {fault}", path.display())))
}

fn raw(bytes: &[u8], [channels, height, width]: [usize; 3]) -> Result<Vec<u8>, String> {
    if bytes.len() != channels * height * width {
        return Err(format!(
            "{} bytes; expected a binary PGM or PPM, or {channels}×{height}×{width} camera bytes",
            bytes.len()
        ));
    }
    Ok(bytes.iter().map(|byte| byte >> 1).collect())
}

/// Netpbm's format: magic, width, height and largest value as decimal numbers between white space
/// and `#` comments, one white space, then the pixels with their channels together.
fn netpbm(bytes: &[u8], channels: usize, expected: [usize; 3]) -> Result<Vec<u8>, String> {
    let mut rest = &bytes[2..];
    let [width, height, most] = [number(&mut rest)?, number(&mut rest)?, number(&mut rest)?];
    let found = [channels, height, width];
    if found != expected {
        let [c, h, w] = expected;
        return Err(format!(
            "an image of {channels}×{height}×{width}; the model reads {c}×{h}×{w}"
        ));
    }
    if !(1..=255).contains(&most) {
        return Err(format!("largest value {most}; expected 1 to 255"));
    }
    let pixels = rest.get(1..).unwrap_or(&[]);
    let needed = channels * height * width;
    let pixels = pixels
        .get(..needed)
        .ok_or_else(|| format!("ends early: {} bytes of pixels of {needed}", pixels.len()))?;
    // To the full range of a camera's byte first, then as every camera byte.
    let device = |&byte: &u8| ((usize::from(byte).min(most) * 255 / most) >> 1) as u8;
    let plane = |channel| pixels[channel..].iter().step_by(channels).map(device);
    Ok((0..channels).flat_map(plane).collect())
}

fn number(rest: &mut &[u8]) -> Result<usize, String> {
    loop {
        match rest.split_first() {
            Some((b'#', after)) => {
                let line = after.iter().position(|&byte| byte == b'\n').unwrap_or(after.len());
                *rest = &after[line..];
            }
            Some((byte, after)) if byte.is_ascii_whitespace() => *rest = after,
            _ => break,
        }
    }
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = rest.split_at(digits);
    *rest = after;
    let text = String::from_utf8_lossy(digits);
    // Five digits are more than any size here.
    text.parse()
        .ok()
        .filter(|_| digits.len() <= 5)
        .ok_or_else(|| "damaged header; expected magic, width, height, largest value".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_taken_apart_and_values_halved() {
        let pixels = netpbm(b"P6 2 # wide\n1 255\nABCDEF", 3, [3, 1, 2]).unwrap();
        assert_eq!(pixels, b"ADBECF".map(|byte| byte >> 1));
        assert_eq!(netpbm(b"P5\n1 2\n100\n\x00\x64", 1, [1, 2, 1]).unwrap(), [0, 127]);
    }

    #[test]
    fn damaged_files_are_faults() {
        for bytes in [
            b"P5".as_slice(),
            b"P5 2 2",
            b"P5 2 2 255",
            b"P5 2 2 255 abc",
            b"P5 2 2 0 abcd",
            b"P5 2 2 65535 abcdefgh",
            b"P5 -2 2 255 abcd",
            b"P5 99999999999999999999 2 255 abcd",
            b"P5 #",
        ] {
            assert!(netpbm(bytes, 1, [1, 2, 2]).is_err());
        }
        assert!(raw(b"abc", [1, 2, 2]).unwrap_err().contains("3 bytes; expected"));
    }
}
