//! Files that are opened, not parsed: whatever their masks, weights and epilogues hold, every set of
//! kernels comes to an end, and none panics.

use seedmask::kernel::{General, Kernels, Native, Reference, Words};
use seedmask::{InferError, Model, ParseError, Session, Task};
use seedmask_benches::artifact::{artifact, isolated};
use seedmask_benches::cases::{AWKWARD, Mask, SMALL, variants};
use seedmask_benches::damage::{FILLINGS, sections};
use seedmask_tests::{backbone, input, samples, task};

/// Kinds of [`Mask`].
const KINDS: usize = 7;

/// Runs every task of what opens, with every set of kernels; how many inferences there were.
fn run(file: &[u8], memory: &mut Vec<u128>) -> Result<usize, ParseError> {
    let model = Model::open(file)?;
    memory.resize(model.arena_bytes().div_ceil(16) + 1, 0);
    let mut runs = 0;
    for task in model.tasks() {
        for kernels in [infer::<Reference>, infer::<General>, infer::<Words>, infer::<Native>] {
            kernels(model, task, memory);
            runs += 1;
        }
    }
    Ok(runs)
}

/// One inference; what comes out may be anything that an output can be.
fn infer<K: Kernels>(model: Model, task: Task, memory: &mut [u128]) {
    const CANARY: u8 = 0xa7;
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(memory);
    bytes.fill(CANARY);
    let (arena, behind) = bytes.split_at_mut(model.arena_bytes());
    let mut session = Session::new(model, arena).unwrap();
    session.input().copy_from_slice(&input(&model, 1));
    if let Ok(output) = session.infer_with::<K>(task) {
        assert!(output.activations().iter().all(|byte| *byte <= 127));
    }
    assert!(behind.iter().all(|byte| *byte == CANARY));
}

/// Fills the sections of `file` with each of the fillings, together, and with `each` one by one too. How many
/// files could be opened, and not.
fn damage(file: &[u8], each: bool, memory: &mut Vec<u128>) -> [usize; 2] {
    let sections = sections(file);
    let [mut opened, mut refused] = [0; 2];
    let mut count = |file: &[u8]| match run(file, memory) {
        Ok(_) => opened += 1,
        Err(_) => refused += 1,
    };
    for (salt, filling) in (0..).zip(FILLINGS) {
        let mut all = file.to_vec();
        for (salt, section) in (1000 * salt..).zip(&sections) {
            filling.apply(&mut all[section.clone()], salt);
            if !each {
                continue;
            }
            let mut one = file.to_vec();
            one[section.clone()].copy_from_slice(&all[section.clone()]);
            count(&one);
        }
        count(&all);
    }
    [opened, refused]
}

#[test]
fn what_was_parsed_opens_and_runs_alike() {
    for (name, file) in samples() {
        let (parsed, opened) = (Model::parse(&file).unwrap(), Model::open(&file).unwrap());
        for (left, right) in parsed.tasks().zip(opened.tasks()) {
            let logits = |model: Model, task: Task| {
                let mut memory = vec![0_u128; model.arena_bytes().div_ceil(16)];
                let arena: &mut [u8] = bytemuck::cast_slice_mut(&mut memory);
                let mut session = Session::new(model, arena).unwrap();
                session.input().copy_from_slice(&input(&model, 3));
                session.infer(task).unwrap().logits().to_vec()
            };
            assert_eq!(logits(parsed, left), logits(opened, right), "{name}");
        }
        // A handle of one is as good with the other.
        assert_eq!(parsed.fingerprint(), opened.fingerprint());
        assert_eq!(parsed.task("mix").is_some(), opened.task("mix").is_some());
    }
}

/// Files may say the same of themselves and hold other masks.
#[test]
fn a_task_of_another_copy_is_refused() {
    let [(_, file), ..] = samples();
    let copy = file.clone();
    let (model, other) = (Model::open(&file).unwrap(), Model::open(&copy).unwrap());
    let task = other.tasks().next().unwrap();
    let mut memory = vec![0_u128; model.arena_bytes().div_ceil(16)];
    let arena: &mut [u8] = bytemuck::cast_slice_mut(&mut memory);
    let error = Session::new(model, arena).unwrap().infer(task).unwrap_err();
    assert!(matches!(error, InferError::OtherFile { .. }), "{error:?}");
    assert_eq!(task.program(&model).count(), 0);
}

#[test]
fn what_is_no_artifact_is_not_opened() {
    for (name, file) in samples() {
        for length in 0..file.len() {
            let error = Model::open(&file[..length]).unwrap_err();
            assert!(matches!(error, ParseError::Truncated { .. }), "{name}, {length}: {error:?}");
        }
    }
}

#[test]
fn any_section_is_harmless_in_every_case() {
    let mut memory = Vec::new();
    let (mut opened, mut refused) = ([0; KINDS], [0; KINDS]);
    for case in SMALL.iter().chain(&AWKWARD).filter(|case| case.weighted()) {
        for variant in variants(&[3, 60]) {
            let files = [artifact(case, variant), isolated(case, variant).map(|(file, _)| file)];
            for file in files.into_iter().flatten() {
                let [some, others] = damage(&file, false, &mut memory);
                let of = variant.mask as usize;
                (opened[of], refused[of]) = (opened[of] + some, refused[of] + others);
            }
        }
    }
    // Only lists that lead out of their row are refused.
    for mask in [Mask::Full, Mask::Raw, Mask::CountedRaw, Mask::Rice, Mask::Seeded] {
        assert_eq!(refused[mask as usize], 0, "{mask:?}");
    }
    for mask in [Mask::Full, Mask::Raw, Mask::CountedRaw, Mask::Rice, Mask::Gaps, Mask::Positions] {
        assert!(opened[mask as usize] > 100, "{mask:?}: {opened:?} of {refused:?} more");
    }
}

#[test]
fn any_section_is_harmless_in_the_samples() {
    let mut memory = Vec::new();
    for (name, file) in samples() {
        let [opened, refused] = damage(&file, true, &mut memory);
        assert!(opened > refused, "{name}: {opened} opened, {refused} refused");
    }
}

/// Bits of the whole file, the manifest and the plan included.
#[test]
fn bit_flips_are_refused_or_harmless() {
    let mut memory = Vec::new();
    let mut opened = 0;
    for (_, file) in samples() {
        for bit in (0..file.len() * 8).step_by(3) {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let small = Model::open(&flipped).is_ok_and(|model| model.arena_bytes() < 1 << 20);
            if small && run(&flipped, &mut memory).is_ok() {
                opened += 1;
            }
        }
    }
    assert!(opened > 1000, "{opened}");
}

#[test]
fn any_section_of_a_patch_is_harmless() {
    let file = samples()[0].1.clone();
    let model = Model::parse(&file).unwrap();
    let patch =
        seedmask::artifact::write::patch(&model, &task(&backbone(), "fresh", 0.2, |_| None));
    let patch = patch.unwrap();
    let mut memory = vec![0; model.arena_bytes().div_ceil(16) + 1];
    let mut opened = 0;
    for bit in 0..patch.len() * 8 {
        let mut flipped = patch.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(task) = Task::open(&model, &flipped) {
            opened += 1;
            infer::<Reference>(model, task, &mut memory);
            infer::<Native>(model, task, &mut memory);
        }
    }
    assert!(opened > 1000, "{opened}");
    assert!(Task::open(&model, &file).is_err());
    assert!(Model::open(&patch).is_err());
}
