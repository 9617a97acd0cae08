//! The kernels equal the reference bit for bit.

use proptest::prelude::*;
use seedmask::kernel::{General, Kernels, Native, Reference, Words};
use seedmask::layer::{
    Conv2d, Dense, Depthwise, Layer, Pool, PoolKind, Range, Source, Tensor, Window,
};
use seedmask::{Model, Session};
use seedmask_benches::artifact::isolated;
use seedmask_benches::built::{Built, Layout, input_byte};
use seedmask_benches::cases::{AWKWARD, Mask, SMALL, SPEED, Variant, variants};

fn assert_exact(built: &mut Built, what: &str) {
    // What the memory holds before must not matter.
    let expected = built.outputs::<Reference>(0x5a);
    for (kernels, found) in [
        ("general", built.outputs::<General>(0xc3)),
        ("words", built.outputs::<Words>(0xa5)),
        ("native", built.outputs::<Native>(0x3c)),
    ] {
        assert_eq!(found.1, expected.1, "logits of {what}, {kernels}");
        let differs =
            found.0.iter().zip(&expected.0).position(|(found, expected)| found != expected);
        assert_eq!(differs, None, "first activation that differs in {what}, {kernels}");
    }
}

#[test]
fn small_and_awkward_layers_of_the_table_in_every_source_and_encoding() {
    for case in SMALL.iter().chain(&AWKWARD) {
        for variant in variants(&[1, 10, 50, 97]) {
            if let Some(mut built) = Built::new(case, variant, 11) {
                assert_exact(&mut built, &format!("{} {}", case.name, variant.name()));
            }
        }
    }
}

#[test]
fn large_layers_of_the_table() {
    for case in &SPEED {
        for (mask, density) in [(Mask::Raw, 50), (Mask::Rice, 5), (Mask::Gaps, 10)] {
            let variant = Variant::signs(mask, density);
            let Some(mut built) = Built::new(case, variant, 12) else { continue };
            assert_exact(&mut built, &format!("{} {}", case.name, variant.name()));
        }
    }
}

/// Between two relayouts the output of a depthwise layer takes the place of its input.
#[test]
fn depthwise_layers_in_place() {
    let mut in_place = 0;
    for case in SMALL.iter().chain(&AWKWARD) {
        let Layer::Depthwise(_) = case.layer else { continue };
        for variant in variants(&[10, 60]) {
            let Some((file, index)) = isolated(case, variant) else { continue };
            let model = Model::parse(&file).unwrap();
            let layer = model.steps().nth(index).unwrap().layer;
            let [from, to] =
                [layer.inputs().0, layer.output()].map(|id| model.placement(id).unwrap().offset);
            in_place += usize::from(from == to);
            let expected = logits::<Reference>(model);
            assert_eq!(logits::<Words>(model), expected, "{} {}", case.name, variant.name());
            assert_eq!(logits::<Native>(model), expected, "{} {}", case.name, variant.name());
        }
    }
    assert!(in_place > 20, "{in_place}");
}

/// The logits of a model's only task for some input.
fn logits<K: Kernels>(model: Model) -> Vec<i32> {
    let mut memory = vec![0_u128; model.arena_bytes().div_ceil(16)];
    let arena: &mut [u8] = bytemuck::cast_slice_mut(&mut memory);
    let mut session = Session::new(model, arena).unwrap();
    for (at, byte) in (0..).zip(session.input()) {
        *byte = input_byte(7, at);
    }
    let task = model.tasks().next().unwrap();
    session.infer_with::<K>(task).unwrap().logits().to_vec()
}

#[test]
fn sums_beyond_sixteen_bits() {
    let window = Window::square(1, 1, 0);
    let (source, range) = (Source::SeededSigns, Range::Activations { low: 0 });
    let conv = Layer::Conv2d(Conv2d { input: 0, output: 1, window, source, range });
    let logits = Layer::Dense(Dense { input: 0, output: 1, source, range: Range::Logits });
    for variant in variants(&[60]) {
        for (layer, input, output) in [
            (conv, Tensor::map(3000, 2, 17, 0), Tensor::map(2, 2, 17, 0)),
            (logits, Tensor::vector(9000, 0), Tensor::logits(3)),
        ] {
            let built = Built::layer(layer, input, output, variant, 13, Layout::default());
            let mut built = built.expect("these go together");
            built.fill(|| 127);
            assert_exact(&mut built, &variant.name());
        }
    }
}

fn any_variant() -> impl Strategy<Value = Variant> {
    let all: Vec<Variant> = variants(&[0, 1, 3, 10, 30, 60, 99]).collect();
    prop::sample::select(all)
}

fn any_window() -> impl Strategy<Value = Window> {
    let axis = || (1..6_u8).prop_flat_map(|kernel| (Just(kernel), 1..5_u8, 0..kernel, 0..kernel));
    (axis(), axis()).prop_map(|(y, x)| Window {
        kernel: [y.0, x.0],
        stride: [y.1, x.1],
        padding: [y.2, x.2, y.3, x.3],
    })
}

/// A window under which a map of rows in eights keeps its bands.
fn keeping_bands(window: Window) -> Window {
    let down = 1 + window.stride[0] % 2;
    let (kernel, around) = match window.kernel[0] % 3 {
        0 => (1.max(down), [0, 0]),
        1 if down == 2 => (3, [0, 1]),
        1 => (3, [1, 1]),
        _ => (2, [0, u8::from(down == 1)]),
    };
    let [_, left, _, right] = window.padding;
    Window {
        kernel: [kernel, window.kernel[1]],
        stride: [down, window.stride[1]],
        padding: [around[0], left, around[1], right],
    }
}

fn any_map() -> impl Strategy<Value = Tensor> {
    (1..6_u16, 1..20_u16, 1..40_u16, 0..=127_u8)
        .prop_map(|(channels, height, width, zero)| Tensor::map(channels, height, width, zero))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn dense(
        inputs in 1..700_u16,
        outputs in 1..6_u16,
        low in prop::option::of(0..=127_u8),
        variant in any_variant(),
        seed: u64,
    ) {
        let (range, output) = match low {
            Some(low) => (Range::Activations { low }, Tensor::vector(outputs, low)),
            None => (Range::Logits, Tensor::logits(outputs)),
        };
        let source = variant.source;
        let layer = Layer::Dense(Dense { input: 0, output: 1, source, range });
        let built = Built::layer(layer, Tensor::vector(inputs, 0), output, variant, seed, Layout::default());
        prop_assume!(built.is_some());
        assert_exact(&mut built.unwrap(), "dense");
    }

    #[test]
    fn windows(
        input in any_map(),
        window in any_window(),
        outputs in 1..4_u16,
        (low, extra, order) in (0..=127_u8, 0..3_u8, 0..4),
        variant in any_variant(),
        seed: u64,
    ) {
        // Few windows keep the bands of a map by chance.
        let (banded, split, whole) = (order == 1, order == 2, order == 3);
        let window = if banded { keeping_bands(window) } else { window };
        let down = window.stride[0];
        let window = if split { Window { stride: [down, 2], ..window } } else { window };
        let extra = if whole { 0 } else { extra };
        let window = if whole && outputs > 1 { Window::square(1, 1, 0) } else { window };
        let height = if banded { input.height.next_multiple_of(8) } else { input.height };
        let input = Tensor { height, ..input };
        let shape = window.output(input.height, input.width);
        prop_assume!(shape.is_some());
        let (height, width) = shape.unwrap();
        let (source, range) = (variant.source, Range::Activations { low });
        let conv = Layer::Conv2d(Conv2d { input: 0, output: 1, window, source, range });
        let depthwise = Layer::Depthwise(Depthwise { input: 0, output: 1, window, source, range });
        let max = Layer::Pool(Pool { input: 0, output: 1, window, kind: PoolKind::Max });
        let mean = Layer::Pool(Pool { input: 0, output: 1, window, kind: PoolKind::Average });
        let mut checked = 0;
        for layer in [conv, depthwise, max, mean] {
            let channels = if layer == conv { outputs } else { input.channels };
            let output = Tensor::map(channels, height, width, input.zero_point);
            let layout = Layout { extra, banded, split, whole };
            if let Some(mut built) = Built::layer(layer, input, output, variant, seed, layout) {
                assert_exact(&mut built, &format!("{layer:?}, {layout:?}"));
                checked += 1;
            }
        }
        prop_assert!(order > 0 || checked >= 2);
        // Too many cases without any layer would fail the test.
        prop_assume!(checked > 0);
    }
}
