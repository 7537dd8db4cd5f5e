"""A network and its Dynamic Switch trained together from scratch: top-1 and bytes at each rate.

    python -m splitpoint.benchmarks.joint_switch --data DIR --baseline FILE.pt --out FILE.pt [--epochs 14] [--threads 1]

The ResNet-20 of benchmarks/train_resnet20.py with a switch after its second stage (32 channels), trained by the same
recipe; each rate gets a third of every batch, and the loss is the cross-entropy, which the paper found best from
scratch (section 2). BASELINE is the same network without a switch, of as many epochs. Evaluated as in
benchmarks/learned.py: payload bytes through the ONNX tail, on 5,000 pictures. It takes the epochs (about a minute each
on an idle thread) and 2 minutes; the same command goes on where it was stopped.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from splitpoint.benchmarks.cifar import resnet20
from splitpoint.benchmarks.latency import NETS
from splitpoint.benchmarks.learned import BEHIND, HEADER, TRAINED, Bench, line, place_map
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.benchmarks.train_resnet20 import SEED, parser, pictures, train
from splitpoint.codecs.contract.protocol import LossTerm, TrainingCost
from splitpoint.codecs.learned.switch import build_switch, start_he
from splitpoint.codecs.learned.switch_codec import DynamicSwitch
from splitpoint.codecs.registry import get as get_codec
from splitpoint.profiles.network.torch_model import load_module

STAGE, BLOCKS, CHANNELS = 2, 3, 32  # the switch is after this stage; blocks of each; channels there


class Joint(nn.Module):
    """A ResNet with a switch inside; each rate gets its part of a batch."""

    def __init__(self, network: nn.Module, switch: nn.Module, rates: int) -> None:
        super().__init__()
        self.network, self.switch, self._rates = network, switch, rates
        network.get_submodule(f"blocks.{STAGE * BLOCKS - 1}").register_forward_hook(self._through)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes) of pictures."""
        answers: torch.Tensor = self.network(x)
        return answers

    def _through(self, module: nn.Module, given: object, x: torch.Tensor) -> torch.Tensor:
        parts = x.float().tensor_split(self._rates)
        return torch.cat([self.switch(part, rate) for rate, part in enumerate(parts) if len(part)])


class _Given:
    """A training that was done before."""

    key = "given"

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self._weights = weights

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> TrainingCost:
        """Give the module its weights."""
        module.load_state_dict(self._weights)
        return TrainingCost(steps=0, images=0, losses={})


def main(arguments: Sequence[str]) -> None:
    """Train, or go on; evaluate, and store."""
    reader = parser(__doc__)
    reader.add_argument("--baseline", type=Path, required=True)
    options = reader.parse_args(arguments)
    torch.set_num_threads(options.threads)
    codec = get_codec(TRAINED)
    assert isinstance(codec, DynamicSwitch)
    design = codec.design(CHANNELS, rectified=True)
    torch.manual_seed(SEED)
    joint = Joint(load_module(f"{NETS}:resnet20"), build_switch(design, start_he(design, SEED)), len(design.widths))
    train(joint, pictures(options.data, "train"), options.out.with_suffix(".checkpoint"), options.epochs)
    torch.save(joint.state_dict(), options.out)

    baseline = resnet20(torch.load(options.baseline, weights_only=True))
    without = Bench("resnet20", baseline, options.data, options.threads)
    network = resnet20(dict(joint.network.state_dict()))
    bench = Bench("resnet20-joint", network, options.data, options.threads)
    bench.unsplit = without.unsplit  # what is lost is lost against the network without a switch
    cut = place_map(bench.graph, network, BEHIND["resnet20"][STAGE])
    rows = bench.measure_trained(cut, codec, _Given(joint.switch.state_dict()), f"{TRAINED}, from scratch")
    top1 = 100 * without.unsplit.mean()
    print(f"top-1 without a switch {top1:.1f} %\n{HEADER}")
    for row in rows:
        print(line(row))
    found = {"epochs": options.epochs, "top1": top1, "rows": [dataclasses.asdict(row) for row in rows]}
    about = f"--data DIR --baseline FILE --out FILE --epochs {options.epochs} --threads {options.threads}"
    store(RESULTS / "learned-joint.json", found, command=f"joint_switch {about}", threads=options.threads)


if __name__ == "__main__":
    main(sys.argv[1:])
