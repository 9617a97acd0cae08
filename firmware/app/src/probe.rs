//! Every public entry to the runtime, with inputs that the compiler cannot see through: what is
//! linked here may neither panic nor, on a core without floating point, call float helpers.

use core::hint::black_box;

use seedmask::{
    Model, Session, Task,
    kernel::{Kernels, Native, Reference, Words},
};

/// Calls everything. The result means nothing; it keeps the calls.
pub fn call_everything(artifact: &[u8], patch: &[u8], arena: &mut [u8]) -> usize {
    let Ok(model) = Model::parse(black_box(artifact)) else { return 1 };
    describe(&model);
    let Ok(task) = Task::parse(&model, black_box(patch)) else { return 2 };
    let Ok(opened) = Model::open(black_box(artifact)) else { return 5 };
    black_box(Task::open(&opened, black_box(patch)).is_ok());
    black_box((task.name(), task.classes(), task.fingerprint(), task.labels().count()));
    black_box(task.program(&model).count());
    let Ok(mut session) = Session::new(model, black_box(arena)) else { return 3 };
    describe(session.model());
    // Those of the target, which a session runs by itself, and those that any target has.
    infer::<Native>(&mut session, task)
        + infer::<Reference>(&mut session, task)
        + infer::<Words>(&mut session, task)
}

/// What a model tells of itself.
fn describe(model: &Model) {
    black_box((model.seed(), model.fingerprint(), model.arena_bytes()));
    black_box((model.input(), model.output(), model.tensor_count(), model.layer_count()));
    black_box((model.tensor(black_box(3)), model.placement(black_box(3))));
    black_box((model.steps().count(), model.tasks().count()));
    black_box(model.task(black_box("clothes")).is_some());
}

/// One inference with the kernels `K`.
fn infer<K: Kernels>(session: &mut Session, task: Task) -> usize {
    session.input().fill(black_box(1));
    match session.infer_with::<K>(task) {
        Ok(output) => output.argmax() + output.logits().len(),
        Err(_) => 4,
    }
}
