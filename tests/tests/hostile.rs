//! Outside bytes: whatever they are, parsing ends with an error that names what is wrong, or with a
//! model that runs. Nothing panics.

use half::f16;
use proptest::prelude::*;
use seedmask::artifact::{Limited, Part, write};
use seedmask::kernel::Reference;
use seedmask::layer::{Layer, Range, Tensor};
use seedmask::{Arena, Model, ParseError, Session, Task};
use seedmask_tests::{backbone, input, samples, task, tasks};

const PROLOGUE: usize = 32;

fn sample() -> Vec<u8> {
    let [(_, file), ..] = samples();
    file
}

/// CRC-32 (ISO-HDLC) bit by bit: FORMAT.md's words, written a second time.
fn crc32(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ (0xedb8_8320 * (crc & 1)))
    })
}

/// Makes an edited file pass for undamaged: checksum, and fingerprint if it is a backbone.
fn reseal(file: &mut [u8]) {
    for _ in 0..2 {
        let bytes = file[..20].iter().chain(&file[24..]).copied();
        let checksum = crc32(bytes);
        file[20..24].copy_from_slice(&checksum.to_le_bytes());
        if let Err(ParseError::Fingerprint { expected, .. }) = Model::parse(file) {
            file[24..32].copy_from_slice(&expected.to_le_bytes());
        }
    }
}

/// Runs whatever parses, in a small arena; whether it did.
fn run(file: &[u8]) -> Result<bool, ParseError> {
    let model = Model::parse(file)?;
    let mut arena = Arena::<8192>::new();
    for task in model.tasks() {
        let mut logits = Vec::new();
        // Two kernel sets over two contents of the arena: nothing stale may be read.
        for (native, content) in [(true, 0x00), (true, 0xff), (false, 0x55)] {
            arena.as_mut().fill(content);
            let Ok(mut session) = Session::new(model, &mut arena) else { return Ok(false) };
            session.input().copy_from_slice(&input(&model, 1));
            let output = match native {
                true => session.infer(task),
                false => session.infer_with::<Reference>(task),
            };
            let output = output.expect("a checked task of a checked model runs");
            assert!(output.argmax() < usize::from(task.classes()));
            logits.push(output.logits().to_vec());
        }
        assert!(logits.iter().all(|other| *other == logits[0]), "{logits:?}");
    }
    Ok(true)
}

#[test]
fn every_truncation_is_an_error() {
    for (name, file) in samples() {
        for length in 0..file.len() {
            let error = Model::parse(&file[..length]).unwrap_err();
            assert!(matches!(error, ParseError::Truncated { .. }), "{name}, {length}: {error:?}");
        }
        // The same where the file does not say that it was longer.
        for length in PROLOGUE..file.len() {
            let mut cut = file[..length].to_vec();
            cut[8..12].copy_from_slice(&(length as u32).to_le_bytes());
            reseal(&mut cut);
            assert!(Model::parse(&cut).is_err(), "{name}, {length}");
        }
    }
}

#[test]
fn every_bit_flip_is_noticed() {
    let file = sample();
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Model::parse(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn every_bit_flip_under_a_fresh_checksum_is_an_error_or_harmless() {
    for (name, file) in samples() {
        let (mut refused, mut harmless, mut too_large) = (0, 0, 0);
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            reseal(&mut flipped);
            match run(&flipped) {
                Ok(true) => harmless += 1,
                // Only what asks for more memory than there is.
                Ok(false) => too_large += 1,
                Err(_) => refused += 1,
            }
        }
        let found = format!("{refused} refused, {harmless} harmless, {too_large} too large");
        assert!(refused > 1000 && harmless > 1000 && too_large < 32, "{name}: {found}");
    }
}

#[test]
fn every_bit_flip_of_a_patch_is_an_error_or_harmless() {
    let backbone = backbone();
    let file = sample();
    let model = Model::parse(&file).unwrap();
    let patch = write::patch(&model, &task(&backbone, "fresh", 0.2, |_| None)).unwrap();
    let mut arena = Arena::<8192>::new();
    let mut session = Session::new(model, &mut arena).unwrap();
    for length in 0..patch.len() {
        assert!(Task::parse(&model, &patch[..length]).is_err(), "{length}");
    }
    for bit in 0..patch.len() * 8 {
        let mut flipped = patch.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Task::parse(&model, &flipped).is_err(), "bit {bit}");
        reseal(&mut flipped);
        if let Ok(task) = Task::parse(&model, &flipped) {
            session.input().copy_from_slice(&input(&model, 1));
            session.infer(task).expect("a checked task runs");
        }
    }
}

/// One row a kind of damage: what is edited in a valid file, and the error that names it.
#[test]
fn damage_is_named() {
    let file = sample();
    let edit = |at: usize, bytes: &[u8]| {
        let mut edited = file.clone();
        edited[at..at + bytes.len()].copy_from_slice(bytes);
        reseal(&mut edited);
        Model::parse(&edited).unwrap_err()
    };
    assert_eq!(edit(0, b"ELF\x7f"), ParseError::Magic { found: *b"ELF\x7f" });
    assert_eq!(edit(4, &[2, 0]), ParseError::Version { found: 2, supported: 1 });
    assert_eq!(edit(6, &[1]), ParseError::Kind { found: 1 });
    assert_eq!(edit(6, &[9]), ParseError::Kind { found: 9 });
    let (what, most) = (Limited::Tasks, 64);
    assert_eq!(edit(7, &[65]), ParseError::Limit { what, found: 65, most });
    assert_eq!(edit(7, &[2]), ParseError::Malformed(Part::End));
    assert_eq!(edit(7, &[4]), ParseError::Malformed(Part::Task(3)));
    let longer = file.len() as u32 + 1;
    let have = file.len() as u32;
    assert_eq!(edit(8, &longer.to_le_bytes()), ParseError::Truncated { need: longer, have });
    let shorter = have - 1;
    assert_eq!(
        edit(8, &shorter.to_le_bytes()),
        ParseError::Length { found: have, expected: shorter }
    );
    assert!(matches!(edit(16, &u32::MAX.to_le_bytes()), ParseError::Length { .. }));
    let arena = Model::parse(&file).unwrap().arena_bytes() as u32 - 4;
    assert!(matches!(edit(12, &arena.to_le_bytes()), ParseError::Placement { .. }));

    let mut damaged = file.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(Model::parse(&damaged).unwrap_err(), ParseError::Checksum { .. }));

    let mut renamed = file.clone();
    renamed[24] ^= 1;
    let bytes = renamed[..20].iter().chain(&renamed[24..]).copied();
    let checksum = crc32(bytes);
    renamed[20..24].copy_from_slice(&checksum.to_le_bytes());
    assert!(matches!(Model::parse(&renamed).unwrap_err(), ParseError::Fingerprint { .. }));

    let mut longer = file.clone();
    longer.push(0);
    let length = longer.len() as u32;
    longer[8..12].copy_from_slice(&length.to_le_bytes());
    reseal(&mut longer);
    assert_eq!(Model::parse(&longer).unwrap_err(), ParseError::Malformed(Part::End));
}

/// The manifest begins with the seed and the count of layers; the nodes follow.
const LAYERS: usize = PROLOGUE + 8;
const NODES: usize = PROLOGUE + 12;

#[test]
fn counts_beyond_their_limits_are_named() {
    let file = sample();
    assert_eq!(file[LAYERS], 9, "layer count");
    for (count, found) in [(0u8, 0u32), (65, 65), (255, 255)] {
        let mut edited = file.clone();
        edited[LAYERS] = count;
        reseal(&mut edited);
        let error = Model::parse(&edited).unwrap_err();
        assert_eq!(error, ParseError::Limit { what: Limited::Layers, found, most: 64 });
    }
}

/// Graphs that no arena or arithmetic can hold, each refused by the writer's own parse.
#[test]
fn impossible_graphs_are_named() {
    let build = |change: &dyn Fn(&mut write::Backbone)| {
        let mut backbone = backbone();
        change(&mut backbone);
        match write::artifact(&backbone, &[]) {
            Err(write::WriteError::Invalid(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let error = build(&|b| b.tensors[5].height = 5);
    assert_eq!(error, ParseError::Shape { layer: 4 });
    let error = build(&|b| b.tensors[3].channels = 0);
    assert_eq!(error, ParseError::Tensor { tensor: 3 });
    let error = build(&|b| b.tensors[3].zero_point = 128);
    assert_eq!(error, ParseError::Tensor { tensor: 3 });
    let error = build(&|b| b.layers.swap(1, 2));
    assert_eq!(error, ParseError::Order { layer: 1, tensor: 3 });
    let error = build(&|b| {
        if let Layer::Conv2d(conv) = &mut b.layers[1] {
            conv.window.stride = [0, 1];
        }
    });
    assert_eq!(error, ParseError::Shape { layer: 1 });
    let error = build(&|b| {
        if let Layer::Add(add) = &mut b.layers[3] {
            add.scales[1] = f16::NAN.to_bits();
        }
    });
    assert_eq!(error, ParseError::Shape { layer: 3 });
    let error = build(&|b| {
        if let Layer::Dense(dense) = &mut b.layers[8] {
            dense.range = Range::Activations { low: 0 };
        }
    });
    assert_eq!(error, ParseError::Shape { layer: 8 });
    let error = build(&|b| {
        b.tensors[0] = Tensor::map(60_000, 1, 2, 3);
    });
    assert!(matches!(error, ParseError::Shape { layer: 0 }), "{error:?}");
}

/// What the writer counts itself, so that wrong lengths cannot cancel out.
#[test]
fn wrong_counts_are_refused_by_the_writer() {
    let mut short = backbone();
    short.stored[0].pop();
    let error = write::artifact(&short, &[]).unwrap_err();
    let what = "stored weights of a layer";
    assert_eq!(error, write::WriteError::Count { what, found: 167, expected: 168 });

    let backbone = backbone();
    let mut shifted = tasks(&backbone);
    let moved = shifted[0].layers[0].epilogue.pop().unwrap();
    shifted[0].layers[1].epilogue.push(moved);
    let error = write::artifact(&backbone, &shifted).unwrap_err();
    let what = "channels of an epilogue";
    assert_eq!(error, write::WriteError::Count { what, found: 5, expected: 6 });
}

/// Where the places of the sample's plan stand in the file: behind the nodes and parameters.
fn places_at(file: &[u8]) -> usize {
    NODES + 12 * (usize::from(file[LAYERS]) + 1) + 8 * usize::from(file[LAYERS + 1])
}

#[test]
fn plans_that_overlap_or_lack_a_halo_are_named() {
    let file = sample();
    let at = places_at(&file);
    let model = Model::parse(&file).unwrap();
    let place = |id: u8| model.placement(id).unwrap();
    let edit = |tensor: usize, offset: u32, pad: u8| {
        let mut edited = file.clone();
        let entry = at + 8 * tensor;
        edited[entry..entry + 4].copy_from_slice(&offset.to_le_bytes());
        edited[NODES + 12 * tensor + 11] = pad;
        reseal(&mut edited);
        Model::parse(&edited).unwrap_err()
    };
    let error = edit(3, place(2).offset, place(3).pad);
    assert_eq!(error, ParseError::Overlap { first: 2, second: 3 });
    let error = edit(1, place(1).offset, 0);
    assert_eq!(error, ParseError::Halo { tensor: 1, found: 0, expected: 1 });
    let error = edit(8, 2, 0);
    assert_eq!(error, ParseError::Bands { tensor: 8, found: 2 });
    let error = edit(8, u32::MAX - 3, 0);
    assert!(matches!(error, ParseError::Placement { index: 8, .. }), "{error:?}");
    let scratch = model.steps().find(|step| step.index == 5).unwrap().scratch;
    let error = edit(6, scratch & !31, 0);
    assert_eq!(error, ParseError::ScratchOverlap { layer: 5, tensor: 6 });

    // No arena is large enough for what ends beyond 32 bits.
    let mut edited = file.clone();
    edited[at + 8 * 8..at + 8 * 8 + 4].copy_from_slice(&(u32::MAX - 3).to_le_bytes());
    edited[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    reseal(&mut edited);
    let error = Model::parse(&edited).unwrap_err();
    assert!(matches!(error, ParseError::Placement { index: 8, .. }), "{error:?}");

    // Scratch need not be at a multiple of 4 by its form.
    let mut edited = file.clone();
    edited[at + 8 * 6 + 4] |= 1;
    reseal(&mut edited);
    let error = Model::parse(&edited).unwrap_err();
    assert!(matches!(error, ParseError::Placement { index: 5, .. }), "{error:?}");
}

/// What a file says to be joined must be what the layers around it are.
#[test]
fn layers_that_cannot_be_joined_are_named() {
    let [(_, file), ..] = samples();
    let mut edited = file.clone();
    edited[NODES + 12 * 2] |= 0x80;
    reseal(&mut edited);
    assert_eq!(Model::parse(&edited).unwrap_err(), ParseError::Malformed(Part::Tensor(2)));
    // The input would have the room of two channels, whatever it is read as.
    let mut edited = file.clone();
    edited[NODES] |= 0x80;
    reseal(&mut edited);
    assert_eq!(Model::parse(&edited).unwrap_err(), ParseError::Tensor { tensor: 0 });
}

/// The sum would overwrite what its other channels are made in.
#[test]
fn a_sum_over_what_a_joined_convolution_writes_is_refused() {
    let [_, (_, file), _] = samples();
    let at = places_at(&file);
    let part = Model::parse(&file).unwrap().placement(6).unwrap();
    let mut edited = file.clone();
    edited[at + 8 * 7..at + 8 * 7 + 4].copy_from_slice(&(part.offset | 1).to_le_bytes());
    edited[12..16].copy_from_slice(&8192u32.to_le_bytes());
    reseal(&mut edited);
    let error = Model::parse(&edited).unwrap_err();
    assert_eq!(error, ParseError::Overlap { first: 6, second: 7 });
}

#[test]
fn unknown_layers_and_encodings_are_named() {
    let file = sample();
    // The first layer is a relayout (6) of tensor 0.
    let layer = NODES + 12;
    assert_eq!(file[layer..layer + 2], [6, 0]);
    let mut edited = file.clone();
    edited[layer] = 7;
    reseal(&mut edited);
    assert_eq!(Model::parse(&edited).unwrap_err(), ParseError::Malformed(Part::Layer(0)));

    // The first mask of the first task: Rice gaps (2) of parameter 1.
    let labels = file.windows(5).position(|w| w == b"shirt").unwrap() + 5;
    assert_eq!(file[labels..labels + 2], [2, 1]);
    let mut edited = file.clone();
    edited[labels] = 7;
    reseal(&mut edited);
    assert!(matches!(Model::parse(&edited).unwrap_err(), ParseError::Malformed(Part::Layer(_))));
}

/// A mask that is shared is where the file says, and no other.
#[test]
fn shared_masks_elsewhere_are_named() {
    let file = sample();
    let model = Model::parse(&file).unwrap();
    // The reference of the third task's first layer: where the first task's mask begins, its checksum.
    let shared = model.task("shared").unwrap();
    let op = shared.program(&model).find(|op| op.same_as.is_some()).unwrap();
    let (_, section) = op.learned.unwrap().0.mask();
    let mask = section.as_ptr() as usize - file.as_ptr() as usize;
    let manifest = u32::from_le_bytes(file[16..20].try_into().unwrap()) as usize;
    let offset = (mask - PROLOGUE - manifest.next_multiple_of(4)) as u32;
    let at = file.windows(4).rposition(|w| w == offset.to_le_bytes()).unwrap();
    for wrong in [offset + 4, 0x7fff_fff0] {
        let mut edited = file.clone();
        edited[at..at + 4].copy_from_slice(&wrong.to_le_bytes());
        reseal(&mut edited);
        let error = Model::parse(&edited).unwrap_err();
        let named = matches!(error, ParseError::SameAs { .. } | ParseError::Malformed(_));
        assert!(named, "{error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Model::parse(&bytes).is_err());
    }

    /// A valid prologue before random bytes reaches the manifest.
    #[test]
    fn random_manifests_never_panic(
        body in proptest::collection::vec(any::<u8>(), 0..400),
        manifest in 0u32..400,
    ) {
        let mut file = sample()[..PROLOGUE].to_vec();
        file.extend_from_slice(&body);
        let length = file.len() as u32;
        file[8..12].copy_from_slice(&length.to_le_bytes());
        file[16..20].copy_from_slice(&manifest.min(body.len() as u32).to_le_bytes());
        reseal(&mut file);
        let _ = run(&file);
    }

    /// Several random edits of a valid file, resealed.
    #[test]
    fn random_edits_never_panic(
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = sample();
        for (at, byte) in edits {
            let at = at.index(file.len());
            file[at] = byte;
        }
        reseal(&mut file);
        let _ = run(&file);
    }
}
