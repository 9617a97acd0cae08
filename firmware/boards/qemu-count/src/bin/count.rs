//! Runs every artifact of the pack between marks, and names each marked region in a line of its
//! own: its check, start-up, a whole inference, and each layer alone.
#![no_std]
#![no_main]

use core::slice;

use qemu_count::{PACK, PACK_LEN, artifacts};
use seedmask::{Arena, Model, Session, kernel::Native};
use seedmask_support::{exit, marks, plain};

/// Bytes of RAM for the hungriest artifact.
const ARENA: usize = 1 << 20;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    plain::text("panicked\n");
    exit::exit(false)
}

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut MEMORY: Arena<ARENA> = Arena::new();
    // SAFETY: the machine has memory there that no one writes to while it runs.
    let pack = unsafe { slice::from_raw_parts(PACK as *const u8, PACK_LEN) };
    for (name, artifact) in artifacts(pack) {
        if measure(name, artifact, MEMORY).is_none() {
            plain::text(name);
            plain::text(": refused\n");
            exit::exit(false);
        }
    }
    exit::exit(true)
}

/// Measures one artifact; `None` where anything is refused.
fn measure(name: &str, artifact: &[u8], arena: &mut Arena<ARENA>) -> Option<()> {
    marks::begin();
    let checked = Model::parse(artifact).is_ok();
    marks::end();
    region(name, "check", 0);
    if !checked {
        return None;
    }

    marks::begin();
    let model = Model::open(artifact).ok();
    let session = model.and_then(|model| Session::new(model, arena).ok());
    marks::end();
    let mut session = session?;
    region(name, "startup", 0);

    let task = session.model().tasks().next()?;
    fill(session.input());
    marks::begin();
    let done = session.infer(task).is_ok();
    marks::end();
    region(name, "infer", 0);

    fill(session.input());
    marks::begin();
    let observed = session.infer_observed::<Native>(task, |step, _| {
        marks::end();
        region(name, "layer", usize::from(step.index));
        marks::begin();
    });
    marks::end();
    region(name, "rest", 0);
    (done && observed.is_ok()).then_some(())
}

/// Names the region that has just ended: `region NAME PART INDEX`.
fn region(name: &str, part: &str, index: usize) {
    for word in ["region ", name, " ", part, " "] {
        plain::text(word);
    }
    plain::digits(index);
    plain::text("\n");
}

/// Bytes 0..=127 that look random (top bits of Numerical Recipes' generator).
fn fill(input: &mut [u8]) {
    let mut state = 1u32;
    for byte in input {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 25) as u8;
    }
}
