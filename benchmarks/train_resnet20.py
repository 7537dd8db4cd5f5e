"""Train the ResNet-20 that benchmarks/pruning.py prunes, on CIFAR-100.

    python -m splitpoint.benchmarks.train_resnet20 --data DIR --out FILE.pt [--epochs 14] [--threads 1]

SGD with Nesterov momentum .9, batch 128, weight decay 5e-4 but not on biases and batch normalization, one cycle to .4,
label smoothing .1, random crop of 4 pixels and flip (He 2015 with a shorter schedule), products in bfloat16 where the
CPU has them. Every epoch is stored with the optimizer's state, so that the same command goes on where it was
interrupted; the end is a state dict in fp16.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from splitpoint.benchmarks.cifar import MEAN, STD
from splitpoint.benchmarks.latency import NETS
from splitpoint.planner.training.precision import fast_products
from splitpoint.profiles.files.user_code import import_named
from splitpoint.profiles.network.torch_model import load_module

BATCH, PEAK, DECAY, SMOOTHING, PAD, SEED = 128, 0.4, 5e-4, 0.1, 4, 0
Data = tuple[torch.Tensor, ...]  # of N pictures each: pictures (N, 3, H, W) uint8, classes (N,), what a loss needs more
Loss = Callable[[nn.Module, Data, NDArray[np.int64], np.random.Generator], torch.Tensor]  # of the rows of a batch


def main(arguments: Sequence[str]) -> None:
    """Train, or go on."""
    options = parser(__doc__).parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    module = load_module(f"{NETS}:resnet20")
    train(module, pictures(options.data, "train"), options.out.with_suffix(".checkpoint"), options.epochs)
    x, y = pictures(options.data, "val")
    print(f"top-1 {100 * accuracy(module, x, y):.1f} % of {len(y)}")
    torch.save({name: value.half() for name, value in module.state_dict().items()}, options.out)


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options of a training."""
    found = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--data", type=Path, required=True)
    found.add_argument("--out", type=Path, required=True)
    found.add_argument("--epochs", type=int, default=14)
    found.add_argument("--threads", type=int, default=1)
    return found


def pictures(data: Path, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (N, 3, H, W) uint8 and classes (N,) of a part of CIFAR-100."""
    images, labels, _ = import_named("load.py:cifar100", base=data)(part)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels)


def smoothed(module: nn.Module, data: Data, rows: NDArray[np.int64], rng: np.random.Generator) -> torch.Tensor:
    """The loss from scratch: the cross-entropy with smoothed classes, of augmented pictures."""
    x, y = data
    with fast_products():
        answers = module(normalized(augmented(x[rows], rng)))
    return nn.functional.cross_entropy(answers.float(), y[rows], label_smoothing=SMOOTHING)


def train(
    module: nn.Module, data: Data, checkpoint: Path, epochs: int, *, loss_of: Loss = smoothed, peak: float = PEAK
) -> float:
    """Train `module`, or go on from `checkpoint`; it is written after every epoch. Minutes that all epochs took."""
    steps = len(data[0]) // BATCH
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it
    decayed = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=peak, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peak, total_steps=steps * epochs)
    begin, seconds = 0, 0.0
    if checkpoint.exists():
        stored = torch.load(checkpoint, weights_only=True)
        module.load_state_dict(stored["module"])
        optimizer.load_state_dict(stored["optimizer"])
        schedule.load_state_dict(stored["schedule"])
        begin, seconds = stored["epoch"], stored.get("seconds", 0.0)
    for epoch in range(begin, epochs):
        start = time.perf_counter()
        loss = train_epoch(module, data, loss_of, optimizer, schedule, np.random.default_rng([SEED, epoch]))
        seconds += (took := time.perf_counter() - start)
        state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "seconds": seconds}
        partial = checkpoint.with_suffix(".part")
        torch.save(state | {"schedule": schedule.state_dict(), "epoch": epoch + 1}, partial)
        partial.replace(checkpoint)
        print(f"epoch {epoch + 1}: loss {loss:.3f}, {took:.0f} s", flush=True)
    return seconds / 60


def train_epoch(
    module: nn.Module,
    data: Data,
    loss_of: Loss,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    rng: np.random.Generator,
) -> float:
    """One pass over the data in random order, the last incomplete batch left out; mean loss."""
    module.train()
    order = rng.permutation(len(data[0]))
    total, steps = 0.0, len(order) // BATCH
    for step in range(steps):
        loss = loss_of(module, data, order[step * BATCH : (step + 1) * BATCH], rng)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
    return total / steps


def augmented(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Each picture (N, 3, H, W) moved by up to PAD pixels, black beyond its edge, and half of them mirrored."""
    height, width = x.shape[2:]
    padded = nn.functional.pad(x, (PAD, PAD, PAD, PAD))
    moves = rng.integers(0, 2 * PAD + 1, (len(x), 2))
    rows = torch.from_numpy(moves[:, :1] + np.arange(height))
    columns = np.where(rng.random((len(x), 1)) < 0.5, np.arange(width)[::-1], np.arange(width))
    across = torch.from_numpy(moves[:, 1:] + columns)
    picture = torch.arange(len(x))[:, None, None]
    return padded[picture, :, rows[:, :, None], across[:, None, :]].permute(0, 3, 1, 2)


def normalized(x: torch.Tensor) -> torch.Tensor:
    """Network input (N, 3, H, W) float32 of pictures in 0..255."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((x.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def accuracy(module: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Share of right answers."""
    module.eval()
    with torch.no_grad():
        hits = [module(normalized(x[i : i + BATCH])).argmax(1) == y[i : i + BATCH] for i in range(0, len(x), BATCH)]
    return float(torch.cat(hits).float().mean())


if __name__ == "__main__":
    main(sys.argv[1:])
