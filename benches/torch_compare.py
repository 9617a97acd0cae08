#!/usr/bin/env python3
"""Times one training step of Seedmask against PyTorch on the CPU, in alternation.

The step: 28x28 images, 3x3 convolutions 1-32-32, pool, -64-64, pool, dense 128, dense 10;
edge-popup masks at density .1 over frozen signs, BatchNorm, ReLU, SGD with momentum, batch 128.
PyTorch runs its faster layout (channels last) and without the rounding of activations that
Seedmask does in the same step. Both run the same number of threads, one after the other, round by
round, so that other load on the machine meets both alike. The ratios are of the medians over the
rounds: of the median step, of the fastest step, and of the processor time a step of all threads.

    cargo build --release -p seedmask-trainer --example step
    python3 benches/torch_compare.py target/release/examples/step

Needs Python with torch.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time


def torch_step(threads, steps, density):
    """Runs the step in this process; prints one JSON object."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(1)

    class TopK(torch.autograd.Function):
        """1 for the largest scores by magnitude; the gradient goes to all, with the score's sign."""

        @staticmethod
        def forward(ctx, scores):
            ctx.save_for_backward(scores)
            flat = scores.abs().flatten()
            threshold = flat.kthvalue(int((1 - density) * flat.numel()) + 1).values
            return (scores.abs() >= threshold).to(scores.dtype)

        @staticmethod
        def backward(ctx, gradient):
            return gradient * ctx.saved_tensors[0].sign()

    class Masked(nn.Module):
        def __init__(self, *shape):
            super().__init__()
            fan_in = math.prod(shape[1:])
            value = math.sqrt(2 / (density * fan_in))
            weight = torch.randint(0, 2, shape) * 2.0 - 1.0
            self.register_buffer("weight", weight * value)
            self.scores = nn.Parameter((torch.rand(shape) * 2 - 1) / math.sqrt(fan_in))

        def effective(self):
            return self.weight * TopK.apply(self.scores)

    class Conv(Masked):
        def forward(self, x):
            return F.conv2d(x, self.effective(), padding=1)

    class Dense(Masked):
        def forward(self, x):
            return F.linear(x, self.effective())

    model = nn.Sequential(
        Conv(32, 1, 3, 3), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
        Conv(32, 32, 3, 3), nn.BatchNorm2d(32), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        Conv(64, 32, 3, 3), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
        Conv(64, 64, 3, 3), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(), Dense(128, 3136), nn.BatchNorm1d(128), nn.ReLU(inplace=True),
        Dense(10, 128),
    ).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    images = torch.rand(128, 1, 28, 28).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (128,))
    times = []
    for step in range(steps + 5):
        if step == 5:
            processor = time.process_time()
        start = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimiser.step()
        times.append((time.perf_counter() - start) * 1e3)
    processor = (time.process_time() - processor) * 1e3 / steps
    print(json.dumps({"median_ms": statistics.median(times[5:]), "least_ms": min(times[5:]),
                      "processor_ms": processor}))


def run(command):
    """The JSON object that `command` prints last."""
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", nargs="?", help="the compiled example `step`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="steps of each stack in a round")
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--torch", type=int, metavar="THREADS", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    steps, density = str(arguments.steps), str(arguments.density)
    if arguments.torch:
        torch_step(arguments.torch, arguments.steps, arguments.density)
        return
    if not arguments.binary:
        parser.error("name the compiled example `step`")
    for threads in arguments.threads:
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            own = [arguments.binary, "--steps", steps, "--threads", str(threads)]
            ours.append(run(own + ["--density", density]))
            other = [sys.executable, __file__, "--steps", steps, "--density", density]
            theirs.append(run(other + ["--torch", str(threads)]))
        result = {"threads": threads, "density": arguments.density}
        for key in ("median_ms", "least_ms", "processor_ms"):
            pair = [statistics.median(r[key] for r in results) for results in (ours, theirs)]
            result[key] = {"seedmask": round(pair[0], 1), "pytorch": round(pair[1], 1),
                           "ratio": round(pair[0] / pair[1], 3)}
        print(json.dumps(result))


if __name__ == "__main__":
    main()
