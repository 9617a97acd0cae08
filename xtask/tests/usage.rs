//! `cargo xtask` as it is typed: faults are told in a line, with exit code 2.

use std::process::Command;

/// Exit code and messages of a command line.
fn xtask(line: &str) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_xtask")).args(line.split_whitespace()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn faults_name_what_is_there() {
    for (line, expected) in [
        ("dance", "`dance` is no command"),
        (
            "bench --only nonexistent",
            "no case's name contains `nonexistent`; there are fc_784x256, ",
        ),
        ("bench --only kws@.1", "no case's name contains `kws@.1`; near it are kws@0.1, "),
        ("bench --only demo --opt-level s", "the demo is counted on boards"),
        ("bench --target m7", "--target m7; expected m4, m0 or host"),
        ("bench --bless --only kws", "--bless takes the whole table"),
        ("bench --hot", "--hot wants a value"),
        ("run qemu-m7", "no board is called `qemu-m7`; there are qemu-m4, qemu-m0"),
    ] {
        let (code, errors) = xtask(line);
        assert_eq!(code, Some(2), "{line}: {errors}");
        assert!(errors.starts_with("error: ") && errors.contains(expected), "{line}: {errors}");
    }
}
