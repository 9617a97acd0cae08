//! `seedmask inspect`: what an artifact consists of and what it costs.

mod text;
mod timeline;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use seedmask::Family;
use seedmask::artifact::{Kind, Model, Op, PROLOGUE, Prologue, Task, VERSION};
use seedmask::epilogue::CHANNEL;
use seedmask::kernel::{BANDS, SPLIT, WHOLE};
use seedmask::layer::Source;
use seedmask::mask::{self, Encoding, LayerWeights};
use seedmask::plan;
use serde::Serialize;

use super::Failure;
use super::file::ArtifactFile;
use super::output::{Output, thousands};
use crate::evaluate::{count_weights, size};
use timeline::Timeline;

/// The most weights whose masks are written out to be counted, over all tasks.
const MAX_COUNTED: u64 = 1 << 30;

/// Show layers, tasks, arena and flash of an artifact
#[derive(Debug, Args)]
pub struct Inspect {
    /// The artifact, or a patch alone
    file: PathBuf,
    /// A patch for the artifact, to be shown with it
    patch: Option<PathBuf>,
    /// Show the arena alone, as a timeline: what lives where while each layer runs
    #[arg(long)]
    plan: bool,
}

#[derive(Serialize)]
struct Report {
    file: PathBuf,
    kind: &'static str,
    format_version: u16,
    bytes: usize,
    fingerprint: String,
    #[serde(flatten)]
    backbone: Option<Backbone>,
}

/// What a patch alone does not tell.
#[derive(Serialize)]
pub struct Backbone {
    seed: u64,
    input: [usize; 3],
    outputs: usize,
    /// Cargo features of the runtime without which the file, or the patch, is refused.
    features: Vec<&'static str>,
    pub arena_bytes: usize,
    layers: Vec<LayerReport>,
    arena: Vec<TensorReport>,
    plan: Timeline,
    pub tasks: Vec<TaskReport>,
    pub flash: Flash,
    patch: Option<PatchReport>,
}

#[derive(Serialize)]
struct LayerReport {
    layer: u8,
    kind: &'static str,
    input: [usize; 3],
    output: [usize; 3],
    source: Option<&'static str>,
    weights: u64,
    /// Multiplications of a dense network; here additions, of the weights kept.
    macs: u64,
    scratch_offset: u32,
    scratch_bytes: u64,
}

#[derive(Serialize)]
struct TensorReport {
    tensor: u8,
    size: [usize; 3],
    halo: u8,
    /// How its planes lie; see `kernel::layout` of the runtime.
    layout: &'static str,
    offset: u32,
    bytes: u32,
    /// The first and the last layer during which its bytes are spoken for.
    span: [u8; 2],
    /// The layer that writes it; none for the input.
    written_by: Option<u8>,
    /// The last layer that reads it; none for the output.
    read_until: Option<u8>,
}

#[derive(Serialize)]
pub struct TaskReport {
    task: String,
    in_patch: bool,
    classes: u16,
    labels: Vec<String>,
    layers: Vec<MaskReport>,
    pub weights: u64,
    pub kept: u64,
    density: f64,
    mask_bytes: usize,
    bits_per_weight: f64,
    entropy: f64,
    epilogue_bytes: usize,
    macs: u64,
    macs_kept: u64,
}

#[derive(Serialize)]
struct MaskReport {
    layer: u8,
    kind: &'static str,
    /// Rows and inputs of each.
    shape: [u32; 2],
    encoding: String,
    /// The task whose mask it is.
    same_as: Option<String>,
    kept: u64,
    density: f64,
    bytes: usize,
    bits_per_weight: f64,
    /// Of a random mask of this density, in bits a weight.
    entropy: f64,
    epilogue_bytes: usize,
    macs_kept: u64,
}

/// Bytes of a file by part.
#[derive(Serialize, Clone, Copy)]
pub struct Flash {
    pub prologue: usize,
    pub manifest: usize,
    pub stored: usize,
    pub masks: usize,
    pub epilogues: usize,
    /// Between sections, which begin at multiples of 4.
    pub filling: usize,
    pub total: usize,
}

impl Flash {
    /// Every part with its bytes, for people.
    pub fn parts(&self) -> String {
        let parts = [
            ("prologue", self.prologue),
            ("manifest", self.manifest),
            ("stored weights", self.stored),
            ("masks", self.masks),
            ("epilogues", self.epilogues),
            ("filling", self.filling),
        ];
        parts.map(|(part, bytes)| format!("{part} {}", thousands(bytes as u64))).join(", ")
    }
}

#[derive(Serialize)]
struct PatchReport {
    file: PathBuf,
    flash: Flash,
}

impl Inspect {
    pub fn execute(&self, output: &mut Output) -> Result<(), Failure> {
        let file = ArtifactFile::read(&self.file)?;
        let patch = self.patch.as_deref().map(ArtifactFile::read).transpose()?;
        let prologue = file.prologue()?;
        let backbone = match prologue.kind {
            Kind::Patch if patch.is_none() => {
                file.check_whole()?;
                None
            }
            _ => Some(backbone(&file, patch.as_ref())?),
        };
        let report = Report {
            file: self.file.clone(),
            kind: match prologue.kind {
                Kind::Backbone => "backbone",
                Kind::Patch => "patch",
            },
            format_version: VERSION,
            bytes: file.bytes.len(),
            fingerprint: format!("{:016x}", prologue.fingerprint),
            backbone,
        };
        match report.backbone.as_ref().filter(|_| self.plan) {
            Some(backbone) => output.report(&report, |_| timeline::text(backbone))?,
            None => output.report(&report, text::report)?,
        }
        Ok(())
    }
}

/// Bytes by part of `patch`, or else of `file`.
pub fn flash_of(file: &ArtifactFile, patch: Option<&ArtifactFile>) -> Result<Flash, Failure> {
    let backbone = backbone(file, patch)?;
    Ok(backbone.patch.map_or(backbone.flash, |patch| patch.flash))
}

/// Everything about the artifact `file` and, where given, `patch`.
pub fn backbone(file: &ArtifactFile, patch: Option<&ArtifactFile>) -> Result<Backbone, Failure> {
    let model = file.model()?;
    let found = count_weights(&model)? * (model.tasks().count() as u64 + 1);
    if found > MAX_COUNTED {
        return Err(Failure::Input(format!(
            "{}: {found} weights in all tasks; masks of at most {MAX_COUNTED} are counted",
            file.path.display()
        )));
    }
    let mut tasks: Vec<_> = model.tasks().map(|task| task_report(&model, &task, false)).collect();
    let mut features = features(&model, model.tasks());
    let stored = model.steps().map(|step| step.stored.len()).sum();
    let flash = flash(&file.prologue()?, stored, &tasks);
    let patch = match patch {
        None => None,
        Some(patch) => {
            let task = patch.patch(&model)?;
            features.extend(self::features(&model, [task]));
            tasks.push(task_report(&model, &task, true));
            let flash = self::flash(&patch.prologue()?, 0, &tasks[tasks.len() - 1..]);
            Some(PatchReport { file: patch.path.clone(), flash })
        }
    };
    let (layers, arena) = (layers(&model), arena(&model));
    Ok(Backbone {
        seed: model.seed(),
        input: size(&model.input()),
        outputs: model.output().channels.into(),
        features: features.into_iter().collect(),
        arena_bytes: model.arena_bytes(),
        plan: Timeline::new(&layers, &arena),
        layers,
        arena,
        tasks,
        flash,
        patch,
    })
}

/// The features of the runtime's families that `model` and `tasks` need, in the order of their names.
fn features<'a>(
    model: &Model<'a>,
    tasks: impl IntoIterator<Item = Task<'a>>,
) -> BTreeSet<&'static str> {
    let layers = model.steps().flat_map(|step| {
        let source = step.weights.and_then(|weights| Family::of_source(weights.source));
        [Family::of_layer(&step.layer), source]
    });
    let encoding = |op: Op| Family::of_encoding(op.learned?.0.mask().0);
    let masks = tasks.into_iter().flat_map(|task| task.program(model).map(encoding));
    layers.chain(masks).flatten().map(Family::feature).collect()
}

fn flash(prologue: &Prologue, stored: usize, tasks: &[TaskReport]) -> Flash {
    let manifest = prologue.manifest as usize;
    let masks = tasks.iter().map(|task| task.mask_bytes).sum();
    let epilogues = tasks.iter().map(|task| task.epilogue_bytes).sum();
    let total = prologue.length as usize;
    let filling = total.saturating_sub(PROLOGUE + manifest + stored + masks + epilogues);
    Flash { prologue: PROLOGUE, manifest, stored, masks, epilogues, filling, total }
}

fn layers(model: &Model) -> Vec<LayerReport> {
    let layer = |step: seedmask::artifact::Step| LayerReport {
        layer: step.index,
        kind: step.layer.kind(),
        input: size(&step.input),
        output: size(&step.output),
        source: step.weights.map(|weights| match weights.source {
            Source::SeededSigns => "seeded signs",
            Source::SeededMagnitudes => "seeded magnitudes",
            Source::StoredInt8 => "stored int8",
        }),
        weights: step.weights.map_or(0, |weights| weights.len()),
        macs: step.weights.map_or(0, |weights| weights.len() * pixels(size(&step.output))),
        scratch_offset: step.scratch,
        scratch_bytes: step.layer.scratch(&step.input, &step.output).into(),
    };
    model.steps().map(layer).collect()
}

fn pixels([_, height, width]: [usize; 3]) -> u64 {
    (height * width) as u64
}

fn arena(model: &Model) -> Vec<TensorReport> {
    let spans = plan::spans(model);
    let tensor = |id| {
        let (tensor, place) = (model.tensor(id)?, model.placement(id)?);
        let reads = |step: &seedmask::artifact::Step| {
            let (left, right) = step.layer.inputs();
            left == id || right == Some(id)
        };
        Some(TensorReport {
            tensor: id,
            size: size(&tensor),
            halo: place.pad,
            layout: layout(place.bands),
            offset: place.offset,
            bytes: model.region(id)?.len() as u32,
            span: *spans.get(usize::from(id))?,
            written_by: model.steps().find(|step| step.layer.output() == id).map(|step| step.index),
            read_until: model.steps().filter(reads).last().map(|step| step.index),
        })
    };
    (0..model.tensor_count()).filter_map(tensor).collect()
}

/// What a plan's bands stand for.
fn layout(bands: u8) -> &'static str {
    match bands {
        BANDS => "four bands",
        SPLIT => "split columns",
        WHOLE => "whole words",
        _ => "plain",
    }
}

fn task_report(model: &Model, task: &Task, in_patch: bool) -> TaskReport {
    let mut layers = Vec::new();
    let (mut weights, mut macs) = (0, 0);
    for op in task.program(model) {
        let Some((learned, _)) = &op.learned else { continue };
        weights += learned.weights().len();
        macs += learned.weights().len() * pixels(size(&op.step.output));
        layers.push(mask_report(model, &op, learned));
    }
    let kept = layers.iter().map(|layer| layer.kept).sum();
    let mask_bytes = layers.iter().map(|layer| layer.bytes).sum();
    // Of all layers together: what their masks would take, each at its own density.
    let entropy =
        |layer: &MaskReport| layer.entropy * f64::from(layer.shape[0]) * f64::from(layer.shape[1]);
    TaskReport {
        task: task.name().to_owned(),
        in_patch,
        classes: task.classes(),
        labels: task.labels().map(str::to_owned).collect(),
        weights,
        kept,
        density: kept as f64 / weights as f64,
        mask_bytes,
        bits_per_weight: 8.0 * mask_bytes as f64 / weights as f64,
        entropy: layers.iter().map(entropy).sum::<f64>() / weights as f64,
        epilogue_bytes: layers.iter().map(|layer| layer.epilogue_bytes).sum(),
        macs,
        macs_kept: layers.iter().map(|layer| layer.macs_kept).sum(),
        layers,
    }
}

fn mask_report(model: &Model, op: &Op, learned: &LayerWeights) -> MaskReport {
    let weights = learned.weights().len();
    let (encoding, section) = learned.mask();
    let kept = match encoding {
        Encoding::Full => weights,
        _ => mask::decode(learned).count_ones() as u64,
    };
    let density = kept as f64 / weights as f64;
    // The bytes of a shared mask stand with the task that has it.
    let bytes = if op.same_as.is_some() { 0 } else { section.len() };
    let owner = |task: u16| model.tasks().nth(task.into()).map(|task| task.name().to_owned());
    MaskReport {
        layer: op.step.index,
        kind: op.step.layer.kind(),
        shape: [learned.weights().rows, learned.weights().inputs],
        encoding: match encoding {
            Encoding::Full => "full".to_owned(),
            Encoding::Raw => "raw".to_owned(),
            Encoding::CountedRaw => "counted raw".to_owned(),
            Encoding::RiceGaps { parameter } => format!("rice {parameter}"),
            Encoding::SignedGaps => "signed gaps".to_owned(),
            Encoding::SignedPositions { .. } => "signed positions".to_owned(),
            Encoding::Seeded { density } => format!("seeded {density}/256"),
        },
        same_as: op.same_as.and_then(owner),
        kept,
        density,
        bytes,
        bits_per_weight: 8.0 * bytes as f64 / weights as f64,
        entropy: entropy(density),
        epilogue_bytes: learned.weights().rows as usize * CHANNEL,
        macs_kept: kept * pixels(size(&op.step.output)),
    }
}

/// Bits that a random choice of this probability holds.
fn entropy(p: f64) -> f64 {
    let part = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    part(p) + part(1.0 - p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_of_sure_and_even_choices() {
        assert_eq!([0.0, 0.5, 1.0].map(entropy), [0.0, 1.0, 0.0]);
        assert!((entropy(0.05) - 0.2864).abs() < 1e-4);
    }
}
