#!/usr/bin/env python3
"""Times whole networks of Seedmask against onnxruntime's int8 kernels, on one thread of this computer.

The networks have the topologies of MLPerf Tiny: those of `trainer/recipes/{kws,ic,vww,ad}.toml`.
Here each is built as an ONNX graph of quantised operators (QLinearConv and its kin) with random
int8 weights: accuracy does not matter for speed. Seedmask's side is the artifacts named, whose file
names begin with the network's; both sides run round by round, so that other load meets both alike.
A round gives the lower quartile of its runs (on a busy computer the median is that of runs that were
interrupted), and the medians of the rounds are compared.

    for net in kws ic vww ad; do
        cargo run --release -p seedmask-trainer --bin seedmask -- \\
            build trainer/recipes/$net.toml --density .1 -o $net.smk
    done
    cargo build --release -p seedmask-benches --example host
    python3 benches/onnx_compare.py kws.smk ic.smk vww.smk ad.smk

Needs Python with onnx, onnxruntime and numpy.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

import numpy
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"


class Network:
    """A graph under construction. Activations are u8 with one scale and zero point 0, so that a ReLU
    is the saturation of the operator before it."""

    def __init__(self, shape):
        self.random = numpy.random.default_rng(1)
        self.shape = list(shape)
        self.nodes = []
        self.constants = {}
        self.last = "input"
        self.channels = shape[1]
        self.scale = self.constant(numpy.float32(0.1))
        self.zero = self.constant(numpy.uint8(0))
        self.middle = self.constant(numpy.uint8(128))
        self.weight_scale = self.constant(numpy.float32(0.01))
        self.weight_zero = self.constant(numpy.int8(0))

    def constant(self, value):
        name = f"constant{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(numpy.asarray(value), name)
        return name

    def node(self, operator, inputs, domain="", **attributes):
        self.last = f"tensor{len(self.nodes)}"
        node = helper.make_node(operator, inputs, [self.last], domain=domain, **attributes)
        self.nodes.append(node)
        return self.last

    def weights(self, *shape):
        return self.constant(self.random.integers(-127, 128, shape, dtype=numpy.int8))

    def conv(self, outputs, kernel, stride=1, pads=None, groups=1, source=None, relu=True):
        kernel = [kernel, kernel] if isinstance(kernel, int) else kernel
        if pads is None:
            pads = [(k - 1) // 2 for k in kernel] + [k // 2 for k in kernel]
        inputs = self.channels if source is None else source[1]
        weights = self.weights(outputs, inputs // groups, *kernel)
        bias = self.constant(self.random.integers(-1000, 1000, outputs, dtype=numpy.int32))
        self.channels = outputs
        quantised = [self.last if source is None else source[0], self.scale, self.zero]
        quantised += [weights, self.weight_scale, self.weight_zero]
        quantised += [self.scale, self.zero if relu else self.middle, bias]
        return self.node(
            "QLinearConv",
            quantised,
            kernel_shape=kernel,
            strides=[stride, stride],
            pads=pads,
            group=groups,
        )

    def depthwise(self, stride=1):
        pads = [1] * 4 if stride == 1 else [0, 0, 1, 1]
        return self.conv(self.channels, 3, stride, pads, self.channels)

    def add(self, left, right):
        quantised = [left, self.scale, self.middle, right, self.scale, self.zero]
        return self.node("QLinearAdd", quantised + [self.scale, self.zero], MICROSOFT)

    def average(self):
        quantised = [self.last, self.scale, self.zero, self.scale, self.zero]
        self.node("QLinearGlobalAveragePool", quantised, MICROSOFT, channels_last=0)
        return self.node("Flatten", [self.last])

    def dense(self, inputs, outputs):
        quantised = [self.last, self.scale, self.zero]
        quantised += [self.weights(inputs, outputs), self.weight_scale, self.weight_zero]
        quantised += [self.constant(numpy.zeros(outputs, numpy.int32)), self.scale, self.zero]
        return self.node("QGemm", quantised, MICROSOFT)

    def session(self):
        """The graph, ready to run on one thread."""
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("input", TensorProto.UINT8, self.shape)],
            [helper.make_tensor_value_info(self.last, TensorProto.UINT8, None)],
            list(self.constants.values()),
        )
        operators = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=operators, ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


def kws():
    net = Network([1, 1, 49, 10])
    net.conv(64, [10, 4], 2, [4, 1, 5, 1])
    for _ in range(4):
        net.depthwise()
        net.conv(64, 1)
    net.average()
    net.dense(64, 12)
    return net


def ic():
    net = Network([1, 3, 32, 32])
    stem = net.conv(16, 3)
    net.conv(16, 3)
    last = net.add(net.conv(16, 3, relu=False), stem)
    channels = 16
    for outputs in (32, 64):
        short = net.conv(outputs, 1, 2, [0] * 4, source=(last, channels))
        net.conv(outputs, 3, 2, [0, 0, 1, 1], source=(last, channels))
        last = net.add(net.conv(outputs, 3, relu=False), short)
        channels = outputs
    net.average()
    net.dense(64, 10)
    return net


def vww():
    net = Network([1, 3, 96, 96])
    net.conv(8, 3, 2, [0, 0, 1, 1])
    blocks = [(1, 16), (2, 32), (1, 32), (2, 64), (1, 64), (2, 128)]
    blocks += [(1, 128)] * 5 + [(2, 256), (1, 256)]
    for stride, outputs in blocks:
        net.depthwise(stride)
        net.conv(outputs, 1)
    net.average()
    net.dense(256, 2)
    return net


def ad():
    net = Network([1, 640])
    sizes = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
    for inputs, outputs in zip(sizes, sizes[1:]):
        net.dense(inputs, outputs)
    return net


NETWORKS = {"kws": kws, "ic": ic, "vww": vww, "ad": ad}


def onnx_microseconds(session, shape, runs=50):
    data = numpy.random.default_rng(2).integers(0, 128, shape, dtype=numpy.uint8)
    binding = session.io_binding()
    binding.bind_cpu_input("input", data)
    binding.bind_output(session.get_outputs()[0].name)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        session.run_with_iobinding(binding)
        times.append(time.perf_counter() - start)
    return statistics.quantiles(times, n=4)[0] * 1e6


def seedmask_microseconds(program, artifact):
    lines = subprocess.run(
        [program, "--json", artifact], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    figures = [json.loads(line) for line in lines]
    return next(figure["value"] for figure in figures if figure["metric"] == "ns") / 1e3


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifacts", nargs="+", help="artifacts named kws*, ic*, vww* or ad*")
    parser.add_argument(
        "--program",
        default=root / "target/release/examples/host",
        help="the example `host` of seedmask-benches",
    )
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"onnxruntime {onnxruntime.__version__}, int8, one thread; medians of {arguments.rounds} rounds")
    print(f"{'artifact':24}{'onnxruntime µs':>16}{'seedmask µs':>14}{'ratio':>8}")
    for artifact in arguments.artifacts:
        stem = pathlib.Path(artifact).stem
        found = [build for name, build in NETWORKS.items() if stem.startswith(name)]
        if not found:
            sys.exit(f"{artifact}: the file's name begins with none of {', '.join(NETWORKS)}")
        network = found[0]()
        session = network.session()
        rounds = [
            (
                onnx_microseconds(session, network.shape),
                seedmask_microseconds(arguments.program, artifact),
            )
            for _ in range(arguments.rounds)
        ]
        theirs, ours = (statistics.median(times) for times in zip(*rounds))
        print(f"{stem:24}{theirs:16.1f}{ours:14.1f}{theirs / ours:8.2f}")


if __name__ == "__main__":
    main()
