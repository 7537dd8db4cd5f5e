"""A small network trained on scikit-learn's handwritten digits, and the labelled digits it has not seen.

`digits.yaml` plans this: ``splitpoint plan examples/digits.yaml``. The 1,797 pictures of 8x8 pixels are divided once:
900 train the network here, in seconds and the same on every run, and 897 are the data of the plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.samples.dataset import Dataset, Sample
from splitpoint.profiles.network.inputs import InputSpec, preprocess

if TYPE_CHECKING:
    from torch import nn

SPEC = InputSpec(size=8, resize="exact", color="gray", scale=255.0)
TRAINING = 900  # pictures
EPOCHS, BATCH, RATE = 15, 50, 2e-3
SEED = 0


def model() -> nn.Module:
    """The trained network in eval mode; takes (N, 1, 8, 8) float32 in 0..1, gives (N, 10) logits.

    It is trained anew each time, on one thread, so that the weights do not depend on the number of cores.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            return _train().eval()
    finally:
        torch.set_num_threads(threads)


def data() -> Dataset:
    """The 897 digits that the network was not trained on, each a group of its own."""
    return _dataset(slice(TRAINING, None))


def training() -> Dataset:
    """The 900 digits that the network was trained on: codecs and pruned networks are trained on them, too."""
    return _dataset(slice(TRAINING))


def _dataset(part: slice) -> Dataset:
    pictures, labels = _digits()
    samples = tuple(
        Sample(name=f"digit {i}", group=str(i), picture=pictures[i], label=int(labels[i]))
        for i in np.sort(_order(len(labels))[part])
    )
    return Dataset(spec=SPEC, samples=samples, classes=tuple("0123456789"), source="examples/digits.py")


def _train() -> nn.Module:
    import torch
    from torch import nn

    pictures, labels = _digits()
    chosen = _order(len(labels))[:TRAINING]
    x = torch.from_numpy(np.concatenate([preprocess(pictures[i], SPEC) for i in chosen]))
    y = torch.from_numpy(labels[chosen])
    module = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    optimizer = torch.optim.Adam(module.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        order = torch.randperm(TRAINING)
        for start in range(0, TRAINING, BATCH):
            batch = order[start : start + BATCH]
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(module(x[batch]), y[batch]))
            optimizer.step()
    return module


def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures (1797, 8, 8, 1), their 17 levels spread over 0..255, and labels (1797,)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pictures = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    return pictures, bunch.target.astype(np.int64)


def _order(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(SEED).permutation(count)
