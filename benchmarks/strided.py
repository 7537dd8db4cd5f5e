"""Train a plain network whose maps are halved by 3x3 convolutions of stride 2, on CIFAR-100.

    python -m splitpoint.benchmarks.strided --data DIR --out FILE.pt [--epochs 12] [--threads 1]

benchmarks/back_and_forth.py cuts it at the second of them. No branch goes around a convolution, so its output is a cut
of one tensor. The recipe is that of benchmarks/train_resnet20.py.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from splitpoint.benchmarks.train_resnet20 import SEED, accuracy, parser, pictures, train

LAYERS = ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1))  # channels and stride of each convolution
EPOCHS = 12


def strided_network(state: Mapping[str, torch.Tensor] | None = None) -> nn.Module:
    """Convolutions with batch normalization and ReLU, mean over the map, 100 classes; with the weights in `state`."""
    layers: list[nn.Module] = []
    channels = 3
    for width, stride in LAYERS:
        layers += [nn.Conv2d(channels, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    model = nn.Sequential()
    model.add_module("features", nn.Sequential(*layers))
    model.add_module("pool", nn.AdaptiveAvgPool2d(1))
    model.add_module("flatten", nn.Flatten())
    model.add_module("classifier", nn.Linear(channels, 100))
    if state is not None:
        model.load_state_dict({name: value.float() for name, value in state.items()})
    return model.eval()


def main(arguments: Sequence[str]) -> None:
    """Train, or go on."""
    options_of = parser(__doc__)
    options_of.set_defaults(epochs=EPOCHS)
    options = options_of.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    module = strided_network()
    train(module, pictures(options.data, "train"), options.out.with_suffix(".checkpoint"), options.epochs)
    x, y = pictures(options.data, "val")
    print(f"top-1 {100 * accuracy(module, x, y):.1f} % of {len(y)}")
    torch.save({name: value.half() for name, value in module.state_dict().items()}, options.out)


if __name__ == "__main__":
    main(sys.argv[1:])
