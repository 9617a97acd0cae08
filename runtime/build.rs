//! Tells the crate which instructions it may write: `cfg(seedmask_dsp)` where the target has the DSP
//! extension of Armv7E-M and Armv8-M, `cfg(seedmask_thumb)` where it is another Cortex-M,
//! `cfg(seedmask_vectors)` where it may have vectors of bytes: AVX2 or NEON. And whether it is to be
//! small, `cfg(seedmask_small)`: then what else is written out at each place is called, and second ways
//! that only save time are left out.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!(
        "cargo::rustc-check-cfg=cfg(seedmask_dsp, seedmask_armv8m, seedmask_thumb, seedmask_small)"
    );
    println!("cargo::rustc-check-cfg=cfg(seedmask_vectors)");
    if matches!(std::env::var("OPT_LEVEL").as_deref(), Ok("s" | "z")) {
        println!("cargo::rustc-cfg=seedmask_small");
    }
    let target = std::env::var("TARGET").unwrap_or_default();
    // Armv8-M has the extension or not; the compiler does not tell, so the user does.
    let chosen = std::env::var_os("CARGO_FEATURE_DSP").is_some();
    let armv8m = target.starts_with("thumbv8m.main");
    if target.starts_with("thumbv7em") || (armv8m && chosen) {
        println!("cargo::rustc-cfg=seedmask_dsp");
    } else if ["thumbv6m", "thumbv7m", "thumbv8m"].iter().any(|core| target.starts_with(core)) {
        println!("cargo::rustc-cfg=seedmask_thumb");
    }
    if armv8m {
        println!("cargo::rustc-cfg=seedmask_armv8m");
    }
    if has_vectors() {
        println!("cargo::rustc-cfg=seedmask_vectors");
    }
}

/// AVX2 is detected when it is used; NEON is part of every aarch64 but those without floats. Kernels
/// count on the order of bytes in a vector.
fn has_vectors() -> bool {
    let of_target =
        |key: &str| std::env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    match of_target("ARCH").as_str() {
        "x86_64" => true,
        "aarch64" => {
            of_target("ENDIAN") == "little"
                && of_target("FEATURE").split(',').any(|feature| feature == "neon")
        }
        _ => false,
    }
}
