//! The artifact: what is written is read back, golden files stay readable, and every input alignment
//! and arena works as promised.

use half::f16;
use seedmask::artifact::write::{self, LearnedMask, WriteError};
use seedmask::kernel::{Kernels, Native, Reference, Words};
use seedmask::layer::Layer;
use seedmask::mask::Encoding;
use seedmask::{Arena, ArenaError, InferError, Model, ParseError, Session, Task};
use seedmask_tests::{backbone, input, samples, task, tasks};

fn sample() -> Vec<u8> {
    let [(_, file), ..] = samples();
    file
}

/// Logits of every task on a few inputs.
fn logits(model: &Model<'_>) -> Vec<Vec<i32>> {
    let mut arena = Arena::<8192>::new();
    let mut session = Session::new(*model, &mut arena).expect("the sample is small");
    let mut all = Vec::new();
    for task in model.tasks() {
        for salt in 0..4 {
            session.input().copy_from_slice(&input(model, salt));
            all.push(session.infer(task).expect("its own task").logits().to_vec());
        }
    }
    all
}

#[test]
fn written_artifacts_read_back() {
    let backbone = backbone();
    let tasks = tasks(&backbone);
    let file = write::artifact(&backbone, &tasks).unwrap();
    let model = Model::parse(&file).unwrap();
    assert_eq!(write::backbone(&model), backbone);
    let read: Vec<_> = model.tasks().map(|task| write::learned(&model, &task)).collect();
    assert_eq!(read, tasks);
    assert_eq!(Model::arena_len(&file), model.arena_bytes());
}

/// The golden files pin the format and the arithmetic: a version that changes either must change
/// the format's number. `SEEDMASK_BLESS=1` writes them anew.
#[test]
fn golden_files_of_version_1() {
    let lines = |file: &[u8]| -> String {
        let rows = logits(&Model::parse(file).unwrap());
        rows.iter().map(|row| format!("{row:?}\n")).collect()
    };
    for (name, made) in samples() {
        let path = format!("{}/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        let (artifact, expected) = (format!("{path}.smk"), format!("{path}.logits"));
        if std::env::var_os("SEEDMASK_BLESS").is_some() {
            std::fs::write(&artifact, &made).unwrap();
            std::fs::write(&expected, lines(&made)).unwrap();
        }
        let file = std::fs::read(&artifact).unwrap();
        assert_eq!(lines(&file), std::fs::read_to_string(&expected).unwrap(), "{name}");
        assert_eq!(file, made, "the writer no longer makes the golden file {name}");
    }
}

#[test]
fn sample_outputs_are_alive() {
    for (name, file) in samples() {
        let model = Model::parse(&file).unwrap();
        let mut rows = logits(&model);
        let all = rows.len();
        rows.sort();
        rows.dedup();
        assert!(rows.len() + 2 >= all, "{name}: inputs and tasks hardly change {rows:?}");
        let densities = seedmask_tests::densities(&model);
        assert!(densities.iter().any(|&d| (0.2..0.5).contains(&d)), "{name}: {densities:?}");
    }
}

/// What the second sample is for: without these layouts its tests would show nothing.
#[test]
fn a_sample_has_every_layout() {
    let [_, (_, file), _] = samples();
    let model = Model::parse(&file).unwrap();
    let bands: Vec<u8> =
        (0..model.tensor_count()).filter_map(|id| Some(model.placement(id)?.bands)).collect();
    assert_eq!(bands, [1, 2, 1, 1, 4, 4, 4, 4, 1, 1]);
    let mut arena = Arena::<8192>::new();
    let mut session = Session::new(model, &mut arena).unwrap();
    session.input().copy_from_slice(&input(&model, 0));
    let mut shown = Vec::new();
    let task = model.tasks().next().unwrap();
    session.infer_observed::<Reference>(task, |step, _| shown.push(step.index)).unwrap();
    assert_eq!(shown, [0, 1, 2, 3, 4, 6, 7, 8], "layer 5 is joined with the sum");

    let [.., (_, file)] = samples();
    let model = Model::parse(&file).unwrap();
    let bands: Vec<u8> =
        (0..model.tensor_count()).filter_map(|id| Some(model.placement(id)?.bands)).collect();
    assert_eq!(bands, [1, 1, 3, 3, 3, 1, 1]);
}

#[test]
fn any_alignment_gives_the_same_logits() {
    for (name, file) in samples() {
        let expected = logits(&Model::parse(&file).unwrap());
        for offset in 0..8 {
            let mut moved = vec![0xa5; offset];
            moved.extend_from_slice(&file);
            let model = Model::parse(&moved[offset..]).unwrap();
            assert_eq!(logits(&model), expected, "{name}, offset {offset}");
        }
    }
}

#[test]
fn every_kernel_set_gives_the_same_logits() {
    fn logits<K: Kernels>(session: &mut Session, task: Task, salt: u64) -> Vec<i32> {
        let input = input(session.model(), salt);
        session.input().copy_from_slice(&input);
        session.infer_with::<K>(task).unwrap().logits().to_vec()
    }
    for (name, file) in samples() {
        let model = Model::parse(&file).unwrap();
        let mut arena = Arena::<8192>::new();
        let mut session = Session::new(model, &mut arena).unwrap();
        for task in model.tasks() {
            for salt in 0..16 {
                let expected = logits::<Reference>(&mut session, task, salt);
                let words = logits::<Words>(&mut session, task, salt);
                assert_eq!(words, expected, "{name}, {} {salt}: words", task.name());
                let native = logits::<Native>(&mut session, task, salt);
                assert_eq!(native, expected, "{name}, {} {salt}: native", task.name());
            }
        }
    }
}

/// Masks are checked against the layers of the model that a task was parsed with.
#[test]
fn a_task_has_no_program_over_another_model() {
    let [(_, one), (_, other), _] = samples();
    let (one, other) = (Model::parse(&one).unwrap(), Model::parse(&other).unwrap());
    let task = one.tasks().next().unwrap();
    assert_eq!(task.program(&one).count(), usize::from(one.layer_count()));
    assert_eq!(task.program(&other).count(), 0);
}

#[test]
fn an_arena_one_byte_short_is_refused_and_one_exact_is_not_passed() {
    let file = sample();
    let model = Model::parse(&file).unwrap();
    let need = model.arena_bytes();
    let mut memory = Arena::<8192>::new();
    let memory: &mut [u8] = memory.as_mut();
    let error = Session::new(model, &mut memory[..need - 1]).unwrap_err();
    assert_eq!(error, ArenaError::TooSmall { need, have: need - 1 });

    memory[need..].fill(0xa5);
    {
        let mut session = Session::new(model, &mut memory[..]).unwrap();
        for task in model.tasks() {
            session.input().copy_from_slice(&input(&model, 7));
            session.infer(task).unwrap();
        }
    }
    assert!(memory[need..].iter().all(|&byte| byte == 0xa5), "wrote past the arena");
}

#[test]
fn what_the_arena_held_before_does_not_matter() {
    let file = sample();
    let model = Model::parse(&file).unwrap();
    let expected = logits(&model);
    let mut arena = Arena::<8192>::new();
    arena.as_mut().fill(0xff);
    let mut session = Session::new(model, &mut arena).unwrap();
    session.input().copy_from_slice(&input(&model, 0));
    let first = session.infer(model.tasks().next().unwrap()).unwrap();
    assert_eq!(first.logits(), expected[0]);
}

#[test]
fn inputs_above_127_are_refused_by_name() {
    let file = sample();
    let model = Model::parse(&file).unwrap();
    let mut arena = Arena::<8192>::new();
    let mut session = Session::new(model, &mut arena).unwrap();
    session.input()[5] = 128;
    let error = session.infer(model.task("mix").unwrap()).unwrap_err();
    assert_eq!(error, InferError::Input { index: 5, found: 128 });
}

#[test]
fn a_patch_holds_nothing_of_the_backbone_and_serves_no_other() {
    let mut backbone = backbone();
    let file = write::artifact(&backbone, &tasks(&backbone)).unwrap();
    let model = Model::parse(&file).unwrap();
    let mut new = task(&backbone, "fresh", 0.1, |_| None);
    new.layers[0].mask = LearnedMask::SameAs(0);
    let patch = write::patch(&model, &new).unwrap();
    let fresh = Task::parse(&model, &patch).unwrap();
    assert_eq!(write::learned(&model, &fresh), new);

    // Name, labels, masks and epilogues are all that a patch holds besides its prologue.
    let learned: usize = fresh
        .program(&model)
        .filter_map(|op| Some((op.learned?, op.same_as)))
        .map(|((weights, _), same)| {
            4 * weights.weights().rows as usize
                + if same.is_some() { 0 } else { weights.mask().1.len() }
        })
        .sum();
    assert!(patch.len() < learned + 32 + 100, "{} bytes for {learned} learned", patch.len());

    let whole = write::artifact(&backbone, &[tasks(&backbone), vec![]].concat()).unwrap();
    assert!(Task::parse(&Model::parse(&whole).unwrap(), &patch).is_ok());

    // The mask that the patch shares is another one.
    let mut others = tasks(&backbone);
    others.swap(0, 1);
    others[2].layers[0].mask = LearnedMask::SameAs(1);
    others[2].layers[2].mask = LearnedMask::SameAs(1);
    let repacked = write::artifact(&backbone, &others).unwrap();
    let error = Task::parse(&Model::parse(&repacked).unwrap(), &patch).unwrap_err();
    assert_eq!(error, ParseError::SameAs { layer: 0, task: 0 });

    backbone.seed += 1;
    let other = write::artifact(&backbone, &[]).unwrap();
    let other = Model::parse(&other).unwrap();
    let error = Task::parse(&other, &patch).unwrap_err();
    let (found, expected) = (model.fingerprint(), other.fingerprint());
    assert_eq!(error, ParseError::Fingerprint { found, expected });
    let mut arena = Arena::<8192>::new();
    let error = Session::new(other, &mut arena).unwrap().infer(fresh).unwrap_err();
    assert_eq!(error, InferError::OtherBackbone { found, expected });
}

/// `same as` binds a mask by its encoding and bytes, when a patch is parsed and when it is run.
#[test]
fn shared_masks_are_bound_to_their_file() {
    let backbone = backbone();
    let mut base = vec![task(&backbone, "base", 0.5, |_| None)];
    let raw = |density| {
        let mut task = task(&backbone, "raw", density, |_| Some(Encoding::Raw));
        task.layers.swap_remove(0).mask
    };
    base[0].layers[0].mask = raw(0.3);
    let file = write::artifact(&backbone, &base).unwrap();
    let model = Model::parse(&file).unwrap();
    let mut fresh = task(&backbone, "fresh", 0.1, |_| None);
    fresh.layers[0].mask = LearnedMask::SameAs(0);
    let patch = write::patch(&model, &fresh).unwrap();
    let handle = Task::parse(&model, &patch).unwrap();

    base[0].layers[0].mask = raw(0.5);
    let other = write::artifact(&backbone, &base).unwrap();
    let other = Model::parse(&other).unwrap();
    assert_eq!(other.fingerprint(), model.fingerprint());
    let error = Task::parse(&other, &patch).unwrap_err();
    assert_eq!(error, ParseError::SameAs { layer: 0, task: 0 });
    let mut arena = Arena::<8192>::new();
    let error = Session::new(other, &mut arena).unwrap().infer(handle).unwrap_err();
    assert!(matches!(error, InferError::OtherFile { .. }), "{error:?}");
}

/// The residual add against arithmetic written here, with unequal scales.
#[test]
fn adds_are_what_the_format_says() {
    let mut backbone = backbone();
    let scales = [0.75f32, -0.3125].map(f16::from_f32);
    let shift = f16::from_f32(20.5);
    if let Layer::Add(add) = &mut backbone.layers[3] {
        add.scales = scales.map(f16::to_bits);
        add.shift = shift.to_bits();
        add.low = 7;
    }
    let file = write::artifact(&backbone, &tasks(&backbone)).unwrap();
    let model = Model::parse(&file).unwrap();
    let mut arena = Arena::<8192>::new();
    let mut session = Session::new(model, &mut arena).unwrap();
    session.input().copy_from_slice(&input(&model, 3));
    let mut outputs: Vec<Vec<u8>> = Vec::new();
    let task = model.task("mix").unwrap();
    session
        .infer_observed::<Reference>(task, |_, source| {
            let planes = source.planes;
            let rows = (0..planes.channels * planes.height).flat_map(|row| {
                planes.row(source.bytes, row / planes.height, row % planes.height).to_vec()
            });
            outputs.push(rows.collect());
        })
        .unwrap();
    // Outputs of layers 1 (right), 2 (left) and 3 (their sum).
    for ((&right, &left), &sum) in outputs[1].iter().zip(&outputs[2]).zip(&outputs[3]) {
        let exact = 0.75 * f64::from(left) - 0.3125 * f64::from(right) + 20.5;
        let expected = (exact + 0.5).floor().clamp(7.0, 127.0);
        assert_eq!(f64::from(sum), expected, "{left} {right}");
    }
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let backbone = backbone();
    let twice = [task(&backbone, "a", 0.5, |_| None), task(&backbone, "a", 0.5, |_| None)];
    assert_eq!(write::artifact(&backbone, &twice), Err(WriteError::Name("a".into())));

    let mut labelled = task(&backbone, "a", 0.5, |_| None);
    labelled.labels = vec!["x".into(); usize::from(labelled.classes) + 1];
    let (found, classes) = (labelled.labels.len(), labelled.classes);
    let error = write::artifact(&backbone, &[labelled]).unwrap_err();
    assert_eq!(error, WriteError::Labels { task: "a".into(), found, classes });

    let mut shared = tasks(&backbone);
    shared[2].layers[1].mask = LearnedMask::SameAs(9);
    let error = write::artifact(&backbone, &shared).unwrap_err();
    assert_eq!(error, WriteError::SameAs { task: "shared".into(), layer: 1 });

    let mut steep = tasks(&backbone);
    steep[0].layers[1].epilogue[0].0 = half::f16::from_f32(128.0);
    let error = write::artifact(&backbone, &steep).unwrap_err();
    assert_eq!(error, WriteError::Invalid(ParseError::Epilogue { layer: 1 }));
}
