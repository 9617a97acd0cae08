//! Networks that are ready to run on this computer.

use seedmask::kernel::Kernels;
use seedmask::{Model, Session, Task};

use crate::pack::Named;

/// Environment variable with the path of a pack of artifacts.
pub const PACK: &str = "SEEDMASK_PACK";

/// A network with its memory and an input.
#[derive(Debug)]
pub struct Network {
    /// What it is called.
    pub name: String,
    session: Session<'static, 'static>,
    task: Task<'static>,
    input: Vec<u8>,
}

impl Network {
    /// Makes a network ready: its first task, and random bytes for its input. It lives until the
    /// program ends.
    ///
    /// # Panics
    /// Where it is not a valid artifact.
    pub fn new(named: Named) -> Self {
        let model = Model::parse(named.artifact.leak()).expect("a valid artifact");
        let arena = vec![0u128; model.arena_bytes().div_ceil(size_of::<u128>())].leak();
        let arena: &mut [u8] = bytemuck::cast_slice_mut(arena);
        let mut session = Session::new(model, arena).expect("the arena is as large as it says");
        let task = model.tasks().next().expect("an artifact has a task");
        let bytes = session.input().len();
        let input = (0..bytes as u32).map(|i| crate::built::input_byte(1, i)).collect();
        Self { name: named.name, session, task, input }
    }

    /// An inference with the kernels `K`, the copy of the input included.
    ///
    /// # Panics
    /// Never: the artifact was checked.
    pub fn run<K: Kernels>(&mut self) -> i32 {
        self.session.input().copy_from_slice(&self.input);
        let output = self.session.infer_with::<K>(self.task).expect("checked when it was made");
        output.logits().iter().sum()
    }
}
