//! Plans of small graphs, and what a plan must refuse.

use super::*;
use crate::kernel::{WHOLE, storage};
use crate::layer::{Add, Conv2d, Dense, Pool, PoolKind, Range, Relayout, Source, Window};
use half::f16;

const RELU: Range = Range::Activations { low: 0 };
const SIGNS: Source = Source::SeededSigns;

fn conv(input: TensorId, output: TensorId) -> Layer {
    let window = Window::square(3, 1, 1);
    Layer::Conv2d(Conv2d { input, output, window, source: SIGNS, range: RELU })
}

fn dense(input: TensorId, output: TensorId, range: Range) -> Layer {
    Layer::Dense(Dense { input, output, source: SIGNS, range })
}

/// Input 0 → padded 1 → conv 2 → conv 3 → add(2, 3) 4 → pooled 5 → logits 6.
fn residual() -> (alloc::vec::Vec<Tensor>, alloc::vec::Vec<Layer>) {
    let map = |channels, size| Tensor::map(channels, size, size, 0);
    let one = f16::ONE.to_bits();
    let add = Add { left: 2, right: 3, output: 4, scales: [one; 2], shift: 0, low: 0 };
    let window = Window::square(8, 8, 0);
    let pool = Pool { input: 4, output: 5, window, kind: PoolKind::Average };
    let tensors =
        [map(1, 8), map(1, 8), map(4, 8), map(4, 8), map(4, 8), map(4, 1), Tensor::logits(3)];
    let layers = [
        Layer::Relayout(Relayout { input: 0, output: 1 }),
        conv(1, 2),
        conv(2, 3),
        Layer::Add(add),
        Layer::Pool(pool),
        dense(5, 6, Range::Logits),
    ];
    (tensors.to_vec(), layers.to_vec())
}

#[test]
fn lives_end_with_the_last_reader() {
    let (tensors, layers) = residual();
    let needs = Needs::of_layers(&tensors, &layers);
    let ends: alloc::vec::Vec<_> =
        (0..7).map(|id| (needs.life(id).first, needs.life(id).last)).collect();
    assert_eq!(ends, [(0, 0), (0, 1), (1, 3), (2, 3), (3, 4), (4, 5), (5, 6)]);
}

#[test]
fn a_residual_block_needs_two_maps_and_some_channels_of_a_third() {
    let map = Tensor::map(16, 8, 8, 0);
    let one = f16::ONE.to_bits();
    let add = Add { left: 3, right: 1, output: 4, scales: [one; 2], shift: 0, low: 0 };
    let layers = [
        Layer::Relayout(Relayout { input: 0, output: 1 }),
        conv(1, 2),
        conv(2, 3),
        Layer::Add(add),
        conv(4, 5),
        Layer::Relayout(Relayout { input: 5, output: 6 }),
    ];
    let plan = make(&[map; 7], &layers, Goal::Speed).unwrap();
    let needs = Needs::of_layers(&[map; 7], &layers);
    assert!(needs.life(3).is_joined());
    assert_eq!(needs.life(4).first, 2);
    assert_eq!(plan.placements[1], plan.placements[4], "the sum takes the place of its input");
    let places = plan.placements.iter();
    let layouts: alloc::vec::Vec<_> = places.map(|place| (place.pad, place.bands)).collect();
    assert_eq!(layouts, [(0, 1), (1, 4), (1, 4), (0, 4), (1, 4), (0, 4), (0, 1)]);
    let banded = storage(&map, 1, 4).unwrap();
    assert_eq!(banded, 4 * (16 * (2 + 2) * (8 + 1) + 1));
    let scratch = layers[1].scratch(&map, &map);
    assert_eq!(plan.arena, 2 * banded + 2 * 64 + scratch);
}

#[test]
fn halos_cover_the_padding_of_the_readers() {
    let (tensors, layers) = residual();
    let plan = make(&tensors, &layers, Goal::Speed).unwrap();
    let pads: alloc::vec::Vec<_> = plan.placements.iter().map(|place| place.pad).collect();
    assert_eq!(pads, [0, 1, 1, 0, 0, 0, 0]);
}

#[test]
fn an_input_read_with_padding_needs_a_relayout() {
    let tensors = [Tensor::map(1, 8, 8, 0), Tensor::map(1, 8, 8, 0)];
    assert_eq!(make(&tensors, &[conv(0, 1)], Goal::Speed), Err(PlanError::Halo(0)));
}

#[test]
fn vectors_that_are_written_in_a_row_have_no_halo() {
    let tensors = [Tensor::vector(8, 0), Tensor::vector(6, 0), Tensor::vector(4, 0)];
    let after_dense = [dense(0, 1, RELU), conv(1, 2)];
    assert_eq!(make(&tensors, &after_dense, Goal::Speed), Err(PlanError::Halo(1)));
    let tensors = [Tensor::map(2, 3, 1, 0), Tensor::vector(6, 0), Tensor::vector(4, 0)];
    let after_flatten = [Layer::Relayout(Relayout { input: 0, output: 1 }), conv(1, 2)];
    assert_eq!(make(&tensors, &after_flatten, Goal::Speed), Err(PlanError::Halo(1)));
}

#[test]
fn graphs_that_name_what_is_not_there_are_errors() {
    let tensors = [Tensor::vector(8, 0); 66];
    assert_eq!(make(&tensors, &[], Goal::Speed), Err(PlanError::Count));
    assert_eq!(make(&[], &[], Goal::Speed), Err(PlanError::Count));
    assert_eq!(make(&tensors[..2], &[dense(0, 9, RELU)], Goal::Speed), Err(PlanError::Missing(0)));
    let huge = [Tensor::map(60_000, 60_000, 1, 0)];
    assert_eq!(make(&huge, &[], Goal::Speed), Err(PlanError::Tensor(0)));
}

#[test]
fn a_chain_needs_its_largest_neighbours_and_no_more() {
    let tensors: alloc::vec::Vec<_> = [64, 256, 32, 32]
        .map(|n| Tensor::vector(n, 0))
        .into_iter()
        .chain([Tensor::logits(8)])
        .collect();
    let layers =
        [dense(0, 1, RELU), dense(1, 2, RELU), dense(2, 3, RELU), dense(3, 4, Range::Logits)];
    assert_eq!(make(&tensors, &layers, Goal::Speed).unwrap().arena, 256 + 64);
}

#[test]
fn adds_work_over_their_left_input_where_it_dies() {
    let (tensors, mut layers) = residual();
    if let Layer::Add(add) = &mut layers[3] {
        (add.left, add.right) = (3, 2);
    }
    let plan = make(&tensors, &layers, Goal::Speed).unwrap();
    assert_eq!(plan.placements[3], plan.placements[4]);
}

#[test]
fn the_padded_copy_of_an_input_takes_its_place() {
    let tensors = [Tensor::map(3, 9, 9, 0), Tensor::map(3, 9, 9, 0), Tensor::map(1, 9, 9, 0)];
    let layers = [Layer::Relayout(Relayout { input: 0, output: 1 }), conv(1, 2)];
    let plan = make(&tensors, &layers, Goal::Speed).unwrap();
    assert_eq!(plan.placements[0].offset, plan.placements[1].offset);
    let padded = storage(&tensors[1], 1, 1).unwrap();
    let scratch = layers[1].scratch(&tensors[1], &tensors[2]);
    assert_eq!(plan.arena, padded + storage(&tensors[2], 0, 1).unwrap() + scratch);
}

#[test]
fn a_plan_for_memory_is_plain() {
    let (tensors, layers) = residual();
    let [fast, small] =
        [Goal::Speed, Goal::Memory].map(|goal| make(&tensors, &layers, goal).unwrap());
    assert!(fast.placements.iter().any(|place| place.bands > 1));
    assert!(small.placements.iter().all(|place| place.bands == 1));
    assert!(small.arena < fast.arena);
}

#[test]
fn a_chain_of_work_in_place_shrinks_on_its_way() {
    // Depthwise layers of stride 2 over 32×32, 16×16 and 8×8: the first map's room is free behind.
    let window = Window { kernel: [3; 2], stride: [2; 2], padding: [0, 0, 1, 1] };
    let depthwise = |input, output| {
        let layer = crate::layer::Depthwise { input, output, window, source: SIGNS, range: RELU };
        Layer::Depthwise(layer)
    };
    let map = |size| Tensor::map(4, size, size, 0);
    let tensors = [map(32), map(16), map(8), Tensor::map(16, 8, 8, 0)];
    let window = Window::square(1, 1, 0);
    let pointwise = Conv2d { input: 2, output: 3, window, source: SIGNS, range: RELU };
    let layers = [depthwise(0, 1), depthwise(1, 2), Layer::Conv2d(pointwise)];
    let plan = make(&tensors, &layers, Goal::Speed).unwrap();
    let offsets: alloc::vec::Vec<_> = plan.placements.iter().map(|place| place.offset).collect();
    assert_eq!((offsets[0], offsets[1]), (offsets[2], offsets[2]));
    let scratch = layers[0].scratch(&tensors[0], &tensors[1]);
    assert_eq!(plan.arena, 4096 + scratch);
}

#[test]
fn no_layer_reads_filling_as_elements() {
    let map = |tensor: Tensor, bands| Planes::new(&tensor, 0).banded(bands).unwrap();
    let (plain, whole) = (map(Tensor::map(3, 5, 5, 0), 1), map(Tensor::map(3, 5, 5, 0), WHOLE));
    let sum = Layer::Add(Add { left: 0, right: 1, output: 2, scales: [0; 2], shift: 0, low: 0 });
    assert!(bands_fit(&sum, &plain, Some(&plain), &plain));
    assert!(!bands_fit(&sum, &plain, Some(&whole), &plain));
    let relayout = Layer::Relayout(Relayout { input: 0, output: 1 });
    assert!(bands_fit(&relayout, &whole, None, &plain));
    assert!(bands_fit(&relayout, &plain, None, &map(Tensor::vector(75, 0), 1)));
    assert!(!bands_fit(&relayout, &plain, None, &map(Tensor::vector(75, 0), WHOLE)));
}
